//! What waits to be sent: control bytes per stream, resets and stops.

use super::ids::IdHash;
use crate::error::ResetCode;
use crate::transport::{Dir, SinkError, StreamId, StreamSink};
use crate::types::RequestId;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Control messages overtake all data.
const CONTROL_PRIORITY: i32 = i32::MAX;
/// Requests and answers overtake all data but not GOAWAY.
const REQUEST_PRIORITY: i32 = i32::MAX - 1;

/// One stream that we write control bytes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Lane {
    /// Our control stream.
    Control,
    /// The stream of a request, whoever made it.
    Request(RequestId),
}

/// The sending half of a lane.
#[derive(Debug, Clone, Default)]
struct Half {
    /// `None` until the transport lets us open it.
    stream: Option<StreamId>,
    queue: Vec<Bytes>,
    finish: bool,
    state: Flow,
}

/// Where a half stands between us and the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Flow {
    /// Nothing to do.
    #[default]
    Idle,
    /// In [`Outbox::ready`].
    Ready,
    /// Waiting for [`Outbox::on_writable`].
    Blocked,
}

/// An immediate stream operation.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Reset(StreamId, u64),
    Stop(StreamId, u64),
}

/// Everything the next [`Outbox::transmit`] will do.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    lanes: BTreeMap<Lane, Half>,
    by_stream: HashMap<StreamId, Lane, IdHash>,
    /// Lanes whose stream is to be opened, in order of the requests.
    unopened: VecDeque<Lane>,
    /// The peer's stream limit stopped us.
    out_of_streams: bool,
    ready: VecDeque<Lane>,
    signals: VecDeque<Signal>,
    /// Bytes in all queues.
    queued: usize,
}

/// What happened to lanes during a visit.
#[derive(Debug, Default)]
pub(super) struct Visit {
    /// Streams opened for our requests.
    pub(super) opened: Vec<(RequestId, StreamId)>,
    /// Lanes whose stream the peer stopped, with its code.
    pub(super) stopped: Vec<(Lane, StreamId, u64)>,
}

impl Outbox {
    /// Plans a stream of ours.
    pub(super) fn open(&mut self, lane: Lane) {
        self.lanes.insert(lane, Half::default());
        self.unopened.push_back(lane);
    }

    /// Takes the sending half of a stream that the peer opened.
    pub(super) fn adopt(&mut self, lane: Lane, stream: StreamId) {
        self.lanes.insert(lane, Half { stream: Some(stream), ..Half::default() });
        self.by_stream.insert(stream, lane);
    }

    /// Queues one message; nothing where the lane is gone.
    pub(super) fn push(&mut self, lane: Lane, message: Bytes) {
        let Some(half) = self.lanes.get_mut(&lane).filter(|half| !half.finish) else {
            return;
        };
        self.queued = self.queued.saturating_add(message.len());
        half.queue.push(message);
        self.make_ready(lane);
    }

    /// Ends the lane after what is queued.
    pub(super) fn finish(&mut self, lane: Lane) {
        if let Some(half) = self.lanes.get_mut(&lane) {
            half.finish = true;
            self.make_ready(lane);
        }
    }

    /// Forgets a lane and abandons both directions of its stream, where it has one. The lane may be gone already.
    pub(super) fn abort(&mut self, lane: Lane, stream: Option<StreamId>, code: u64) {
        self.remove(lane);
        if let Some(stream) = stream {
            self.reset(stream, code);
            self.stop(stream, code);
        }
    }

    /// Abandons sending on `stream`.
    pub(super) fn reset(&mut self, stream: StreamId, code: u64) {
        self.signals.push_back(Signal::Reset(stream, code));
    }

    /// Asks the peer to abandon sending on `stream`.
    pub(super) fn stop(&mut self, stream: StreamId, code: u64) {
        self.signals.push_back(Signal::Stop(stream, code));
    }

    /// Bytes waiting in all lanes.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// The lane that writes on `stream`.
    pub(super) fn lane(&self, stream: StreamId) -> Option<Lane> {
        self.by_stream.get(&stream).copied()
    }

