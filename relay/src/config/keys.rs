//! Every key of the configuration, declared once: name, type, default, documentation.
//!
//! Flags, environment variables, the file's known names, `print-config` and the reference page all come from this
//! table. A new key needs a reason why its default cannot be right for everyone.

use super::value::{
    Argument, Bandwidth, ByteSize, HostPort, IngestMode, LoopbackAddr, Price, Publishers, Role, Span, Switch, Value,
    Whole,
};
use sluice_moqt::Namespace;
use sluice_topology::PopId;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What a key is, without its type.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The full name: `section.key`, or the key alone outside sections.
    pub name: &'static str,
    /// What it does, and why one would set it.
    pub doc: &'static str,
    /// The value where nobody sets one.
    pub default: Option<&'static str>,
    /// How many values it takes.
    pub shape: Shape,
    /// The allowed values as an operator reads them.
    pub allowed: fn() -> String,
}

/// How many values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One.
    One,
    /// A list: a TOML array, comma-separated in the environment, a repeated flag.
    List,
    /// One path: relative to the file that sets it, else to the working directory.
    Path,
}

/// A key with the type of its value.
#[derive(Debug)]
pub(super) struct Key<T> {
    pub(super) name: &'static str,
    value: PhantomData<fn() -> T>,
}

/// Sections that stand any number of times in a file (`[[peer]]`).
pub(super) const REPEATED: [&str; 3] = ["peer", "home", "source"];

impl Spec {
    /// The section's name, if the key is in one.
    #[must_use]
    pub fn section(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(section, _)| section)
    }

    /// The name within its section.
    #[must_use]
    pub fn leaf(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, leaf)| leaf)
    }

    /// Whether its section may stand several times; such sections are set as a whole.
    #[must_use]
    pub fn is_repeated(&self) -> bool {
        self.section().is_some_and(|s| REPEATED.contains(&s))
    }
}

/// The environment variable of a key or repeated section: `listen.addr` is `SLUICE_LISTEN_ADDR`.
#[must_use]
pub fn env_name(name: &str) -> String {
    format!("SLUICE_{}", name.replace('.', "_").to_uppercase())
}

/// The flag of a key or repeated section, without dashes: `listen.addr` is `listen-addr`.
#[must_use]
pub fn flag_name(name: &str) -> String {
    name.replace(['.', '_'], "-")
}

/// The key called `name`.
pub(super) fn find(name: &str) -> Option<&'static Spec> {
    ALL.iter().find(|spec| spec.name == name)
}

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $key:ident: $name:literal $shape:ident $type:ty = $default:expr;)*) => {
        $(
            $(#[doc = $doc])+
            pub(super) const $key: Key<$type> = Key { name: $name, value: PhantomData };
        )*

        /// The table, in the order of the reference page.
        pub const ALL: &[Spec] = &[$(Spec {
            name: $name,
            doc: concat!($($doc),+),
            default: $default,
            shape: Shape::$shape,
            allowed: <$type as Value>::allowed,
        }),*];
    };
}

pub(super) type Shards = Whole<1, 64>;
pub(super) type MemoryCap = ByteSize<{ 64 << 20 }, { 1 << 40 }>;
pub(super) type SessionCap = Whole<1, 1_000_000>;
pub(super) type RequestCap = Whole<1, 65_536>;
pub(super) type WindowBytes = ByteSize<{ 1 << 20 }, { 64 << 30 }>;
pub(super) type WindowAge = Span<1_000, 86_400_000>;
pub(super) type WindowGroups = Whole<2, 65_536>;
pub(super) type LagGroups = Whole<1, 1_024>;
pub(super) type DeliveryTimeout = Span<100, 600_000>;
pub(super) type DrainGrace = Span<0, 3_600_000>;

