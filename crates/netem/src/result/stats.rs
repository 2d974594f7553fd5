//! Quantiles.

use serde::Serialize;
use std::time::Duration;

/// Median, 99th percentile and largest of a distribution of times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Quantiles {
    /// Of `values`, which are brought into order; `None` of none.
    #[must_use]
    pub fn of(values: &mut [Duration]) -> Option<Self> {
        values.sort_unstable();
        let at = |q| quantile(values, q).map(|value| value.as_secs_f64());
        Some(Self { p50: at(0.5)?, p99: at(0.99)?, max: at(1.0)? })
    }
}

/// The value below which the share `q` of `sorted` lies (nearest rank); `None` of none.
#[must_use]
pub fn quantile(sorted: &[Duration], q: f64) -> Option<Duration> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_rank() {
        let mut values: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let quantiles = Quantiles::of(&mut values).unwrap();
        assert_eq!((quantiles.p50, quantiles.p99, quantiles.max), (0.05, 0.099, 0.1));
        assert_eq!(quantile(&values, 0.0), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(Quantiles::of(&mut []), None);
    }
}
