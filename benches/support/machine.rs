//! Which core does what, and what a process occupies.

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The two cores of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Core {
    /// What is measured runs here, and nothing else of ours.
    Sender,
    /// Receivers, publishers and their acknowledgements run here.
    Load,
}

/// Pins the calling thread, and every thread it starts later.
pub(crate) fn pin(core: Core) -> anyhow::Result<()> {
    let index = match core {
        Core::Sender => 0,
        Core::Load => 1,
    };
    let mut set = CpuSet::new();
    set.set(index);
    sched_setaffinity(None, &set).with_context(|| format!("pinning to core {index}: the benches need two cores"))
}

/// Resident memory of this process.
pub(crate) fn rss_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    line.trim().trim_end_matches("kB").trim().parse().context("reading VmRSS")
}
