//! Which runs, in which order, and the lines that come out.

use crate::support::fanout_report::{Cost, FanoutLine, Memory, Ratios, Service};
use crate::support::floor_report::FloorLine;
use crate::support::measure::{self, Outcome, Timing, median};
use crate::support::progress::{outcome, progress};
use crate::support::protocol::{AckMode, Case, Coalesce, Join, Run, Shape, Traffic};
use crate::support::report;
use std::collections::BTreeMap;

/// Measures what fanning out costs: quinn's async API, the bare shard loop, the relay, as shares of the floor.
#[derive(Debug, clap::Parser)]
pub(crate) struct Args {
    /// Cases to run [default: all]
    #[arg(long, value_delimiter = ',')]
    case: Vec<Case>,
    /// Numbers of viewers
    #[arg(long, value_delimiter = ',', default_value = "50,200,500")]
    viewers: Vec<usize>,
    /// How often the load side acknowledges [default: once per frame, and all modes at the most viewers]
    #[arg(long, value_delimiter = ',')]
    ack: Vec<AckMode>,
    /// Window of one run
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// Interleaved rounds through all runs; figures are medians
    #[arg(long, default_value_t = 2)]
    repeats: u32,
    /// Bit rate per viewer
    #[arg(long, default_value_t = 4)]
    mbit: u32,
    /// Milliseconds over which the relay's publisher spreads a frame
    #[arg(long, default_value_t = 30)]
    spread: u32,
    /// Shards of the daemon case
    #[arg(long, value_delimiter = ',', default_value = "1")]
    shards: Vec<u8>,
    /// When the relay case's viewers get an object: once it is whole, or as its bytes come
    #[arg(long, value_delimiter = ',', default_value = "on")]
    coalesce: Vec<Coalesce>,
    /// Seconds until memory is read; 0 leaves memory out
    #[arg(long, default_value_t = 20)]
    settle: u32,
    /// A child's role
    #[arg(long, hide = true)]
    pub(crate) child: Option<String>,
    /// What `cargo bench` adds to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn run(&self, case: Case, viewers: usize, ack_mode: AckMode) -> Run {
        let spread_ms = match case {
            Case::Relay | Case::Daemon => self.spread,
            Case::Quinn | Case::Bare => 0,
        };
        let (traffic, shape, join) = (Traffic::Active, Shape::PLAIN, Join::NextGroup);
        Run { case, viewers, ack_mode, traffic, megabits: self.mbit, spread_ms, shape, join }
    }

    /// The shapes of a case.
    fn shapes(&self, case: Case) -> Vec<Shape> {
        match case {
            Case::Quinn | Case::Bare => vec![Shape::PLAIN],
            Case::Relay => self.coalesce.iter().map(|&coalesce| Shape { coalesce, ..Shape::PLAIN }).collect(),
            Case::Daemon => self.shards.iter().map(|&shards| Shape { shards, ..Shape::PLAIN }).collect(),
        }
    }
}

/// The cases of a plan that names none; memory is measured of the last.
const CASES: [Case; 3] = [Case::Quinn, Case::Bare, Case::Relay];
/// Connections open and MTU discovery is done by then.
const WARM_UP_SECONDS: u32 = 2;
const FLOOR_ROUNDS: u32 = 2;
/// quinn's baseline is void when it costs more floors than this: a bad baseline flatters us.
const QUINN_VOID_ABOVE: f64 = 5.2;

/// What one pass through all runs showed.
#[derive(Debug, Default)]
struct Round {
    floors: BTreeMap<usize, FloorLine>,
    outcomes: BTreeMap<Run, Outcome>,
}

/// Everything measured so far.
#[derive(Debug, Default)]
struct Results {
    rounds: Vec<Round>,
}

/// Runs the plan and prints its lines.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let runs = runs(args);
    let timing = Timing { warm_up: WARM_UP_SECONDS, window: args.seconds };
    let mut results = Results::default();
    for repeat in 1..=args.repeats {
        let title = format!("{repeat}/{}", args.repeats);
        results.rounds.push(round(&title, &in_turn(&runs, repeat), args, timing)?);
    }
    let memory = memory(args)?;
    for &run in &runs {
        report::line(&results.line(run, memory.get(&run.case).copied().unwrap_or_default()))?;
    }
    Ok(())
}

