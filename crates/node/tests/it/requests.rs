//! TRACK_STATUS, REQUEST_UPDATE, NEW_GROUP_REQUEST, GOAWAY, verdicts and limits.

use crate::actors::{Known, filter, ms, ns, object, payload, secs, track, track_in};
use crate::world::{World, config};
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::error::RequestCode;
use sluice_moqt::message::{Goaway, Params};
use sluice_moqt::properties::{PropertiesBuilder, kind};
use sluice_moqt::session::Event;
use sluice_moqt::transport::CloseReason;
use sluice_moqt::{Filter, Location, RequestId};
use sluice_node::{Action, AuthRequest, Config, Verdict};
use std::time::Duration;

fn dynamic() -> bytes::Bytes {
    PropertiesBuilder::default().int(kind::DYNAMIC_GROUPS, 1).build().expect("legal")
}

#[test]
fn track_status_tells_and_leaves_nothing() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let request = w.c(viewer).protocol.track_status(track("video"), Params::default()).expect("allowed");
    w.run();
    assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
    w.publish_namespace(publisher, "live/a");
    let request = w.c(viewer).protocol.track_status(track("video"), Params::default()).expect("allowed");
    w.run();
    let source = w.accept(publisher, Known { largest: Some(Location::new(4, 2)), properties: dynamic() });
    let ok = w.granted(viewer, request).expect("told");
    assert_eq!((ok.params.largest, ok.properties.0), (Some(Location::new(4, 2)), dynamic()));
    w.pass(secs(11));
    assert!(w.cancelled(publisher, source.request));
    assert_eq!(w.n(node).snapshot().tracks, 0);
}

#[test]
fn forward_0_sends_nothing_and_forward_1_goes_on_at_the_edge() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let paused = Params { forward: Some(false), ..Params::default() };
    let request = w.subscribe(viewer, &track("video"), paused.clone());
    // draft-18 8.3: a relay SHOULD ask upstream with Forward 1 in any case.
    let (upstream, params) = w.asked(publisher);
    assert_eq!(params.forward, Some(true));
    let source = w.accept_request(publisher, upstream, Known::default());
    w.put_group(source, 0, 2);
    assert_eq!(w.c(viewer).streams.len(), 0);
    let on = Params { forward: Some(true), ..Params::default() };
    let update = w.c(viewer).protocol.update(request, on).expect("allowed");
    w.run();
    let ok = w.c(viewer).events.iter().find_map(|event| match event {
        Event::UpdateOk { update: of, ok, .. } if *of == update => Some(ok.clone()),
        _ => None,
    });
    assert_eq!(ok.and_then(|ok| ok.params.largest), Some(Location::new(0, 1)));
    // The joining location is the one that the update told.
    let fetch = w.join(viewer, request);
    assert_eq!(w.locations(viewer, fetch), [(0, 0), (0, 1)]);
    let out = w.group(source, 1);
    w.put(source, out, 1, 0..1);
    assert_eq!(w.locations(viewer, request), [(1, 0)]);
    w.c(viewer).protocol.update(request, paused).expect("allowed");
    w.run();
    w.put(source, out, 1, 1..3);
    w.put_group(source, 2, 1);
    assert_eq!(w.locations(viewer, request), [(1, 0)]);
}

#[test]
fn an_update_moves_the_range() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    let range = filter(Filter::AbsoluteStart { start: Location::new(2, 0) });
    w.c(viewer).protocol.update(request, range).expect("allowed");
    w.run();
    w.put_group(source, 1, 1);
    w.put_group(source, 2, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0), (2, 0)]);
}

/// Groups that a publisher was asked for by updates.
fn new_groups(w: &mut World, client: crate::world::C) -> Vec<u64> {
    let events = w.c(client).take();
    events
        .into_iter()
        .filter_map(|event| match event {
            Event::Update { params, .. } => params.new_group_request,
            _ => None,
        })
        .collect()
}

