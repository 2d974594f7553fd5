//! Between sessions and links: which event is whose, and what happens when a session begins or ends.

use super::client::Client;
use super::event::{Down, Event, LinkId};
use super::link::{Announcement, Phase, Target, Work};
use crate::url::StreamUrl;
use sluice_moqt::error::{ResetCode, SessionCode};
use sluice_moqt::message::{Goaway, Params, RequestError};
use sluice_moqt::session::{self, Session};
use sluice_moqt::transport::{Output, SessionId, Side};
use sluice_moqt::types::RequestId;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Until a refused namespace is offered again, where the peer names no time.
const ANNOUNCE_RETRY: Duration = Duration::from_secs(1);
/// How long a publisher serves a session that it was asked to leave, where the peer names no time.
const RETIRE: Duration = Duration::from_secs(5);

impl Client {
    /// Hands on everything that the session and the link's work have to say.
    pub(super) fn drain(&mut self, now: Instant, id: SessionId) {
        while let Some(event) = self.conns.get_mut(&id).and_then(|conn| conn.session.poll_event()) {
            self.route(now, id, event);
        }
        let Some(conn) = self.conns.get(&id) else { return };
        let link = conn.link;
        // Requests that were answered may have made something to send.
        if conn.session.wants_transmit() || conn.serving.is_some() {
            self.out.push_back(Output::Wake(id));
        }
        self.drain_work(link);
        self.rearm(link);
    }

    fn drain_work(&mut self, id: LinkId) {
        if let Some(Work::Watch(watcher)) = self.links.get_mut(&id).map(|link| &mut link.work) {
            while let Some(event) = watcher.poll_event() {
                self.events.push_back((id, event));
            }
        }
    }

    fn route(&mut self, now: Instant, id: SessionId, event: session::Event) {
        use session::Event as E;
        if !is_data(&event) {
            tracing::debug!(session = id.0, ?event, "from the peer");
        }
        match event {
            E::Ready(_) => self.ready(now, id),
            E::Closed { code, reason } => self.broken(now, id, code, reason),
            E::Goaway(goaway) => self.leave(now, id, goaway),
            E::RequestGoaway { request, .. } => self.reissue(now, id, request),
            E::Subscribe { .. }
            | E::TrackStatus { .. }
            | E::Fetch { .. }
            | E::Publish { .. }
            | E::PublishNamespace { .. }
            | E::SubscribeNamespace { .. }
            | E::SubscribeTracks { .. }
            | E::Update { .. }
            | E::UpdateRefused { .. } => self.serve(now, id, event),
            E::Ok { request, .. } => self.answered(now, id, (request, None)),
            E::Error { request, ref error } => {
                self.answered(now, id, (request, Some(error)));
                self.watch(now, id, event);
            }
            E::Cancelled { request, .. } => {
                self.withdrawn(now, id, request);
                self.watch(now, id, event.clone());
                self.serve(now, id, event);
            }
            E::SubscribeOk { .. }
            | E::PublishDone { .. }
            | E::Subgroup { .. }
            | E::FetchStream { .. }
            | E::Object { .. }
            | E::FetchObject { .. }
            | E::Payload { .. }
            | E::StreamEnd { .. }
            | E::Datagram { .. } => self.watch(now, id, event),
            // The objects of a fetch say themselves where they end; the others answer requests that we never make.
            E::FetchOk { .. }
            | E::RangeEnd { .. }
            | E::UpdateOk { .. }
            | E::UpdateError { .. }
            | E::Namespace { .. }
            | E::NamespaceDone { .. }
            | E::PublishBlocked { .. } => {}
        }
    }

    fn ready(&mut self, now: Instant, id: SessionId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(link) = self.links.get_mut(&conn.link) else { return };
        link.backoff.reset();
        self.events.push_back((conn.link, Event::Up));
        match &mut link.work {
            // Whoever dialled us knows what we have.
            Work::Publish(_) if conn.side == Side::Server => {}
            Work::Publish(announcement) => {
                if let Some(broadcast) = &self.broadcast {
                    announcement.request =
                        conn.session.publish_namespace(broadcast.namespace().clone(), Params::default()).ok();
                }
            }
            Work::Watch(watcher) => watcher.ready(now, &mut conn.session),
            Work::Ping(pinger) => pinger.ready(now),
        }
    }

