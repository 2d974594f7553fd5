//! One watched track: each object once, in order within its subgroup, and the ends of its groups.
//!
//! A joining FETCH and the subscription bring the two halves of the group at which we join on different streams.
//! Until the fetch is over, objects of that group from the subscription are held back.

use super::event::{Event, Object};
use super::seen::Seen;
use crate::manifest::Via;
use bytes::Bytes;
use sluice_moqt::types::ObjectStatus;
use std::collections::{BTreeMap, VecDeque};

/// Groups remembered to tell what has arrived; older objects are dropped as too late.
const GROUPS_MAX: usize = 64;
/// Payload bytes held back while a join is under way; beyond, order is given up.
const HELD_BYTES_MAX: u64 = 64 << 20;

/// One watched track.
#[derive(Debug)]
pub(super) struct Incoming {
    track: Bytes,
    groups: BTreeMap<u64, Group>,
    /// Groups below are forgotten.
    floor: u64,
    join: Join,
}

/// What is known of one group.
#[derive(Debug, Default)]
struct Group {
    seen: Seen,
    /// Subgroup streams being received.
    open: usize,
    /// The publisher has said which object is the last, and that one has arrived.
    complete: bool,
    ended: bool,
}

/// Where the join stands.
#[derive(Debug)]
enum Join {
    /// Nothing is fetched.
    Done,
    /// A fetch is under way; objects of the subscription up to group `through` wait for it.
    Fetching { through: u64, held: VecDeque<Held>, bytes: u64 },
}

#[derive(Debug)]
enum Held {
    Object(Object),
    StreamEnd(u64, StreamEnd),
}

/// How a subgroup stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// With FIN.
    Whole,
    /// With FIN, and its last object was the last one of the group.
    WholeGroup,
    /// With a reset, or the connection was lost.
    Cut,
}

impl Incoming {
    pub(super) const fn new(track: Bytes) -> Self {
        Self { track, groups: BTreeMap::new(), floor: 0, join: Join::Done }
    }

    /// A fetch is under way that ends in group `through`, or in whatever group the subscription starts.
    pub(super) fn start_join(&mut self, through: u64) {
        match &mut self.join {
            Join::Done => self.join = Join::Fetching { through, held: VecDeque::new(), bytes: 0 },
            Join::Fetching { through: group, .. } => *group = through,
        }
    }

    /// The fetch under way, if any, ends in group `through`. One that is over already stays so: all of its stream may
    /// arrive before the SUBSCRIBE_OK that says where it ends.
    pub(super) const fn bound_join(&mut self, through: u64) {
        if let Join::Fetching { through: group, .. } = &mut self.join {
            *group = through;
        }
    }

    /// The fetch is over, whatever it brought: what was held back follows.
    pub(super) fn end_join(&mut self, out: &mut VecDeque<Event>) {
        let Join::Fetching { held, .. } = std::mem::replace(&mut self.join, Join::Done) else { return };
        for held in held {
            match held {
                Held::Object(object) => self.deliver(object, out),
                Held::StreamEnd(group, end) => self.close(group, end, out),
            }
        }
        self.settle(out);
    }

    /// A subgroup stream of `group` began.
    pub(super) fn open_stream(&mut self, group: u64) {
        if group >= self.floor {
            self.groups.entry(group).or_default().open += 1;
        }
    }

    /// A subgroup stream of `group` ended.
    pub(super) fn end_stream(&mut self, group: u64, end: StreamEnd, out: &mut VecDeque<Event>) {
        match &mut self.join {
            Join::Fetching { through, held, .. } if group <= *through => held.push_back(Held::StreamEnd(group, end)),
            Join::Fetching { .. } | Join::Done => self.close(group, end, out),
        }
    }

    /// An object arrived whole.
    pub(super) fn receive(&mut self, object: Object, out: &mut VecDeque<Event>) {
        if let Join::Fetching { through, held, bytes } = &mut self.join
            && object.flags.via != Via::Fetch
            && object.at.group <= *through
        {
            *bytes = bytes.saturating_add(object.length);
            let overflow = *bytes > HELD_BYTES_MAX;
            held.push_back(Held::Object(object));
            if overflow {
                self.end_join(out);
            }
            return;
        }
        self.deliver(object, out);
    }

