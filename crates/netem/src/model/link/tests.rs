//! Links against closed forms.

use super::*;
use crate::model::{Bottleneck, Capacity, Change, Dropped, Queue, Rate, Ratio, Reorder, Span, Step, Tally, Trace, Way};
use crate::model::{GilbertElliott, Lanes, Loss, Sharing};
use proptest::prelude::*;
use std::sync::Arc;

const KEY: Key = Key::new(7, 0, Way::Forward);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn span(millis: u64) -> Span {
    Span::from_millis(millis)
}

/// Offers packets of `bytes` every `gap` and gives when each arrives.
fn arrivals(link: &mut Link, packets: u32, gap: Duration, bytes: usize) -> Vec<Option<Duration>> {
    (0..packets)
        .map(|packet| match link.offer(gap * packet, bytes) {
            Verdict::Deliver { at, .. } => Some(at),
            Verdict::Drop(_) => None,
        })
        .collect()
}

fn at_rate(megabits: u64, queue: Queue) -> Direction {
    Direction::default().with_bottleneck(Capacity::Rate(Rate::megabits(megabits)), queue)
}

fn by_trace(text: &str, queue: Queue) -> Direction {
    let trace = Arc::new(Trace::parse(text).unwrap());
    Direction { bottleneck: Some(Bottleneck { capacity: Capacity::Trace(trace), queue }), ..Direction::default() }
}

fn down(link: &mut Link, at: u64) {
    link.set_state(ms(at), State::Down);
}

fn up(link: &mut Link, at: u64) {
    link.set_state(ms(at), State::Up);
}

fn token(verdict: Verdict) -> (Duration, Token) {
    match verdict {
        Verdict::Deliver { at, token, .. } => (at, token),
        Verdict::Drop(reason) => panic!("dropped: {reason:?}"),
    }
}

#[test]
fn a_perfect_wire_takes_no_time() {
    let mut link = Link::new(KEY, Direction::default());
    let came = arrivals(&mut link, 100, ms(1), 1200);
    assert!(came.iter().enumerate().all(|(packet, at)| *at == Some(ms(packet as u64))));
    assert_eq!(link.counters().offered, Tally { packets: 100, bytes: 120_000 });
    assert_eq!(link.counters().in_flight(), 100);
}

#[test]
fn the_rate_is_kept_within_a_thousandth() {
    for megabits in [1, 4, 50, 500, 1_000] {
        let mut link = Link::new(KEY, at_rate(megabits, Queue::Bytes(250_000)));
        // Twice what fits, for half a second of it.
        let rate = Rate::megabits(megabits);
        let packets = u32::try_from(rate.bits() / 8 / 1200).unwrap().max(200);
        let came: Vec<_> = arrivals(&mut link, packets, rate.time_of(600), 1200).into_iter().flatten().collect();
        let span = came.last().unwrap().saturating_sub(came[0]).as_secs_f64();
        let measured = (came.len() - 1) as f64 * 1200.0 * 8.0 / span;
        assert!((measured / rate.bits() as f64 - 1.0).abs() < 0.001, "{megabits} Mbit/s: {measured}");
    }
}

#[test]
fn the_queue_stands_at_its_limit() {
    // 250 kB at 50 Mbit/s are 40 ms; in milliseconds the same.
    for queue in [Queue::Bytes(250_000), Queue::Time(span(40))] {
        let mut link = Link::new(KEY, at_rate(50, queue));
        let gap = Rate::megabits(60).time_of(1200);
        let waits: Vec<_> = (0..60_000_u32)
            .filter_map(|packet| match link.offer(gap * packet, 1200) {
                Verdict::Deliver { queued, .. } => Some(queued),
                Verdict::Drop(reason) => {
                    assert_eq!(reason, Reason::Queue);
                    None
                }
            })
            .collect();
        let standing = waits[waits.len() / 2..].iter().sum::<Duration>() / u32::try_from(waits.len() / 2).unwrap();
        assert!(standing > Duration::from_micros(39_500) && standing <= ms(40), "{queue}: {standing:?}");
        let share = link.counters().dropped.queue as f64 / 60_000.0;
        assert!((share - 1.0 / 6.0).abs() < 0.01, "a sixth is too much: {share}");
    }
}

#[test]
fn a_queue_below_one_packet_still_sends() {
    let mut link = Link::new(KEY, at_rate(1, Queue::Bytes(0)));
    let came = arrivals(&mut link, 100, Rate::megabits(1).time_of(600), 1200);
    assert_eq!(came.iter().flatten().count(), 50, "one on the wire, none waiting");
}

