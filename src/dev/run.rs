//! From plan to running system, and to its end.

use super::lines::{Lines, Rtmp};
use super::plan::Plan;
use super::summary::Summary;
use super::{Cli, Listen};
use anyhow::Context as _;
use sluice_moqt::Namespace;
use sluice_net::{Clock, SystemClock};
use sluice_origin_shim::{Input, Sources, Stamps};
use sluice_relay::Config;
use sluice_relay::admin::Server;
use sluice_relay::daemon::{Daemon, StartError};
use sluice_relay::exit::Exit;
use sluice_relay::logging::{self, LogArgs};
use sluice_relay::report::{self, Format};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// How long the trunks may take until lines are printed all the same.
const READY_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether they are up, and whether a relay has failed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The built-in stream.
const DEMO: &str = "demo";

/// Runs `sluice dev` until it is told to end, or its time is over.
///
/// # Errors
/// A port is taken, or a relay failed.
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    logging::init(&LogArgs::human(cli.log.clone()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let plan = Plan::new(cli.listen, cli.pops);
    let relays = start(&plan, &clock, cli.listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(System { cli, plan, relays, clock }.run())?;
    Ok(Exit::Ok.into())
}

fn start(plan: &Plan, clock: &Arc<dyn Clock>, listen: Listen) -> anyhow::Result<Vec<Relay>> {
    let configs = plan.configs(UNIX_EPOCH + clock.unix_time())?;
    let start = |config: Config| match Daemon::start(&config, clock) {
        Ok(daemon) => Ok(Relay { config, daemon }),
        Err(StartError::Bind { addr, source, .. }) => Err(taken("UDP", addr, &source, listen)),
        Err(error) => Err(error.with_exit()),
    };
    configs.into_iter().map(start).collect()
}

/// The one line about a port.
fn taken(
    kind: &str,
    addr: std::net::SocketAddr,
    error: &dyn std::fmt::Display,
    Listen(first): Listen,
) -> anyhow::Error {
    let other = first.port().checked_add(1000).filter(|port| *port < 60_000).unwrap_or(4443);
    let text =
        format!("cannot listen on {kind} {addr}: {error}; is another `sluice dev` running? Try --listen {other}");
    Exit::Usage.because(anyhow::anyhow!(text))
}

struct Relay {
    config: Config,
    daemon: Daemon,
}

struct System {
    cli: Cli,
    plan: Plan,
    /// The origin stands first.
    relays: Vec<Relay>,
    clock: Arc<dyn Clock>,
}

impl System {
    async fn run(self) -> anyhow::Result<()> {
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt()).context("listening for SIGINT")?,
            signal(SignalKind::terminate()).context("listening for SIGTERM")?,
        );
        let _admin = self.serve_admin().await?;
        let (mut sources, rtmp) = self.sources().await?;
        let until = self.cli.duration.map(|span| tokio::time::Instant::from_std(self.clock.now() + span.get()));
        let result = tokio::select! {
            result = self.attend(rtmp) => result,
            error = sources.watch() => Err(error),
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            () = sleep_until(until) => Ok(()),
        };
        let mut summary = Summary { source_objects_dropped: sources.dropped(), ..Summary::default() };
        // Sources and their children first: what they write has nowhere to go.
        drop(sources);
        for Relay { config, daemon } in &self.relays {
            summary.add(config.pop.as_str(), &daemon.state().snapshots());
        }
        self.relays.into_iter().for_each(|relay| relay.daemon.stop(Duration::ZERO));
        result?;
        match self.cli.format {
            Format::Human => report::text(&format!("\n{summary}"))?,
            Format::Json | Format::Jsonl => report::line(serde_json::to_string(&summary)?)?,
        }
        Ok(())
    }

    async fn serve_admin(&self) -> anyhow::Result<JoinSet<std::io::Result<()>>> {
        let mut servers = JoinSet::new();
        for Relay { config, daemon } in &self.relays {
            let server = Server::bind(config.admin, daemon.state().clone()).await;
            let server = server.map_err(|error| {
                let source = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                taken("TCP", config.admin.get(), &source, self.cli.listen)
            })?;
            servers.spawn(server.serve(std::future::pending()));
        }
        Ok(servers)
    }

    async fn sources(&self) -> anyhow::Result<(Sources, Rtmp)> {
        let origin = self.relays.first().context("the plan has an origin")?;
        let mut sources = Sources::new(origin.daemon.fleet().clone(), Arc::clone(&self.clock), Stamps::On);
        sources.add(Namespace::from_path(DEMO)?, Input::TestPattern);
        let rtmp = if has_ffmpeg().await {
            let addr = self.plan.rtmp();
            match sources.listen_rtmp(addr).await {
                Ok(_) => Rtmp::On,
                Err(error) => Rtmp::Off(format!("TCP {addr}: {error}")),
            }
        } else {
            Rtmp::Off("it needs ffmpeg, which is not installed".to_owned())
        };
        Ok((sources, rtmp))
    }

    /// Says what to do next once everything is up, then looks after the relays.
    async fn attend(&self, rtmp: Rtmp) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let patience = self.clock.now() + READY_MAX;
        while !self.is_ready() && self.clock.now() < patience {
            look.tick().await;
        }
        if !self.is_ready() {
            tracing::warn!(seconds = READY_MAX.as_secs(), "trunks are not up yet");
        }
        if self.cli.format == Format::Human {
            let program = std::env::args_os().next().unwrap_or_else(|| "sluice".into());
            let program = program.to_string_lossy().into_owned();
            report::text(&Lines { plan: &self.plan, program, rtmp }.to_string())?;
        }
        loop {
            look.tick().await;
            if let Some(failed) = self.relays.iter().find(|relay| relay.daemon.has_failed()) {
                anyhow::bail!("{} has ended on its own; see the log", failed.config.pop);
            }
        }
    }

    /// Whether the demo is on air and every trunk stands.
    fn is_ready(&self) -> bool {
        self.relays.iter().enumerate().all(|(at, relay)| {
            let snapshots = relay.daemon.state().snapshots();
            let up = |snapshot: &sluice_relay::admin::Snapshot| {
                let trunks = &snapshot.node.trunks;
                if at == 0 { snapshot.node.tracks > 0 } else { trunks.iter().any(|t| t.control_up && t.media_up) }
            };
            snapshots.iter().any(|snapshot| up(snapshot))
        })
    }
}

async fn sleep_until(until: Option<tokio::time::Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn has_ffmpeg() -> bool {
    let mut command = tokio::process::Command::new("ffmpeg");
    let quiet = command.arg("-version").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    quiet.status().await.is_ok_and(|status| status.success())
}