    /// The subscription was lost: its streams are over, its fetch too. Returns the first group of which something may
    /// be missing, where the next subscription goes on; `None` before any object.
    pub(super) fn disconnect(&mut self, out: &mut VecDeque<Event>) -> Option<u64> {
        self.end_join(out);
        let unfinished = self.groups.iter().find(|(_, group)| group.open > 0).map(|(id, _)| *id);
        for group in self.groups.values_mut() {
            group.open = 0;
        }
        unfinished.or_else(|| self.groups.keys().next_back().copied())
    }

    /// The publisher came back with smaller group ids: nothing that was seen counts any more.
    pub(super) fn restart(&mut self, out: &mut VecDeque<Event>) {
        self.finish(out);
        self.groups.clear();
        self.floor = 0;
        out.push_back(Event::Restart { track: self.track.clone() });
    }

    /// Nothing more will come: all groups end.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Event>) {
        self.end_join(out);
        for (id, group) in &mut self.groups {
            if !std::mem::replace(&mut group.ended, true) {
                out.push_back(Event::GroupEnd { track: self.track.clone(), group: *id });
            }
        }
    }

    fn deliver(&mut self, object: Object, out: &mut VecDeque<Event>) {
        let at = object.at;
        if at.group < self.floor {
            return;
        }
        let group = self.groups.entry(at.group).or_default();
        if group.ended || !group.seen.insert(at.object) {
            return;
        }
        group.complete |= object.flags.status != ObjectStatus::Normal;
        out.push_back(Event::Object(object));
        self.forget_old();
        self.settle(out);
    }

    fn close(&mut self, id: u64, end: StreamEnd, out: &mut VecDeque<Event>) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.open = group.open.saturating_sub(1);
            group.complete |= end == StreamEnd::WholeGroup;
        }
        if end == StreamEnd::Cut {
            out.push_back(Event::Cut { track: self.track.clone(), group: id });
        }
        self.settle(out);
    }

    /// A group has ended when none of its streams is open and either its publisher said so, or a newer group has
    /// begun.
    fn settle(&mut self, out: &mut VecDeque<Event>) {
        let joining = match &self.join {
            Join::Fetching { through, .. } => Some(*through),
            Join::Done => None,
        };
        let Some(newest) = self.groups.keys().next_back().copied() else { return };
        for (id, group) in &mut self.groups {
            if group.ended || group.open > 0 || joining.is_some_and(|through| *id <= through) {
                continue;
            }
            if group.complete || *id < newest {
                group.ended = true;
                out.push_back(Event::GroupEnd { track: self.track.clone(), group: *id });
            }
        }
    }

    fn forget_old(&mut self) {
        while self.groups.len() > GROUPS_MAX {
            if let Some((id, _)) = self.groups.pop_first() {
                self.floor = id.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Flags, Position};
    use sluice_net::clock::{Clock as _, ManualClock};
    use std::time::Duration;

    struct Track {
        incoming: Incoming,
        out: VecDeque<Event>,
        arrived: std::time::Instant,
    }

    impl Track {
        fn new() -> Self {
            let arrived = ManualClock::new(Duration::ZERO).now();
            Self { incoming: Incoming::new(Bytes::from_static(b"v")), out: VecDeque::new(), arrived }
        }

        fn receive(&mut self, group: u64, object: u64, via: Via) {
            let object = Object {
                track: Bytes::from_static(b"v"),
                rendition: Some(0),
                at: Position { group, subgroup: Some(0), object },
                flags: Flags { via, status: ObjectStatus::Normal },
                properties: Bytes::new(),
                payload: Bytes::new(),
                length: 0,
                arrived: self.arrived,
            };
            self.incoming.receive(object, &mut self.out);
        }

        /// `7/0` for an object, `7.` for the end of a group, `7!` for a cut.
        fn events(&mut self) -> String {
            let words: Vec<String> = self
                .out
                .drain(..)
                .map(|event| match event {
                    Event::Object(o) => format!("{}/{}", o.at.group, o.at.object),
                    Event::GroupEnd { group, .. } => format!("{group}."),
                    Event::Cut { group, .. } => format!("{group}!"),
                    Event::Restart { .. } => "anew".to_owned(),
                    Event::Up
                    | Event::Down { .. }
                    | Event::Resolve { .. }
                    | Event::Announced
                    | Event::Refused { .. }
                    | Event::NoSuchStream
                    | Event::Catalog(_)
                    | Event::Ended
                    | Event::Pong { .. }
                    | Event::Stats(_) => "?".to_owned(),
                })
                .collect();
            words.join(" ")
        }
    }

    #[test]
    fn a_join_puts_the_fetched_half_first() {
        let mut track = Track::new();
        track.incoming.start_join(u64::MAX);
        track.receive(7, 0, Via::Fetch);
        track.incoming.bound_join(7);
        track.incoming.open_stream(7);
        track.receive(7, 2, Via::Subgroup);
        track.incoming.end_stream(7, StreamEnd::WholeGroup, &mut track.out);
        track.incoming.open_stream(8);
        track.receive(8, 0, Via::Subgroup);
        track.receive(7, 1, Via::Fetch);
        assert_eq!(track.events(), "7/0 8/0 7/1");
        track.incoming.end_join(&mut track.out);
        assert_eq!(track.events(), "7/2 7.");
    }

    #[test]
    fn a_fetch_that_overtakes_the_answer_is_not_waited_for_again() {
        let mut track = Track::new();
        track.incoming.start_join(u64::MAX);
        track.receive(7, 0, Via::Fetch);
        track.incoming.end_join(&mut track.out);
        track.incoming.bound_join(7);
        track.incoming.open_stream(7);
        track.receive(7, 1, Via::Subgroup);
        assert_eq!(track.events(), "7/0 7/1");
    }

    #[test]
    fn every_object_comes_once() {
        let mut track = Track::new();
        track.receive(7, 0, Via::Subgroup);
        track.receive(7, 0, Via::Fetch);
        track.receive(7, 1, Via::Fetch);
        assert_eq!(track.events(), "7/0 7/1");
    }

    #[test]
    fn a_group_of_a_fetch_ends_with_the_next_group() {
        let mut track = Track::new();
        track.incoming.start_join(7);
        track.receive(7, 0, Via::Fetch);
        track.incoming.end_join(&mut track.out);
        assert_eq!(track.events(), "7/0");
        track.incoming.open_stream(8);
        track.receive(8, 0, Via::Subgroup);
        assert_eq!(track.events(), "8/0 7.");
    }

    #[test]
    fn a_reset_is_a_cut_and_resuming_starts_there() {
        let mut track = Track::new();
        track.incoming.open_stream(7);
        track.receive(7, 0, Via::Subgroup);
        track.incoming.open_stream(8);
        track.receive(8, 0, Via::Subgroup);
        track.incoming.end_stream(7, StreamEnd::Cut, &mut track.out);
        assert_eq!(track.events(), "7/0 8/0 7! 7.");
        track.incoming.open_stream(9);
        track.receive(9, 0, Via::Subgroup);
        assert_eq!(track.incoming.disconnect(&mut track.out), Some(8));
        assert_eq!(track.incoming.disconnect(&mut track.out), Some(9));
    }

    #[test]
    fn a_publisher_that_numbers_anew_is_told_after_the_end_of_the_old_groups() {
        let mut track = Track::new();
        track.incoming.open_stream(7);
        track.receive(7, 0, Via::Subgroup);
        track.incoming.disconnect(&mut track.out);
        track.incoming.restart(&mut track.out);
        track.receive(2, 0, Via::Subgroup);
        assert_eq!(track.events(), "7/0 7. anew 2/0");
    }

    #[test]
    fn memory_is_bounded() {
        let mut track = Track::new();
        for group in 0..1000 {
            track.receive(group, 0, Via::Subgroup);
        }
        assert_eq!(track.incoming.groups.len(), GROUPS_MAX);
        track.events();
        track.receive(1, 1, Via::Subgroup);
        assert_eq!(track.events(), "", "too late");
    }
}
