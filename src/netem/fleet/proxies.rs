//! A fleet on loopback, each link through a UDP forwarder.

use super::child::{Here, Running};
use super::place::{Addresses, Dial, LinkState, Place, quantiles};
use anyhow::Context as _;
use sluice_netem::model::{Sharing, State, Way};
use sluice_netem::proxy::{Config, Handle, Proxy};
use sluice_netem::result::Punctuality;
use sluice_netem::scenario::{Link, LinkId, NodeId, Scenario, Ways};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Forwarders, one per link.
#[derive(Debug)]
pub(super) struct Proxies {
    /// The links, and whose packets share each.
    links: Vec<(Link, Sharing)>,
    seed: u64,
    /// Of the run.
    length: Duration,
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
    /// Conditions from the clients, and to them.
    fn directions(&self, ways: &Ways) -> [(Way, sluice_netem::model::Direction); 2] {
        let (forward, reverse) = match self.clients {
            Way::Forward => (&ways.down, &ways.up),
            Way::Reverse => (&ways.up, &ways.down),
        };
        [(Way::Forward, forward.clone()), (Way::Reverse, reverse.clone())]
    }
}

impl Proxies {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let links = scenario.links.iter().map(|link| (link.clone(), super::sharing(scenario, link))).collect();
        Self { links, seed, length: scenario.duration, laid: Vec::new() }
    }

    fn lay(&mut self, dial: Dial) -> anyhow::Result<SocketAddr> {
        let (of, sharing) = self.links.get(dial.link.0).cloned().context("the scenario has the link")?;
        let clients = if of.between[0] == dial.from { Way::Forward } else { Way::Reverse };
        let (forward, reverse) = match clients {
            Way::Forward => (of.ways.down, of.ways.up),
            Way::Reverse => (of.ways.up, of.ways.down),
        };
        let link = u32::try_from(dial.link.0).unwrap_or(u32::MAX);
        let config = Config { seed: self.seed, link, sharing, ..Config::new(forward, reverse) };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let proxy = Proxy::bind(listen, dial.at, config)?;
        let (at, handle) = (proxy.local_addr(), proxy.handle());
        if let Some(network) = of.generated {
            for way in Way::BOTH {
                // The forwarder's forward way is that of its clients.
                let ours = if clients == Way::Forward { way } else { way.back() };
                handle.run_program(ours, network.program(way, (self.seed, dial.link.0), self.length));
            }
        }
        let run = move || {
            if let Err(error) = proxy.run() {
                tracing::error!(%error, "a forwarder has stopped");
            }
        };
        let thread = thread::Builder::new().name(format!("link-{link}")).spawn(run).context("starting a forwarder")?;
        self.laid.push(Laid { link: dial.link, clients, at, handle, thread: Some(thread) });
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

    fn set(&self, link: LinkId, ways: &Ways) -> anyhow::Result<()> {
        for laid in self.of(link) {
            for (way, direction) in laid.directions(ways) {
                laid.handle.set(way, direction);
            }
        }
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
