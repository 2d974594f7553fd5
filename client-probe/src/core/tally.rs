//! A sink that remembers which data streams were opened.

use bytes::Bytes;
use sluice_moqt::transport::{DatagramError, Dir, SinkError, StreamId, StreamSink, Urgency};
use std::collections::BTreeSet;

/// Passes everything on, and keeps the set of streams that are open until the peer has them whole.
pub(super) struct Tally<'a> {
    inner: &'a mut dyn StreamSink,
    open: &'a mut BTreeSet<StreamId>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(inner: &'a mut dyn StreamSink, open: &'a mut BTreeSet<StreamId>) -> Self {
        Self { inner, open }
    }
}

impl StreamSink for Tally<'_> {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let stream = self.inner.open(dir)?;
        self.open.insert(stream);
        Some(stream)
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        self.inner.write(stream, chunks)
    }

    fn finish(&mut self, stream: StreamId) {
        self.inner.finish(stream);
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        self.open.remove(&stream);
        self.inner.reset(stream, code);
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        self.inner.stop(stream, code);
    }

    fn set_urgency(&mut self, urgency: Urgency) {
        self.inner.set_urgency(urgency);
    }

    fn set_priority(&mut self, stream: StreamId, priority: i32) {
        self.inner.set_priority(stream, priority);
    }

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        self.inner.send_datagram(data)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        self.inner.max_datagram_size()
    }
}