keys! {
    /// The name of this PoP. With trunks it must be the one in the trunk certificate (`sluice:pop/NAME`).
    POP: "pop" One PopId = None;
    /// The tier of this relay: an edge terminates clients, an origin homes namespaces.
    ROLE: "role" One Role = Some("edge");
    /// Threads that forward media. More than the machine has cores is never faster.
    SHARDS: "shards" One Shards = Some("1");
    /// Folder of what outlives a restart: the node key, from which connection resets and tokens derive. The PoP's
    /// name is appended, so that relays of one machine do not share it.
    STATE_DIR: "state_dir" Path PathBuf = Some("sluice-state");
    /// UDP address where clients connect over QUIC.
    LISTEN_ADDR: "listen.addr" One SocketAddr = Some("[::]:4443");
    /// Certificate chain of the client listener (PEM). Without it and `listen.key`, a development certificate for
    /// localhost is made.
    LISTEN_CERT: "listen.cert" Path PathBuf = None;
    /// Private key of the client listener (PEM).
    LISTEN_KEY: "listen.key" Path PathBuf = None;
    /// Addresses at which clients reach this relay from outside, where the bound address is not one of them.
    LISTEN_ADVERTISE: "listen.advertise" List SocketAddr = None;
    /// Address of the admin interface: health, metrics, `/v1`.
    ADMIN_ADDR: "admin.addr" One LoopbackAddr = Some("127.0.0.1:9090");
    /// UDP address where other relays connect.
    TRUNK_ADDR: "trunk.addr" One SocketAddr = Some("[::]:4444");
    /// Certificate of the private authority that signs the relays' certificates (PEM; see `sluice ca init`).
    TRUNK_CA: "trunk.ca" Path PathBuf = None;
    /// Trunk certificate of this PoP (PEM; see `sluice ca issue`).
    TRUNK_CERT: "trunk.cert" Path PathBuf = None;
    /// Private key of the trunk certificate (PEM).
    TRUNK_KEY: "trunk.key" Path PathBuf = None;
    /// Origins of this relay by PoP name, the preferred one first.
    TRUNK_ORIGINS: "trunk.origins" List PopId = None;
    /// Name of the peer, checked against its certificate.
    PEER_POP: "peer.pop" One PopId = None;
    /// Where to dial it.
    PEER_ADDR: "peer.addr" One HostPort = None;
    /// What traffic to it costs.
    PEER_PRICE: "peer.price_usd_per_gb" One Price = Some("0");
    /// Rate that this trunk may carry at most; without it the measured capacity is the only bound.
    PEER_CAP: "peer.cap" One Bandwidth = None;
    /// What happens where a second live publisher offers a track: both merged, the newest wins, or it is refused.
    INGEST_PUBLISHERS: "ingest.publishers" One Publishers = Some("merge");
    /// When the home of a namespace pulls a track that was announced: at once, or with the first subscriber.
    INGEST_MODE: "ingest.ingest" One IngestMode = Some("always");
    /// Namespaces below this prefix have a fixed home; the longest prefix wins.
    HOME_PREFIX: "home.prefix" One Namespace = None;
    /// The origin that is their home, by PoP name.
    HOME_ORIGIN: "home.origin" One PopId = None;
    /// Namespace under which `sluice origin-shim` publishes this source. A source has one of `file`, `stdin` and
    /// `command`.
    SOURCE_NAMESPACE: "source.namespace" One Namespace = None;
    /// An MP4 or fragmented MP4 file that is played in real time.
    SOURCE_FILE: "source.file" Path PathBuf = None;
    /// Whether the file starts over at its end.
    SOURCE_LOOP: "source.loop" One Switch = Some("false");
    /// Whether standard input is the source: fragmented MP4, published as it comes.
    SOURCE_STDIN: "source.stdin" One Switch = Some("false");
    /// A program with its arguments that writes fragmented MP4 to its standard output, published as it comes. Whenever
    /// it ends it is started again. In a flag or variable its words are separated by spaces.
    SOURCE_COMMAND: "source.command" List Argument = None;
    /// TCP address where encoders push RTMP to `sluice origin-shim`: what is pushed to `rtmp://HOST/live/KEY` is the
    /// namespace `live/KEY`. Needs `ffmpeg`.
    RTMP_ADDR: "rtmp.addr" One SocketAddr = None;
    /// Memory for media, in track logs and in transports together; shards share it evenly. From 92 % on the largest
    /// logs are cut to their newest whole group, from 95 % on new subscriptions and publishers are answered
    /// EXCESSIVE_LOAD, from 98 % on sessions of viewers are closed, the newest first.
    LIMIT_MEMORY: "limits.memory" One MemoryCap = Some("1GiB");
    /// Sessions at once; beyond it new ones are refused before their handshake.
    LIMIT_SESSIONS: "limits.sessions" One SessionCap = Some("10000");
    /// Open requests of one session; beyond it a request is answered EXCESSIVE_LOAD.
    LIMIT_REQUESTS: "limits.requests_per_session" One RequestCap = Some("4096");
    /// Bytes kept of one track.
    LIMIT_WINDOW_BYTES: "limits.window_bytes" One WindowBytes = Some("64MiB");
    /// Age of the oldest group kept of one track; the newest stays for whoever joins.
    LIMIT_WINDOW_AGE: "limits.window_age" One WindowAge = Some("30s");
    /// Groups kept of one track.
    LIMIT_WINDOW_GROUPS: "limits.window_groups" One WindowGroups = Some("64");
    /// Groups by which a viewer may lag before it skips to the newest one.
    LIMIT_VIEWER_MAX_LAG: "limits.viewer_max_lag" One LagGroups = Some("1");
    /// Age at which what a viewer has not taken is given up, and it goes on at the newest group: the bound where neither
    /// publisher nor subscriber names a delivery timeout. Groups that were there when it joined are not concerned.
    LIMIT_DELIVERY_TIMEOUT: "limits.delivery_timeout" One DeliveryTimeout = Some("10s");
    /// How long a drain waits for viewers to leave before it closes their sessions.
    DRAIN_GRACE: "drain.grace" One DrainGrace = Some("30s");
}
