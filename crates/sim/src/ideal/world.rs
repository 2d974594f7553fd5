//! The loop: takes what is due, lets the process that it concerns act, and carries out what that wants.

use super::host::Host;
use super::schedule::{Due, Schedule};
use super::sink::{Allowance, Sink};
use super::wire::{Conn, ConnId, Frame, Phase};
use crate::actor::{Actor, PlanError};
use crate::invariant::{Breach, Violation, Watch};
use crate::plan::{Act, Kind, LinkId, NodeId, Plan, UNIX_START};
use crate::stage::Stage;
use crate::trace::TraceHash;
use sluice_moqt::transport::{App, Output, PathStats, SessionId};
use sluice_net::{Clock as _, ManualClock};
use sluice_netem::model::{Capacity, Counters, Direction, Key, Link, Queue, State, Way};
use sluice_node::Audit;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Time between two looks at the invariants.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two path reports of one connection, as the shard loop has it.
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// Effects of one process at one instant, beyond which it wakes itself without end.
const MAX_EFFECTS: usize = 100_000;
/// Timeouts of one process at one instant, beyond which a timer fires without end.
const MAX_TIMEOUTS: u32 = 100;
/// What may wait before a bottleneck beside what is under way on the wire.
const BOTTLENECK_QUEUE: Duration = Duration::from_millis(100);

/// How the transport of an ideal world behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Largest piece in which bytes of a stream arrive.
    pub piece: usize,
    /// Bytes that a connection may have under way; the profile of the leg allows less or more.
    pub window: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { piece: usize::MAX, window: usize::MAX }
    }
}

/// The ideal world of a plan.
#[derive(Debug)]
pub struct World {
    pub(super) plan: Plan,
    pub(super) options: Options,
    base: Instant,
    pub(super) now: Duration,
    pub(super) schedule: Schedule,
    pub(super) hosts: Vec<Host>,
    /// What slow readers read per second, by node.
    pub(super) reads: Vec<Option<u64>>,
    pub(super) links: Vec<[Link; 2]>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    pub(super) sessions: HashMap<SessionId, (ConnId, usize)>,
    pub(super) next: u64,
    pub(super) trace: TraceHash,
    pub(super) outputs: VecDeque<Output>,
    pub(super) watch: Watch,
}

impl World {
    /// A world in which nothing has happened.
    ///
    /// # Errors
    /// The plan contradicts itself, or the daemon would refuse a relay of it.
    pub fn new(plan: Plan, options: Options) -> Result<Self, PlanError> {
        // Only differences to it are ever used.
        let base = ManualClock::new(UNIX_START).now();
        let mut world = Self {
            options,
            base,
            now: Duration::ZERO,
            schedule: Schedule::default(),
            hosts: plan.nodes.iter().map(|_| Host::default()).collect(),
            reads: plan.nodes.iter().map(|node| reads(&node.kind)).collect(),
            links: links(&plan),
            conns: BTreeMap::new(),
            sessions: HashMap::new(),
            next: 1,
            trace: TraceHash::default(),
            outputs: VecDeque::new(),
            watch: Watch::new(&plan, base),
            plan,
        };
        for (id, node) in world.plan.ids() {
            Actor::start(&world.plan, id, Host::default().birth(base, Duration::ZERO))?;
            if let Some(at) = node.starts {
                world.schedule.add(at, Due::Start(id));
            }
        }
        for (number, event) in world.plan.events.iter().enumerate() {
            world.schedule.add(event.at, Due::Act(number));
        }
        world.schedule.add(LOOK_EVERY, Due::Look);
        Ok(world)
    }

    /// Counters of a link's two ways.
    #[must_use]
    pub fn counters(&self, link: usize) -> [Counters; 2] {
        self.links.get(link).map(|ways| [ways[0].counters(), ways[1].counters()]).unwrap_or_default()
    }

    /// Connections that a process uses.
    #[must_use]
    pub fn connections_of(&self, id: NodeId) -> usize {
        let ends = self.conns.values().flat_map(|conn| &conn.ends);
        ends.filter(|end| end.node == id && end.phase == Phase::Open).count()
    }

    pub(super) fn handle(&mut self, due: Due) {
        match due {
            Due::Act(number) => {
                if let Some(event) = self.plan.events.get(number).cloned() {
                    self.carry_out(event.act);
                }
            }
            Due::Start(node) => self.start(node),
            Due::Timer(node, life) => self.timer(node, life),
            Due::GraceOver(node, life) => self.grace_over(node, life),
            Due::Arrive(parcel, token) => {
                if self.survives(&parcel, token) {
                    self.arrive(parcel);
                } else {
                    self.lost(parcel);
                }
            }
            Due::Read(parcel) => self.deliver(parcel),
            Due::Resend(parcel) => self.resend(parcel),
            Due::Acked(ack) => self.acked(ack),
            Due::Idle(conn, end) => self.idle(conn, end),
            Due::Ping(conn, end) => self.ping(conn, end),
            Due::DialOver(conn) => self.dial_over(conn),
            Due::Look => {
                self.look();
                self.schedule.add(self.now + LOOK_EVERY, Due::Look);
            }
        }
    }