#[test]
fn jitter_stays_within_its_bounds() {
    let config = Direction::delayed(span(50)).with_jitter(span(10), Reorder::Allow);
    let mut link = Link::new(KEY, config);
    let came = arrivals(&mut link, 50_000, ms(1), 200);
    let mut delays: Vec<_> =
        came.iter().flatten().enumerate().map(|(packet, at)| (*at - ms(packet as u64)).as_secs_f64() * 1e3).collect();
    delays.sort_by(f64::total_cmp);
    let quantile = |percent: usize| delays[(delays.len() - 1) * percent / 100];
    assert!(quantile(0) >= 40.0 && quantile(100) <= 60.0);
    for (percent, expected) in [(1, 40.2), (50, 50.0), (99, 59.8)] {
        assert!((quantile(percent) - expected).abs() < 0.2, "p{percent} is {}", quantile(percent));
    }
    let flat: Vec<_> = came.into_iter().flatten().collect();
    let overtaken = flat.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64 / flat.len() as f64;
    // Two uniform numbers 20 ms wide, 1 ms apart: the second is smaller by more than that in (19/20)^2 / 2 of cases.
    assert!((overtaken - 0.95 * 0.95 / 2.0).abs() < 0.01, "{overtaken}");
}

#[test]
fn kept_order_stays_within_the_same_bounds() {
    let config = Direction::delayed(span(50)).with_jitter(span(10), Reorder::Keep);
    let mut link = Link::new(KEY, config);
    let came: Vec<_> = arrivals(&mut link, 20_000, ms(1), 200).into_iter().flatten().collect();
    assert!(came.is_sorted());
    for (packet, at) in came.iter().enumerate() {
        let delay = *at - ms(packet as u64);
        assert!(delay >= ms(40) && delay <= ms(60), "{delay:?}");
    }
}

#[test]
fn jitter_larger_than_the_delay_never_arrives_before_it_left() {
    let config = Direction::delayed(span(1)).with_jitter(span(10), Reorder::Allow);
    let came = arrivals(&mut Link::new(KEY, config), 1000, ms(1), 200);
    assert!(came.iter().flatten().enumerate().all(|(packet, at)| *at >= ms(packet as u64)));
}

#[test]
fn duplicates_are_as_told() {
    let config = Direction { duplicate: Ratio::percent(10), ..Direction::delayed(span(5)) };
    let mut link = Link::new(KEY, config.with_jitter(span(2), Reorder::Allow));
    for packet in 0..10_000 {
        if let Verdict::Deliver { at, copy: Some(copy), .. } = link.offer(ms(packet), 100) {
            assert!(copy >= at && copy - at <= ms(4));
        }
    }
    // 3 sigma of 10,000 packets at 10 %.
    assert!(link.counters().copies.abs_diff(1_000) < 90, "{}", link.counters().copies);
}

#[test]
fn what_is_too_large_is_dropped() {
    let mut link = Link::new(KEY, Direction { mtu: Some(1350), ..Direction::default() });
    assert!(matches!(link.offer(ms(0), 1350), Verdict::Deliver { .. }));
    assert_eq!(link.offer(ms(0), 1351), Verdict::Drop(Reason::Mtu));
    assert_eq!(link.offer(ms(0), usize::MAX), Verdict::Drop(Reason::Mtu));
}

#[test]
fn a_cut_takes_what_is_under_way() {
    let mut link = Link::new(KEY, Direction::delayed(span(10)));
    let packets: Vec<_> = [0, 5, 10].map(|at| token(link.offer(ms(at), 100))).into();
    assert!(link.arrives(packets[0].0, packets[0].1));
    down(&mut link, 15);
    assert!(link.arrives(packets[1].0, packets[1].1), "due when the cut came, asked late");
    assert!(!link.arrives(packets[2].0, packets[2].1));
    assert_eq!(link.offer(ms(16), 100), Verdict::Drop(Reason::Down));
    down(&mut link, 17);
    up(&mut link, 20);
    let (at, survivor) = token(link.offer(ms(20), 100));
    assert_eq!(at, ms(30));
    assert!(link.arrives(at, survivor));
    let dropped = Dropped { down: 1, cut: 1, ..Dropped::default() };
    assert_eq!((link.counters().dropped, link.counters().in_flight()), (dropped, 0));
}

#[test]
fn a_cut_empties_the_queue() {
    let mut link = Link::new(KEY, at_rate(1, Queue::Time(span(1_000))));
    arrivals(&mut link, 100, Duration::ZERO, 1250);
    assert_eq!(link.backlog(ms(0)), ms(1_000));
    down(&mut link, 100);
    up(&mut link, 200);
    assert_eq!(token(link.offer(ms(200), 1250)).0, ms(210));
}

