//! Whatever happens in whatever order: once all sessions are closed, nothing stays.

use crate::actors::{ms, ns, secs, track, track_in};
use crate::client::Out;
use crate::world::{C, N, World, config, edge, origin};
use proptest::prelude::*;
use sluice_moqt::error::{DoneCode, ResetCode};
use sluice_moqt::message::{FetchKind, Params, PublishDone, RequestOk, SubscribeOk, TrackProperties};
use sluice_moqt::session::Event;
use sluice_moqt::{Filter, Location, RequestId, TrackAlias, TrackName};
use sluice_node::{PublisherPolicy, Verdict};

/// One step of one client, each of them possibly senseless.
#[derive(Debug, Clone)]
enum Step {
    Close,
    PublishNamespace(u8),
    Publish(u8),
    Subscribe(u8, bool),
    SubscribeTracks(u8),
    SubscribeNamespace(u8),
    Join,
    Fetch(u8),
    Cancel(u8),
    /// Answers everything that was asked of it.
    Answer,
    Refuse,
    Group(u8),
    HalfObject,
    /// Another payload for what may be there.
    Contradict,
    Done(bool),
    Block,
    Unblock,
    Pass(u16),
    Cut,
    Mend,
}

fn steps() -> impl Strategy<Value = Vec<(u8, Step)>> {
    let step = prop_oneof![
        1 => Just(Step::Close),
        3 => (0..3_u8).prop_map(Step::PublishNamespace),
        3 => (0..3_u8).prop_map(Step::Publish),
        6 => (0..3_u8, any::<bool>()).prop_map(|(track, wait)| Step::Subscribe(track, wait)),
        2 => (0..3_u8).prop_map(Step::SubscribeTracks),
        2 => (0..3_u8).prop_map(Step::SubscribeNamespace),
        2 => Just(Step::Join),
        2 => (0..3_u8).prop_map(Step::Fetch),
        2 => any::<u8>().prop_map(Step::Cancel),
        8 => Just(Step::Answer),
        1 => Just(Step::Refuse),
        6 => (0..4_u8).prop_map(Step::Group),
        1 => Just(Step::HalfObject),
        1 => Just(Step::Contradict),
        2 => any::<bool>().prop_map(Step::Done),
        1 => Just(Step::Block),
        1 => Just(Step::Unblock),
        3 => (0..4_000_u16).prop_map(Step::Pass),
        1 => Just(Step::Cut),
        1 => Just(Step::Mend),
    ];
    proptest::collection::vec((0..4_u8, step), 1..60)
}

fn name(track_no: u8) -> TrackName {
    match track_no {
        0 => track("video"),
        1 => track("audio"),
        _ => track_in("live/b", "video"),
    }
}

fn prefix(no: u8) -> &'static str {
    match no {
        0 => "live/a",
        1 => "live",
        _ => "live/b",
    }
}

/// A world, its clients by number, and what they did.
struct Chaos {
    w: World,
    nodes: Vec<N>,
    clients: Vec<Option<C>>,
    requests: Vec<Vec<RequestId>>,
    sources: Vec<Vec<(RequestId, TrackAlias)>>,
    open: Vec<Option<Out>>,
}

impl Chaos {
    fn new(mut w: World, nodes: Vec<N>) -> Self {
        w.pass(ms(50));
        let none = || vec![Vec::new(); 4];
        Self { w, nodes, clients: vec![None; 4], requests: none(), sources: vec![Vec::new(); 4], open: vec![None; 4] }
    }

    fn step(&mut self, who: usize, step: &Step) {
        match step {
            Step::Pass(time) => return self.w.pass(ms(u64::from(*time))),
            Step::Cut | Step::Mend => return self.link(step),
            _ => {}
        }
        let client = self.connect(who);
        match step {
            Step::Close => {
                self.w.close(client);
                self.clients[who] = None;
            }
            Step::Block => self.w.sink_to(client).room = 200,
            Step::Unblock => self.w.sink_to(client).room = usize::MAX,
            Step::Answer | Step::Refuse => self.answer(who, client, step),
            Step::Group(_) | Step::HalfObject | Step::Contradict | Step::Done(_) => self.produce(who, client, step),
            _ => self.ask(who, client, step),
        }
        self.verdicts();
        self.w.run();
    }

    fn connect(&mut self, who: usize) -> C {
        if let Some(client) = self.clients[who].filter(|client| self.w.is_open(*client)) {
            return client;
        }
        let client = self.w.client(self.nodes[who % self.nodes.len()]);
        self.clients[who] = Some(client);
        self.requests[who].clear();
        self.sources[who].clear();
        self.open[who] = None;
        client
    }

    fn link(&mut self, step: &Step) {
        let [hub, spoke, ..] = self.nodes[..] else { return };
        match step {
            Step::Cut => self.w.cut(hub, spoke),
            _ => self.w.mend(hub, spoke),
        }
    }