#[test]
fn one_new_group_request_is_outstanding_and_they_are_half_a_second_apart() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let wish = |group| Params { new_group_request: Some(group), ..Params::default() };
    let request = w.subscribe(viewer, &track("video"), wish(0));
    // "MUST include the NEW_GROUP_REQUEST when subscribing upstream"
    let (upstream, params) = w.asked(publisher);
    assert_eq!(params.new_group_request, Some(0));
    let source = w.accept_request(publisher, upstream, Known { largest: None, properties: dynamic() });
    w.put_group(source, 5, 1);
    w.pass(secs(1));
    new_groups(&mut w, publisher);
    for _ in 0..5 {
        let viewer = w.client(node);
        w.subscribe(viewer, &track("video"), wish(6));
    }
    assert_eq!(new_groups(&mut w, publisher), [6]);
    w.c(viewer).protocol.update(request, wish(6)).expect("allowed");
    w.pass(secs(2));
    assert_eq!(new_groups(&mut w, publisher), [] as [u64; 0]);
    // Fulfilled; what asks for a group that is there is left alone.
    w.put_group(source, 6, 1);
    w.c(viewer).protocol.update(request, wish(6)).expect("allowed");
    w.run();
    assert_eq!(new_groups(&mut w, publisher), [] as [u64; 0]);
    w.c(viewer).protocol.update(request, wish(7)).expect("allowed");
    w.run();
    assert_eq!(new_groups(&mut w, publisher), [7]);
    w.put_group(source, 7, 1);
    w.pass(ms(300));
    w.c(viewer).protocol.update(request, wish(8)).expect("allowed");
    w.run();
    assert_eq!(new_groups(&mut w, publisher), [] as [u64; 0]);
    w.pass(ms(300));
    w.c(viewer).protocol.update(request, wish(8)).expect("allowed");
    w.run();
    assert_eq!(new_groups(&mut w, publisher), [8]);
}

#[test]
fn a_track_without_dynamic_groups_is_not_asked_for_one() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 5, 1);
    w.c(viewer).protocol.update(request, Params { new_group_request: Some(0), ..Params::default() }).expect("allowed");
    w.run();
    assert_eq!(new_groups(&mut w, publisher), [] as [u64; 0]);
}

#[test]
fn a_drain_asks_everybody_to_leave_and_takes_no_joins() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    let now = w.now;
    w.n(node).drain(now, secs(5));
    w.run();
    let left = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Goaway(_)));
    assert!(left(&w.c(publisher).events) && left(&w.c(viewer).events));
    // What is served goes on meanwhile.
    w.put_group(source, 0, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0)]);
    let late = w.client(node);
    let refused = w.subscribe(late, &track("video"), Params::default());
    assert_eq!(w.error(late, refused), Some(RequestCode::GoingAway));
    assert!(!w.n(node).is_drained());
    w.close(publisher);
    w.close(late);
    // Who stays is closed when the time is over.
    w.pass(secs(6));
    assert!(!w.is_open(viewer));
    assert!(w.n(node).is_drained());
}

#[test]
fn a_publisher_that_goes_away_is_replaced_before_it_is_gone() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, next) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    let now = w.now;
    let goaway = Goaway { uri: String::new(), timeout: secs(5), request_id: Some(RequestId(0)) };
    w.c(publisher).protocol.goaway(now, goaway);
    w.run();
    w.publish_namespace(next, "live/a");
    let twin = w.accept(next, Known::at(0, 0));
    w.put_group(source, 1, 1);
    w.put_group(twin, 1, 1);
    w.close(publisher);
    w.put_group(twin, 2, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(w.ended(viewer, request), None);
}

// ---- verdicts

fn asking() -> Config {
    Config { authorize: true, ..config("e1") }
}

fn questions(w: &mut World, node: crate::world::N) -> Vec<AuthRequest> {
    std::iter::from_fn(|| w.n(node).poll_auth()).collect()
}

fn answer(w: &mut World, node: crate::world::N, id: u64, verdict: Verdict) {
    let now = w.now;
    w.n(node).handle_verdict(now, id, verdict);
    w.run();
}

