//! A fleet as it runs.

use super::clients::{Clients, Stage};
use super::folder::Folder;
use super::place::{Addresses, Place};
use super::relays::{READY_MAX, Relay};
use super::times::Reader;
use anyhow::Context as _;
use rustix::process::Signal;
use sluice_net::{Clock as _, SystemClock};
use sluice_netem::model::State;
use sluice_netem::result::{Evidence, Happened, LinkEvidence, NodeEvidence, QueueSample};
use sluice_netem::scenario::{Action, Engine, LinkId, NodeId, Role, Scenario};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

/// How often conditions are looked at while everything starts.
const POLL: Duration = Duration::from_millis(10);
/// How often queues are looked at.
const QUEUES: Duration = Duration::from_millis(50);
/// How often memory is.
const MEMORY: Duration = Duration::from_millis(250);
/// The last objects of a run may take this long to be written down.
const SETTLE: Duration = Duration::from_millis(300);
/// How long viewers may take to end by themselves.
const END_MAX: Duration = Duration::from_secs(5);

/// Told how far a run is; says whether to go on.
pub(in super::super) type Watcher<'a> = dyn FnMut(Duration, Duration) -> anyhow::Result<()> + 'a;

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Viewers join, by their place.
    Join(usize),
    /// An event, by its place.
    Event(usize),
}