    /// Requests that may be refused right here.
    fn ask(&mut self, who: usize, client: C, step: &Step) {
        let newest = self.requests[who].last().copied();
        let nth = |n: &u8| self.requests[who].get(usize::from(*n) % self.requests[who].len().max(1)).copied();
        let protocol = &mut self.w.c(client).protocol;
        let asked = match step {
            Step::PublishNamespace(no) => protocol.publish_namespace(ns(prefix(*no)), Params::default()).ok(),
            Step::Publish(no) => {
                let alias = protocol.allocate_alias();
                let params = Params { largest: Some(Location::new(2, 0)), ..Params::default() };
                let request = protocol.publish(name(*no), alias, params, TrackProperties::default()).ok();
                self.sources[who].extend(request.map(|request| (request, alias)));
                request
            }
            Step::Subscribe(no, wait) => {
                let rendezvous_timeout = wait.then(|| secs(3));
                let filter = Some(Filter::LargestObject);
                protocol.subscribe(name(*no), Params { rendezvous_timeout, filter, ..Params::default() }).ok()
            }
            Step::SubscribeTracks(no) => protocol.subscribe_tracks(ns(prefix(*no)), Params::default()).ok(),
            Step::SubscribeNamespace(no) => protocol.subscribe_namespace(ns(prefix(*no)), Params::default()).ok(),
            Step::Join => newest.and_then(|joining| {
                protocol.fetch(FetchKind::RelativeJoining { joining, start: 0 }, Params::default()).ok()
            }),
            Step::Fetch(no) => {
                let (start, end) = (Location::new(0, 0), Location::new(9, 0));
                protocol.fetch(FetchKind::Standalone { track: name(*no), start, end }, Params::default()).ok()
            }
            Step::Cancel(no) => {
                nth(no).into_iter().for_each(|request| protocol.cancel(request, ResetCode::Cancelled));
                None
            }
            _ => None,
        };
        self.requests[who].extend(asked);
    }

    fn answer(&mut self, who: usize, client: C, step: &Step) {
        for event in self.w.c(client).take() {
            let protocol = &mut self.w.c(client).protocol;
            let refusal = sluice_moqt::message::RequestError {
                code: sluice_moqt::error::RequestCode::InternalError,
                retry: None,
                reason: String::new(),
                redirect: None,
            };
            match event {
                Event::Subscribe { request, .. } | Event::Publish { request, .. } | Event::Fetch { request, .. }
                    if matches!(step, Step::Refuse) =>
                {
                    protocol.reject(request, refusal);
                }
                Event::Subscribe { request, .. } => {
                    let alias = protocol.allocate_alias();
                    let ok = SubscribeOk { alias, params: Params::default(), properties: TrackProperties::default() };
                    protocol.accept_subscribe(request, ok);
                    self.sources[who].push((request, alias));
                }
                Event::Publish { request, .. } => protocol.accept(request, RequestOk::default()),
                Event::Fetch { request, .. } => protocol.reject(request, refusal),
                _ => {}
            }
        }
    }

    fn produce(&mut self, who: usize, client: C, step: &Step) {
        let Some((request, alias)) = self.sources[who].last().copied() else { return };
        let source = crate::actors::Source { client, request, alias, priority: None };
        match step {
            Step::Group(group) => self.w.put_group(source, 3 + u64::from(*group), 2),
            Step::HalfObject => {
                let out = self.w.group(source, 8);
                self.w.c(client).object(out, &crate::actors::object(0, 100), &[7; 40]);
                self.open[who] = Some(out);
            }
            Step::Contradict => {
                let out = self.w.group(source, 3);
                self.w.c(client).object(out, &crate::actors::object(0, 100), &[who.to_le_bytes()[0]; 100]);
            }
            Step::Done(ended) => {
                let code = if *ended { DoneCode::TrackEnded } else { DoneCode::InternalError };
                let done = PublishDone { code, streams: None, reason: String::new() };
                self.w.c(client).protocol.publish_done(request, done);
                self.sources[who].pop();
            }
            _ => {}
        }
    }

    /// Allows every other request.
    fn verdicts(&mut self) {
        for node in self.nodes.clone() {
            while let Some(question) = self.w.n(node).poll_auth() {
                let (now, verdict) = (self.w.now, if question.id % 4 == 0 { Verdict::Deny } else { Verdict::Allow });
                self.w.n(node).handle_verdict(now, question.id, verdict);
                self.w.run();
            }
        }
    }

    fn settle(&mut self) {
        self.link(&Step::Mend);
        for client in std::mem::take(&mut self.clients).into_iter().flatten() {
            self.w.close(client);
        }
        // A chain of nodes lingers one after the other.
        self.w.pass(secs(45));
        let before = self.w.visits;
        self.w.pass(secs(10));
        let idle = 200 * self.nodes.len();
        assert!(self.w.visits - before < idle, "{} visits of nobody", self.w.visits - before);
        for node in self.nodes.clone() {
            let snapshot = self.w.n(node).snapshot();
            let left = (snapshot.sessions, snapshot.known_tracks, snapshot.viewers, snapshot.upstreams);
            assert_eq!(left, (0, 0, 0, 0), "{snapshot:?}");
            assert_eq!((snapshot.namespaces, snapshot.log_bytes, snapshot.held_requests), (0, 0, 0), "{snapshot:?}");
        }
    }
}

fn policy(no: u8) -> PublisherPolicy {
    match no {
        0 => PublisherPolicy::Merge,
        1 => PublisherPolicy::Newest,
        _ => PublisherPolicy::Refuse,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_node_forgets_everything(steps in steps(), no in 0..3_u8, authorize in any::<bool>()) {
        let mut w = World::new();
        let mut config = config("e1");
        config.homing.publishers = policy(no);
        config.authorize = authorize;
        let node = w.node(config);
        let mut chaos = Chaos::new(w, vec![node]);
        steps.iter().for_each(|(who, step)| chaos.step(usize::from(*who), step));
        chaos.settle();
        prop_assert_eq!(sluice_moqt::transport::App::poll_timeout(chaos.w.n(node)), None);
    }

    #[test]
    fn three_nodes_forget_everything(steps in steps()) {
        let mut w = World::new();
        let hub = w.node(origin("o1", &[]));
        let nodes = vec![hub, w.node(edge("e1", &["o1"])), w.node(edge("e2", &["o1"]))];
        let mut chaos = Chaos::new(w, nodes);
        steps.iter().for_each(|(who, step)| chaos.step(usize::from(*who), step));
        chaos.settle();
    }
}
