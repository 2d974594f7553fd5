//! The peer's data streams and datagrams (draft-18 10).

use super::aliases::{Aliases, Named};
use super::event::{Event, StreamEnd};
use super::fault::Fault;
use super::ids::{IdHash, UsedIds};
use super::request::{FetchData, Kind, Request, State};
use super::timers::Timer;
use super::{Phase, Session};
use crate::data::{DataEvent, Datagram, FetchHeader, ObjectDatagram, StreamDecoder, SubgroupHeader};
use crate::error::{ResetCode, SessionCode};
use crate::transport::{StreamEvent, StreamId};
use crate::types::{RequestId, TrackAlias};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

/// Datagrams kept for an alias that is not known yet.
const MAX_HELD_DATAGRAMS: usize = 32;

/// Everything received on unidirectional streams and in datagrams.
#[derive(Debug, Default)]
pub(super) struct DataStreams {
    open: HashMap<StreamId, DataStream, IdHash>,
    /// Streams that the peer has used; what comes late on one that is over is ignored.
    used: UsedIds,
    aliases: Aliases,
    /// Streams that wait for SETUP or for their alias.
    held: BTreeSet<StreamId>,
    held_bytes: usize,
    datagrams: VecDeque<(Instant, ObjectDatagram)>,
}

#[derive(Debug)]
struct DataStream {
    decoder: StreamDecoder,
    progress: Progress,
}

/// What is known about a data stream.
#[derive(Debug)]
enum Progress {
    /// Its header is incomplete; due by then.
    Header(Option<Instant>),
    /// It cannot be attributed yet.
    Held(Box<Held>),
    /// Objects of a subscription.
    Subscription(RequestId),
    /// Objects of a fetch.
    Fetch(RequestId),
    /// To be discarded.
    Padding,
}

/// A stream that waits.
#[derive(Debug)]
struct Held {
    header: Header,
    bytes: BytesMut,
    end: Option<StreamEnd>,
    deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
enum Header {
    Subgroup(SubgroupHeader),
    Fetch(FetchHeader),
}

impl Session {
    pub(super) fn on_uni(&mut self, now: Instant, stream: StreamId, event: StreamEvent) -> Result<(), Fault> {
        match event {
            StreamEvent::Data { data, fin } => {
                if self.control.is_stream(stream) {
                    self.on_control_data(now, data)?;
                    return if fin { Err(self.on_control_closed()) } else { Ok(()) };
                }
                self.on_data(now, stream, data)?;
                if fin { self.on_data_end(stream, StreamEnd::Fin) } else { Ok(()) }
            }
            StreamEvent::Reset { .. } if self.control.is_stream(stream) => Err(self.on_control_closed()),
            StreamEvent::Reset { code } => {
                if !self.data.open.contains_key(&stream) {
                    self.data.used.insert(stream.0 >> 2);
                }
                self.on_data_end(stream, StreamEnd::Reset(code))
            }
            StreamEvent::Writable | StreamEvent::Stopped { .. } | StreamEvent::Acked => Ok(()),
        }
    }

    /// The hot path: one look-up, then the decoder's events go straight to the owner.
    fn on_data(&mut self, now: Instant, stream: StreamId, data: Bytes) -> Result<(), Fault> {
        let Some(open) = self.data.open.get_mut(&stream) else {
            if self.data.used.insert(stream.0 >> 2) {
                let fresh = DataStream { decoder: StreamDecoder::default(), progress: Progress::Header(None) };
                self.data.open.insert(stream, fresh);
                return self.on_header(now, stream, data);
            }
            return Ok(());
        };
        match &mut open.progress {
            Progress::Subscription(_) | Progress::Fetch(_) => {
                open.decoder.push(data);
                drain(stream, &mut open.decoder, &mut self.events)
            }
            Progress::Padding => Ok(()),
            Progress::Held(held) => {
                held.bytes.extend_from_slice(&data);
                self.data.held_bytes = self.data.held_bytes.saturating_add(data.len());
                if self.data.held_bytes > self.config.limits.held_bytes {
                    self.discard_data(stream, ResetCode::ExcessiveLoad);
                }
                Ok(())
            }
            Progress::Header(_) => self.on_header(now, stream, data),
        }
    }

