//! A seed as a plan: topology, workload and faults.

use crate::ideal::Options;
use crate::plan::{
    Act, Demands, Event, Jump, Kind, Link, LinkId, Node, NodeId, PICTURES, Plan, Publisher, Relay, Role, SOUND, Track,
    Viewer,
};
use sluice_moqt::Namespace;
use sluice_net::Rng;
use sluice_netem::model::{Direction, Loss, Ratio, Reorder, Span};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Faults begin here, when everybody has had the time to start.
const FAULTS_FROM: u64 = 4_000;
/// The last fault begins before this.
const FAULTS_UNTIL: u64 = 14_000;
/// Everything is mended by then.
const MENDED: u64 = 20_000;

/// The plan of a seed: 2 to 10 relays, 1 to 3 of them origins, 1 to 4 publishers, up to 50 viewers, faults of every
/// kind; at the end everything runs.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let rng = Rng::from_seed(seed ^ 0x0057_0001);
    let mut maker = Maker { rng, nodes: Vec::new(), links: Vec::new(), events: Vec::new(), origins: 0 };
    maker.relays();
    maker.clients();
    let relays = maker.relays_count();
    for _ in 0..maker.below(8) {
        maker.fault(relays);
    }
    let Maker { nodes, links, mut events, .. } = maker;
    events.sort_by_key(|event| event.at);
    Plan {
        name: "random".to_owned(),
        seed,
        duration: Duration::from_millis(MENDED),
        nodes,
        links,
        events,
        demands: Demands::default(),
    }
}

/// How the transport of a seed's ideal world behaves: most seeds get one without limits, some small pieces or little
/// room. However little, it holds what the tracks need: a viewer whose connections do not carry a track has no claim to
/// see it. Too little for a track is what viewers have that read slowly.
#[must_use]
pub fn options(plan: &Plan) -> Options {
    let mut rng = Rng::from_seed(plan.seed ^ 0x0057_0002);
    let mut options = Options::default();
    if rng.below(4) == 0 {
        options.piece = usize::try_from(16 + rng.below(2_000)).unwrap_or_default();
    }
    if rng.below(4) == 0 {
        options.window = usize::try_from(8_000 + rng.below(60_000)).unwrap_or_default().max(need(plan));
    }
    options
}

/// Bytes that a connection has under way at most where it carries all tracks of a plan, those included that are lost
/// and sent again.
fn need(plan: &Plan) -> usize {
    let publishers = plan.ids().filter_map(|(id, _)| plan.publisher(id));
    let rate: f64 = publishers.flat_map(|publisher| &publisher.tracks).map(Track::bytes_per_second).sum();
    let one_way = |way: &Direction| way.delay.get() + way.jitter.spread.get();
    let round_trips = plan.links.iter().map(|link| link.ways.iter().map(one_way).sum::<Duration>());
    let bytes = rate * 2.0 * round_trips.max().unwrap_or_default().as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some megabytes")]
    let bytes = bytes as usize;
    bytes
}

struct Maker {
    rng: Rng,
    nodes: Vec<Node>,
    links: Vec<Link>,
    events: Vec<Event>,
    origins: u16,
}

