//! A viewer's MoQ session: control streams through the session's state machine, data streams past it.

use super::script;
use crate::support::protocol::Run;
use bytes::Bytes;
use quinn_proto::{Connection, VarInt};
use sluice_moqt::session::{Event, Session};
use sluice_moqt::transport::{DatagramError, Dir, SinkError, StreamEvent, StreamId, StreamSink};
use std::time::Instant;

/// How a dialogue stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    Subscribed,
    /// Refused or ended by the relay.
    Over,
}

/// SETUP and one SUBSCRIBE.
pub(super) struct Dialogue {
    session: Session,
    standing: Standing,
}

impl Dialogue {
    /// Begins with what a viewer says first; returns the streams that its answers come on.
    pub(super) fn begin(
        now: Instant,
        run: Run,
        connection: &mut Connection,
    ) -> anyhow::Result<(Self, Vec<quinn_proto::StreamId>)> {
        let mut dialogue = Self { session: script::viewer(now, run)?, standing: Standing::Waiting };
        let answers = dialogue.talk(connection);
        Ok((dialogue, answers))
    }

    /// Takes bytes of a control stream; returns new streams that answers come on.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        stream: quinn_proto::StreamId,
        data: Bytes,
        connection: &mut Connection,
    ) -> Vec<quinn_proto::StreamId> {
        let stream = StreamId(VarInt::from(stream).into_inner());
        self.session.handle_stream(now, stream, StreamEvent::Data { data, fin: false });
        while let Some(event) = self.session.poll_event() {
            if matches!(event, Event::SubscribeOk { .. }) {
                self.standing = Standing::Subscribed;
            } else if script::is_fatal(&event) {
                self.standing = Standing::Over;
            }
        }
        self.talk(connection)
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    fn talk(&mut self, connection: &mut Connection) -> Vec<quinn_proto::StreamId> {
        let mut sink = Mouth { connection, opened: Vec::new() };
        if self.session.wants_transmit() {
            self.session.transmit(&mut sink);
        }
        sink.opened
    }
}

/// Where a session's control messages go. They are few and small: a transport that takes them in part never shows.
struct Mouth<'a> {
    connection: &'a mut Connection,
    /// Bidirectional streams opened.
    opened: Vec<quinn_proto::StreamId>,
}

impl StreamSink for Mouth<'_> {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let id = match dir {
            Dir::Uni => self.connection.streams().open(quinn_proto::Dir::Uni)?,
            Dir::Bi => {
                let id = self.connection.streams().open(quinn_proto::Dir::Bi)?;
                self.opened.push(id);
                id
            }
        };
        Some(StreamId(VarInt::from(id).into_inner()))
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let id = VarInt::from_u64(stream.0).map_err(|_| SinkError::Closed)?.into();
        let written = self.connection.send_stream(id).write_chunks(chunks).map_err(|_| SinkError::Closed)?;
        Ok(written.bytes)
    }

    // A viewer of a bench ends with its process, and never before.
    fn finish(&mut self, _: StreamId) {}
    fn reset(&mut self, _: StreamId, _: u64) {}
    fn stop(&mut self, _: StreamId, _: u64) {}
    fn set_priority(&mut self, _: StreamId, _: i32) {}

    fn send_datagram(&mut self, _: Bytes) -> Result<(), DatagramError> {
        Err(DatagramError::Unsupported)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        None
    }
}
