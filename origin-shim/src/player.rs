//! One run of an input: bytes in, commands out, at their time.

use crate::programme::{Programme, ProgrammeError, Start};
use sluice_media::fmp4::DemuxError;
use sluice_media::{Frame, Pace, PackageError, Timeline};
use sluice_moqt::Namespace;
use sluice_node::EndReason;
use sluice_relay::daemon::Command;
use std::time::{Duration, Instant};

/// Frames published in one go, so that a burst does not fill the shard's queue.
const FRAMES_PER_TURN: usize = 256;

/// Why an input cannot be played on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlayError {
    /// It is no MP4 that can be read, or ends too early.
    #[error(transparent)]
    Demux(#[from] DemuxError),
    /// Its tracks cannot be published.
    #[error(transparent)]
    Programme(#[from] ProgrammeError),
    /// A frame cannot be published.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// What a player waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes, or the end of the input.
    Input,
    /// The time of its next frame.
    Time(Instant),
    /// Nothing: it has ended.
    Over,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// Since the Unix epoch.
    pub(crate) unix: Duration,
}

/// How a player differs from another.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) namespace: Namespace,
    /// `None`: frames go out as they come.
    pub(crate) pace: Option<Pace>,
    pub(crate) stamps: Stamps,
    /// What the end of the input is.
    pub(crate) ending: EndReason,
    /// The newest group of the run before: this one goes on there, so that watchers see no gap.
    pub(crate) above: Option<u64>,
    /// Number of its first track.
    pub(crate) first_source: u64,
}

/// Whether objects carry the publisher's wall clock, from which watchers on the same machine tell the latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamps {
    /// They do.
    On,
    /// They do not.
    Off,
}

/// Plays one input.
#[derive(Debug)]
pub(crate) struct Player {
    plan: Plan,
    timeline: Timeline,
    programme: Option<Programme>,
    /// Waits for its time.
    held: Option<(Frame, Instant)>,
}

