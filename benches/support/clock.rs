//! The benches' own clocks: wall time shared by every process of a run, and CPU time of one thread or process.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Wall clock that every process of this machine agrees on, in nanoseconds: stamps and windows are in it.
pub(crate) fn wall_ns() -> u64 {
    read(ClockId::Monotonic)
}

/// How far Unix time is ahead of [`wall_ns`]; moves where somebody sets the clock.
pub(crate) fn unix_lead_ns() -> u64 {
    read(ClockId::Realtime).saturating_sub(wall_ns())
}

/// The same instant as quinn-proto wants it.
#[expect(clippy::disallowed_methods, reason = "a bench is its own host, and this is its one clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// User and system time of the calling thread so far, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read(ClockId::ThreadCPUTime)
}

/// User and system time of all threads of this process so far, in nanoseconds.
pub(crate) fn process_cpu_ns() -> u64 {
    read(ClockId::ProcessCPUTime)
}

/// Sleeps until `wall_ns` reaches `deadline`; returns at once where it has.
pub(crate) fn sleep_until(deadline: u64) {
    let left = deadline.saturating_sub(wall_ns());
    if left > 0 {
        std::thread::sleep(Duration::from_nanos(left));
    }
}

fn read(id: ClockId) -> u64 {
    let time = clock_gettime(id);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
