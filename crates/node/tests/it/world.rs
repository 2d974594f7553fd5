//! Nodes and clients joined by in-memory connections, in virtual time.

use crate::client::Client;
use crate::sink::{End, Half, Sink};
use bytes::Bytes;
use sluice_moqt::transport::{App, CloseReason, Dial, Dir, Output, Peer, SessionId, Side, StreamEvent, StreamId};
use sluice_node::{
    CONTROL_ALPN, Config, Homing, Ingest, Limits, Node, PeerConfig, PublisherPolicy, Role, Shard, USER_ALPN,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Visits in one round of [`World::run`], per connection and delivery, beyond which somebody wakes himself.
const MAX_VISITS: usize = 20_000;
/// Timeouts at one instant beyond which a timer fires without end.
const MAX_TIMEOUTS_AT_ONCE: usize = 100;

/// A node of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct N(usize);

/// A client of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct C(usize);

enum Host {
    Node(Box<Node>),
    Client(Box<Client>),
}

impl Host {
    fn app(&mut self) -> &mut dyn App {
        match self {
            Self::Node(node) => &mut **node,
            Self::Client(client) => &mut **client,
        }
    }
}

/// One end of a connection.
struct WireEnd {
    host: usize,
    session: SessionId,
    sink: Sink,
}

struct Wire {
    ends: [WireEnd; 2],
    /// Nothing crosses.
    silent: bool,
    is_control: bool,
}

/// Everything.
pub(crate) struct World {
    pub(crate) now: Instant,
    hosts: Vec<Host>,
    wires: Vec<Wire>,
    /// Pairs of nodes that cannot reach each other.
    cut: BTreeSet<(usize, usize)>,
    by_session: BTreeMap<SessionId, (usize, usize)>,
    next_session: u64,
    /// Visits so far.
    pub(crate) visits: usize,
    /// Sizes of the pieces in which bytes cross; empty: as written.
    pub(crate) pieces: Vec<usize>,
    /// Times a node has dialled.
    pub(crate) dials: usize,
    /// Bytes that fresh trunk connections take, each way.
    pub(crate) trunk_room: usize,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a test's time")]
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::now(),
            hosts: Vec::new(),
            wires: Vec::new(),
            cut: BTreeSet::new(),
            by_session: BTreeMap::new(),
            next_session: 1,
            visits: 0,
            pieces: Vec::new(),
            dials: 0,
            trunk_room: usize::MAX,
        }
    }

    pub(crate) fn node(&mut self, config: Config) -> N {
        self.hosts.push(Host::Node(Box::new(Node::new(self.now, config))));
        N(self.hosts.len() - 1)
    }

    /// A client connected to `node`, both SETUPs exchanged.
    pub(crate) fn client(&mut self, node: N) -> C {
        self.hosts.push(Host::Client(Box::new(Client::new(self.now))));
        let client = self.hosts.len() - 1;
        self.connect((client, node.0), USER_ALPN, None);
        self.run();
        C(client)
    }

    /// Many clients at once.
    pub(crate) fn crowd(&mut self, node: N, count: usize) -> Vec<C> {
        let first = self.hosts.len();
        for client in first..first + count {
            self.hosts.push(Host::Client(Box::new(Client::new(self.now))));
            self.connect((client, node.0), USER_ALPN, None);
        }
        self.run();
        (first..first + count).map(C).collect()
    }

    pub(crate) fn n(&mut self, node: N) -> &mut Node {
        match &mut self.hosts[node.0] {
            Host::Node(node) => node,
            Host::Client(_) => unreachable!("a client is no node"),
        }
    }

    pub(crate) fn c(&mut self, client: C) -> &mut Client {
        match &mut self.hosts[client.0] {
            Host::Client(client) => client,
            Host::Node(_) => unreachable!("a node is no client"),
        }
    }

    fn pop_of(&self, host: usize) -> Option<String> {
        match &self.hosts[host] {
            Host::Node(node) => Some(node.pop().as_str().to_owned()),
            Host::Client(_) => None,
        }
    }

    fn connect(&mut self, (client, server): (usize, usize), alpn: &[u8], token: Option<u64>) {
        let ids = [self.next_session, self.next_session + 1].map(SessionId);
        self.next_session += 2;
        let room = if alpn == USER_ALPN { usize::MAX } else { self.trunk_room };
        let end = |host, session, side| {
            let mut sink = Sink::new(side);
            sink.room = room;
            WireEnd { host, session, sink }
        };
        let ends = [end(client, ids[0], Side::Client), end(server, ids[1], Side::Server)];
        self.by_session.insert(ids[0], (self.wires.len(), 0));
        self.by_session.insert(ids[1], (self.wires.len(), 1));
        self.wires.push(Wire { ends, silent: false, is_control: alpn == CONTROL_ALPN });
        let trunk = alpn != USER_ALPN;
        for (host, other, side, session, token) in
            [(client, server, Side::Client, ids[0], token), (server, client, Side::Server, ids[1], None)]
        {
            let pop = self.pop_of(other).filter(|_| trunk);
            let remote = SocketAddr::from(([127, 0, 0, 1], 1));
            let peer = Peer { side, alpn: alpn.to_vec(), pop, remote, token };
            let now = self.now;
            self.hosts[host].app().handle_connected(now, session, peer);
        }
    }

    fn wire_of(&self, client: C) -> &Wire {
        self.wires.iter().find(|wire| wire.ends[0].host == client.0).expect("connected")
    }

    /// The node's sink towards a client.
    pub(crate) fn sink_to(&mut self, client: C) -> &mut Sink {
        let wire = self.wires.iter_mut().find(|wire| wire.ends[0].host == client.0).expect("connected");
        &mut wire.ends[1].sink
    }

    /// Whether the client's connection is open.
    pub(crate) fn is_open(&self, client: C) -> bool {
        self.by_session.contains_key(&self.wire_of(client).ends[0].session)
    }

    /// The client's connection is gone.
    pub(crate) fn close(&mut self, client: C) {
        let session = self.wire_of(client).ends[0].session;
        if let Some((wire, _)) = self.by_session.get(&session).copied() {
            self.close_wire(wire, &[CloseReason::Local, CloseReason::TimedOut]);
        }
        self.run();
    }

    fn close_wire(&mut self, wire: usize, reasons: &[CloseReason; 2]) {
        for (at, reason) in reasons.iter().enumerate() {
            let WireEnd { host, session, .. } = self.wires[wire].ends[at];
            if self.by_session.remove(&session).is_some() {
                let now = self.now;
                self.hosts[host].app().handle_closed(now, session, reason.clone());
            }
            self.wires[wire].ends[at].sink.let_go();
        }
    }

    fn between(&self, a: N, b: N) -> Vec<usize> {
        let joins = |wire: &Wire| {
            let hosts = [wire.ends[0].host, wire.ends[1].host];
            hosts == [a.0, b.0] || hosts == [b.0, a.0]
        };
        let open = |wire: &Wire| self.by_session.contains_key(&wire.ends[0].session);
        (0..self.wires.len()).filter(|at| joins(&self.wires[*at]) && open(&self.wires[*at])).collect()
    }

    /// Connections between two nodes.
    pub(crate) fn connections(&self, a: N, b: N) -> usize {
        self.between(a, b).len()
    }

    /// Every connection between two nodes is lost and none comes about.
    pub(crate) fn cut(&mut self, a: N, b: N) {
        self.cut.insert((a.0, b.0));
        self.cut.insert((b.0, a.0));
        for wire in self.between(a, b) {
            self.close_wire(wire, &[CloseReason::TimedOut, CloseReason::TimedOut]);
        }
        self.run();
    }

    /// Undoes [`World::cut`].
    pub(crate) fn mend(&mut self, a: N, b: N) {
        self.cut.remove(&(a.0, b.0));
        self.cut.remove(&(b.0, a.0));
    }

    /// Nothing crosses between two nodes, and nobody is told.
    pub(crate) fn silence(&mut self, a: N, b: N) {
        for wire in self.between(a, b) {
            self.wires[wire].silent = true;
        }
    }

    /// Nothing crosses between two nodes, nobody is told, and no connection comes about.
    pub(crate) fn lose(&mut self, a: N, b: N) {
        self.cut.insert((a.0, b.0));
        self.cut.insert((b.0, a.0));
        self.silence(a, b);
    }

    /// Undoes [`World::silence`] and [`World::lose`].
    pub(crate) fn speak(&mut self, a: N, b: N) {
        self.mend(a, b);
        for wire in self.between(a, b) {
            self.wires[wire].silent = false;
        }
        self.run();
    }

    /// Undoes [`World::silence`] for control connections: media still waits for its retransmission.
    pub(crate) fn speak_control(&mut self, a: N, b: N) {
        for wire in self.between(a, b) {
            self.wires[wire].silent &= !self.wires[wire].is_control;
        }
        self.run();
    }

    /// Lets everything happen that needs no time.
    pub(crate) fn run(&mut self) {
        let before = self.visits;
        for host in &mut self.hosts {
            if let Host::Client(client) = host {
                client.rouse();
            }
        }
        loop {
            let mut moved = self.effects();
            for wire in 0..self.wires.len() {
                moved |= self.carry(wire, 0);
                moved |= self.carry(wire, 1);
            }
            assert!(self.visits - before < MAX_VISITS, "a session is woken without end");
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass; every timeout fires when it is due.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.run();
        let end = self.now + time;
        let mut at_once = 0;
        while let Some(next) = self.next_timeout().filter(|at| *at <= end) {
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < MAX_TIMEOUTS_AT_ONCE, "a timer fires without end");
            self.now = self.now.max(next);
            let now = self.now;
            for host in &mut self.hosts {
                let app = host.app();
                if app.poll_timeout().is_some_and(|at| at <= now) {
                    app.handle_timeout(now);
                }
            }
            self.run();
        }
        self.now = end;
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.hosts.iter_mut().filter_map(|host| host.app().poll_timeout()).min()
    }

    /// Carries out what hosts want; whether there was anything.
    fn effects(&mut self) -> bool {
        let mut moved = false;
        for host in 0..self.hosts.len() {
            while let Some(output) = self.hosts[host].app().poll_output() {
                moved = true;
                match output {
                    Output::Wake(session) => self.visit(host, session),
                    Output::Close { session, code, reason } => self.close_from(session, code, &reason),
                    Output::Dial(dial) => self.dial(host, &dial),
                    Output::StreamLimit { session, dir, count } => self.limit(session, dir, count),
                }
            }
        }
        moved
    }

    fn visit(&mut self, host: usize, session: SessionId) {
        let Some((wire, at)) = self.by_session.get(&session).copied() else { return };
        self.visits += 1;
        let now = self.now;
        self.hosts[host].app().select(now, session, &mut self.wires[wire].ends[at].sink);
    }

    fn close_from(&mut self, session: SessionId, code: u64, reason: &str) {
        let Some((wire, at)) = self.by_session.get(&session).copied() else { return };
        let mut reasons = [CloseReason::Local, CloseReason::Local];
        reasons[1 - at] = CloseReason::Peer { code, reason: reason.to_owned() };
        self.close_wire(wire, &reasons);
    }

    fn limit(&mut self, session: SessionId, dir: Dir, count: u64) {
        let Some((wire, at)) = self.by_session.get(&session).copied() else { return };
        let sink = &mut self.wires[wire].ends[1 - at].sink;
        let limit = &mut sink.limit[usize::from(dir == Dir::Bi)];
        // Tests start without limits; those that set one see it raised.
        if *limit != u64::MAX {
            *limit = count.max(*limit);
        }
    }

    fn dial(&mut self, host: usize, dial: &Dial) {
        self.dials += 1;
        let target =
            (0..self.hosts.len()).find(|other| self.pop_of(*other).as_deref() == Some(dial.server_name.as_str()));
        match target.filter(|target| !self.cut.contains(&(host, *target))) {
            Some(target) => self.connect((host, target), &dial.alpn, Some(dial.token)),
            None => {
                let now = self.now;
                self.hosts[host].app().handle_dial_failed(now, dial.token, CloseReason::TimedOut);
            }
        }
    }

    /// Carries what one end has written to the other; whether there was anything.
    fn carry(&mut self, wire: usize, from: usize) -> bool {
        let Wire { ends, silent, .. } = &mut self.wires[wire];
        let (to, reader) = (ends[1 - from].host, ends[1 - from].session);
        let (back, writer) = (ends[from].host, ends[from].session);
        if *silent || !self.by_session.contains_key(&reader) {
            return false;
        }
        let sink = &mut ends[from].sink;
        let now = self.now;
        let mut moved = false;
        let (available, writable) = (sink.take_available(), sink.take_writable());
        let dirty = std::mem::take(&mut sink.dirty);
        let datagrams = std::mem::take(&mut sink.datagrams);
        for dir in available {
            moved = true;
            self.hosts[back].app().handle_streams_available(now, writer, dir);
        }
        for stream in writable {
            moved = true;
            self.hosts[back].app().handle_stream(now, writer, stream, StreamEvent::Writable);
        }
        for stream in dirty {
            moved = true;
            self.carry_stream((wire, from), stream);
        }
        for data in datagrams {
            moved = true;
            self.hosts[to].app().handle_datagram(now, reader, data);
        }
        moved
    }

    fn carry_stream(&mut self, (wire, from): (usize, usize), stream: StreamId) {
        let now = self.now;
        let [a, b] = &mut self.wires[wire].ends;
        let (near, far) = if from == 0 { (a, b) } else { (b, a) };
        let Some(half) = near.sink.streams.get_mut(&stream) else { return };
        let Half { pending, end, stop, .. } = half;
        let (pending, end, stop) = (std::mem::take(pending), *end, stop.take());
        let (host, session, back, writer) = (far.host, far.session, near.host, near.session);
        if end.is_some() {
            near.sink.forget(stream);
        }
        if let Some(code) = stop
            && let Some(theirs) = far.sink.streams.get_mut(&stream)
        {
            theirs.stopped = Some(code);
            self.hosts[host].app().handle_stream(now, session, stream, StreamEvent::Stopped { code });
        }
        let app = self.hosts[host].app();
        let pieces = split(&pending, &self.pieces, end);
        for (data, fin) in pieces {
            app.handle_stream(now, session, stream, StreamEvent::Data { data, fin });
        }
        match end {
            Some(End::Reset(code)) => app.handle_stream(now, session, stream, StreamEvent::Reset { code }),
            Some(End::Fin) => self.hosts[back].app().handle_stream(now, writer, stream, StreamEvent::Acked),
            None => {}
        }
    }
}

