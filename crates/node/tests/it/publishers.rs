//! Second publishers, and publishers that break the rules (decisions 1.8; draft-18 2.4.2).

use crate::actors::{Known, object, payload, secs, track, track_in};
use crate::world::{World, config};
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode};
use sluice_moqt::message::Params;
use sluice_node::{Config, Incident, PublisherPolicy};

fn with(policy: PublisherPolicy) -> Config {
    let mut config = config("e1");
    config.homing.publishers = policy;
    config
}

#[test]
fn refuse_keeps_the_first() {
    let mut w = World::new();
    let node = w.node(with(PublisherPolicy::Refuse));
    let (first, second) = (w.client(node), w.client(node));
    w.publish_namespace(first, "live/a");
    let request = w.publish_namespace(second, "live/a");
    assert_eq!(w.error(second, request), Some(RequestCode::Uninterested));
    w.publish(first, &track("video"), Known::default());
    let refused = w.publish(second, &track("video"), Known::default());
    assert_eq!(w.error(second, refused.request), Some(RequestCode::Uninterested));
    w.close(first);
    let request = w.publish_namespace(second, "live/a");
    assert!(w.granted(second, request).is_some());
}

#[test]
fn newest_replaces_the_others_and_viewers_stay() {
    let mut w = World::new();
    let node = w.node(with(PublisherPolicy::Newest));
    let (first, second, viewer) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(first, viewer, &track("video"));
    w.put_group(source, 0, 2);
    w.publish_namespace(second, "live/a");
    w.pass(sluice_pause());
    assert!(w.cancelled(first, source.request));
    let source = w.accept(second, Known::at(0, 1));
    w.put_group(source, 1, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1), (1, 0)]);
    assert_eq!(w.ended(viewer, request), None);
}

const fn sluice_pause() -> std::time::Duration {
    std::time::Duration::from_millis(300)
}

#[test]
fn newest_replaces_in_its_own_namespace_only() {
    let mut w = World::new();
    let node = w.node(with(PublisherPolicy::Newest));
    let (first, second, viewer) = (w.client(node), w.client(node), w.client(node));
    let (_, request) = w.live(first, viewer, &track("video"));
    w.publish_namespace(first, "live/b");
    w.publish_namespace(second, "live/b");
    w.pass(secs(20));
    assert_eq!(w.ended(viewer, request), None);
    assert_eq!(w.n(node).snapshot().upstreams, 1);
}

#[test]
fn a_track_of_which_nothing_came_keeps_its_readers_over_a_change_of_publishers() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (first, second, viewer) = (w.client(node), w.client(node), w.client(node));
    let source = w.publish(first, &track("video"), Known::default());
    let request = w.subscribe(viewer, &track("video"), Params::default());
    // Its stream is known to the reader, although it holds nothing.
    w.group(source, 0);
    w.run();
    w.close(first);
    let source = w.publish(second, &track("video"), Known::default());
    w.put_group(source, 7, 2);
    assert_eq!(w.locations(viewer, request), [(7, 0), (7, 1)]);
}

#[test]
fn newest_track_replaces_the_older_one() {
    let mut w = World::new();
    let node = w.node(with(PublisherPolicy::Newest));
    let (first, second, viewer) = (w.client(node), w.client(node), w.client(node));
    let source = w.publish(first, &track("video"), Known::default());
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.put_group(source, 0, 1);
    let twin = w.publish(second, &track("video"), Known::at(0, 0));
    assert!(w.cancelled(first, source.request));
    w.put_group(twin, 1, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0), (1, 0)]);
}

#[test]
fn a_malformed_track_ends_for_everybody_and_can_start_afresh() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (first, second) = (w.client(node), w.client(node));
    let source = w.publish(first, &track("video"), Known::default());
    let twin = w.publish(second, &track("video"), Known::default());
    let viewers: Vec<_> = (0..50).map(|_| w.client(node)).collect();
    let requests: Vec<_> = viewers.iter().map(|v| w.subscribe(*v, &track("video"), Params::default())).collect();
    let (out, other) = (w.group(source, 0), w.group(twin, 0));
    w.put(source, out, 0, 0..2);
    let visits = w.visits;
    w.c(second).object(other, &object(0, 100), &payload(9, 9, 100));
    w.run();
    for (viewer, request) in viewers.iter().zip(&requests) {
        assert_eq!(w.ended(*viewer, *request), Some(DoneCode::MalformedTrack));
    }
    assert!(w.cancelled(first, source.request) && w.cancelled(second, twin.request));
    assert_eq!(w.c(second).stopped(other), Some(ResetCode::MalformedTrack.code()));
    assert_eq!(w.n(node).snapshot().tracks, 0);
    let incident = std::iter::from_fn(|| w.n(node).poll_incident()).last();
    assert!(matches!(incident, Some(Incident::MalformedTrack { .. })), "{incident:?}");
    // The publisher does not stop at once.
    w.put(source, out, 0, 2..20);
    w.pass(secs(5));
    assert!(w.visits - visits < 400, "{} visits", w.visits - visits);
    let third = w.client(node);
    let source = w.publish(third, &track("video"), Known::default());
    let request = w.subscribe(viewers[0], &track("video"), Params::default());
    w.put_group(source, 0, 1);
    assert_eq!(w.locations(viewers[0], request), [(0, 0)]);
}

#[test]
fn a_malformed_track_is_heard_from_upstream() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    w.done(source, DoneCode::MalformedTrack);
    assert_eq!(w.ended(viewer, request), Some(DoneCode::MalformedTrack));
}

#[test]
fn what_ends_with_one_track_does_not_touch_the_next() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (first, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(first, "live/a");
    let one = w.subscribe(viewer, &track("video"), Params::default());
    let source = w.accept(first, Known::at(3, 5));
    let pending = w.c(first).take();
    let fetch = pending.iter().find_map(|event| match event {
        sluice_moqt::session::Event::Fetch { request, .. } => Some(*request),
        _ => None,
    });
    // The track turns malformed while a fetch of ours is out, and another track takes its place.
    w.done(source, DoneCode::MalformedTrack);
    assert_eq!(w.ended(viewer, one), Some(DoneCode::MalformedTrack));
    let other = w.client(node);
    let twin = w.publish(other, &track_in("live/b", "audio"), Known::default());
    let two = w.subscribe(viewer, &track_in("live/b", "audio"), Params::default());
    w.put_group(twin, 3, 1);
    let mut bytes = bytes::BytesMut::new();
    let fetch = fetch.expect("asked");
    sluice_moqt::data::FetchHeader { request_id: fetch }.encode(&mut bytes);
    let mut encoder = sluice_moqt::data::FetchEncoder::new(sluice_moqt::GroupOrder::Ascending);
    let head = sluice_moqt::data::FetchObject {
        location: sluice_moqt::Location::new(3, 0),
        subgroup: Some(0),
        priority: 128,
        properties: bytes::Bytes::new(),
        payload_len: 4,
    };
    encoder.object(&head, &mut bytes).expect("legal");
    bytes.extend_from_slice(b"else");
    w.c(first).open_raw(bytes.freeze());
    w.run();
    w.put_group(twin, 4, 1);
    assert_eq!(w.ended(viewer, two), None);
    assert_eq!(w.locations(viewer, two), [(3, 0), (4, 0)]);
}