/// All processes of a run. Dropping it ends them, then the links, then the files.
pub(super) struct Fleet<'a> {
    scenario: &'a Scenario,
    engine: Engine,
    seed: u64,
    relays: Vec<Relay>,
    publishers: Vec<Clients>,
    viewers: Vec<Clients>,
    addresses: BTreeMap<NodeId, Addresses>,
    happened: Vec<Happened>,
    queues: BTreeMap<LinkId, Vec<QueueSample>>,
    place: Box<dyn Place>,
    folder: Folder,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        (engine, seed): (Engine, u64),
        place: Box<dyn Place>,
        folder: Folder,
    ) -> Self {
        Self {
            scenario,
            engine,
            seed,
            relays: Relay::all(scenario),
            publishers: Clients::all(scenario, |role| matches!(role, Role::Publisher(_))),
            viewers: Clients::all(scenario, |role| matches!(role, Role::Viewers(_))),
            addresses: BTreeMap::new(),
            happened: Vec::new(),
            queues: BTreeMap::new(),
            place,
            folder,
        }
    }

    pub(super) fn run(mut self, watcher: &mut Watcher<'_>) -> anyhow::Result<Evidence> {
        let begun = SystemClock.now();
        self.start(watcher)?;
        let (start, unix) = (SystemClock.now(), SystemClock.unix_time());
        self.place.begin(self.scenario)?;
        self.place.forget()?;
        self.play(start, watcher)?;
        let ended = self.scenario.duration;
        let lateness = self.place.lateness()?;
        let links = self.links()?;
        self.end()?;
        let reader = Reader { start: unix };
        let published = self.publishers.iter().map(|of| (of.node, of.published(&self.folder, reader)));
        let viewers = self.viewers.iter().flat_map(|of| of.viewings(&self.folder, reader, ended));
        Ok(Evidence {
            engine: self.engine,
            seed: self.seed,
            ended,
            wall: SystemClock.now().saturating_duration_since(begun),
            published: published.collect(),
            viewers: viewers.collect(),
            links,
            nodes: self.relays.iter().map(|relay| self.node(relay)).collect(),
            happened: self.happened.clone(),
            lateness: Some(lateness),
            trace_hash: None,
        })
    }

    /// Relays, trunks, publishers: until something is on air.
    fn start(&mut self, watcher: &mut Watcher<'_>) -> anyhow::Result<()> {
        for at in 0..self.relays.len() {
            let Some(relay) = self.relays.get_mut(at) else { break };
            relay.start(self.scenario, &mut *self.place, &self.folder, &self.addresses)?;
            let what = format!("the relay `{}` to be ready", relay.name);
            let (node, folder) = (relay.node, &self.folder);
            let addresses = wait(&what, watcher, || relay.ready(folder))?;
            self.addresses.insert(node, addresses);
        }
        let (scenario, relays, folder) = (self.scenario, &self.relays, &self.folder);
        let trunks = || Ok(relays.iter().all(|relay| relay.has_trunks(scenario, folder)).then_some(()));
        wait("the trunks", watcher, trunks)?;
        let stage = Stage { scenario: self.scenario, folder: &self.folder, relays: &self.addresses };
        for publisher in &mut self.publishers {
            publisher.start(stage, &mut *self.place, Duration::ZERO)?;
        }
        for publisher in &mut self.publishers {
            wait("a publisher", watcher, || Ok(publisher.is_live(&self.folder)?.then_some(())))?;
        }
        Ok(())
    }

    /// From the start of the scenario's clock to its end.
    fn play(&mut self, start: Instant, watcher: &mut Watcher<'_>) -> anyhow::Result<()> {
        let joins = self.viewers.iter().enumerate().map(|(at, of)| match &self.scenario.node(of.node).role {
            Role::Viewers(viewers) => (viewers.join, Due::Join(at)),
            Role::Origin | Role::Edge | Role::Publisher(_) => (Duration::ZERO, Due::Join(at)),
        });
        let events = self.scenario.events.iter().enumerate().map(|(at, event)| (event.at, Due::Event(at)));
        let mut agenda: Vec<(Duration, Due)> = joins.chain(events).collect();
        agenda.sort();
        let mut agenda = agenda.into_iter().peekable();
        let (mut queues, mut memory) = (Duration::ZERO, Duration::ZERO);
        loop {
            let now = SystemClock.now().saturating_duration_since(start);
            if now >= self.scenario.duration {
                return Ok(());
            }
            while let Some((_, due)) = agenda.next_if(|(at, _)| *at <= now) {
                self.act(due, start)?;
            }
            if queues <= now {
                self.sample_queues(now)?;
                queues = now + QUEUES;
            }
            if memory <= now {
                self.relays.iter_mut().for_each(|relay| relay.sample(now));
                watcher(now, self.scenario.duration)?;
                memory = now + MEMORY;
            }
            let next = agenda.peek().map_or(self.scenario.duration, |(at, _)| *at).min(queues).min(memory);
            let now = SystemClock.now().saturating_duration_since(start);
            thread::sleep(next.min(self.scenario.duration).saturating_sub(now));
        }
    }

    fn act(&mut self, due: Due, start: Instant) -> anyhow::Result<()> {
        let now = SystemClock.now().saturating_duration_since(start);
        match due {
            Due::Join(at) => {
                let stage = Stage { scenario: self.scenario, folder: &self.folder, relays: &self.addresses };
                match self.viewers.get_mut(at) {
                    Some(viewers) => viewers.start(stage, &mut *self.place, now),
                    None => Ok(()),
                }
            }
            Due::Event(event) => {
                let scenario = self.scenario;
                let Some(told) = scenario.events.get(event) else { return Ok(()) };
                let failed = self.carry_out(&told.action, now).err().map(|error| format!("{error:#}"));
                self.happened.push(Happened { event, at: now, failed });
                Ok(())
            }
        }
    }

    fn carry_out(&mut self, action: &Action, now: Duration) -> anyhow::Result<()> {
        match action {
            Action::Down(links) => links.iter().try_for_each(|link| self.place.set_state(*link, State::Down)),
            Action::Up(links) => links.iter().try_for_each(|link| self.place.set_state(*link, State::Up)),
            // Its place has known it from the beginning.
            Action::Set(..) => Ok(()),
            Action::Kill(node) => self.kill(*node, now),
            Action::Restart(node) => {
                self.kill(*node, now)?;
                self.restart(*node, now)
            }
            Action::Stop(node) => self.signal(*node, Signal::STOP),
            Action::Cont(node) => self.signal(*node, Signal::CONT),
            Action::Clock(..) | Action::Rebind(_) => anyhow::bail!("only in virtual time"),
        }
    }

    fn kill(&mut self, node: NodeId, now: Duration) -> anyhow::Result<()> {
        if let Some(relay) = self.relays.iter_mut().find(|relay| relay.node == node)
            && let Some(mut process) = relay.process.take()
        {
            process.kill()?;
        }
        for clients in self.publishers.iter_mut().chain(&mut self.viewers).filter(|of| of.node == node) {
            clients.kill(now)?;
        }
        Ok(())
    }

    /// Starts it again; a relay is given the addresses that it had.
    fn restart(&mut self, node: NodeId, now: Duration) -> anyhow::Result<()> {
        if let Some(relay) = self.relays.iter_mut().find(|relay| relay.node == node) {
            return relay.start(self.scenario, &mut *self.place, &self.folder, &self.addresses);
        }
        let stage = Stage { scenario: self.scenario, folder: &self.folder, relays: &self.addresses };
        for clients in self.publishers.iter_mut().chain(&mut self.viewers).filter(|of| of.node == node) {
            clients.start(stage, &mut *self.place, now)?;
        }
        Ok(())
    }

    fn signal(&self, node: NodeId, signal: Signal) -> anyhow::Result<()> {
        let relays = self.relays.iter().map(|relay| (relay.node, &relay.process));
        let clients = self.publishers.iter().chain(&self.viewers).map(|clients| (clients.node, &clients.process));
        let found = relays.chain(clients).find(|(id, _)| *id == node).and_then(|(_, process)| process.as_ref());
        Ok(found.context("its process does not run")?.signal(signal)?)
    }

    fn sample_queues(&mut self, now: Duration) -> anyhow::Result<()> {
        for (link, waits) in self.place.waits()? {
            self.queues.entry(link).or_default().push(QueueSample { at: now, waits });
        }
        Ok(())
    }

    fn links(&mut self) -> anyhow::Result<Vec<LinkEvidence>> {
        let queues = std::mem::take(&mut self.queues);
        let evidence = |state: super::place::LinkState| LinkEvidence {
            link: state.link,
            down: state.down,
            up: state.up,
            queue: queues.get(&state.link).cloned().unwrap_or_default(),
        };
        Ok(self.place.links()?.into_iter().map(evidence).collect())
    }

    /// Lets viewers write down what they have, then ends everybody.
    fn end(&mut self) -> anyhow::Result<()> {
        let patience = SystemClock.now() + END_MAX;
        thread::sleep(SETTLE);
        for viewers in &mut self.viewers {
            let Some(process) = &mut viewers.process else { continue };
            while process.try_wait()?.is_none() && SystemClock.now() < patience {
                thread::sleep(POLL);
            }
            process.kill()?;
        }
        for publisher in &mut self.publishers {
            publisher.kill(self.scenario.duration)?;
        }
        for relay in &mut self.relays {
            if let Some(process) = &mut relay.process {
                process.kill()?;
            }
        }
        Ok(())
    }

    fn node(&self, relay: &Relay) -> NodeEvidence {
        let (trunks_lost, route_changes) = relay.troubles(&self.folder);
        NodeEvidence {
            node: relay.node,
            samples: relay.samples.clone(),
            restarts: relay.restarts(),
            trunks_lost,
            route_changes,
        }
    }
}

/// Looks until there is something.
fn wait<T>(
    what: &str,
    watcher: &mut Watcher<'_>,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = SystemClock.now() + READY_MAX;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if SystemClock.now() >= deadline {
            anyhow::bail!("waited {} s in vain for {what}", READY_MAX.as_secs());
        }
        watcher(Duration::ZERO, Duration::ZERO)?;
        thread::sleep(POLL);
    }
}
