//! Publishers and viewers of a fleet.

use super::child::Running;
use super::folder::Folder;
use super::place::{Addresses, Dial, Place};
use super::times::Reader;
use anyhow::Context as _;
use sluice_netem::result::{Published, Viewing};
use sluice_netem::scenario::{NodeId, Role, Scenario, Viewers};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Clients wait for a relay that is away, and for a stream, this much longer than a run.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node of clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) node: NodeId,
    pub(super) process: Option<Running>,
    name: String,
    lives: Vec<Life>,
}

/// One process of it.
#[derive(Debug)]
struct Life {
    file: String,
    ended: Option<Duration>,
}

/// What clients are started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) folder: &'a Folder,
    pub(super) relays: &'a BTreeMap<NodeId, Addresses>,
}

impl Clients {
    /// The publishers, or the viewers.
    pub(super) fn all(scenario: &Scenario, which: fn(&Role) -> bool) -> Vec<Self> {
        let clients = scenario.node_ids().filter(|(_, node)| which(&node.role));
        let new = |(id, node): (NodeId, &sluice_netem::scenario::Node)| Self {
            node: id,
            process: None,
            name: node.name.clone(),
            lives: Vec::new(),
        };
        clients.map(new).collect()
    }

    /// Starts a process of it; `now` counts from the start of the run.
    pub(super) fn start(&mut self, stage: Stage<'_>, place: &mut dyn Place, now: Duration) -> anyhow::Result<()> {
        let file = format!("{}-{}", self.name, self.lives.len() + 1);
        let (relay, link) = stage.scenario.relay_of(self.node).context("every client has a link")?;
        let at = stage.relays.get(&relay).context("relays start first")?.user;
        let addr = place.reach(Dial { from: self.node, to: relay, link, at })?;
        let mut command = stage.folder.sluice(&file)?;
        let times = stage.folder.path(&format!("{file}.times"));
        match &stage.scenario.node(self.node).role {
            Role::Publisher(workload) => {
                let footage = stage.folder.write(&format!("{}.mp4", self.name), &super::footage::footage(workload)?)?;
                let url = format!("moqt://{addr}/{}", self.name);
                command.args(["client-probe", "publish", &url, "--loop", "--stamp", "--input"]).arg(footage);
            }
            Role::Viewers(viewers) => {
                let stream = &stage.scenario.node(viewers.watch).name;
                watch(&mut command, (addr, stream), viewers, stage.scenario.duration.saturating_sub(now));
            }
            Role::Origin | Role::Edge => anyhow::bail!("{} is no client", self.name),
        }
        let patience = format!("{}ms", (stage.scenario.duration + PATIENCE).as_millis());
        command.args(["--insecure", "--format", "json", "--timeout", &patience, "--times"]).arg(times);
        self.process = Some(place.spawn(self.node, command)?);
        self.lives.push(Life { file, ended: None });
        Ok(())
    }

    /// Kills it without a word.
    pub(super) fn kill(&mut self, now: Duration) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        if let Some(life) = self.lives.last_mut() {
            life.ended.get_or_insert(now);
        }
        Ok(())
    }

    /// Whether something of it has been published.
    pub(super) fn is_live(&mut self, folder: &Folder) -> anyhow::Result<bool> {
        let Some(life) = self.lives.last() else { return Ok(false) };
        if let Some(process) = &mut self.process
            && let Some(status) = process.try_wait()?
        {
            let log = folder.log(&life.file);
            anyhow::bail!("the publisher `{}` has ended ({status}): {}", self.name, log.lines().last().unwrap_or(""));
        }
        Ok(folder.read(&format!("{}.times", life.file)).lines().any(|line| line.starts_with("published video")))
    }

    /// What was published in all its lives.
    pub(super) fn published(&self, folder: &Folder, reader: Reader) -> Vec<Published> {
        let lives = self.lives.iter().map(|life| folder.read(&format!("{}.times", life.file)));
        lives.flat_map(|text| reader.published(&text)).collect()
    }

    /// What its viewers got in all its lives.
    pub(super) fn viewings(&self, folder: &Folder, reader: Reader, ended: Duration) -> Vec<Viewing> {
        let life = |life: &Life| {
            let text = folder.read(&format!("{}.times", life.file));
            reader.viewings(&text, self.node, life.ended.unwrap_or(ended))
        };
        self.lives.iter().flat_map(life).collect()
    }
}

fn watch(command: &mut Command, (addr, stream): (SocketAddr, &str), viewers: &Viewers, rest: Duration) {
    let span = |time: Duration| format!("{}ms", time.as_millis().max(1));
    let count = viewers.count.to_string();
    let url = format!("moqt://{addr}/{stream}");
    command.args(["client-probe", "load", &url, "--viewers", &count]);
    command.args(["--for", &span(rest), "--ramp", &span(viewers.ramp)]);
    if let Some(stay) = viewers.stay {
        command.args(["--stay", &span(stay)]);
    }
}
