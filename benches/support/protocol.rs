//! What the processes of a run say to each other: one JSON object per line over stdin and stdout.

use crate::support::pattern::Pattern;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Case {
    /// quinn's async API on one tokio thread.
    Quinn,
    /// The shard loop with an application that only writes frames.
    Bare,
    /// The relay's node in the same loop, with a publisher and viewers that speak MoQ.
    Relay,
    /// The relay's whole daemon: shards on threads, trunks, what the admin side is told.
    Daemon,
}

impl Case {
    /// The application protocol that both ends agree on.
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Quinn | Self::Bare => b"sluice-bench",
            Self::Relay | Self::Daemon => sluice_node::USER_ALPN,
        }
    }
}

/// How often the load side acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AckMode {
    /// Once per train of packets, which is once per frame: what loopback GRO makes of any receiver.
    Frame,
    /// Every second packet: Firefox, and any receiver without ACK decimation on a real network.
    Per2,
    /// Every tenth packet: Chrome, and receivers that obey ACK_FREQUENCY.
    Per10,
}

impl AckMode {
    /// Packets per acknowledgement; `None` for one per train.
    pub(crate) const fn packets(self) -> Option<u32> {
        match self {
            Self::Frame => None,
            Self::Per2 => Some(2),
            Self::Per10 => Some(10),
        }
    }
}

/// Whether frames flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Traffic {
    /// Every viewer gets every frame.
    Active,
    /// Viewers are connected and get nothing.
    Idle,
}

/// When viewers get an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Coalesce {
    /// Once it is whole.
    On,
    /// As its bytes come.
    Off,
}

/// How viewers join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Join {
    /// Many at a time, at the start of the next group.
    NextGroup,
    /// One after the other on a track that flows: SUBSCRIBE from here on, and a joining FETCH of the group so far.
    Warm,
}

/// How the relay is built; the other cases know one shape only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Shards of every relay.
    pub(crate) shards: u8,
    /// Relays between publisher and viewers.
    pub(crate) relays: u8,
    pub(crate) coalesce: Coalesce,
}

impl Shape {
    /// One relay of one shard.
    pub(crate) const PLAIN: Self = Self { shards: 1, relays: 1, coalesce: Coalesce::On };
}

/// One run: a sender process and a load process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) case: Case,
    pub(crate) viewers: usize,
    pub(crate) ack_mode: AckMode,
    pub(crate) traffic: Traffic,
    /// Bit rate per viewer.
    pub(crate) megabits: u32,
    /// How long a frame takes to arrive at the sender; 0 where the sender makes it itself.
    pub(crate) spread_ms: u32,
    pub(crate) shape: Shape,
    pub(crate) join: Join,
}

impl Run {
    /// The frames of this run.
    pub(crate) const fn pattern(self) -> Pattern {
        Pattern::new(self.megabits)
    }
}

/// What a child process is to do; handed over as its one argument.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Measure the floor and print its line.
    Floor { viewers: usize, megabits: u32, rounds: u32 },
    /// Serve frames on the sender core.
    Sender(Run),
    /// Receive them on the load core.
    Load { run: Run, sender: Hello },
}

/// The sender listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) address: SocketAddr,
    /// Where the publisher connects.
    pub(crate) publish: SocketAddr,
    /// The certificate to trust, PEM.
    pub(crate) certificate: String,
    /// When frame 0 was due.
    pub(crate) epoch_ns: u64,
}

/// Every viewer is served.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Joined {
    /// From the first dial to the last viewer's first frame.
    pub(crate) seconds: f64,
    /// From SUBSCRIBE to the first bytes of an object, where viewers join a warm track.
    pub(crate) first_object: Option<Quantiles>,
    /// What QUIC holds the round trip for at that moment.
    pub(crate) rtt: Option<Quantiles>,
}

/// Two quantiles, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// What left on one trunk: since its start from a meter, in the window from a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// Media bytes appended to tracks that it carries, once per track.
    pub(crate) carried: u64,
    /// Media bytes handed to its transport for the first time.
    pub(crate) sent: u64,
    /// UDP payload bytes.
    pub(crate) udp: u64,
}

impl Link {
    /// What left since `before`.
    pub(crate) fn since(mut self, before: &[Self]) -> Self {
        if let Some(before) = before.iter().find(|link| link.name == self.name) {
            self.carried -= before.carried;
            self.sent -= before.sent;
            self.udp -= before.udp;
        }
        self
    }
}

/// Measure from one wall clock to the other.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) from_ns: u64,
    pub(crate) until_ns: u64,
}

impl Window {
    /// Whether `wall_ns` lies inside.
    pub(crate) const fn contains(self, wall_ns: u64) -> bool {
        self.from_ns <= wall_ns && wall_ns < self.until_ns
    }

    /// Length.
    pub(crate) const fn seconds(self) -> f64 {
        (self.until_ns - self.from_ns) as f64 / 1e9
    }
}

/// What the window cost the sender's process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SenderReport {
    pub(crate) cpu_ns: u64,
    pub(crate) rss_kib: u64,
    /// Allocations inside the application, stream opening apart.
    pub(crate) allocations: u64,
    /// Trunks that carried media.
    pub(crate) links: Vec<Link>,
}

/// What the viewers saw of the frames due in the window.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) latency_p50_ms: f64,
    pub(crate) latency_p99_ms: f64,
    /// Share of its core that the load side used.
    pub(crate) busy: f64,
    /// Packets per GSO train, as the receivers saw them.
    pub(crate) gso_avg: f64,
    /// Datagrams sent per datagram received.
    pub(crate) acks_per_packet: f64,
    /// Connections that ended before the run did.
    pub(crate) lost_viewers: u64,
}

/// Says `message` to the parent.
#[expect(clippy::print_stdout, reason = "a child's stdout is its channel to the parent")]
pub(crate) fn say(message: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(message)?);
    Ok(())
}

/// Reads one message from the parent; `None` when the parent is gone.
pub(crate) fn hear<T: DeserializeOwned>() -> anyhow::Result<Option<T>> {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
