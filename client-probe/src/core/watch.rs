//! The watching half of one link: catalogs, the tracks chosen from them, and joining each at its current group.

use super::assemble::{Keep, Stream, of_datagram};
use super::event::{Event, Object};
use super::incoming::Incoming;
use bytes::Bytes;
use sluice_media::catalog::{Broadcast as Catalog, HANG_TRACK, MSF_TRACK};
use sluice_moqt::error::{RequestCode, ResetCode};
use sluice_moqt::message::{FetchKind, Params, RequestError, SubscribeOk};
use sluice_moqt::name::{Namespace, TrackName};
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::session::{self, Session};
use sluice_moqt::transport::StreamId;
use sluice_moqt::types::{Filter, RequestId};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Until a track that is not there is asked for again, where the peer names no time.
const RETRY: Duration = Duration::from_millis(500);
/// How long a joining fetch may take before the subscription goes on without it.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);
/// After a longer absence, in groups, we join at the live edge again and leave the gap a gap.
const RESUME_GROUPS_MAX: u64 = 16;

/// One stream watched over one link.
#[derive(Debug)]
pub(super) struct Watcher {
    namespace: Namespace,
    keep: Keep,
    tracks: BTreeMap<Bytes, Watched>,
    requests: BTreeMap<RequestId, (Bytes, Purpose)>,
    streams: BTreeMap<StreamId, Stream>,
    /// The catalog track that counts, and what was chosen from it.
    chosen: Option<(Bytes, Catalog)>,
    out: VecDeque<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Subscription,
    Fetch,
}

#[derive(Debug)]
struct Watched {
    incoming: Incoming,
    rendition: Option<usize>,
    /// Where to go on after a lost subscription.
    resume: Option<u64>,
    /// When the joining fetch is given up.
    join_until: Option<Instant>,
    retry_at: Option<Instant>,
    ended: bool,
}

impl Watched {
    const fn new(name: Bytes, rendition: Option<usize>) -> Self {
        Self { incoming: Incoming::new(name), rendition, resume: None, join_until: None, retry_at: None, ended: false }
    }
}

impl Watcher {
    pub(super) fn new(namespace: Namespace, keep: Keep) -> Self {
        // Both at once: which of the two a publisher has is not known, and asking one after the other costs a round
        // trip (decisions 6.1).
        let catalogs = [MSF_TRACK, HANG_TRACK].map(|name| Bytes::from_static(name.as_bytes()));
        let tracks = catalogs.into_iter().map(|name| (name.clone(), Watched::new(name, None))).collect();
        Self {
            namespace,
            keep,
            tracks,
            requests: BTreeMap::new(),
            streams: BTreeMap::new(),
            chosen: None,
            out: VecDeque::new(),
        }
    }

    /// What the owner is to be told.
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// Group and subgroup of every stream that is being received, by track.
    pub(super) fn open_subgroups(&self) -> impl Iterator<Item = (&Bytes, u64, u64)> {
        self.streams.values().filter_map(|stream| {
            let (name, _) = self.requests.get(&stream.request)?;
            let (group, subgroup) = stream.place()?;
            Some((name, group, subgroup?))
        })
    }

    /// There is a session: ask for everything.
    pub(super) fn ready(&mut self, now: Instant, session: &mut Session) {
        let names: Vec<Bytes> = self.tracks.keys().cloned().collect();
        for name in names {
            self.subscribe(now, session, &name);
        }
    }

    /// The session is gone with all its requests.
    pub(super) fn disconnect(&mut self) {
        self.requests.clear();
        self.streams.clear();
        for track in self.tracks.values_mut() {
            track.lose(&mut self.out);
            track.retry_at = None;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, session: &mut Session) {
        let mut due = Vec::new();
        for (name, track) in &mut self.tracks {
            if track.join_until.is_some_and(|at| at <= now) {
                track.join_until = None;
                track.incoming.end_join(&mut self.out);
            }
            if track.retry_at.is_some_and(|at| at <= now) {
                due.push(name.clone());
            }
        }
        for name in due {
            self.subscribe(now, session, &name);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.tracks.values().flat_map(|t| [t.join_until, t.retry_at]).flatten().min()
    }

    fn subscribe(&mut self, now: Instant, session: &mut Session, name: &Bytes) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.retry_at = None;
        let Ok(full) = TrackName::new(self.namespace.clone(), name.clone()) else { return };
        let params = Params { filter: Some(Filter::LargestObject), ..Params::default() };
        let Ok(request) = session.subscribe(full, params) else { return };
        self.requests.insert(request, (name.clone(), Purpose::Subscription));
        // On a first join the fetch goes out together with the subscription: one round trip. After a loss its range
        // depends on where the track is.
        if track.resume.is_none() {
            track.incoming.start_join(u64::MAX);
            self.fetch(now, session, (name, FetchKind::RelativeJoining { joining: request, start: 0 }));
        }
    }

    fn fetch(&mut self, now: Instant, session: &mut Session, (name, kind): (&Bytes, FetchKind)) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        match session.fetch(kind, Params::default()) {
            Ok(request) => {
                track.join_until = Some(now + JOIN_TIMEOUT);
                self.requests.insert(request, (name.clone(), Purpose::Fetch));
            }
            Err(_) => track.incoming.end_join(&mut self.out),
        }
    }

