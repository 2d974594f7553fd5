//! A plan carried out over real QUIC.

use super::WorldError;
use super::certs::Authority;
use super::engine::{Engine, EngineError};
use super::net::{HostId, WireId};
use super::process::Process;
use super::setup::{self, Parts};
use crate::actor::{Actor, Birth};
use crate::invariant::{Breach, Violation, Watch};
use crate::plan::{Act, Event, Jump, Kind, LinkId, NodeId, Plan, UNIX_START};
use crate::stage::Stage;
use crate::trace::TraceHash;
use sluice_net::{Clock, Stats};
use sluice_netem::model::{Bottleneck, Capacity, Counters, Direction, Key, Queue, Rate, Span, State, Way};
use sluice_node::Audit;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a process that was asked to quit may take.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is collected what processes have noticed, and looked whether those that were asked to quit are done.
const COLLECT_EVERY: Duration = Duration::from_millis(50);
/// How often the invariants of relays are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Outside ports of rebound addresses count up from here.
const FIRST_REBOUND: u16 = 50_000;
/// What waits before the bottleneck of a viewer that reads slowly.
const SLOW_QUEUE: Span = Span::from_millis(200);

/// The world of a plan over real QUIC.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    engine: Engine<Process>,
    parts: Vec<Parts>,
    lives: Vec<u32>,
    wires: Vec<[WireId; 2]>,
    /// What is yet to happen, in order.
    agenda: VecDeque<Event>,
    /// Processes that were asked to quit, and until when they may take.
    leaving: BTreeMap<NodeId, Duration>,
    rebinds: u16,
    collect_at: Duration,
    look_at: Duration,
    watch: Watch,
}

impl World {
    /// A world in which nothing has happened.
    ///
    /// # Errors
    /// The plan contradicts itself, or the daemon would refuse a relay of it.
    pub fn new(plan: Plan) -> Result<Self, WorldError> {
        let mut engine = Engine::new(UNIX_START);
        let mut authority = Authority::new(plan.seed)?;
        let mut parts = Vec::new();
        for (id, _) in plan.ids() {
            let host = engine.add_host(id.ip());
            let clock: Arc<dyn Clock> = Arc::new(engine.clock(host).clone());
            // What cannot start is told before anything runs.
            Actor::start(&plan, id, Birth { now: clock.now(), wall: clock.unix_time(), life: 0 })?;
            parts.push(Parts::new(&plan, id, &mut authority, &clock)?);
        }
        let wires = wires(&engine, &plan);
        let starts = plan.ids().filter_map(|(id, node)| Some(Event { at: node.starts?, act: Act::Start(id) }));
        let mut agenda: Vec<Event> = starts.chain(plan.events.iter().cloned()).collect();
        // Stable: of one instant, processes start first, then things happen in the plan's order.
        agenda.sort_by_key(|event| event.at);
        Ok(Self {
            lives: vec![0; parts.len()],
            agenda: agenda.into(),
            leaving: BTreeMap::new(),
            rebinds: 0,
            collect_at: COLLECT_EVERY,
            look_at: LOOK_EVERY,
            watch: Watch::new(&plan, engine.instant(Duration::ZERO)),
            plan,
            engine,
            parts,
            wires,
        })
    }

    /// Runs to `next`, which nothing of the agenda precedes.
    fn advance(&mut self, next: Duration) {
        if let Err(error) = self.engine.run_until(next) {
            let (node, what) = match error {
                EngineError::Spins { host, .. } => (host, "its shard is turned without end"),
                EngineError::Turn { host, .. } => (host, "its shard cannot be turned"),
            };
            let node = self.plan.nodes[node].name.clone();
            self.watch.note(Breach { at: self.engine.now(), node, violation: Violation::Restless { what } });
        }
    }

    /// Takes what processes have noticed: those of publishers first, so that nothing is seen before it was published.
    fn collect(&mut self) {
        let ids: Vec<NodeId> = self.plan.ids().map(|(id, _)| id).collect();
        for id in &ids {
            let published = self.engine.peek(host(*id), |process| match &mut process.0 {
                Actor::Publisher(publisher) => publisher.take_published(),
                Actor::Relay(_) | Actor::Viewer(_) => Vec::new(),
            });
            for published in published.into_iter().flatten() {
                self.watch.on_published(*id, published);
            }
        }
        for id in &ids {
            let seen = self.engine.peek(host(*id), |process| match &mut process.0 {
                Actor::Viewer(viewer) => (viewer.take_seen(), Vec::new()),
                Actor::Relay(relay) => (Vec::new(), relay.take_incidents()),
                Actor::Publisher(_) => (Vec::new(), Vec::new()),
            });
            let (seen, incidents) = seen.unwrap_or_default();
            for seen in seen {
                self.watch.on_seen(*id, seen);
            }
            for incident in incidents {
                self.watch.on_incident(self.engine.now(), *id, &incident);
            }
        }
        if self.engine.now() >= self.look_at {
            self.look_at = self.engine.now() + LOOK_EVERY;
            self.look();
        }
    }

