//! One control connection: framing, bounded sending, probes.

use super::wire::{Message, WireError};
use bytes::{Bytes, BytesMut};
use sluice_moqt::transport::{Dir, StreamId, StreamSink};
use sluice_topology::PopId;

/// Control bytes waiting for the transport; a peer that takes none is closed.
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// State of one control connection.
#[derive(Debug)]
pub(crate) struct Control {
    /// The peer that the certificate names.
    pub(crate) peer: PopId,
    outbound: Option<StreamId>,
    inbound: Option<StreamId>,
    queued: BytesMut,
    datagrams: Vec<Bytes>,
    received: BytesMut,
    overflowed: bool,
}

/// Why a control connection must be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ControlError {
    /// What came does not parse.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A second stream, or one of the wrong kind.
    #[error("control peers use one unidirectional stream each")]
    ExtraStream,
    /// The stream ended.
    #[error("the control stream ended")]
    StreamEnded,
    /// The peer reads nothing.
    #[error("more than {MAX_QUEUED_BYTES} control bytes wait for a peer that takes none")]
    Overflow,
}

impl Control {
    /// A fresh connection to `peer`.
    pub(crate) fn new(peer: PopId) -> Self {
        Self {
            peer,
            outbound: None,
            inbound: None,
            queued: BytesMut::new(),
            datagrams: Vec::new(),
            received: BytesMut::new(),
            overflowed: false,
        }
    }

    /// Queues one message for the stream.
    pub(crate) fn send(&mut self, message: &Message) {
        if self.queued.len() > MAX_QUEUED_BYTES {
            self.overflowed = true;
            return;
        }
        message.encode(&mut self.queued);
    }

    /// Queues one probe.
    pub(crate) fn send_datagram(&mut self, message: &Message) {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        self.datagrams.push(out.freeze());
    }

    /// Takes received bytes; returns the messages that are whole.
    pub(crate) fn receive(&mut self, stream: StreamId, data: &[u8]) -> Result<Vec<Message>, ControlError> {
        if !stream.is_uni() || self.inbound.is_some_and(|known| known != stream) {
            return Err(ControlError::ExtraStream);
        }
        self.inbound = Some(stream);
        self.received.extend_from_slice(data);
        let mut messages = Vec::new();
        while let Some(message) = Message::decode(&mut self.received)? {
            messages.extend(message);
        }
        Ok(messages)
    }

    /// Writes what is queued.
    pub(crate) fn select(&mut self, sink: &mut dyn StreamSink) -> Result<(), ControlError> {
        for datagram in self.datagrams.drain(..) {
            // A probe that cannot leave now is a lost probe: that is what it measures.
            let _ = sink.send_datagram(datagram);
        }
        if self.overflowed {
            return Err(ControlError::Overflow);
        }
        if self.outbound.is_none() {
            self.outbound = sink.open(Dir::Uni);
        }
        let Some(stream) = self.outbound else { return Ok(()) };
        if self.queued.is_empty() {
            return Ok(());
        }
        let mut chunk = [self.queued.split().freeze()];
        let result = sink.write(stream, &mut chunk);
        let [rest] = chunk;
        self.queued.extend_from_slice(&rest);
        result.map(|_| ()).map_err(|_| ControlError::StreamEnded)
    }
}
