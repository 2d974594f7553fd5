//! Packets told by their numbers.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

/// Most ranges of one list.
const RANGES_MAX: usize = 64;

/// Numbers of packets in the order in which they were sent over one direction of a link, the first being 1: `2-7`, or
/// `1,4,9-12`. None by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers(Arc<[RangeInclusive<u64>]>);

/// A text that is no list of numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no list of packets: write numbers from 1 on such as 2-7 or 1,4,9-12, {RANGES_MAX} parts at most")]
pub struct NumbersError(String);

impl Numbers {
    /// Whether packet `number` is one of them.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.0.iter().any(|range| range.contains(&number))
    }
}

impl FromStr for Numbers {
    type Err = NumbersError;

    fn from_str(text: &str) -> Result<Self, NumbersError> {
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|number| *number > 0);
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(number(first)?..=number(last)?).filter(|range| !range.is_empty())
        };
        let ranges: Option<Arc<[_]>> = text.split(',').map(range).collect();
        ranges.filter(|ranges| ranges.len() <= RANGES_MAX).map(Self).ok_or_else(|| NumbersError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_read() {
        let numbers: Numbers = "1, 4,9-12".parse().unwrap();
        let found: Vec<u64> = (0..20).filter(|number| numbers.contains(*number)).collect();
        assert_eq!(found, [1, 4, 9, 10, 11, 12]);
        assert!(!Numbers::default().contains(1));
        let many = vec!["1"; RANGES_MAX + 1].join(",");
        for text in ["", "0", "0-3", "7-2", "-", "2-", "a", "1,,2", "99999999999999999999", &many] {
            assert!(text.parse::<Numbers>().is_err(), "{text}");
        }
    }
}
