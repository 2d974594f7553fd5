//! The types of configuration values: each can only be made from a text that is right, and prints as one.

use sluice_moqt::Namespace;
use sluice_topology::PopId;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A type a key can have.
pub trait Value: Sized {
    /// What is allowed, as an operator reads it: the range, the choices, or an example.
    fn allowed() -> String;

    /// Reads one text; `None` where it is not allowed.
    fn parse(text: &str) -> Option<Self>;
}

/// Declares an enum of words: its texts, its [`Value`] and its `Display`, each word once.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl Value for $name {
            fn allowed() -> String {
                [$(concat!("`", $word, "`"),)*].join(" or ")
            }

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }
    };
}

words! {
    /// The tier of a relay.
    Role {
        /// Terminates clients; pulls from origins over trunks.
        Edge = "edge",
        /// Homes namespaces and keeps their window.
        Origin = "origin",
    }
}

words! {
    /// What happens where a second live publisher offers a track that has one.
    Publishers {
        /// Both are subscribed and their objects de-duplicated.
        Merge = "merge",
        /// The newest one replaces the other.
        Newest = "newest",
        /// The second one is refused.
        Refuse = "refuse",
    }
}

words! {
    /// When the home pulls a track that a publisher announced.
    IngestMode {
        /// At once, so that its window is kept whoever watches.
        Always = "always",
        /// With the first subscriber.
        OnDemand = "on-demand",
    }
}

words! {
    /// Yes or no.
    Switch {
        /// Yes.
        On = "true",
        /// No.
        Off = "false",
    }
}

/// A word of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument(String);

impl Argument {
    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for Argument {
    fn allowed() -> String {
        "words of a command line, such as `[\"ffmpeg\", \"-i\", \"srt://:9000?mode=listener\", ..]`".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.contains('\0')).then(|| Self(text.to_owned()))
    }
}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Value for Whole<MIN, MAX> {
    fn allowed() -> String {
        format!("a whole number, {MIN} to {MAX}")
    }

    fn parse(text: &str) -> Option<Self> {
        let number = text.parse().ok()?;
        (MIN..=MAX).contains(&number).then_some(Self(number))
    }
}

/// A number of bytes within bounds, written as `64MiB`: B, KiB, MiB, GiB (1024) or KB, MB, GB (1000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize<const MIN: u64, const MAX: u64>(u64);

const BYTE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl<const MIN: u64, const MAX: u64> ByteSize<MIN, MAX> {
    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> Value for ByteSize<MIN, MAX> {
    fn allowed() -> String {
        format!("{} to {}, such as `64MiB`", in_units(MIN, &BYTE_UNITS), in_units(MAX, &BYTE_UNITS))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = scaled(text, &BYTE_UNITS)?;
        (MIN..=MAX).contains(&bytes).then_some(Self(bytes))
    }
}

/// A time span within bounds (in milliseconds), written as `1500ms`, `30s`, `5min` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span<const MIN_MS: u64, const MAX_MS: u64>(Duration);

const SPAN_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("min", 60_000), ("ms", 1), ("s", 1_000)];

impl<const MIN_MS: u64, const MAX_MS: u64> Span<MIN_MS, MAX_MS> {
    /// The time span.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Value for Span<MIN_MS, MAX_MS> {
    fn allowed() -> String {
        format!("{} to {}, such as `1500ms` or `30s`", in_units(MIN_MS, &SPAN_UNITS), in_units(MAX_MS, &SPAN_UNITS))
    }

    fn parse(text: &str) -> Option<Self> {
        let millis = scaled(text, &SPAN_UNITS)?;
        (MIN_MS..=MAX_MS).contains(&millis).then_some(Self(Duration::from_millis(millis)))
    }
}

/// A data rate, written as `2Gbit/s`, `500Mbit/s` or `64kbit/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(u64);

const RATE_UNITS: [(&str, u64); 4] =
    [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];
const RATE_MIN: u64 = 1_000;
const RATE_MAX: u64 = 1_000_000_000_000;

impl Bandwidth {
    /// The rate in bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl Value for Bandwidth {
    fn allowed() -> String {
        format!("{} to {}, such as `2Gbit/s`", in_units(RATE_MIN, &RATE_UNITS), in_units(RATE_MAX, &RATE_UNITS))
    }

    fn parse(text: &str) -> Option<Self> {
        let rate = scaled(text, &RATE_UNITS)?;
        (RATE_MIN..=RATE_MAX).contains(&rate).then_some(Self(rate))
    }
}

/// A price in dollars per 10^9 bytes.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Price(f64);

impl Price {
    /// Dollars per gigabyte.
    #[must_use]
    pub const fn usd_per_gb(self) -> f64 {
        self.0
    }
}

impl Value for Price {
    fn allowed() -> String {
        "dollars per GB, 0 to 1000".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        let price: f64 = text.parse().ok()?;
        (0.0..=1000.0).contains(&price).then_some(Self(price))
    }
}