    fn serve(&mut self, now: Instant, id: SessionId, event: session::Event) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match (&mut conn.serving, &self.broadcast) {
            (Some(serving), Some(broadcast)) => serving.handle_event(now, &mut conn.session, broadcast, event),
            _ => refuse(&mut conn.session, &event),
        }
    }

    fn watch(&mut self, now: Instant, id: SessionId, event: session::Event) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if let Some(Work::Watch(watcher)) = self.links.get_mut(&conn.link).map(|link| &mut link.work) {
            watcher.handle_event(now, &mut conn.session, event);
        }
    }

    /// A request without an object stream was answered: our namespace, or a ping.
    fn answered(&mut self, now: Instant, id: SessionId, (request, error): (RequestId, Option<&RequestError>)) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Some(link) = self.links.get_mut(&conn.link) else { return };
        match &mut link.work {
            Work::Publish(announcement) if announcement.request == Some(request) => {
                let event = match error {
                    None => Event::Announced,
                    Some(error) => {
                        let retry = error.retry.unwrap_or(ANNOUNCE_RETRY).max(ANNOUNCE_RETRY);
                        *announcement = Announcement { request: None, retry_at: Some(now + retry) };
                        let (code, reason) = (error.code, error.reason.clone());
                        Event::Refused { what: "PUBLISH_NAMESPACE", code, reason }
                    }
                };
                self.events.push_back((conn.link, event));
            }
            Work::Ping(pinger) => {
                self.events.extend(pinger.answered(now, request).map(|event| (conn.link, event)));
            }
            Work::Publish(_) | Work::Watch(_) => {}
        }
    }

    /// The peer no longer wants our namespace.
    fn withdrawn(&mut self, now: Instant, id: SessionId, request: RequestId) {
        let Some(conn) = self.conns.get(&id) else { return };
        if let Some(Work::Publish(announcement)) = self.links.get_mut(&conn.link).map(|link| &mut link.work)
            && announcement.request == Some(request)
        {
            *announcement = Announcement { request: None, retry_at: Some(now + ANNOUNCE_RETRY) };
        }
    }

    /// draft-18 9.4: "the endpoint SHOULD re-issue that specific request ... and close the old request stream".
    fn reissue(&mut self, now: Instant, id: SessionId, request: RequestId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.session.cancel(request, ResetCode::GoingAway);
        self.withdrawn(now, id, request);
        self.watch(now, id, session::Event::Cancelled { request, code: ResetCode::GoingAway });
    }

    /// The session ended itself; the host closes the connection.
    fn broken(&mut self, now: Instant, id: SessionId, code: SessionCode, reason: String) {
        let Some(conn) = self.conns.remove(&id) else { return };
        self.out.push_back(Output::Close { session: id, code: code.code(), reason: reason.clone() });
        if self.links.get(&conn.link).is_some_and(|link| link.session() == Some(id)) {
            self.lose(now, conn.link, Down::Protocol { code, reason });
        }
    }

    /// GOAWAY (draft-18 3.5): a publisher goes on serving the old session until its time is over, so that nothing is
    /// lost; a watcher leaves at once, and fetches what it misses through the new one.
    fn leave(&mut self, now: Instant, id: SessionId, goaway: Goaway) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let link = conn.link;
        if self.links.get(&link).and_then(|l| l.session()) != Some(id) {
            return;
        }
        if conn.serving.is_some() {
            let patience = if goaway.timeout.is_zero() { RETIRE } else { goaway.timeout.min(RETIRE) };
            conn.retire_at = Some(now + patience);
        } else {
            self.close_session(id);
        }
        self.disconnect(link);
        let target = if goaway.uri.is_empty() { Move::Same } else { Move::of(&goaway.uri) };
        let Some(known) = self.links.get_mut(&link) else { return };
        let retry = match target {
            Move::Same => Some(Duration::ZERO),
            Move::Known(target) => {
                known.set_target(target);
                Some(Duration::ZERO)
            }
            Move::Unresolved => {
                known.phase = Phase::Unresolved;
                None
            }
        };
        self.events.push_back((link, Event::Down { why: Down::GoingAway, retry }));
        if retry.is_some() {
            self.dial(now, link);
        } else {
            self.events.push_back((link, Event::Resolve { uri: goaway.uri }));
        }
    }

    /// There is no session any more; dials again after the backoff.
    pub(super) fn lose(&mut self, now: Instant, id: LinkId, why: Down) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.phase == Phase::Closed {
            return;
        }
        if link.target.is_none() {
            self.links.remove(&id);
            return;
        }
        let delay = link.backoff.next(now, &mut self.rng);
        link.phase = Phase::Waiting(now + delay);
        self.disconnect(id);
        self.events.push_back((id, Event::Down { why, retry: Some(delay) }));
        self.rearm(id);
    }

    /// Tells the link's work that its session is gone.
    fn disconnect(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match &mut link.work {
            Work::Publish(announcement) => *announcement = Announcement::default(),
            Work::Watch(watcher) => watcher.disconnect(),
            Work::Ping(pinger) => pinger.disconnect(),
        }
        self.drain_work(id);
    }

    pub(super) fn dial(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(dial) = link.dial(id.0) {
            self.out.push_back(Output::Dial(dial));
        }
        let _ = now;
        self.rearm(id);
    }

    pub(super) fn close_session(&mut self, id: SessionId) {
        if self.conns.remove(&id).is_some() {
            let code = SessionCode::NoError.code();
            self.out.push_back(Output::Close { session: id, code, reason: String::new() });
        }
    }

    /// The link's deadline has passed: its own, or one of its sessions'.
    pub(super) fn tick(&mut self, now: Instant, id: LinkId) {
        if matches!(self.links.get(&id).map(|l| l.phase), Some(Phase::Waiting(until)) if until <= now) {
            self.dial(now, id);
            return;
        }
        let conns: Vec<SessionId> = self.conns.iter().filter(|(_, c)| c.link == id).map(|(s, _)| *s).collect();
        for session in conns {
            self.tick_session(now, id, session);
        }
        self.rearm(id);
    }

    fn tick_session(&mut self, now: Instant, id: LinkId, session: SessionId) {
        let Some(conn) = self.conns.get_mut(&session) else { return };
        if conn.retire_at.is_some_and(|at| at <= now) {
            self.close_session(session);
            return;
        }
        conn.session.handle_timeout(now);
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.session() == Some(session) {
            match &mut link.work {
                Work::Publish(announcement) if announcement.retry_at.is_some_and(|at| at <= now) => {
                    let namespace = self.broadcast.as_ref().map(|b| b.namespace().clone()).unwrap_or_default();
                    let request = conn.session.publish_namespace(namespace, Params::default()).ok();
                    *announcement = Announcement { request, retry_at: None };
                }
                Work::Publish(_) => {}
                Work::Watch(watcher) => watcher.handle_timeout(now, &mut conn.session),
                Work::Ping(pinger) => pinger.handle_timeout(now, &mut conn.session),
            }
        }
        self.drain(now, session);
    }

    /// Brings the link's place among the timers up to date.
    pub(super) fn rearm(&mut self, id: LinkId) {
        let link = self.links.get(&id);
        let current = link.and_then(|l| l.session());
        let mut at = link.and_then(|l| l.poll_timeout());
        // A link has one connection, and a second one only while a publisher moves.
        let moving = link.is_some_and(|l| matches!(l.work, Work::Publish(_)));
        if moving {
            let conns = self.conns.values().filter(|c| c.link == id);
            at = at.into_iter().chain(conns.filter_map(|c| c.poll_timeout())).min();
        } else if let Some(conn) = current.and_then(|session| self.conns.get(&session)) {
            at = at.into_iter().chain(conn.poll_timeout()).min();
        }
        self.timers.set(id, at);
    }
}

