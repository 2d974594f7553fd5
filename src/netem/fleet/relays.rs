//! The relays of a fleet: configuration, start, readiness, and what their logs tell.

use super::child::Running;
use super::folder::Folder;
use super::place::{Addresses, Dial, Place};
use anyhow::Context as _;
use sluice_netem::result::NodeSample;
use sluice_netem::scenario::{LinkId, NodeId, Scenario};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// A relay is ready within this time, on a machine that is busy.
pub(super) const READY_MAX: Duration = Duration::from_secs(20);

/// Another relay that this one dials.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) link: LinkId,
}

/// One relay.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) at: Option<Addresses>,
    pub(super) process: Option<Running>,
    pub(super) dials: Vec<Peer>,
    pub(super) samples: Vec<NodeSample>,
    starts: u32,
}

impl Relay {
    /// The relays of a scenario, those nearest to an origin first: each dials those before it.
    pub(super) fn all(scenario: &Scenario) -> Vec<Self> {
        let distances = scenario.distances();
        let mut order: Vec<(usize, NodeId)> = distances.into_iter().map(|(id, distance)| (distance, id)).collect();
        order.sort_unstable();
        let place = |id: NodeId| order.iter().position(|(_, other)| *other == id);
        let relay = |(at, (_, id)): (usize, &(usize, NodeId))| {
            let peers = scenario.link_ids().filter_map(|(link, of)| {
                let node = of.other(*id)?;
                place(node).filter(|other| *other < at).map(|_| Peer { node, link })
            });
            let name = scenario.node(*id).name.clone();
            Self { node: *id, name, at: None, process: None, dials: peers.collect(), samples: Vec::new(), starts: 0 }
        };
        order.iter().enumerate().map(relay).collect()
    }

    /// Times that it was started again.
    pub(super) const fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    /// Starts it, anew at the addresses that it had; `peers` are where it dials.
    pub(super) fn start(
        &mut self,
        scenario: &Scenario,
        place: &mut dyn Place,
        folder: &Folder,
        known: &BTreeMap<NodeId, Addresses>,
    ) -> anyhow::Result<()> {
        let mut peers = Vec::new();
        for peer in &self.dials {
            let at = known.get(&peer.node).context("relays start in the order in which they dial")?.trunk;
            let addr = place.reach(Dial { from: self.node, to: peer.node, link: peer.link, at })?;
            peers.push((scenario.node(peer.node).name.clone(), addr));
        }
        self.starts += 1;
        let name = self.file();
        let config = self.config(scenario, self.at.unwrap_or_else(|| place.listen()), &peers, folder)?;
        let config = folder.write(&format!("{name}.toml"), config.as_bytes())?;
        let mut command = folder.sluice(&name)?;
        // The allocator's huge pages tell memory to 2 MiB, which is what some scenarios allow a relay to grow by.
        command.env("MIMALLOC_ALLOW_THP", "0");
        command.args(["relay", "--config"]).arg(config).args(["--log-format", "json"]);
        self.process = Some(place.spawn(self.node, command)?);
        Ok(())
    }

    /// Where it listens, once it says so; an error where it has ended.
    pub(super) fn ready(&mut self, folder: &Folder) -> anyhow::Result<Option<Addresses>> {
        let log = folder.log(&self.file());
        if let Some(process) = &mut self.process
            && let Some(status) = process.try_wait()?
        {
            let last = log.lines().last().unwrap_or("it said nothing").to_owned();
            anyhow::bail!("the relay `{}` has ended ({status}): {last}", self.name);
        }
        let ready = entries(&log).rfind(|entry| entry["message"] == "relay ready");
        let addr = |key: &str| ready.as_ref()?[key].as_str()?.parse::<SocketAddr>().ok();
        let (Some(user), Some(admin), Some(trunk)) = (addr("listen"), addr("admin"), addr("trunk")) else {
            return Ok(None);
        };
        let at = Addresses { user, admin, trunk };
        self.at = Some(at);
        Ok(Some(at))
    }