    fn on_header(&mut self, now: Instant, stream: StreamId, data: Bytes) -> Result<(), Fault> {
        let Some(DataStream { decoder, progress: Progress::Header(deadline) }) = self.data.open.get_mut(&stream) else {
            return Ok(());
        };
        decoder.push(data);
        let Some(event) = decoder.poll()? else {
            if deadline.is_none() {
                let due = now + self.config.limits.header_timeout;
                *deadline = Some(due);
                self.timers.set(due, Timer::Header(stream));
            }
            return Ok(());
        };
        if let Some(due) = deadline.take() {
            self.timers.clear(due, Timer::Header(stream));
        }
        match event {
            DataEvent::Control => {
                let rest = self.data.open.remove(&stream).map(|open| open.decoder.into_rest()).unwrap_or_default();
                self.on_control_stream(now, stream, rest)
            }
            DataEvent::Padding => {
                self.set_progress(stream, Progress::Padding);
                Ok(())
            }
            DataEvent::Subgroup(header) => self.place(now, stream, Header::Subgroup(header)),
            DataEvent::Fetch(header) => self.place(now, stream, Header::Fetch(header)),
            DataEvent::Object(_)
            | DataEvent::FetchObject(_)
            | DataEvent::EndOfRange(_)
            | DataEvent::Payload(_)
            | DataEvent::ObjectEnd => Err(Fault::new(SessionCode::InternalError, "an object before its header")),
        }
    }

    /// Attributes a stream whose header is known, or holds it.
    fn place(&mut self, now: Instant, stream: StreamId, header: Header) -> Result<(), Fault> {
        if self.phase != Phase::Ready {
            self.hold(now, stream, header);
            return Ok(());
        }
        match header {
            Header::Subgroup(subgroup) => match self.data.aliases.lookup(subgroup.alias) {
                Named::Subscription(request) => self.begin_subgroup(stream, request, subgroup),
                // draft-18 10.1: "retain sufficient state to quickly discard these unwanted Objects". A publisher may use
                // the alias again for a SUBSCRIBE that we wait for the answer to.
                Named::Retired if !self.requests.awaits_alias() => {
                    self.discard_data(stream, ResetCode::Cancelled);
                    Ok(())
                }
                Named::Retired | Named::Unknown => {
                    self.hold(now, stream, header);
                    Ok(())
                }
            },
            Header::Fetch(fetch) => self.begin_fetch(stream, fetch.request_id),
        }
    }

    fn begin_subgroup(&mut self, stream: StreamId, request: RequestId, header: SubgroupHeader) -> Result<(), Fault> {
        if let Some(subscription) = self.requests.get_mut(request).and_then(Request::subscription) {
            subscription.streams.insert(stream);
            subscription.seen = subscription.seen.saturating_add(1);
        }
        self.events.push_back(Event::Subgroup { stream, request, header });
        self.begin(stream, Progress::Subscription(request))
    }

    fn begin_fetch(&mut self, stream: StreamId, request: RequestId) -> Result<(), Fault> {
        let known = self.requests.was_ours(request);
        let order = match self.requests.get_mut(request).map(|open| &mut open.kind) {
            Some(Kind::Fetch(fetch)) if known && fetch.data == FetchData::None => {
                fetch.data = FetchData::Open(stream);
                fetch.order
            }
            // Cancelled before.
            None if known => {
                self.discard_data(stream, ResetCode::Cancelled);
                return Ok(());
            }
            // draft-18 9.12.3: "delivered on a single unidirectional stream".
            Some(_) | None => return Err(Fault::violation(format!("fetch stream for request {}", request.0))),
        };
        if let Some(open) = self.data.open.get_mut(&stream) {
            open.decoder.set_group_order(order);
        }
        self.events.push_back(Event::FetchStream { stream, request });
        self.begin(stream, Progress::Fetch(request))
    }

    /// Reads what followed the header; what had to wait comes after it.
    fn begin(&mut self, stream: StreamId, progress: Progress) -> Result<(), Fault> {
        let Some(open) = self.data.open.get_mut(&stream) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut open.progress, progress);
        drain(stream, &mut open.decoder, &mut self.events)?;
        if let Progress::Held(held) = before {
            open.decoder.push(held.bytes.freeze());
            drain(stream, &mut open.decoder, &mut self.events)?;
            if let Some(end) = held.end {
                return self.on_data_end(stream, end);
            }
        }
        Ok(())
    }

