//! Kinds of values: what is allowed, in words, and how it is read.

use super::expect::Quantity;
use crate::model::{Numbers, Queue, Rate, Ratio, Span};
use std::time::Duration;

/// One kind of value.
#[derive(Debug)]
pub(super) struct Kind<T> {
    /// What is allowed, for messages.
    pub(super) allowed: &'static str,
    /// Reads it; `None` where it is not allowed.
    pub(super) parse: fn(&str) -> Option<T>,
}

pub(super) const WORDS: Kind<String> =
    Kind { allowed: "a text", parse: |text| Some(text.trim().to_owned()).filter(|text| !text.is_empty()) };
pub(super) const NAME: Kind<String> = Kind {
    allowed: "a name of 1 to 32 of a-z, 0-9 and `-`, starting with a letter",
    parse: |text| is_name(text).then(|| text.to_owned()),
};
pub(super) const SEED: Kind<u64> = Kind { allowed: "a whole number from 0 on", parse: |text| text.parse().ok() };
pub(super) const TIME: Kind<Duration> = Kind { allowed: "a time such as `200ms`, `1.5s` or `2m`", parse: time };
pub(super) const SPAN_OR_ZERO: Kind<Span> = Kind { allowed: TIME.allowed, parse: |text| text.parse().ok() };
pub(super) const SPAN: Kind<Duration> = Kind {
    allowed: "a time above 0, such as `200ms`, `1.5s` or `2m`",
    parse: |text| time(text).filter(|time| !time.is_zero()),
};
pub(super) const CLOCK: Kind<Jump> = Kind {
    allowed: "a jump of the wall clock with its sign, such as `+5s` or `-1h`",
    parse: |text| {
        let (sign, rest) = text.split_at_checked(1)?;
        let by = time(rest).filter(|by| !by.is_zero())?;
        match sign {
            "+" => Some(Jump::Ahead(by)),
            "-" => Some(Jump::Back(by)),
            _ => None,
        }
    },
};
pub(super) const SHARE: Kind<Ratio> =
    Kind { allowed: "a share such as `3%` or `0.03`", parse: |text| text.parse().ok() };
pub(super) const RATE: Kind<Rate> =
    Kind { allowed: "bits per second above 0, such as `10k`, `8M` or `1.5G`", parse: |text| text.parse().ok() };
pub(super) const FPS: Kind<u32> = Kind { allowed: "frames per second, 1 to 240", parse: |text| within(text, 1, 240) };
pub(super) const COUNT: Kind<u32> =
    Kind { allowed: "a number of viewers, 1 to 20000", parse: |text| within(text, 1, 20_000) };
pub(super) const MTU: Kind<u32> =
    Kind { allowed: "bytes of an IP packet, 576 to 65535", parse: |text| within(text, 576, 65_535) };
pub(super) const QUEUE: Kind<Queue> =
    Kind { allowed: "a queue such as `50ms` or `64KiB`", parse: |text| text.parse().ok() };
pub(super) const NUMBERS: Kind<Numbers> = Kind {
    allowed: "numbers of packets, the first being 1, such as `2-7` or `1,4,9-12`",
    parse: |text| text.parse().ok(),
};
pub(super) const BYTES: Kind<u64> =
    Kind { allowed: "bytes, such as `64KiB` or `2MiB`", parse: |text| scaled(text, &SIZES) };

/// By how much a wall clock is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Into the future.
    Ahead(Duration),
    /// Into the past.
    Back(Duration),
}

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ahead(by) => write!(f, "+{by:?}"),
            Self::Back(by) => write!(f, "-{by:?}"),
        }
    }
}

const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// `1.5s`, `200ms`; `0` needs no unit.
pub(super) fn time(text: &str) -> Option<Duration> {
    text.parse::<Span>().ok().map(Span::get)
}

/// `3%` or `0.03`: from 0 to 1.
fn share(text: &str) -> Option<f64> {
    text.parse::<Ratio>().ok().map(Ratio::get)
}

/// `500ms`, `2.5 RTT` or `1 RTT + 300ms`.
pub(super) fn latency(text: &str) -> Option<Quantity> {
    let (mut round_trips, mut plus) = (0.0, Duration::ZERO);
    for part in text.split('+').map(str::trim) {
        match part.strip_suffix("RTT") {
            Some(number) => round_trips += number.trim_end().parse::<f64>().ok().filter(|n| (0.0..1e3).contains(n))?,
            None => plus += time(part)?,
        }
    }
    Some(Quantity::Time { round_trips, plus })
}

/// `5%`, `2MiB` or `5% or 1ms`: the larger of both counts.
pub(super) fn either<T>(text: &str, other: impl Fn(&str) -> Option<T>) -> Option<(f64, Option<T>)> {
    let (mut ratio, mut absolute) = (None, None);
    for part in text.split(" or ").map(str::trim) {
        if part.ends_with('%') && ratio.is_none() {
            ratio = Some(share(part)?);
        } else if absolute.is_none() {
            absolute = Some(other(part)?);
        } else {
            return None;
        }
    }
    Some((ratio.unwrap_or_default(), absolute))
}

fn within(text: &str, least: u32, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(plain)
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
    let parts = match fraction {
        "" => 0,
        f => f.parse::<u64>().ok()?.checked_mul(scale)? / 10u64.checked_pow(u32::try_from(f.len()).ok()?)?,
    };
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scenarios_add_to_units_is_read() {
        assert_eq!((BYTES.parse)("64KiB"), Some(65_536));
        assert_eq!((BYTES.parse)("1.5 MiB"), Some(1_572_864));
        assert_eq!((CLOCK.parse)("-1h"), Some(Jump::Back(Duration::from_secs(3600))));
        let later = |round_trips, millis| Some(Quantity::Time { round_trips, plus: Duration::from_millis(millis) });
        assert_eq!(latency("1 RTT + 300ms"), later(1.0, 300));
        assert_eq!(latency("2.5 RTT"), later(2.5, 0));
        assert_eq!(either("5% or 1ms", time), Some((0.05, Some(Duration::from_millis(1)))));
        assert_eq!(either("2MiB", BYTES.parse), Some((0.0, Some(2 << 20))));
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for text in ["Edge", "-edge", "", "a b", "1st"] {
            assert!(!is_name(text), "{text}");
        }
        for text in ["5s", "+", "+0s", "\u{e9}5s"] {
            assert_eq!((CLOCK.parse)(text), None, "{text}");
        }
        for text in ["", "RTT", "-1 RTT", "1 RTT + ", "soon"] {
            assert_eq!(latency(text), None, "{text}");
        }
        for text in ["", "5% or 6%", "1ms or 2ms", "5% or"] {
            assert_eq!(either(text, time), None, "{text}");
        }
        for text in ["-1B", "1KB", "999999999999GiB", "1.MiBs", "64"] {
            assert_eq!((BYTES.parse)(text), None, "{text}");
        }
    }
}
