//! Real time for what is read faster than it plays.

use crate::frame::{Frame, TrackInfo, to_nanos};
use std::time::{Duration, Instant};

/// A player that is later than this has slept; it goes on from here and does not race to catch up.
const LATE_MAX: Duration = Duration::from_secs(2);

/// When each frame of a timeline is due: the first one at once, the others by their decode time.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// When the timeline's origin went out, and its decode time in nanoseconds.
    origin: Option<(Instant, i64)>,
}

impl Pace {
    /// When `frame` of `track` is due.
    pub fn due(&mut self, now: Instant, frame: &Frame, track: &TrackInfo) -> Instant {
        let time = to_nanos(frame.dts, track.timescale);
        let (start, first) = *self.origin.get_or_insert((now, time));
        let nanos = u64::try_from(time.saturating_sub(first)).unwrap_or(0);
        let due = start.checked_add(Duration::from_nanos(nanos)).unwrap_or(start);
        if now.saturating_duration_since(due) > LATE_MAX {
            self.origin = Some((now, time));
            return now;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Format;
    use bytes::Bytes;

    #[test]
    fn frames_are_due_by_decode_time_until_the_player_has_slept() {
        let track = TrackInfo {
            id: 1,
            codec: "opus".to_owned(),
            timescale: 1000,
            format: Format::Audio { sample_rate: 48_000, channels: 2 },
            config: Bytes::new(),
            sample_entry: Bytes::new(),
            shift: 0,
            bitrate: None,
        };
        let frame = |dts| Frame { track: 0, dts, pts: dts, duration: 20, keyframe: true, data: Bytes::new() };
        // Only differences count; a pure crate's tests have no other instant to start from.
        #[expect(clippy::disallowed_methods, reason = "a base for differences")]
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::default();
        assert_eq!(pace.due(start, &frame(5000), &track), start);
        assert_eq!(pace.due(at(3), &frame(5020), &track), at(20));
        assert_eq!(pace.due(at(1500), &frame(5040), &track), at(40), "late frames go out at once and time is kept");
        assert_eq!(pace.due(at(9000), &frame(5060), &track), at(9000));
        assert_eq!(pace.due(at(9000), &frame(5080), &track), at(9020), "the clock was set anew");
    }
}
