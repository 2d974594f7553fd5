//! A node's process, and what waits while it does not run.

use super::schedule::Due;
use crate::actor::{Actor, Birth};
use crate::plan::{Jump, UNIX_START};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Bytes that the socket of a process that does not run holds, as ours are set up; what comes beyond is lost.
const SOCKET_BYTES: usize = 8 << 20;

/// A node.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Its process, where there is one.
    pub(super) actor: Option<Actor>,
    /// How many processes it had, the present one included.
    pub(super) life: u32,
    /// The process does not run.
    pub(super) stopped: bool,
    /// It was asked to leave.
    pub(super) leaving: bool,
    /// What is due to it meanwhile.
    inbox: VecDeque<Due>,
    inbox_bytes: usize,
    /// When it is called next.
    pub(super) armed: Option<Duration>,
    /// Timeouts that fired at the present instant.
    pub(super) at_once: u32,
    /// When the last one did.
    pub(super) fired: Option<Duration>,
    ahead: Duration,
    back: Duration,
}

impl Host {
    /// The next life starts.
    pub(super) fn birth(&self, base: Instant, now: Duration) -> Birth {
        let wall = (UNIX_START + now + self.ahead).saturating_sub(self.back);
        Birth { now: base + now, wall, life: self.life }
    }

    /// Sets the wall clock. What runs has read it; the next process will.
    pub(super) fn set_clock(&mut self, jump: Jump) {
        match jump {
            Jump::Ahead(by) => self.ahead += by,
            Jump::Back(by) => self.back += by,
        }
    }

    /// Keeps what is due until the process runs again. Gives it back where there is no room.
    pub(super) fn defer(&mut self, due: Due) -> Result<(), Due> {
        let bytes = match &due {
            Due::Read(parcel) => parcel.frame.bytes(),
            Due::Act(_)
            | Due::Start(_)
            | Due::Timer(..)
            | Due::GraceOver(..)
            | Due::Arrive(..)
            | Due::Resend(_)
            | Due::Acked(_)
            | Due::Idle(..)
            | Due::Ping(..)
            | Due::DialOver(_)
            | Due::Look => 0,
        };
        if self.inbox_bytes + bytes > SOCKET_BYTES {
            return Err(due);
        }
        self.inbox_bytes += bytes;
        self.inbox.push_back(due);
        Ok(())
    }

    /// What was kept: first what came from outside, then what time has brought, as the shard loop does it.
    pub(super) fn take_inbox(&mut self) -> Vec<Due> {
        self.inbox_bytes = 0;
        let is_news = |due: &Due| matches!(due, Due::Read(_) | Due::Acked(_));
        let (mut news, old): (Vec<Due>, Vec<Due>) = self.inbox.drain(..).partition(is_news);
        news.extend(old);
        news
    }
}