    /// An event of the session that concerns a request of ours.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client routes: all other events are other roles'")]
    pub(super) fn handle_event(&mut self, now: Instant, session: &mut Session, event: session::Event) {
        use session::Event as E;
        match event {
            E::SubscribeOk { request, ok } => self.subscribed(now, session, (request, &ok)),
            E::Error { request, error } => self.refused(now, request, &error),
            E::PublishDone { request, .. } => self.publish_done(now, request),
            E::Cancelled { request, .. } => self.lost(now, request),
            E::Subgroup { stream, request, header } => {
                let Some((name, _)) = self.requests.get(&request) else { return };
                let Some(track) = self.tracks.get_mut(name) else { return };
                track.incoming.open_stream(header.group);
                let keep = if track.rendition.is_none() { Keep::Payloads } else { self.keep };
                self.streams.insert(stream, Stream::subgroup(request, &header, keep));
            }
            E::FetchStream { stream, request } => {
                let Some((name, _)) = self.requests.get(&request) else { return };
                let catalog = self.tracks.get(name).is_some_and(|track| track.rendition.is_none());
                let keep = if catalog { Keep::Payloads } else { self.keep };
                self.streams.insert(stream, Stream::fetch(request, keep));
            }
            E::Object { stream, object } => self.object(now, session, (stream, |s| s.begin(now, object))),
            E::FetchObject { stream, object } => {
                self.object(now, session, (stream, |s| s.begin_fetched(now, object)));
            }
            E::Payload { stream, data } => self.object(now, session, (stream, |s| Ok(s.append(now, data)))),
            E::StreamEnd { stream, end } => self.stream_end(stream, end),
            E::Datagram { request, datagram } => {
                let object = of_datagram(now, datagram, self.keep);
                self.deliver(now, session, (request, object));
            }
            _ => {}
        }
    }

    fn subscribed(&mut self, now: Instant, session: &mut Session, (request, ok): (RequestId, &SubscribeOk)) {
        let Some((name, Purpose::Subscription)) = self.requests.get(&request).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        let unknown = TrackInfo::read(&ok.properties.0).ok().and_then(|info| info.mandatory);
        if unknown.is_some() {
            // draft-18 2.5.1: "the subscriber MUST cancel the subscription".
            session.cancel(request, ResetCode::Cancelled);
            self.over(request);
            let reason = "the track has a mandatory property that we do not know".to_owned();
            let code = RequestCode::UnsupportedExtension;
            self.out.push_back(Event::Refused { what: "SUBSCRIBE", code, reason });
            return;
        }
        track.ended = false;
        let Some(largest) = ok.params.largest else {
            // Nothing was published: the subscription brings everything.
            track.incoming.end_join(&mut self.out);
            track.resume = None;
            return;
        };
        track.incoming.bound_join(largest.group);
        let Some(resume) = track.resume.take() else { return };
        track.incoming.start_join(largest.group);
        let kind = match largest.group.checked_sub(resume) {
            None => {
                track.incoming.restart(&mut self.out);
                track.incoming.start_join(largest.group);
                FetchKind::RelativeJoining { joining: request, start: 0 }
            }
            Some(0..=RESUME_GROUPS_MAX) => FetchKind::AbsoluteJoining { joining: request, start: resume },
            Some(_) => FetchKind::RelativeJoining { joining: request, start: 0 },
        };
        self.fetch(now, session, (&name, kind));
    }

    fn refused(&mut self, now: Instant, request: RequestId, error: &RequestError) {
        let Some((name, purpose)) = self.over(request) else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        track.join_until = None;
        track.incoming.end_join(&mut self.out);
        if purpose == Purpose::Fetch {
            return;
        }
        track.retry_at = Some(now + error.retry.unwrap_or(RETRY).max(RETRY));
        if is_about_us(error.code) {
            track.retry_at = None;
            let reason = error.reason.clone();
            self.out.push_back(Event::Refused { what: "SUBSCRIBE", code: error.code, reason });
        } else if self.chosen.is_none() {
            self.out.push_back(Event::NoSuchStream);
        }
    }

    fn publish_done(&mut self, now: Instant, request: RequestId) {
        let Some((name, Purpose::Subscription)) = self.over(request) else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        track.lose(&mut self.out);
        track.incoming.finish(&mut self.out);
        track.ended = true;
        track.retry_at = Some(now + RETRY);
        let all_ended = self.tracks.values().filter(|t| t.rendition.is_some()).all(|t| t.ended);
        if track_counts(&self.tracks) && all_ended {
            self.out.push_back(Event::Ended);
        }
    }

