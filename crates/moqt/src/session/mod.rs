//! The session state machine: one MoQ session on one connection, without IO (draft-18 3, 5, 6, 9, 10).
//!
//! Feed it stream events and datagrams, drain [`Session::poll_event`] after each, call [`Session::transmit`] while
//! [`Session::wants_transmit`], and [`Session::handle_timeout`] at [`Session::poll_timeout`]. The session owns the
//! control streams and the request streams, and reads data streams; its owner opens and writes data streams itself.
//! Stream events about data streams that the owner opened do not concern the session and are ignored.
//!
//! By file: `control` SETUP and GOAWAY; `streams` request streams as bytes; `initiate` our requests; `incoming` the
//! peer's; `answer` our answers; `replies` everything else on a request stream; `endings` how requests end; `data`
//! data streams and datagrams. `request`, `aliases`, `tokens`, `ids`, `timers` and `outbox` are tables without rules
//! about messages.

mod aliases;
mod answer;
mod config;
mod control;
mod data;
mod endings;
mod event;
mod fault;
mod ids;
mod incoming;
mod initiate;
mod outbox;
mod replies;
mod request;
mod streams;
mod timers;
mod tokens;

pub use config::{AcceptedPaths, Config, Limits, RequestRefused};
pub use event::{Event, ResolvedToken, StreamEnd};

use crate::error::{EncodeError, SessionCode};
use crate::message::Message;
use crate::transport::{Side, StreamEvent, StreamId, StreamSink};
use crate::types::TrackAlias;
use bytes::{Bytes, BytesMut};
use control::Control;
use data::DataStreams;
use fault::Fault;
use incoming::EarlyJoin;
use outbox::{Lane, Outbox};
use request::Requests;
use std::collections::VecDeque;
use std::time::Instant;
use streams::RequestStreams;
use timers::{Timer, Timers};
use tokens::TokenCache;

/// Most bytes of a close reason.
const MAX_REASON_BYTES: usize = 256;

/// One MoQ session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    phase: Phase,
    events: VecDeque<Event>,
    timers: Timers,
    out: Outbox,
    control: Control,
    requests: Requests,
    streams: RequestStreams,
    early_joins: Vec<EarlyJoin>,
    data: DataStreams,
    tokens: TokenCache,
    next_alias: u64,
}

/// Life of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The peer's SETUP is missing.
    Opening,
    /// Both SETUPs are exchanged, or ours is about to be.
    Ready,
    /// [`Event::Closed`] was or will be reported.
    Closed,
}

