//! A panic ends its shard, not the process: the socket closes, a fresh shard starts, and it is counted. Three in
//! a minute mean that restarting does not help, and end the process.

use crate::clock::Clock;
use crate::command::Hosted;
use crate::shard::Shard;
use crate::socket::Socket;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Panics within [`PERIOD`] that end the supervision.
const MAX_PANICS: usize = 3;
/// How long a panic counts.
const PERIOD: Duration = Duration::from_secs(60);

/// Why supervision ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ending<E> {
    /// A shard could not be made.
    #[error("cannot start a shard: {0}")]
    Start(E),
    /// The operating system no longer lets the shard wait.
    #[error("a shard cannot wait for its sockets: {0}")]
    Wait(#[from] io::Error),
    /// The last of three panics within a minute; their messages are on stderr.
    #[error("a shard panicked {MAX_PANICS} times within a minute")]
    GaveUp,
}

/// Has `drive` turn the shard that `start` makes until it is stopped ([`Shard::run`] where nothing else is to be done
/// between turns), and a fresh one after each panic. `start` gets the number of panics so far and publishes the new
/// shard's handle; handles of the old one say [`SendError::Gone`](crate::SendError::Gone).
///
/// # Errors
/// See [`Ending`].
pub fn supervise<S, A, E>(
    clock: &dyn Clock,
    mut start: impl FnMut(usize) -> Result<Shard<S, A>, E>,
    mut drive: impl FnMut(&mut Shard<S, A>) -> io::Result<()>,
) -> Result<(), Ending<E>>
where
    S: Socket,
    A: Hosted,
{
    let mut recent = VecDeque::new();
    let mut panics = 0;
    loop {
        let mut shard = start(panics).map_err(Ending::Start)?;
        // Nothing of the shard is looked at after a panic: it is dropped, with all its sockets.
        if let Ok(ended) = catch_unwind(AssertUnwindSafe(|| drive(&mut shard))) {
            return ended.map_err(Ending::Wait);
        }
        drop(shard);
        panics += 1;
        tracing::error!(panics, "a shard panicked");
        if in_period(&mut recent, clock.now()) >= MAX_PANICS {
            return Err(Ending::GaveUp);
        }
    }
}

/// Adds a panic and counts those of the latest period.
fn in_period(recent: &mut VecDeque<Instant>, now: Instant) -> usize {
    recent.push_back(now);
    while recent.front().is_some_and(|at| now.saturating_duration_since(*at) > PERIOD) {
        recent.pop_front();
    }
    recent.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn only_panics_of_the_last_minute_count() {
        let start = ManualClock::new(Duration::ZERO).now();
        let mut recent = VecDeque::new();
        let counts = [0, 30, 70, 80, 85].map(|second| in_period(&mut recent, start + Duration::from_secs(second)));
        assert_eq!(counts, [1, 2, 2, 3, 4]);
    }
}
