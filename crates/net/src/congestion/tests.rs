//! The controller on a path of virtual time: one queue, tail drop, every n-th packet lost behind it.

use super::live::Live;
use super::round::{Ack, Demand};
use crate::clock::{Clock as _, SystemClock};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MTU: u64 = 1200;
const MS: Duration = Duration::from_millis(1);
const RTT: Duration = Duration::from_millis(50);

/// What happens at an instant of the path.
enum Event {
    Ack { sent: Duration },
    Lost { sent: Duration },
    Frame,
}

struct Path {
    epoch: Instant,
    live: Live,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    number: u64,
    /// Bytes per second.
    rate: u64,
    /// When the queue is empty again.
    busy: Duration,
    /// Longest queue.
    limit: Duration,
    lose_every: u64,
    /// Waits that someone else's traffic adds.
    foreign: Duration,
    in_flight: u64,
    /// To be sent; `u64::MAX`: greedy.
    backlog: u64,
    next_send: Duration,
    delivered: u64,
    lost: u64,
    /// Longest wait since the last look.
    worst: Duration,
}

impl Path {
    fn new(rate: u64) -> Self {
        let epoch = SystemClock.now();
        Self {
            epoch,
            live: Live::new(epoch, MTU, STREAM),
            now: Duration::ZERO,
            events: BTreeMap::new(),
            number: 0,
            rate,
            busy: Duration::ZERO,
            limit: Duration::from_millis(100),
            lose_every: u64::MAX,
            foreign: Duration::ZERO,
            in_flight: 0,
            backlog: 0,
            next_send: Duration::ZERO,
            delivered: 0,
            lost: 0,
            worst: Duration::ZERO,
        }
    }

    fn greedy(rate: u64) -> Self {
        Self { backlog: u64::MAX, ..Self::new(rate) }
    }