/// A host (name or address) and a port other than 0: somebody to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The name or address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Value for HostPort {
    fn allowed() -> String {
        "HOST:PORT, such as `198.51.100.7:4444`, `[2001:db8::7]:4444` or `ams.example.net:4444`".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|p| *p != 0)?;
        let host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok().map(|_| v6)?,
            None => host,
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let bracketed = host.contains(':');
        let legal = bracketed || (!host.is_empty() && host.len() <= 253 && host.chars().all(named));
        // An address of IPv6 without brackets would swallow its last field as the port.
        (legal && (!bracketed || text.starts_with('['))).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An address of this machine only: the admin interface has no authentication, so nobody else may reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackAddr(SocketAddr);

impl LoopbackAddr {
    /// The address.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl Value for LoopbackAddr {
    fn allowed() -> String {
        "a loopback address and port, such as `127.0.0.1:9090` or `[::1]:9090` (no authentication, so nothing else)"
            .to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|a: &SocketAddr| a.ip().is_loopback()).map(Self)
    }
}

impl Value for SocketAddr {
    fn allowed() -> String {
        "ADDRESS:PORT, such as `[::]:4443` or `203.0.113.5:4443`".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for PathBuf {
    fn allowed() -> String {
        "a path".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

impl Value for PopId {
    fn allowed() -> String {
        "a PoP name: 1 to 63 of a-z, 0-9, `-` and `.`, starting with a letter or digit".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Namespace {
    fn allowed() -> String {
        "a namespace prefix as a path, such as `live/eu` (`/` is every namespace)".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from_path(text).ok())?
    }
}

/// `1.5GiB` by `units`, which are tried in order: a unit stands before those that are its suffix.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.trim_end(), *scale)))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Twelve digits are more than any value needs.
    let digits = |s: &str| s.len() <= 12 && s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let parts = match fraction {
        "" => 0,
        f => f.parse::<u64>().ok()?.checked_mul(scale)? / 10u64.checked_pow(u32::try_from(f.len()).ok()?)?,
    };
    whole.checked_mul(scale)?.checked_add(parts)
}

/// The shortest whole form of `value`, for messages.
fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let mut by_size: Vec<_> = units.to_vec();
    by_size.sort_by_key(|(_, scale)| std::cmp::Reverse(*scale));
    by_size
        .iter()
        .find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale))
        .or_else(|| by_size.last())
        .map_or_else(|| value.to_string(), |(unit, scale)| format!("{}{unit}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Size = ByteSize<1024, { 1 << 30 }>;
    type Wait = Span<100, 3_600_000>;

    #[test]
    fn sizes_spans_and_rates_are_read_with_their_units() {
        assert_eq!(Size::parse("64MiB").map(Size::get), Some(64 << 20));
        assert_eq!(Size::parse("1.5 KiB").map(Size::get), Some(1536));
        assert_eq!(Size::parse("2MB").map(Size::get), Some(2_000_000));
        assert_eq!(Wait::parse("1500ms").map(Wait::get), Some(Duration::from_millis(1500)));
        assert_eq!(Wait::parse("2min").map(Wait::get), Some(Duration::from_secs(120)));
        assert_eq!(Wait::parse("0.5s").map(Wait::get), Some(Duration::from_millis(500)));
        assert_eq!(Bandwidth::parse("2Gbit/s").map(Bandwidth::bits_per_second), Some(2_000_000_000));
    }

    #[test]
    fn values_out_of_bounds_or_without_unit_are_refused() {
        for bad in ["64", "64mib", "-1MiB", "1KB", "2GiB", "MiB", "1.MiBs", "999999999999999GiB", "1e3MiB"] {
            assert_eq!(Size::parse(bad), None, "{bad}");
        }
        for bad in ["99ms", "2h", "1", "1m", ".5s"] {
            assert_eq!(Wait::parse(bad), None, "{bad}");
        }
        assert_eq!(Bandwidth::parse("2Gbps"), None);
        assert_eq!(Price::parse("NaN"), None);
        assert_eq!(Price::parse("-0.1"), None);
    }

    #[test]
    fn hosts_need_a_port_and_ipv6_its_brackets() {
        for good in ["198.51.100.7:4444", "[2001:db8::7]:4444", "ams.example.net:1"] {
            assert_eq!(HostPort::parse(good).map(|h| h.to_string()).as_deref(), Some(good));
        }
        for bad in ["host", "host:0", "host:65536", ":1", "2001:db8::7:4444", "a b:1", "[host]:1"] {
            assert_eq!(HostPort::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_admin_address_is_loopback_or_nothing() {
        assert!(LoopbackAddr::parse("127.0.0.1:9090").is_some());
        assert!(LoopbackAddr::parse("[::1]:0").is_some());
        assert!(LoopbackAddr::parse("0.0.0.0:9090").is_none());
        assert!(LoopbackAddr::parse("[::]:9090").is_none());
    }

    #[test]
    fn allowed_texts_name_the_bounds() {
        assert_eq!(Size::allowed(), "1KiB to 1GiB, such as `64MiB`");
        assert_eq!(Wait::allowed(), "100ms to 1h, such as `1500ms` or `30s`");
        assert_eq!(Role::allowed(), "`edge` or `origin`");
    }
}
