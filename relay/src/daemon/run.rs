//! A relay from start to the end of its drain.

use super::{Daemon, StartError};
use crate::admin::Server;
use crate::config::Config;
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
    let daemon = Daemon::start(config, &clock).map_err(exit_code)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(serve(config, daemon))
}

fn exit_code(error: StartError) -> anyhow::Error {
    use crate::exit::Exit;
    match &error {
        StartError::Resolve { .. } => Exit::Name.because(error),
        StartError::Certificate { .. } | StartError::Misnamed { .. } | StartError::Tls(_) => Exit::Tls.because(error),
        StartError::Read { .. } | StartError::Bind { .. } => Exit::Usage.because(error),
        StartError::NodeKey { .. } | StartError::Development(_) | StartError::Shard(_) | StartError::Thread(_) => {
            Exit::Failed.because(error)
        }
    }
}

async fn serve(config: &Config, daemon: Daemon) -> anyhow::Result<()> {
    let admin = Server::bind(config.admin, daemon.state().clone()).await?;
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