#[test]
fn conditions_change_for_what_comes_later() {
    let mut link = Link::new(KEY, Direction::delayed(span(50)));
    assert_eq!(token(link.offer(ms(0), 100)).0, ms(50));
    link.set(ms(1), Direction::delayed(span(5)));
    assert_eq!(token(link.offer(ms(1), 100)).0, ms(50), "order is kept");
    link.set(ms(2), Direction::delayed(span(5)).with_jitter(Span::ZERO, Reorder::Allow));
    assert_eq!(token(link.offer(ms(2), 100)).0, ms(7), "or not");
}

#[test]
fn a_new_rate_holds_behind_what_waits() {
    let mut link = Link::new(KEY, at_rate(10, Queue::Bytes(1 << 20)));
    arrivals(&mut link, 10, Duration::ZERO, 1250);
    link.set(ms(1), at_rate(1, Queue::Bytes(1 << 20)));
    assert_eq!(token(link.offer(ms(1), 1250)).0, ms(10 + 10));
}

#[test]
fn a_program_changes_conditions_by_itself() {
    let step = |at, change| Step { at: span(at), change };
    let program = Program::repeated(
        vec![
            step(0, Change::Set(Direction::delayed(span(10)))),
            step(50, Change::State(State::Down)),
            step(60, Change::State(State::Up)),
            step(60, Change::Set(Direction::delayed(span(20)))),
        ],
        span(100),
    );
    let mut link = Link::new(KEY, Direction::default());
    link.run_program(ms(0), program);
    let delay = |link: &mut Link, at| match link.offer(ms(at), 100) {
        Verdict::Deliver { at: due, .. } => Ok((due - ms(at)).as_millis()),
        Verdict::Drop(reason) => Err(reason),
    };
    let delays = [0, 49, 50, 60, 99, 110, 155].map(|at| delay(&mut link, at));
    assert_eq!(delays, [Ok(10), Ok(10), Err(Reason::Down), Ok(20), Ok(20), Ok(10), Err(Reason::Down)]);
    // Nothing but the packet's own arrival tells the link that the cut at 250 ms has come.
    let (due, lost) = token(link.offer(ms(245), 100));
    assert!(!link.arrives(due, lost));
    link.set(ms(300), Direction::delayed(span(1)));
    assert_eq!(delay(&mut link, 355), Ok(1), "set ends the program");
}

#[test]
fn a_trace_is_followed() {
    // 1500 bytes each millisecond for 10 ms, then nothing for 90 ms: 1.2 Mbit/s.
    let text: String = (1..=10).map(|at| format!("{at}\n")).chain(["100\n".to_owned()]).collect();
    let mut link = Link::new(KEY, by_trace(&text, Queue::Bytes(1 << 20)));
    let came: Vec<_> = (0..12).map(|_| token(link.offer(ms(0), 1500)).0.as_millis()).collect();
    assert_eq!(came, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100, 101]);
    assert_eq!(token(link.offer(ms(150), 1500)).0, ms(200), "unused chances are gone");
    // Three packets of 500 bytes share a chance.
    let small = [203; 4].map(|at| token(link.offer(ms(at), 500)).0.as_millis());
    assert_eq!(small, [203, 203, 203, 204]);
}

#[test]
fn a_trace_delivers_its_mean_rate() {
    for (gap, expected) in [(3, 4e6), (12, 1e6)] {
        let text: String = (1..=500).map(|line| format!("{}\n", line * gap)).collect();
        let mut link = Link::new(KEY, by_trace(&text, Queue::Bytes(30_000)));
        // Packets that do not divide 1500 bytes, offered at 12 Mbit/s for 20 s.
        let came: Vec<_> = arrivals(&mut link, 20_000, ms(1), 1200).into_iter().flatten().collect();
        let rate = came.len() as f64 * 1200.0 * 8.0 / came.last().unwrap().as_secs_f64();
        assert!((rate / expected - 1.0).abs() < 0.01, "{rate} is not {expected}");
    }
}

#[test]
fn the_queue_before_a_trace_is_counted_in_bytes() {
    let text: String = (1..=100).map(|at| format!("{}\n", at * 10)).collect();
    for queue in [Queue::Bytes(15_000), Queue::Time(span(100))] {
        let mut link = Link::new(KEY, by_trace(&text, queue));
        let came = arrivals(&mut link, 100, Duration::ZERO, 1500);
        assert_eq!(came.iter().flatten().count(), 10, "{queue}");
        assert_eq!(came[9], Some(ms(100)));
    }
}

