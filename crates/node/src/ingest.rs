//! Objects from upstream into the log, and the wake-ups that follow.

use crate::downstream::{request_error, session_of};
use crate::incident::Incident;
use crate::node::Node;
use crate::session::{Inbound, Upstream};
use crate::tracks::TrackKey;
use sluice_moqt::data::{FetchObject, ObjectDatagram, ObjectHeader, SubgroupHeader};
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode, SessionCode};
use sluice_moqt::session::{Event, StreamEnd};
use sluice_moqt::transport::{SessionId, StreamId};
use sluice_moqt::{RequestId, varint};
use sluice_track::{WriteError, WriterId};
use std::time::Instant;

impl Node {
    /// Any data event of a session.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller passes data events only")]
    pub(crate) fn on_data(&mut self, now: Instant, id: SessionId, event: Event) {
        match event {
            Event::Subgroup { stream, request, header } => self.on_subgroup(now, id, (stream, request), &header),
            Event::FetchStream { stream, request } => self.on_fetch_stream(id, stream, request),
            Event::Object { stream, object } => self.on_object(now, id, stream, &object),
            Event::FetchObject { stream, object } => self.on_fetched(now, id, stream, &object),
            Event::Payload { stream, data } => self.on_payload(now, id, stream, &data),
            Event::RangeEnd { stream, range } => {
                self.append(now, id, (stream, 0), |log, writer| {
                    log.fetched_range(now, writer, range);
                    Ok(())
                });
            }
            Event::StreamEnd { stream, end } => self.on_stream_end(now, id, stream, end),
            Event::Datagram { request, datagram } => self.on_datagram(now, id, request, &datagram),
            other => debug_assert!(false, "{other:?} carries no data"),
        }
    }

