//! `[expect]`: what a run has to show.

use super::document::Section;
use super::links::Link;
use super::nodes::Node;
use super::problem::Problem;
use super::value::{self, Kind};
use super::{LinkId, NodeId};
use std::fmt;
use std::time::Duration;

/// One thing that is expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Of whom.
    pub scope: Scope,
    /// What.
    pub figure: Figure,
    /// How much.
    pub quantity: Quantity,
    /// Where "before" ends, for changes; `None`: at the first event.
    pub since: Option<Duration>,
    /// Time after each event that does not count, for queues.
    pub settle: Duration,
}

/// Of whom something is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of everybody that has the figure.
    All,
    /// Of one node.
    Node(NodeId),
    /// Of one link.
    Link(LinkId),
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// A number of things.
    Count(u64),
    /// A share of all.
    Share(f64),
    /// A time, as a multiple of the path's round trip plus something.
    Time {
        /// Round trips of the undisturbed path.
        round_trips: f64,
        /// Added to them.
        plus: Duration,
    },
    /// Memory.
    Bytes(u64),
    /// A change of a time by a share of it, or by an absolute time where that is more.
    TimeChange {
        /// Share.
        ratio: f64,
        /// Absolute.
        plus: Duration,
    },
    /// A change of a memory, likewise.
    BytesChange {
        /// Share.
        ratio: f64,
        /// Absolute.
        plus: u64,
    },
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Share(share) => write!(f, "{} %", share * 100.0),
            Self::Time { round_trips, plus } if *round_trips <= 0.0 => write!(f, "{plus:?}"),
            Self::Time { round_trips, plus } if plus.is_zero() => write!(f, "{round_trips} RTT"),
            Self::Time { round_trips, plus } => write!(f, "{round_trips} RTT + {plus:?}"),
            Self::Bytes(bytes) => write!(f, "{}", Mebibytes(*bytes)),
            Self::TimeChange { ratio, plus } => write!(f, "{} % or {plus:?}", ratio * 100.0),
            Self::BytesChange { ratio, plus } => write!(f, "{} % or {}", ratio * 100.0, Mebibytes(*plus)),
        }
    }
}

/// Bytes as people read them.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let mebibytes = self.0 as f64 / f64::from(1 << 20);
        write!(f, "{mebibytes:.1} MiB")
    }
}

/// What can be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Groups with an object missing, over all viewers.
    GroupsLost,
    /// Least share of whole groups of video at a viewer.
    VideoGroups,
    /// Least share of whole groups of audio at a viewer.
    AudioGroups,
    /// Interruptions of video, over all viewers.
    Gaps,
    /// Longest interruption of video.
    GapMax,
    /// Median time without video after a fault.
    ResumeP50,
    /// The same at the 99th percentile.
    ResumeP99,
    /// Longest time from a repair to something that was published after it.
    Heal,
    /// Time from the last event until latency is as before the first.
    Recovery,
    /// Median latency.
    LatencyP50,
    /// Latency at the 99th percentile.
    LatencyP99,
    /// Latency at the 99th percentile less what the undisturbed path takes.
    AddedLatencyP99,
    /// Change of the latency at the 99th percentile.
    LatencyChange,
    /// Median time from dial to the first object.
    JoinP50,
    /// The same at the 99th percentile.
    JoinP99,
    /// Share of viewers that got something.
    Joined,
    /// Sessions of clients that ended early.
    Reconnects,
    /// Connections between relays that were lost.
    TrunksLost,
    /// Times that a relay gave another up for routing.
    RouteChanges,
    /// Most memory of a relay.
    MemoryMax,
    /// Change of a relay's memory.
    MemoryChange,
    /// Change of a relay's descriptors and sessions.
    LeftOver,
    /// Waiting time before a bottleneck at the 99th percentile.
    QueueP99,
    /// Lateness of the engine itself at the 99th percentile.
    LatenessP99,
}

/// Which side of the quantity is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Not more.
    AtMost,
    /// Not less.
    AtLeast,
}

/// How a figure is written.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its key.
    pub key: &'static str,
    /// What it is.
    pub figure: Figure,
    /// Which side is right.
    pub bound: Bound,
    /// What it says.
    pub about: &'static str,
    unit: Unit,
}

impl Figure {
    /// How it is written.
    #[must_use]
    pub fn spec(self) -> &'static Spec {
        FIGURES.iter().find(|spec| spec.figure == self).expect("every figure stands in the table")
    }
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Count,
    Share,
    Time,
    Bytes,
    TimeChange,
    BytesChange,
}

const fn at_most(key: &'static str, figure: Figure, unit: Unit, about: &'static str) -> Spec {
    Spec { key, figure, bound: Bound::AtMost, about, unit }
}

const fn at_least(key: &'static str, figure: Figure, unit: Unit, about: &'static str) -> Spec {
    Spec { key, figure, bound: Bound::AtLeast, about, unit }
}