    fn on_data_end(&mut self, stream: StreamId, end: StreamEnd) -> Result<(), Fault> {
        let Some(open) = self.data.open.get_mut(&stream) else {
            return Ok(());
        };
        let padding = matches!(open.progress, Progress::Padding);
        if let Progress::Held(held) = &mut open.progress {
            held.end = Some(end);
            return Ok(());
        }
        if end == StreamEnd::Fin && !padding {
            // draft-18 10.4: "in the middle of a serialized Object, the session SHOULD be closed with a
            // `PROTOCOL_VIOLATION`".
            open.decoder.finish()?;
        }
        match self.data.open.remove(&stream).map(|open| open.progress) {
            Some(Progress::Header(Some(due))) => self.timers.clear(due, Timer::Header(stream)),
            Some(Progress::Subscription(request)) => {
                self.events.push_back(Event::StreamEnd { stream, end });
                if let Some(subscription) = self.requests.get_mut(request).and_then(Request::subscription) {
                    subscription.streams.remove(&stream);
                }
                self.check_done(request);
            }
            Some(Progress::Fetch(request)) => {
                self.events.push_back(Event::StreamEnd { stream, end });
                self.on_fetch_end(request);
            }
            Some(Progress::Header(None) | Progress::Held(_) | Progress::Padding) | None => {}
        }
        Ok(())
    }

    /// Keeps a stream for a brief period (draft-18 10.4.2: "to handle reordering with the control message that
    /// establishes the Track Alias"), or refuses it where too much is kept.
    fn hold(&mut self, now: Instant, stream: StreamId, header: Header) {
        let full = self.data.held.len() >= self.config.limits.held_streams;
        let ready = self.phase == Phase::Ready;
        let Some(open) = self.data.open.get_mut(&stream) else {
            return;
        };
        if full {
            self.discard_data(stream, ResetCode::ExcessiveLoad);
            return;
        }
        // Before SETUP, its own deadline counts.
        let deadline = ready.then(|| now + self.config.limits.held_for);
        if let Some(deadline) = deadline {
            self.timers.set(deadline, Timer::Held(stream));
        }
        open.progress = Progress::Held(Box::new(Held { header, bytes: BytesMut::new(), end: None, deadline }));
        self.data.held.insert(stream);
    }

    /// Attributes held streams: those of one alias, or all that can be.
    pub(super) fn release_data(&mut self, now: Instant, alias: Option<TrackAlias>) -> Result<(), Fault> {
        let waiting: Vec<StreamId> = self.data.held.iter().copied().collect();
        for stream in waiting {
            let Some(DataStream { progress: Progress::Held(held), .. }) = self.data.open.get_mut(&stream) else {
                continue;
            };
            let header = held.header;
            match header {
                Header::Subgroup(subgroup) => match self.data.aliases.lookup(subgroup.alias) {
                    Named::Subscription(request) if alias.is_none_or(|alias| alias == subgroup.alias) => {
                        self.unhold(stream);
                        self.begin_subgroup(stream, request, subgroup)?;
                    }
                    Named::Subscription(_) | Named::Retired | Named::Unknown => {
                        let deadline = now + self.config.limits.held_for;
                        if held.deadline.replace(deadline).is_none() {
                            self.timers.set(deadline, Timer::Held(stream));
                        }
                    }
                },
                Header::Fetch(fetch) => {
                    self.unhold(stream);
                    self.begin_fetch(stream, fetch.request_id)?;
                }
            }
        }
        if let Some(alias) = alias {
            self.release_datagrams(now, alias);
        }
        Ok(())
    }

    /// Stops counting a stream as held.
    fn unhold(&mut self, stream: StreamId) {
        self.data.held.remove(&stream);
        if let Some(DataStream { progress: Progress::Held(held), .. }) = self.data.open.get(&stream) {
            self.data.held_bytes = self.data.held_bytes.saturating_sub(held.bytes.len());
            if let Some(deadline) = held.deadline {
                self.timers.clear(deadline, Timer::Held(stream));
            }
        }
    }

    /// Forgets a stream and asks the peer to stop it.
    pub(super) fn discard_data(&mut self, stream: StreamId, code: ResetCode) {
        self.unhold(stream);
        self.data.open.remove(&stream);
        self.out.stop(stream, code.code());
    }

    pub(super) fn on_held_timeout(&mut self, stream: StreamId) {
        self.discard_data(stream, ResetCode::Cancelled);
    }

    pub(super) fn on_header_timeout(&self) -> Fault {
        Fault::new(SessionCode::DataStreamTimeout, "the header of a data stream stays incomplete")
    }

