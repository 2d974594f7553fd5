//! Carrying out what the app asked for.

use super::core::Core;
use super::pipes::is_pipe;
use crate::conn::{Marks, Phase};
use crate::sink::{code_to_quic, dir_to_quic};
use crate::socket::Socket;
use bytes::Bytes;
use quinn_proto::VarInt;
use sluice_moqt::transport::{App, CloseReason, Dir, Output, SessionId};
use std::time::Instant;

/// Longest close reason sent.
const MAX_REASON: usize = 256;
/// Streams of one kind that a peer may ever be granted; each costs memory.
const MAX_STREAMS: u64 = 1 << 16;

impl<S: Socket> Core<S> {
    /// Carries out effects in order until none is left.
    pub(super) fn apply<A: App>(&mut self, now: Instant, app: &mut A) {
        while let Some(output) = self.queues.effects.pop_front() {
            match output {
                Output::Wake(session) if is_pipe(session) => self.wake_pipe(session),
                Output::Close { session, code, reason } if is_pipe(session) => {
                    self.close_pipe(now, session, (code, reason), app);
                }
                // Pipes have one limit for all.
                Output::StreamLimit { session, .. } if is_pipe(session) => {}
                Output::Wake(session) => self.wake(session),
                Output::Close { session, code, reason } => {
                    if let Some(key) = self.find_or_count(session) {
                        let reason = &reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)];
                        let goodbye = Goodbye { code: code_to_quic(code), reason: Bytes::copy_from_slice(reason) };
                        self.close(now, key, goodbye, app);
                    }
                }
                Output::Dial(dial) => self.dial(now, dial, app),
                Output::StreamLimit { session, dir, count } => self.stream_limit(session, dir, count),
            }
        }
    }

    fn wake(&mut self, session: SessionId) {
        let Some(key) = self.find_or_count(session) else { return };
        if let Some(conn) = self.conn(key) {
            conn.marks.set(Marks::WOKEN);
        }
        self.enqueue(key);
    }

    fn close<A: App>(&mut self, now: Instant, key: u32, goodbye: Goodbye, app: &mut A) {
        if let Some(conn) = self.conn(key) {
            conn.quic.close(now, goodbye.code, goodbye.reason);
        }
        self.end(now, key, CloseReason::Local, app);
        self.enqueue(key);
    }

    /// Closes every connection, for the end of a shard.
    pub(super) fn close_all<A: App>(&mut self, now: Instant, app: &mut A) {
        let open = self.conns.iter().filter(|(_, conn)| conn.phase != Phase::Ended);
        let keys: Vec<u32> = open.filter_map(|(key, _)| u32::try_from(key).ok()).collect();
        for key in keys {
            let goodbye = Goodbye { code: VarInt::from_u32(0), reason: Bytes::from_static(b"shutting down") };
            self.close(now, key, goodbye, app);
        }
    }

    fn stream_limit(&mut self, session: SessionId, dir: Dir, count: u64) {
        let Some(key) = self.find_or_count(session) else { return };
        if let Some(conn) = self.conn(key) {
            conn.quic.set_max_concurrent_streams(dir_to_quic(dir), code_to_quic(count.min(MAX_STREAMS)));
        }
        self.enqueue(key);
    }

    /// The key of a session, or a note that the app named one that is gone.
    fn find_or_count(&mut self, session: SessionId) -> Option<u32> {
        let key = self.find(session);
        self.stats.drop.stale_effect += u64::from(key.is_none());
        key
    }
}

/// What a close tells the peer.
struct Goodbye {
    code: VarInt,
    reason: Bytes,
}