/// Another run goes first each round, so that a machine that gets slower or faster favours nobody.
fn in_turn(runs: &[Run], repeat: u32) -> Vec<Run> {
    let first = (repeat as usize).saturating_sub(1) % runs.len().max(1);
    let (late, early) = runs.split_at(first);
    [early, late].concat()
}

fn round(title: &str, runs: &[Run], args: &Args, timing: Timing) -> anyhow::Result<Round> {
    let mut round = Round::default();
    for &viewers in &args.viewers {
        progress(&format!("{title} floor, {viewers} viewers"));
        round.floors.insert(viewers, measure::floor(viewers, args.mbit, FLOOR_ROUNDS)?);
        for &run in runs.iter().filter(|run| run.viewers == viewers) {
            progress(&format!("{title} {run:?}"));
            let seen = measure::run(run, timing)?;
            outcome(&seen);
            round.outcomes.insert(run, seen);
        }
    }
    Ok(round)
}

/// The runs of one round: every ACK mode costs time, so by default only the busiest core gets all of them.
fn runs(args: &Args) -> Vec<Run> {
    let cases = if args.case.is_empty() { CASES.to_vec() } else { args.case.clone() };
    let most = args.viewers.iter().copied().max().unwrap_or(0);
    let mut runs = Vec::new();
    for &viewers in &args.viewers {
        for &case in &cases {
            let modes = match (args.ack.is_empty(), case) {
                (false, _) => args.ack.clone(),
                (true, Case::Quinn) => vec![AckMode::Frame],
                (true, _) if viewers == most => vec![AckMode::Frame, AckMode::Per10, AckMode::Per2],
                (true, _) => vec![AckMode::Frame],
            };
            for ack_mode in modes {
                let run = args.run(case, viewers, ack_mode);
                runs.extend(args.shapes(case).into_iter().map(|shape| Run { shape, ..run }));
            }
        }
    }
    runs
}

/// Memory per viewer of every case asked for by name, or of the last one: each takes four runs of `settle` seconds.
fn memory(args: &Args) -> anyhow::Result<BTreeMap<Case, Memory>> {
    let mut memory = BTreeMap::new();
    if args.settle == 0 {
        return Ok(memory);
    }
    let last = CASES.last().copied().into_iter().collect();
    for case in if args.case.is_empty() { last } else { args.case.clone() } {
        progress(&format!("memory of {case:?}, 100 and 500 viewers, active and idle"));
        let run = args.run(case, 0, AckMode::Frame);
        let active = measure::memory_per_viewer(run, args.settle)?;
        let idle = measure::memory_per_viewer(Run { traffic: Traffic::Idle, ..run }, args.settle)?;
        memory.insert(case, Memory { rss_per_viewer_kib: Some(active), idle_rss_per_viewer_kib: Some(idle) });
    }
    Ok(memory)
}