#[test]
fn verdicts_allow_and_deny() {
    let mut w = World::new();
    let node = w.node(asking());
    let (publisher, viewer) = (w.client(node), w.client(node));
    let offer = w.publish_namespace(publisher, "live/a");
    let asked = questions(&mut w, node);
    assert_eq!(asked.iter().map(|a| a.action.clone()).collect::<Vec<_>>(), [Action::PublishNamespace(ns("live/a"))]);
    assert!(w.granted(publisher, offer).is_none());
    answer(&mut w, node, asked[0].id, Verdict::Allow);
    assert!(w.granted(publisher, offer).is_some());
    let request = w.subscribe(viewer, &track("video"), Params::default());
    let fetch = w.join(viewer, request);
    let asked = questions(&mut w, node);
    assert_eq!(asked[0].action, Action::Subscribe(Some(track("video"))));
    assert_eq!(w.all_asked(publisher), []);
    // The join is allowed first and waits for its subscription.
    answer(&mut w, node, asked[1].id, Verdict::Allow);
    answer(&mut w, node, asked[0].id, Verdict::Deny);
    assert_eq!(w.error(viewer, request), Some(RequestCode::Unauthorized));
    assert_eq!(w.error(viewer, fetch), Some(RequestCode::InvalidJoiningRequestId));
    let request = w.subscribe(viewer, &track("video"), Params::default());
    let asked = questions(&mut w, node);
    answer(&mut w, node, asked[0].id, Verdict::Allow);
    w.accept(publisher, Known::default());
    assert!(w.subscribed(viewer, request).is_some());
}

#[test]
fn a_verdict_that_does_not_come_is_a_timeout() {
    let mut w = World::new();
    let node = w.node(asking());
    let viewer = w.client(node);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.pass(ms(4_999));
    assert_eq!(w.error(viewer, request), None);
    w.pass(ms(1));
    assert_eq!(w.error(viewer, request), Some(RequestCode::Timeout));
    let late = questions(&mut w, node);
    answer(&mut w, node, late[0].id, Verdict::Allow);
    assert_eq!(w.subscribed(viewer, request), None);
}

#[test]
fn a_request_that_is_over_needs_no_verdict() {
    let mut w = World::new();
    let node = w.node(asking());
    let (viewer, publisher) = (w.client(node), w.client(node));
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.publish_namespace(publisher, "live/a");
    let asked = questions(&mut w, node);
    w.c(viewer).protocol.cancel(request, sluice_moqt::error::ResetCode::Cancelled);
    w.run();
    w.close(publisher);
    for question in asked {
        answer(&mut w, node, question.id, Verdict::Allow);
    }
    w.pass(secs(20));
    assert_eq!(w.n(node).snapshot().tracks, 0);
}

// ---- limits

fn limited(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = config("e1");
    change(&mut config);
    config
}

fn hits(w: &mut World, node: crate::world::N) -> u64 {
    w.n(node).snapshot().metrics.limits_hit_total
}

#[test]
fn sessions_are_limited() {
    let mut w = World::new();
    let node = w.node(limited(|config| config.limits.max_sessions = 2));
    let (first, _second, third) = (w.client(node), w.client(node), w.client(node));
    assert!(!w.is_open(third));
    assert!(matches!(w.c(third).closed, Some(CloseReason::Peer { .. })));
    assert_eq!((w.n(node).snapshot().sessions, hits(&mut w, node)), (2, 1));
    w.close(first);
    let fourth = w.client(node);
    assert!(w.is_open(fourth));
}