impl Maker {
    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }

    fn next_id(&self) -> NodeId {
        NodeId(u16::try_from(self.nodes.len()).unwrap_or(u16::MAX))
    }

    fn relays_count(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node.kind, Kind::Relay(_))).count()
    }

    fn relays(&mut self) {
        let origins = self.within(1..=3);
        let edges = self.within(1..=(10 - origins).min(7));
        for number in 0..origins {
            // Origins know each other; the later one dials, or both.
            let others: Vec<NodeId> = (0..self.next_id().0).map(NodeId).collect();
            self.relay(format!("origin-{number}"), Role::Origin, others);
        }
        self.origins = u16::try_from(origins).unwrap_or_default();
        self.mutual(self.origins);
        for number in 0..edges {
            let mut known: Vec<NodeId> = (0..self.origins).map(NodeId).collect();
            let keep = 1 + self.index(known.len());
            while known.len() > keep {
                let out = self.index(known.len());
                known.remove(out);
            }
            let turn = self.index(known.len());
            known.rotate_left(turn);
            // Names decide who dials whom.
            let name = if self.one_in(2) { format!("edge-{number}") } else { format!("z-edge-{number}") };
            self.relay(name, Role::Edge, known);
        }
    }

    /// Some origins dial each other from both sides.
    fn mutual(&mut self, origins: u16) {
        for (one, other) in (0..origins).flat_map(|one| (one + 1..origins).map(move |other| (one, other))) {
            let both = self.one_in(2);
            if let (true, Some(Node { kind: Kind::Relay(relay), .. })) = (both, self.nodes.get_mut(usize::from(one))) {
                relay.origins.push(NodeId(other));
            }
        }
    }

    /// Some namespaces have a home by configuration, which every relay knows.
    fn home(&mut self, namespace: &str, origins: u16) {
        if !self.one_in(4) {
            return;
        }
        let origin = self.below(u64::from(origins));
        for node in &mut self.nodes {
            if let Kind::Relay(relay) = &mut node.kind {
                relay.config.push_str(&format!("[[home]]\nprefix = \"{namespace}\"\norigin = \"origin-{origin}\"\n"));
            }
        }
    }

    fn relay(&mut self, name: String, role: Role, origins: Vec<NodeId>) {
        let id = self.next_id();
        for other in &origins {
            self.link(id, *other);
        }
        let mut config = String::new();
        if self.one_in(3) {
            config.push_str("[ingest]\ningest = \"on-demand\"\n");
        }
        if self.one_in(4) {
            // Groups may be as short as 50 ms: a window below what a lost packet takes would lose them, as it is told to.
            config.push_str("[limits]\nwindow_groups = 16\n");
        }
        let starts = Some(self.millis(0..=800));
        let kind = Kind::Relay(Relay { role, origins, peers: Vec::new(), config });
        self.nodes.push(Node { name, starts, kind });
    }

    fn clients(&mut self) {
        let relays = self.relays_count();
        let publishers = self.within(1..=4);
        let first = self.next_id();
        for number in 0..publishers {
            let relay = self.any(relays);
            let path = format!("live/{number}");
            self.home(&path, self.origins);
            let namespace = Namespace::from_path(&path).expect("short");
            let tracks = self.tracks();
            let starts = Some(self.millis(0..=3_000));
            let id = self.next_id();
            self.link(id, relay);
            let kind = Kind::Publisher(Publisher { relay, namespace, tracks });
            self.nodes.push(Node { name: format!("publisher-{number}"), starts, kind });
        }
        let many = if self.one_in(5) { 50 } else { 12 };
        for number in 0..self.within(1..=many) {
            let relay = self.any(relays);
            let of = NodeId(first.0 + u16::try_from(self.below(publishers)).unwrap_or_default());
            let reads = self.one_in(12).then(|| self.within(200..=20_000));
            let starts = Some(self.millis(0..=6_000));
            let id = self.next_id();
            self.link(id, relay);
            let kind = Kind::Viewer(Viewer { relay, of, reads });
            self.nodes.push(Node { name: format!("viewer-{number}"), starts, kind });
        }
    }

    fn any(&mut self, count: usize) -> NodeId {
        NodeId(u16::try_from(self.index(count)).unwrap_or_default())
    }

    fn tracks(&mut self) -> Vec<Track> {
        let video = Track {
            name: "video".to_owned(),
            interval: self.millis(50..=120),
            objects_per_group: u32::try_from(self.within(1..=20)).unwrap_or(1),
            object_bytes: u32::try_from(self.within(20..=4_000)).unwrap_or(1),
            priority: PICTURES,
        };
        let audio = Track {
            name: "audio".to_owned(),
            interval: self.millis(60..=100),
            objects_per_group: u32::try_from(self.within(10..=20)).unwrap_or(1),
            object_bytes: u32::try_from(self.within(20..=200)).unwrap_or(1),
            priority: SOUND,
        };
        if self.one_in(3) { vec![video, audio] } else { vec![video] }
    }

    fn link(&mut self, a: NodeId, b: NodeId) {
        let ways = [self.way(), self.way()];
        let name = format!("{}-{}", a.0, b.0);
        self.links.push(Link { name, between: [a, b], ways, programs: [None, None] });
    }

    fn way(&mut self) -> Direction {
        let delay = self.within(1..=60);
        let mut way = Direction::delayed(Span::from_millis(delay));
        if self.one_in(4) {
            let reorder = if self.one_in(2) { Reorder::Allow } else { Reorder::Keep };
            let spread = self.within(0..=delay);
            way = way.with_jitter(Span::from_millis(spread), reorder);
        }
        if self.one_in(6) {
            let percent = u8::try_from(self.within(1..=5)).unwrap_or(1);
            way = way.with_loss(Loss::Random(Ratio::percent(percent)));
        }
        way
    }

    fn at(&mut self, at: u64, act: Act) {
        self.events.push(Event { at: Duration::from_millis(at), act });
    }

    /// One fault and its end.
    fn fault(&mut self, relays: usize) {
        let from = self.within(FAULTS_FROM..=FAULTS_UNTIL);
        let until = (from + self.length()).min(MENDED);
        let clients = self.nodes.len() - relays;
        let client = NodeId(u16::try_from(relays + self.index(clients)).unwrap_or_default());
        let relay = self.any(relays);
        match self.below(8) {
            0 | 1 => {
                let link = LinkId(u16::try_from(self.index(self.links.len())).unwrap_or_default());
                self.at(from, Act::Down(link));
                self.at(until, Act::Up(link));
            }
            2 => {
                self.at(from, Act::Kill(relay));
                self.at(until, Act::Start(relay));
            }
            3 => {
                self.at(from, Act::Stop(relay));
                self.at(until, Act::Cont(relay));
            }
            4 => {
                let way_out = if self.one_in(2) { Act::Kill(client) } else { Act::Quit(client) };
                self.at(from, way_out);
                self.at(until, Act::Start(client));
            }
            5 => {
                self.at(from, Act::Stop(client));
                self.at(until, Act::Cont(client));
            }
            6 => self.partition(relays, from, until),
            _ => {
                let by = Duration::from_secs(self.within(60..=7_200));
                let jump = if self.one_in(2) { Jump::Ahead(by) } else { Jump::Back(by) };
                let node = if self.one_in(2) { relay } else { client };
                self.at(from, Act::Clock(node, jump));
                self.at(until, Act::Quit(node));
                self.at(until + 3_000, Act::Start(node));
            }
        }
    }

    /// How long a fault lasts: blinks are as likely as what outlives a timeout.
    fn length(&mut self) -> u64 {
        match self.below(3) {
            0 => self.within(50..=500),
            1 => self.within(500..=3_000),
            _ => self.within(3_000..=12_000),
        }
    }

    /// Some relays cannot reach the others.
    fn partition(&mut self, relays: usize, from: u64, until: u64) {
        let side: Vec<bool> = (0..relays).map(|_| self.one_in(2)).collect();
        for (number, link) in (0..).zip(self.links.clone()) {
            let [a, b] = link.between.map(|node| side.get(node.index()).copied());
            if let (Some(a), Some(b)) = (a, b)
                && a != b
            {
                self.at(from, Act::Down(LinkId(number)));
                self.at(until, Act::Up(LinkId(number)));
            }
        }
    }
}
