//! Request streams as byte streams: first messages, further messages, and their ends (draft-18 3.3).

use super::fault::Fault;
use super::ids::{IdHash, UsedIds};
use super::timers::Timer;
use super::{Phase, Session};
use crate::error::{ResetCode, SessionCode};
use crate::message::{Framer, Message};
use crate::transport::{StreamEvent, StreamId};
use crate::types::RequestId;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// The bidirectional streams.
#[derive(Debug, Default)]
pub(super) struct RequestStreams {
    /// Streams whose request is known and still reads.
    requests: HashMap<StreamId, RequestId, IdHash>,
    /// Streams of the peer's whose first message is incomplete, or that came before SETUP.
    openings: BTreeMap<StreamId, Box<Opening>>,
    /// Streams that the peer has used; what comes late on one that is over is ignored.
    used: UsedIds,
    /// Bytes of incomplete messages, all streams together.
    partial: usize,
}

/// A stream without a request yet.
#[derive(Debug)]
struct Opening {
    framer: Framer,
    /// Bytes that wait for SETUP.
    held: BytesMut,
    /// Bytes pushed into the framer.
    pushed: usize,
    fin: bool,
    deadline: Option<Instant>,
}

impl RequestStreams {
    pub(super) fn bind(&mut self, stream: StreamId, request: RequestId) {
        self.requests.insert(stream, request);
    }

    pub(super) fn unbind(&mut self, stream: StreamId) {
        self.requests.remove(&stream);
    }

    /// Counts what an incomplete message went from and to.
    pub(super) fn recount(&mut self, before: usize, after: usize) {
        self.partial = self.partial.saturating_sub(before).saturating_add(after);
    }
}

impl Session {
    pub(super) fn on_bidi(&mut self, now: Instant, stream: StreamId, event: StreamEvent) -> Result<(), Fault> {
        match event {
            StreamEvent::Writable => self.out.on_writable(stream),
            StreamEvent::Acked => {}
            StreamEvent::Stopped { code } => self.on_bidi_stopped(stream, code),
            StreamEvent::Reset { code } => self.on_bidi_reset(stream, code),
            StreamEvent::Data { data, fin } => return self.on_bidi_data(now, stream, data, fin.into()),
        }
        Ok(())
    }

    fn on_bidi_data(&mut self, now: Instant, stream: StreamId, data: Bytes, fin: Fin) -> Result<(), Fault> {
        if let Some(request) = self.streams.requests.get(&stream) {
            return self.on_request_data(now, *request, data, fin);
        }
        if !self.streams.openings.contains_key(&stream) {
            if !self.is_new_bidi(stream) {
                return Ok(());
            }
            if self.phase == Phase::Opening && self.streams.openings.len() >= self.config.limits.held_streams {
                self.refuse_stream(stream);
                return Ok(());
            }
            self.streams.openings.insert(stream, Box::new(Opening::new()));
        }
        let Some(opening) = self.streams.openings.get_mut(&stream) else {
            return Ok(());
        };
        opening.fin = fin == Fin::Yes;
        self.streams.partial = self.streams.partial.saturating_add(data.len());
        match self.phase {
            Phase::Opening => opening.held.extend_from_slice(&data),
            Phase::Ready => {
                opening.pushed = opening.pushed.saturating_add(data.len());
                opening.framer.push(data);
                self.on_opening(now, stream)?;
            }
            Phase::Closed => {}
        }
        if self.streams.partial > self.config.limits.held_bytes && self.drop_opening(stream).is_some() {
            self.refuse_stream(stream);
        }
        Ok(())
    }

    /// Tries to read the first message of a stream.
    fn on_opening(&mut self, now: Instant, stream: StreamId) -> Result<(), Fault> {
        let Some(opening) = self.streams.openings.get_mut(&stream) else {
            return Ok(());
        };
        let Some(frame) = opening.framer.poll() else {
            if opening.fin {
                // A request stream without a request; what a FIN inside a message is, the framer knows.
                opening.framer.finish()?;
                self.drop_opening(stream);
                self.out.reset(stream, ResetCode::Cancelled.code());
            } else if opening.deadline.is_none() {
                let deadline = now + self.config.limits.header_timeout;
                opening.deadline = Some(deadline);
                self.timers.set(deadline, Timer::FirstMessage(stream));
            }
            return Ok(());
        };
        let Some(opening) = self.drop_opening(stream) else {
            return Ok(());
        };
        let message = Message::decode(self.config.draft, frame.kind, &frame.payload)?;
        let Some(request) = self.on_first_message(now, stream, message)? else {
            return Ok(());
        };
        if let Some(open) = self.requests.get_mut(request) {
            open.framer = opening.framer;
        }
        self.on_request_data(now, request, Bytes::new(), opening.fin.into())
    }

