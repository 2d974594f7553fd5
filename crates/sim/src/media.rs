//! Payloads that a receiver can check to the byte without being told: each is a slice of one block of noise, at a place
//! and of a length that follow from track, group and object.

use crate::plan::Track;
use bytes::Bytes;
use sluice_moqt::{Location, TrackName};
use sluice_net::Rng;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::LazyLock;

/// Bytes of noise; no payload is longer than half of it.
const BLOCK_BYTES: usize = 1 << 21;
const SPAN: u64 = BLOCK_BYTES as u64 / 2;

/// The noise: shared by publishers and viewers, so that a payload costs nobody a copy.
static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut block = vec![0; BLOCK_BYTES];
    Rng::from_seed(0x5157_4943).fill(&mut block);
    block.into()
});

/// The payloads of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payloads {
    key: u64,
    mean: u64,
}

impl Payloads {
    /// Of the track `name`.
    #[must_use]
    pub fn new(name: &TrackName, track: &Track) -> Self {
        // Fixed keys: the same in every process.
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self { key: hasher.finish(), mean: u64::from(track.object_bytes) }
    }

    /// The payload of the object at `at`. The first of a group is up to four times as long as the others, as a keyframe
    /// is.
    #[must_use]
    pub fn at(&self, at: Location) -> Bytes {
        let mut rng = Rng::from_seed(self.key ^ at.group.rotate_left(20) ^ at.object);
        let mean = if at.object == 0 { self.mean.saturating_mul(3) } else { self.mean };
        let len = (mean * 3 / 4 + rng.below(mean / 2 + 1)).clamp(1, SPAN);
        let start = usize::try_from(rng.below(SPAN)).unwrap_or_default();
        let end = start + usize::try_from(len).unwrap_or_default();
        BLOCK.slice(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_moqt::Namespace;

    fn payloads(name: &'static str) -> Payloads {
        let track = Track::video(name, 2_000_000, 25);
        let namespace = Namespace::from_path("live/a").expect("short");
        Payloads::new(&TrackName::new(namespace, Bytes::from_static(name.as_bytes())).expect("short"), &track)
    }

    #[test]
    fn objects_differ_and_repeat() {
        let at = Location::new(7, 3);
        assert_eq!(payloads("v").at(at), payloads("v").at(at));
        assert_ne!(payloads("v").at(at), payloads("w").at(at));
        assert_ne!(payloads("v").at(at), payloads("v").at(Location::new(7, 4)));
        assert_ne!(payloads("v").at(at), payloads("v").at(Location::new(8, 3)));
    }

    #[test]
    fn lengths_have_the_mean_that_was_asked_for() {
        let payloads = payloads("v");
        let sum: usize = (1..=1_000).map(|object| payloads.at(Location::new(1, object)).len()).sum();
        assert!((9_800..10_200).contains(&(sum / 1_000)), "{sum}");
    }
}