impl Player {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, timeline: Timeline::new(), programme: None, held: None }
    }

    /// Takes the next bytes of the input.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), PlayError> {
        Ok(self.timeline.push(bytes)?)
    }

    /// The input starts over.
    pub(crate) fn restart(&mut self) -> Result<(), PlayError> {
        Ok(self.timeline.restart()?)
    }

    /// The input has ended; [`Self::advance`] plays what is left.
    pub(crate) fn finish(&mut self) -> Result<(), PlayError> {
        Ok(self.timeline.finish()?)
    }

    /// Publishes what is due.
    pub(crate) fn advance(&mut self, at: Moment, out: &mut impl FnMut(Command)) -> Result<Next, PlayError> {
        for _ in 0..FRAMES_PER_TURN {
            let Some((frame, due)) = self.take(at, out)? else {
                if !self.timeline.is_ended() {
                    return Ok(Next::Input);
                }
                let ending = self.plan.ending;
                self.programme.take().into_iter().for_each(|programme| programme.finish(ending, out));
                return Ok(Next::Over);
            };
            if due > at.now {
                self.held = Some((frame, due));
                return Ok(Next::Time(due));
            }
            let stamp = match self.plan.stamps {
                Stamps::On => u64::try_from(at.unix.as_micros()).ok(),
                Stamps::Off => None,
            };
            if let Some(programme) = &mut self.programme {
                programme.push(frame, stamp, out)?;
                self.plan.above = Some(programme.last_group());
            }
        }
        Ok(Next::Time(at.now))
    }

    /// The input is gone and may come back.
    pub(crate) fn lose(&mut self, out: &mut impl FnMut(Command)) {
        self.programme.take().into_iter().for_each(|programme| programme.lose(out));
    }

    /// The newest group published under this namespace.
    pub(crate) const fn last_group(&self) -> Option<u64> {
        self.plan.above
    }

    fn take(&mut self, at: Moment, out: &mut impl FnMut(Command)) -> Result<Option<(Frame, Instant)>, PlayError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let Some(frame) = self.timeline.poll_frame() else { return Ok(None) };
        let tracks = self.timeline.tracks().unwrap_or_default();
        if self.programme.is_none() {
            let group = match self.plan.above {
                // A process that starts again stands above its past: it makes fewer than 1,000 groups a second.
                None => u64::try_from(at.unix.as_millis()).unwrap_or(u64::MAX),
                Some(last) => last.saturating_add(1),
            };
            let start = Start { group, source: self.plan.first_source };
            self.programme = Some(Programme::open(&self.plan.namespace, tracks, start, out)?);
        }
        let due = match (&mut self.plan.pace, tracks.get(frame.track)) {
            (Some(pace), Some(track)) => pace.due(at.now, &frame, track),
            (None, _) | (_, None) => at.now,
        };
        Ok(Some((frame, due)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_media::{stamp_micros, testpattern};
    use sluice_moqt::{Location, TrackName};
    use sluice_net::{Clock as _, ManualClock};
    use std::collections::BTreeMap;

    const UNIX: Duration = Duration::from_millis(1_800_000_000_123);

    fn plan(pace: Option<Pace>) -> Plan {
        Plan {
            namespace: Namespace::from_path("live/x").unwrap(),
            pace,
            stamps: Stamps::On,
            ending: EndReason::Ended,
            above: None,
            first_source: 40,
        }
    }

    fn moment(clock: &ManualClock) -> Moment {
        Moment { now: clock.now(), unix: clock.unix_time() }
    }

    /// What subscribers would see: the objects of each track by name.
    #[derive(Default)]
    struct Air {
        names: BTreeMap<u64, TrackName>,
        objects: BTreeMap<String, Vec<(Location, Option<u64>)>>,
        ends: Vec<EndReason>,
        offers: usize,
    }

    impl Air {
        fn take(&mut self, command: Command) {
            match command {
                Command::Open { source, name, .. } => drop(self.names.insert(source.0, name)),
                Command::Object(source, object) => {
                    let name = String::from_utf8_lossy(self.names[&source.0].name()).into_owned();
                    let stamp = stamp_micros(&object.properties);
                    self.objects.entry(name).or_default().push((object.location, stamp));
                }
                Command::End(_, why) => self.ends.push(why),
                Command::Offer(_) => self.offers += 1,
                Command::EndGroup(_) | Command::AbandonGroup(_) | Command::Withdraw(_) | Command::Drain(_) => {}
            }
        }

        fn groups(&self, track: &str) -> Vec<u64> {
            let mut groups: Vec<u64> = self.objects[track].iter().map(|(location, _)| location.group).collect();
            groups.dedup();
            groups
        }
    }

    #[test]
    fn a_file_plays_in_real_time_with_its_catalogs_in_front() {
        let clock = ManualClock::new(UNIX);
        let (mut player, mut air) = (Player::new(plan(Some(Pace::default()))), Air::default());
        player.push(&testpattern()).unwrap();
        player.finish().unwrap();
        let mut waits = 0;
        loop {
            match player.advance(moment(&clock), &mut |command| air.take(command)).unwrap() {
                Next::Time(due) => clock.advance_to(due),
                Next::Over => break,
                Next::Input => panic!("it is whole"),
            }
            waits += 1;
        }
        let length = clock.elapsed();
        assert!(length > Duration::from_millis(4600) && length < Duration::from_millis(4900), "{length:?}");
        assert!(waits > 100, "each frame waits for its time");
        let names: Vec<&str> = air.objects.keys().map(String::as_str).collect();
        assert_eq!(names, ["audio0", "catalog", "catalog.json", "video0"]);
        assert_eq!((air.offers, air.ends), (1, vec![EndReason::Ended; 4]));
        let first = 1_800_000_000_123;
        assert_eq!(air.objects["catalog"], [(Location { group: first, object: 0 }, None)]);
        let (location, stamp) = *air.objects["video0"].last().unwrap();
        assert!(location.group > first && stamp.unwrap() > u64::try_from(UNIX.as_micros()).unwrap());
    }

    #[test]
    fn what_comes_live_goes_out_at_once() {
        let clock = ManualClock::new(UNIX);
        let (mut player, mut air) = (Player::new(plan(None)), Air::default());
        for piece in testpattern().chunks(1000) {
            player.push(piece).unwrap();
            while player.advance(moment(&clock), &mut |command| air.take(command)).unwrap() != Next::Input {}
        }
        assert!(air.objects["video0"].len() > 100 && clock.elapsed().is_zero());
    }

    #[test]
    fn groups_go_on_over_restarts_without_a_gap() {
        let clock = ManualClock::new(UNIX);
        let mut above = None;
        let mut last = None;
        for _ in 0..3 {
            let (mut player, mut air) = (Player::new(Plan { above, ..plan(None) }), Air::default());
            player.push(&testpattern()).unwrap();
            while player.advance(moment(&clock), &mut |command| air.take(command)).unwrap() != Next::Input {}
            player.lose(&mut |command| air.take(command));
            assert_eq!(air.ends, vec![EndReason::Lost; 4]);
            if let Some(last) = last {
                assert_eq!((air.groups("catalog")[0], air.groups("video0")[0]), (last + 1, last + 1));
            }
            last = air.groups("video0").last().copied();
            above = player.last_group();
            assert_eq!(above, last);
            clock.advance_to(clock.now() + Duration::from_secs(5));
        }
    }

    #[test]
    fn what_is_no_mp4_is_told() {
        assert!(Player::new(plan(None)).push(b"this is no mp4 at all, not even a box").is_err());
        assert!(Player::new(plan(None)).finish().is_err());
    }
}
