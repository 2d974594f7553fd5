//! `sluice netem proxy`.

use super::interrupt::Interrupt;
use anyhow::Context as _;
use sluice_client_probe::cli::Span as Time;
use sluice_net::{Clock as _, SystemClock};
use sluice_netem::generate::{Access, Profile};
use sluice_netem::model::{
    Bottleneck, Capacity, Change, Counters, Direction, GilbertElliott, Loss, Numbers, Program, Queue, Rate, Ratio,
    Reorder, Span, Step, Trace, Way,
};
use sluice_netem::proxy::{Config, Handle, Proxy, Report};
use sluice_relay::exit::Exit;
use sluice_relay::report::{self, Format};
use std::fmt;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often it is looked whether the user wants an end.
const LOOK: Duration = Duration::from_millis(50);
/// Time between two lines.
const LINE: Duration = Duration::from_secs(1);
/// Generated networks vary for this long before they start over.
const PROFILE_LENGTH: Span = Span::from_millis(600_000);

/// Forward UDP with delay, loss, a rate and more
///
/// What is told without a direction holds for both; --up-... is for what clients send, --down-... for what they get.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sluice netem proxy --listen :5000 --to 127.0.0.1:4443 --delay 80ms --loss 3% --rate 4M"
)]
pub(super) struct Cli {
    /// Where clients send to: ADDRESS:PORT, or :PORT for all addresses
    #[arg(long, value_name = "ADDR", default_value = ":5000")]
    listen: Listen,
    /// Where to forward to: HOST:PORT
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Seed of all random choices
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// A generated access network for both directions: lte, umts, starlink, wifi or conference
    #[arg(long, value_name = "NAME")]
    profile: Option<Profile>,
    #[command(flatten)]
    both: Both,
    #[command(flatten)]
    up: Up,
    #[command(flatten)]
    down: Down,
    /// Stop after this time
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Time>,
    /// How to report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The flags of one direction, or of both.
macro_rules! flags {
    ($name:ident, $prefix:literal, $heading:literal) => {
        #[derive(Debug, Clone, clap::Args)]
        #[command(next_help_heading = $heading)]
        struct $name {
            /// Time that every packet takes, such as 80ms
            #[arg(long = concat!($prefix, "delay"), id = concat!($prefix, "delay"), value_name = "TIME")]
            delay: Option<Span>,
            /// Largest deviation from the delay
            #[arg(long = concat!($prefix, "jitter"), id = concat!($prefix, "jitter"), value_name = "TIME")]
            jitter: Option<Span>,
            /// Whether jitter may reorder packets
            #[arg(long = concat!($prefix, "reorder"), id = concat!($prefix, "reorder"))]
            reorder: Option<Order>,
            /// Share of packets lost, such as 3%
            #[arg(long = concat!($prefix, "loss"), id = concat!($prefix, "loss"), value_name = "SHARE")]
            loss: Option<Ratio>,
            /// Losses in bursts: probability that one begins, and that it ends, before a packet, such as 1%,25%
            #[arg(long = concat!($prefix, "burst"), id = concat!($prefix, "burst"), value_name = "P,R",
                                                        conflicts_with = concat!($prefix, "loss"))]
            burst: Option<Burst>,
            /// Packets lost by their numbers, the first being 1, such as 2-7 or 1,4,9-12
            #[arg(long = concat!($prefix, "drop"), id = concat!($prefix, "drop"), value_name = "NUMBERS")]
            drop: Option<Numbers>,
            /// Share of packets that arrive twice
            #[arg(long = concat!($prefix, "duplicate"), id = concat!($prefix, "duplicate"), value_name = "SHARE")]
            duplicate: Option<Ratio>,
            /// Bits per second, such as 4M
            #[arg(long = concat!($prefix, "rate"), id = concat!($prefix, "rate"), value_name = "RATE")]
            rate: Option<Rate>,
            /// How fast it is when: a trace in Mahimahi's format
            #[arg(long = concat!($prefix, "trace"), id = concat!($prefix, "trace"), value_name = "FILE",
                                                        conflicts_with = concat!($prefix, "rate"))]
            trace: Option<PathBuf>,
            /// How much waits for the rate before it is dropped, such as 50ms or 64KiB
            #[arg(long = concat!($prefix, "queue"), id = concat!($prefix, "queue"), value_name = "TIME|BYTES")]
            queue: Option<Queue>,
            /// Largest IP packet in bytes
            #[arg(long = concat!($prefix, "mtu"), id = concat!($prefix, "mtu"), value_name = "BYTES",
                                                        value_parser = clap::value_parser!(u32).range(576..=65_535))]
            mtu: Option<u32>,
        }

        impl $name {
            fn flags(&self) -> Flags {
                let Self { delay, jitter, loss, burst, drop, duplicate, rate, queue, mtu, .. } = self.clone();
                let reorder = self.reorder.map(Order::reorder);
                let loss = loss.map(Loss::Random).or(burst.map(|Burst(chain)| Loss::GilbertElliott(chain)));
                Flags { delay, jitter, reorder, loss, drop, duplicate, rate, trace: self.trace.clone(), queue, mtu }
            }
        }
    };
}

