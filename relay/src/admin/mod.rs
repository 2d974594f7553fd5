//! The admin interface: health, metrics and `/v1`, over HTTP on a loopback listener of its own.
//!
//! ```text
//! shard 0 ──Publisher──> slot 0 ┐
//! shard 1 ──Publisher──> slot 1 ┼─ State ──> /livez /readyz /metrics /v1/..
//! POST /v1/drain <── watch ─────┘
//! ```
//! Shards count in plain integers and publish a copy a few times a second; nothing here is on the media path, and a
//! request never waits for a shard.

mod http;
mod metrics;
mod problem;
mod process;
mod server;

pub use metrics::{Kind, METRICS, Metric, reference};
pub use server::{BindError, Server};

use serde::Serialize;
use sluice_node::TrunkMetrics;
use sluice_topology::PopId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A shard that has published nothing for so long counts as stuck.
const STALE_AFTER: Duration = Duration::from_secs(10);

/// Tracks of one shard in a [`Snapshot`], at most.
pub const MAX_TRACKS: usize = 1_000;

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The PoP.
    pub pop: PopId,
    /// Its tier or program: `edge`, `origin`.
    pub role: &'static str,
    /// How long a drain waits.
    pub drain_grace: Duration,
}

/// What one shard publishes about itself.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Instant,
    /// Of the node: sessions, tracks, media, trunks.
    pub node: sluice_node::Snapshot,
    /// Of the loop: datagrams, handshakes, turns.
    pub net: sluice_net::Stats,
    /// The first [`MAX_TRACKS`] tracks, by name.
    pub tracks: Vec<TrackStatus>,
}

/// One track as `/v1/tracks` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrackStatus {
    /// Namespace and name in the draft's text form.
    pub track: String,
    /// Subscriptions of viewers.
    pub viewers: usize,
    /// The newest group, if there is one.
    pub largest_group: Option<u64>,
    /// Bytes held.
    pub log_bytes: usize,
}

/// Where one shard puts its [`Snapshot`]s. Cheap to clone, for a shard that is started again.
#[derive(Debug, Clone)]
pub struct Publisher(watch::Sender<Option<Arc<Snapshot>>>);

impl Publisher {
    /// Replaces the shard's snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.send_replace(Some(Arc::new(snapshot)));
    }
}

/// Time, as an argument.
type Now = dyn Fn() -> Instant + Send + Sync;

/// What the admin interface knows. Cheap to clone.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    slots: Vec<watch::Receiver<Option<Arc<Snapshot>>>>,
    drain: watch::Sender<bool>,
    panics: AtomicU64,
    started: Instant,
    now: Box<Now>,
}

impl State {
    /// State of a process with `shards` shards, and a publisher for each.
    pub fn new(
        identity: Identity,
        shards: usize,
        now: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> (Self, Vec<Publisher>) {
        let (publishers, slots) = (0..shards)
            .map(|_| {
                let (sender, receiver) = watch::channel(None);
                (Publisher(sender), receiver)
            })
            .unzip();
        let (drain, panics) = (watch::Sender::new(false), AtomicU64::new(0));
        let inner = Inner { identity, slots, drain, panics, started: now(), now: Box::new(now) };
        (Self { inner: Arc::new(inner) }, publishers)
    }

    /// Becomes true, and stays so, when a drain is asked for.
    #[must_use]
    pub fn drain_requests(&self) -> watch::Receiver<bool> {
        self.inner.drain.subscribe()
    }

    /// Asks for a drain, as `POST /v1/drain` does and a signal may.
    pub fn request_drain(&self) {
        self.inner.drain.send_replace(true);
    }

    /// The newest snapshot of each shard that has published one.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.inner.slots.iter().filter_map(|slot| slot.borrow().clone()).collect()
    }

    /// Every trunk by peer, what several shards say of one peer added up.
    fn trunks(snapshots: &[Arc<Snapshot>]) -> Vec<TrunkMetrics> {
        let mut merged: BTreeMap<&PopId, TrunkMetrics> = BTreeMap::new();
        for trunk in snapshots.iter().flat_map(|s| &s.node.trunks) {
            merged.entry(&trunk.peer).and_modify(|known| known.absorb(trunk)).or_insert_with(|| trunk.clone());
        }
        merged.into_values().collect()
    }

    /// A shard panicked.
    pub fn count_panic(&self) {
        self.inner.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Panics of shards so far.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.inner.panics.load(Ordering::Relaxed)
    }

    fn uptime(&self) -> Duration {
        (self.inner.now)().saturating_duration_since(self.inner.started)
    }

    fn is_draining(&self) -> bool {
        *self.inner.drain.borrow()
    }

    /// Shards that have published, but nothing lately.
    fn stuck(&self, snapshots: &[Arc<Snapshot>]) -> usize {
        let now = (self.inner.now)();
        snapshots.iter().filter(|s| now.saturating_duration_since(s.at) > STALE_AFTER).count()
    }

    /// Why clients should not be sent here, if so.
    fn unready(&self) -> Option<String> {
        let (snapshots, shards) = (self.snapshots(), self.inner.slots.len());
        let stuck = self.stuck(&snapshots);
        if self.is_draining() {
            Some("draining".to_owned())
        } else if snapshots.len() < shards {
            Some(format!("{} of {shards} shards have started", snapshots.len()))
        } else if stuck > 0 {
            Some(format!("{stuck} of {shards} shards are stuck"))
        } else {
            None
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("identity", &self.inner.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
