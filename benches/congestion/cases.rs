//! The cases, and what is read off each.

use super::net::DELAY;
use super::sink::Arrival;
use super::source::{Format, SOUND, VIDEO};
use super::world::{Change, Flow, Load, START, Seen, Setup, run};
use sluice_net::TransportProfile;
use std::collections::BTreeMap;
use std::time::Duration;

/// The path: 50 Mbit/s and 50 ms.
const FAST: u64 = 50_000_000;
const SLOW: u64 = 6_000_000;
const RTT_MS: f64 = 50.0;
/// Start-up is no part of the figures.
const WARM: Duration = Duration::from_secs(3);
/// What is born in the last seconds may be on its way at the end.
const TAIL: Duration = Duration::from_secs(2);
/// Of the drop case.
const DROP: Duration = Duration::from_secs(15);
const RETURN: Duration = Duration::from_secs(30);
/// When the second greedy flow begins.
const SECOND: Duration = Duration::from_secs(5);
/// A frame that comes later than this is late: the goal at 1 % loss.
const LATE_MS: f64 = 2.5 * RTT_MS;

/// Bytes of a queue of `ms` at the fast rate.
pub(crate) const fn queue(ms: u64) -> usize {
    (FAST / 8_000 * ms) as usize
}

/// The figures of a live flow.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) mbits: f64,
    /// Added to the propagation delay, in round trips.
    pub(crate) added_p50: f64,
    pub(crate) added_p99: f64,
    pub(crate) frames_lost: usize,
    pub(crate) groups_lost: usize,
    pub(crate) groups: usize,
    pub(crate) sound_lost: usize,
    pub(crate) queue_p50: f64,
    pub(crate) queue_p99: f64,
    /// Mean rate of the greedy neighbour, if any.
    pub(crate) neighbour: f64,
}

/// The figures of the drop from 50 to 6 Mbit/s and back.
#[derive(Debug)]
pub(crate) struct Drop {
    /// 99th percentile of the queue from 2 s after the drop to the return, ms.
    pub(crate) queue_p99: f64,
    pub(crate) queue_most: f64,
    /// What came through while the path was slow, Mbit/s.
    pub(crate) mbits: f64,
    /// Groups that came whole of those born while the path was slow.
    pub(crate) groups: (usize, usize),
    /// From the return until every frame comes in time.
    pub(crate) recovery: Option<Duration>,
}

/// A live flow under `loss`, with a greedy neighbour if given.
pub(crate) fn live(
    profile: &TransportProfile,
    loss: f64,
    neighbour: Option<&TransportProfile>,
    seeds: u64,
) -> anyhow::Result<Live> {
    let length = Duration::from_secs(60);
    let mut all = Live::default();
    let (mut added, mut queues) = (Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let mut flows = vec![flow(Load::Live, profile, Duration::ZERO)];
        flows.extend(neighbour.map(|profile| flow(Load::Greedy, profile, Duration::ZERO)));
        let changes = vec![Change { at: Duration::ZERO, rate: FAST, loss }];
        let (seen, watch) = run(&Setup { flows, changes, queue: queue(100), length, seed })?;
        let [live, rest @ ..] = &seen[..] else { unreachable!("the live flow is there") };
        let video = within(&live.arrivals, VIDEO, length);
        added.extend(video.iter().map(|arrival| added_ms(arrival) / RTT_MS));
        queues.extend(watch.queue.iter().filter(|(at, _)| *at > WARM).map(|(_, ms)| *ms));
        let (whole, groups, frames) = groups(&live.arrivals, VIDEO, WARM, length - TAIL);
        all.groups += groups;
        all.groups_lost += groups - whole;
        all.frames_lost += frames;
        let (whole, groups, _) = self::groups(&live.arrivals, SOUND, WARM, length - TAIL);
        all.sound_lost += groups - whole;
        all.mbits += mbits(live, WARM, length) / seeds as f64;
        all.neighbour += rest.first().map_or(0.0, |seen| mbits(seen, WARM, length)) / seeds as f64;
    }
    (all.added_p50, all.added_p99) = (percentile(&mut added, 50.0), percentile(&mut added, 99.0));
    (all.queue_p50, all.queue_p99) = (percentile(&mut queues, 50.0), percentile(&mut queues, 99.0));
    Ok(all)
}

/// A live flow whose path falls to 6 Mbit/s for 15 s. The queue holds 100 ms at the fast rate, 833 ms at the slow one.
pub(crate) fn drop(profile: &TransportProfile, seed: u64) -> anyhow::Result<Drop> {
    let length = Duration::from_secs(45);
    let change = |at, rate| Change { at, rate, loss: 0.0 };
    let changes = vec![change(Duration::ZERO, FAST), change(DROP, SLOW), change(RETURN, FAST)];
    let flows = vec![flow(Load::Live, profile, Duration::ZERO)];
    let (seen, watch) = run(&Setup { flows, changes, queue: queue(100), length, seed })?;
    let live = &seen[0];
    let settled = DROP + Duration::from_secs(2);
    let mut slow: Vec<f64> =
        watch.queue.iter().filter(|(at, _)| *at > settled && *at < RETURN).map(|(_, ms)| *ms).collect();
    let most = watch.queue.iter().filter(|(at, _)| *at > DROP && *at < RETURN).map(|(_, ms)| *ms).fold(0.0, f64::max);
    let (whole, all, _) = groups(&live.arrivals, VIDEO, DROP, RETURN);
    Ok(Drop {
        queue_p99: percentile(&mut slow, 99.0),
        queue_most: most,
        mbits: mbits(live, settled, RETURN),
        groups: (whole, all),
        recovery: recovery(&live.arrivals, length - TAIL),
    })
}

