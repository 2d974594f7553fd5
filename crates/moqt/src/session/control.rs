//! The two control streams: SETUP and GOAWAY (draft-18 3.3, 9.3, 9.4).

use super::fault::Fault;
use super::outbox::Lane;
use super::timers::Timer;
use super::{AcceptedPaths, Event, Phase, Session};
use crate::error::{ResetCode, SessionCode};
use crate::message::{Framer, Goaway, Message, Setup};
use crate::transport::{Side, StreamId};
use crate::types::RequestId;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// State of the control streams.
#[derive(Debug)]
pub(super) struct Control {
    /// The peer's control stream, once it is known.
    stream: Option<StreamId>,
    framer: Framer,
    setup_deadline: Instant,
    goaway_received: bool,
    goaway_sent: bool,
}

impl Control {
    pub(super) fn new(setup_deadline: Instant) -> Self {
        Self { stream: None, framer: Framer::default(), setup_deadline, goaway_received: false, goaway_sent: false }
    }

    pub(super) fn is_stream(&self, stream: StreamId) -> bool {
        self.stream == Some(stream)
    }

    /// Whether the peer asked us to leave.
    pub(super) fn peer_is_leaving(&self) -> bool {
        self.goaway_received
    }

    /// Whether we asked the peer to leave.
    pub(super) fn we_are_leaving(&self) -> bool {
        self.goaway_sent
    }
}

impl Session {
    /// A stream of the peer's turned out to be its control stream.
    pub(super) fn on_control_stream(&mut self, now: Instant, stream: StreamId, data: Bytes) -> Result<(), Fault> {
        if self.control.stream.replace(stream).is_some() {
            return Err(Fault::violation("a second control stream"));
        }
        self.on_control_data(now, data)
    }

    pub(super) fn on_control_data(&mut self, now: Instant, data: Bytes) -> Result<(), Fault> {
        self.control.framer.push(data);
        while let Some(frame) = self.control.framer.poll() {
            let message = Message::decode(self.config.draft, frame.kind, &frame.payload)?;
            let name = message.name();
            match (message, self.phase) {
                (Message::Setup(setup), Phase::Opening) => self.on_setup(now, setup)?,
                (Message::Goaway(goaway), Phase::Ready) => self.on_goaway(goaway)?,
                _ => return Err(Fault::violation(format!("{name} on the control stream"))),
            }
        }
        Ok(())
    }

    /// draft-18 3.3: "A control stream MUST NOT be closed at the underlying transport layer during the session's
    /// lifetime. Doing so results in the session being closed as a `PROTOCOL_VIOLATION`."
    pub(super) fn on_control_closed(&self) -> Fault {
        Fault::violation("the control stream was closed")
    }

    fn on_setup(&mut self, now: Instant, setup: Setup) -> Result<(), Fault> {
        check_setup(self.config.side, &setup, &self.config.paths)?;
        self.tokens.apply_setup(&setup.tokens)?;
        self.timers.clear(self.control.setup_deadline, Timer::Setup);
        self.phase = Phase::Ready;
        self.events.push_back(Event::Ready(setup));
        // draft-18 3.3: what came earlier "SHOULD be buffered until both control streams arrive".
        self.release_requests(now)?;
        self.release_data(now, None)
    }

    fn on_goaway(&mut self, goaway: Goaway) -> Result<(), Fault> {
        if std::mem::replace(&mut self.control.goaway_received, true) {
            return Err(Fault::violation("a second GOAWAY on the control stream"));
        }
        self.check_goaway_uri(&goaway)?;
        let Some(id) = goaway.request_id else {
            return Err(Fault::violation("GOAWAY on the control stream lacks its request id"));
        };
        // draft-18 9.4: "If the parity of the Request ID does not match the receiver's parity, the endpoint MUST close
        // the session with `INVALID_REQUEST_ID`."
        if !self.requests.is_ours(id) {
            return Err(Fault::new(SessionCode::InvalidRequestId, "GOAWAY names a request id of the wrong parity"));
        }
        self.events.push_back(Event::Goaway(goaway));
        Ok(())
    }

    /// GOAWAY on the stream of a request.
    pub(super) fn on_request_goaway(&mut self, id: RequestId, goaway: Goaway) -> Result<(), Fault> {
        self.check_goaway_uri(&goaway)?;
        if goaway.request_id.is_some() {
            return Err(Fault::violation("GOAWAY on a request stream has a request id"));
        }
        let Some(request) = self.requests.get_mut(id) else {
            return Ok(());
        };
        if std::mem::replace(&mut request.goaway.received, true) {
            return Err(Fault::violation("a second GOAWAY on a request stream"));
        }
        self.events.push_back(Event::RequestGoaway { request: id, goaway });
        Ok(())
    }

