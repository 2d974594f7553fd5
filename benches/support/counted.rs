//! An application whose allocations are counted, and the sink that keeps QUIC's own out of the count.

use crate::support::allocations;
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, DatagramError, Dir, Output, PathStats, Peer, SessionId, SinkError, StreamEvent, StreamId,
    StreamSink, Urgency,
};
use sluice_net::Hosted;
use std::convert::Infallible;
use std::time::Instant;

/// Counts what `A` allocates while a shard calls it, visits that open a stream apart.
#[derive(Debug)]
pub(crate) struct Counted<A>(A);

impl<A> Counted<A> {
    /// Wraps `app`.
    pub(crate) const fn new(app: A) -> Self {
        Self(app)
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut A) -> T) -> T {
        let (result, count) = allocations::counted(|| call(&mut self.0));
        allocations::record(count);
        result
    }
}

impl<A: App> App for Counted<A> {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        self.call(|app| app.handle_connected(now, session, peer));
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.call(|app| app.handle_dial_failed(now, token, reason));
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.call(|app| app.handle_stream(now, session, stream, event));
    }

    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir) {
        self.call(|app| app.handle_streams_available(now, session, dir));
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        self.call(|app| app.handle_datagram(now, session, data));
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        self.call(|app| app.handle_closed(now, session, reason));
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        self.call(|app| app.handle_stats(now, session, stats));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.call(|app| app.handle_timeout(now));
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        let mut sink = Uncounted { sink, opened: 0 };
        let ((), count) = allocations::counted(|| self.0.select(now, session, &mut sink));
        if sink.opened == 0 {
            allocations::record(count);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.call(App::poll_output)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }
}

impl<A: App> Hosted for Counted<A> {
    type Command = Infallible;

    fn handle_command(&mut self, _: Instant, command: Infallible) {
        match command {}
    }
}

/// Passes calls on to QUIC with the counter off.
struct Uncounted<'a> {
    sink: &'a mut dyn StreamSink,
    /// Streams opened during this visit.
    opened: u32,
}

impl StreamSink for Uncounted<'_> {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        self.opened += 1;
        allocations::uncounted(|| self.sink.open(dir))
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        allocations::uncounted(|| self.sink.write(stream, chunks))
    }

    fn finish(&mut self, stream: StreamId) {
        allocations::uncounted(|| self.sink.finish(stream));
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        allocations::uncounted(|| self.sink.reset(stream, code));
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        allocations::uncounted(|| self.sink.stop(stream, code));
    }

    fn set_urgency(&mut self, urgency: Urgency) {
        self.sink.set_urgency(urgency);
    }

    fn set_priority(&mut self, stream: StreamId, priority: i32) {
        allocations::uncounted(|| self.sink.set_priority(stream, priority));
    }

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        allocations::uncounted(|| self.sink.send_datagram(data))
    }

    fn max_datagram_size(&self) -> Option<usize> {
        self.sink.max_datagram_size()
    }
}
