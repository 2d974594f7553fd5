//! One answer to a FETCH.

use crate::{FetchRange, Forwarding, Log, Selected, Stats};
use sluice_moqt::message::Class;
use sluice_moqt::transport::{StreamId, StreamSink};
use sluice_moqt::types::{GroupOrder, RequestId};
use std::time::{Duration, Instant};

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
}

#[expect(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut, reason = "signatures first")]
impl FetchReader {
    /// Starts serving.
    #[must_use]
    pub fn new(now: Instant, config: FetchConfig) -> Self {
        todo!()
    }

    /// As [`crate::Cursor::select`].
    pub fn select(&mut self, now: Instant, log: &mut Log, sink: &mut dyn StreamSink) -> Selected {
        todo!()
    }

    /// The peer sent STOP_SENDING: reset at the next [`FetchReader::select`].
    pub fn handle_stopped(&mut self, stream: StreamId) {
        todo!()
    }

    /// Resets the stream; for a cancelled fetch.
    pub fn close(&mut self, sink: &mut dyn StreamSink) {
        todo!()
    }

    /// The FIN was written, or the stream is gone.
    #[must_use]
    pub fn finished(&self) -> bool {
        todo!()
    }

    /// The first location that is waited for, if any: what the node may fetch upstream.
    #[must_use]
    pub fn waiting_for(&self) -> Option<sluice_moqt::Location> {
        todo!()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// When to call [`FetchReader::select`] even if nothing arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}