    /// 8 Mbit/s in 25 frames per second.
    fn media(rate: u64) -> Self {
        let mut path = Self::new(rate);
        path.at(Duration::ZERO, Event::Frame);
        path
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    fn send(&mut self) {
        let window = self.live.window();
        while self.backlog > 0 && self.in_flight + MTU <= window && self.next_send <= self.now {
            let gap = RTT.mul_f64(MTU as f64 / window as f64 / 1.25);
            self.next_send = self.next_send.max(self.now.saturating_sub(2 * MS)) + gap;
            if self.backlog != u64::MAX {
                self.backlog = self.backlog.saturating_sub(MTU);
            }
            self.in_flight += MTU;
            let wait = self.busy.saturating_sub(self.now);
            let (sent, number) = (self.now, self.number);
            if wait > self.limit || number.is_multiple_of(self.lose_every) {
                self.at(sent + RTT * 9 / 8 + wait, Event::Lost { sent });
            } else {
                self.worst = self.worst.max(wait);
                self.busy = self.now + wait + Duration::from_nanos(MTU * 1_000_000_000 / self.rate);
                self.at(self.busy + RTT + self.foreign, Event::Ack { sent });
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.send();
            let next = self.events.first_key_value().map(|(key, _)| key.0);
            let may_send = self.backlog > 0 && self.in_flight + MTU <= self.live.window();
            let wake = next.into_iter().chain(may_send.then_some(self.next_send)).min();
            let Some(at) = wake.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            if next == Some(at)
                && let Some((_, event)) = self.events.pop_first()
            {
                self.happen(&event);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Ack { sent } => {
                self.in_flight -= MTU;
                self.delivered += MTU;
                let (now, sent) = (self.epoch + self.now, self.epoch + *sent);
                let demand = if self.backlog > 0 { Demand::More } else { Demand::Met };
                self.live.on_ack(&Ack { now, sent, bytes: MTU, demand, smoothed: now - sent });
                self.live.end_batch(now, self.in_flight);
            }
            Event::Lost { sent } => {
                self.in_flight -= MTU;
                self.lost += MTU;
                self.backlog = self.backlog.saturating_add(MTU);
                self.live.on_lost(self.epoch + *sent, MTU);
            }
            Event::Frame => {
                self.backlog += 40_000;
                self.at(self.now + 40 * MS, Event::Frame);
            }
        }
    }

    /// Bytes per second over `time`.
    fn throughput(&mut self, time: Duration) -> u64 {
        let before = self.delivered;
        self.run(time);
        (self.delivered - before) * 1000 / u64::try_from(time.as_millis()).expect("short")
    }
}

const SECOND: Duration = Duration::from_secs(1);
const FAST: u64 = 6_250_000;
/// 4 Mbit/s.
const STREAM: u64 = 500_000;

#[test]
fn a_greedy_flow_fills_the_path_and_not_the_queue() {
    let mut path = Path::greedy(FAST);
    path.run(2 * SECOND);
    path.worst = Duration::ZERO;
    let rate = path.throughput(10 * SECOND);
    assert!(rate > FAST * 9 / 10, "{rate} of {FAST}");
    assert!(path.worst < 60 * MS, "{:?}", path.worst);
}

#[test]
fn random_loss_of_a_fifth_leaves_the_flow_most_of_the_path() {
    let mut path = Path::greedy(FAST);
    path.lose_every = 5;
    path.run(3 * SECOND);
    let rate = path.throughput(10 * SECOND);
    assert!(rate > FAST / 2, "{rate} of {FAST}");
}

#[test]
fn an_application_limited_flow_keeps_its_window_while_it_says_nothing() {
    let mut path = Path::media(FAST);
    path.run(10 * SECOND);
    let window = path.live.window();
    assert!(window >= 80_000, "room for a frame and more: {window}");
    path.events.clear();
    path.in_flight = 0;
    path.now += 20 * SECOND;
    path.at(path.now, Event::Frame);
    path.run(2 * SECOND);
    assert!(path.live.window() >= window);
}

#[test]
fn when_the_rate_falls_below_the_source_the_queue_is_short_within_two_seconds() {
    let mut path = Path::media(FAST);
    path.limit = SECOND;
    path.run(5 * SECOND);
    path.rate = 750_000;
    path.run(2 * SECOND);
    path.worst = Duration::ZERO;
    let rate = path.throughput(8 * SECOND);
    assert!(path.worst < 150 * MS, "{:?}", path.worst);
    assert!(rate > 750_000 * 85 / 100, "{rate}");
    path.backlog = 0;
    path.rate = FAST;
    path.run(2 * SECOND);
    assert!(path.backlog <= 40_000, "a frame at most waits: {}", path.backlog);
}

/// The least window makes a queue of its own there, which no cut ends and which is nobody else's.
#[test]
fn a_path_of_a_dozen_packets_a_second_is_filled_and_not_flooded() {
    let mut path = Path::greedy(15_000);
    path.limit = 500 * MS;
    path.run(10 * SECOND);
    path.lost = 0;
    let rate = path.throughput(60 * SECOND);
    assert!(rate > 15_000 * 85 / 100, "{rate}");
    assert!(path.lost < 60 * 15_000 / 20, "{} of {}", path.lost, 60 * 15_000);
}

/// A handshake's packets take so long there that the path looks like one round the world, whose first window is large.
#[test]
fn a_narrow_path_is_flooded_by_the_first_burst_only() {
    let mut path = Path::new(15_000);
    path.limit = 500 * MS;
    let (now, rtt) = (path.epoch, 185 * MS);
    path.live.on_ack(&Ack { now: now + rtt, sent: now, bytes: MTU, demand: Demand::Met, smoothed: rtt });
    path.live.end_batch(now + rtt, 2 * MTU);
    path.now = rtt;
    assert!(path.live.window() > 64 * MTU, "{}", path.live.window());
    for _ in 0..4 {
        // A second of 200 kbit/s, in place of what is left of the one before.
        path.backlog = 25_000;
        path.run(SECOND);
    }
    assert!(path.lost < 20_000, "{}", path.lost);
    assert!(path.delivered > 4 * 15_000 * 85 / 100, "{}", path.delivered);
}

#[test]
fn a_queue_that_is_not_ours_costs_no_window() {
    let mut path = Path::media(FAST);
    path.run(5 * SECOND);
    path.foreign = 80 * MS;
    path.run(3 * SECOND);
    let rate = path.throughput(4 * SECOND);
    assert!((950_000..=1_050_000).contains(&rate), "{rate}");
    assert!(path.backlog < 80_000, "{}", path.backlog);
}

#[test]
fn marks_and_gross_loss_lower_the_window_and_a_blackout_starts_anew() {
    let mut path = Path::media(FAST);
    path.run(5 * SECOND);
    let window = path.live.window();
    path.live.on_mark();
    path.run(200 * MS);
    assert!(path.live.window() < window, "{window}");
    path.live.on_blackout(path.epoch + path.now);
    assert_eq!(path.live.window(), 32 * MTU);
}

#[test]
fn the_first_window_is_a_rate_on_long_paths() {
    let epoch = SystemClock.now();
    let first = |rtt: Duration| {
        let mut live = Live::new(epoch, MTU, STREAM);
        live.on_ack(&Ack { now: epoch + rtt, sent: epoch, bytes: MTU, demand: Demand::Met, smoothed: rtt });
        live.window()
    };
    assert_eq!(first(50 * MS), 32 * MTU);
    // 4 Mbit/s for 1.2 s.
    assert_eq!(first(1200 * MS), 600_000);
    assert_eq!(first(60 * SECOND), 4096 * MTU);
}

#[test]
fn what_was_sent_before_a_reduction_lowers_nothing_again() {
    let mut path = Path::media(FAST);
    path.run(5 * SECOND);
    let sent = path.epoch + path.now;
    path.live.on_mark();
    path.run(100 * MS);
    let window = path.live.window();
    // Half of a second's packets.
    path.live.on_lost(sent, 500_000);
    path.run(200 * MS);
    assert!(path.live.window() >= window, "{} after {window}", path.live.window());
    let window = path.live.window();
    path.live.on_lost(path.epoch + path.now, 500_000);
    path.run(100 * MS);
    assert!(path.live.window() < window);
}

/// On 10 kbit/s a packet takes 0.7 s; then the path is wide, and the smoothed round trip takes dozens of samples to say so.
#[test]
fn where_a_path_was_freed_the_pacer_sees_a_window_that_makes_up_for_what_it_remembers() {
    let epoch = SystemClock.now();
    let mut live = Live::new(epoch, MTU, STREAM);
    let mut now = epoch + RTT;
    let ack = |live: &mut Live, now: Instant, rtt: Duration, packets: u64| {
        for _ in 0..packets {
            live.on_ack(&Ack { now, sent: now - rtt, bytes: MTU, demand: Demand::More, smoothed: 700 * MS });
        }
        live.end_batch(now, 40 * MTU);
    };
    ack(&mut live, now, RTT, 1);
    for _ in 0..40 {
        now += 700 * MS;
        // The queue overflows, or its wait would be taken for somebody else's.
        live.on_lost(now - MS, 4 * MTU);
        ack(&mut live, now, 700 * MS, 1);
    }
    let narrow = live.window();
    assert!(narrow <= 8 * MTU, "{narrow}");
    now += 10 * MS;
    ack(&mut live, now, 10 * MS, 4);
    // What is paced over 0.7 s has to go out in 50 ms.
    assert!(live.window() >= narrow * 10, "{} after {narrow}", live.window());
    // As soon as the pacer knows, there is no more in flight than before.
    now += 10 * MS;
    live.on_ack(&Ack { now, sent: now - 10 * MS, bytes: MTU, demand: Demand::Met, smoothed: 20 * MS });
    live.end_batch(now, 0);
    assert!(live.window() <= narrow * 4, "{} after {narrow}", live.window());
}
