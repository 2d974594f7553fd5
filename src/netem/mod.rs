//! `sluice netem`: streaming under bad networks.
//!
//! ```text
//! run SCENARIO..   scenario files in one of three engines: verdicts, one JSON result, a timeline
//! proxy            a UDP forwarder with delay, loss and a rate, in front of anything
//! doctor           what this machine lacks for the engines, and what to do
//! ```

mod doctor;
mod engine;
mod fleet;
mod interrupt;
mod proxy;
mod run;
mod sim;

use std::process::ExitCode;

/// Delay, loss and faults: scenarios, a proxy, and what they need
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 ok, 1 an expectation was missed or a run does not count, 2 a scenario or an \
    argument is wrong, 78 this machine lacks what the engine needs")]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Carry out scenario files and judge what they show
    Run(run::Cli),
    /// Say what this machine lacks for the engines, and what to do about it
    Doctor(doctor::Cli),
    /// Forward UDP with delay, loss, a rate and more
    Proxy(Box<proxy::Cli>),
}

/// Runs `sluice netem`.
///
/// # Errors
/// A scenario is wrong, or an engine could not do its work.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Run(cli) => run::run(&cli),
        Verb::Doctor(cli) => doctor::run(cli),
        Verb::Proxy(cli) => proxy::run(&cli),
    }
}

#[cfg(test)]
mod tests;