flags!(Both, "", "Both directions");
flags!(Up, "up-", "From clients to the server");
flags!(Down, "down-", "From the server to clients");

/// What was told of one direction, or of both.
#[derive(Debug)]
struct Flags {
    delay: Option<Span>,
    jitter: Option<Span>,
    reorder: Option<Reorder>,
    loss: Option<Loss>,
    drop: Option<Numbers>,
    duplicate: Option<Ratio>,
    rate: Option<Rate>,
    trace: Option<PathBuf>,
    queue: Option<Queue>,
    mtu: Option<u32>,
}

impl Flags {
    /// `base` with what was told.
    fn over(&self, base: Direction) -> anyhow::Result<Direction> {
        let mut way = base;
        way.delay = self.delay.unwrap_or(way.delay);
        way.jitter.spread = self.jitter.unwrap_or(way.jitter.spread);
        way.jitter.reorder = self.reorder.unwrap_or(way.jitter.reorder);
        way.loss = self.loss.unwrap_or(way.loss);
        way.drop = self.drop.clone().unwrap_or(way.drop);
        way.duplicate = self.duplicate.unwrap_or(way.duplicate);
        way.mtu = self.mtu.or(way.mtu);
        let before = way.bottleneck.as_ref().map(|bottleneck| bottleneck.queue);
        let capacity = match (&self.trace, self.rate) {
            (Some(path), _) => {
                let read = || format!("cannot use the trace {}", path.display());
                let text = std::fs::read_to_string(path).with_context(read).map_err(|e| Exit::Usage.because(e))?;
                let trace = Trace::parse(&text).with_context(read).map_err(|e| Exit::Usage.because(e))?;
                Some(Capacity::Trace(Arc::new(trace)))
            }
            (None, Some(rate)) => Some(Capacity::Rate(rate)),
            (None, None) => way.bottleneck.map(|bottleneck| bottleneck.capacity),
        };
        way.bottleneck =
            capacity.map(|capacity| Bottleneck { capacity, queue: self.queue.or(before).unwrap_or_default() });
        Ok(way)
    }
}

/// Whether jitter may reorder.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Order {
    /// Packets arrive in order
    Keep,
    /// Each packet takes its own time
    Allow,
}

impl Order {
    const fn reorder(self) -> Reorder {
        match self {
            Self::Keep => Reorder::Keep,
            Self::Allow => Reorder::Allow,
        }
    }
}

/// `1%,25%`.
#[derive(Debug, Clone, Copy)]
struct Burst(GilbertElliott);

impl FromStr for Burst {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (p, r) = text.split_once(',').ok_or("write two shares, such as 1%,25%")?;
        let share = |text: &str| text.trim().parse::<Ratio>().map_err(|error| error.to_string());
        let (p, r) = (share(p)?, share(r)?);
        if r.is_zero() && !p.is_zero() {
            return Err("with a second share of 0 a burst never ends".to_owned());
        }
        Ok(Self(GilbertElliott::bursts(p, r)))
    }
}

/// Where to listen.
#[derive(Debug, Clone, Copy)]
struct Listen(SocketAddr);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "write ADDRESS:PORT such as 127.0.0.1:5000, or :PORT for all addresses";
        let any = || Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), text.strip_prefix(':')?.parse().ok()?));
        text.parse().ok().or_else(any).map(Self).ok_or(EXPECTED)
    }
}

/// What passed, at the end.
#[derive(serde::Serialize)]
struct Summary {
    seconds: f64,
    listen: SocketAddr,
    to: SocketAddr,
    seed: u64,
    up: Counters,
    down: Counters,
    lateness: sluice_netem::proxy::Lateness,
    is_real_time: bool,
    proxy: sluice_netem::proxy::Tally,
}