impl Session {
    /// A session whose connection is established at `now`.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let deadline = now + config.limits.setup_timeout;
        let mut session = Self {
            phase: Phase::Opening,
            events: VecDeque::new(),
            timers: Timers::default(),
            out: Outbox::default(),
            control: Control::new(deadline),
            requests: Requests::new(config.side),
            streams: RequestStreams::default(),
            early_joins: Vec::new(),
            data: DataStreams::default(),
            tokens: TokenCache::new(config.setup.max_auth_token_cache),
            next_alias: 0,
            config,
        };
        session.timers.set(deadline, Timer::Setup);
        session.out.open(Lane::Control);
        session.send(Lane::Control, &Message::Setup(session.config.setup.clone()));
        session
    }

    /// Something happened on a stream.
    pub fn handle_stream(&mut self, now: Instant, stream: StreamId, event: StreamEvent) {
        if self.phase == Phase::Closed {
            return;
        }
        let result = match (stream.is_uni(), self.is_our_stream(stream)) {
            (true, false) => self.on_uni(now, stream, event),
            (true, true) => self.on_own_uni(stream, &event),
            (false, _) => self.on_bidi(now, stream, event),
        };
        self.conclude(result);
    }

    /// A datagram arrived.
    pub fn handle_datagram(&mut self, now: Instant, data: Bytes) {
        if self.phase != Phase::Closed {
            let result = self.on_datagram(now, data);
            self.conclude(result);
        }
    }

    /// The peer's stream limit grew.
    pub fn handle_streams_available(&mut self) {
        self.out.on_streams_available();
    }

    /// [`Session::poll_timeout`] has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.phase != Phase::Closed
            && let Some(timer) = self.timers.expire(now)
        {
            let result = self.on_timer(timer);
            self.conclude(result);
        }
    }

    fn on_timer(&mut self, timer: Timer) -> Result<(), Fault> {
        match timer {
            Timer::Setup => return Err(self.on_setup_timeout()),
            Timer::Goaway => return Err(self.on_goaway_timeout()),
            Timer::FirstMessage(_) => return Err(self.on_first_message_timeout()),
            Timer::Header(_) => return Err(self.on_header_timeout()),
            Timer::Held(stream) => self.on_held_timeout(stream),
            Timer::Joining(fetch) => self.on_joining_timeout(fetch),
            Timer::Done(request) => self.on_done_timeout(request),
            Timer::RequestGoaway(request) => self.on_request_goaway_timeout(request),
        }
        Ok(())
    }

    /// The next event, in order; drain after every input. What one input can produce bounds the queue.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Session::handle_timeout`], if ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether [`Session::transmit`] has something to do that is not blocked.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.out.wants_transmit()
    }

    /// Opens the control stream and request streams and writes what is queued on them, as far as the transport takes
    /// it. Events may follow, where the peer has stopped a stream.
    pub fn transmit(&mut self, sink: &mut dyn StreamSink) {
        let visit = self.out.transmit(sink);
        for (request, stream) in visit.opened {
            if let Some(open) = self.requests.get_mut(request) {
                open.stream = Some(stream);
                self.streams.bind(stream, request);
            }
        }
        for (lane, stream, code) in visit.stopped {
            match lane {
                Lane::Control => self.fail(self.on_control_closed()),
                Lane::Request(request) => self.on_request_stopped(stream, request, code),
            }
        }
    }

    /// A track alias of ours that no subscription of this session has used.
    pub fn allocate_alias(&mut self) -> TrackAlias {
        let alias = TrackAlias(self.next_alias);
        self.next_alias += 1;
        alias
    }

    /// Ends the session; reported as [`Event::Closed`].
    pub fn close(&mut self, code: SessionCode, reason: impl Into<String>) {
        self.fail(Fault::new(code, reason.into()));
    }

    /// What happens on our control stream; other streams of ours are not our business.
    fn on_own_uni(&mut self, stream: StreamId, event: &StreamEvent) -> Result<(), Fault> {
        if self.out.lane(stream) == Some(Lane::Control) {
            match event {
                StreamEvent::Writable => self.out.on_writable(stream),
                StreamEvent::Stopped { .. } => return Err(self.on_control_closed()),
                StreamEvent::Data { .. } | StreamEvent::Reset { .. } | StreamEvent::Acked => {}
            }
        }
        Ok(())
    }

    fn is_our_stream(&self, stream: StreamId) -> bool {
        stream.is_server_initiated() == (self.config.side == Side::Server)
    }

    fn encode(&self, message: &Message) -> Result<Bytes, EncodeError> {
        let mut out = BytesMut::new();
        message.encode(self.config.draft, &mut out)?;
        Ok(out.freeze())
    }

    fn push(&mut self, lane: Lane, bytes: Bytes) {
        self.out.push(lane, bytes);
        if self.out.queued() > self.config.limits.queued_control_bytes {
            self.fail(Fault::new(SessionCode::InternalError, "the peer does not read control messages"));
        }
    }

    /// Queues a message of ours whose parts fit by construction; one that does not is a local fault.
    fn send(&mut self, lane: Lane, message: &Message) {
        match self.encode(message) {
            Ok(bytes) => self.push(lane, bytes),
            Err(error) => self.fail(Fault::new(SessionCode::InternalError, error.to_string())),
        }
    }

    fn conclude(&mut self, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.fail(fault);
        }
    }

    fn fail(&mut self, fault: Fault) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.timers = Timers::default();
        self.out = Outbox::default();
        self.requests = Requests::new(self.config.side);
        self.streams = RequestStreams::default();
        self.early_joins.clear();
        self.data = DataStreams::default();
        let mut reason = fault.reason.into_owned();
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        self.events.push_back(Event::Closed { code: fault.code, reason });
    }
}
