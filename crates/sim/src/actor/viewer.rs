//! A viewer that takes nothing for granted: it notes every object with the subscription that brought it, compares each
//! payload byte by byte, and removes no duplicate.

use super::{Birth, PlanError};
use crate::media::Payloads;
use crate::plan::{self, Kind, NodeId, Plan};
use bytes::Bytes;
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::message::{FetchKind, Params, Setup};
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session, StreamEnd};
use sluice_moqt::transport::{
    App, CloseReason, Dial, Dir, Output, PathStats, Peer, SessionId, Side, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::types::ObjectStatus;
use sluice_moqt::{Draft, Filter, Location, RequestId, TrackName};
use sluice_net::Rng;
use sluice_node::USER_ALPN;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// After a refusal or an end, as our client does.
const RETRY: Duration = Duration::from_secs(1);
/// Re-dials: from this on, doubling.
const FIRST_REDIAL: Duration = Duration::from_millis(50);
/// Slowest re-dial.
const SLOW_REDIAL: Duration = Duration::from_millis(500);
/// Spread of re-dials.
const JITTER_PERCENT: u8 = 20;
/// Data streams that the relay may have open, as our client grants them.
const UNI_STREAMS: u64 = 256;

/// One subscription of a viewer: the first, the second, and so on, over all its tracks and sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubId(pub u32);

/// Something that a viewer noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Which of the tracks of its publisher.
    pub track: usize,
    /// Under which subscription.
    pub sub: SubId,
    /// What.
    pub what: What,
    /// Payload bytes of the object.
    pub bytes: u32,
    /// When.
    pub when: Instant,
}

/// What a viewer may notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The subscription was accepted, with what the relay called the largest object.
    Accepted(Option<Location>),
    /// An object came whole, on a stream of the subscription, after the one that came before it there.
    Object(Location, Option<u64>),
    /// An object came whole by the joining fetch.
    Fetched(Location),
    /// The payload of an object is not what was published there.
    Corrupt(Location),
    /// A stream ended with the promise that the group ends with its last object.
    GroupEnd(u64, Option<u64>),
    /// A stream was reset, or ended within an object.
    Cut(u64),
    /// The joining fetch is over.
    Joined,
    /// The subscription was refused, or is over.
    Over,
    /// The session is lost; of no track.
    Disconnected,
}

/// The process of a viewer.
#[derive(Debug)]
pub struct Viewer {
    relay: SocketAddr,
    tracks: Vec<Watched>,
    line: Line,
    session: Option<Box<(SessionId, Session)>>,
    streams: BTreeMap<StreamId, Incoming>,
    requests: BTreeMap<RequestId, Asked>,
    next_sub: u32,
    outputs: VecDeque<Output>,
    awake: bool,
    seen: Vec<Seen>,
}

/// The way to a session.
#[derive(Debug)]
struct Line {
    rng: Rng,
    dialling: bool,
    redial_at: Option<Instant>,
    pause: Duration,
    over: bool,
}

#[derive(Debug)]
struct Watched {
    name: TrackName,
    payloads: Payloads,
    retry_at: Option<Instant>,
}

/// What a request of ours was for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    track: usize,
    sub: SubId,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Subscription,
    Join,
}

/// A data stream on its way.
#[derive(Debug)]
struct Incoming {
    request: RequestId,
    track: usize,
    sub: SubId,
    place: Place,
    object: Option<Partial>,
    last: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Group { group: u64, ends: bool },
    Join,
}

#[derive(Debug)]
struct Partial {
    at: Location,
    expected: Bytes,
    len: u64,
    got: usize,
    faithful: bool,
}

