//! The reference page of all keys, `docs/config.md`.

use super::keys::{self, REPEATED, Shape, Spec};
use std::fmt::Write as _;

/// The page. A test fails while `docs/config.md` says something else.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    let mut section = Some("");
    for spec in keys::ALL {
        if spec.section() != section {
            section = spec.section();
            page.push_str(&heading(section));
        }
        page.push_str(&entry(spec));
    }
    page
}

const HEAD: &str = "# Configuration keys

Generated from the table of keys in `relay/src/config/keys.rs`; the test `the_reference_page_is_current` says how.

A flag wins over an environment variable, that over the file, that over the default. `sluice relay print-config` shows
every value with its source, `sluice relay check-config FILE` everything that is wrong with a file. Paths in a file are
relative to the file.
";

fn heading(section: Option<&str>) -> String {
    match section {
        None => "\n## Top level\n".to_owned(),
        Some(name) if REPEATED.contains(&name) => format!(
            "\n## `[[{name}]]`\n\nAny number of times. As a flag `--{name} {fields}`, repeated; as `{env}` entries\nseparated by `;`. \
             Flag or variable replace the file's entries as a whole.\n",
            fields = fields(name),
            env = keys::env_name(name),
        ),
        Some(name) => format!("\n## `[{name}]`\n"),
    }
}

fn fields(section: &str) -> String {
    let leaves = keys::ALL.iter().filter(|s| s.section() == Some(section)).map(Spec::leaf);
    leaves.map(|leaf| format!("{leaf}=..")).collect::<Vec<_>>().join(",")
}

fn entry(spec: &Spec) -> String {
    let mut text = format!("\n### `{}`\n\n{}\n\n", spec.name, spec.doc.trim());
    let allowed = (spec.allowed)();
    let list = if spec.shape == Shape::List { "a list of: " } else { "" };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "- allowed: {list}{allowed}");
    let _ = writeln!(text, "- default: {}", spec.default.map_or_else(|| "none".to_owned(), |d| format!("`{d}`")));
    if !spec.is_repeated() {
        let _ = writeln!(text, "- flag `--{}`, variable `{}`", keys::flag_name(spec.name), keys::env_name(spec.name));
    }
    text
}
