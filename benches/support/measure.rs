//! One run: a sender process on one core, a load process on the other, and a window that both report on.

use crate::support::child::Child;
use crate::support::clock;
use crate::support::floor_report::FloorLine;
use crate::support::pattern::{FRAMES_PER_GROUP, GROUP_NS, Schedule};
use crate::support::protocol::{Hello, Joined, LoadReport, Role, Run, SenderReport, Traffic, Window};
use anyhow::Context as _;

/// Patience beyond what a child was asked to do.
const SLACK_SECONDS: u32 = 60;

/// When to measure, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// From the last viewer's join to the window: congestion windows open, MTU discovery ends.
    pub(crate) warm_up: u32,
    /// The window.
    pub(crate) window: u32,
}

/// What one run showed.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) sender: SenderReport,
    pub(crate) load: LoadReport,
    pub(crate) joined: Joined,
    pub(crate) window: Window,
    run: Run,
}

impl Outcome {
    /// CPU time of the sender's process per gigabit of frames delivered.
    pub(crate) fn cpu_s_per_gbit(&self) -> f64 {
        self.sender.cpu_ns as f64 / (self.load.bytes as f64 * 8.0)
    }

    /// Share of the sender core in use.
    pub(crate) fn sender_busy(&self) -> f64 {
        self.sender.cpu_ns as f64 / 1e9 / self.window.seconds()
    }

    /// Frames that arrived of those due in the window.
    pub(crate) fn delivered_ratio(&self) -> f64 {
        let expected = self.window.seconds() * FRAMES_PER_GROUP as f64 * self.run.viewers as f64;
        self.load.frames as f64 / expected
    }

    /// Allocations of the application per frame and viewer.
    pub(crate) fn allocations(&self) -> f64 {
        self.sender.allocations as f64 / (self.load.frames.max(1)) as f64
    }
}

/// Runs `run` in fresh processes.
pub(crate) fn run(run: Run, timing: Timing) -> anyhow::Result<Outcome> {
    let mut sender = Child::spawn(&Role::Sender(run))?;
    let hello = sender.hear::<Hello>(SLACK_SECONDS).context("the sender did not start")?;
    let schedule = Schedule { epoch_ns: hello.epoch_ns };
    let mut load = Child::spawn(&Role::Load { run, sender: hello })?;
    let joined = load.hear::<Joined>(SLACK_SECONDS).context("the viewers did not join")?;

    let from_ns = schedule.quiet_edge_ns(clock::wall_ns() + u64::from(timing.warm_up) * GROUP_NS);
    let window = Window { from_ns, until_ns: from_ns + u64::from(timing.window) * GROUP_NS };
    load.say(&window)?;
    // A frame keeps the sender busy once it is whole: its window comes later by what that takes.
    let spread_ns = u64::from(run.spread_ms) * 1_000_000;
    sender.say(&Window { from_ns: from_ns + spread_ns, until_ns: window.until_ns + spread_ns })?;
    let patience = timing.warm_up + timing.window + SLACK_SECONDS;
    let sender = sender.hear(patience).context("no report from the sender")?;
    let load = load.hear(patience).context("no report from the load side")?;
    Ok(Outcome { sender, load, joined, window, run })
}

/// Measures the floor in a fresh process.
pub(crate) fn floor(viewers: usize, megabits: u32, rounds: u32) -> anyhow::Result<FloorLine> {
    let mut child = Child::spawn(&Role::Floor { viewers, megabits, rounds })?;
    child.hear((rounds + 1) * 3 + SLACK_SECONDS).context("no floor")
}

/// Resident memory per viewer in KiB: the slope between two numbers of viewers, so that the process itself cancels out.
pub(crate) fn memory_per_viewer(run: Run, settle_seconds: u32) -> anyhow::Result<f64> {
    const FEW: usize = 100;
    const MANY: usize = 500;
    let timing = Timing { warm_up: settle_seconds, window: 1 };
    let rss = |viewers| anyhow::Ok(self::run(Run { viewers, ..run }, timing)?.sender.rss_kib as f64);
    Ok((rss(MANY)? - rss(FEW)?) / (MANY - FEW) as f64)
}

/// Whether a run's CPU figure counts: decisions ask for delivery, latency, and a load side that kept up.
pub(crate) fn counts(outcome: &Outcome, run: Run) -> bool {
    const DELIVERED: f64 = 0.999;
    let latency_p99_ms = 33.0 + f64::from(run.spread_ms);
    const LOAD_BUSY: f64 = 0.85;
    run.traffic == Traffic::Active
        && outcome.delivered_ratio() >= DELIVERED
        && outcome.load.latency_p99_ms <= latency_p99_ms
        && outcome.load.busy < LOAD_BUSY
}

/// The middle of `values`, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values = values.collect::<Vec<_>>();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    let lower = if values.len().is_multiple_of(2) { values.get(middle - 1).copied()? } else { upper };
    Some(f64::midpoint(lower, upper))
}