/// The pieces in which bytes arrive; a FIN comes with the last.
fn split(bytes: &[u8], sizes: &[usize], end: Option<End>) -> Vec<(Bytes, bool)> {
    let fin = end == Some(End::Fin);
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle().take(bytes.len()) {
        if rest.len() <= *size {
            break;
        }
        pieces.push((rest.split_to((*size).max(1)), false));
    }
    if fin || !rest.is_empty() {
        pieces.push((rest, fin));
    }
    pieces
}

/// An edge without peers.
pub(crate) fn config(pop: &str) -> Config {
    Config {
        pop: pop.parse().expect("legal"),
        role: Role::Edge,
        shard: Shard::ONLY,
        peers: Vec::new(),
        homing: Homing {
            origins: Vec::new(),
            homes: Vec::new(),
            ingest: Ingest::Always,
            publishers: PublisherPolicy::Merge,
        },
        limits: Limits::default(),
        track: sluice_track::Limits::default(),
        epoch: 1_000,
        implementation: "sluice test".to_owned(),
        scope: None,
        authorize: false,
        seed: 7,
    }
}

/// An edge that reports to `origins` and dials them.
pub(crate) fn edge(pop: &str, origins: &[&str]) -> Config {
    let mut config = config(pop);
    config.peers = origins.iter().map(|pop| peer(pop, Role::Origin)).collect();
    config.homing.origins = origins.iter().map(|pop| pop.parse().expect("legal")).collect();
    config
}

/// An origin that dials `others`, which are origins, too.
pub(crate) fn origin(pop: &str, others: &[&str]) -> Config {
    let mut config = config(pop);
    config.role = Role::Origin;
    config.peers = others.iter().map(|pop| peer(pop, Role::Origin)).collect();
    config
}

fn peer(pop: &str, role: Role) -> PeerConfig {
    PeerConfig { pop: pop.parse().expect("legal"), addr: Some(SocketAddr::from(([127, 0, 0, 1], 4444))), role }
}