    /// The present as processes see it.
    pub(super) fn instant(&self) -> Instant {
        self.base + self.now
    }

    /// The start of time.
    pub(super) const fn base(&self) -> Instant {
        self.base
    }

    /// The session of an open end.
    pub(super) fn session_at(&self, conn: ConnId, end: usize) -> Option<SessionId> {
        let end = &self.conns.get(&conn)?.ends[end];
        (end.phase == Phase::Open).then_some(end.session)
    }

    /// Calls the process at an end, and takes what it wants done.
    pub(super) fn tell(&mut self, conn: ConnId, end: usize, call: impl FnOnce(&mut dyn App, Instant)) {
        let Some(conn) = self.conns.get(&conn) else { return };
        let node = conn.ends[end].node;
        self.call(node, call);
    }

    /// Calls a process, and takes what it wants done.
    pub(super) fn call(&mut self, node: NodeId, call: impl FnOnce(&mut dyn App, Instant)) {
        let now = self.instant();
        let Some(actor) = &mut self.hosts[node.index()].actor else { return };
        let app = actor.app();
        call(app, now);
        while let Some(output) = app.poll_output() {
            self.outputs.push_back(output);
        }
    }

    /// Carries out what a process wants, until it wants nothing more.
    pub(super) fn settle(&mut self, node: NodeId) {
        self.call(node, |_, _| {});
        let mut effects = 0;
        while let Some(output) = self.outputs.pop_front() {
            effects += 1;
            if effects > MAX_EFFECTS {
                self.outputs.clear();
                self.breach(node, Violation::Restless { what: "a session is woken without end" });
                break;
            }
            match output {
                Output::Wake(session) => self.visit(session),
                Output::Close { session, code, reason } => self.close(session, code, reason),
                Output::Dial(dial) => self.dial(node, dial),
                Output::StreamLimit { session, dir, count } => {
                    if let Some((conn, end)) = self.sessions.get(&session).copied() {
                        self.send_all(conn, end, vec![Frame::Limit(dir, count)]);
                    }
                }
            }
        }
        self.observe(node);
        self.arm(node);
    }

    /// Lets a process write into one of its connections.
    fn visit(&mut self, session: SessionId) {
        let Some((id, at)) = self.sessions.get(&session).copied() else { return };
        let allowance = Allowance { window: self.window_of(id, at), piece: self.options.piece };
        let now = self.instant();
        let Some(end) = self.conns.get_mut(&id).map(|conn| &mut conn.ends[at]) else { return };
        let node = end.node;
        let Some(actor) = &mut self.hosts[node.index()].actor else { return };
        let mut frames = Vec::new();
        let mut sink = Sink { end, side: super::carry::side(at), allowance, frames: &mut frames };
        actor.app().select(now, session, &mut sink);
        let is_due = |last: Duration| self.now.saturating_sub(last) >= STATS_INTERVAL;
        let report = end.reported.is_none_or(is_due).then(|| {
            end.reported = Some(self.now);
            end.streams.written
        });
        self.call(node, |_, _| {});
        self.send_all(id, at, frames);
        if let Some(udp_tx_bytes) = report {
            let stats = PathStats { rtt: self.round_trip(id), udp_tx_bytes, ..PathStats::default() };
            self.call(node, |app, now| app.handle_stats(now, session, stats));
        }
    }

    /// Bytes that an end may have under way: what its profile and the other's windows allow, and no more than fills
    /// the bottleneck of its link, as a congestion controller would find out.
    pub(super) fn window_of(&self, id: ConnId, at: usize) -> usize {
        let Some(conn) = self.conns.get(&id) else { return 0 };
        let (ours, theirs) = (&conn.ends[at].profile, &conn.ends[1 - at].profile);
        let mut window = ours.send_window.max.min(u64::from(theirs.connection_window));
        let round_trip = self.round_trip(id);
        if let Some((link, out)) = conn.link {
            let way = if at == 0 { out } else { 1 - out };
            if let Some(rate) = rate_of(self.links[link.index()][way].config()) {
                let fills = rate * (round_trip + BOTTLENECK_QUEUE).as_secs_f64() / 8.0;
                window = window.min(whole(fills).max(ours.send_window.min));
            }
        }
        usize::try_from(window).unwrap_or(usize::MAX).min(self.options.window)
    }

