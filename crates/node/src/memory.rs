//! The cap on memory for media, and what gives way when it comes near.
//!
//! Counted are the arena blocks of every log, and those that a log has dropped but transports still hold: written and
//! not acknowledged. Readers share blocks, so that viewers at one place hold one copy however many they are, and what
//! slow ones pin is counted for what it is.
//!
//! 1. From [`DRAIN`] percent on, the largest logs are cut down to their newest whole group.
//! 2. From [`REFUSE`] percent on, new subscriptions, fetches and publishers are answered EXCESSIVE_LOAD.
//! 3. From [`SHED`] percent on, logs keep only what can be joined, and sessions of viewers are closed, the newest first
//!    and the more the less is left. Those who stay are served the live edge as before.

use crate::downstream::request_error;
use crate::effects::TimerKey;
use crate::incident::Incident;
use crate::node::{Hosted, Node};
use crate::session::{Kind, Session};
use crate::tracks::TrackKey;
use sluice_moqt::error::{RequestCode, SessionCode};
use sluice_moqt::message::RequestError;
use sluice_moqt::transport::SessionId;
use sluice_track::Keep;
use std::time::{Duration, Instant};

/// Percent of the cap from which old groups go.
const DRAIN: usize = 92;
/// Percent of the cap from which nobody new is served.
const REFUSE: usize = 95;
/// Percent of the cap from which viewers are sent away: what they held is free a round trip later, and what arrives
/// until then must fit, too. At the cap itself, all of them go.
const SHED: usize = 98;
/// Below this, in percent, memory is ample again. The space in between keeps the state from flapping.
const EASED: usize = 85;
/// Between two looks while media arrives.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// Growth, in percent of the cap, that asks for a look at once.
const CHECK_GROWTH: usize = 1;
/// When somebody who was refused may ask again.
const RETRY: Duration = Duration::from_secs(5);

/// How much memory for media is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum MemoryLevel {
    /// Enough.
    #[default]
    Ample,
    /// Old groups are dropped before their time.
    Draining,
    /// Nobody new is served.
    Refusing,
}

/// Where the node stands with its memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    level: MemoryLevel,
    /// A look is due.
    watched: bool,
    /// Bytes appended since the last look.
    grown: usize,
}

impl Node {
    /// Bytes of media were appended to a log.
    pub(crate) fn note_growth(&mut self, now: Instant, bytes: u64) {
        let memory = &mut self.load.memory;
        memory.grown = memory.grown.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        let is_much = memory.grown > self.config.limits.memory_bytes / 100 * CHECK_GROWTH;
        if is_much || !memory.watched {
            memory.watched = true;
            memory.grown = 0;
            let wait = if is_much { Duration::ZERO } else { CHECK_EVERY };
            self.timers.arm(TimerKey::Memory, Some(now + wait));
        }
    }

    /// What a request for media is answered while memory is short.
    pub(crate) fn check_memory(&mut self) -> Result<(), Box<RequestError>> {
        if self.load.memory.level < MemoryLevel::Refusing {
            return Ok(());
        }
        self.metrics.limits_hit_total += 1;
        self.metrics.memory.refused_total += 1;
        let error = request_error(RequestCode::ExcessiveLoad, "this relay is short of memory");
        Err(Box::new(RequestError { retry: Some(RETRY), ..error }))
    }

    /// Looks at the memory and makes room.
    pub(crate) fn on_memory_check(&mut self, now: Instant) {
        self.load.memory.grown = 0;
        let (mut held, mut retained) = (0, 0);
        for log in self.tracks.logs_mut() {
            log.settle_memory();
            held += log.bytes_held();
            retained += log.bytes_retained();
        }
        let peak = held + retained;
        let mut used = peak;
        if used > self.part_of_cap(DRAIN) {
            used = self.trim_logs(used, Keep::WholeGroup);
        }
        if used > self.part_of_cap(SHED) {
            used = self.trim_logs(used, Keep::JoinPoint);
        }
        self.set_level(peak, used);
        if used > self.part_of_cap(SHED) {
            self.shed_newest(used - self.part_of_cap(SHED));
        }
        // What transports hold is given back by a look; a log that nobody writes needs none.
        self.load.memory.watched = retained > 0 || self.load.memory.level > MemoryLevel::Ample;
        if self.load.memory.watched {
            self.timers.arm(TimerKey::Memory, Some(now + CHECK_EVERY));
        }
    }

    const fn part_of_cap(&self, percent: usize) -> usize {
        self.config.limits.memory_bytes / 100 * percent
    }

    /// Cuts logs down, the largest first, until that is enough. Returns what is used then.
    fn trim_logs(&mut self, mut used: usize, keep: Keep) -> usize {
        let enough = self.part_of_cap(DRAIN);
        let mut sizes: Vec<(usize, TrackKey)> =
            self.tracks.iter().map(|(key, track)| (track.log.bytes_held(), key)).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        for (_, key) in sizes {
            if used <= enough {
                break;
            }
            let Some(track) = self.tracks.get_mut(key) else { continue };
            let bytes = |log: &sluice_track::Log| log.bytes_held() + log.bytes_retained();
            let (before, evicted) = (bytes(&track.log), track.log.groups_evicted());
            track.log.trim(keep);
            let groups = track.log.groups_evicted() - evicted;
            used -= before.saturating_sub(bytes(&track.log)).min(used);
            self.metrics.memory.groups_evicted_total += groups;
            if groups > 0 {
                self.fan_out(key, 0);
            }
        }
        used
    }

    /// `used` bytes are left of `peak`.
    fn set_level(&mut self, peak: usize, used: usize) {
        let was = self.load.memory.level;
        let refuses =
            used > self.part_of_cap(REFUSE) || (was == MemoryLevel::Refusing && used > self.part_of_cap(DRAIN));
        let drains = peak > self.part_of_cap(DRAIN) || (was > MemoryLevel::Ample && used >= self.part_of_cap(EASED));
        let level = match (refuses, drains) {
            (true, _) => MemoryLevel::Refusing,
            (false, true) => MemoryLevel::Draining,
            (false, false) => MemoryLevel::Ample,
        };
        if level != was {
            self.load.memory.level = level;
            self.effects.incidents.push(Incident::Memory { level, used, cap: self.config.limits.memory_bytes });
        }
    }

    /// Closes the sessions of the viewers who came last, `above` bytes above the mark. What a transport holds of streams
    /// that are finished goes with its connection only.
    fn shed_newest(&mut self, above: usize) {
        let is_viewer = |session: &Session| {
            let serves = !session.down.subs.is_empty() || !session.down.fetches.is_empty();
            session.kind == Kind::User && serves && session.up.requests.is_empty()
        };
        let mut viewers: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, hosted)| matches!(hosted, Hosted::Moq(session) if is_viewer(session)))
            .map(|(id, _)| id)
            .collect();
        // Ids of sessions grow.
        viewers.sort_unstable();
        let room = self.config.limits.memory_bytes.saturating_sub(self.part_of_cap(SHED)).max(1);
        let count = (viewers.len().saturating_mul(above.min(room)) / room).max(1);
        for id in viewers.into_iter().rev().take(count) {
            self.metrics.memory.shed_total += 1;
            self.close(id, SessionCode::InternalError, "this relay is short of memory".to_owned());
        }
    }
}
