//! FETCH, standalone and joining (draft-18 5.2, 9.12).

use crate::actors::{Known, Source, filter, ms, object, payload, secs, track};
use crate::client::Out;
use crate::world::{C, World, config};
use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{FetchEncoder, FetchHeader, FetchObject};
use sluice_moqt::error::{RequestCode, ResetCode};
use sluice_moqt::message::{FetchKind, FetchOk, Params, TrackProperties};
use sluice_moqt::session::{Event, StreamEnd};
use sluice_moqt::{Filter, GroupOrder, Location, RequestId};

/// Takes the only FETCH that a publisher was asked.
fn asked_fetch(w: &mut World, client: C) -> (RequestId, FetchKind) {
    let events = &mut w.c(client).events;
    let mut found: Vec<Event> = events.extract_if(.., |event| matches!(event, Event::Fetch { .. })).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    match found.remove(0) {
        Event::Fetch { request, kind, .. } => (request, kind),
        other => unreachable!("{other:?}"),
    }
}

fn accept_fetch(w: &mut World, client: C, request: RequestId, end: Location) {
    let ok = FetchOk { end_of_track: false, end, params: Params::default(), properties: TrackProperties::default() };
    w.c(client).protocol.accept_fetch(request, ok);
    w.run();
}

/// Answers with objects of one group.
fn bring(w: &mut World, client: C, request: RequestId, group: u64, ids: std::ops::Range<u64>) -> Out {
    let mut bytes = BytesMut::new();
    FetchHeader { request_id: request }.encode(&mut bytes);
    let mut encoder = FetchEncoder::new(GroupOrder::Ascending);
    for id in ids {
        let head = FetchObject {
            location: Location::new(group, id),
            subgroup: Some(0),
            priority: 128,
            properties: Bytes::new(),
            payload_len: 100,
        };
        encoder.object(&head, &mut bytes).expect("legal");
        bytes.extend_from_slice(&payload(group, id, 100));
    }
    let out = w.c(client).open_raw(bytes.freeze());
    w.run();
    out
}

/// A viewer of a track whose publisher has come to `group`, `object`; its fetch is asked of the publisher.
fn joined(w: &mut World, largest: (u64, u64)) -> (Source, C, RequestId, RequestId) {
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), filter(Filter::LargestObject));
    let fetch = w.join(viewer, request);
    let source = w.accept(publisher, Known::at(largest.0, largest.1));
    (source, viewer, request, fetch)
}

#[test]
fn a_join_is_withheld_until_upstream_has_answered() {
    let mut w = World::new();
    let (source, viewer, request, fetch) = joined(&mut w, (7, 2));
    assert!(w.subscribed(viewer, request).is_some());
    let (upstream, kind) = asked_fetch(&mut w, source.client);
    assert_eq!(kind, FetchKind::RelativeJoining { joining: source.request, start: 0 });
    assert_eq!(w.locations(viewer, fetch), []);
    let out = w.subgroup(source, (7, 0), sluice_moqt::data::SubgroupFlags::END_OF_GROUP);
    w.put(source, out, 7, 3..5);
    accept_fetch(&mut w, source.client, upstream, Location::new(7, 3));
    let back = bring(&mut w, source.client, upstream, 7, 0..3);
    w.c(source.client).fin(back);
    w.run();
    assert_eq!(w.locations(viewer, fetch), [(7, 0), (7, 1), (7, 2)]);
    assert_eq!(w.locations(viewer, request), [(7, 3), (7, 4)]);
    let stream = w.c(viewer).streams.iter().find(|s| s.request == fetch).expect("came").clone();
    assert_eq!(stream.end, Some(StreamEnd::Fin));
}

#[test]
fn an_upstream_fetch_that_fails_leaves_unknown_and_not_missing_objects() {
    let mut w = World::new();
    let (source, viewer, _, fetch) = joined(&mut w, (7, 2));
    let (upstream, _) = asked_fetch(&mut w, source.client);
    let error = sluice_moqt::message::RequestError {
        code: RequestCode::NotSupported,
        retry: None,
        reason: String::new(),
        redirect: None,
    };
    w.c(source.client).protocol.reject(upstream, error);
    w.run();
    w.pass(secs(6));
    assert_eq!(w.locations(viewer, fetch), []);
    let end = w.c(viewer).streams.iter().find(|s| s.request == fetch).and_then(|s| s.end);
    assert_eq!(end, Some(StreamEnd::Fin));
    let node_upstreams = w.all_asked(source.client);
    assert!(node_upstreams.is_empty());
}

#[test]
fn two_joins_are_one_fetch_upstream() {
    let mut w = World::new();
    let (source, viewer, _, fetch) = joined(&mut w, (7, 1));
    let second = w.fetch(
        viewer,
        FetchKind::Standalone { track: track("video"), start: Location::new(7, 0), end: Location::new(7, 2) },
    );
    let (upstream, _) = asked_fetch(&mut w, source.client);
    accept_fetch(&mut w, source.client, upstream, Location::new(7, 2));
    let out = bring(&mut w, source.client, upstream, 7, 0..2);
    w.c(source.client).fin(out);
    w.run();
    assert_eq!(w.locations(viewer, fetch), [(7, 0), (7, 1)]);
    assert_eq!(w.locations(viewer, second), [(7, 0), (7, 1)]);
}

