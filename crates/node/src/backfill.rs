//! Fetches in which this node is the subscriber: they fill the log with what no subscription brings (draft-18 5.2).

use crate::downstream::session_of;
use crate::node::{Hosted, Node};
use crate::session::Upstream;
use crate::tracks::{SourceKind, TrackKey};
use sluice_moqt::data::EndOfRange;
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::{FetchKind, Params};
use sluice_moqt::session::StreamEnd;
use sluice_moqt::transport::SessionId;
use sluice_moqt::{GroupOrder, Location, RequestId};
use sluice_track::{FetchRange, SourceId, WriterId};
use std::time::Instant;

/// Where and how to fetch.
struct Ask {
    session: SessionId,
    /// The subscription that the fetch joins, if any.
    joining: Option<RequestId>,
    params: Params,
}

impl Node {
    /// Asks upstream for holes that the fetches of a session wait at: where nobody writes on.
    pub(crate) fn fill_fetches(&mut self, now: Instant, id: SessionId) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let mut missing = Vec::new();
        for job in session.down.fetches.values_mut().filter(|job| !job.filling) {
            let Some(first) = job.reader.waiting_for() else { continue };
            if self.tracks.get(job.track).and_then(|track| track.log.first_missing(first)) == Some(first) {
                job.filling = true;
                missing.push((job.track, FetchRange { first, last: job.range.last }));
            }
        }
        for (key, range) in missing {
            self.fill(now, key, range);
        }
    }

    /// Fetches what is missing in `range`, unless a fetch that is out covers it or the last one has brought nothing of it.
    pub(crate) fn fill(&mut self, now: Instant, key: TrackKey, mut range: FetchRange) {
        let Some(track) = self.tracks.get(key) else { return };
        if let Some(fetched) = track.upkeep.fetched.filter(|f| f.first <= range.first && range.first <= f.last) {
            range.first = Location::new(fetched.last.group, fetched.last.object.saturating_add(1));
        }
        if range.first > range.last {
            return;
        }
        let established = track.sources.iter().filter(|source| source.established);
        let mut sources = established.filter_map(|source| match source.kind {
            SourceKind::Session(session, _) => Some(session),
            SourceKind::Local => None,
        });
        let covers = |up: &Upstream| match up {
            Upstream::Fetch { track, range: asked, .. } => {
                *track == key && asked.first <= range.first && range.first <= asked.last
            }
            Upstream::Subscription { .. } => false,
        };
        let is_asked = |session: SessionId| match self.sessions.get(session) {
            Some(Hosted::Moq(session)) => session.up.requests.values().any(covers),
            Some(Hosted::Control(_)) | None => false,
        };
        if sources.clone().any(is_asked) {
            return;
        }
        if let Some(first) = sources.next() {
            self.fetch_into(now, Ask { session: first, joining: None, params: Params::default() }, key, range);
        }
    }

    /// A data stream of a fetch of ours ended: the request is over.
    pub(crate) fn on_fetch_stream_end(&mut self, now: Instant, id: SessionId, request: RequestId, end: StreamEnd) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Fetch { track, source, range, .. }) = session.up.requests.get(&request).cloned() else {
            return;
        };
        session.up.requests.remove(&request);
        if let Some(track) = self.tracks.get_mut(track) {
            track.log.remove_source(now, source);
            if end == StreamEnd::Fin {
                track.upkeep.fetched = Some(range);
            }
        }
        self.fan_out(track, 0);
    }

    /// Fetches what is missing where a source takes over. The group that goes on comes first: readers are at the live edge
    /// as soon as that is whole, whatever else was missed.
    pub(crate) fn catch_up(
        &mut self,
        now: Instant,
        (session, joining): (SessionId, Option<RequestId>),
        key: TrackKey,
        range: FetchRange,
    ) {
        let FetchRange { first, last } = range;
        let newest = FetchRange { first: first.max(Location::new(last.group, 0)), last };
        self.fetch_into(now, Ask { session, joining, params: Params::default() }, key, newest);
        if let Some(before) = last.group.checked_sub(1).filter(|before| first.group <= *before) {
            let older = FetchRange { first, last: Location::new(before, u64::MAX) };
            let params = Params { subscriber_priority: Some(u8::MAX), ..Params::default() };
            self.fetch_into(now, Ask { session, joining: None, params }, key, older);
        }
    }

    /// Fetches `range` from a session into the log.
    fn fetch_into(&mut self, now: Instant, ask: Ask, key: TrackKey, range: FetchRange) {
        let Ask { session: id, joining, params } = ask;
        let Some(track) = self.tracks.get(key) else { return };
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let whole_group = range.first.object == 0 && range.first.group == range.last.group;
        let kind = match joining {
            Some(joining) if whole_group => FetchKind::RelativeJoining { joining, start: 0 },
            Some(_) | None => {
                FetchKind::Standalone { track: track.name.clone(), start: range.first, end: range.wire_end() }
            }
        };
        let source = self.tracks.allocate_source();
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Ok(writer) = track.log.open_fetch(source, range, GroupOrder::Ascending) else { return };
        match session.protocol.fetch(kind, params) {
            Ok(request) => {
                session.up.requests.insert(request, Upstream::Fetch { track: key, source, range, writer });
                self.effects.wake(id);
            }
            Err(_) => track.log.remove_source(now, source),
        }
    }

    /// What an upstream fetch did not bring is unknown; readers need not wait for it.
    pub(crate) fn give_up_fetch(&mut self, now: Instant, id: SessionId, request: RequestId) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Fetch { track: key, source, range, writer }) = session.up.requests.remove(&request) else {
            return;
        };
        session.up.inbound.retain(|_, inbound| inbound.request != request);
        if let Some(track) = self.tracks.get_mut(key) {
            track.upkeep.fetched = Some(range);
        }
        self.mark_unknown(now, key, source, (range, writer));
    }

    /// Records a range as unknown, through the writer that was to fill it.
    pub(crate) fn mark_unknown(
        &mut self,
        now: Instant,
        key: TrackKey,
        source: SourceId,
        (range, writer): (FetchRange, WriterId),
    ) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let unknown = EndOfRange::Unknown { last: range.last };
        track.log.fetched_range(now, writer, unknown);
        // An end that the log refuses leaves nothing open either.
        let _ = track.log.finish(now, writer);
        track.log.remove_source(now, source);
        self.fan_out(key, 0);
    }

    /// Ends our fetches for a track: what they bring belongs to a log that is no more.
    pub(crate) fn cancel_fetches(&mut self, key: TrackKey) {
        for (id, hosted) in self.sessions.iter_mut() {
            let Hosted::Moq(session) = hosted else { continue };
            let is_it = |up: &Upstream| matches!(up, Upstream::Fetch { track, .. } if *track == key);
            let requests: Vec<RequestId> =
                session.up.requests.extract_if(.., |_, up| is_it(up)).map(|(request, _)| request).collect();
            for request in requests {
                session.protocol.cancel(request, ResetCode::Cancelled);
                let stale = session.up.inbound.extract_if(|_, inbound| inbound.request == request);
                session.up.stops.extend(stale.map(|(stream, _)| (stream, ResetCode::Cancelled.code())));
                self.effects.wake(id);
            }
        }
    }
}
