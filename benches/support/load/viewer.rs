//! One viewer's connection: when it acknowledges, and what it reads.

use super::frames::FrameReader;
use super::port::Port;
use super::tally::Tally;
use crate::support::protocol::AckMode;
use quinn_proto::{
    Connection, ConnectionEvent, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId,
};
use std::time::{Duration, Instant};

/// How long a packet may wait for its acknowledgement; RFC 9000's default `max_ack_delay`, as real receivers use it.
const ACK_DELAY: Duration = Duration::from_millis(25);

pub(super) struct Viewer {
    port: usize,
    handle: ConnectionHandle,
    connection: Connection,
    acks: Acks,
    /// Streams under way: a group's, and during a change the next one's.
    streams: Vec<(StreamId, FrameReader)>,
    state: State,
    /// Listed for [`Viewer::settle`] already.
    dirty: bool,
    deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Dialling,
    Connected,
    /// Got its first frame.
    Served,
}

/// Packets that wait for their acknowledgement.
struct Acks {
    mode: AckMode,
    waiting: u32,
    due: Option<Instant>,
}

impl Viewer {
    pub(super) const fn new(port: usize, handle: ConnectionHandle, connection: Connection, mode: AckMode) -> Self {
        Self {
            port,
            handle,
            connection,
            acks: Acks { mode, waiting: 0, due: None },
            streams: Vec::new(),
            state: State::Dialling,
            dirty: false,
            deadline: None,
        }
    }

    pub(super) const fn port(&self) -> usize {
        self.port
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state != State::Dialling
    }

    pub(super) fn is_served(&self) -> bool {
        self.state == State::Served
    }

    /// When to call [`Viewer::expire`].
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// True the first time since the last [`Viewer::settle`].
    pub(super) const fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.dirty, true)
    }

    /// Feeds one packet, and acknowledges where the mode says that this is the n-th.
    pub(super) fn packet(
        &mut self,
        now: Instant,
        event: ConnectionEvent,
        port: &mut Port,
        tally: &mut Tally,
    ) -> anyhow::Result<()> {
        self.connection.handle_event(event);
        self.acks.waiting += 1;
        if self.acks.mode.packets().is_some_and(|packets| self.acks.waiting >= packets) {
            self.transmit(now, port, tally)?;
        }
        Ok(())
    }

    /// After a batch of packets: reads streams, and acknowledges or notes by when it must.
    pub(super) fn settle(&mut self, now: Instant, port: &mut Port, tally: &mut Tally) -> anyhow::Result<()> {
        self.dirty = false;
        self.events(tally);
        self.read(tally);
        let holds_acks = self.acks.mode.packets().is_some() && self.is_served();
        if !holds_acks {
            self.transmit(now, port, tally)?;
        } else if self.acks.waiting > 0 && self.acks.due.is_none() {
            self.acks.due = Some(now + ACK_DELAY);
        }
        self.endpoint_events(port);
        self.note_deadline();
        Ok(())
    }

    /// Runs timers that are due.
    pub(super) fn expire(&mut self, now: Instant, port: &mut Port, tally: &mut Tally) -> anyhow::Result<()> {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        if self.connection.poll_timeout().is_some_and(|timeout| timeout <= now) {
            self.connection.handle_timeout(now);
        }
        self.events(tally);
        self.transmit(now, port, tally)?;
        self.endpoint_events(port);
        self.note_deadline();
        Ok(())
    }

    /// Sends all that the connection has to say: acknowledgements, mostly.
    pub(super) fn transmit(&mut self, now: Instant, port: &mut Port, tally: &mut Tally) -> anyhow::Result<()> {
        self.acks.waiting = 0;
        self.acks.due = None;
        while port.transmit(now, &mut self.connection)? {
            tally.sent();
        }
        Ok(())
    }

    fn events(&mut self, tally: &mut Tally) {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.state = State::Connected,
                Event::ConnectionLost { .. } => tally.lost_viewers += 1,
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    while let Some(id) = self.connection.streams().accept(Dir::Uni) {
                        self.streams.push((id, FrameReader::default()));
                    }
                }
                Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
    }

    /// Reads every stream as far as it goes.
    fn read(&mut self, tally: &mut Tally) {
        let Self { connection, streams, state, .. } = self;
        streams.retain_mut(|(id, reader)| {
            let mut stream = connection.recv_stream(*id);
            let Ok(mut chunks) = stream.read(true) else { return false };
            let open = loop {
                match chunks.next(usize::MAX) {
                    Ok(Some(chunk)) => {
                        if reader.push(&chunk.bytes, tally) > 0 {
                            *state = State::Served;
                        }
                    }
                    Err(ReadError::Blocked) => break true,
                    Ok(None) | Err(ReadError::Reset(_)) => break false,
                }
            };
            // Flow-control updates ride with the next acknowledgement.
            let _ = chunks.finalize();
            open
        });
    }

    fn endpoint_events(&mut self, port: &mut Port) {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(answer) = port.endpoint_event(self.handle, event) {
                self.connection.handle_event(answer);
            }
        }
    }

    fn note_deadline(&mut self) {
        let timeout = self.connection.poll_timeout();
        self.deadline = match (timeout, self.acks.due) {
            (Some(timeout), Some(due)) => Some(timeout.min(due)),
            (timeout, due) => timeout.or(due),
        };
    }
}
