//! Sources inside the process: an origin's files and children.

use crate::actors::{ms, payload, secs, track};
use crate::world::{N, World, config};
use bytes::Bytes;
use sluice_moqt::error::{DoneCode, ResetCode};
use sluice_moqt::message::{Params, TrackProperties};
use sluice_moqt::session::StreamEnd;
use sluice_moqt::{Filter, Location};
use sluice_node::{EndReason, LocalObject, LocalTrack};

impl World {
    fn open_local(&mut self, node: N) -> LocalTrack {
        let now = self.now;
        let opened = self.n(node).publish_local(now, &track("video"), TrackProperties::default(), None);
        self.run();
        opened.expect("a track of the node's own")
    }

    fn write_local(&mut self, node: N, open: &mut LocalTrack, (group, id): (u64, u64)) {
        let object = LocalObject {
            location: Location::new(group, id),
            priority: None,
            properties: Bytes::new(),
            payload: payload(group, id, 100).into(),
        };
        let now = self.now;
        self.n(node).write_local(now, open, &object).expect("ids grow");
        self.run();
    }
}

#[test]
fn a_group_that_is_abandoned_does_not_end_and_the_next_one_follows() {
    let mut w = World::new();
    let node = w.node(config("o1"));
    let mut open = w.open_local(node);
    let viewer = w.client(node);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    (0..2).for_each(|id| w.write_local(node, &mut open, (5, id)));
    let now = w.now;
    w.n(node).abandon_local_group(now, &mut open);
    w.pass(secs(3));
    // Object 2 may exist: a FIN would say that it does not.
    let ends: Vec<Option<StreamEnd>> = w.c(viewer).streams.iter().map(|stream| stream.end).collect();
    assert_eq!(ends, [Some(StreamEnd::Reset(ResetCode::DeliveryTimeout.code()))]);
    w.write_local(node, &mut open, (6, 0));
    let now = w.now;
    w.n(node).end_local_group(now, &mut open).expect("it is whole");
    w.run();
    assert_eq!(w.locations(viewer, request), [(5, 0), (5, 1), (6, 0)]);
    assert_eq!(w.c(viewer).streams[1].end, Some(StreamEnd::Fin));
}

#[test]
fn a_source_that_fails_leaves_its_group_open_and_one_that_ends_does_not() {
    for (why, whole) in [(EndReason::Lost, false), (EndReason::Ended, true)] {
        let mut w = World::new();
        let node = w.node(config("o1"));
        let mut open = w.open_local(node);
        let viewer = w.client(node);
        let request = w.subscribe(viewer, &track("video"), crate::actors::filter(Filter::LargestObject));
        w.write_local(node, &mut open, (5, 0));
        let now = w.now;
        w.n(node).end_local(now, open, why);
        w.pass(secs(3));
        let end = w.c(viewer).streams[0].end;
        assert_eq!(end == Some(StreamEnd::Fin), whole, "{why:?}: {end:?}");
        w.pass(secs(10) + ms(1));
        assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded), "{why:?}");
    }
}
