//! A fleet on loopback, each link through a UDP forwarder.

use super::child::{Here, Running};
use super::place::{Addresses, Dial, LinkState, Place, quantiles};
use anyhow::Context as _;
use sluice_net::{Clock as _, SystemClock};
use sluice_netem::model::{State, Way};
use sluice_netem::proxy::{Config, Handle, Proxy};
use sluice_netem::result::Punctuality;
use sluice_netem::scenario::{LinkId, NodeId, Scenario};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Forwarders, one per link.
#[derive(Debug)]
pub(super) struct Proxies {
    scenario: Scenario,
    seed: u64,
    /// When the scenario's clock started.
    begun: Option<Instant>,
    laid: Vec<Laid>,
}

#[derive(Debug)]
struct Laid {
    link: LinkId,
    /// Which way clients send.
    clients: Way,
    at: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Laid {
    /// Has the link change as the scenario says, from `elapsed` on its clock.
    fn follow(&self, scenario: &Scenario, seed: u64, elapsed: Duration) {
        for way in Way::BOTH {
            if let Some(course) = scenario.course(self.link, way, seed) {
                // The forwarder's forward way is that of its clients.
                let ours = if self.clients == Way::Forward { way } else { way.back() };
                self.handle.resume_program(ours, course, elapsed);
            }
        }
    }
}

impl Proxies {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self { scenario: scenario.clone(), seed, begun: None, laid: Vec::new() }
    }

    fn lay(&mut self, dial: Dial) -> anyhow::Result<SocketAddr> {
        let of = self.scenario.link(dial.link);
        let clients = if of.between[0] == dial.from { Way::Forward } else { Way::Reverse };
        let (forward, reverse) = match clients {
            Way::Forward => (&of.ways.down, &of.ways.up),
            Way::Reverse => (&of.ways.up, &of.ways.down),
        };
        let link = u32::try_from(dial.link.0).unwrap_or(u32::MAX);
        let sharing = super::sharing(&self.scenario, of);
        let config = Config { seed: self.seed, link, sharing, ..Config::new(forward.clone(), reverse.clone()) };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let proxy = Proxy::bind(listen, dial.at, config)?;
        let (at, handle) = (proxy.local_addr(), proxy.handle());
        let run = move || {
            if let Err(error) = proxy.run() {
                tracing::error!(%error, "a forwarder has stopped");
            }
        };
        let thread = thread::Builder::new().name(format!("link-{link}")).spawn(run).context("starting a forwarder")?;
        let laid = Laid { link: dial.link, clients, at, handle, thread: Some(thread) };
        // Viewers may come late.
        if let Some(begun) = self.begun {
            laid.follow(&self.scenario, self.seed, SystemClock.now().saturating_duration_since(begun));
        }
        self.laid.push(laid);
        Ok(at)
    }

    fn of(&self, link: LinkId) -> impl Iterator<Item = &Laid> {
        self.laid.iter().filter(move |laid| laid.link == link)
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        for laid in &self.laid {
            laid.handle.stop();
        }
        for thread in self.laid.iter_mut().filter_map(|laid| laid.thread.take()) {
            // It has said why it failed, if it has.
            let _ = thread.join();
        }
    }
}

impl Place for Proxies {
    fn listen(&self) -> Addresses {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Addresses { user: any, admin: any, trunk: any }
    }

    fn reach(&mut self, dial: Dial) -> anyhow::Result<SocketAddr> {
        // A process that starts again finds its link as it was.
        let laid = self.of(dial.link).next().map(|laid| laid.at);
        laid.map_or_else(|| self.lay(dial), Ok)
    }

    fn spawn(&self, _: NodeId, mut command: Command) -> anyhow::Result<Running> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("starting {program}"))?;
        Ok(Running::Here(Here::new(child)))
    }

    fn begin(&mut self, scenario: &Scenario) -> anyhow::Result<()> {
        self.begun = Some(SystemClock.now());
        self.laid.iter().for_each(|laid| laid.follow(scenario, self.seed, Duration::ZERO));
        Ok(())
    }

    fn set_state(&self, link: LinkId, state: State) -> anyhow::Result<()> {
        self.of(link).for_each(|laid| laid.handle.set_state(state));
        Ok(())
    }

    fn waits(&self) -> anyhow::Result<Vec<(LinkId, Duration)>> {
        Ok(self.laid.iter().map(|laid| (laid.link, laid.handle.backlog())).collect())
    }

    fn links(&self) -> anyhow::Result<Vec<LinkState>> {
        let state = |laid: &Laid| {
            let report = laid.handle.report();
            let (down, up) = match laid.clients {
                Way::Forward => (report.forward, report.reverse),
                Way::Reverse => (report.reverse, report.forward),
            };
            LinkState { link: laid.link, down, up }
        };
        Ok(self.laid.iter().map(state).collect())
    }

    /// The worst link is what the run is worth.
    fn lateness(&self) -> anyhow::Result<Punctuality> {
        let reports: Vec<_> = self.laid.iter().map(|laid| laid.handle.report()).collect();
        let worst = reports.iter().map(|report| report.lateness).max_by_key(|lateness| lateness.p99_ns);
        let is_real_time = reports.iter().all(|report| report.is_real_time);
        Ok(Punctuality { late: quantiles(worst.unwrap_or_default()), is_real_time })
    }

    fn forget(&self) -> anyhow::Result<()> {
        self.laid.iter().for_each(|laid| laid.handle.forget_lateness());
        Ok(())
    }
}
