//! `ping URL`.

use crate::cli::{self, Format};
use crate::core::{Event, LinkId, Role, Target};
use crate::exit::Exit;
use crate::host::{Command, Context, Driver};
use crate::patience::Patience;
use crate::report;
use serde::Serialize;
use sluice_moqt::transport::PathStats;
use std::fmt;
use std::time::{Duration, Instant};

/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// The verb's state.
#[derive(Debug)]
pub(crate) struct Pinging {
    args: cli::Ping,
    target: Option<Target>,
    link: Option<LinkId>,
    patience: Option<Patience>,
    clock: Clock,
    trips: Trips,
    path: Option<PathStats>,
    over: Option<anyhow::Result<Exit>>,
}

#[derive(Debug, Default)]
struct Clock {
    started: Option<Instant>,
    /// When the first session was ready.
    up: Option<Instant>,
    handshake: Option<Duration>,
    until: Option<Instant>,
}

/// Round trips so far.
#[derive(Debug, Default)]
struct Trips {
    answered: u64,
    highest: Option<u64>,
    sum: Duration,
    min: Option<Duration>,
    max: Option<Duration>,
    last: Option<Duration>,
    /// Sum of the differences of successive round trips.
    variation: Duration,
}

impl Trips {
    fn add(&mut self, sequence: u64, trip: Duration) {
        if let Some(last) = self.last.replace(trip) {
            self.variation += trip.abs_diff(last);
        }
        self.answered += 1;
        self.highest = self.highest.max(Some(sequence));
        self.sum += trip;
        self.min = Some(self.min.map_or(trip, |min| min.min(trip)));
        self.max = Some(self.max.map_or(trip, |max| max.max(trip)));
    }

    fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(u32::try_from(self.answered).ok()?)
    }

    /// Mean difference of successive round trips.
    fn jitter(&self) -> Option<Duration> {
        self.variation.checked_div(u32::try_from(self.answered.checked_sub(1)?).ok()?)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Pong {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence: u64,
    rtt_seconds: f64,
    path_rtt_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    handshake_seconds: Option<f64>,
    sent: u64,
    answered: u64,
    loss_ratio: f64,
    rtt_min_seconds: Option<f64>,
    rtt_mean_seconds: Option<f64>,
    rtt_max_seconds: Option<f64>,
    jitter_seconds: Option<f64>,
    path_rtt_seconds: Option<f64>,
    path_packets_lost: Option<u64>,
}

impl Pinging {
    pub(crate) fn new(args: cli::Ping, target: Target) -> Self {
        Self {
            args,
            target: Some(target),
            link: None,
            patience: None,
            clock: Clock::default(),
            trips: Trips::default(),
            path: None,
            over: None,
        }
    }

    fn up(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.clock.up.is_some() {
            return Ok(());
        }
        let now = context.now;
        self.clock.up = Some(now);
        let handshake = self.clock.started.map(|at| now.saturating_duration_since(at)).unwrap_or_default();
        self.clock.handshake = Some(handshake);
        if let Some(count) = self.args.count {
            let probes = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX);
            let span = self.args.interval.get().checked_mul(probes);
            self.clock.until = span.and_then(|span| now.checked_add(span + LAST_ANSWERS));
        }
        if self.args.common.format == Format::Human {
            let millis = handshake.as_secs_f64() * 1e3;
            context.report.line(format_args!("{}: QUIC and MoQ handshake in {millis:.1} ms", self.args.url))?;
        }
        Ok(())
    }

    fn pong(&mut self, context: &mut Context<'_>, (sequence, trip): (u64, Duration)) -> anyhow::Result<()> {
        self.trips.add(sequence, trip);
        let pong = Pong {
            kind: "pong",
            sequence,
            rtt_seconds: trip.as_secs_f64(),
            path_rtt_seconds: self.path.map(|path| path.rtt.as_secs_f64()),
        };
        match self.args.common.format {
            Format::Human => context.report.line(&pong)?,
            Format::Jsonl => context.report.json(&pong)?,
            Format::Json => {}
        }
        Ok(())
    }

    /// Probes sent so far, by the schedule: the core sends one at once and one per interval.
    fn sent(&self, now: Instant) -> u64 {
        let Some(up) = self.clock.up else { return 0 };
        let elapsed = now.saturating_duration_since(up).as_nanos();
        let scheduled = elapsed / self.args.interval.get().as_nanos().max(1) + 1;
        let scheduled = u64::try_from(scheduled).unwrap_or(u64::MAX).min(self.args.count.unwrap_or(u64::MAX));
        // An answer proves its probe.
        scheduled.max(self.trips.highest.map_or(0, |highest| highest + 1))
    }

    fn finish(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.over.is_some() {
            return Ok(());
        }
        if let Some(link) = self.link {
            context.client.close(context.now, link);
        }
        let sent = self.sent(context.now);
        let seconds = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a ratio of small counts")]
        let loss_ratio = sent.saturating_sub(self.trips.answered) as f64 / sent.max(1) as f64;
        let summary = Summary {
            kind: "summary",
            url: self.args.url.to_string(),
            handshake_seconds: seconds(self.clock.handshake),
            sent,
            answered: self.trips.answered,
            loss_ratio,
            rtt_min_seconds: seconds(self.trips.min),
            rtt_mean_seconds: seconds(self.trips.mean()),
            rtt_max_seconds: seconds(self.trips.max),
            jitter_seconds: seconds(self.trips.jitter()),
            path_rtt_seconds: seconds(self.path.map(|path| path.rtt)),
            path_packets_lost: self.path.map(|path| path.lost_packets),
        };
        context.report.result(self.args.common.format, &summary)?;
        self.over = Some(Ok(if self.trips.answered > 0 { Exit::Ok } else { Exit::Threshold }));
        Ok(())
    }
}