#[test]
fn a_standalone_fetch_of_what_is_held_is_served_in_order_from_the_log() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    for group in 0..4 {
        w.put_group(source, group, 3);
    }
    let range = FetchKind::Standalone { track: track("video"), start: Location::new(1, 1), end: Location::new(3, 2) };
    let fetch = w.fetch(viewer, range);
    assert!(w.fetching(viewer, fetch));
    assert_eq!(w.locations(viewer, fetch), [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1)]);
    assert!(!w.c(publisher).events.iter().any(|event| matches!(event, Event::Fetch { .. })));
}

/// As with catalogs, which are published once: whoever joins after the window has passed gets them, too.
#[test]
fn what_was_published_last_is_there_for_a_late_join() {
    let mut w = World::new();
    let mut config = config("e1");
    config.track.window = Some(secs(1));
    let node = w.node(config);
    let (publisher, first, late) = (w.client(node), w.client(node), w.client(node));
    let (source, _) = w.live(publisher, first, &track("catalog"));
    w.put_group(source, 7, 1);
    w.pass(secs(40));
    let request = w.subscribe(late, &track("catalog"), filter(Filter::LargestObject));
    let fetch = w.join(late, request);
    assert_eq!(w.locations(late, fetch), [(7, 0)]);
}

#[test]
fn a_fetch_beyond_the_largest_object_is_an_invalid_range() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    let range = FetchKind::Standalone { track: track("video"), start: Location::new(3, 0), end: Location::new(4, 0) };
    let fetch = w.fetch(viewer, range);
    assert_eq!(w.error(viewer, fetch), Some(RequestCode::InvalidRange));
}

#[test]
fn a_join_of_a_refused_subscription_is_refused() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    let fetch = w.join(viewer, request);
    w.pass(secs(11));
    assert_eq!(w.error(viewer, request), Some(RequestCode::Timeout));
    assert_eq!(w.error(viewer, fetch), Some(RequestCode::InvalidJoiningRequestId));
}

#[test]
fn a_join_of_a_cancelled_subscription_is_refused() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    let fetch = w.join(viewer, request);
    w.c(viewer).protocol.cancel(request, ResetCode::Cancelled);
    w.run();
    assert_eq!(w.error(viewer, fetch), Some(RequestCode::InvalidJoiningRequestId));
}

#[test]
fn a_join_before_anything_was_published_is_an_invalid_range() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (_, request) = w.live(publisher, viewer, &track("video"));
    let fetch = w.join(viewer, request);
    assert_eq!(w.error(viewer, fetch), Some(RequestCode::InvalidRange));
}

#[test]
fn a_fetch_that_stalls_inside_an_object_wakes_nobody_in_vain() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    let out = w.group(source, 0);
    w.put(source, out, 0, 0..1);
    w.c(publisher).object(out, &object(1, 100), &payload(0, 1, 50));
    w.run();
    let range = FetchKind::Standalone { track: track("video"), start: Location::new(0, 0), end: Location::new(0, 2) };
    let fetch = w.fetch(viewer, range);
    w.pass(secs(20));
    let before = w.visits;
    w.pass(secs(20));
    assert!(w.visits - before < 50, "{} visits", w.visits - before);
    w.c(publisher).bytes(out, &payload(0, 1, 100)[50..]);
    w.run();
    w.pass(ms(10));
    let got = w.locations(viewer, fetch);
    assert_eq!(got.first(), Some(&(0, 0)));
}

#[test]
fn cancelling_a_fetch_resets_its_stream() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    let out = w.group(source, 1);
    w.put(source, out, 1, 0..1);
    w.sink_to(viewer).room = 4_000;
    let range = FetchKind::Standalone { track: track("video"), start: Location::new(0, 0), end: Location::new(2, 0) };
    for id in 1..100 {
        w.put(source, out, 1, id..id + 1);
    }
    let fetch = w.fetch(viewer, range);
    w.c(viewer).protocol.cancel(fetch, ResetCode::Cancelled);
    w.c(viewer).protocol.cancel(request, ResetCode::Cancelled);
    w.run();
    w.sink_to(viewer).room = usize::MAX;
    w.run();
    assert_eq!(w.n(node).snapshot().viewers, 0);
    assert!(w.sink_to(viewer).streams.values().all(|half| half.pending.is_empty()));
}

/// The viewer has gone on: what leads to where it was would only keep it from what is new.
#[test]
fn a_join_ends_when_its_subscription_skips_what_follows() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 20);
    let slow = w.client(node);
    w.sink_to(slow).hoard(600);
    let request = w.subscribe(slow, &track("video"), filter(Filter::LargestObject));
    let fetch = w.join(slow, request);
    for group in 1..6 {
        w.put_group(source, group, 20);
    }
    w.sink_to(slow).let_go();
    w.run();
    let stream = w.c(slow).streams.iter().find(|s| s.request == fetch).expect("begun").clone();
    assert_eq!(stream.end, Some(StreamEnd::Reset(ResetCode::DeliveryTimeout.code())));
    w.pass(secs(1));
    let live = w.locations(slow, request);
    assert_eq!(live.last(), Some(&(5, 19)), "{live:?}");
}
