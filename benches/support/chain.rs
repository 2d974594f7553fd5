//! Which chains of relays run, and the lines that come out: what one relay more adds.

use crate::support::measure::{self, Outcome, Timing, median};
use crate::support::progress::{outcome, progress};
use crate::support::protocol::{AckMode, Case, Join, Link, Quantiles, Run, Shape, Traffic};
use crate::support::report;
use serde::Serialize;
use std::collections::BTreeMap;

/// Connections open and MTU discovery is done by then.
const WARM_UP_SECONDS: u32 = 2;

/// Measures what a relay more adds: latency, join time, and what its trunk carries.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Relays between publisher and viewers, 1 to 3
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    relays: Vec<u8>,
    /// Viewers at the last relay
    #[arg(long, default_value_t = 200)]
    viewers: usize,
    /// Bit rate per viewer
    #[arg(long, default_value_t = 4)]
    mbit: u32,
    /// Milliseconds over which the publisher spreads a frame
    #[arg(long, default_value_t = 30)]
    spread: u32,
    /// Window of one run
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Interleaved rounds through all chains; figures are medians
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// A child's role
    #[arg(long, hide = true)]
    pub(crate) child: Option<String>,
    /// What `cargo bench` adds to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// One length of chain; medians over the rounds.
#[derive(Debug, Serialize)]
struct HopsLine {
    case: &'static str,
    relays: u8,
    viewers: usize,
    #[serde(flatten)]
    latency: Latency,
    #[serde(flatten)]
    join: Warm,
    links: Vec<LinkLine>,
    delivered_ratio: f64,
    /// Delivery, latency and the load side's spare time are such that the latencies count.
    counts: bool,
}

/// From when a frame was due to when a viewer had it.
#[derive(Debug, Serialize)]
struct Latency {
    /// Part of it that is the source's own.
    source_spread_ms: u32,
    latency_p50_ms: f64,
    latency_p99_ms: f64,
    /// Beyond the chain with a relay less; null where the plan left that out.
    added_p50_ms: Option<f64>,
    added_p99_ms: Option<f64>,
}

/// Joins of a track that flows.
#[derive(Debug, Serialize)]
struct Warm {
    /// From SUBSCRIBE to the first bytes of an object.
    join_p50_ms: f64,
    join_p99_ms: f64,
    /// The round trip to the relay as the viewers' QUIC has it then.
    rtt_p50_ms: f64,
}

/// What left on one trunk in the window.
#[derive(Debug, Serialize)]
struct LinkLine {
    link: String,
    /// Media bytes first sent per media byte of the tracks that it carries.
    copies: f64,
    /// UDP payload bytes per media byte.
    wire_overhead: f64,
}

/// Runs the plan and prints its lines.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let timing = Timing { warm_up: WARM_UP_SECONDS, window: args.seconds };
    let mut results: BTreeMap<u8, Vec<Outcome>> = BTreeMap::new();
    for repeat in 1..=args.repeats {
        for &relays in &args.relays {
            progress(&format!("{repeat}/{} chain of {relays}, {} viewers", args.repeats, args.viewers));
            let seen = measure::run(chain(args, relays), timing)?;
            outcome(&seen);
            results.entry(relays).or_default().push(seen);
        }
    }
    for (&relays, outcomes) in &results {
        let shorter = relays.checked_sub(1).and_then(|shorter| results.get(&shorter));
        report::line(&line(chain(args, relays), outcomes, shorter))?;
    }
    Ok(())
}

const fn chain(args: &Args, relays: u8) -> Run {
    Run {
        case: Case::Daemon,
        viewers: args.viewers,
        ack_mode: AckMode::Frame,
        traffic: Traffic::Active,
        megabits: args.mbit,
        spread_ms: args.spread,
        shape: Shape { relays, ..Shape::PLAIN },
        join: Join::Warm,
    }
}

fn line(run: Run, outcomes: &[Outcome], shorter: Option<&Vec<Outcome>>) -> HopsLine {
    let of =
        |outcomes: &[Outcome], figure: fn(&Outcome) -> f64| median(outcomes.iter().map(figure)).unwrap_or(f64::NAN);
    let added = |figure: fn(&Outcome) -> f64| shorter.map(|shorter| of(outcomes, figure) - of(shorter, figure));
    let (p50, p99): (fn(&Outcome) -> f64, fn(&Outcome) -> f64) =
        (|outcome| outcome.load.latency_p50_ms, |outcome| outcome.load.latency_p99_ms);
    HopsLine {
        case: "hops",
        relays: run.shape.relays,
        viewers: run.viewers,
        latency: Latency {
            source_spread_ms: run.spread_ms,
            latency_p50_ms: of(outcomes, p50),
            latency_p99_ms: of(outcomes, p99),
            added_p50_ms: added(p50),
            added_p99_ms: added(p99),
        },
        join: Warm {
            join_p50_ms: of(outcomes, |outcome| first_object(outcome).p50_ms),
            join_p99_ms: of(outcomes, |outcome| first_object(outcome).p99_ms),
            rtt_p50_ms: of(outcomes, |outcome| outcome.joined.rtt.map_or(f64::NAN, |rtt| rtt.p50_ms)),
        },
        links: links(outcomes),
        delivered_ratio: of(outcomes, Outcome::delivered_ratio),
        counts: outcomes.iter().all(|outcome| measure::counts(outcome, run)),
    }
}

fn first_object(outcome: &Outcome) -> Quantiles {
    outcome.joined.first_object.unwrap_or(Quantiles { p50_ms: f64::NAN, p99_ms: f64::NAN })
}

/// Every trunk of the chain, all rounds together.
fn links(outcomes: &[Outcome]) -> Vec<LinkLine> {
    let mut sums: BTreeMap<&str, Link> = BTreeMap::new();
    for link in outcomes.iter().flat_map(|outcome| &outcome.sender.links) {
        let sum =
            sums.entry(&link.name).or_insert_with(|| Link { name: link.name.clone(), carried: 0, sent: 0, udp: 0 });
        sum.carried += link.carried;
        sum.sent += link.sent;
        sum.udp += link.udp;
    }
    let ratio = |part: u64, whole: u64| part as f64 / whole as f64;
    sums.into_values()
        .map(|link| LinkLine {
            copies: ratio(link.sent, link.carried),
            wire_overhead: ratio(link.udp, link.sent),
            link: link.name,
        })
        .collect()
}
