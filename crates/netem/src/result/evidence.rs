//! What an engine hands in. Times count from the start of the run.

use super::stats::Quantiles;
use crate::model::Counters;
use crate::scenario::{Engine, LinkId, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything that was seen of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Who has carried it out.
    pub engine: Engine,
    /// With which seed.
    pub seed: u64,
    /// When it ended.
    pub ended: Duration,
    /// How long that took on the clock of the wall.
    pub wall: Duration,
    /// By publisher, in order of time.
    pub published: BTreeMap<NodeId, Vec<Published>>,
    /// Each life of each viewer.
    pub viewers: Vec<Viewing>,
    /// Links that carried something.
    pub links: Vec<LinkEvidence>,
    /// Relays.
    pub nodes: Vec<NodeEvidence>,
    /// Events, in order.
    pub happened: Vec<Happened>,
    /// How much later than told the engine moved packets; `None`: its time is virtual.
    pub lateness: Option<Punctuality>,
    /// One number for all that moved, where a run repeats.
    pub trace_hash: Option<u64>,
}

/// How late an engine was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Punctuality {
    /// By how much packets were.
    pub late: Quantiles,
    /// Whether it went before ordinary threads.
    pub is_real_time: bool,
}

/// Kind of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Media {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// An object that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// When.
    pub at: Duration,
    /// Of which track.
    pub media: Media,
    /// Group.
    pub group: u64,
    /// Object.
    pub object: u32,
}

/// An object that arrived at a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, whole.
    pub at: Duration,
    /// When it was published.
    pub sent: Duration,
    /// Of which track.
    pub media: Media,
    /// Group.
    pub group: u64,
    /// Object.
    pub object: u32,
    /// Payload.
    pub bytes: u32,
}

/// One life of a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Viewing {
    /// Its node.
    pub node: NodeId,
    /// Its number there.
    pub index: u32,
    /// When it dialled.
    pub dialled: Duration,
    /// When it left, or was killed; the end of the run otherwise.
    pub left: Duration,
    /// Sessions that ended before that.
    pub reconnects: u32,
    /// What it got, in order of time.
    pub arrivals: Vec<Arrival>,
}

/// What a link has counted; a link to viewers is the sum of theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkEvidence {
    /// Which one.
    pub link: LinkId,
    /// From the first end to the second.
    pub down: Counters,
    /// Back.
    pub up: Counters,
    /// Waiting times before its bottlenecks, regularly sampled; the longer of both ways.
    pub queue: Vec<QueueSample>,
}

/// How long a packet that came at a time had to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSample {
    /// When.
    pub at: Duration,
    /// How long.
    pub waits: Duration,
}

/// What was seen of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvidence {
    /// Which one.
    pub node: NodeId,
    /// Regularly sampled.
    pub samples: Vec<NodeSample>,
    /// Times that its process was started again.
    pub restarts: u32,
    /// Connections to other relays that were lost.
    pub trunks_lost: u32,
    /// Times that it took another relay for silent.
    pub route_changes: u32,
}

/// A relay at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSample {
    /// When.
    pub at: Duration,
    /// Bytes: resident memory of a process; in a simulation media in logs, and media that logs have dropped and
    /// transports hold.
    pub memory: u64,
    /// Descriptors of a process; sessions and tracks in a simulation.
    pub held: u64,
}

/// An event as it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Its place in the scenario's events.
    pub event: usize,
    /// When.
    pub at: Duration,
    /// What the engine could not do as told; `None`: all of it.
    pub failed: Option<String>,
}
