//! Quantities as people write them: `25ms`, `3%`, `200M`, `64KiB`. Each type can only hold a possible value.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

/// Longest time that a link or a scenario can name: 10 days keeps every sum of times far from overflow.
const LONGEST: Duration = Duration::from_secs(10 * 24 * 3600);
/// Fastest rate: 1 Tbit/s; a byte still takes a whole number of picoseconds and the model counts nanoseconds.
const FASTEST: u64 = 1_000_000_000_000;
/// Largest queue: what no memory of a test machine holds is a slip of the pen.
const LARGEST: u64 = 1 << 40;

/// A quantity that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: {why}")]
pub struct UnitError {
    text: String,
    what: &'static str,
    why: String,
}

impl UnitError {
    fn new(text: &str, what: &'static str, why: impl Into<String>) -> Self {
        Self { text: text.to_owned(), what, why: why.into() }
    }
}

/// A span of time: `250us`, `25ms`, `1.5s`, `2m`, `1h`, or `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Span(Duration);

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// A span of whole milliseconds; more than ten days become ten days.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::saturating(Duration::from_millis(millis))
    }

    /// A span of whole microseconds; more than ten days become ten days.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self::saturating(Duration::from_micros(micros))
    }

    /// The span of `duration`; more than ten days become ten days.
    #[must_use]
    pub const fn saturating(duration: Duration) -> Self {
        if duration.as_nanos() > LONGEST.as_nanos() { Self(LONGEST) } else { Self(duration) }
    }

    /// The same as a standard duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const WHAT: &str = "a time such as 250us, 25ms, 1.5s, 2m or 1h";
        let (number, unit) = split(text, WHAT)?;
        let nanos = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" | "min" => 60e9,
            "h" => 3600e9,
            "" if number == 0.0 => 1.0,
            "" => return Err(UnitError::new(text, WHAT, "a number needs a unit: ns, us, ms, s, m or h")),
            _ => return Err(UnitError::new(text, WHAT, format!("unknown unit {unit:?}"))),
        };
        let nanos = number * nanos;
        if nanos > LONGEST.as_nanos() as f64 {
            return Err(UnitError::new(text, WHAT, "the longest is 10 days (240h)"));
        }
        Ok(Self(Duration::from_nanos(whole(nanos))))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => f.write_str("0s"),
            n if n.is_multiple_of(1_000_000_000) => write!(f, "{}s", n / 1_000_000_000),
            n if n.is_multiple_of(1_000_000) => write!(f, "{}ms", n / 1_000_000),
            n if n.is_multiple_of(1_000) => write!(f, "{}us", n / 1_000),
            n => write!(f, "{n}ns"),
        }
    }
}

/// A share between nothing and all: `3%`, `0.03`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Ratio(f64);

impl Ratio {
    /// Never.
    pub const ZERO: Self = Self(0.0);
    /// Always.
    pub const ONE: Self = Self(1.0);

    /// `value` if it lies in 0..=1.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // Also refuses what is not a number.
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// `percent` hundredths; more than all is all.
    #[must_use]
    pub fn percent(percent: u8) -> Self {
        Self(f64::from(percent.min(100)) / 100.0)
    }

    /// The share, in 0..=1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether it never happens.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 <= 0.0
    }
}

impl FromStr for Ratio {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const WHAT: &str = "a share such as 3%, 0.5% or 0.03";
        let (number, unit) = split(text, WHAT)?;
        let value = match unit {
            "%" => number / 100.0,
            "" => number,
            _ => return Err(UnitError::new(text, WHAT, format!("unknown unit {unit:?}"))),
        };
        Self::new(value).ok_or_else(|| {
            let hint = if unit.is_empty() { ": did you mean a percentage?" } else { "" };
            UnitError::new(text, WHAT, format!("must lie between 0 and 100%{hint}"))
        })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nine digits hide what binary fractions add to a decimal percentage.
        let text = format!("{:.9}", self.0 * 100.0);
        write!(f, "{}%", text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Bits per second: `64k`, `4M`, `1.5Gbit/s`, or a plain number of bits per second. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// `bits` per second, held between 1 bit/s and 1 Tbit/s.
    #[must_use]
    pub const fn clamped(bits: u64) -> Self {
        let bits = if bits > FASTEST { FASTEST } else { bits };
        match NonZeroU64::new(bits) {
            Some(bits) => Self(bits),
            None => Self(NonZeroU64::MIN),
        }
    }

    /// `megabits` per second, held between 1 bit/s and 1 Tbit/s.
    #[must_use]
    pub const fn megabits(megabits: u64) -> Self {
        Self::clamped(megabits.saturating_mul(1_000_000))
    }

    /// Bits per second.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0.get()
    }

