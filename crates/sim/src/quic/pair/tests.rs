//! What the harness itself promises; what controllers do at it is told elsewhere.

use super::*;
use sluice_net::{Congestion, Reordering};
use sluice_netem::model::{Capacity, Loss, Queue, Rate, Ratio, Reorder, Span};

fn live() -> Load {
    Load::Frames { bytes: 10_000, every: Duration::from_millis(40), per_stream: 25 }
}

fn cubic() -> TransportProfile {
    TransportProfile { congestion: Congestion::Cubic, ..TransportProfile::trunk() }
}

/// 25 ms each way, and a rate in Mbit/s with a queue of 100 ms.
fn link(mbits: u64) -> [Direction; 2] {
    let queue = Queue::Time(Span::from_millis(100));
    let way = Direction::delayed(Span::from_millis(25)).with_bottleneck(Capacity::Rate(Rate::megabits(mbits)), queue);
    [way.clone(), way]
}

fn run(seed: u64, flows: Vec<Flow>) -> Pair {
    let mut pair = Pair::new(seed, link(20), flows).unwrap();
    pair.run_until(Duration::from_secs(3)).unwrap();
    pair
}

#[test]
fn frames_of_an_idle_link_take_its_delay() {
    let pair = run(1, vec![Flow::new(cubic(), live())]);
    assert_eq!(pair.failure(0), None);
    let frames = pair.frames(0);
    assert!(frames.len() > 70, "{}", frames.len());
    let mut late: Vec<Duration> = frames.iter().filter_map(Frame::latency).collect();
    late.sort_unstable();
    assert!(late.len() + 2 >= frames.len());
    // 25 ms, and 8 packets of 1,228 bytes at 20 Mbit/s.
    assert!(late[0] >= Duration::from_millis(29), "{:?}", late[0]);
    assert!(late[late.len() / 2] <= Duration::from_millis(33), "{:?}", late[late.len() / 2]);
}

#[test]
fn a_greedy_flow_fills_the_link_and_its_queue() {
    let pair = run(2, vec![Flow::new(cubic(), Load::Greedy)]);
    let bits = pair.received(0) * 8;
    assert!(bits > 40_000_000 && bits <= 60_000_000, "{bits} bits in 3 s of 20 Mbit/s");
    let longest = pair.samples().iter().map(|sample| sample.queue).max().unwrap();
    assert!(longest > Duration::from_millis(50) && longest <= Duration::from_millis(101), "{longest:?}");
}

#[test]
fn a_seed_replays_packet_for_packet() {
    let hash = |seed| {
        let flows = vec![Flow::new(cubic(), live()), Flow::new(cubic(), Load::Greedy).starting(Duration::from_secs(1))];
        run(seed, flows).trace_hash()
    };
    let first = hash(3);
    assert_eq!(first, hash(3));
    assert_eq!(first, hash(3));
    assert_ne!(first, hash(4));
}

/// A path of 9 to 101 ms that keeps its order, without loss and without a bottleneck, that is cut for 2 s: the burst
/// after it fills the window, and a controller that takes the jitter for a queue cuts that to its least and stays there.
#[test]
fn jitter_is_not_taken_for_a_queue() {
    let load = Load::Frames { bytes: 3_900, every: Duration::from_millis(53), per_stream: 7 };
    let flow = Flow { receiver: TransportProfile::client(), ..Flow::new(TransportProfile::viewer(), load) };
    let there = Direction::delayed(Span::from_millis(55)).with_jitter(Span::from_millis(46), Reorder::Keep);
    let mut pair = Pair::new(1, [there, Direction::delayed(Span::from_millis(14))], vec![flow]).unwrap();
    for (until, state) in [(10, State::Down), (12, State::Up), (40, State::Up)] {
        pair.run_until(Duration::from_secs(until)).unwrap();
        pair.set_state(state);
    }
    let healed = pair.frames(0).into_iter().filter(|frame| frame.due > Duration::from_secs(16));
    let mut late: Vec<Duration> = healed.filter_map(|frame| frame.latency()).collect();
    late.sort_unstable();
    let p99 = late[late.len() * 99 / 100];
    assert!(p99 < Duration::from_millis(300), "{p99:?}");
}

/// 40 s of 8 Mbit/s over a path: the 99th percentile of what frames take once it is known, and bytes offered to it.
fn live_over(path: Direction, reordering: Reordering) -> (Duration, u64) {
    let load = Load::Frames { bytes: 10_000, every: Duration::from_millis(10), per_stream: 100 };
    let flow = Flow::new(TransportProfile { reordering, ..TransportProfile::trunk() }, load);
    let back = Direction { loss: Loss::None, ..path.clone() };
    let mut pair = Pair::new(1, [path, back], vec![flow]).unwrap();
    pair.run_until(Duration::from_secs(40)).unwrap();
    let known = pair.frames(0).into_iter().filter(|frame| frame.due > Duration::from_secs(3));
    let mut late: Vec<Duration> = known.filter_map(|frame| frame.latency()).collect();
    late.sort_unstable();
    (late[late.len() * 99 / 100], pair.counters()[0].offered.bytes)
}

#[test]
fn a_loss_is_repaired_a_quarter_of_a_round_trip_sooner_where_nothing_is_reordered() {
    let path = Direction::delayed(Span::from_millis(25)).with_loss(Loss::Random(Ratio::percent(5)));
    let fixed = live_over(path.clone(), Reordering::Fixed);
    let measured = live_over(path, Reordering::Measured);
    // A repair and one that is lost as well: a quarter of 50 ms each.
    assert!(measured.0 + Duration::from_millis(20) < fixed.0, "{measured:?} instead of {fixed:?}");
    assert!(measured.1 < fixed.1 * 101 / 100, "{measured:?} instead of {fixed:?}");
}

#[test]
fn a_path_that_reorders_is_waited_for() {
    let path = Direction::delayed(Span::from_millis(40)).with_jitter(Span::from_millis(15), Reorder::Allow);
    let fixed = live_over(path.clone(), Reordering::Fixed);
    let measured = live_over(path, Reordering::Measured);
    assert!(measured.0 < fixed.0 + Duration::from_millis(5), "{measured:?} instead of {fixed:?}");
    assert!(measured.1 < fixed.1 * 105 / 100, "{measured:?} instead of {fixed:?}");
}