    /// draft-18 9.4: "If a server receives a GOAWAY with a non-zero New Session URI Length it MUST close the session
    /// with a `PROTOCOL_VIOLATION`."
    fn check_goaway_uri(&self, goaway: &Goaway) -> Result<(), Fault> {
        match self.config.side {
            Side::Server if !goaway.uri.is_empty() => Err(Fault::violation("a client's GOAWAY has a URI")),
            Side::Server | Side::Client => Ok(()),
        }
    }

    /// Asks the peer to leave; later requests of the peer's are rejected with GOING_AWAY. The request id is filled in;
    /// a client's URI is dropped. After the timeout, if there is one, the session is closed. Only the first call
    /// counts.
    pub fn goaway(&mut self, now: Instant, goaway: Goaway) {
        if self.phase == Phase::Closed || std::mem::replace(&mut self.control.goaway_sent, true) {
            return;
        }
        let goaway =
            Goaway { request_id: Some(self.requests.next_theirs()), uri: self.own_goaway_uri(goaway.uri), ..goaway };
        if let Some(deadline) = deadline(now, goaway.timeout) {
            self.timers.set(deadline, Timer::Goaway);
        }
        self.send(Lane::Control, &Message::Goaway(goaway));
    }

    /// Asks the peer to move one request; its stream is reset with GOING_AWAY after the timeout, if there is one.
    pub fn goaway_request(&mut self, now: Instant, request: RequestId, goaway: Goaway) {
        let uri = self.own_goaway_uri(goaway.uri);
        let Some(open) = self.requests.get_mut(request).filter(|open| !open.goaway.sent) else {
            return;
        };
        open.goaway.sent = true;
        if let Some(deadline) = deadline(now, goaway.timeout) {
            open.goaway.deadline = Some(deadline);
            self.timers.set(deadline, Timer::RequestGoaway(request));
        }
        let goaway = Goaway { uri, request_id: None, timeout: goaway.timeout };
        self.send(Lane::Request(request), &Message::Goaway(goaway));
    }

    /// draft-18 9.4: "A client MUST send a zero-length New Session URI in any GOAWAY".
    fn own_goaway_uri(&self, uri: String) -> String {
        match self.config.side {
            Side::Client => String::new(),
            Side::Server => uri,
        }
    }

    pub(super) fn on_setup_timeout(&self) -> Fault {
        Fault::new(SessionCode::ControlMessageTimeout, "no SETUP in time")
    }

    /// draft-18 9.4: "the sender closes the session with `GOAWAY_TIMEOUT` after the indicated timeout if there are
    /// still open requests".
    pub(super) fn on_goaway_timeout(&self) -> Fault {
        if self.requests.is_empty() {
            Fault::new(SessionCode::NoError, "gone away")
        } else {
            Fault::new(SessionCode::GoawayTimeout, "requests are still open after GOAWAY")
        }
    }

    /// draft-18 9.4: "When sent on a request stream, the sender SHOULD reset the stream with `GOING_AWAY` after the
    /// indicated timeout."
    pub(super) fn on_request_goaway_timeout(&mut self, request: RequestId) {
        if let Some(open) = self.requests.get_mut(request) {
            open.goaway.deadline = None;
            self.cancel(request, ResetCode::GoingAway);
            self.events.push_back(Event::Cancelled { request, code: ResetCode::GoingAway });
        }
    }
}

/// When a GOAWAY's patience ends; zero, and what no clock reaches, mean never.
fn deadline(now: Instant, timeout: Duration) -> Option<Instant> {
    if timeout.is_zero() { None } else { now.checked_add(timeout) }
}

/// draft-18 9.3.1.1 and 9.3.1.2. Their syntax was checked when the message was decoded.
fn check_setup(side: Side, setup: &Setup, paths: &AcceptedPaths) -> Result<(), Fault> {
    match side {
        Side::Client if setup.path.is_some() => Err(Fault::new(SessionCode::InvalidPath, "PATH from a server")),
        Side::Client if setup.authority.is_some() => {
            Err(Fault::new(SessionCode::InvalidAuthority, "AUTHORITY from a server"))
        }
        Side::Client => Ok(()),
        Side::Server => match setup.path.as_deref() {
            Some(path) if !paths.accepts(path) => {
                Err(Fault::new(SessionCode::InvalidPath, format!("PATH {path:.100} is not served here")))
            }
            Some(_) | None => Ok(()),
        },
    }
}
