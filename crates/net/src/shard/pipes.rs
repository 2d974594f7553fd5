//! Pipes to the other shards of the process, as sessions of the app.

use super::core::{Core, key_of};
use crate::pipe::{End, Gone, Heard, Pipe};
use crate::socket::Socket;
use sluice_moqt::transport::{App, CloseReason, SessionId, StreamEvent};
use std::time::Instant;

/// Frames per pipe and turn.
const FRAMES_PER_TURN: usize = 256;
/// Marks session ids of pipes; connections never count that far.
const PIPE_BIT: u64 = 1 << 63;

pub(super) const fn is_pipe(session: SessionId) -> bool {
    session.0 & PIPE_BIT != 0
}

/// A pipe and its place in the loop.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) pipe: Pipe,
    id: SessionId,
    /// Stands in the queue for `select`.
    queued: bool,
}

impl<S: Socket> Core<S> {
    /// Takes one end in and tells the app of its new session.
    pub(super) fn attach<A: App>(&mut self, now: Instant, end: End, app: &mut A) {
        let entry = self.pipes.vacant_entry();
        let key = u32::try_from(entry.key()).expect("there are at most as many pipes as shards");
        let id = SessionId(self.census.session(key).0 | PIPE_BIT);
        let link = entry.insert(Link { pipe: Pipe::new(end), id, queued: false });
        Self::desk(&mut self.queues.effects, app, now).connected(id, link.pipe.peer().clone());
    }

    /// Tells the app what has come through the pipes.
    pub(super) fn read_pipes<A: App>(&mut self, now: Instant, app: &mut A) {
        for key in 0..self.pipes.capacity() {
            for _ in 0..FRAMES_PER_TURN {
                let Some(link) = self.pipes.get_mut(key) else { break };
                let session = link.id;
                let mut desk = Self::desk(&mut self.queues.effects, app, now);
                match link.pipe.receive() {
                    Ok(None) => break,
                    Ok(Some(Heard::Stream(stream, event))) => desk.stream(session, stream, event),
                    Ok(Some(Heard::Datagram(data))) => desk.datagram(session, data),
                    Ok(Some(Heard::Close { code, reason })) => {
                        desk.closed(session, CloseReason::Peer { code, reason });
                        self.pipes.remove(key);
                    }
                    Err(Gone) => {
                        desk.closed(session, CloseReason::Reset);
                        self.pipes.remove(key);
                    }
                }
            }
            self.resume_pipe(now, key, app);
        }
    }

    /// Tells the app of room that has come back.
    fn resume_pipe<A: App>(&mut self, now: Instant, key: usize, app: &mut A) {
        let Some(link) = self.pipes.get_mut(key) else { return };
        link.pipe.flush();
        let mut desk = Self::desk(&mut self.queues.effects, app, now);
        for stream in link.pipe.writable() {
            desk.stream(link.id, stream, StreamEvent::Writable);
        }
        for dir in link.pipe.available() {
            desk.streams_available(link.id, dir);
        }
        if link.pipe.datagrams_unblocked() {
            let session = link.id;
            self.wake_pipe(session);
        }
    }

    pub(super) fn wake_pipe(&mut self, session: SessionId) {
        let Some(key) = self.find_pipe(session) else { return };
        if let Some(link) = self.pipes.get_mut(key as usize)
            && !link.queued
        {
            link.queued = true;
            self.queues.pipes.push_back(key);
        }
    }

    pub(super) fn visit_pipe<A: App>(&mut self, now: Instant, key: u32, app: &mut A) {
        let Some(link) = self.pipes.get_mut(key as usize) else { return };
        self.stats.turn.visits += 1;
        link.queued = false;
        app.select(now, link.id, &mut link.pipe);
        Self::desk(&mut self.queues.effects, app, now).drain();
    }

    pub(super) fn close_pipe<A: App>(&mut self, now: Instant, session: SessionId, why: (u64, String), app: &mut A) {
        let Some(key) = self.find_pipe(session) else { return };
        if let Some(mut link) = self.pipes.try_remove(key as usize) {
            link.pipe.close(why.0, why.1);
            Self::desk(&mut self.queues.effects, app, now).closed(session, CloseReason::Local);
        }
    }

    /// Wakes the shards at the other ends, once per turn.
    pub(super) fn flush_pipes(&mut self) {
        for (_, link) in &mut self.pipes {
            link.pipe.flush();
        }
    }

    fn find_pipe(&mut self, session: SessionId) -> Option<u32> {
        let key = key_of(session).filter(|key| self.pipes.get(*key as usize).is_some_and(|link| link.id == session));
        self.stats.drop.stale_effect += u64::from(key.is_none());
        key
    }
}
