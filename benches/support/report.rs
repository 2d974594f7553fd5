//! The lines that the benches print: one JSON object per case on stdout.

use serde::Serialize;

/// Prints one line of results.
#[expect(clippy::print_stdout, reason = "the data of a bench goes to stdout, and from here only")]
pub(crate) fn line(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Says on stderr what somebody should know.
#[expect(clippy::print_stderr, reason = "progress and remarks of a bench, beside its data")]
pub(crate) fn say(what: &str) {
    eprintln!("{what}");
}