    /// Time on the wire of `bytes`.
    #[must_use]
    pub fn time_of(self, bytes: u64) -> Duration {
        nanos((u128::from(bytes) * 8 * 1_000_000_000).div_ceil(u128::from(self.bits())))
    }

    /// Bytes that fit into `span`.
    #[must_use]
    pub fn bytes_in(self, span: Duration) -> u64 {
        let bits = span.as_nanos() * u128::from(self.bits()) / 1_000_000_000;
        u64::try_from(bits / 8).unwrap_or(u64::MAX)
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const WHAT: &str = "a rate such as 64k, 4M, 1.5G or 200Mbit/s";
        let (number, unit) = split(text, WHAT)?;
        let short = ["bit/s", "bps", "bit"].iter().find_map(|tail| unit.strip_suffix(tail)).unwrap_or(unit);
        let factor = match short {
            "" => 1.0,
            "k" | "K" => 1e3,
            "M" | "m" => 1e6,
            "G" | "g" => 1e9,
            _ => {
                return Err(UnitError::new(
                    text,
                    WHAT,
                    format!("unknown unit {unit:?} (k, M and G are 1000s of bit/s)"),
                ));
            }
        };
        let bits = number * factor;
        if !(1.0..=FASTEST as f64).contains(&bits) {
            let why = "must lie between 1 bit/s and 1000G; for no traffic at all take the link down";
            return Err(UnitError::new(text, WHAT, why));
        }
        Ok(Self::clamped(whole(bits)))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits() {
            bits if bits.is_multiple_of(1_000_000_000) => write!(f, "{}G", bits / 1_000_000_000),
            bits if bits.is_multiple_of(1_000_000) => write!(f, "{}M", bits / 1_000_000),
            bits if bits.is_multiple_of(1_000) => write!(f, "{}k", bits / 1_000),
            bits => write!(f, "{bits}"),
        }
    }
}

/// How much waits before a bottleneck until the next packet is dropped: `50ms` of its rate, or `64KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// What the bottleneck sends in this time; for a trace, at its mean rate.
    Time(Span),
    /// So many bytes.
    Bytes(u64),
}

impl Default for Queue {
    /// 100 ms: what a home router's uplink commonly holds, and short enough that nobody waits for minutes unawares.
    fn default() -> Self {
        Self::Time(Span::from_millis(100))
    }
}

impl FromStr for Queue {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const WHAT: &str = "a queue such as 50ms, 250kB or 64KiB";
        let (number, unit) = split(text, WHAT)?;
        let factor = match unit {
            "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "" => return Err(UnitError::new(text, WHAT, "a number needs a unit: ms, B, kB, KiB, MB or MiB")),
            _ => {
                let span = Span::from_str(text);
                return span.map(Self::Time).map_err(|error| UnitError { what: WHAT, ..error });
            }
        };
        let bytes = number * factor;
        if bytes > LARGEST as f64 {
            return Err(UnitError::new(text, WHAT, "the largest is 1 TiB"));
        }
        Ok(Self::Bytes(whole(bytes)))
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(span) => span.fmt(f),
            Self::Bytes(bytes) if bytes.is_multiple_of(1024) && *bytes > 0 => write!(f, "{}KiB", bytes / 1024),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

/// The number and what follows it. Signs and exponents are no part of a quantity that cannot be negative.
fn split<'a>(text: &'a str, what: &'static str) -> Result<(f64, &'a str), UnitError> {
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    if number.is_empty() {
        let why = if trimmed.starts_with('-') { "cannot be negative" } else { "it must start with a number" };
        return Err(UnitError::new(text, what, why));
    }
    let number = number.parse().map_err(|_| UnitError::new(text, what, format!("{number:?} is not a number")))?;
    Ok((number, unit.trim_start()))
}

/// `value` as a whole number; callers have checked that it is not negative and fits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates and the range is checked"
)]
pub(super) const fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A duration of `nanos`, at most 584 years.
pub(crate) fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Reads a quantity from a string, or from a number where that says all.
struct Quantity<T> {
    expected: &'static str,
    value: PhantomData<T>,
}