impl Results {
    fn line(&self, run: Run, memory: Memory) -> FanoutLine {
        let outcomes = self.sound(run);
        let floors: Vec<&FloorLine> = self.rounds.iter().filter_map(|round| round.floors.get(&run.viewers)).collect();
        let sound = median(floors.iter().filter(|floor| !floor.void).map(|floor| floor.cpu_s_per_gbit));
        // Void floors are too dear, and so would flatter: they serve only where there is nothing else, and void the run.
        let any = median(floors.iter().map(|floor| floor.cpu_s_per_gbit));
        let floor = sound.or(any).unwrap_or(f64::NAN);
        let cpu = self.cpu(run).unwrap_or(f64::NAN);
        let plain = Run { spread_ms: 0, shape: Shape::PLAIN, ..run };
        let bare = Run { case: Case::Bare, ..plain };
        let quinn = Run { case: Case::Quinn, ack_mode: AckMode::Frame, ..plain };
        let uncoalesced = Run { shape: Shape { coalesce: Coalesce::Off, ..run.shape }, ..run };
        let one_shard = Run { shape: Shape { shards: 1, ..run.shape }, ..run };
        let dear_baseline = run.case == Case::Quinn && cpu > floor * QUINN_VOID_ABOVE;
        FanoutLine {
            case: run.case,
            viewers: run.viewers,
            ack_mode: run.ack_mode,
            shape: run.shape,
            source_spread_ms: run.spread_ms,
            cost: Cost {
                cpu_s_per_gbit: cpu,
                floor_cpu_s_per_gbit: floor,
                share_of_floor: floor / cpu,
                bare_cpu_s_per_gbit: self.cpu(bare),
                quinn_cpu_s_per_gbit: self.cpu(quinn),
                uncoalesced_cpu_s_per_gbit: self.cpu(uncoalesced),
                one_shard_cpu_s_per_gbit: self.cpu(one_shard),
                ratios: Ratios {
                    to_bare: self.ratio(run, bare),
                    to_quinn: self.ratio(run, quinn),
                    to_uncoalesced: self.ratio(run, uncoalesced),
                    to_one_shard: self.ratio(run, one_shard),
                },
            },
            memory,
            service: service(run.case, &outcomes),
            rounds: self.rounds.len(),
            rounds_counted: self.counted(run).count(),
            counts: self.counted(run).count() * 2 > self.rounds.len(),
            void: dear_baseline || sound.is_none(),
        }
    }

    /// Runs that prove something.
    fn counted(&self, run: Run) -> impl Iterator<Item = &Outcome> {
        let outcomes = self.rounds.iter().filter_map(move |round| round.outcomes.get(&run));
        outcomes.filter(move |outcome| measure::counts(outcome, run))
    }

    /// The runs that figures are made of: those that count, or where none does all of them.
    fn sound(&self, run: Run) -> Vec<&Outcome> {
        let counted: Vec<&Outcome> = self.counted(run).collect();
        if counted.is_empty() {
            self.rounds.iter().filter_map(|round| round.outcomes.get(&run)).collect()
        } else {
            counted
        }
    }

    /// Median cost of `run`, where it was part of the plan.
    fn cpu(&self, run: Run) -> Option<f64> {
        median(self.sound(run).into_iter().map(Outcome::cpu_s_per_gbit))
    }

    /// Median over the rounds of what `run` cost in units of what `base` cost in the same round: both met the
    /// same neighbours then, which no two rounds do. Rounds in which `run` does not count prove nothing here either,
    /// unless there are no others.
    fn ratio(&self, run: Run, base: Run) -> Option<f64> {
        let proves = |round: &&Round| round.outcomes.get(&run).is_some_and(|outcome| measure::counts(outcome, run));
        let some = self.rounds.iter().any(|round| proves(&round));
        median(self.rounds.iter().filter(|round| !some || proves(round)).filter_map(|round| {
            let (run, base) = (round.outcomes.get(&run)?, round.outcomes.get(&base)?);
            Some(run.cpu_s_per_gbit() / base.cpu_s_per_gbit())
        }))
    }
}

fn service(case: Case, outcomes: &[&Outcome]) -> Service {
    let of = |figure: fn(&Outcome) -> f64| median(outcomes.iter().copied().map(figure)).unwrap_or(f64::NAN);
    Service {
        gso_avg: of(|outcome| outcome.load.gso_avg),
        delivered_ratio: of(Outcome::delivered_ratio),
        latency_p50_ms: of(|outcome| outcome.load.latency_p50_ms),
        latency_p99_ms: of(|outcome| outcome.load.latency_p99_ms),
        // The daemon's calls into its node are not under the counter.
        allocations_per_object_per_viewer: (case != Case::Daemon).then(|| of(Outcome::allocations)),
        acks_per_packet: of(|outcome| outcome.load.acks_per_packet),
        sender_busy: of(Outcome::sender_busy),
        load_busy: of(|outcome| outcome.load.busy),
    }
}
