//! `sluice origin-shim`.

use crate::input::Input;
use crate::sources::{Sources, Stamps};
use sluice_net::{Clock, SystemClock};
use sluice_relay::cli::SourceArgs;
use sluice_relay::config::Feeds;
use sluice_relay::daemon::{Daemon, StartError, run_beside};
use sluice_relay::exit::Exit;
use sluice_relay::logging::{self, LogArgs};
use std::process::ExitCode;
use std::sync::Arc;

/// The relay of an origin, with sources of its own
#[derive(Debug, clap::Args)]
#[command(after_help = "Takes every key of `sluice relay` (role is origin), and [[source]] and [rtmp]. \
    `--source live/x=x.mp4` is short for `--source namespace=live/x,file=x.mp4`; \
    `sluice relay check-config` and `print-config` work on its files, too")]
pub struct Cli {
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs `sluice origin-shim` until it is told to end.
///
/// # Errors
/// The configuration is wrong, or the daemon failed.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    logging::init(&cli.log)?;
    let config = cli.sources.with("role", "origin").load()?.config;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let daemon = Daemon::start(&config, &clock).map_err(StartError::with_exit)?;
    let sources = Sources::new(daemon.fleet().clone(), clock, Stamps::Off);
    run_beside(&config, daemon, feed(sources, config.feeds.clone()))?;
    Ok(Exit::Ok.into())
}

/// Runs the configured sources; returns why none can run any more.
async fn feed(mut sources: Sources, feeds: Feeds) -> anyhow::Error {
    for feed in &feeds.sources {
        sources.add(feed.namespace.clone(), Input::from(&feed.input));
    }
    if let Some(addr) = feeds.rtmp {
        match sources.listen_rtmp(addr).await {
            Ok(bound) => tracing::info!(addr = %bound, "takes RTMP"),
            Err(error) => {
                let text = format!("cannot listen on TCP {addr} (rtmp.addr): {error}; choose another address");
                return Exit::Usage.because(anyhow::anyhow!(text));
            }
        }
    }
    sources.watch().await
}
