//! Which of many like lines of the log are written: strangers must not be able to fill it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Between two lines about one address.
const PERIOD: Duration = Duration::from_secs(60);
/// Addresses remembered; while there are more, new ones get no line.
const MAX_ADDRESSES: usize = 64;

/// Lines written of late, by address.
#[derive(Debug, Default)]
pub(crate) struct Complaints(BTreeMap<IpAddr, Told>);

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Instant,
    /// Left out since.
    unsaid: u64,
}

impl Complaints {
    /// Whether a line about `from` is due, and how many were left out since the last one.
    pub(crate) fn due(&mut self, now: Instant, from: IpAddr) -> Option<u64> {
        if let Some(told) = self.0.get_mut(&from) {
            if now.saturating_duration_since(told.at) < PERIOD {
                told.unsaid += 1;
                return None;
            }
            let unsaid = told.unsaid;
            *told = Told { at: now, unsaid: 0 };
            return Some(unsaid);
        }
        if self.0.len() >= MAX_ADDRESSES {
            self.0.retain(|_, told| now.saturating_duration_since(told.at) < PERIOD);
        }
        let is_new = self.0.len() < MAX_ADDRESSES;
        is_new.then(|| {
            self.0.insert(from, Told { at: now, unsaid: 0 });
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn one_line_per_address_and_minute_says_how_many_were_left_out() {
        let start = ManualClock::new(Duration::ZERO).now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut complaints = Complaints::default();
        assert_eq!(complaints.due(at(0), address(1)), Some(0));
        assert_eq!(complaints.due(at(1), address(1)), None);
        assert_eq!(complaints.due(at(2), address(1)), None);
        assert_eq!(complaints.due(at(3), address(2)), Some(0));
        assert_eq!(complaints.due(at(60), address(1)), Some(2));
    }

    #[test]
    fn a_flood_of_addresses_gets_a_bounded_number_of_lines() {
        let start = ManualClock::new(Duration::ZERO).now();
        let mut complaints = Complaints::default();
        let lines = (0..=u8::MAX).filter(|last| complaints.due(start, address(*last)).is_some()).count();
        assert_eq!(lines, MAX_ADDRESSES);
        assert_eq!(complaints.due(start + PERIOD, address(200)), Some(0));
    }
}