    /// Whether the trunks to all that it dials have come up.
    pub(super) fn has_trunks(&self, scenario: &Scenario, folder: &Folder) -> bool {
        let log = folder.log(&self.file());
        self.dials.iter().all(|peer| {
            let name = &scenario.node(peer.node).name;
            entries(&log).any(|entry| entry["message"] == "trunk up" && entry["pop"] == *name.as_str())
        })
    }

    /// What its logs say about its peers: connections lost, and times that one was silent.
    pub(super) fn troubles(&self, folder: &Folder) -> (u32, u32) {
        let (mut lost, mut silent) = (0, 0);
        for start in 1..=self.starts {
            let log = folder.log(&format!("{}-{start}", self.name));
            let mut up: BTreeMap<String, bool> = BTreeMap::new();
            for entry in entries(&log) {
                let pop = entry["pop"].as_str().unwrap_or_default().to_owned();
                match entry["message"].as_str().unwrap_or_default() {
                    // Up while it was up: the connection before it was lost without a word.
                    "trunk up" => lost += u32::from(up.insert(pop, true) == Some(true)),
                    "no connection to a trunk peer; trying again" => {
                        lost += u32::from(up.insert(pop, false) == Some(true));
                    }
                    "trunk peer is silent; no new joins there" => silent += 1,
                    _ => {}
                }
            }
        }
        (lost, silent)
    }

    /// Notes its memory and descriptors.
    pub(super) fn sample(&mut self, at: Duration) {
        if let Some(process) = &self.process {
            let of = |file: &str| format!("/proc/{}/{file}", process.id());
            let pages = std::fs::read_to_string(of("statm")).ok();
            let resident = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
            let held = std::fs::read_dir(of("fd")).map(|entries| entries.count() as u64);
            if let (Some(resident), Ok(held)) = (resident, held) {
                let memory = resident * rustix::param::page_size() as u64;
                self.samples.push(NodeSample { at, memory, held });
            }
        }
    }

    fn file(&self) -> String {
        format!("{}-{}", self.name, self.starts)
    }

    fn config(
        &self,
        scenario: &Scenario,
        at: Addresses,
        peers: &[(String, SocketAddr)],
        folder: &Folder,
    ) -> anyhow::Result<String> {
        let trust = folder.trunk_files(&self.name)?;
        let path = |path: &std::path::Path| path.display().to_string();
        // What others reach their origin by homes for them; the nearest origin is asked first.
        let far = |id: NodeId| scenario.distances().get(&id).copied().unwrap_or(usize::MAX);
        let ours = far(self.node);
        let behind = |link: &sluice_netem::scenario::Link| {
            link.other(self.node).is_some_and(|other| scenario.node(other).role.is_relay() && far(other) > ours)
        };
        let role = if ours == 0 || scenario.links.iter().any(behind) { "origin" } else { "edge" };
        let name = |peer: &Peer| scenario.node(peer.node).name.clone();
        let origins: Vec<String> =
            self.dials.iter().filter(|peer| far(peer.node) < ours || ours == 0).map(name).collect();
        let mut text = format!(
            "pop = {:?}\nrole = {role:?}\nstate_dir = {:?}\n[listen]\naddr = \"{}\"\n[admin]\naddr = \"{}\"\n\
             [trunk]\naddr = \"{}\"\nca = {:?}\ncert = {:?}\nkey = {:?}\norigins = {origins:?}\n",
            self.name,
            path(&folder.path("state")),
            at.user,
            at.admin,
            at.trunk,
            path(&trust.ca),
            path(&trust.cert),
            path(&trust.key),
        );
        for (name, addr) in peers {
            write!(text, "[[peer]]\npop = {name:?}\naddr = \"{addr}\"\n")?;
        }
        Ok(text)
    }
}

/// The entries of a log in JSON; the last line may be half written.
fn entries(log: &str) -> impl DoubleEndedIterator<Item = serde_json::Value> {
    log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
}