impl<T: FromStr<Err = UnitError>> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        value.to_string().parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($quantity:ty: $expected:literal),+ $(,)?) => {$(
        impl Serialize for $quantity {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Quantity { expected: $expected, value: PhantomData })
            }
        }
    )+};
}

as_text! {
    Span: "a time such as \"25ms\"",
    Ratio: "a share such as \"3%\" or 0.03",
    Rate: "a rate such as \"4M\"",
    Queue: "a queue such as \"50ms\" or \"64KiB\"",
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<T: FromStr<Err = UnitError> + fmt::Display>(text: &str) -> String {
        text.parse::<T>().map_or_else(|error| format!("! {error}"), |value| value.to_string())
    }

    #[test]
    fn what_people_write_is_read() {
        let spans = ["25ms", "1.5s", "200us", "2m", "1h", "0", "0.5 ms"].map(read::<Span>);
        assert_eq!(spans, ["25ms", "1500ms", "200us", "120s", "3600s", "0s", "500us"]);
        let ratios = ["3%", "0.03", "0", "1", "100%", "0.1%", "12.5 %"].map(read::<Ratio>);
        assert_eq!(ratios, ["3%", "3%", "0%", "100%", "100%", "0.1%", "12.5%"]);
        let rates = ["200M", "64k", "1.5Gbit/s", "4 Mbit", "10mbps", "8000", "1234"].map(read::<Rate>);
        assert_eq!(rates, ["200M", "64k", "1500M", "4M", "10M", "8k", "1234"]);
        let queues = ["50ms", "64KiB", "250kB", "1MiB", "1500B"].map(read::<Queue>);
        assert_eq!(queues, ["50ms", "64KiB", "250000B", "1024KiB", "1500B"]);
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = [
            (read::<Span>("25"), "needs a unit"),
            (read::<Span>("-5ms"), "cannot be negative"),
            (read::<Span>("fast"), "must start with a number"),
            (read::<Span>("1.2.3s"), "\"1.2.3\" is not a number"),
            (read::<Span>("300h"), "10 days"),
            (read::<Ratio>("3"), "did you mean a percentage"),
            (read::<Ratio>("101%"), "between 0 and 100%"),
            (read::<Rate>("0"), "take the link down"),
            (read::<Rate>("4MB/s"), "unknown unit \"MB/s\""),
            (read::<Queue>("64"), "needs a unit"),
            (read::<Queue>("64 furlongs"), "unknown unit \"furlongs\""),
        ];
        for (error, part) in wrong {
            assert!(error.starts_with('!') && error.contains(part), "{error} lacks {part}");
        }
    }

    #[test]
    fn numbers_serve_where_they_say_all() {
        #[derive(Deserialize)]
        struct Link {
            loss: Ratio,
            rate: Rate,
            delay: Span,
        }
        let link: Link = toml::from_str("loss = 0.05\nrate = 64000\ndelay = \"5ms\"").unwrap();
        assert_eq!((link.loss.get(), link.rate.bits(), link.delay.get().as_millis()), (0.05, 64_000, 5));
        assert!(toml::from_str::<Link>("loss = 5\nrate = 1\ndelay = \"0\"").is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(micros in 0_u64..10_000_000_000, bits in 1_u64..FASTEST, bytes in 0_u64..LARGEST) {
            let span = Span::from_micros(micros);
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            let rate = Rate::clamped(bits);
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
            for queue in [Queue::Bytes(bytes), Queue::Time(span)] {
                prop_assert_eq!(queue.to_string().parse(), Ok(queue));
            }
        }

        #[test]
        fn nothing_panics(text in ".{0,20}") {
            let _ = (read::<Span>(&text), read::<Ratio>(&text), read::<Rate>(&text), read::<Queue>(&text));
        }

        #[test]
        fn time_and_bytes_are_inverse(bits in 1_000_u64..FASTEST, bytes in 0_u64..1_000_000) {
            let rate = Rate::clamped(bits);
            // Rounding up to a nanosecond adds at most what the fastest rate sends in one.
            let back = rate.bytes_in(rate.time_of(bytes));
            prop_assert!(back >= bytes && back - bytes <= 125);
        }
    }
}