impl Driver for Pinging {
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.clock.started = Some(context.now);
        self.patience = Some(Patience::new(self.args.url.clone(), context.now + self.args.common.timeout.get()));
        if let Some(target) = self.target.take() {
            let role =
                Role::Pinger { namespace: self.args.url.namespace().clone(), interval: self.args.interval.get() };
            self.link = Some(context.client.connect(context.now, target, role));
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the patience's or of no interest here")]
    fn handle_event(&mut self, context: &mut Context<'_>, _link: LinkId, event: Event) -> anyhow::Result<()> {
        if let Some(patience) = &mut self.patience {
            patience.handle_event(&event)?;
        }
        match event {
            Event::Up => {
                if let Some(patience) = &mut self.patience {
                    patience.satisfied();
                }
                self.up(context)?;
            }
            Event::Pong { sequence, round_trip } if self.args.count.is_none_or(|count| sequence < count) => {
                self.pong(context, (sequence, round_trip))?;
                if self.args.count.is_some_and(|count| sequence + 1 == count) {
                    self.finish(context)?;
                }
            }
            Event::Stats(path) => self.path = Some(path),
            Event::Down { why, .. } if self.clock.up.is_some() => report::note(format_args!("{why}; trying again")),
            _ => {}
        }
        Ok(())
    }

    fn handle_command(&mut self, context: &mut Context<'_>, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Interrupt => self.finish(context),
            Command::Input(_) | Command::InputEnd => Ok(()),
        }
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if let Some(patience) = &self.patience {
            patience.handle_timeout(context.now)?;
        }
        if self.clock.until.is_some_and(|at| at <= context.now) {
            self.finish(context)?;
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.patience.as_ref().and_then(Patience::poll_timeout);
        patience.into_iter().chain(self.clock.until).min()
    }

    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        self.over.take()
    }
}

impl fmt::Display for Pong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seq={} rtt={:.2} ms", self.sequence, self.rtt_seconds * 1e3)?;
        match self.path_rtt_seconds {
            Some(path) => write!(f, " path={:.2} ms", path * 1e3),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = self.loss_ratio * 100.0;
        writeln!(f, "{} probes, {} answered, {loss:.1} % unanswered", self.sent, self.answered)?;
        let millis = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), |s| format!("{:.2}", s * 1e3));
        write!(
            f,
            "rtt min/mean/max {}/{}/{} ms, jitter {} ms",
            millis(self.rtt_min_seconds),
            millis(self.rtt_mean_seconds),
            millis(self.rtt_max_seconds),
            millis(self.jitter_seconds)
        )?;
        match (self.path_rtt_seconds, self.path_packets_lost) {
            (Some(rtt), Some(lost)) => write!(f, "\nQUIC path rtt {:.2} ms, {lost} packets lost", rtt * 1e3),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_round_trips() {
        let mut trips = Trips::default();
        assert_eq!((trips.mean(), trips.jitter()), (None, None));
        for (sequence, ms) in [(0, 10), (1, 14), (2, 12)] {
            trips.add(sequence, Duration::from_millis(ms));
        }
        assert_eq!(trips.mean(), Some(Duration::from_millis(12)));
        assert_eq!(trips.jitter(), Some(Duration::from_millis(3)));
        assert_eq!((trips.min, trips.max), (Some(Duration::from_millis(10)), Some(Duration::from_millis(14))));
    }
}