    /// An alias of the peer's names a subscription from here on.
    ///
    /// draft-18 10.1: "the same Track Alias as a different Track with an `Established` subscription, it MUST close the
    /// session with error `DUPLICATE_TRACK_ALIAS`".
    pub(super) fn bind_alias(&mut self, alias: TrackAlias, request: RequestId) -> Result<(), Fault> {
        if let Named::Subscription(other) = self.data.aliases.lookup(alias) {
            let track = |id| match self.requests.get(id).map(|open: &Request| &open.kind) {
                Some(Kind::Subscribe(subscription) | Kind::Publish(subscription)) => Some(&subscription.track),
                Some(
                    Kind::Fetch(_)
                    | Kind::TrackStatus
                    | Kind::PublishNamespace
                    | Kind::SubscribeNamespace(_)
                    | Kind::SubscribeTracks(_),
                )
                | None => None,
            };
            if track(other) != track(request) {
                let reason = format!("track alias {} names another track", alias.0);
                return Err(Fault::new(SessionCode::DuplicateTrackAlias, reason));
            }
        }
        self.data.aliases.bind(alias, request);
        Ok(())
    }

    /// Binds the alias of the peer's PUBLISH.
    pub(super) fn bind_publish_alias(&mut self, now: Instant, request: RequestId) -> Result<(), Fault> {
        let Some(Kind::Publish(subscription)) = self.requests.get(request).map(|open| &open.kind) else {
            return Ok(());
        };
        let Some(alias) = subscription.alias else {
            return Ok(());
        };
        self.bind_alias(alias, request)?;
        self.release_data(now, Some(alias))
    }

    pub(super) fn retire_alias(&mut self, alias: TrackAlias, request: RequestId) {
        self.data.aliases.retire(alias, request);
    }

    pub(super) fn on_datagram(&mut self, now: Instant, data: Bytes) -> Result<(), Fault> {
        let Datagram::Object(datagram) = Datagram::decode(data)? else {
            return Ok(());
        };
        match self.data.aliases.lookup(datagram.alias) {
            Named::Subscription(request) => self.events.push_back(Event::Datagram { request, datagram }),
            Named::Retired => {}
            Named::Unknown => {
                if self.data.datagrams.len() >= MAX_HELD_DATAGRAMS {
                    self.data.datagrams.pop_front();
                }
                self.data.datagrams.push_back((now, datagram));
            }
        }
        Ok(())
    }

    fn release_datagrams(&mut self, now: Instant, alias: TrackAlias) {
        let Named::Subscription(request) = self.data.aliases.lookup(alias) else {
            return;
        };
        for (since, datagram) in std::mem::take(&mut self.data.datagrams) {
            let fresh = now.saturating_duration_since(since) <= self.config.limits.held_for;
            if datagram.alias != alias {
                self.data.datagrams.push_back((since, datagram));
            } else if fresh {
                self.events.push_back(Event::Datagram { request, datagram });
            }
        }
    }

    fn set_progress(&mut self, stream: StreamId, progress: Progress) {
        if let Some(open) = self.data.open.get_mut(&stream) {
            open.progress = progress;
        }
    }

    /// The data stream of a fetch of ours ended; the request ends with it once it is answered.
    fn on_fetch_end(&mut self, request: RequestId) {
        let Some(Request { kind: Kind::Fetch(fetch), state, .. }) = self.requests.get_mut(request) else {
            return;
        };
        fetch.data = FetchData::Ended;
        if *state != State::Pending {
            self.finish(request);
        }
    }
}

/// Moves what the decoder has to the owner.
fn drain(stream: StreamId, decoder: &mut StreamDecoder, events: &mut VecDeque<Event>) -> Result<(), Fault> {
    while let Some(event) = decoder.poll()? {
        events.push_back(match event {
            DataEvent::Object(object) => Event::Object { stream, object },
            DataEvent::FetchObject(object) => Event::FetchObject { stream, object },
            DataEvent::EndOfRange(range) => Event::RangeEnd { stream, range },
            DataEvent::Payload(data) => Event::Payload { stream, data },
            DataEvent::ObjectEnd => continue,
            DataEvent::Control | DataEvent::Subgroup(_) | DataEvent::Fetch(_) | DataEvent::Padding => {
                return Err(Fault::new(SessionCode::InternalError, "a header inside a stream"));
            }
        });
    }
    Ok(())
}
