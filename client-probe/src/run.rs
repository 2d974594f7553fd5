//! From the parsed command line to the exit code.

use crate::cli::{Cli, Verb};
use crate::exit::{Exit, exit_of};
use crate::{report, verbs};
use std::process::ExitCode;

/// Runs one verb to its end; what goes wrong is one line on stderr and an exit code.
///
/// # Errors
/// None today: every failure has an exit code.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let exit = dispatch(cli.verb).unwrap_or_else(|error| {
        let exit = exit_of(&error);
        if exit != Exit::Ok {
            report::error(&error);
        }
        exit
    });
    Ok(exit.into())
}

fn dispatch(verb: Verb) -> anyhow::Result<Exit> {
    match verb {
        Verb::Diff(args) => verbs::diff::run(&args),
        Verb::Publish(_) | Verb::Watch(_) | Verb::Load(_) | Verb::Ping(_) => todo!(),
    }
}
