//! What has moved, read from the relays' own counters.

use serde::Serialize;
use sluice_relay::admin::Snapshot;
use std::collections::BTreeMap;
use std::fmt;

/// The system at its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Directed trunks that carried something, by sender.
    pub(super) links: Vec<Link>,
    /// Bytes handed to viewers.
    pub(super) viewer_bytes: u64,
    /// Objects handed to viewers.
    pub(super) viewer_objects: u64,
    /// Objects left out for a viewer that was behind, or too old.
    pub(super) objects_lost: u64,
    /// Groups that viewers skipped.
    pub(super) groups_skipped: u64,
    /// Objects that a source could not hand to its relay.
    pub(super) source_objects_dropped: u64,
}

/// One direction of a trunk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Link {
    pub(super) from: String,
    pub(super) to: String,
    /// Media bytes sent for the first time.
    pub(super) payload_bytes: u64,
    /// UDP bytes of the media connection.
    pub(super) wire_bytes: u64,
    /// Media bytes that came into being at the sender while this link carried them, once per track.
    pub(super) carried_bytes: u64,
    /// Payload over carried; null where nothing was carried.
    pub(super) copies: Option<f64>,
}

impl Summary {
    /// Adds a relay, one snapshot per shard.
    pub(super) fn add(&mut self, pop: &str, shards: &[impl AsRef<Snapshot>]) {
        let mut links: BTreeMap<String, Link> = BTreeMap::new();
        for shard in shards.iter().map(AsRef::as_ref) {
            let media = &shard.node.metrics.media;
            self.viewer_bytes += media.viewer_bytes_total;
            self.viewer_objects += media.viewer_objects_total;
            self.objects_lost +=
                media.dropped_behind_total + media.dropped_timeout_total + media.dropped_datagram_size_total;
            self.groups_skipped += media.groups_skipped_total;
            for trunk in &shard.node.trunks {
                let to = trunk.peer.to_string();
                let link = links.entry(to.clone()).or_insert_with(|| Link::new(pop, to));
                link.payload_bytes += trunk.bytes.sent_total;
                link.carried_bytes += trunk.bytes.carried_total;
                link.wire_bytes += trunk.bytes.udp_sent_total;
            }
        }
        let used = links.into_values().filter(|link| link.payload_bytes > 0).map(Link::with_copies);
        self.links.extend(used);
    }
}

impl Link {
    fn new(from: &str, to: String) -> Self {
        Self { from: from.to_owned(), to, payload_bytes: 0, wire_bytes: 0, carried_bytes: 0, copies: None }
    }

    fn with_copies(mut self) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a ratio, read to four digits")]
        let copies = self.payload_bytes as f64 / self.carried_bytes.max(1) as f64;
        self.copies = (self.carried_bytes > 0).then_some(copies);
        self
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in &self.links {
            let route = format!("{} -> {}", link.from, link.to);
            write!(
                f,
                "{route:<20} {:>8.1} MB payload, {:>8.1} MB on the wire",
                mega(link.payload_bytes),
                mega(link.wire_bytes)
            )?;
            match link.copies {
                Some(copies) => writeln!(f, ", {copies:.3} copies")?,
                None => writeln!(f)?,
            }
        }
        let (objects, megabytes) = (self.viewer_objects, mega(self.viewer_bytes));
        writeln!(f, "to viewers           {megabytes:>8.1} MB in {objects} objects, {} lost", self.objects_lost)
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_net::{Clock as _, ManualClock};
    use sluice_node::{LinkBytes, TrunkMetrics};
    use std::sync::Arc;
    use std::time::Duration;

    fn shard(sent: u64, carried: u64) -> Arc<Snapshot> {
        let bytes =
            LinkBytes { sent_total: sent, carried_total: carried, udp_sent_total: sent + 5, ..LinkBytes::default() };
        let peer = "edge-1".parse().unwrap();
        let trunk = TrunkMetrics {
            peer,
            control_up: true,
            media_up: true,
            suspect: false,
            rtt: None,
            bytes,
            lost_packets_total: 0,
        };
        let mut node = sluice_node::Snapshot { trunks: vec![trunk], ..sluice_node::Snapshot::default() };
        node.metrics.media.viewer_bytes_total = 7;
        node.metrics.media.dropped_behind_total = 1;
        let at = ManualClock::new(Duration::ZERO).now();
        Arc::new(Snapshot { at, node, net: sluice_net::Stats::default(), tracks: Vec::new() })
    }

    #[test]
    fn shards_are_one_relay() {
        let mut summary = Summary::default();
        summary.add("origin", &[shard(100, 100), shard(50, 20)]);
        summary.add("edge-2", &[shard(0, 0)]);
        let json = serde_json::to_string(&summary).unwrap();
        let expected = "{\"links\":[{\"from\":\"origin\",\"to\":\"edge-1\",\"payload_bytes\":150,\"wire_bytes\":160,\
            \"carried_bytes\":120,\"copies\":1.25}],\"viewer_bytes\":21,\"viewer_objects\":0,\"objects_lost\":3,\
            \"groups_skipped\":0,\"source_objects_dropped\":0}";
        assert_eq!(json, expected);
    }
}
