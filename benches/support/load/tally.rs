//! What the load side counts between the edges of a window.

use crate::support::clock;
use crate::support::pattern::Header;
use crate::support::protocol::{Joined, LoadReport, Quantiles, Window};
use anyhow::Context as _;
use hdrhistogram::Histogram;
use quinn_udp::RecvMeta;
use std::time::Duration;

/// Shorter than this and it is no packet of frames but an acknowledgement or a control frame.
const DATA_BYTES: usize = 300;
/// Ceiling of the histogram, in microseconds.
const LATENCY_MAX_US: u64 = 10_000_000;

pub(super) struct Tally {
    /// Connections that ended since the run began.
    pub(super) lost_viewers: u64,
    counts: Counts,
    latency_us: Histogram<u32>,
    /// When the kernel got the packets that are being read.
    arrived_ns: u64,
    window: Option<Open>,
    joins: Joins,
}

/// How long viewers waited for their first bytes, and the round trips that they had then; in microseconds.
#[derive(Debug, Default)]
struct Joins {
    first_object: Vec<u64>,
    rtt: Vec<u64>,
}

struct Open {
    window: Window,
    report_ns: u64,
    /// Meters at the first turn inside the window.
    start: Option<Meters>,
    /// Meters at the first turn past it.
    end: Option<Meters>,
    frames: u64,
    bytes: u64,
}

/// Running totals.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    trains: u64,
    packets: u64,
    sent: u64,
}

#[derive(Debug, Clone, Copy)]
struct Meters {
    wall_ns: u64,
    cpu_ns: u64,
    counts: Counts,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        let latency_us = Histogram::new_with_max(LATENCY_MAX_US, 3).context("making a latency histogram")?;
        Ok(Self {
            lost_viewers: 0,
            counts: Counts::default(),
            latency_us,
            arrived_ns: 0,
            window: None,
            joins: Joins::default(),
        })
    }

    /// A viewer got its first bytes.
    pub(super) fn joined(&mut self, after: Duration, rtt: Duration) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.joins.first_object.push(us(after));
        self.joins.rtt.push(us(rtt));
    }

    /// How viewers joined, `seconds` after the first dial.
    pub(super) fn joins(&mut self, seconds: f64) -> Joined {
        let Joins { first_object, rtt } = &mut self.joins;
        Joined { seconds, first_object: quantiles(first_object), rtt: quantiles(rtt) }
    }

    /// Counts towards `window`, and reports `grace_ns` after its end.
    pub(super) fn open(&mut self, window: Window, grace_ns: u64) {
        self.latency_us.reset();
        let report_ns = window.until_ns + grace_ns;
        self.window = Some(Open { window, report_ns, start: None, end: None, frames: 0, bytes: 0 });
    }

    /// One train of packets arrived.
    pub(super) const fn train(&mut self, meta: &RecvMeta) {
        if meta.len >= DATA_BYTES {
            self.counts.trains += 1;
            self.counts.packets += meta.len.div_ceil(meta.stride) as u64;
        }
    }

    /// One datagram left.
    pub(super) const fn sent(&mut self) {
        self.counts.sent += 1;
    }

    /// Frames that complete from here on arrived then.
    pub(super) const fn arrival(&mut self, arrived_ns: u64) {
        self.arrived_ns = arrived_ns;
    }

    /// One frame is complete.
    pub(super) fn frame(&mut self, header: Header) {
        let Some(open) = &mut self.window else { return };
        if !open.window.contains(header.stamp_ns) {
            return;
        }
        open.frames += 1;
        open.bytes += header.bytes as u64;
        let latency_us = self.arrived_ns.saturating_sub(header.stamp_ns) / 1_000;
        self.latency_us.saturating_record(latency_us);
    }

    /// Reads the meters at the window's edges; the report when it is due.
    pub(super) fn turn(&mut self, wall_ns: u64) -> Option<LoadReport> {
        let counts = self.counts;
        let open = self.window.as_mut()?;
        let meters = || Meters { wall_ns, cpu_ns: clock::process_cpu_ns(), counts };
        if wall_ns >= open.window.from_ns && open.start.is_none() {
            open.start = Some(meters());
        }
        if wall_ns >= open.window.until_ns && open.end.is_none() {
            open.end = Some(meters());
        }
        if wall_ns < open.report_ns {
            return None;
        }
        let open = self.window.take()?;
        Some(self.report(&open, open.start?, open.end?))
    }

    fn report(&self, open: &Open, start: Meters, end: Meters) -> LoadReport {
        let packets = (end.counts.packets - start.counts.packets) as f64;
        let trains = (end.counts.trains - start.counts.trains) as f64;
        let sent = (end.counts.sent - start.counts.sent) as f64;
        let quantile_ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1_000.0;
        LoadReport {
            frames: open.frames,
            bytes: open.bytes,
            latency_p50_ms: quantile_ms(0.5),
            latency_p99_ms: quantile_ms(0.99),
            busy: (end.cpu_ns - start.cpu_ns) as f64 / (end.wall_ns - start.wall_ns) as f64,
            gso_avg: ratio(packets, trains),
            acks_per_packet: ratio(sent, packets),
            lost_viewers: self.lost_viewers,
        }
    }
}

/// `None` of nothing.
fn quantiles(values_us: &mut [u64]) -> Option<Quantiles> {
    values_us.sort_unstable();
    let last = values_us.len().checked_sub(1)?;
    let at_ms = |percent: usize| values_us.get(last * percent / 100).map(|us| *us as f64 / 1_000.0);
    Some(Quantiles { p50_ms: at_ms(50)?, p99_ms: at_ms(99)? })
}

/// `part` of `whole`; 0 where there is no whole, as in idle runs.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
