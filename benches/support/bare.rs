//! The shard loop with the least application that fans frames out: no MoQ, no track log, no selection.
//!
//! What the relay costs above this is ours to save; what this costs above the floor is QUIC's and the loop's.

use crate::support::pattern::{FRAMES_PER_GROUP, Pattern, Schedule};
use crate::support::protocol::Traffic;
use crate::support::sender::Stage;
use crate::support::{clock, host};
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Frames kept: a viewer further behind than this goes on with the newest group.
const BACKLOG: usize = 60;

/// Serves frames to whoever connects, for ever.
pub(crate) fn serve(stage: &Stage) -> anyhow::Result<()> {
    host::serve(stage, Fanout::new(stage.run.pattern(), stage.run.traffic, stage.schedule))
}

/// Writes every frame to every session, a group per stream.
#[derive(Debug)]
struct Fanout {
    pattern: Pattern,
    schedule: Schedule,
    traffic: Traffic,
    /// The instant of frame 0.
    epoch: Instant,
    /// Number of the next frame to make.
    next: u64,
    frames: VecDeque<Bytes>,
    viewers: Viewers,
    outputs: VecDeque<Output>,
}

/// Everyone connected: found by id, visited in order of arrival.
#[derive(Debug, Default)]
struct Viewers {
    by_session: HashMap<SessionId, usize>,
    list: Vec<Viewer>,
}

#[derive(Debug)]
struct Viewer {
    session: SessionId,
    stream: Option<StreamId>,
    /// Number of the next frame to write.
    next: u64,
    /// What the transport did not take of the frame before it.
    rest: Bytes,
}

impl Fanout {
    fn new(pattern: Pattern, traffic: Traffic, schedule: Schedule) -> Self {
        let lead = Duration::from_nanos(schedule.epoch_ns.saturating_sub(clock::wall_ns()));
        Self {
            pattern,
            schedule,
            traffic,
            epoch: clock::now() + lead,
            next: 0,
            frames: VecDeque::with_capacity(BACKLOG + 1),
            viewers: Viewers::default(),
            outputs: VecDeque::new(),
        }
    }

    fn due(&self, seq: u64) -> Instant {
        self.epoch + Duration::from_nanos(self.schedule.due_ns(seq) - self.schedule.epoch_ns)
    }

    /// Makes the frames that are due, and wakes everyone.
    fn produce(&mut self, now: Instant) {
        while self.due(self.next) <= now {
            self.frames.push_back(self.pattern.frame(self.next, self.schedule.due_ns(self.next)));
            if self.frames.len() > BACKLOG {
                self.frames.pop_front();
            }
            self.next += 1;
        }
        self.outputs.extend(self.viewers.list.iter().map(|viewer| Output::Wake(viewer.session)));
    }

    /// Number of the oldest frame kept.
    fn oldest(&self) -> u64 {
        self.next - self.frames.len() as u64
    }

    fn frame(&self, seq: u64) -> Option<Bytes> {
        let index = usize::try_from(seq.checked_sub(self.oldest())?).ok()?;
        self.frames.get(index).cloned()
    }
}

impl Viewer {
    /// Writes what the transport takes.
    fn write(&mut self, frames: &Fanout, sink: &mut dyn StreamSink) {
        loop {
            if !self.rest.is_empty() {
                let Some(stream) = self.stream else { return };
                let written = sink.write(stream, std::slice::from_mut(&mut self.rest));
                if written.is_err() {
                    self.stream = None;
                    self.rest = Bytes::new();
                }
                if !self.rest.is_empty() {
                    return;
                }
            }
            if self.next < frames.oldest() {
                self.next = frames.next / FRAMES_PER_GROUP * FRAMES_PER_GROUP;
            }
            let Some(frame) = frames.frame(self.next) else { return };
            if self.next.is_multiple_of(FRAMES_PER_GROUP) {
                let Some(stream) = sink.open(Dir::Uni) else { return };
                if let Some(done) = self.stream.replace(stream) {
                    sink.finish(done);
                }
            }
            self.next += 1;
            if self.stream.is_some() {
                self.rest = frame;
            }
        }
    }
}

impl App for Fanout {
    fn handle_connected(&mut self, _: Instant, session: SessionId, _: Peer) {
        self.viewers.by_session.insert(session, self.viewers.list.len());
        self.viewers.list.push(Viewer { session, stream: None, next: self.next, rest: Bytes::new() });
    }

    fn handle_dial_failed(&mut self, _: Instant, _: u64, _: CloseReason) {}

    fn handle_stream(&mut self, _: Instant, session: SessionId, _: StreamId, event: StreamEvent) {
        if event == StreamEvent::Writable {
            self.outputs.push_back(Output::Wake(session));
        }
    }

    fn handle_streams_available(&mut self, _: Instant, session: SessionId, _: Dir) {
        self.outputs.push_back(Output::Wake(session));
    }

    fn handle_datagram(&mut self, _: Instant, _: SessionId, _: Bytes) {}

    fn handle_closed(&mut self, _: Instant, session: SessionId, _: CloseReason) {
        let Some(index) = self.viewers.by_session.remove(&session) else { return };
        self.viewers.list.swap_remove(index);
        if let Some(moved) = self.viewers.list.get(index) {
            self.viewers.by_session.insert(moved.session, index);
        }
    }

    fn handle_stats(&mut self, _: Instant, _: SessionId, _: PathStats) {}

    fn handle_timeout(&mut self, now: Instant) {
        self.produce(now);
    }

    fn select(&mut self, _: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        let Some(&index) = self.viewers.by_session.get(&session) else { return };
        // Out of the list while it reads the frames beside it.
        let Some(slot) = self.viewers.list.get_mut(index) else { return };
        let absent = Viewer { session, stream: None, next: 0, rest: Bytes::new() };
        let mut viewer = std::mem::replace(slot, absent);
        viewer.write(self, sink);
        self.viewers.list[index] = viewer;
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.traffic {
            Traffic::Active => Some(self.due(self.next)),
            Traffic::Idle => None,
        }
    }
}
