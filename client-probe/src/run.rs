//! From the parsed command line to the exit code.

use crate::adapter::{self, Stdin};
use crate::cli::{Cli, Common, Verb};
use crate::core::{Broadcast, Client};
use crate::exit::{Exit, Failure, exit_of};
use crate::verbs::{self, load::Loading, ping::Pinging, publish::Publishing, watch::Watching};
use crate::{cli, report};
use sluice_net::Rng;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Runs one verb to its end; what goes wrong is one line on stderr and an exit code.
///
/// # Errors
/// None: every failure has an exit code.
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
        Verb::Publish(args) => publish(args),
        Verb::Watch(args) => {
            let (common, target) = (args.common.clone(), prepare(&args.common, &args.url)?);
            let driver = Watching::new(args, target.clone())?;
            adapter::run(&common, &target, client(None), driver, Stdin::Unused)
        }
        Verb::Load(args) => {
            let (common, target) = (args.common.clone(), prepare(&args.common, &args.url)?);
            let driver = Loading::new(args, target.clone())?;
            adapter::run(&common, &target, client(None), driver, Stdin::Unused)
        }
        Verb::Ping(args) => {
            let (common, target) = (args.common.clone(), prepare(&args.common, &args.url)?);
            let driver = Pinging::new(args, target.clone());
            adapter::run(&common, &target, client(None), driver, Stdin::Unused)
        }
    }
}

fn publish(args: cli::Publish) -> anyhow::Result<Exit> {
    let (common, target) = (args.common.clone(), prepare(&args.common, &args.url)?);
    let broadcast = Broadcast::new(args.url.namespace().clone());
    let driver = Publishing::new(args, target.clone())?;
    let stdin = if driver.is_pushed() { Stdin::Media } else { Stdin::Unused };
    adapter::run(&common, &target, client(Some(broadcast)), driver, stdin)
}

fn client(broadcast: Option<Broadcast>) -> Client {
    Client::new(Rng::from_entropy(), broadcast)
}

fn prepare(common: &Common, url: &crate::url::StreamUrl) -> Result<crate::core::Target, Failure> {
    log_to_stderr(&common.log)?;
    adapter::target(url)
}

fn log_to_stderr(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|e| Failure::new(Exit::Usage, format!("--log {filter}: {e}; write for instance --log debug")))?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal();
    // A program that hosts this verb may log already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).try_init();
    Ok(())
}