#[test]
fn a_trace_goes_on_when_something_else_changes() {
    let config = by_trace("10\n100\n", Queue::Bytes(1 << 20));
    let mut link = Link::new(KEY, config.clone());
    assert_eq!(token(link.offer(ms(0), 1500)).0, ms(10));
    link.set(ms(50), Direction { delay: span(5), ..config });
    assert_eq!(token(link.offer(ms(50), 1500)).0, ms(105));
    link.set(ms(120), by_trace("7\n100\n", Queue::Bytes(1 << 20)));
    assert_eq!(token(link.offer(ms(120), 1500)).0, ms(127), "another trace starts when it is set");
}

#[test]
fn a_trace_begins_behind_what_waits() {
    let mut link = Link::new(KEY, at_rate(1, Queue::Bytes(1 << 20)));
    arrivals(&mut link, 5, Duration::ZERO, 1250);
    link.set(ms(10), by_trace("1\n2\n3\n", Queue::Bytes(1 << 20)));
    assert_eq!(token(link.offer(ms(10), 1500)).0, ms(50), "40 ms were still waiting");
}

#[test]
fn other_traffic_changes_nothing() {
    let loss = Loss::GilbertElliott(GilbertElliott::bursts(Ratio::percent(2), Ratio::percent(30)));
    let config = Direction { duplicate: Ratio::percent(2), ..Direction::delayed(span(20)) }
        .with_loss(loss)
        .with_jitter(span(5), Reorder::Allow);
    let link = |number, seed| Link::new(Key::new(seed, number, Way::Forward), config.clone());
    let verdicts = |link: &mut Link, other: Option<&mut Link>| -> Vec<Verdict> {
        let mut other = other;
        (0..5_000)
            .map(|packet| {
                if let Some(other) = other.as_mut().filter(|_| packet % 3 == 0) {
                    other.offer(ms(packet), 77);
                }
                link.offer(ms(packet), 1200)
            })
            .collect()
    };
    let alone = verdicts(&mut link(4, 7), None);
    assert_eq!(alone, verdicts(&mut link(4, 7), Some(&mut link(5, 7))));
    assert_ne!(alone, verdicts(&mut link(4, 8), None), "another seed, other choices");
    assert_ne!(alone, verdicts(&mut link(5, 7), None), "another link, other choices");
}

#[test]
fn impairments_choose_independently() {
    let plain = Direction::delayed(span(20)).with_jitter(span(5), Reorder::Allow);
    let lossy = plain.clone().with_loss(Loss::Random(Ratio::percent(10)));
    let all = arrivals(&mut Link::new(KEY, plain), 2_000, ms(1), 100);
    let some = arrivals(&mut Link::new(KEY, lossy), 2_000, ms(1), 100);
    assert!(all.iter().zip(&some).all(|(with, without)| without.is_none() || with == without));
}

/// Conditions of every kind.
fn conditions() -> impl Strategy<Value = Direction> {
    let capacity = prop_oneof![
        Just(None),
        (1_u64..100).prop_map(|mbit| Some(Capacity::Rate(Rate::megabits(mbit)))),
        prop::collection::vec(0_u32..50, 1..20).prop_map(|gaps| {
            let mut at = 0;
            let lines: String = gaps
                .iter()
                .map(|gap| {
                    at += gap;
                    format!("{at}\n")
                })
                .collect();
            Trace::parse(&format!("{lines}{}\n", at + 1)).ok().map(|trace| Capacity::Trace(Arc::new(trace)))
        }),
    ];
    let queue = prop_oneof![(0_u64..100_000).prop_map(Queue::Bytes), (0_u64..300).prop_map(|ms| Queue::Time(span(ms)))];
    let reorder = prop_oneof![Just(Reorder::Keep), Just(Reorder::Allow)];
    (0_u64..200, 0_u64..50, reorder, capacity, queue, 0_u8..50).prop_map(
        |(delay, spread, reorder, capacity, queue, share)| Direction {
            duplicate: Ratio::percent(share),
            bottleneck: capacity.map(|capacity| Bottleneck { capacity, queue }),
            ..Direction::delayed(span(delay))
                .with_jitter(span(spread), reorder)
                .with_loss(Loss::Random(Ratio::percent(share)))
        },
    )
}

