//! A fleet in network namespaces.

use super::child::Running;
use super::place::{Addresses, Dial, LinkState, Place, quantiles};
use anyhow::Context as _;
use sluice_netem::lab::{Lab, LinkCounters, LinkSpec, Spec};
use sluice_netem::model::{State, Way};
use sluice_netem::result::Punctuality;
use sluice_netem::scenario::{LinkId, NodeId, Scenario};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

const USER: u16 = 4443;
const TRUNK: u16 = 4444;
const ADMIN: u16 = 9090;

/// A lab, and the names of its nodes.
#[derive(Debug)]
pub(super) struct Labs {
    lab: Lab,
    names: Vec<String>,
    seed: u64,
}

impl Labs {
    /// Builds a lab for the scenario.
    pub(super) fn new(scenario: &Scenario, seed: u64) -> anyhow::Result<Self> {
        let names: Vec<String> = scenario.nodes.iter().map(|node| node.name.clone()).collect();
        let name = |id: NodeId| scenario.node(id).name.clone();
        let link = |link: &sluice_netem::scenario::Link| LinkSpec {
            between: link.between.map(name),
            forward: link.ways.down.clone(),
            reverse: link.ways.up.clone(),
            sharing: super::sharing(scenario, link),
        };
        let specs = scenario.links.iter().map(link).collect();
        let spec = Spec { seed, nodes: names.clone(), links: specs, ..Spec::default() };
        let lab = Lab::new(spec).context("building the lab")?;
        Ok(Self { lab, names, seed })
    }

    fn name(&self, node: NodeId) -> &str {
        self.names.get(node.0).map_or("", String::as_str)
    }
}

impl Place for Labs {
    fn listen(&self) -> Addresses {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Addresses { user: any(USER), trunk: any(TRUNK), admin: SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN)) }
    }

    fn reach(&mut self, dial: Dial) -> anyhow::Result<SocketAddr> {
        let (from, to) = (self.name(dial.from), self.name(dial.to));
        let ip = self.lab.address(from, to).with_context(|| format!("{from} and {to} are no neighbours"))?;
        Ok(SocketAddr::from((ip, dial.at.port())))
    }

    fn spawn(&self, node: NodeId, command: Command) -> anyhow::Result<Running> {
        Ok(Running::Lab(self.lab.spawn(self.name(node), command)?))
    }

    fn begin(&mut self, scenario: &Scenario) -> anyhow::Result<()> {
        let handle = self.lab.handle();
        for (link, _) in scenario.link_ids() {
            for way in Way::BOTH {
                if let Some(course) = scenario.course(link, way, self.seed) {
                    handle.run_program(link.0, way, course)?;
                }
            }
        }
        Ok(())
    }

    fn set_state(&self, link: LinkId, state: State) -> anyhow::Result<()> {
        Ok(self.lab.handle().set_state(link.0, state)?)
    }

    fn waits(&self) -> anyhow::Result<Vec<(LinkId, Duration)>> {
        Ok((0..).map(LinkId).zip(self.lab.handle().backlogs()?).collect())
    }

    fn links(&self) -> anyhow::Result<Vec<LinkState>> {
        let links = (0..).map(LinkId).zip(self.lab.counters()?.links);
        let state = |(link, of): (LinkId, LinkCounters)| LinkState { link, down: of.forward, up: of.reverse };
        Ok(links.map(state).collect())
    }

    fn lateness(&self) -> anyhow::Result<Punctuality> {
        let counters = self.lab.counters()?;
        Ok(Punctuality { late: quantiles(counters.lateness), is_real_time: counters.is_real_time })
    }

    fn forget(&self) -> anyhow::Result<()> {
        Ok(self.lab.handle().forget_lateness()?)
    }
}