impl Viewer {
    pub(super) fn start(plan: &Plan, (id, viewer): (NodeId, &plan::Viewer), birth: Birth) -> Result<Self, PlanError> {
        let not_a = |what, other: NodeId| PlanError::NotA {
            node: plan.node(id).name.clone(),
            what,
            other: plan.node(other).name.clone(),
        };
        if !matches!(plan.node(viewer.relay).kind, Kind::Relay(_)) {
            return Err(not_a("a relay", viewer.relay));
        }
        let publisher = plan.publisher(viewer.of).ok_or_else(|| not_a("a publisher", viewer.of))?;
        let mut tracks = Vec::new();
        for track in &publisher.tracks {
            let name = publisher.track_name(track).ok_or_else(|| PlanError::TrackName {
                node: plan.node(viewer.of).name.clone(),
                track: track.name.clone(),
            })?;
            let payloads = Payloads::new(&name, track);
            tracks.push(Watched { name, payloads, retry_at: None });
        }
        let rng = Rng::from_seed(super::seed_of(plan, id, birth));
        let line = Line { rng, dialling: false, redial_at: None, pause: FIRST_REDIAL, over: false };
        let mut viewer = Self {
            relay: viewer.relay.user_addr(),
            tracks,
            line,
            session: None,
            streams: BTreeMap::new(),
            requests: BTreeMap::new(),
            // Subscriptions of different lives are different.
            next_sub: birth.life << 20,
            outputs: VecDeque::new(),
            awake: false,
            seen: Vec::new(),
        };
        viewer.dial();
        Ok(viewer)
    }

    /// What it noticed since the last call.
    pub fn take_seen(&mut self) -> Vec<Seen> {
        std::mem::take(&mut self.seen)
    }

    /// Leaves.
    pub(super) fn quit(&mut self) {
        self.line.over = true;
        if let Some(session) = &self.session {
            self.outputs.push_back(Output::Close { session: session.0, code: 0, reason: String::new() });
        }
    }

    fn dial(&mut self) {
        self.line.redial_at = None;
        self.line.dialling = true;
        let server_name = self.relay.ip().to_string();
        self.outputs.push_back(Output::Dial(Dial {
            token: 0,
            remote: self.relay,
            alpn: USER_ALPN.to_vec(),
            server_name,
        }));
    }

    fn dial_later(&mut self, now: Instant) {
        self.line.dialling = false;
        if !self.line.over {
            self.line.redial_at = Some(now + self.line.rng.jitter(self.line.pause, JITTER_PERCENT));
            self.line.pause = (self.line.pause * 2).min(SLOW_REDIAL);
        }
    }

    fn note(&mut self, now: Instant, track: usize, sub: SubId, what: What) {
        self.seen.push(Seen { track, sub, what, bytes: 0, when: now });
    }