proptest! {
    #[test]
    fn everything_is_accounted_for(
        first in conditions(),
        second in conditions(),
        gaps in prop::collection::vec((0_u64..20, 1_usize..2_000), 1..200),
        cut in 0_u64..2_000,
    ) {
        let mut link = Link::new(KEY, first);
        let (mut now, mut under_way) = (Duration::ZERO, Vec::new());
        for (number, (gap, bytes)) in gaps.iter().enumerate() {
            let before = now;
            now += ms(*gap);
            if (before..now).contains(&ms(cut)) {
                down(&mut link, cut);
                up(&mut link, cut);
            }
            if number == gaps.len() / 2 {
                link.set(now, second.clone());
            }
            if let Verdict::Deliver { at, copy, token, .. } = link.offer(now, *bytes) {
                prop_assert!(at >= now && copy.is_none_or(|copy| copy >= at));
                under_way.extend([Some(at), copy].into_iter().flatten().map(|due| (due, token)));
            }
        }
        prop_assert_eq!(link.counters().in_flight(), under_way.len() as u64);
        under_way.sort_by_key(|(due, _)| *due);
        for (due, token) in under_way {
            link.arrives(due, token);
        }
        let counters = link.counters();
        prop_assert_eq!(counters.in_flight(), 0);
        prop_assert_eq!(counters.offered.packets + counters.copies, counters.delivered.packets + counters.dropped.total());
    }
}

/// 1 Mbit/s, other conditions at 100 ms, and no bottleneck from 200 ms on.
fn changing(then: Direction) -> Link {
    let mut link = Link::new(KEY, at_rate(1, Queue::Time(span(500))));
    let step = |at, config| Step { at: span(at), change: Change::Set(config) };
    let cut = Step { at: span(90), change: Change::State(State::Up) };
    let steps = vec![cut, step(100, then), step(200, Direction::default())];
    link.run_program(Duration::ZERO, Program::once(steps));
    link
}

#[test]
fn what_waits_follows_changes_that_are_known_beforehand() {
    let kilobits = |bits: &str| {
        let capacity = Capacity::Rate(format!("{bits}k").parse().unwrap());
        Direction::default().with_bottleneck(capacity, Queue::Time(span(500)))
    };
    // Of the second packet 5,000 bytes have left at 100 ms, and 1,250 are left.
    let cases = [
        (kilobits("10000"), 101),
        (kilobits("2000"), 105),
        (kilobits("1000"), 110),
        (kilobits("100"), 200),
        (Direction::default(), 100),
        (by_trace("1\n", Queue::Bytes(1)), 110),
    ];
    for (then, last) in cases {
        let mut link = changing(then.clone());
        assert_eq!(token(link.offer(Duration::ZERO, 6_250)).0, ms(50));
        assert_eq!(token(link.offer(ms(60), 6_250)).0, ms(last), "{then:?}");
        assert_eq!(token(link.offer(ms(250), 6_250)).0, ms(250), "it has gone by");
    }
}

#[test]
fn the_queue_is_counted_in_bytes_whatever_the_rate_will_be() {
    // 500 ms of 1 Mbit/s are 62,500 bytes.
    for (megabits, bytes, fits) in [(1, 50_000, true), (1, 50_001, false), (10, 50_000, true), (10, 50_001, false)] {
        let mut link = changing(at_rate(megabits, Queue::Time(span(500))));
        assert_eq!(token(link.offer(ms(10), 12_500)).0, ms(if megabits == 1 { 110 } else { 101 }));
        let came = matches!(link.offer(ms(10), bytes), Verdict::Deliver { .. });
        assert_eq!(came, fits, "{bytes} bytes more");
    }
}

#[test]
fn a_program_may_have_begun_before() {
    let steps = vec![Step { at: span(100), change: Change::Set(at_rate(1, Queue::default())) }];
    let mut lanes = Lanes::new(KEY, at_rate(10, Queue::default()), Sharing::All);
    lanes.run_program(ms(50), &Program::once(steps), Duration::ZERO);
    let mut leaves = |at| lanes.offer(ms(at), &[], 1_250).map(|delivery| delivery.at);
    assert_eq!([leaves(98), leaves(100)], [Some(ms(99)), Some(ms(110))]);
}

#[test]
fn listed_packets_are_lost_and_no_others() {
    let drop = "2-3,5".parse().unwrap();
    let mut link = Link::new(KEY, Direction { drop, ..Direction::default() });
    let lost: Vec<bool> =
        (0..6).map(|_| matches!(link.offer(Duration::ZERO, 1200), Verdict::Drop(Reason::Loss))).collect();
    assert_eq!(lost, [false, true, true, false, true, false]);
}
