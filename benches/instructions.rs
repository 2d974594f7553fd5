//! `cargo bench --bench instructions`: instructions of the pure code as regression gates. See benches/README.md.

use clap::Parser as _;
use std::process::ExitCode;

/// The modules of `benches/support/` that this bench uses.
mod support {
    #[expect(dead_code, reason = "fanout uses the rest")]
    pub(crate) mod clock;
    pub(crate) mod edge;
    pub(crate) mod gates;
    pub(crate) mod pump;
    pub(crate) mod report;
}

fn main() -> anyhow::Result<ExitCode> {
    let args = support::gates::Args::parse();
    if let Some(work) = &args.child {
        support::gates::perform(work)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if support::gates::run(&args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