    fn subscribe(&mut self, now: Instant, track: usize) {
        let (Some(session), Some(watched)) = (&mut self.session, self.tracks.get_mut(track)) else { return };
        watched.retry_at = None;
        let params = Params { filter: Some(Filter::LargestObject), ..Params::default() };
        let Ok(request) = session.1.subscribe(watched.name.clone(), params) else {
            watched.retry_at = Some(now + RETRY);
            return;
        };
        self.next_sub += 1;
        let sub = SubId(self.next_sub);
        self.requests.insert(request, Asked { track, sub, purpose: Purpose::Subscription });
        // Subscription and fetch go out together: the newest group is there after one round trip.
        let join = FetchKind::RelativeJoining { joining: request, start: 0 };
        if let Ok(request) = session.1.fetch(join, Params::default()) {
            self.requests.insert(request, Asked { track, sub, purpose: Purpose::Join });
        }
    }

    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.session.as_mut().and_then(|session| session.1.poll_event()) {
            self.on_event(now, event);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a viewer offers nothing: other events are answers to nobody")]
    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::SubscribeOk { request, ok } => self.on_accepted(now, request, ok.params.largest),
            Event::Error { request, .. } | Event::PublishDone { request, .. } | Event::Cancelled { request, .. } => {
                self.on_over(now, request);
            }
            Event::Subgroup { stream, request, header } => {
                let ends = header.flags.contains(SubgroupFlags::END_OF_GROUP);
                self.begin(stream, request, Place::Group { group: header.group, ends });
            }
            Event::FetchStream { stream, request } => self.begin(stream, request, Place::Join),
            Event::Object { stream, object } => {
                let group = match self.streams.get(&stream).map(|incoming| incoming.place) {
                    Some(Place::Group { group, .. }) => group,
                    Some(Place::Join) | None => return,
                };
                let normal = object.status == ObjectStatus::Normal;
                if normal {
                    self.begin_object(now, stream, Location::new(group, object.id), object.payload_len);
                }
            }
            Event::FetchObject { stream, object } => {
                self.begin_object(now, stream, object.location, object.payload_len);
            }
            Event::Payload { stream, data } => self.payload(now, stream, &data),
            Event::StreamEnd { stream, end } => self.stream_end(now, stream, end),
            Event::Goaway(_) => self.leave(0, "asked to move".to_owned()),
            Event::Closed { code, reason } => self.leave(code.code(), reason),
            _ => {}
        }
    }

    fn leave(&mut self, code: u64, reason: String) {
        if let Some(session) = &self.session {
            self.outputs.push_back(Output::Close { session: session.0, code, reason });
        }
    }

    fn on_accepted(&mut self, now: Instant, request: RequestId, largest: Option<Location>) {
        if let Some(Asked { track, sub, .. }) = self.requests.get(&request).copied() {
            self.note(now, track, sub, What::Accepted(largest));
        }
    }

    /// A request ended, and with it its streams.
    fn on_over(&mut self, now: Instant, request: RequestId) {
        let Some(Asked { track, sub, purpose }) = self.requests.remove(&request) else { return };
        self.streams.retain(|_, stream| stream.request != request);
        match purpose {
            Purpose::Join => self.note(now, track, sub, What::Joined),
            Purpose::Subscription => {
                self.note(now, track, sub, What::Over);
                self.tracks[track].retry_at = Some(now + RETRY);
            }
        }
    }

    fn begin(&mut self, stream: StreamId, request: RequestId, place: Place) {
        let Some(Asked { track, sub, .. }) = self.requests.get(&request).copied() else { return };
        self.streams.insert(stream, Incoming { request, track, sub, place, object: None, last: None });
    }

    fn begin_object(&mut self, now: Instant, stream: StreamId, at: Location, len: u64) {
        let Some(incoming) = self.streams.get_mut(&stream) else { return };
        let expected = self.tracks[incoming.track].payloads.at(at);
        let faithful = expected.len() as u64 == len;
        incoming.object = Some(Partial { at, expected, len, got: 0, faithful });
        if len == 0 {
            self.object_whole(now, stream);
        }
    }

    fn payload(&mut self, now: Instant, stream: StreamId, data: &[u8]) {
        let Some(partial) = self.streams.get_mut(&stream).and_then(|incoming| incoming.object.as_mut()) else { return };
        let end = partial.got + data.len();
        partial.faithful &= partial.expected.get(partial.got..end) == Some(data);
        partial.got = end;
        if end as u64 >= partial.len {
            self.object_whole(now, stream);
        }
    }

    fn object_whole(&mut self, now: Instant, stream: StreamId) {
        let Some(incoming) = self.streams.get_mut(&stream) else { return };
        let Some(partial) = incoming.object.take() else { return };
        let previous = incoming.last.replace(partial.at.object);
        let what = match incoming.place {
            _ if !partial.faithful => What::Corrupt(partial.at),
            Place::Group { .. } => What::Object(partial.at, previous),
            Place::Join => What::Fetched(partial.at),
        };
        let bytes = u32::try_from(partial.len).unwrap_or(u32::MAX);
        self.seen.push(Seen { track: incoming.track, sub: incoming.sub, what, bytes, when: now });
    }

    fn stream_end(&mut self, now: Instant, stream: StreamId, end: StreamEnd) {
        let Some(incoming) = self.streams.remove(&stream) else { return };
        let Incoming { request, track, sub, place, object, last } = incoming;
        let what = match (place, end) {
            (Place::Join, _) => {
                self.requests.remove(&request);
                What::Joined
            }
            (Place::Group { group, .. }, StreamEnd::Reset(_)) => What::Cut(group),
            (Place::Group { group, .. }, StreamEnd::Fin) if object.is_some() => What::Cut(group),
            (Place::Group { group, ends: true }, StreamEnd::Fin) => What::GroupEnd(group, last),
            (Place::Group { ends: false, .. }, StreamEnd::Fin) => return,
        };
        self.note(now, track, sub, what);
    }

    fn wants_visit(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.1.wants_transmit())
    }
}

