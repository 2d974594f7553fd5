//! What `--help` says, verb by verb, as it was last read and found good.

use clap::CommandFactory as _;
use sluice_client_probe::Cli;
use std::path::Path;

/// Set to write the snapshots anew; then read the difference.
const UPDATE: &str = "SLUICE_UPDATE_SNAPSHOTS";

#[test]
fn help_is_as_it_was_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    let mut command = Cli::command().term_width(100).color(clap::ColorChoice::Never);
    command.build();
    let mut texts = vec![("client-probe".to_owned(), command.render_help().to_string())];
    for verb in command.get_subcommands_mut() {
        texts.push((verb.get_name().to_owned(), verb.render_help().to_string()));
    }
    assert_eq!(texts.len(), 6, "five verbs and the whole");
    for (name, text) in texts {
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, known, "help of {name} changed: read it, then run with {UPDATE}=1");
    }
}