    /// The peer's SETUP came: reads what waited for it.
    pub(super) fn release_requests(&mut self, now: Instant) -> Result<(), Fault> {
        let waiting: Vec<StreamId> = self.streams.openings.keys().copied().collect();
        for stream in waiting {
            if let Some(opening) = self.streams.openings.get_mut(&stream) {
                let held = opening.held.split().freeze();
                opening.pushed = held.len();
                opening.framer.push(held);
            }
            self.on_opening(now, stream)?;
        }
        Ok(())
    }

    /// More bytes on the stream of an open request.
    fn on_request_data(&mut self, now: Instant, id: RequestId, data: Bytes, fin: Fin) -> Result<(), Fault> {
        let added = data.len();
        if let Some(open) = self.requests.get_mut(id) {
            open.framer.push(data);
        }
        // The request may end within the loop.
        while let Some(open) = self.requests.get_mut(id) {
            let Some(frame) = open.framer.poll() else {
                break;
            };
            let message = Message::decode(self.config.draft, frame.kind, &frame.payload)?;
            self.on_message(now, id, message)?;
        }
        let Some(open) = self.requests.get_mut(id) else {
            return Ok(());
        };
        let whole = open.framer.finish();
        let before = open.partial;
        open.partial = if whole.is_ok() { 0 } else { before.saturating_add(added) };
        self.streams.recount(before, open.partial);
        if self.streams.partial > self.config.limits.held_bytes {
            return Err(Fault::new(SessionCode::InternalError, "too many bytes of incomplete messages"));
        }
        if fin == Fin::Yes {
            whole?;
            self.on_request_fin(id);
        }
        Ok(())
    }

    fn on_bidi_stopped(&mut self, stream: StreamId, code: u64) {
        if let Some(request) = self.streams.requests.get(&stream) {
            self.on_request_stopped(stream, *request, code);
        } else if let Some(lane) = self.out.lane(stream) {
            self.out.remove(lane);
            self.out.reset(stream, code);
        } else if self.drop_opening(stream).is_some() || self.is_new_bidi(stream) {
            self.out.reset(stream, code);
            self.out.stop(stream, code);
        }
    }

    fn on_bidi_reset(&mut self, stream: StreamId, code: u64) {
        if let Some(request) = self.streams.requests.get(&stream) {
            self.on_cancelled(*request, code);
        } else if self.drop_opening(stream).is_some() || self.is_new_bidi(stream) {
            self.out.reset(stream, ResetCode::Cancelled.code());
        }
    }

    pub(super) fn on_first_message_timeout(&self) -> Fault {
        Fault::new(SessionCode::ControlMessageTimeout, "a request stays incomplete")
    }

    /// Whether the peer uses `stream` for the first time.
    fn is_new_bidi(&mut self, stream: StreamId) -> bool {
        !self.is_our_stream(stream) && self.streams.used.insert(stream.0 >> 2)
    }

    fn refuse_stream(&mut self, stream: StreamId) {
        let code = ResetCode::ExcessiveLoad.code();
        self.out.reset(stream, code);
        self.out.stop(stream, code);
    }

    fn drop_opening(&mut self, stream: StreamId) -> Option<Box<Opening>> {
        let opening = self.streams.openings.remove(&stream)?;
        self.streams.recount(opening.pushed.saturating_add(opening.held.len()), 0);
        if let Some(deadline) = opening.deadline {
            self.timers.clear(deadline, Timer::FirstMessage(stream));
        }
        Some(opening)
    }
}

impl Opening {
    fn new() -> Self {
        Self { framer: Framer::default(), held: BytesMut::new(), pushed: 0, fin: false, deadline: None }
    }
}

/// Whether the peer's sending half ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fin {
    /// It does.
    Yes,
    /// More may come.
    No,
}

impl From<bool> for Fin {
    fn from(fin: bool) -> Self {
        if fin { Self::Yes } else { Self::No }
    }
}