    fn lost(&mut self, now: Instant, request: RequestId) {
        let Some((name, purpose)) = self.over(request) else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        match purpose {
            Purpose::Fetch => {
                track.join_until = None;
                track.incoming.end_join(&mut self.out);
            }
            Purpose::Subscription => {
                track.lose(&mut self.out);
                track.retry_at = Some(now + RETRY);
            }
        }
    }

    /// The request is over and so are its streams (the session reports no end for them).
    fn over(&mut self, request: RequestId) -> Option<(Bytes, Purpose)> {
        self.streams.retain(|_, stream| stream.request != request);
        self.requests.remove(&request)
    }

    fn object(
        &mut self,
        now: Instant,
        session: &mut Session,
        (id, step): (StreamId, impl FnOnce(&mut Stream) -> Result<Option<Object>, super::assemble::TooLarge>),
    ) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let request = stream.request;
        match step(stream) {
            Ok(Some(object)) => self.deliver(now, session, (request, object)),
            Ok(None) => {}
            Err(super::assemble::TooLarge) => self.stream_end(id, session::StreamEnd::Reset(0)),
        }
    }

    fn deliver(&mut self, now: Instant, session: &mut Session, (request, mut object): (RequestId, Object)) {
        let Some((name, _)) = self.requests.get(&request) else { return };
        let Some(track) = self.tracks.get_mut(name) else { return };
        object.track = name.clone();
        object.rendition = track.rendition;
        let catalog = track.rendition.is_none().then(|| (name.clone(), object.payload.clone()));
        track.incoming.receive(object, &mut self.out);
        if let Some((name, payload)) = catalog {
            self.read_catalog(now, session, (name, &payload));
        }
    }

    fn stream_end(&mut self, id: StreamId, end: session::StreamEnd) {
        let Some(stream) = self.streams.remove(&id) else { return };
        let Some((name, _)) = self.requests.get(&stream.request) else { return };
        let Some(track) = self.tracks.get_mut(name) else { return };
        if let Some((group, _)) = stream.place() {
            track.incoming.end_stream(group, stream.end(end), &mut self.out);
        } else {
            track.join_until = None;
            track.incoming.end_join(&mut self.out);
            self.requests.remove(&stream.request);
        }
    }

    /// The first catalog that can be read decides; later ones of the same track change the choice.
    fn read_catalog(&mut self, now: Instant, session: &mut Session, (name, payload): (Bytes, &[u8])) {
        if self.chosen.as_ref().is_some_and(|(winner, _)| *winner != name) {
            return;
        }
        let parsed =
            if *name == *HANG_TRACK.as_bytes() { Catalog::from_hang(payload) } else { Catalog::from_msf(payload) };
        let Some(catalog) = parsed.ok().map(|catalog| catalog.best()).filter(|catalog| !catalog.renditions.is_empty())
        else {
            return;
        };
        if self.chosen.as_ref().is_some_and(|(_, known)| *known == catalog) {
            return;
        }
        self.out.push_back(Event::Catalog(catalog.clone()));
        let wanted: Vec<Bytes> = catalog.renditions.iter().map(|r| Bytes::from(r.name.clone().into_bytes())).collect();
        self.chosen = Some((name.clone(), catalog));
        self.drop_all_but(session, &name, &wanted);
        for (index, track) in wanted.into_iter().enumerate() {
            if let Some(known) = self.tracks.get_mut(&track) {
                known.rendition = Some(index);
                continue;
            }
            self.tracks.insert(track.clone(), Watched::new(track.clone(), Some(index)));
            self.subscribe(now, session, &track);
        }
    }

    fn drop_all_but(&mut self, session: &mut Session, catalog: &Bytes, wanted: &[Bytes]) {
        let dropped: Vec<Bytes> =
            self.tracks.keys().filter(|name| *name != catalog && !wanted.contains(name)).cloned().collect();
        for name in dropped {
            if let Some(mut track) = self.tracks.remove(&name) {
                track.incoming.finish(&mut self.out);
            }
            let over: Vec<RequestId> =
                self.requests.iter().filter(|(_, (n, _))| *n == name).map(|(id, _)| *id).collect();
            for request in over {
                session.cancel(request, ResetCode::Cancelled);
                self.over(request);
            }
        }
    }
}

impl Watched {
    fn lose(&mut self, out: &mut VecDeque<Event>) {
        self.join_until = None;
        // Never forget an older place to go on from: the connection may be lost again before anything arrives.
        let resume = self.incoming.disconnect(out);
        self.resume = self.resume.or(resume);
    }
}

/// Whether there is a chosen track at all.
fn track_counts(tracks: &BTreeMap<Bytes, Watched>) -> bool {
    tracks.values().any(|track| track.rendition.is_some())
}

/// Whether a request was refused for who we are: asking again changes nothing.
pub(crate) const fn is_about_us(code: RequestCode) -> bool {
    matches!(code, RequestCode::Unauthorized | RequestCode::ExpiredAuthToken | RequestCode::MalformedAuthToken)
}
