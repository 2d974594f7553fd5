//! An app that does what its script says and remembers what it saw.

use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, DatagramError, Dial, Dir, Output, PathStats, Peer, SessionId, SinkError, StreamEvent, StreamId,
    StreamSink, Urgency,
};
use sluice_net::Hosted;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

/// What to do at the next `select` of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// Open a stream and write it whole.
    Open {
        dir: Dir,
        data: Bytes,
    },
    /// Write on a stream, then end it if `fin`.
    Write {
        stream: StreamId,
        data: Bytes,
        fin: bool,
    },
    /// Open a stream and write it whole, before what waits on others.
    Urgent(Bytes),
    Reset {
        stream: StreamId,
        code: u64,
    },
    Stop {
        stream: StreamId,
        code: u64,
    },
    Datagram(Bytes),
}

/// What the app saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected(SessionId, Peer),
    DialFailed(u64, CloseReason),
    Fin(SessionId, StreamId, Vec<u8>),
    Reset(SessionId, StreamId, u64),
    Stopped(SessionId, StreamId, u64),
    Acked(SessionId, StreamId),
    Available(SessionId, Dir),
    Datagram(SessionId, Bytes),
    Closed(SessionId, CloseReason),
}

impl Seen {
    pub(crate) const fn connected(&self) -> Option<SessionId> {
        if let Self::Connected(session, _) = self { Some(*session) } else { None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct TestApp {
    pub(crate) seen: Vec<Seen>,
    /// Writes that the transport cut short, and the wake-ups that followed.
    pub(crate) blocked: usize,
    pub(crate) writable: usize,
    pub(crate) stats: Vec<PathStats>,
    /// Sends what it saw to a test thread.
    pub(crate) report: Option<SyncSender<Seen>>,
    /// Bidirectional streams and datagrams come back to their sender.
    pub(crate) echo: bool,
    /// Acts for every session as soon as it is connected.
    pub(crate) greeting: Vec<Act>,
    acts: BTreeMap<SessionId, VecDeque<Act>>,
    received: BTreeMap<(SessionId, StreamId), Vec<u8>>,
    outputs: VecDeque<Output>,
}

impl TestApp {
    pub(crate) fn echo() -> Self {
        Self { echo: true, ..Self::default() }
    }

    pub(crate) fn act(&mut self, session: SessionId, act: Act) {
        self.acts.entry(session).or_default().push_back(act);
        self.outputs.push_back(Output::Wake(session));
    }

    pub(crate) fn dial(&mut self, token: u64, remote: SocketAddr, alpn: &[u8], server_name: &str) {
        let dial = Dial { token, remote, alpn: alpn.to_vec(), server_name: server_name.to_owned() };
        self.outputs.push_back(Output::Dial(dial));
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        self.seen.iter().find_map(|seen| if let Seen::Connected(id, _) = seen { Some(*id) } else { None })
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.seen.iter().find_map(|seen| if let Seen::Connected(_, peer) = seen { Some(peer) } else { None })
    }

    pub(crate) fn closed(&self) -> Option<&CloseReason> {
        self.seen.iter().find_map(|seen| if let Seen::Closed(_, reason) = seen { Some(reason) } else { None })
    }

    pub(crate) fn dial_failed(&self) -> Option<&CloseReason> {
        self.seen.iter().find_map(|seen| if let Seen::DialFailed(_, reason) = seen { Some(reason) } else { None })
    }

    pub(crate) fn fins(&self) -> Vec<&Vec<u8>> {
        self.seen.iter().filter_map(|seen| if let Seen::Fin(_, _, data) = seen { Some(data) } else { None }).collect()
    }

    fn saw(&mut self, seen: Seen) {
        if let Some(report) = &self.report {
            let _ = report.try_send(seen.clone());
        }
        self.seen.push(seen);
    }

    /// Carries out one act; gives back what is left of it.
    fn perform(&mut self, act: Act, sink: &mut dyn StreamSink) -> Option<Act> {
        match act {
            Act::Open { dir, data } => match sink.open(dir) {
                Some(stream) => self.perform(Act::Write { stream, data, fin: true }, sink),
                None => Some(Act::Open { dir, data }),
            },
            Act::Write { stream, data, fin } => {
                let mut chunks = [data];
                match sink.write(stream, &mut chunks) {
                    Ok(_) if chunks[0].is_empty() => {
                        if fin {
                            sink.finish(stream);
                        }
                        None
                    }
                    Ok(_) => {
                        self.blocked += 1;
                        let [data] = chunks;
                        Some(Act::Write { stream, data, fin })
                    }
                    Err(SinkError::Stopped(code)) => {
                        sink.reset(stream, code);
                        None
                    }
                    Err(SinkError::Closed) => None,
                }
            }
            Act::Urgent(data) => {
                let Some(stream) = sink.open(Dir::Uni) else { return Some(Act::Urgent(data)) };
                sink.set_priority(stream, 1);
                sink.set_urgency(Urgency::Urgent);
                let rest = self.perform(Act::Write { stream, data, fin: true }, sink);
                sink.set_urgency(Urgency::Usual);
                rest
            }
            Act::Reset { stream, code } => {
                sink.reset(stream, code);
                None
            }
            Act::Stop { stream, code } => {
                sink.stop(stream, code);
                None
            }
            Act::Datagram(data) => match sink.send_datagram(data.clone()) {
                Err(DatagramError::Blocked) => Some(Act::Datagram(data)),
                Ok(()) | Err(DatagramError::TooLarge { .. } | DatagramError::Unsupported) => None,
            },
        }
    }
}

impl App for TestApp {
    fn handle_connected(&mut self, _now: Instant, session: SessionId, peer: Peer) {
        for act in self.greeting.clone() {
            self.act(session, act);
        }
        self.saw(Seen::Connected(session, peer));
    }

    fn handle_dial_failed(&mut self, _now: Instant, token: u64, reason: CloseReason) {
        self.saw(Seen::DialFailed(token, reason));
    }

    fn handle_stream(&mut self, _now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        match event {
            StreamEvent::Data { data, fin } => {
                if self.echo && !stream.is_uni() {
                    self.act(session, Act::Write { stream, data: data.clone(), fin });
                }
                let received = self.received.entry((session, stream)).or_default();
                received.extend_from_slice(&data);
                if fin {
                    let data = std::mem::take(received);
                    self.saw(Seen::Fin(session, stream, data));
                }
            }
            StreamEvent::Reset { code } => self.saw(Seen::Reset(session, stream, code)),
            StreamEvent::Stopped { code } => {
                self.saw(Seen::Stopped(session, stream, code));
                self.acts
                    .entry(session)
                    .or_default()
                    .retain(|act| !matches!(act, Act::Write { stream: written, .. } if *written == stream));
                self.act(session, Act::Reset { stream, code });
            }
            StreamEvent::Writable => {
                self.writable += 1;
                self.outputs.push_back(Output::Wake(session));
            }
            StreamEvent::Acked => self.saw(Seen::Acked(session, stream)),
        }
    }

    fn handle_streams_available(&mut self, _now: Instant, session: SessionId, dir: Dir) {
        self.saw(Seen::Available(session, dir));
        self.outputs.push_back(Output::Wake(session));
    }

    fn handle_datagram(&mut self, _now: Instant, session: SessionId, data: Bytes) {
        if self.echo {
            self.act(session, Act::Datagram(data.clone()));
        }
        self.saw(Seen::Datagram(session, data));
    }

    fn handle_closed(&mut self, _now: Instant, session: SessionId, reason: CloseReason) {
        self.acts.remove(&session);
        self.saw(Seen::Closed(session, reason));
    }

    fn handle_stats(&mut self, _now: Instant, _session: SessionId, stats: PathStats) {
        self.stats.push(stats);
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn select(&mut self, _now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        let mut acts = self.acts.remove(&session).unwrap_or_default();
        let mut left = VecDeque::new();
        // Acts on other streams go on past a blocked one; order within a stream is kept.
        while let Some(act) = acts.pop_front() {
            let stream = if let Act::Write { stream, .. } = &act { Some(*stream) } else { None };
            let waits = stream.is_some_and(|stream| {
                left.iter().any(|act| matches!(act, Act::Write { stream: other, .. } if *other == stream))
            });
            let rest = if waits { Some(act) } else { self.perform(act, sink) };
            left.extend(rest);
        }
        if !left.is_empty() {
            self.acts.insert(session, left);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What a test thread may ask of the app.
pub(crate) type Order = Box<dyn FnOnce(&mut TestApp) + Send>;

impl Hosted for TestApp {
    type Command = Order;

    fn handle_command(&mut self, _now: Instant, command: Order) {
        command(self);
    }
}