#[test]
fn tracks_are_limited() {
    let mut w = World::new();
    let node = w.node(limited(|config| config.limits.max_tracks = 2));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish(publisher, &track("one"), Known::default());
    w.publish(publisher, &track("two"), Known::default());
    let source = w.publish(publisher, &track("three"), Known::default());
    assert_eq!(w.error(publisher, source.request), Some(RequestCode::ExcessiveLoad));
    let request = w.subscribe(viewer, &track("four"), Params::default());
    assert_eq!(w.error(viewer, request), Some(RequestCode::ExcessiveLoad));
    let request = w.subscribe(viewer, &track("one"), Params::default());
    assert!(w.subscribed(viewer, request).is_some());
    assert_eq!(hits(&mut w, node), 2);
    // A second publisher of a track that is there takes no room.
    let other = w.client(node);
    let twin = w.publish(other, &track("one"), Known::default());
    assert!(w.granted(other, twin.request).is_some());
}

#[test]
fn requests_of_a_session_are_limited() {
    let mut w = World::new();
    let node = w.node(limited(|config| config.limits.max_requests_per_session = 3));
    let viewer = w.client(node);
    let wait = Params { rendezvous_timeout: Some(secs(9)), ..Params::default() };
    let names = ["a", "b", "c", "d"];
    let requests: Vec<_> = names.iter().map(|name| w.subscribe(viewer, &track(name), wait.clone())).collect();
    assert_eq!(w.error(viewer, requests[2]), None);
    assert_eq!(w.error(viewer, requests[3]), Some(RequestCode::ExcessiveLoad));
}

#[test]
fn namespaces_of_a_session_are_limited() {
    let mut w = World::new();
    let node = w.node(limited(|config| config.limits.max_namespaces_per_session = 2));
    let publisher = w.client(node);
    w.publish_namespace(publisher, "a");
    let second = w.publish_namespace(publisher, "b");
    let third = w.publish_namespace(publisher, "c");
    assert_eq!(w.error(publisher, third), Some(RequestCode::ExcessiveLoad));
    w.c(publisher).protocol.cancel(second, sluice_moqt::error::ResetCode::Cancelled);
    w.run();
    let fourth = w.publish_namespace(publisher, "c");
    assert!(w.granted(publisher, fourth).is_some());
    assert_eq!(hits(&mut w, node), 1);
}

#[test]
fn a_rendezvous_is_cut_to_the_limit() {
    let mut w = World::new();
    let node = w.node(limited(|config| config.limits.max_rendezvous = secs(3)));
    let viewer = w.client(node);
    let wait = Params { rendezvous_timeout: Some(Duration::from_secs(3_600)), ..Params::default() };
    let request = w.subscribe(viewer, &track("video"), wait);
    w.pass(secs(3));
    assert_eq!(w.error(viewer, request), Some(RequestCode::Timeout));
}

#[test]
fn limits_of_a_log_stop_the_stream_and_not_the_track() {
    let mut w = World::new();
    let node = w.node(limited(|config| config.track.object_bytes = 1_000));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    let out = w.subgroup(source, (0, 0), SubgroupFlags::FIRST_OBJECT);
    w.c(publisher).object(out, &object(0, 5_000), &payload(0, 0, 5_000));
    w.run();
    assert_eq!(w.c(publisher).stopped(out), Some(sluice_moqt::error::ResetCode::ExcessiveLoad.code()));
    assert_eq!(hits(&mut w, node), 1);
    w.put_group(source, 1, 1);
    assert_eq!(w.locations(viewer, request), [(1, 0)]);
}

#[test]
fn a_property_that_must_be_understood_and_is_not_refuses_the_track() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, other) = (w.client(node), w.client(node), w.client(node));
    let mandatory = PropertiesBuilder::default().int(0x4000, 1).build().expect("legal");
    let known = Known { largest: None, properties: mandatory };
    let source = w.publish(publisher, &track("video"), known.clone());
    assert_eq!(w.error(publisher, source.request), Some(RequestCode::UnsupportedExtension));
    w.publish_namespace(other, "live/b");
    let request = w.subscribe(viewer, &track_in("live/b", "x"), Params::default());
    let source = w.accept(other, known);
    assert_eq!(w.error(viewer, request), Some(RequestCode::UnsupportedExtension));
    assert!(w.cancelled(other, source.request));
}