/// Mean rates of two greedy flows, the second from 5 s on, between 15 s and the end.
pub(crate) fn duel(
    first: &TransportProfile,
    second: &TransportProfile,
    queue_ms: u64,
    seed: u64,
) -> anyhow::Result<(f64, f64, f64)> {
    let length = Duration::from_secs(75);
    let flows = vec![flow(Load::Greedy, first, Duration::ZERO), flow(Load::Greedy, second, SECOND)];
    let changes = vec![Change { at: Duration::ZERO, rate: FAST, loss: 0.0 }];
    let (seen, watch) = run(&Setup { flows, changes, queue: queue(queue_ms), length, seed })?;
    let from = Duration::from_secs(15);
    let mut queues: Vec<f64> = watch.queue.iter().filter(|(at, _)| *at > from).map(|(_, ms)| *ms).collect();
    Ok((mbits(&seen[0], from, length), mbits(&seen[1], from, length), percentile(&mut queues, 50.0)))
}

/// One greedy flow alone: rate and median queue.
pub(crate) fn alone(
    profile: &TransportProfile,
    loss: f64,
    queue_ms: u64,
    seed: u64,
) -> anyhow::Result<(f64, f64, f64)> {
    let length = Duration::from_secs(30);
    let flows = vec![flow(Load::Greedy, profile, Duration::ZERO)];
    let changes = vec![Change { at: Duration::ZERO, rate: FAST, loss }];
    let (seen, watch) = run(&Setup { flows, changes, queue: queue(queue_ms), length, seed })?;
    let mut queues: Vec<f64> = watch.queue.iter().filter(|(at, _)| *at > WARM).map(|(_, ms)| *ms).collect();
    let (p50, p99) = (percentile(&mut queues, 50.0), percentile(&mut queues, 99.0));
    Ok((mbits(&seen[0], WARM, length), p50, p99))
}

fn flow(load: Load, profile: &TransportProfile, from: Duration) -> Flow {
    Flow { load, profile: profile.clone(), from }
}

fn within(arrivals: &[Arrival], format: Format, length: Duration) -> Vec<Arrival> {
    let fits = |arrival: &&Arrival| arrival.track == format.id && arrival.born > WARM && arrival.born < length - TAIL;
    arrivals.iter().filter(fits).copied().collect()
}

fn added_ms(arrival: &Arrival) -> f64 {
    arrival.latency.saturating_sub(DELAY).as_secs_f64() * 1e3
}

/// Of the groups born between the times: how many came whole, how many there were, and how many frames are missing.
fn groups(arrivals: &[Arrival], format: Format, from: Duration, to: Duration) -> (usize, usize, usize) {
    let second = |time: Duration| u32::try_from(time.saturating_sub(START).as_secs()).unwrap_or(u32::MAX);
    let (first, end) = (second(from) + 1, second(to));
    let mut counts: BTreeMap<u32, u32> = (first..end).map(|group| (group, 0)).collect();
    for arrival in arrivals.iter().filter(|arrival| arrival.track == format.id) {
        if let Some(count) = counts.get_mut(&arrival.group) {
            *count += 1;
        }
    }
    let whole = counts.values().filter(|count| **count == format.frames_per_second).count();
    let missing = counts.values().map(|count| (format.frames_per_second - count) as usize).sum();
    (whole, counts.len(), missing)
}

/// Mbit/s between two times.
fn mbits(seen: &Seen, from: Duration, to: Duration) -> f64 {
    let bytes: usize = seen.bytes.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, len)| len).sum();
    bytes as f64 * 8e-6 / (to - from).as_secs_f64()
}

/// From the return of the rate to the first second from which on every frame came, and in time.
fn recovery(arrivals: &[Arrival], end: Duration) -> Option<Duration> {
    let frame = Duration::from_secs(1) / VIDEO.frames_per_second;
    let mut good: Vec<Duration> = arrivals
        .iter()
        .filter(|arrival| arrival.track == VIDEO.id && arrival.born >= RETURN && arrival.born < end)
        .filter(|arrival| added_ms(arrival) <= LATE_MS)
        .map(|arrival| arrival.born)
        .collect();
    good.sort_unstable();
    let last = *good.last()?;
    if end.saturating_sub(last) > frame * 2 {
        return None;
    }
    let start = good.windows(2).rev().find(|pair| pair[1] - pair[0] > frame * 3 / 2).map_or(good[0], |pair| pair[1]);
    Some(start.saturating_sub(RETURN))
}

/// Nearest rank.
pub(crate) fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() as f64 * percent / 100.0).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}
