//! Building a lab, and what its owner does with it.

use super::device::{self, LinkEnd, Port};
use super::engine::Engine;
use super::error::LabError;
use super::handle::{Counters, Handle};
use super::namespace::Namespace;
use super::probe;
use super::process::Process;
use super::spec::{LinkSpec, Medium, MediumChoice, Plan, Reach, Spec, link_address, node_address};
use super::sys;
use super::ways::Ways;
use crate::model::{Direction, Key, Lanes, Way};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Nodes and links that exist. Dropping it takes them away and kills what runs in them.
#[derive(Debug)]
pub struct Lab {
    // Dropped first, so that it never reads what is gone.
    _engine: Engine,
    handle: Handle,
    plan: Plan,
    medium: Medium,
    nodes: Vec<Namespace>,
    // Holds the engine's ends of virtual Ethernet.
    _hub: Option<Namespace>,
}

impl Lab {
    /// Builds what `spec` says. The time of its links starts now.
    ///
    /// # Errors
    ///
    /// When it makes no sense, or the kernel does not permit a part of it.
    pub fn new(spec: Spec) -> Result<Self, LabError> {
        let plan = Plan::new(&spec)?;
        let medium = match spec.medium {
            MediumChoice::Auto => probe::best_medium(),
            MediumChoice::Only(medium) => medium,
        };
        let nodes = nodes(&spec)?;
        let hub = match medium {
            Medium::Tun => None,
            Medium::Packet => Some(Namespace::new("hub").map_err(LabError::Namespace)?),
        };
        let ports = lay(&plan, medium, &nodes, hub.as_ref())?;
        connect(&plan, spec.reach, &nodes)?;
        let links = spec.links.iter().enumerate().map(|(number, link)| ways(spec.seed, number, link));
        let engine =
            Engine::start(ports, links.collect(), spec.priority).map_err(LabError::build("start the engine"))?;
        let handle = Handle::new(engine.shared(), spec.links.into_iter().map(|link| link.between).collect());
        Ok(Self { _engine: engine, handle, plan, medium, nodes, _hub: hub })
    }

    /// The address at which `node` reaches `peer`, if it does: of a neighbour the address of its end of the first link
    /// between them, of others their own.
    #[must_use]
    pub fn address(&self, node: &str, peer: &str) -> Option<Ipv4Addr> {
        self.plan.address(self.plan.node(node)?, self.plan.node(peer)?)
    }

    /// The address that `node` has whatever its links are.
    #[must_use]
    pub fn own_address(&self, node: &str) -> Option<Ipv4Addr> {
        self.plan.node(node).map(node_address)
    }

    /// The addresses of the ends of link number `link`: packets between these take this link and no other.
    #[must_use]
    pub fn link_addresses(&self, link: usize) -> Option<[Ipv4Addr; 2]> {
        self.plan.links.get(link).map(|_| [link_address(link, 0), link_address(link, 1)])
    }

    /// What its links are made of.
    #[must_use]
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// Starts `command` in `node`, as the leader of a process group.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the program does not start.
    pub fn spawn(&self, node: &str, mut command: Command) -> Result<Process, LabError> {
        let namespace = self.node(node)?;
        let program = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        sys::die_with_starter(&mut command);
        let spawned = namespace.run(move || command.spawn().map(Process::new));
        spawned.map_err(|source| LabError::Spawn { node: node.to_owned(), program, source })
    }

    /// Does `work` in `node`: sockets made there stay there, whoever uses them later.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the work fails.
    pub fn run_in<T: Send + 'static>(
        &self,
        node: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, LabError> {
        self.node(node)?.run(work).map_err(|source| LabError::Work { node: node.to_owned(), source })
    }

    /// A UDP socket in `node`, on `port` of every address; on a free one where it is 0.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the port is taken.
    pub fn udp_socket(&self, node: &str, port: u16) -> Result<UdpSocket, LabError> {
        self.run_in(node, move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
    }

    /// What changes and reads the links, for any thread.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the links have done so far, and how late the engine was.
    ///
    /// # Errors
    ///
    /// When the engine has stopped.
    pub fn counters(&self) -> Result<Counters, LabError> {
        self.handle.counters()
    }

    fn node(&self, name: &str) -> Result<&Namespace, LabError> {
        let number = self.plan.node(name).ok_or_else(|| LabError::UnknownNode(name.to_owned()))?;
        Ok(&self.nodes[number])
    }
}

fn nodes(spec: &Spec) -> Result<Vec<Namespace>, LabError> {
    let mut nodes = Vec::with_capacity(spec.nodes.len());
    for (number, name) in spec.nodes.iter().enumerate() {
        let node = Namespace::new(name).map_err(LabError::Namespace)?;
        let refused = LabError::build(format!("set up the node {name:?}"));
        device::set_up_node(&node, node_address(number)).map_err(refused)?;
        nodes.push(node);
    }
    Ok(nodes)
}

/// Makes the links' interfaces.
fn lay(plan: &Plan, medium: Medium, nodes: &[Namespace], hub: Option<&Namespace>) -> Result<Vec<[Port; 2]>, LabError> {
    let lay = |(number, ends): (usize, &[usize; 2])| {
        let end = |side: usize| LinkEnd {
            namespace: &nodes[ends[side]],
            own: link_address(number, side),
            other: link_address(number, 1 - side),
        };
        let hub = hub.unwrap_or(&nodes[ends[0]]);
        let refused = LabError::build(format!("make link {number}"));
        device::lay(medium, hub, number, [end(0), end(1)]).map_err(refused)
    };
    plan.links.iter().enumerate().map(lay).collect()
}

/// Tells each node how to reach the others.
fn connect(plan: &Plan, reach: Reach, nodes: &[Namespace]) -> Result<(), LabError> {
    for (number, node) in nodes.iter().enumerate() {
        match reach {
            Reach::Neighbours => {}
            Reach::Everywhere => device::forward(node).map_err(LabError::build("let nodes pass on packets"))?,
        }
        let mut by_link: BTreeMap<usize, Vec<Ipv4Addr>> = BTreeMap::new();
        for (to, link) in plan.routes(number) {
            by_link.entry(link).or_default().push(node_address(to));
        }
        for (link, to) in by_link {
            let refused = LabError::build(format!("add a route over link {link}"));
            device::route(node, node_address(number), link, to).map_err(refused)?;
        }
    }
    Ok(())
}

fn ways(seed: u64, number: usize, link: &LinkSpec) -> Ways {
    let number = u32::try_from(number).expect("links were counted against their limit");
    let lanes = |way, config: &Direction| {
        let key = Key::new(seed, number, way);
        Lanes::new(key, config.clone(), link.sharing)
    };
    Ways::new([lanes(Way::Forward, &link.forward), lanes(Way::Reverse, &link.reverse)])
}