impl App for Viewer {
    fn handle_connected(&mut self, now: Instant, id: SessionId, _: Peer) {
        self.line.dialling = false;
        self.line.pause = FIRST_REDIAL;
        let setup = Setup { path: Some("/".to_owned()), ..Setup::default() };
        let config = Config {
            side: Side::Client,
            draft: Draft::V18,
            setup,
            limits: Limits::default(),
            paths: AcceptedPaths::default(),
        };
        self.session = Some(Box::new((id, Session::new(now, config))));
        self.outputs.push_back(Output::StreamLimit { session: id, dir: Dir::Uni, count: UNI_STREAMS });
        self.awake = false;
        if self.line.over {
            return self.quit();
        }
        for track in 0..self.tracks.len() {
            self.subscribe(now, track);
        }
    }

    fn handle_dial_failed(&mut self, now: Instant, _: u64, _: CloseReason) {
        self.dial_later(now);
    }

    fn handle_stream(&mut self, now: Instant, _: SessionId, stream: StreamId, event: StreamEvent) {
        if let Some(session) = &mut self.session {
            session.1.handle_stream(now, stream, event);
            self.drain(now);
        }
    }

    fn handle_streams_available(&mut self, _: Instant, _: SessionId, _: Dir) {
        if let Some(session) = &mut self.session {
            session.1.handle_streams_available();
        }
    }

    fn handle_datagram(&mut self, now: Instant, _: SessionId, data: Bytes) {
        if let Some(session) = &mut self.session {
            session.1.handle_datagram(now, data);
            self.drain(now);
        }
    }

    fn handle_closed(&mut self, now: Instant, _: SessionId, _: CloseReason) {
        self.session = None;
        if !self.line.over {
            self.note(now, 0, SubId(self.next_sub), What::Disconnected);
        }
        self.streams.clear();
        let open = std::mem::take(&mut self.requests);
        for Asked { track, sub, purpose } in open.into_values() {
            if purpose == Purpose::Subscription {
                self.note(now, track, sub, What::Over);
            }
        }
        for track in &mut self.tracks {
            track.retry_at = None;
        }
        self.dial_later(now);
    }

    fn handle_stats(&mut self, _: Instant, _: SessionId, _: PathStats) {}

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(session) = &mut self.session {
            session.1.handle_timeout(now);
            self.drain(now);
        }
        if self.line.redial_at.is_some_and(|at| at <= now) {
            self.dial();
        }
        for track in 0..self.tracks.len() {
            if self.tracks[track].retry_at.is_some_and(|at| at <= now) {
                self.subscribe(now, track);
            }
        }
    }

    fn select(&mut self, now: Instant, _: SessionId, sink: &mut dyn StreamSink) {
        if let Some(session) = &mut self.session {
            session.1.transmit(sink);
            self.drain(now);
        }
        self.awake = false;
    }

    fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let session = self.session.as_ref().map(|session| session.0).filter(|_| !self.awake && self.wants_visit())?;
        self.awake = true;
        Some(Output::Wake(session))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let session = self.session.as_ref().and_then(|session| session.1.poll_timeout());
        let retries = self.tracks.iter().filter_map(|track| track.retry_at);
        retries.chain(session).chain(self.line.redial_at).min()
    }
}
