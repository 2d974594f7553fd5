//! A relay from start to the end of its drain.

use super::{Daemon, StartError};
use crate::admin::Server;
use crate::config::Config;
use crate::exit::Exit;
use anyhow::Context as _;
use sluice_net::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether a shard has ended on its own.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs a relay until SIGINT, SIGTERM or a drain request, then drains it.
///
/// # Errors
/// It cannot start, or a shard ends on its own.
pub fn run_until_stopped(config: &Config) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let daemon = Daemon::start(config, &clock).map_err(StartError::with_exit)?;
    run_beside(config, daemon, std::future::pending())
}

/// Runs a started relay as [`run_until_stopped`] does, and `companion` beside it, which ends with it.
///
/// # Errors
/// As [`run_until_stopped`], or the companion ends.
pub fn run_beside(
    config: &Config,
    daemon: Daemon,
    companion: impl Future<Output = anyhow::Error>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = serve(config, daemon) => result,
            error = companion => Err(error),
        }
    });
    // A read of standard input cannot be cancelled and is not waited for.
    runtime.shutdown_background();
    result
}

impl StartError {
    /// This error with the exit code that it ends a program with.
    #[must_use]
    pub fn with_exit(self) -> anyhow::Error {
        let exit = match &self {
            Self::Resolve { .. } => Exit::Name,
            Self::Certificate { .. } | Self::Misnamed { .. } | Self::Tls(_) => Exit::Tls,
            Self::Read { .. } | Self::Bind { .. } => Exit::Usage,
            Self::NodeKey { .. } | Self::Development(_) | Self::Shard(_) | Self::Join(_) | Self::Thread(_) => {
                Exit::Failed
            }
        };
        exit.because(self)
    }
}

async fn serve(config: &Config, daemon: Daemon) -> anyhow::Result<()> {
    let admin = Server::bind(config.admin, daemon.state().clone()).await;
    let admin = admin.map_err(|error| Exit::Usage.because(error))?;
    let addresses = daemon.addresses();
    tracing::info!(
        pop = %config.pop,
        listen = %addresses.user,
        trunk = addresses.trunk.map(tracing::field::display),
        admin = %admin.local_addr(),
        "relay ready"
    );
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut drain = daemon.state().drain_requests();
    let mut watch = tokio::time::interval(WATCH_EVERY);
    let state = daemon.state().clone();
    let stop = async {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(Duration::ZERO),
                _ = terminate.recv() => return Ok(config.drain_grace),
                _ = drain.wait_for(|asked| *asked) => return Ok(config.drain_grace),
                _ = watch.tick() => if daemon.has_failed() {
                    return Err(anyhow::anyhow!("a shard has ended on its own; see the log"));
                }
            }
        }
    };
    let served = admin.serve(std::future::pending());
    let grace = tokio::select! {
        grace = stop => grace?,
        result = served => return result.context("serving the admin interface"),
    };
    state.request_drain();
    tracing::info!(grace_seconds = grace.as_secs_f64(), "draining");
    daemon.stop(grace);
    Ok(())
}
