//! The measuring half of one link: a request that every MoQ peer answers, at a steady pace.

use super::event::Event;
use bytes::Bytes;
use sluice_moqt::message::Params;
use sluice_moqt::name::{Namespace, TrackName};
use sluice_moqt::session::Session;
use sluice_moqt::types::RequestId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Track whose state is asked; any answer counts, also that it does not exist.
const TRACK: &[u8] = b"ping";
/// Unanswered probes that are remembered.
const OPEN_MAX: usize = 256;

/// Sends TRACK_STATUS (draft-18 9.14) every `interval` and times the answers.
#[derive(Debug)]
pub(super) struct Pinger {
    namespace: Namespace,
    interval: Duration,
    next_at: Option<Instant>,
    sequence: u64,
    open: BTreeMap<RequestId, (u64, Instant)>,
}

impl Pinger {
    pub(super) const fn new(namespace: Namespace, interval: Duration) -> Self {
        Self { namespace, interval, next_at: None, sequence: 0, open: BTreeMap::new() }
    }

    pub(super) fn ready(&mut self, now: Instant) {
        self.next_at = Some(now);
    }

    pub(super) fn disconnect(&mut self) {
        self.next_at = None;
        self.open.clear();
    }

    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, session: &mut Session) {
        let Some(at) = self.next_at.filter(|at| *at <= now) else { return };
        // The schedule does not drift, and a pause does not end in a burst.
        self.next_at = Some((at + self.interval).max(now));
        let Ok(name) = TrackName::new(self.namespace.clone(), Bytes::from_static(TRACK)) else { return };
        if let Ok(request) = session.track_status(name, Params::default()) {
            self.open.insert(request, (self.sequence, now));
        }
        self.sequence += 1;
        while self.open.len() > OPEN_MAX {
            self.open.pop_first();
        }
    }

    /// A request of ours was answered, either way.
    pub(super) fn answered(&mut self, now: Instant, request: RequestId) -> Option<Event> {
        let (sequence, sent) = self.open.remove(&request)?;
        Some(Event::Pong { sequence, round_trip: now.saturating_duration_since(sent) })
    }
}
