//! By how much latency changes at a time, told so that a busy machine does not hide it.

use super::stats::quantile;
use std::collections::BTreeMap;
use std::time::Duration;

/// Each object's 99th percentile over the viewers that got it, and of those the mean, in which an object counts for
/// every viewer; `latencies` are arrivals with what they took. `None`: there are none.
///
/// The percentile over all arrivals of a crowd is that of its few worst moments, and on a busy machine those are the
/// machine's: it moves by a tenth from run to run while this moves by a fiftieth. What holds a share of the viewers up
/// moves each object's percentile, and what holds all of them up moves the mean as far as it lasts; moments that are
/// both rare and long are for [`Figure::Gaps`](crate::scenario::Figure::Gaps).
#[expect(clippy::cast_precision_loss, reason = "numbers of viewers")]
pub(super) fn typical_p99(latencies: impl Iterator<Item = (Duration, Duration)>) -> Option<f64> {
    let mut objects: BTreeMap<Duration, Vec<Duration>> = BTreeMap::new();
    for (at, took) in latencies {
        objects.entry(at.saturating_sub(took)).or_default().push(took);
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for mut object in objects.into_values() {
        object.sort_unstable();
        let viewers = object.len() as f64;
        sum = quantile(&object, 0.99)?.as_secs_f64().mul_add(viewers, sum);
        count += viewers;
    }
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// 100 viewers of 10 objects, each later by what `more` tells of an object and a viewer.
    fn crowd(more: impl Fn(u64, u64) -> u64) -> Option<f64> {
        let took = |object, viewer| ms(20 + more(object, viewer));
        let all = (0..10).flat_map(|object| (0..100).map(move |viewer| (object, viewer)));
        let arrivals = all.map(|(object, viewer)| (ms(object * 40) + took(object, viewer), took(object, viewer)));
        typical_p99(arrivals).map(|seconds| (seconds * 1e3 * 100.0).round() / 100.0)
    }

    #[test]
    fn it_moves_with_viewers_and_with_moments() {
        assert_eq!(crowd(|_, _| 0), Some(20.0));
        assert_eq!(crowd(|_, viewer| u64::from(viewer == 0) * 50), Some(20.0), "one of a hundred");
        assert_eq!(crowd(|_, viewer| u64::from(viewer < 2) * 50), Some(70.0), "two of them");
        assert_eq!(crowd(|object, _| u64::from(object == 3) * 50), Some(25.0), "all of them for a moment");
        assert_eq!(typical_p99(std::iter::empty()), None);
    }

    #[test]
    fn an_object_counts_for_every_viewer_that_got_it() {
        let arrivals = [(ms(110), ms(10)), (ms(110), ms(10)), (ms(110), ms(10)), (ms(250), ms(50))];
        assert_eq!(typical_p99(arrivals.into_iter()), Some(0.02));
    }
}
