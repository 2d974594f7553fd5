//! Expectations against what was seen.

use super::analysis::{Crowd, Seen};
use super::change::typical_p99;
use super::evidence::{Evidence, NodeEvidence, NodeSample};
use super::report::Verdict;
use super::stats::quantile;
use crate::scenario::{Bound, Expectation, Figure, Quantity, Role, Scenario, Scope};
use std::fmt;
use std::time::Duration;

/// What came out, as a number and in words.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Count(u64),
    Share(f64),
    Time(Duration),
    Bytes(i128),
}

/// A figure with its limit in the same unit, where the limit depends on what was seen.
struct Measured {
    found: Found,
    limit: f64,
}

/// Judges one run.
pub(super) struct Judge<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) evidence: &'a Evidence,
    pub(super) crowds: &'a [Crowd],
}

impl Judge<'_> {
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        self.scenario.expectations.iter().map(|expectation| self.verdict(expectation)).collect()
    }

    fn verdict(&self, expectation: &Expectation) -> Verdict {
        let spec = expectation.figure.spec();
        let measured = self.measure(expectation);
        let right = |measured: &Measured| match spec.bound {
            Bound::AtMost => measured.found.number() <= measured.limit,
            Bound::AtLeast => measured.found.number() >= measured.limit,
        };
        let sign = match spec.bound {
            Bound::AtMost => "<=",
            Bound::AtLeast => ">=",
        };
        let seen = measured.as_ref().map_or_else(|| "not measured".to_owned(), |m| m.found.to_string());
        Verdict {
            of: match expectation.scope {
                Scope::All => "all".to_owned(),
                Scope::Node(id) => self.scenario.node(id).name.clone(),
                Scope::Link(id) => self.scenario.link(id).name.clone(),
            },
            figure: spec.key,
            wanted: format!("{sign} {}", expectation.quantity),
            seen,
            value: measured.as_ref().map(|measured| measured.found.number()),
            limit: measured.as_ref().map_or(0.0, |measured| measured.limit),
            passed: measured.as_ref().is_some_and(right),
        }
    }

    /// `None` where the engine or the run has nothing to say about it.
    fn measure(&self, expectation: &Expectation) -> Option<Measured> {
        match expectation.figure {
            Figure::GroupsLost => self.sum(expectation, |seen| seen.video.1 + seen.audio.1),
            Figure::Gaps => self.sum(expectation, |seen| seen.gaps.len() as u64),
            Figure::Reconnects => self.sum(expectation, |seen| u64::from(seen.reconnects)),
            Figure::VideoGroups => self.least(expectation, |seen| seen.video),
            Figure::AudioGroups => self.least(expectation, |seen| seen.audio),
            Figure::Joined => self.joined(expectation),
            Figure::GapMax
            | Figure::ResumeP50
            | Figure::ResumeP99
            | Figure::Heal
            | Figure::Recovery
            | Figure::LatencyP50
            | Figure::LatencyP99
            | Figure::AddedLatencyP99
            | Figure::JoinP50
            | Figure::JoinP99 => self.time(expectation),
            Figure::LatencyChange => self.latency_change(expectation),
            Figure::TrunksLost => self.count_nodes(expectation, |node| node.trunks_lost),
            Figure::RouteChanges => self.count_nodes(expectation, |node| node.route_changes),
            Figure::MemoryMax | Figure::MemoryChange | Figure::LeftOver => self.nodes_worst(expectation),
            Figure::QueueP99 => self.queue(expectation),
            Figure::LatenessP99 => {
                // Virtual time is never late.
                let lateness = self.evidence.lateness.map_or(0.0, |engine| engine.late.p99);
                let found = Found::Time(Duration::try_from_secs_f64(lateness).ok()?);
                Some(Measured { found, limit: plain(expectation.quantity, Duration::ZERO) })
            }
        }
    }

    fn crowds(&self, scope: Scope) -> impl Iterator<Item = &Crowd> {
        self.crowds.iter().filter(move |crowd| match scope {
            Scope::All => true,
            Scope::Node(id) => crowd.node == id,
            Scope::Link(_) => false,
        })
    }

    fn seen(&self, scope: Scope) -> Option<Vec<&Seen>> {
        let seen: Vec<&Seen> = self.crowds(scope).flat_map(|crowd| &crowd.seen).collect();
        (!seen.is_empty()).then_some(seen)
    }

    fn sum(&self, expectation: &Expectation, of: impl Fn(&Seen) -> u64) -> Option<Measured> {
        let total = self.seen(expectation.scope)?.into_iter().map(of).sum();
        Some(Measured { found: Found::Count(total), limit: plain(expectation.quantity, Duration::ZERO) })
    }

    /// The least share of whole groups; viewers of whom none were expected have nothing to say.
    fn least(&self, expectation: &Expectation, of: impl Fn(&Seen) -> (u64, u64)) -> Option<Measured> {
        let shares = self.seen(expectation.scope)?.into_iter().map(of).filter(|(expected, _)| *expected > 0);
        #[expect(clippy::cast_precision_loss, reason = "numbers of groups")]
        let share = |(expected, lost): (u64, u64)| (expected - lost) as f64 / expected as f64;
        let least = shares.map(share).min_by(f64::total_cmp)?;
        Some(Measured { found: Found::Share(least), limit: plain(expectation.quantity, Duration::ZERO) })
    }

    fn joined(&self, expectation: &Expectation) -> Option<Measured> {
        let seen = self.seen(expectation.scope)?;
        #[expect(clippy::cast_precision_loss, reason = "numbers of viewers")]
        let share = seen.iter().filter(|seen| seen.join.is_some()).count() as f64 / seen.len() as f64;
        Some(Measured { found: Found::Share(share), limit: plain(expectation.quantity, Duration::ZERO) })
    }

    /// Times: each crowd has a limit of its own where that counts in round trips; the worst of them is told.
    fn time(&self, expectation: &Expectation) -> Option<Measured> {
        let mut worst: Option<(f64, Measured)> = None;
        for crowd in self.crowds(expectation.scope) {
            let Some(found) = time_of(crowd, expectation.figure) else { continue };
            let limit = plain(expectation.quantity, crowd.round_trip);
            let excess = found.as_secs_f64() - limit;
            if worst.as_ref().is_none_or(|(most, _)| excess > *most) {
                worst = Some((excess, Measured { found: Found::Time(found), limit }));
            }
        }
        worst.map(|(_, measured)| measured)
    }

    fn latency_change(&self, expectation: &Expectation) -> Option<Measured> {
        let since = self.since(expectation)?;
        let settled = self.settled(since);
        let latencies = self.seen(expectation.scope)?.into_iter().flat_map(|seen| seen.latencies.iter().copied());
        let latencies = latencies.filter(|(at, _)| *at >= settled);
        let (before, after): (Vec<_>, Vec<_>) = latencies.partition(|(at, _)| *at < since);
        let (before, after) = (typical_p99(before.into_iter())?, typical_p99(after.into_iter())?);
        let Quantity::TimeChange { ratio, plus } = expectation.quantity else { return None };
        let limit = (before * ratio).max(plus.as_secs_f64());
        let growth = Duration::try_from_secs_f64((after - before).max(0.0)).ok()?;
        Some(Measured { found: Found::Time(growth), limit })
    }

    fn nodes(&self, scope: Scope) -> impl Iterator<Item = &NodeEvidence> {
        self.evidence.nodes.iter().filter(move |node| match scope {
            Scope::All => true,
            Scope::Node(id) => node.node == id,
            Scope::Link(_) => false,
        })
    }

    fn count_nodes(&self, expectation: &Expectation, of: impl Fn(&NodeEvidence) -> u32) -> Option<Measured> {
        let counts: Vec<u64> = self.nodes(expectation.scope).map(|node| u64::from(of(node))).collect();
        let found = Found::Count(counts.iter().sum());
        let limit = plain(expectation.quantity, Duration::ZERO);
        (!counts.is_empty()).then_some(Measured { found, limit })
    }

    /// The relay that is furthest above its limit.
    fn nodes_worst(&self, expectation: &Expectation) -> Option<Measured> {
        let measured = self.nodes(expectation.scope).filter_map(|node| self.node(expectation, node));
        measured.max_by(|a, b| (a.found.number() - a.limit).total_cmp(&(b.found.number() - b.limit)))
    }

    fn node(&self, expectation: &Expectation, node: &NodeEvidence) -> Option<Measured> {
        let end = node.samples.last()?;
        if expectation.figure == Figure::MemoryMax {
            let most = node.samples.iter().map(|sample| sample.memory).max()?;
            return Some(Measured {
                found: Found::Bytes(most.into()),
                limit: plain(expectation.quantity, Duration::ZERO),
            });
        }
        let since = self.since(expectation)?;
        let start = node.samples.iter().rfind(|sample: &&NodeSample| sample.at <= since)?;
        let grown = |of: fn(&NodeSample) -> u64| i128::from(of(end)) - i128::from(of(start));
        match expectation.quantity {
            Quantity::BytesChange { ratio, plus } => {
                #[expect(clippy::cast_precision_loss, reason = "bytes, to a few digits")]
                let limit = (start.memory as f64 * ratio).max(plus as f64);
                Some(Measured { found: Found::Bytes(grown(|sample| sample.memory)), limit })
            }
            Quantity::Count(_)
            | Quantity::Share(_)
            | Quantity::Time { .. }
            | Quantity::Bytes(_)
            | Quantity::TimeChange { .. } => {
                let more = u64::try_from(grown(|sample| sample.held)).unwrap_or(0);
                Some(Measured { found: Found::Count(more), limit: plain(expectation.quantity, Duration::ZERO) })
            }
        }
    }

    fn queue(&self, expectation: &Expectation) -> Option<Measured> {
        let links = self.evidence.links.iter().filter(|link| match expectation.scope {
            Scope::All => true,
            Scope::Link(id) => link.link == id,
            Scope::Node(_) => false,
        });
        let since = expectation.since.unwrap_or_default();
        let settled = |at: Duration| {
            let unsettled = |happened: Duration| at >= happened && at < happened + expectation.settle;
            at >= since && !self.evidence.happened.iter().any(|happened| unsettled(happened.at))
        };
        let samples = links.flat_map(|link| &link.queue).filter(|sample| settled(sample.at));
        let mut waits: Vec<Duration> = samples.map(|sample| sample.waits).collect();
        waits.sort_unstable();
        let found = Found::Time(quantile(&waits, 0.99)?);
        Some(Measured { found, limit: plain(expectation.quantity, Duration::ZERO) })
    }

    /// Where "before" ends: as told, or at the first event, or when the last kind of viewers joins.
    fn since(&self, expectation: &Expectation) -> Option<Duration> {
        let joins = self.scenario.nodes.iter().filter_map(|node| match &node.role {
            Role::Viewers(viewers) => Some(viewers.join),
            Role::Origin | Role::Edge | Role::Publisher(_) => None,
        });
        let first_event = self.scenario.events.first().map(|event| event.at);
        expectation.since.or(first_event).or_else(|| joins.max())
    }

    /// From when on those were there who joined before `since`: with half of a crowd a relay has half of its work.
    fn settled(&self, since: Duration) -> Duration {
        let joined = self.scenario.nodes.iter().filter_map(|node| match &node.role {
            Role::Viewers(viewers) => Some(viewers.join + viewers.ramp),
            Role::Origin | Role::Edge | Role::Publisher(_) => None,
        });
        joined.filter(|joined| *joined < since).max().unwrap_or_default()
    }
}