    /// Looks at the relays, and at what waits before bottlenecks.
    fn look(&mut self) {
        let now = self.engine.now();
        let relays: Vec<_> = self.plan.ids().filter_map(|(id, _)| Some((id, self.audit(id)?))).collect();
        self.watch.on_look(now, &relays);
        if let Some(recorder) = self.watch.recorder_mut() {
            for (link, ways) in self.wires.iter().enumerate() {
                let waits = ways.iter().filter_map(|wire| self.engine.net().bottleneck(*wire)).max();
                if let Some(waits) = waits {
                    recorder.on_queue(link, now, waits);
                }
            }
        }
    }

    fn start(&mut self, node: NodeId) {
        if self.engine.shard(host(node)).is_some() {
            return;
        }
        let life = self.lives[node.index()];
        self.lives[node.index()] += 1;
        setup::start(&mut self.engine, &self.plan, (node, &self.parts[node.index()]), life)
            .expect("the plan was tried when the world was made, and simulated sockets do not fail");
        self.watch.on_start(self.engine.now(), node);
    }

    fn kill(&mut self, node: NodeId) {
        self.leaving.remove(&node);
        if self.engine.shard(host(node)).is_some() {
            // What it has noticed is known although it cannot tell any more.
            self.collect();
            self.engine.kill(host(node));
            self.watch.on_end(self.engine.now(), node);
        }
    }

    /// Ends the processes that were asked to quit and have nobody left, or no time.
    fn see_off(&mut self) {
        let now = self.engine.now();
        let done = |node: NodeId, until: Duration| {
            let Some(shard) = self.engine.shard(host(node)) else { return true };
            now >= until || (shard.app().0.is_done() && shard.connections() == 0)
        };
        let over: Vec<NodeId> = self.leaving.iter().filter(|(node, at)| done(**node, **at)).map(|(n, _)| *n).collect();
        for node in over {
            // Its last packets say goodbye.
            self.engine.end(host(node));
            self.kill(node);
        }
    }

    fn set_state(&self, link: LinkId, state: State) {
        for wire in self.wires[link.index()] {
            self.engine.net().set_state(wire, state);
        }
    }

    /// Whoever dials over a link is seen from another port from now on, as behind a NAT that has lost its table.
    fn rebind(&mut self, link: LinkId) {
        let [a, b] = self.plan.links[link.index()].between;
        let is_client = |id: &NodeId| !matches!(self.plan.node(*id).kind, Kind::Relay(_));
        let inside = match [a, b].into_iter().find(is_client) {
            Some(client) => setup::client_addr(client),
            // Between relays the one dials that has the other in its configuration.
            None => match &self.plan.node(a).kind {
                Kind::Relay(relay) if relay.origins.contains(&b) || relay.peers.contains(&b) => a.trunk_addr(),
                Kind::Relay(_) | Kind::Publisher(_) | Kind::Viewer(_) => b.trunk_addr(),
            },
        };
        self.rebinds += 1;
        self.engine.net().rebind(inside, SocketAddr::new(inside.ip(), FIRST_REBOUND + self.rebinds));
    }

    /// Time since the start.
    #[must_use]
    pub fn since_start(&self, at: Instant) -> Duration {
        self.engine.since_start(at)
    }

    /// The process of a node, if one lives.
    #[must_use]
    pub fn actor(&self, node: NodeId) -> Option<&Actor> {
        Some(&self.engine.shard(host(node))?.app().0)
    }

    /// Calls the process of a node, if one lives.
    pub fn with_actor<R>(&mut self, node: NodeId, body: impl FnOnce(&mut Actor, Instant) -> R) -> Option<R> {
        self.engine.with_app(host(node), |process, now| body(&mut process.0, now))
    }

    /// What the shard of a node has counted.
    #[must_use]
    pub fn stats(&self, node: NodeId) -> Option<Stats> {
        Some(self.engine.shard(host(node))?.stats())
    }

    /// Connections of a node.
    #[must_use]
    pub fn connections(&self, node: NodeId) -> usize {
        self.engine.shard(host(node)).map_or(0, sluice_net::Shard::connections)
    }

    /// What a link has counted, there and back.
    #[must_use]
    pub fn counters(&self, link: LinkId) -> [Counters; 2] {
        self.wires[link.index()].map(|wire| self.engine.net().counters(wire))
    }