pub(super) fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let to = resolve(&cli.to)?;
    let both = cli.both.flags();
    let (up, down) = (cli.up.flags(), cli.down.flags());
    let program = |way, own: &Flags| program(cli, way, &both, own);
    let (forward, reverse) = (program(Way::Forward, &up)?, program(Way::Reverse, &down)?);
    let config = Config { seed: cli.seed, ..Config::new(Direction::default(), Direction::default()) };
    let proxy = Proxy::bind(cli.listen.0, to, config).map_err(|error| Exit::Usage.because(error))?;
    let (local, handle) = (proxy.local_addr(), proxy.handle());
    handle.run_program(Way::Forward, forward);
    handle.run_program(Way::Reverse, reverse);
    let interrupt = Interrupt::listen()?;
    note(format_args!("{local} -> {to}, seed {}; ^C ends it", cli.seed));
    let forwarding = thread::Builder::new().name("proxy".to_owned()).spawn(move || proxy.run());
    let forwarding = forwarding.context("starting the forwarder")?;
    let started = SystemClock.now();
    let mut last = handle.report();
    let mut next = LINE;
    loop {
        let passed = SystemClock.now().saturating_duration_since(started);
        let is_over = cli.duration.is_some_and(|limit| passed >= limit.get());
        if is_over || interrupt.is_asked() || forwarding.is_finished() {
            break;
        }
        if passed >= next {
            next += LINE;
            last = tell(&handle, &last);
        }
        thread::sleep(LOOK);
    }
    handle.stop();
    let report = forwarding.join().map_err(|_| anyhow::anyhow!("the forwarder has panicked"))??;
    let seconds = SystemClock.now().saturating_duration_since(started).as_secs_f64();
    summarize(cli, (local, to), seconds, &report)?;
    Ok(Exit::Ok.into())
}

/// The conditions of one way: those of the profile, else none, and over them what was told.
fn program(cli: &Cli, way: Way, both: &Flags, own: &Flags) -> anyhow::Result<Program> {
    let base = match cli.profile {
        Some(profile) => {
            // Clients are on the device's side.
            let access = match way {
                Way::Forward => Access::Uplink,
                Way::Reverse => Access::Downlink,
            };
            profile.program(cli.seed, access, PROFILE_LENGTH)
        }
        None => Program::constant(Direction::default()),
    };
    let steps = base.steps().iter().map(|step| {
        let change = match &step.change {
            Change::Set(direction) => Change::Set(own.over(both.over(direction.clone())?)?),
            Change::State(state) => Change::State(*state),
        };
        Ok(Step { at: step.at, change })
    });
    let steps = steps.collect::<anyhow::Result<Vec<Step>>>()?;
    Ok(match base.period() {
        Some(period) => Program::repeated(steps, Span::saturating(period)),
        None => Program::once(steps),
    })
}

fn resolve(to: &str) -> anyhow::Result<SocketAddr> {
    let wrong = || anyhow::anyhow!("--to {to:?} is no HOST:PORT such as 127.0.0.1:4443");
    let (_, port) = to.rsplit_once(':').ok_or_else(wrong).map_err(|error| Exit::Usage.because(error))?;
    port.parse::<u16>().map_err(|_| Exit::Usage.because(wrong()))?;
    let found =
        to.to_socket_addrs().with_context(|| format!("finding {to}")).map_err(|error| Exit::Name.because(error))?;
    // IPv4 first: that is what most servers on this machine listen on.
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| Exit::Name.because(anyhow::anyhow!("{to} has no address")))
}

/// One line about the last second.
fn tell(handle: &Handle, before: &Report) -> Report {
    let now = handle.report();
    let (up, down) = (Second(&before.forward, &now.forward), Second(&before.reverse, &now.reverse));
    let late = Duration::from_nanos(now.lateness.p99_ns).as_secs_f64() * 1e3;
    note(format_args!("up {up} | down {down} | {} clients, late p99 {late:.2} ms", now.proxy.clients));
    now
}

/// What one way did between two reports.
struct Second<'a>(&'a Counters, &'a Counters);

impl fmt::Display for Second<'_> {
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(before, now) = self;
        let packets = now.offered.packets - before.offered.packets;
        let bits = (now.delivered.bytes - before.delivered.bytes) as f64 * 8.0 / 1e6;
        let dropped = now.dropped.total() - before.dropped.total();
        let share = dropped as f64 * 100.0 / (packets as f64).max(1.0);
        write!(f, "{packets:>6} packets, {bits:>7.2} Mbit/s out, {share:>5.1} % lost")
    }
}

fn summarize(cli: &Cli, (listen, to): (SocketAddr, SocketAddr), seconds: f64, report: &Report) -> anyhow::Result<()> {
    match cli.format {
        Format::Human => {
            for (name, way) in [("up", &report.forward), ("down", &report.reverse)] {
                let dropped = &way.dropped;
                report::line(format_args!(
                    "{name:<5} {} packets, {} delivered, {} copies; lost {}, queue full {}, too large {}, cut {}",
                    way.offered.packets,
                    way.delivered.packets,
                    way.copies,
                    dropped.loss,
                    dropped.queue,
                    dropped.mtu,
                    dropped.cut + dropped.down
                ))?;
            }
        }
        Format::Json | Format::Jsonl => {
            let summary = Summary {
                seconds,
                listen,
                to,
                seed: cli.seed,
                up: report.forward,
                down: report.reverse,
                lateness: report.lateness,
                is_real_time: report.is_real_time,
                proxy: report.proxy,
            };
            report::line(serde_json::to_string(&summary)?)?;
        }
    }
    Ok(())
}

/// A line for people, beside the data.
fn note(text: impl fmt::Display) {
    // Nobody is left to tell where standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