fn time_of(crowd: &Crowd, figure: Figure) -> Option<Duration> {
    let all = |of: fn(&Seen) -> Vec<Duration>| -> Vec<Duration> {
        let mut all: Vec<Duration> = crowd.seen.iter().flat_map(of).collect();
        all.sort_unstable();
        all
    };
    let latencies = || all(|seen| seen.latencies.iter().map(|(_, late)| *late).collect());
    let joins = || all(|seen| seen.join.into_iter().collect());
    let gaps = || all(|seen| seen.gaps.iter().map(|gap| Duration::from_secs_f64(gap.seconds)).collect());
    match figure {
        Figure::GapMax => (!crowd.seen.is_empty()).then(|| quantile(&gaps(), 1.0).unwrap_or_default()),
        Figure::ResumeP50 => quantile(&all(|seen| seen.resumes.clone()), 0.5),
        Figure::ResumeP99 => quantile(&all(|seen| seen.resumes.clone()), 0.99),
        Figure::Heal => quantile(&all(|seen| seen.heals.clone()), 1.0),
        Figure::Recovery => quantile(&all(|seen| seen.recovery.into_iter().collect()), 1.0),
        Figure::LatencyP50 => quantile(&latencies(), 0.5),
        Figure::LatencyP99 => quantile(&latencies(), 0.99),
        Figure::AddedLatencyP99 => Some(quantile(&latencies(), 0.99)?.saturating_sub(crowd.path)),
        Figure::JoinP50 => quantile(&joins(), 0.5),
        Figure::JoinP99 => quantile(&joins(), 0.99),
        Figure::GroupsLost
        | Figure::VideoGroups
        | Figure::AudioGroups
        | Figure::Gaps
        | Figure::LatencyChange
        | Figure::Joined
        | Figure::Reconnects
        | Figure::TrunksLost
        | Figure::RouteChanges
        | Figure::MemoryMax
        | Figure::MemoryChange
        | Figure::LeftOver
        | Figure::QueueP99
        | Figure::LatenessP99 => None,
    }
}

/// A limit as a number that does not depend on what was seen.
fn plain(quantity: Quantity, round_trip: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "limits of people, far below 2^53")]
    match quantity {
        Quantity::Count(count) => count as f64,
        Quantity::Share(share) => share,
        Quantity::Time { round_trips, plus } => round_trip.as_secs_f64().mul_add(round_trips, plus.as_secs_f64()),
        Quantity::Bytes(bytes) => bytes as f64,
        Quantity::TimeChange { plus, .. } => plus.as_secs_f64(),
        Quantity::BytesChange { plus, .. } => plus as f64,
    }
}

impl Found {
    fn number(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "compared with limits of people")]
        match self {
            Self::Count(count) => count as f64,
            Self::Share(share) => share,
            Self::Time(time) => time.as_secs_f64(),
            Self::Bytes(bytes) => bytes as f64,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            // Never rounded up to "100 %" where something is missing.
            Self::Share(share) => write!(f, "{:.2} %", (share * 10_000.0).floor() / 100.0),
            Self::Time(time) => write!(f, "{:.1} ms", time.as_secs_f64() * 1e3),
            Self::Bytes(_) => write!(f, "{:.1} MiB", self.number() / f64::from(1 << 20)),
        }
    }
}