    /// Makes sure that a process is called when it wants to be.
    pub(super) fn arm(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.index()];
        let Some(at) = host.actor.as_mut().and_then(|actor| actor.app().poll_timeout()) else { return };
        let at = at.saturating_duration_since(self.base).max(self.now);
        if host.armed.is_none_or(|armed| at < armed) {
            host.armed = Some(at);
            self.schedule.add(at, Due::Timer(node, host.life));
        }
    }

    fn timer(&mut self, node: NodeId, life: u32) {
        let now = self.now;
        let host = &mut self.hosts[node.index()];
        // Another one was armed in place of this one, which was later, or for an earlier life.
        if host.life != life || host.armed != Some(now) || host.stopped {
            return;
        }
        self.fire(node);
    }

    /// Calls a process whose time has come.
    pub(super) fn fire(&mut self, node: NodeId) {
        let now = self.instant();
        let host = &mut self.hosts[node.index()];
        host.armed = None;
        let due = host.actor.as_mut().is_some_and(|actor| actor.app().poll_timeout().is_some_and(|at| at <= now));
        if due {
            host.at_once = if host.fired == Some(self.now) { host.at_once + 1 } else { 0 };
            host.fired = Some(self.now);
            if host.at_once > MAX_TIMEOUTS {
                return self.breach(node, Violation::Restless { what: "a timer fires without end" });
            }
            self.call(node, |app, now| app.handle_timeout(now));
        }
        self.settle(node);
    }

    /// Takes what a process has noticed.
    fn observe(&mut self, node: NodeId) {
        match &mut self.hosts[node.index()].actor {
            Some(Actor::Publisher(publisher)) => {
                for published in publisher.take_published() {
                    self.watch.on_published(node, published);
                }
            }
            Some(Actor::Viewer(viewer)) => {
                for seen in viewer.take_seen() {
                    self.watch.on_seen(node, seen);
                }
            }
            Some(Actor::Relay(relay)) => {
                for incident in relay.take_incidents() {
                    self.watch.on_incident(self.now, node, &incident);
                }
            }
            None => {}
        }
    }

    /// Looks at the relays.
    fn look(&mut self) {
        let relays = self.plan.ids().filter_map(|(id, _)| Some((id, self.audit(id)?)));
        let relays: Vec<_> = relays.collect();
        self.watch.on_look(self.now, &relays);
        if let Some(recorder) = self.watch.recorder_mut() {
            for (link, ways) in self.links.iter().enumerate() {
                if ways.iter().any(|way| way.config().bottleneck.is_some()) {
                    let waits = ways.iter().map(|way| way.backlog(self.now)).max().unwrap_or_default();
                    recorder.on_queue(link, self.now, waits);
                }
            }
        }
    }

    pub(super) fn breach(&mut self, node: NodeId, violation: Violation) {
        self.watch.note(Breach { at: self.now, node: self.plan.node(node).name.clone(), violation });
    }
}

impl Stage for World {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn run_until(&mut self, until: Duration) {
        while self.watch.breach().is_none()
            && let Some((at, due)) = self.schedule.pop(until)
        {
            self.now = self.now.max(at);
            self.handle(due);
        }
        self.now = self.now.max(until);
    }

    fn act(&mut self, act: Act) {
        self.carry_out(act);
    }

    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }

    fn is_running(&self, node: NodeId) -> bool {
        self.hosts.get(node.index()).is_some_and(|host| host.actor.is_some() && !host.stopped)
    }

    fn is_up(&self, link: LinkId) -> bool {
        self.links.get(link.index()).is_some_and(|ways| ways.iter().all(|way| way.state() == State::Up))
    }

    fn audit(&self, node: NodeId) -> Option<Audit> {
        match self.hosts.get(node.index())?.actor.as_ref()? {
            Actor::Relay(relay) => Some(relay.node().audit()),
            Actor::Publisher(_) | Actor::Viewer(_) => None,
        }
    }

    fn trace(&self) -> TraceHash {
        self.trace
    }
}

fn reads(kind: &Kind) -> Option<u64> {
    match kind {
        Kind::Viewer(viewer) => viewer.reads,
        Kind::Relay(_) | Kind::Publisher(_) => None,
    }
}

fn links(plan: &Plan) -> Vec<[Link; 2]> {
    let made = (0..).zip(&plan.links).map(|(number, link)| {
        [(Way::Forward, 0), (Way::Reverse, 1)].map(|(way, at)| {
            let mut made = Link::new(Key::new(plan.seed, number, way), ideal(link.ways[at].clone()));
            if let Some(program) = &link.programs[at] {
                made.run_program(Duration::ZERO, program.clone().map(ideal));
            }
            made
        })
    });
    made.collect()
}

/// What of a link's conditions an ideal transport meets: it finds the size of packets and of queues by itself.
fn ideal(mut direction: Direction) -> Direction {
    if let Some(bottleneck) = &mut direction.bottleneck {
        bottleneck.queue = Queue::Bytes(u64::from(u32::MAX));
    }
    Direction { mtu: None, ..direction }
}

fn rate_of(direction: &Direction) -> Option<f64> {
    direction.bottleneck.as_ref().map(|bottleneck| match &bottleneck.capacity {
        Capacity::Rate(rate) => {
            #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53 bit/s")]
            let bits = rate.bits() as f64;
            bits
        }
        Capacity::Trace(trace) => trace.mean_rate(),
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float that is cut to the range of u64")]
const fn whole(value: f64) -> u64 {
    value as u64
}