impl super::client::Conn {
    fn poll_timeout(&self) -> Option<Instant> {
        let serving = self.serving.as_ref().and_then(|s| s.poll_timeout());
        self.retire_at.into_iter().chain(serving).chain(self.session.poll_timeout()).min()
    }
}

/// Where a GOAWAY sends us.
enum Move {
    Same,
    Known(Target),
    Unresolved,
}

impl Move {
    fn of(uri: &str) -> Self {
        let Ok(url) = uri.parse::<StreamUrl>() else { return Self::Same };
        match url.host().parse::<IpAddr>() {
            Ok(ip) => Target::new(&url, vec![SocketAddr::new(ip, url.port())]).map_or(Self::Same, Self::Known),
            Err(_) => Self::Unresolved,
        }
    }
}

/// Whether an event carries media: too many to log, and too large.
const fn is_data(event: &session::Event) -> bool {
    use session::Event as E;
    matches!(
        event,
        E::Object { .. } | E::FetchObject { .. } | E::Payload { .. } | E::StreamEnd { .. } | E::Datagram { .. }
    )
}

/// A watcher has nothing to offer.
fn refuse(session: &mut Session, event: &session::Event) {
    use session::Event as E;
    let (E::Subscribe { request, .. }
    | E::TrackStatus { request, .. }
    | E::Fetch { request, .. }
    | E::Publish { request, .. }
    | E::PublishNamespace { request, .. }
    | E::SubscribeNamespace { request, .. }
    | E::SubscribeTracks { request, .. }) = event
    else {
        return;
    };
    let error = RequestError {
        code: sluice_moqt::error::RequestCode::NotSupported,
        retry: None,
        reason: "this is a subscriber".to_owned(),
        redirect: None,
    };
    session.reject(*request, error);
}
