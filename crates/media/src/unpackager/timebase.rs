//! One line of output time over publishers that come and go.
//!
//! A publisher that was killed and started again begins its timestamps anew. Nothing on the wire says so; it shows in a
//! group that begins before what its track has reached. All tracks are moved by the same span then, so that sound and
//! pictures stay together, and the pause between the two publishers stays a pause.

use std::time::{Duration, Instant};

/// With ids that follow each other, a group that begins this far back, in nanoseconds, is another publisher's; less is
/// a publisher with loose timestamps.
const STEP_BACK: i64 = 1_000_000_000;

/// How the id of a group follows the one before it in its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// It is the next id.
    Directly,
    /// Ids lie between: groups were lost, or another publisher numbers them.
    Beyond,
}

/// A track's place in the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Which publisher, counted from 0.
    turn: u64,
    /// Nanoseconds to add to its times.
    offset: i64,
    /// Newest presentation time, in nanoseconds of that publisher.
    newest: Option<i64>,
}

impl Place {
    /// Nanoseconds to add to the times of the track's publisher.
    pub(super) const fn offset(&self) -> i64 {
        self.offset
    }
}

/// Where the times of the newest publisher stand in the output.
#[derive(Debug, Default)]
pub(super) struct Timebase {
    turn: u64,
    offset: i64,
    /// Its newest presentation time, in nanoseconds of its own.
    newest: i64,
    /// When the newest of its objects arrived.
    arrived: Option<Instant>,
    /// End of what was placed so far, of all publishers, in nanoseconds of the output.
    reached: i64,
}

impl Timebase {
    /// Times that another publisher took over.
    pub(super) const fn takeovers(&self) -> u64 {
        self.turn
    }

    /// A group begins at `time`, by the publisher's clock in nanoseconds, with an object that arrived at `arrived`:
    /// says whose it is.
    pub(super) fn begin(&mut self, place: &mut Place, (time, follows): (i64, Follows), arrived: Instant) {
        let Some(last) = place.newest else {
            *place = Place { turn: self.turn, offset: self.offset, newest: None };
            return;
        };
        if place.turn < self.turn {
            // Another track was first to show the change. This group may still be the old publisher's: times tell.
            if time.abs_diff(self.newest) <= time.abs_diff(last) {
                *place = Place { turn: self.turn, offset: self.offset, newest: None };
            }
            return;
        }
        let back = match follows {
            Follows::Directly => time < last.saturating_sub(STEP_BACK),
            Follows::Beyond => time <= last,
        };
        if back {
            let pause = self.arrived.map_or(Duration::ZERO, |at| arrived.saturating_duration_since(at));
            let pause = i64::try_from(pause.as_nanos()).unwrap_or(i64::MAX);
            self.turn = self.turn.saturating_add(1);
            self.offset = self.reached.saturating_add(pause).saturating_sub(time);
            self.newest = time;
            *place = Place { turn: self.turn, offset: self.offset, newest: None };
        }
    }

    /// A frame of the group begun last lasts from `time` to `end`.
    pub(super) fn advance(&mut self, place: &mut Place, (time, end): (i64, i64), arrived: Instant) {
        place.newest = Some(place.newest.map_or(time, |newest| newest.max(time)));
        self.reached = self.reached.max(end.saturating_add(place.offset));
        if place.turn == self.turn {
            self.newest = self.newest.max(time);
            self.arrived = Some(self.arrived.map_or(arrived, |newest| newest.max(arrived)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// A pure crate's tests have no other instant to start from.
    #[expect(clippy::disallowed_methods, reason = "a base for differences")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Frames of 40 ms from `from` until `to`, in milliseconds of media time, arriving as they play.
    fn play(base: &mut Timebase, place: &mut Place, (from, to): (i64, i64), arrived: Instant) {
        for (frame, wait) in (from..to).step_by(40).zip((0u64..).step_by(40)) {
            let arrived = arrived + Duration::from_millis(wait);
            base.advance(place, (frame * MS, (frame + 40) * MS), arrived);
        }
    }

    #[test]
    fn another_publisher_goes_on_after_the_pause_with_all_tracks_moved_alike() {
        let start = start();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut base, mut video, mut audio) = (Timebase::default(), Place::default(), Place::default());
        for place in [&mut video, &mut audio] {
            base.begin(place, (0, Follows::Beyond), start);
        }
        play(&mut base, &mut video, (0, 2000), start);
        play(&mut base, &mut audio, (0, 1960), start);
        // The last picture arrived at 1960 ms; 3 s later there is another publisher.
        base.begin(&mut video, (0, Follows::Beyond), at(4960));
        assert_eq!((base.takeovers(), video.offset()), (1, 5000 * MS));
        base.begin(&mut audio, (10 * MS, Follows::Beyond), at(4970));
        assert_eq!((base.takeovers(), audio.offset()), (1, 5000 * MS));
    }

    #[test]
    fn lost_groups_and_loose_timestamps_are_no_other_publisher() {
        let start = start();
        let (mut base, mut place) = (Timebase::default(), Place::default());
        base.begin(&mut place, (0, Follows::Beyond), start);
        play(&mut base, &mut place, (0, 2000), start);
        base.begin(&mut place, (6000 * MS, Follows::Beyond), start);
        play(&mut base, &mut place, (6000, 8000), start);
        base.begin(&mut place, (7500 * MS, Follows::Directly), start);
        assert_eq!((base.takeovers(), place.offset()), (0, 0));
        // A loop whose timestamps were not carried on, by a publisher that numbers on.
        base.begin(&mut place, (0, Follows::Directly), start);
        assert_eq!((base.takeovers(), place.offset()), (1, 8000 * MS));
    }

    #[test]
    fn a_track_that_is_still_with_the_old_publisher_stays_there() {
        let start = start();
        let (mut base, mut video, mut audio) = (Timebase::default(), Place::default(), Place::default());
        for place in [&mut video, &mut audio] {
            base.begin(place, (60_000 * MS, Follows::Beyond), start);
            play(&mut base, place, (60_000, 62_000), start);
        }
        base.begin(&mut video, (0, Follows::Beyond), start);
        base.begin(&mut audio, (62_000 * MS, Follows::Directly), start);
        assert_eq!(audio.offset(), 0);
        play(&mut base, &mut audio, (62_000, 62_200), start);
        base.begin(&mut audio, (0, Follows::Beyond), start);
        assert_eq!((base.takeovers(), audio.offset()), (1, video.offset()));
    }
}
