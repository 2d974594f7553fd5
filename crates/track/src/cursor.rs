//! One reader: the place of one subscription of one session in a log.

use crate::{Log, Range, Stats};
use sluice_moqt::message::{Class, Timeouts};
use sluice_moqt::transport::{StreamId, StreamSink};
use sluice_moqt::types::{GroupOrder, TrackAlias};
use std::time::Instant;

/// When bytes of an object go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// As they arrive: trunks.
    CutThrough,
    /// When the object is whole: viewers; fewer visits to a connection.
    Whole,
}

/// Forward state (draft-18 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// 1: objects are sent.
    On,
    /// 0: none are.
    Off,
}

/// What a subscription asked for.
#[derive(Debug, Clone, Copy)]
pub struct CursorConfig {
    /// The alias that names the track in this session. Readers of one log with one alias share encoded datagrams.
    pub alias: TrackAlias,
    /// Cut-through or whole objects.
    pub mode: Forwarding,
    /// Which objects pass.
    pub range: Range,
    /// Group order of the subscription.
    pub order: GroupOrder,
    /// Subscriber priority.
    pub priority: u8,
    /// Traffic class.
    pub class: Class,
    /// The effective delivery timeouts: per kind the smaller one of publisher's and subscriber's (draft-18 section 6).
    pub timeouts: Timeouts,
    /// Groups that a blocked reader may lag before it skips to the newest join point.
    pub max_lag_groups: usize,
    /// Forward state.
    pub forward: Forward,
}

/// What a REQUEST_UPDATE changes; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CursorUpdate {
    /// New range; never wider than before.
    pub range: Option<Range>,
    /// New subscriber priority.
    pub priority: Option<u8>,
    /// New effective timeouts.
    pub timeouts: Option<Timeouts>,
    /// New forward state; from off to on the reader goes on after the largest location.
    pub forward: Option<Forward>,
}

/// What one visit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Selected {
    /// Bytes that the sink took.
    pub wrote: usize,
    /// The sink took less than was offered or opened no stream: `Writable` or a grown stream limit comes later.
    pub blocked: bool,
    /// The budget of one visit ran out: visit again without waiting for an event.
    pub pending: bool,
}

/// The place of one subscription in a log.
#[derive(Debug)]
pub struct Cursor {
    config: CursorConfig,
}

#[expect(unused_variables, clippy::todo, clippy::needless_pass_by_ref_mut, reason = "signatures first")]
impl Cursor {
    /// A reader of what `config.range` passes, starting with what `log` holds of it.
    #[must_use]
    pub fn new(now: Instant, config: CursorConfig, log: &Log) -> Self {
        todo!()
    }

    /// Writes what may be sent now, in send order, until nothing is left or the sink blocks. Always visits resets and
    /// timeouts first.
    pub fn select(&mut self, now: Instant, log: &mut Log, sink: &mut dyn StreamSink) -> Selected {
        todo!()
    }

    /// Applies a REQUEST_UPDATE; streams that it ends are reset at the next [`Cursor::select`].
    pub fn update(&mut self, log: &Log, update: CursorUpdate) {
        todo!()
    }

    /// The peer sent STOP_SENDING: the stream is reset at the next [`Cursor::select`] and its subgroup left out.
    pub fn handle_stopped(&mut self, stream: StreamId) {
        todo!()
    }

    /// Everything on the stream was acknowledged, or it is gone.
    pub fn handle_stream_closed(&mut self, stream: StreamId) {
        todo!()
    }

    /// Resets every open stream; for a cancelled subscription.
    pub fn close(&mut self, sink: &mut dyn StreamSink) {
        todo!()
    }

    /// Whether everything that can pass was sent, or given up: time for PUBLISH_DONE.
    #[must_use]
    pub fn finished(&self, now: Instant, log: &Log) -> bool {
        todo!()
    }

    /// Streams opened so far: Stream Count of PUBLISH_DONE.
    #[must_use]
    pub fn streams_opened(&self) -> u64 {
        todo!()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// When to call [`Cursor::select`] even if nothing arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}
