//! One answer to a FETCH.

use crate::batch::{Batch, View};
use crate::priority::{Order, transport_priority};
use crate::walk::{Missing, Step, Walk};
use crate::{FetchRange, Forwarding, Log, Selected, Stats};
use bytes::{Bytes, BytesMut};
use sluice_moqt::Location;
use sluice_moqt::data::{EndOfRange, FetchEncoder, FetchHeader, FetchObject};
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::Class;
use sluice_moqt::transport::{Dir, SinkError, StreamId, StreamSink};
use sluice_moqt::types::{GroupOrder, RequestId};
use std::time::{Duration, Instant};

/// Bytes that one fetch writes in one visit at most, give or take an object.
const BUDGET: usize = 1 << 20;

/// What a FETCH asked for.
#[derive(Debug, Clone, Copy)]
pub struct FetchConfig {
    /// The FETCH.
    pub request_id: RequestId,
    /// What is served; see [`Log::plan_fetch`].
    pub range: FetchRange,
    /// Group order.
    pub order: GroupOrder,
    /// Cut-through or whole objects.
    pub mode: Forwarding,
    /// Subscriber priority.
    pub priority: u8,
    /// Traffic class.
    pub class: Class,
    /// How long in total to wait for what is missing before it is reported unknown (FILL_TIMEOUT, draft-18 9.2.5).
    pub fill: Duration,
}

/// Serves one FETCH on one stream.
#[derive(Debug)]
pub struct FetchReader {
    config: FetchConfig,
    encoder: FetchEncoder,
    walk: Walk,
    stream: Option<StreamId>,
    /// Bytes that go out before anything else: the stream's header, ends of range, datagram objects.
    head: Bytes,
    transit: Option<Transit>,
    state: State,
    /// When waiting for missing objects ends.
    patience: Instant,
    waiting: Option<Location>,
    stats: Stats,
}

/// The object on its way out.
#[derive(Debug)]
struct Transit {
    location: Location,
    subgroup: u64,
    view: View,
    /// Bytes of the view that the transport took.
    offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Sending.
    Open,
    /// Everything was gathered; the FIN follows the last byte.
    Ending,
    /// To be reset at the next visit.
    Stopped,
    /// Over.
    Done,
}

/// What one turn of the loop came to.
enum Turn {
    Again,
    /// Nothing can be done before something arrives or the transport takes more.
    Rest,
}

impl FetchReader {
    /// Starts serving.
    #[must_use]
    pub fn new(now: Instant, config: FetchConfig) -> Self {
        let mut head = BytesMut::new();
        FetchHeader { request_id: config.request_id }.encode(&mut head);
        Self {
            config,
            encoder: FetchEncoder::new(config.order),
            walk: Walk::new(config.range, config.order, config.mode),
            stream: None,
            head: head.freeze(),
            transit: None,
            state: State::Open,
            patience: now + config.fill,
            waiting: None,
            stats: Stats::default(),
        }
    }

    /// As [`crate::Cursor::select`].
    pub fn select(&mut self, now: Instant, log: &mut Log, sink: &mut dyn StreamSink) -> Selected {
        let mut selected = Selected::default();
        self.waiting = None;
        loop {
            match self.turn(now, log, sink, &mut selected) {
                Turn::Again if selected.wrote > BUDGET && self.state != State::Done => {
                    selected.pending = true;
                    break;
                }
                Turn::Again => {}
                Turn::Rest => break,
            }
        }
        self.stats.bytes += selected.wrote as u64;
        selected
    }

    /// The peer sent STOP_SENDING: reset at the next [`FetchReader::select`].
    pub fn handle_stopped(&mut self, stream: StreamId) {
        if self.stream == Some(stream) && self.state != State::Done {
            self.state = State::Stopped;
        }
    }

    /// Resets the stream; for a fetch that was cancelled or ended early.
    pub fn close(&mut self, sink: &mut dyn StreamSink, code: ResetCode) {
        self.abandon(sink, code);
    }

    /// The reader of what this leads to is elsewhere by now: resets the stream, if it was opened, as a subscription's.
    pub fn give_up(&mut self, sink: &mut dyn StreamSink) {
        if self.stream.is_some() {
            self.abandon(sink, ResetCode::DeliveryTimeout);
        }
    }