    fn on_subgroup(
        &mut self,
        now: Instant,
        id: SessionId,
        (stream, request): (StreamId, RequestId),
        header: &SubgroupHeader,
    ) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Subscription { track, source }) = session.up.requests.get(&request) else {
            return session.up.stops.push((stream, ResetCode::Cancelled.code()));
        };
        let (key, source) = (*track, *source);
        self.relieve(now, key, source);
        self.prove(now, key, source, header.group);
        let (Some(track), Some(session)) = (self.tracks.get_mut(key), session_of(&mut self.sessions, id)) else {
            return;
        };
        match track.log.open_subgroup(now, source, header) {
            Ok(writer) => {
                session.up.inbound.insert(stream, Inbound { track: key, writer, request, is_live: true });
                self.fan_out(key, 0);
            }
            Err(error) => self.on_write_error(now, id, (stream, key), &error),
        }
    }

    fn on_fetch_stream(&mut self, id: SessionId, stream: StreamId, request: RequestId) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        match session.up.requests.get(&request) {
            Some(Upstream::Fetch { track, writer, .. }) => {
                session.up.inbound.insert(stream, Inbound { track: *track, writer: *writer, request, is_live: false });
            }
            Some(Upstream::Subscription { .. }) | None => {
                session.up.stops.push((stream, ResetCode::Cancelled.code()));
            }
        }
    }

    fn on_object(&mut self, now: Instant, id: SessionId, stream: StreamId, object: &ObjectHeader) {
        self.metrics.media.appended_objects_total += 1;
        let header_len = header_len(object.properties.len(), object.payload_len);
        self.append(now, id, (stream, header_len), |log, writer| log.begin_object(now, writer, object));
    }

    fn on_fetched(&mut self, now: Instant, id: SessionId, stream: StreamId, object: &FetchObject) {
        self.metrics.media.appended_objects_total += 1;
        let header_len = header_len(object.properties.len(), object.payload_len);
        self.append(now, id, (stream, header_len), |log, writer| log.begin_fetched(now, writer, object));
    }

    fn on_payload(&mut self, now: Instant, id: SessionId, stream: StreamId, data: &[u8]) {
        self.append(now, id, (stream, data.len() as u64), |log, writer| log.append(now, writer, data));
    }

    fn on_stream_end(&mut self, now: Instant, id: SessionId, stream: StreamId, end: StreamEnd) {
        let Some(inbound) = self.moq(id).and_then(|session| session.up.inbound.remove(&stream)) else { return };
        let Some(track) = self.tracks.get_mut(inbound.track) else { return };
        let result = match end {
            StreamEnd::Fin => track.log.finish(now, inbound.writer),
            StreamEnd::Reset(_) => {
                track.log.reset(now, inbound.writer);
                Ok(())
            }
        };
        self.fan_out(inbound.track, 0);
        if let Err(error) = result {
            self.on_write_error(now, id, (stream, inbound.track), &error);
        }
        self.on_fetch_stream_end(now, id, inbound.request, end);
    }

    fn on_datagram(&mut self, now: Instant, id: SessionId, request: RequestId, datagram: &ObjectDatagram) {
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let Some(Upstream::Subscription { track, source }) = session.up.requests.get(&request) else { return };
        let (key, source) = (*track, *source);
        self.relieve(now, key, source);
        self.prove(now, key, source, datagram.location.group);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let result = track.log.append_datagram(now, datagram);
        self.metrics.media.appended_objects_total += 1;
        self.note_growth(now, datagram.payload.len() as u64);
        self.fan_out(key, datagram.payload.len() as u64);
        if let Err(WriteError::Malformed(error)) = result {
            self.end_malformed(now, key, &error.to_string());
        }
    }

    /// One write to the log by the stream's writer, counted as `bytes` appended.
    fn append(
        &mut self,
        now: Instant,
        id: SessionId,
        (stream, bytes): (StreamId, u64),
        op: impl FnOnce(&mut sluice_track::Log, WriterId) -> Result<(), WriteError>,
    ) {
        let Some(inbound) = self.moq(id).and_then(|session| session.up.inbound.get(&stream).copied()) else { return };
        let Some(track) = self.tracks.get_mut(inbound.track) else { return };
        let result = op(&mut track.log, inbound.writer);
        if let Err(error) = result {
            return self.on_write_error(now, id, (stream, inbound.track), &error);
        }
        self.metrics.media.appended_bytes_total += bytes;
        self.note_growth(now, bytes);
        let pop = session_of(&mut self.sessions, id).and_then(|session| session.kind.pop());
        if let Some(link) = pop.and_then(|pop| self.links.get_mut(pop)) {
            link.traffic.received += bytes;
        }
        self.fan_out(inbound.track, if inbound.is_live { bytes } else { 0 });
    }

    fn on_write_error(&mut self, now: Instant, id: SessionId, (stream, key): (StreamId, TrackKey), error: &WriteError) {
        match error {
            WriteError::Malformed(error) => self.end_malformed(now, key, &error.to_string()),
            WriteError::Limit(_) => {
                self.metrics.limits_hit_total += 1;
                let Some(session) = self.moq(id) else { return };
                session.up.inbound.remove(&stream);
                session.up.stops.push((stream, ResetCode::ExcessiveLoad.code()));
                self.effects.wake(id);
            }
            WriteError::Session(error) => {
                self.metrics.sessions_violated_total += 1;
                self.close(id, error.session_code(), error.to_string());
            }
            _ => self.close(id, SessionCode::InternalError, error.to_string()),
        }
    }

    /// Wakes the readers that a mutation of the log concerns; `bytes` came live.
    pub(crate) fn fan_out(&mut self, key: TrackKey, bytes: u64) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let progress = track.log.take_progress();
        let everyone = progress.whole || progress.datagram || progress.ended;
        for reader in &track.readers {
            if reader.cut_through && reader.is_live && bytes > 0 {
                let pop = session_of(&mut self.sessions, reader.session).and_then(|session| session.kind.pop());
                if let Some(link) = pop.and_then(|pop| self.links.get_mut(pop)) {
                    link.traffic.carried += bytes;
                }
            }
            if everyone || (progress.partial && reader.cut_through) {
                if let Some(session) = session_of(&mut self.sessions, reader.session) {
                    session.mark_ready(reader.request);
                }
                self.effects.wake(reader.session);
            }
        }
        self.arm_track(key);
    }

    /// A publisher broke the object model: everybody is told, nothing of it stays
    /// (draft-18 2.4.2: "it MUST immediately terminate downstream subscriptions with PUBLISH_DONE").
    pub(crate) fn end_malformed(&mut self, now: Instant, key: TrackKey, why: &str) {
        self.metrics.tracks_malformed_total += 1;
        if let Some(track) = self.tracks.get(key) {
            let incident = Incident::MalformedTrack { track: track.name.clone(), reason: why.to_owned() };
            self.effects.incidents.push(incident);
        }
        self.cancel_sources(now, key, ResetCode::MalformedTrack);
        self.end_readers(now, key, DoneCode::MalformedTrack, why);
        self.refuse_waiting(key, &request_error(RequestCode::MalformedTrack, why));
        self.forget_track(key);
    }
}

/// Bytes of an object's header on a subgroup stream, near enough for accounting: the id delta counts as one.
pub(crate) const fn header_len(properties: usize, payload: u64) -> u64 {
    let properties = if properties == 0 { 0 } else { properties + varint::len(properties as u64) };
    (1 + properties + varint::len(payload)) as u64
}