    /// Turns of all shards so far.
    #[must_use]
    pub const fn turns(&self) -> u64 {
        self.engine.turns()
    }
}

impl Stage for World {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn now(&self) -> Duration {
        self.engine.now()
    }

    fn run_until(&mut self, until: Duration) {
        while self.watch.breach().is_none() {
            let event = self.agenda.front().map_or(until, |event| event.at);
            let next = event.min(self.collect_at).min(until).max(self.engine.now());
            self.advance(next);
            let mut acted = false;
            while let Some(event) = self.agenda.pop_front_if(|event| event.at <= next) {
                acted = true;
                self.act(event.act);
            }
            if next >= self.collect_at || next >= until {
                self.collect_at = next + COLLECT_EVERY;
                self.collect();
                self.see_off();
            }
            if next >= until && !acted {
                break;
            }
        }
    }

    fn act(&mut self, act: Act) {
        self.watch.on_act(self.engine.now(), &act);
        match act {
            Act::Down(link) => self.set_state(link, State::Down),
            Act::Up(link) => self.set_state(link, State::Up),
            // Its program does it.
            Act::Set(_) => {}
            Act::Rebind(link) => self.rebind(link),
            Act::Kill(node) => self.kill(node),
            Act::Start(node) => self.start(node),
            Act::Quit(node) => {
                self.with_actor(node, |actor, now| actor.quit(now, GRACE));
                self.leaving.insert(node, self.engine.now() + GRACE);
            }
            Act::Stop(node) => self.engine.stop(host(node)),
            Act::Cont(node) => self.engine.cont(host(node)),
            Act::Clock(node, jump) => self.engine.clock(host(node)).jump(millis(jump)),
        }
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }

    fn is_running(&self, node: NodeId) -> bool {
        self.engine.is_running(host(node))
    }

    fn is_up(&self, link: LinkId) -> bool {
        self.wires[link.index()].iter().all(|wire| self.engine.net().state(*wire) == State::Up)
    }

    fn audit(&self, node: NodeId) -> Option<Audit> {
        match self.actor(node)? {
            Actor::Relay(relay) => Some(relay.node().audit()),
            Actor::Publisher(_) | Actor::Viewer(_) => None,
        }
    }

    /// Over time, link, size and outcome of every packet.
    fn trace(&self) -> TraceHash {
        self.engine.net().trace()
    }
}

const fn host(node: NodeId) -> HostId {
    HostId(node.index())
}

fn millis(jump: Jump) -> i64 {
    let of = |by: Duration| i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    match jump {
        Jump::Ahead(by) => of(by),
        Jump::Back(by) => -of(by),
    }
}

fn wires(engine: &Engine<Process>, plan: &Plan) -> Vec<[WireId; 2]> {
    let mut wires = Vec::new();
    for (id, link) in (0..).map(LinkId).zip(&plan.links) {
        let [a, b] = link.between.map(host);
        let number = u32::from(id.0);
        let [there, back] = link.ways.clone();
        let net = engine.net();
        let there = net.add_wire(Key::new(plan.seed, number, Way::Forward), narrowed(plan, id, 0, there));
        let back = net.add_wire(Key::new(plan.seed, number, Way::Reverse), narrowed(plan, id, 1, back));
        net.route(a, b, there);
        net.route(b, a, back);
        for (way, wire) in [there, back].into_iter().enumerate() {
            if let Some(program) = link.programs[way].clone() {
                net.run_program(wire, program.map(|config| narrowed(plan, id, way, config)));
            }
        }
        wires.push([there, back]);
    }
    wires
}

/// The way to a viewer that reads slowly is as slow as the viewer: the shard loop reads at once whatever comes, so that
/// a slow reader is one at a slow access link.
fn narrowed(plan: &Plan, link: LinkId, way: usize, config: Direction) -> Direction {
    let receiver = plan.links[link.index()].between[1 - way];
    let Kind::Viewer(viewer) = &plan.node(receiver).kind else { return config };
    let Some(bytes) = viewer.reads else { return config };
    let slow = Rate::clamped(bytes.saturating_mul(8));
    let faster = match config.bottleneck.as_ref().map(|bottleneck| &bottleneck.capacity) {
        None | Some(Capacity::Trace(_)) => true,
        Some(Capacity::Rate(rate)) => rate.bits() > slow.bits(),
    };
    if !faster {
        return config;
    }
    let bottleneck = Bottleneck { capacity: Capacity::Rate(slow), queue: Queue::Time(SLOW_QUEUE) };
    Direction { bottleneck: Some(bottleneck), ..config }
}