    /// The FIN was written, or the stream is gone.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.state == State::Done
    }

    /// The first location that is waited for, if any: what the node may fetch upstream.
    #[must_use]
    pub const fn waiting_for(&self) -> Option<Location> {
        self.waiting
    }

    /// Counters since they were taken last.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The counters, which begin anew.
    pub const fn take_stats(&mut self) -> Stats {
        std::mem::replace(&mut self.stats, Stats::NONE)
    }

    /// When to call [`FetchReader::select`] even if nothing arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        // The rest of an object that is half out comes or is given up; both change the log.
        self.waiting.filter(|_| self.transit.is_none()).map(|_| self.patience)
    }

    fn turn(&mut self, now: Instant, log: &mut Log, sink: &mut dyn StreamSink, selected: &mut Selected) -> Turn {
        match self.state {
            State::Done => return Turn::Rest,
            State::Stopped => {
                self.abandon(sink, ResetCode::Cancelled);
                return Turn::Rest;
            }
            State::Open | State::Ending => {}
        }
        let Some(stream) = self.open(log, sink) else {
            selected.blocked = true;
            return Turn::Rest;
        };
        let written = if !self.head.is_empty() {
            self.write_head(stream, sink)
        } else if self.transit.is_some() {
            self.write_object(stream, log, sink)
        } else if self.state == State::Ending {
            sink.finish(stream);
            self.state = State::Done;
            return Turn::Rest;
        } else {
            return self.step(now, log, sink);
        };
        match written {
            Ok((taken, offered)) => {
                selected.wrote += taken;
                selected.blocked |= taken < offered;
                if taken < offered || offered == 0 { Turn::Rest } else { Turn::Again }
            }
            Err(_) => {
                self.abandon(sink, ResetCode::Cancelled);
                Turn::Rest
            }
        }
    }

    /// Finds what comes next.
    fn step(&mut self, now: Instant, log: &Log, sink: &mut dyn StreamSink) -> Turn {
        let mut out = BytesMut::new();
        let missing = if now < self.patience { Missing::MayCome } else { Missing::IsUnknown };
        let encoded = match self.walk.next(log, missing) {
            Step::Wait(location) => {
                self.waiting = Some(location);
                return Turn::Rest;
            }
            Step::Object { location, subgroup, unknown } => {
                self.unknown(unknown, &mut out).and_then(|()| self.begin(location, subgroup, log, &mut out))
            }
            Step::End { unknown } => {
                self.state = State::Ending;
                self.unknown(unknown, &mut out)
            }
        };
        self.head = out.freeze();
        match encoded {
            Ok(()) => Turn::Again,
            Err(_) => {
                self.abandon(sink, ResetCode::InternalError);
                Turn::Rest
            }
        }
    }

    fn unknown(&mut self, last: Option<Location>, out: &mut BytesMut) -> Result<(), sluice_moqt::EncodeError> {
        last.map_or(Ok(()), |last| self.encoder.end_of_range(EndOfRange::Unknown { last }, out))
    }

    /// Encodes what stands before the payload; the payload itself follows from the log, slice by slice.
    fn begin(
        &mut self,
        location: Location,
        subgroup: Option<u64>,
        log: &Log,
        out: &mut BytesMut,
    ) -> Result<(), sluice_moqt::EncodeError> {
        let Some(key) = subgroup else { return self.whole_datagram(location, log, out) };
        let held = log.groups.get(&location.group).and_then(|group| group.subgroups.get(&key));
        let Some((held, object)) = held.and_then(|held| Some((held, held.find(location.object)?))) else {
            return Ok(());
        };
        let object_head = FetchObject {
            location,
            subgroup,
            priority: held.priority.value(),
            properties: Bytes::copy_from_slice(object.properties_run()),
            payload_len: object.payload_len() as u64,
        };
        let mut prefix = BytesMut::new();
        self.encoder.object(&object_head, &mut prefix)?;
        let view = View { prefix: prefix.freeze(), skip: object.payload_at() };
        self.transit = Some(Transit { location, subgroup: key, view, offset: 0 });
        Ok(())
    }

    fn whole_datagram(
        &mut self,
        location: Location,
        log: &Log,
        out: &mut BytesMut,
    ) -> Result<(), sluice_moqt::EncodeError> {
        let Some(held) = log.datagrams.find(location) else { return Ok(()) };
        let object = FetchObject {
            location,
            subgroup: None,
            priority: held.object.priority.unwrap_or_else(|| log.default_priority()),
            properties: held.object.properties.clone(),
            payload_len: held.object.payload.len() as u64,
        };
        self.encoder.object(&object, out)?;
        out.extend_from_slice(&held.object.payload);
        self.stats.objects += 1;
        Ok(())
    }

    fn open(&mut self, log: &Log, sink: &mut dyn StreamSink) -> Option<StreamId> {
        if self.stream.is_none() {
            let stream = sink.open(Dir::Uni)?;
            let order = Order {
                class: self.config.class,
                subscriber: self.config.priority,
                publisher: log.default_priority(),
                group_rank: 128,
                subgroup: 0,
            };
            sink.set_priority(stream, transport_priority(order));
            self.stream = Some(stream);
        }
        self.stream
    }

    /// Returns bytes taken and offered.
    fn write_head(&mut self, stream: StreamId, sink: &mut dyn StreamSink) -> Result<(usize, usize), SinkError> {
        let offered = self.head.len();
        let mut chunk = [std::mem::take(&mut self.head)];
        let taken = sink.write(stream, &mut chunk);
        [self.head] = chunk;
        taken.map(|taken| (taken, offered))
    }

    /// As [`FetchReader::write_head`]; nothing is offered while nothing more has arrived.
    fn write_object(
        &mut self,
        stream: StreamId,
        log: &mut Log,
        sink: &mut dyn StreamSink,
    ) -> Result<(usize, usize), SinkError> {
        let Some(transit) = &mut self.transit else { return Ok((0, 0)) };
        let subgroup = log.subgroup_mut(transit.location.group, transit.subgroup);
        let object = subgroup.and_then(|subgroup| subgroup.find_mut(transit.location.object));
        let Some(object) = object.filter(|object| !object.is_unknown()) else {
            // Evicted, or nobody completed it: half of it is out, so the stream cannot go on.
            self.abandon(sink, ResetCode::UnknownObjectStatus);
            return Ok((0, 0));
        };
        let mut batch = Batch::new();
        batch.push_object(object, &transit.view, transit.offset);
        if batch.is_empty() {
            self.waiting = Some(transit.location);
            return Ok((0, 0));
        }
        let taken = batch.write(sink, stream)?;
        transit.offset += taken;
        let (ended, _) = batch.ended(taken);
        if ended > 0 {
            self.transit = None;
            self.stats.objects += 1;
        }
        Ok((taken, batch.bytes()))
    }

    fn abandon(&mut self, sink: &mut dyn StreamSink, code: ResetCode) {
        if let Some(stream) = self.stream.filter(|_| self.state != State::Done) {
            sink.reset(stream, code.code());
        }
        self.state = State::Done;
    }
}
