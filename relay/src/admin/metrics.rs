//! The metrics: one table from which `/metrics` and `docs/metrics.md` come.
//!
//! Rendered here rather than through a metrics registry: shards count in plain integers that they own, which costs the
//! media path less than any handle, and what is left to do is to print a hundred lines per scrape.

use super::{Snapshot, State, process};
use sluice_node::TrunkMetrics;
use std::fmt::Write as _;
use std::sync::Arc;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One series of `/metrics`, or one per trunk.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, with unit and `_total` as Prometheus has it.
    pub name: &'static str,
    /// Fixed labels that tell it from others of the same name, such as `step="select"`.
    pub labels: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    read: Read,
}

/// Where the value comes from.
#[derive(Debug, Clone, Copy)]
enum Read {
    /// Summed over shards.
    Shards(fn(&Snapshot) -> u64),
    /// One series per trunk, labelled with its peer: bounded by the PoPs of the backbone.
    Trunks(fn(&TrunkMetrics) -> Option<f64>),
    /// Once per process.
    Process(fn(&State) -> Option<f64>),
}

impl Metric {
    const fn counter(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Self {
        Self { name, labels: "", help, kind: Kind::Counter, read: Read::Shards(read) }
    }

    const fn gauge(name: &'static str, help: &'static str, read: fn(&Snapshot) -> u64) -> Self {
        Self { name, labels: "", help, kind: Kind::Gauge, read: Read::Shards(read) }
    }

    const fn trunk(name: &'static str, kind: Kind, help: &'static str, read: fn(&TrunkMetrics) -> Option<f64>) -> Self {
        Self { name, labels: "", help, kind, read: Read::Trunks(read) }
    }

    const fn process(name: &'static str, kind: Kind, help: &'static str, read: fn(&State) -> Option<f64>) -> Self {
        Self { name, labels: "", help, kind, read: Read::Process(read) }
    }

    const fn with(mut self, labels: &'static str) -> Self {
        self.labels = labels;
        self
    }
}

/// An integer as a float; exact below 2^53.
const fn count(value: u64) -> Option<f64> {
    Some(value as f64)
}

const DROPPED: &str = "Objects left out for a reader, by the step that did it and its reason.";
const HANDSHAKES: &str = "Connection attempts by result.";
const UDP_DROPPED: &str = "Datagrams thrown away by the loop, by reason.";

/// Every metric, those of one name side by side.
pub const METRICS: &[Metric] = &[
    // Sessions and requests.
    Metric::gauge("sluice_sessions", "User sessions now.", |s| s.node.sessions as u64),
    Metric::gauge("sluice_viewers", "Subscriptions of users now.", |s| s.node.viewers as u64),
    Metric::gauge("sluice_upstreams", "Subscriptions sent upstream now.", |s| s.node.upstreams as u64),
    Metric::counter("sluice_sessions_total", "User sessions that completed their handshake.", |s| {
        s.node.metrics.sessions_total
    }),
    Metric::counter("sluice_sessions_violated_total", "Sessions closed for a violation of the protocol.", |s| {
        s.node.metrics.sessions_violated_total
    }),
    Metric::counter("sluice_requests_total", "Requests received, of any kind.", |s| s.node.metrics.requests_total),
    Metric::counter("sluice_requests_refused_total", "Requests answered with REQUEST_ERROR.", |s| {
        s.node.metrics.requests_refused_total
    }),
    Metric::counter("sluice_limits_hit_total", "Times that a configured limit was hit.", |s| {
        s.node.metrics.limits_hit_total
    }),
    Metric::counter(
        "sluice_upstream_subscribes_total",
        "Subscriptions sent to publishers and other PoPs, those included that were refused.",
        |s| s.node.metrics.upstream_subscribes_total,
    ),
    Metric::counter("sluice_shard_subscribes_total", "Subscriptions between the shards of this process.", |s| {
        s.node.metrics.shard_subscribes_total
    }),
    Metric::counter("sluice_upstream_retries_total", "Subscriptions sent upstream again after a loss.", |s| {
        s.node.metrics.upstream_retries_total
    }),
    Metric::counter(
        "sluice_reroutes_total",
        "Tracks that another parent took over because theirs was silent or leaving.",
        |s| s.node.metrics.reroutes_total,
    ),
    // Media.
    Metric::gauge("sluice_tracks", "Tracks now.", |s| s.node.tracks as u64),
    Metric::gauge("sluice_log_bytes", "Bytes held by track logs.", |s| s.node.log_bytes as u64),
    Metric::gauge(
        "sluice_retained_bytes",
        "Bytes that track logs have dropped and transports still hold, unacknowledged.",
        |s| s.node.retained_bytes as u64,
    ),
    Metric::gauge("sluice_memory_cap_bytes", "What log and retained bytes together may be: `limits.memory`.", |s| {
        s.node.memory_cap_bytes as u64
    }),
    Metric::counter(
        "sluice_memory_groups_evicted_total",
        "Groups dropped before their time because memory for media was short.",
        |s| s.node.metrics.memory.groups_evicted_total,
    ),
    Metric::counter(
        "sluice_memory_refused_total",
        "Requests answered EXCESSIVE_LOAD because memory for media was short.",
        |s| s.node.metrics.memory.refused_total,
    ),
    Metric::counter(
        "sluice_memory_shed_total",
        "Sessions of viewers that were closed because memory for media was short.",
        |s| s.node.metrics.memory.shed_total,
    ),
    Metric::counter("sluice_tracks_malformed_total", "Tracks ended as malformed.", |s| {
        s.node.metrics.tracks_malformed_total
    }),
    Metric::counter("sluice_appended_bytes_total", "Payload and object header bytes appended to track logs.", |s| {
        s.node.metrics.media.appended_bytes_total
    }),
    Metric::counter("sluice_appended_objects_total", "Objects completed in track logs.", |s| {
        s.node.metrics.media.appended_objects_total
    }),
    Metric::counter("sluice_viewer_bytes_total", "Bytes handed to viewers' transports.", |s| {
        s.node.metrics.media.viewer_bytes_total
    }),
    Metric::counter("sluice_viewer_objects_total", "Objects handed to viewers' transports.", |s| {
        s.node.metrics.media.viewer_objects_total
    }),
    Metric::counter("sluice_groups_skipped_total", "Groups that viewers skipped because they were behind.", |s| {
        s.node.metrics.media.groups_skipped_total
    }),
    Metric::counter("sluice_dropped_total", DROPPED, |s| s.node.metrics.media.dropped_behind_total)
        .with("step=\"select\",reason=\"behind\""),
    Metric::counter("sluice_dropped_total", DROPPED, |s| s.node.metrics.media.dropped_timeout_total)
        .with("step=\"select\",reason=\"timeout\""),
    Metric::counter("sluice_dropped_total", DROPPED, |s| s.node.metrics.media.dropped_datagram_size_total)
        .with("step=\"encode\",reason=\"datagram_size\""),
    // Trunks.
    Metric::trunk(
        "sluice_trunk_control_up",
        Kind::Gauge,
        "1 while the control connection stands and the peer has greeted.",
        |t| count(u64::from(t.control_up)),
    ),
    Metric::trunk("sluice_trunk_media_up", Kind::Gauge, "1 while the media connection stands.", |t| {
        count(u64::from(t.media_up))
    }),
    Metric::trunk("sluice_trunk_suspect", Kind::Gauge, "1 while the peer has been silent too long.", |t| {
        count(u64::from(t.suspect))
    }),
    Metric::trunk("sluice_trunk_rtt_seconds", Kind::Gauge, "Round trip to the peer.", |t| {
        t.rtt.map(|rtt| rtt.as_secs_f64())
    }),
    Metric::trunk(
        "sluice_trunk_sent_bytes_total",
        Kind::Counter,
        "Media bytes handed to the trunk for the first time. Divided by the carried bytes: copies on the link.",
        |t| count(t.bytes.sent_total),
    ),
    Metric::trunk(
        "sluice_trunk_carried_bytes_total",
        Kind::Counter,
        "Bytes appended here to tracks while this trunk carried them to the peer.",
        |t| count(t.bytes.carried_total),
    ),
    Metric::trunk("sluice_trunk_received_bytes_total", Kind::Counter, "Media bytes received.", |t| {
        count(t.bytes.received_total)
    }),
    Metric::trunk("sluice_trunk_udp_sent_bytes_total", Kind::Counter, "UDP payload bytes sent for media.", |t| {
        count(t.bytes.udp_sent_total)
    }),
    Metric::trunk(
        "sluice_trunk_udp_received_bytes_total",
        Kind::Counter,
        "UDP payload bytes received for media.",
        |t| count(t.bytes.udp_received_total),
    ),
    Metric::trunk("sluice_trunk_lost_packets_total", Kind::Counter, "Media packets declared lost.", |t| {
        count(t.lost_packets_total)
    }),
    Metric::counter(
        "sluice_trunk_peers_refused_total",
        "Peers that dialled the trunk port and that TLS kept out, mostly for a certificate; the log says why.",
        |s| s.net.handshake.peers_refused,
    ),
    // The loop.
    Metric::counter("sluice_handshakes_total", HANDSHAKES, |s| s.net.handshake.completed).with("result=\"completed\""),
    Metric::counter("sluice_handshakes_total", HANDSHAKES, |s| s.net.handshake.failed).with("result=\"failed\""),
    Metric::counter("sluice_handshakes_total", HANDSHAKES, |s| s.net.handshake.retried).with("result=\"retried\""),
    Metric::counter("sluice_handshakes_total", HANDSHAKES, |s| s.net.handshake.refused).with("result=\"refused\""),
    Metric::counter("sluice_handshakes_total", HANDSHAKES, |s| s.net.handshake.ignored).with("result=\"ignored\""),
    Metric::counter("sluice_udp_sent_bytes_total", "UDP payload bytes sent.", |s| s.net.udp.tx_bytes),
    Metric::counter("sluice_udp_sent_datagrams_total", "Datagrams sent.", |s| s.net.udp.tx_datagrams),
    Metric::counter("sluice_udp_sent_batches_total", "Send calls; datagrams per call is the GSO batch.", |s| {
        s.net.udp.tx_batches
    }),
    Metric::counter("sluice_udp_send_blocked_total", "Sends that the kernel put off.", |s| s.net.udp.tx_blocked),
    Metric::counter("sluice_udp_received_bytes_total", "UDP payload bytes received.", |s| s.net.udp.rx_bytes),
    Metric::counter("sluice_udp_received_datagrams_total", "Datagrams received.", |s| s.net.udp.rx_datagrams),
    Metric::counter("sluice_udp_received_batches_total", "Receive calls that brought something.", |s| {
        s.net.udp.rx_batches
    }),
    Metric::counter("sluice_udp_dropped_total", UDP_DROPPED, |s| s.net.drop.send_error).with("reason=\"send_error\""),
    Metric::counter("sluice_udp_dropped_total", UDP_DROPPED, |s| s.net.drop.too_long).with("reason=\"too_long\""),
    Metric::counter("sluice_udp_dropped_total", UDP_DROPPED, |s| s.net.drop.foreign_full)
        .with("reason=\"foreign_full\""),
    Metric::counter("sluice_shard_turns_total", "Turns of the shard loops.", |s| s.net.turn.turns),
    Metric::counter("sluice_shard_wakeups_total", "Returns of the shard loops from waiting.", |s| s.net.turn.wakeups),
    Metric::counter("sluice_shard_visits_total", "Visits to connections: the unit of the CPU cost.", |s| {
        s.net.turn.visits
    }),
    Metric::process(
        "sluice_shard_panics_total",
        Kind::Counter,
        "Panics of shards; each lost the shard's sessions, and three of one shard in a minute end the process.",
        |s| count(s.panics()),
    ),
    // The process.
    Metric::process("sluice_uptime_seconds", Kind::Gauge, "Time since the start.", |s| Some(s.uptime().as_secs_f64())),
    Metric::process("sluice_draining", Kind::Gauge, "1 once a drain was asked for.", |s| {
        count(u64::from(s.is_draining()))
    }),
    Metric::process("process_resident_memory_bytes", Kind::Gauge, "Resident memory.", |_| process::resident_bytes()),
    Metric::process("process_cpu_seconds_total", Kind::Counter, "CPU time of all threads.", |_| process::cpu_seconds()),
];

/// All metrics in the text format of Prometheus.
pub(super) fn render(state: &State) -> String {
    let snapshots = state.snapshots();
    let mut text = String::with_capacity(16 * 1024);
    let mut name = "";
    for metric in METRICS {
        if metric.name != name {
            name = metric.name;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", metric.help, kind_name(metric.kind));
        }
        render_one(&mut text, metric, state, &snapshots);
    }
    let _ = writeln!(
        text,
        "# HELP sluice_build_info The build, as labels.\n# TYPE sluice_build_info gauge\n\
         sluice_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    text
}

fn render_one(text: &mut String, metric: &Metric, state: &State, snapshots: &[Arc<Snapshot>]) {
    let mut series = |labels: &str, value: &dyn std::fmt::Display| {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{}{braces} {value}", metric.name);
    };
    match metric.read {
        Read::Shards(read) => series(metric.labels, &snapshots.iter().map(|s| read(s)).sum::<u64>()),
        Read::Process(read) => {
            if let Some(value) = read(state) {
                series(metric.labels, &value);
            }
        }
        Read::Trunks(read) => {
            for trunk in State::trunks(snapshots) {
                if let Some(value) = read(&trunk) {
                    series(&format!("peer=\"{}\"", trunk.peer), &value);
                }
            }
        }
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

/// The reference page, `docs/metrics.md`.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated from the table in `relay/src/admin/metrics.rs`; the test \
         `the_metrics_page_is_current` says how.\n\n`GET /metrics` of the admin interface, in the text format of \
         Prometheus. Values are summed over shards; those of\ntrunks carry the label `peer`.\n\n\
         | name | labels | kind | what it says |\n| --- | --- | --- | --- |\n",
    );
    for metric in METRICS {
        let labels = match metric.read {
            Read::Trunks(_) => "peer",
            Read::Shards(_) | Read::Process(_) => metric.labels,
        };
        let labels = if labels.is_empty() { String::new() } else { format!("`{labels}`") };
        let _ = writeln!(page, "| `{}` | {labels} | {} | {} |", metric.name, kind_name(metric.kind), metric.help);
    }
    page.push_str("| `sluice_build_info` | `version` | gauge | The build, as labels. |\n");
    page
}
