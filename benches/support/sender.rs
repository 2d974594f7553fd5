//! The sender's process: one case on the sender core, and a sleeping thread that reads the meters.

use crate::support::machine::{self, Core};
use crate::support::pattern::Schedule;
use crate::support::protocol::{self, Case, Hello, Link, Run, SenderReport, Window};
use crate::support::tls::Identity;
use crate::support::{allocations, bare, clock, daemons, quinn_baseline, relay};
use anyhow::Context as _;
use std::net::SocketAddr;

/// How long after start frame 0 is due.
const LEAD_NS: u64 = 200_000_000;

/// Serves `run` until the parent goes away.
pub(crate) fn run(run: Run) -> anyhow::Result<()> {
    machine::pin(Core::Sender)?;
    let identity = Identity::generate()?;
    let schedule = Schedule { epoch_ns: clock::wall_ns() + LEAD_NS };
    let stage = Stage { run, identity, schedule };
    match run.case {
        Case::Quinn => quinn_baseline::serve(&stage),
        Case::Bare => bare::serve(&stage),
        Case::Relay => relay::serve(&stage),
        Case::Daemon => daemons::serve(&stage),
    }
}

/// What every case starts from.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) run: Run,
    pub(crate) identity: Identity,
    pub(crate) schedule: Schedule,
}

impl Stage {
    /// Tells the parent where to connect, and begins to obey its windows. Call once, when listening.
    pub(crate) fn announce(&self, hello: &Hello, meter: Meter) -> anyhow::Result<()> {
        protocol::say(hello)?;
        let body = move || obey(&meter);
        std::thread::Builder::new().name("meters".into()).spawn(body).context("starting the metering thread")?;
        Ok(())
    }

    /// [`announce`](Self::announce) for a sender of one address without trunks.
    pub(crate) fn announce_one(&self, address: SocketAddr) -> anyhow::Result<()> {
        let certificate = self.identity.pem().0.to_owned();
        let hello = Hello { address, publish: address, certificate, epoch_ns: self.schedule.epoch_ns };
        self.announce(&hello, Meter { links: Box::new(Vec::new) })
    }
}

/// What a sender tells beside the meters of its process.
pub(crate) struct Meter {
    /// Its trunks since their start.
    pub(crate) links: Box<dyn Fn() -> Vec<Link> + Send>,
}

/// Reports every window that the parent asks for; ends the process with the parent.
#[expect(clippy::exit, reason = "the serving thread never returns, and must not outlive the parent")]
fn obey(meter: &Meter) {
    let code = match report_windows(meter) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    std::process::exit(code);
}

fn report_windows(meter: &Meter) -> anyhow::Result<()> {
    while let Some(window) = protocol::hear::<Window>()? {
        clock::sleep_until(window.from_ns);
        let links = (meter.links)();
        let (cpu, allocated) = (clock::process_cpu_ns(), allocations::per_object());
        clock::sleep_until(window.until_ns);
        protocol::say(&SenderReport {
            cpu_ns: clock::process_cpu_ns() - cpu,
            rss_kib: machine::rss_kib()?,
            allocations: allocations::per_object() - allocated,
            links: (meter.links)().into_iter().map(|link| link.since(&links)).collect(),
        })?;
    }
    Ok(())
}
