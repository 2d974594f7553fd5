//! Synthetic access networks, fitted to published measurements.
//!
//! Recorded traces have licences and lengths of their own; these generators make as much as is wanted from a seed and
//! may be shipped. Each says which figures it was fitted to, and its tests compare with them. For a recorded trace in
//! Mahimahi's format see [`crate::model::Trace::parse`].

mod cellular;
mod paths;

pub use cellular::{LTE_DOWN, LTE_FAST_DOWN, LTE_UP, Rates, UMTS_DOWN, UMTS_UP};
pub use paths::{HANDOVER, conference, starlink, wifi};

use crate::model::{Bottleneck, Capacity, Direction, Program, Queue, Span};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A named access network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// LTE in a moving car.
    Lte,
    /// UMTS in a moving car, with dead zones of seconds.
    Umts,
    /// Starlink on the road: the satellite changes every 15 s.
    Starlink,
    /// Wi-Fi under interference: losses in bursts.
    Wifi,
    /// A conference venue: 2 % loss and jitter.
    Conference,
}

/// A direction of an access network, seen from the device. Which [`Way`](crate::model::Way) of a link that is depends on
/// the end at which the device stands; at a proxy the uplink is `Forward`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// From the device to the network.
    Uplink,
    /// To the device.
    Downlink,
}

/// A name that is no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no profile is called {0:?}: there are lte, umts, starlink, wifi and conference")]
pub struct UnknownProfile(String);

impl Profile {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Lte, Self::Umts, Self::Starlink, Self::Wifi, Self::Conference];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lte => "lte",
            Self::Umts => "umts",
            Self::Starlink => "starlink",
            Self::Wifi => "wifi",
            Self::Conference => "conference",
        }
    }

    /// The conditions of one direction for `length`, then over again. The same seed gives the same conditions.
    #[must_use]
    pub fn program(self, seed: u64, access: Access, length: Span) -> Program {
        // The two directions of a radio link vary by themselves.
        let seed = match access {
            Access::Uplink => seed,
            Access::Downlink => seed ^ 0x5eed_0000_0000_0000,
        };
        let cellular = |rates: &Rates, delay, queue| {
            let capacity = Capacity::Trace(Arc::new(rates.trace(seed, length)));
            let queue = Queue::Time(Span::from_millis(queue));
            let delayed = Direction::delayed(Span::from_millis(delay));
            Program::constant(Direction { bottleneck: Some(Bottleneck { capacity, queue }), ..delayed })
        };
        match (self, access) {
            // One-way delays and buffers that are common there; the figures of the fits say nothing about them.
            (Self::Lte, Access::Uplink) => cellular(&LTE_UP, 25, 300),
            (Self::Lte, Access::Downlink) => cellular(&LTE_DOWN, 25, 300),
            (Self::Umts, Access::Uplink) => cellular(&UMTS_UP, 50, 500),
            (Self::Umts, Access::Downlink) => cellular(&UMTS_DOWN, 50, 500),
            (Self::Starlink, Access::Uplink | Access::Downlink) => starlink(seed, length),
            (Self::Wifi, Access::Uplink | Access::Downlink) => Program::constant(wifi()),
            (Self::Conference, Access::Uplink | Access::Downlink) => Program::constant(conference()),
        }
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        Self::ALL.into_iter().find(|profile| profile.name() == name).ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_others_are_refused() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        let error = "dialup".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains("\"dialup\"") && error.contains("starlink"), "{error}");
    }

    #[test]
    fn a_seed_makes_a_profile() {
        let length = Span::from_millis(60_000);
        for profile in Profile::ALL {
            let program = |seed, access| profile.program(seed, access, length);
            assert_eq!(program(1, Access::Uplink), program(1, Access::Uplink));
            if matches!(profile, Profile::Lte | Profile::Umts | Profile::Starlink) {
                assert_ne!(program(1, Access::Uplink), program(2, Access::Uplink), "{profile}");
                assert_ne!(program(1, Access::Uplink), program(1, Access::Downlink), "{profile}");
            }
        }
    }
}
