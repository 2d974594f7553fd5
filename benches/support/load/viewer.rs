//! One viewer's connection: when it acknowledges, and what it reads.

use super::dialogue::{Dialogue, Standing};
use super::port::Port;
use super::reader::{Reader, Told};
use super::tally::Tally;
use crate::support::protocol::{Case, Join, Run, Traffic};
use bytes::Bytes;
use quinn_proto::{Connection, ConnectionEvent, ConnectionHandle, Dir, Event, ReadError, StreamEvent, StreamId};
use std::time::{Duration, Instant};

/// How long a packet may wait for its acknowledgement; RFC 9000's default `max_ack_delay`, as real receivers use it.
const ACK_DELAY: Duration = Duration::from_millis(25);

pub(super) struct Viewer {
    port: usize,
    handle: ConnectionHandle,
    connection: Connection,
    run: Run,
    acks: Acks,
    /// The MoQ session, in the relay case and once connected.
    dialogue: Option<Dialogue>,
    /// Streams under way: a group's, during a change the next one's, and control streams.
    streams: Vec<(StreamId, Reader)>,
    state: State,
    /// When the kernel got the latest packet.
    arrived_ns: u64,
    /// Listed for [`Viewer::settle`] already.
    dirty: bool,
    deadline: Option<Instant>,
    /// When it asked for a track that flows, until the first bytes come.
    asked: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Dialling,
    Connected,
    /// Got its first frame; in idle runs, its connection or subscription.
    Served,
}

/// Packets that wait for their acknowledgement.
struct Acks {
    waiting: u32,
    due: Option<Instant>,
}

impl Viewer {
    pub(super) const fn new(port: usize, handle: ConnectionHandle, connection: Connection, run: Run) -> Self {
        Self {
            port,
            handle,
            connection,
            run,
            acks: Acks { waiting: 0, due: None },
            dialogue: None,
            streams: Vec::new(),
            state: State::Dialling,
            arrived_ns: 0,
            dirty: false,
            deadline: None,
            asked: None,
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

    /// Packets came; true the first time since the last [`Viewer::settle`].
    pub(super) const fn mark_dirty(&mut self, arrived_ns: u64) -> bool {
        self.arrived_ns = arrived_ns;
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
        if self.run.ack_mode.packets().is_some_and(|packets| self.acks.waiting >= packets) {
            self.transmit(now, port, tally)?;
        }
        Ok(())
    }

    /// After a batch of packets: reads streams, and acknowledges or notes by when it must.
    pub(super) fn settle(&mut self, now: Instant, port: &mut Port, tally: &mut Tally) -> anyhow::Result<()> {
        self.dirty = false;
        self.events(now, tally)?;
        tally.arrival(self.arrived_ns);
        self.read(now, tally);
        let holds_acks = self.run.ack_mode.packets().is_some() && self.is_served();
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
        self.events(now, tally)?;
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

    fn events(&mut self, now: Instant, tally: &mut Tally) -> anyhow::Result<()> {
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.connected(now)?,
                Event::ConnectionLost { .. } => tally.lost_viewers += 1,
                Event::Stream(StreamEvent::Opened { dir: Dir::Uni }) => {
                    while let Some(id) = self.connection.streams().accept(Dir::Uni) {
                        self.streams.push((id, Reader::new(self.run.case)));
                    }
                }
                Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
        Ok(())
    }

    fn connected(&mut self, now: Instant) -> anyhow::Result<()> {
        self.state = State::Connected;
        match (self.run.case, self.run.traffic) {
            (Case::Relay | Case::Daemon, _) => {
                let (dialogue, answers) = Dialogue::begin(now, self.run, &mut self.connection)?;
                self.dialogue = Some(dialogue);
                self.asked = (self.run.join == Join::Warm).then_some(now);
                self.listen(answers);
            }
            (Case::Quinn | Case::Bare, Traffic::Idle) => self.state = State::Served,
            (Case::Quinn | Case::Bare, Traffic::Active) => {}
        }
        Ok(())
    }

    fn listen(&mut self, answers: Vec<StreamId>) {
        self.streams.extend(answers.into_iter().map(|id| (id, Reader::Control)));
    }

    /// Reads every stream as far as it goes.
    fn read(&mut self, now: Instant, tally: &mut Tally) {
        let mut index = 0;
        while index < self.streams.len() {
            if self.read_stream(now, index, tally) {
                index += 1;
            } else {
                self.streams.swap_remove(index);
            }
        }
    }

    /// Reads one stream; false where it has ended.
    fn read_stream(&mut self, now: Instant, index: usize, tally: &mut Tally) -> bool {
        loop {
            let Some((id, reader)) = self.streams.get_mut(index) else { return true };
            let id = *id;
            let chunk = match next_chunk(&mut self.connection, id) {
                Ok(Some(chunk)) => chunk,
                Err(ReadError::Blocked) => return true,
                Ok(None) | Err(ReadError::Reset(_)) => return false,
            };
            match reader.push(chunk, tally) {
                Told::Nothing => {}
                Told::Part => self.begun(now, tally),
                Told::Frame => {
                    self.begun(now, tally);
                    self.state = State::Served;
                }
                Told::Control(bytes) => self.hear(now, id, bytes, tally),
            }
        }
    }

    /// Bytes of an object came: notes how long the first ones took.
    fn begun(&mut self, now: Instant, tally: &mut Tally) {
        if let Some(asked) = self.asked.take() {
            tally.joined(now.saturating_duration_since(asked), self.connection.rtt());
        }
    }

    /// The relay said something on a control stream.
    fn hear(&mut self, now: Instant, id: StreamId, bytes: Bytes, tally: &mut Tally) {
        let Some(dialogue) = &mut self.dialogue else { return };
        let answers = dialogue.hear(now, id, bytes, &mut self.connection);
        match (dialogue.standing(), self.run.traffic) {
            (Standing::Over, _) => tally.lost_viewers += 1,
            (Standing::Subscribed, Traffic::Idle) => self.state = State::Served,
            (Standing::Subscribed, Traffic::Active) | (Standing::Waiting, _) => {}
        }
        self.listen(answers);
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

/// The next bytes of a stream. Flow-control updates that come of it ride with the next acknowledgement.
fn next_chunk(connection: &mut Connection, id: StreamId) -> Result<Option<Bytes>, ReadError> {
    let mut stream = connection.recv_stream(id);
    // An error says that the stream was read to its end, or stopped.
    let Ok(mut chunks) = stream.read(true) else { return Ok(None) };
    let chunk = chunks.next(usize::MAX);
    let _ = chunks.finalize();
    Ok(chunk?.map(|chunk| chunk.bytes))
}
