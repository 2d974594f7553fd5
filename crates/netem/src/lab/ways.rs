//! A link as the engine has it: two directions that go down together.

use crate::model::{Counters, Lanes, State, Way};
use std::time::Duration;

/// Both directions of a link, from its first end and from its second.
#[derive(Debug)]
pub(super) struct Ways {
    links: [Lanes; 2],
    /// What was asked of the link itself.
    own: State,
    /// What a partition asks of it.
    partition: State,
}

impl Ways {
    pub(super) fn new(links: [Lanes; 2]) -> Self {
        Self { links, own: State::Up, partition: State::Up }
    }

    /// The direction of packets that come from the first end (0) or the second (1).
    pub(super) fn at_end(&mut self, end: usize) -> &mut Lanes {
        &mut self.links[end]
    }

    pub(super) fn way(&mut self, way: Way) -> &mut Lanes {
        match way {
            Way::Forward => &mut self.links[0],
            Way::Reverse => &mut self.links[1],
        }
    }

    pub(super) fn set_state(&mut self, now: Duration, state: State) {
        self.own = state;
        self.apply(now);
    }

    pub(super) fn set_cut(&mut self, now: Duration, partition: State) {
        // A partition somewhere else is no event here: a program may have taken one direction down.
        if self.partition != partition {
            self.partition = partition;
            self.apply(now);
        }
    }

    pub(super) fn counters(&self) -> [Counters; 2] {
        self.links.each_ref().map(Lanes::counters)
    }

    /// How long a packet that came now would wait before a bottleneck; the longer of both ways.
    pub(super) fn backlog(&mut self, now: Duration) -> Duration {
        self.links.iter_mut().map(|link| link.backlog(now)).max().unwrap_or_default()
    }

    fn apply(&mut self, now: Duration) {
        let state = match (self.own, self.partition) {
            (State::Up, State::Up) => State::Up,
            (State::Down, State::Up | State::Down) | (State::Up, State::Down) => State::Down,
        };
        for link in &mut self.links {
            link.set_state(now, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Direction, Key, Sharing};

    #[test]
    fn a_link_is_up_when_nobody_wants_it_down() {
        let link = |way| {
            let key = Key::new(1, 0, way);
            Lanes::new(key, Direction::default(), Sharing::All)
        };
        let mut ways = Ways::new([link(Way::Forward), link(Way::Reverse)]);
        let states = |ways: &Ways| ways.links.each_ref().map(Lanes::state);
        ways.set_state(Duration::ZERO, State::Down);
        ways.set_cut(Duration::ZERO, State::Down);
        ways.set_cut(Duration::ZERO, State::Up);
        assert_eq!(states(&ways), [State::Down; 2], "it was taken down by itself");
        ways.set_cut(Duration::ZERO, State::Down);
        ways.set_state(Duration::ZERO, State::Up);
        assert_eq!(states(&ways), [State::Down; 2], "the partition lasts");
        ways.set_cut(Duration::ZERO, State::Up);
        assert_eq!(states(&ways), [State::Up; 2]);
    }
}