/// All figures: what `[expect]` knows, and the reference page.
pub const FIGURES: [Spec; 24] = [
    at_most("groups_lost", Figure::GroupsLost, Unit::Count, "groups with an object missing 3 s later, all viewers"),
    at_least("video_groups", Figure::VideoGroups, Unit::Share, "least share of whole video groups at a viewer"),
    at_least("audio_groups", Figure::AudioGroups, Unit::Share, "least share of whole audio groups at a viewer"),
    at_most("gaps", Figure::Gaps, Unit::Count, "times that a viewer had no video for more than 5 frames"),
    at_most("gap_max", Figure::GapMax, Unit::Time, "longest of these"),
    at_most("resume_p50", Figure::ResumeP50, Unit::Time, "longest pause of video after a fault, less a frame; median"),
    at_most("resume_p99", Figure::ResumeP99, Unit::Time, "the same, 99th percentile over viewers and faults"),
    at_most("heal", Figure::Heal, Unit::Time, "from `up`, `heal`, `restart` or `cont` to video published after it"),
    at_most("recovery", Figure::Recovery, Unit::Time, "from the last event until video is no later than before"),
    at_most("latency_p50", Figure::LatencyP50, Unit::Time, "from publishing to arrival of video, median"),
    at_most("latency_p99", Figure::LatencyP99, Unit::Time, "the same, 99th percentile"),
    at_most("added_latency_p99", Figure::AddedLatencyP99, Unit::Time, "the same less the delays of the path"),
    at_most(
        "latency_change",
        Figure::LatencyChange,
        Unit::TimeChange,
        "growth, after `since`, of what the slowest in a hundred viewers wait for an object, in the mean over objects; \
         before, it counts from when all of a crowd have joined",
    ),
    at_most("join_p50", Figure::JoinP50, Unit::Time, "from dialling to the first object, median"),
    at_most("join_p99", Figure::JoinP99, Unit::Time, "the same, 99th percentile"),
    at_least("joined", Figure::Joined, Unit::Share, "share of viewers that got something"),
    at_most("reconnects", Figure::Reconnects, Unit::Count, "sessions of clients that ended before their time"),
    at_most("trunks_lost", Figure::TrunksLost, Unit::Count, "connections between relays that were lost"),
    at_most("route_changes", Figure::RouteChanges, Unit::Count, "times that a relay took a peer for silent"),
    at_most("memory_max", Figure::MemoryMax, Unit::Bytes, "most memory of a relay"),
    at_most("memory_change", Figure::MemoryChange, Unit::BytesChange, "growth of a relay's memory after `since`"),
    at_most("left_over", Figure::LeftOver, Unit::Count, "more descriptors and sessions of a relay than at `since`"),
    at_most("queue_p99", Figure::QueueP99, Unit::Time, "waiting time before a bottleneck, without `settle`"),
    at_most("lateness_p99", Figure::LatenessP99, Unit::Time, "lateness of the engine itself; 1 ms without this key"),
];

impl Unit {
    fn kind(self) -> Kind<Quantity> {
        let (allowed, parse): (_, fn(&str) -> Option<Quantity>) = match self {
            Self::Count => ("a whole number from 0 on", |text| text.parse().ok().map(Quantity::Count)),
            Self::Share => {
                (value::SHARE.allowed, |text| (value::SHARE.parse)(text).map(|share| Quantity::Share(share.get())))
            }
            Self::Time => ("a time such as `500ms`, `2.5 RTT` or `1 RTT + 300ms`", value::latency),
            Self::Bytes => (value::BYTES.allowed, |text| (value::BYTES.parse)(text).map(Quantity::Bytes)),
            Self::TimeChange => ("a share, a time or both, such as `5% or 1ms`", |text| {
                let (ratio, plus) = value::either(text, value::time)?;
                Some(Quantity::TimeChange { ratio, plus: plus.unwrap_or_default() })
            }),
            Self::BytesChange => ("a share, bytes or both, such as `5% or 2MiB`", |text| {
                let (ratio, plus) = value::either(text, value::BYTES.parse)?;
                Some(Quantity::BytesChange { ratio, plus: plus.unwrap_or_default() })
            }),
        };
        Kind { allowed, parse }
    }
}

/// Reads `[expect]` and `[expect.NAME]`.
pub(super) fn read(
    mut section: Section<'_>,
    (nodes, links): (&[Node], &[Link]),
    duration: Duration,
    problems: &mut Vec<Problem>,
) -> Vec<Expectation> {
    let mut found = Vec::new();
    for (name, mut sub) in section.named_tables("expect") {
        let node = nodes.iter().position(|node| node.name == name).map(|at| Scope::Node(NodeId(at)));
        let link = links.iter().position(|link| link.name == name).map(|at| Scope::Link(LinkId(at)));
        match node.or(link) {
            Some(scope) => figures(&mut sub, scope, duration, &mut found),
            None => {
                let names = nodes.iter().map(|node| node.name.as_str()).chain(links.iter().map(|link| &*link.name));
                sub.unknown_name("", "node or link", &name, names);
                figures(&mut sub, Scope::All, duration, &mut Vec::new());
            }
        }
        sub.finish(problems);
    }
    figures(&mut section, Scope::All, duration, &mut found);
    section.finish(problems);
    found
}

fn figures(section: &mut Section<'_>, scope: Scope, duration: Duration, found: &mut Vec<Expectation>) {
    let since = section.read("since", &value::TIME);
    if since.is_some_and(|since| since >= duration) {
        section.conflict("since", format!("`since` lies after the end at {duration:?}"));
    }
    let settle = section.read("settle", &value::TIME).unwrap_or_default();
    for spec in &FIGURES {
        if let Some(quantity) = section.read(spec.key, &spec.unit.kind()) {
            found.push(Expectation { scope, figure: spec.figure, quantity, since, settle });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_one_key() {
        let mut keys: Vec<_> = FIGURES.iter().map(|spec| spec.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), FIGURES.len());
    }

    #[test]
    fn quantities_read_as_they_are_written() {
        let told = |unit: Unit, text: &str| (unit.kind().parse)(text).map(|quantity| quantity.to_string());
        assert_eq!(told(Unit::Time, "1 RTT + 300ms").as_deref(), Some("1 RTT + 300ms"));
        assert_eq!(told(Unit::Share, "99%").as_deref(), Some("99 %"));
        assert_eq!(told(Unit::BytesChange, "5% or 2MiB").as_deref(), Some("5 % or 2.0 MiB"));
        assert_eq!(told(Unit::Count, "-1"), None);
    }
}