    pub(super) fn on_writable(&mut self, stream: StreamId) {
        if let Some(lane) = self.lane(stream)
            && let Some(half) = self.lanes.get_mut(&lane)
        {
            half.state = Flow::Ready;
            self.ready.push_back(lane);
        }
    }

    pub(super) fn on_streams_available(&mut self) {
        self.out_of_streams = false;
    }

    pub(super) fn wants_transmit(&self) -> bool {
        !self.signals.is_empty() || !self.ready.is_empty() || (!self.unopened.is_empty() && !self.out_of_streams)
    }

    /// Does as much as the transport takes.
    pub(super) fn transmit(&mut self, sink: &mut dyn StreamSink) -> Visit {
        let mut visit = Visit::default();
        for signal in self.signals.drain(..) {
            match signal {
                Signal::Reset(stream, code) => sink.reset(stream, code),
                Signal::Stop(stream, code) => sink.stop(stream, code),
            }
        }
        self.open_streams(sink, &mut visit);
        while let Some(lane) = self.ready.pop_front() {
            if let Err(error) = self.flush(lane, sink)
                && let Some(stream) = self.remove(lane)
            {
                let code = match error {
                    SinkError::Closed => ResetCode::Cancelled.code(),
                    SinkError::Stopped(code) => code,
                };
                visit.stopped.push((lane, stream, code));
            }
        }
        visit
    }

    fn open_streams(&mut self, sink: &mut dyn StreamSink, visit: &mut Visit) {
        while let Some(lane) = self.unopened.front().copied() {
            let (dir, priority) = match lane {
                Lane::Control => (Dir::Uni, CONTROL_PRIORITY),
                Lane::Request(_) => (Dir::Bi, REQUEST_PRIORITY),
            };
            let Some(stream) = sink.open(dir) else {
                self.out_of_streams = true;
                return;
            };
            sink.set_priority(stream, priority);
            self.unopened.pop_front();
            self.by_stream.insert(stream, lane);
            if let Some(half) = self.lanes.get_mut(&lane) {
                half.stream = Some(stream);
            }
            if let Lane::Request(request) = lane {
                visit.opened.push((request, stream));
            }
            self.make_ready(lane);
        }
    }

    /// Writes what is queued on one lane, and forgets the lane after its FIN.
    fn flush(&mut self, lane: Lane, sink: &mut dyn StreamSink) -> Result<(), SinkError> {
        let Some(half) = self.lanes.get_mut(&lane) else {
            return Ok(());
        };
        half.state = Flow::Idle;
        let Some(stream) = half.stream else {
            return Ok(());
        };
        if !half.queue.is_empty() {
            sink.set_priority(stream, if lane == Lane::Control { CONTROL_PRIORITY } else { REQUEST_PRIORITY });
            let taken = sink.write(stream, &mut half.queue)?;
            half.queue.retain(|chunk| !chunk.is_empty());
            self.queued = self.queued.saturating_sub(taken);
        }
        if !half.queue.is_empty() {
            half.state = Flow::Blocked;
        } else if half.finish {
            sink.finish(stream);
            self.remove(lane);
        }
        Ok(())
    }

    /// Forgets a lane with what is queued on it.
    pub(super) fn remove(&mut self, lane: Lane) -> Option<StreamId> {
        let half = self.lanes.remove(&lane)?;
        let bytes: usize = half.queue.iter().map(Bytes::len).sum();
        self.queued = self.queued.saturating_sub(bytes);
        self.unopened.retain(|other| *other != lane);
        let stream = half.stream?;
        self.by_stream.remove(&stream);
        Some(stream)
    }

    fn make_ready(&mut self, lane: Lane) {
        if let Some(half) = self.lanes.get_mut(&lane)
            && half.stream.is_some()
            && half.state == Flow::Idle
        {
            half.state = Flow::Ready;
            self.ready.push_back(lane);
        }
    }
}
