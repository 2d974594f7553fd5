//! PUBLISH, PUBLISH_NAMESPACE and those who ask to hear of them (draft-18 5.3, 8.5, 9.18, 9.19).

use crate::actors::{Known, ns, secs, track, track_in};
use crate::world::{C, World, config};
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::{ExtraParams, Params, RequestOk};
use sluice_moqt::session::Event;
use sluice_moqt::{Location, Namespace, RequestId, TrackName};

/// What a SUBSCRIBE_NAMESPACE heard: namespaces that came (`true`) and went.
pub(crate) fn heard(w: &mut World, client: C) -> Vec<(bool, Namespace)> {
    let events = w.c(client).events.iter().filter_map(|event| match event {
        Event::Namespace { suffix, .. } => Some((true, suffix.clone())),
        Event::NamespaceDone { suffix, .. } => Some((false, suffix.clone())),
        _ => None,
    });
    events.collect()
}

pub(crate) fn watch(w: &mut World, client: C, prefix: &str) -> RequestId {
    let request = w.c(client).protocol.subscribe_namespace(ns(prefix), Params::default()).expect("allowed");
    w.run();
    request
}

pub(crate) fn watch_tracks(w: &mut World, client: C, prefix: &str, forward: Option<bool>) -> RequestId {
    let params = Params { forward, ..Params::default() };
    let request = w.c(client).protocol.subscribe_tracks(ns(prefix), params).expect("allowed");
    w.run();
    request
}

/// Takes every PUBLISH that a client was offered.
pub(crate) fn offered(w: &mut World, client: C) -> Vec<(RequestId, TrackName, Params)> {
    let events = w.c(client).events.iter().filter_map(|event| match event {
        Event::Publish { request, track, params, .. } => Some((*request, track.clone(), params.clone())),
        _ => None,
    });
    let found = events.collect();
    w.c(client).events.retain(|event| !matches!(event, Event::Publish { .. }));
    found
}

#[test]
fn namespaces_come_and_go() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (viewer, publisher, second) = (w.client(node), w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let request = watch(&mut w, viewer, "live");
    assert!(w.granted(viewer, request).is_some());
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    let b = w.publish_namespace(publisher, "live/b");
    w.publish_namespace(publisher, "other/c");
    w.publish_namespace(second, "live/b");
    assert_eq!(heard(&mut w, viewer), [(true, ns("a")), (true, ns("b"))]);
    w.c(publisher).protocol.cancel(b, ResetCode::Cancelled);
    w.run();
    assert_eq!(heard(&mut w, viewer).len(), 2);
    w.close(second);
    assert_eq!(heard(&mut w, viewer).last(), Some(&(false, ns("b"))));
    w.close(publisher);
    assert_eq!(heard(&mut w, viewer).last(), Some(&(false, ns("a"))));
    w.c(viewer).protocol.cancel(request, ResetCode::Cancelled);
    w.run();
    let third = w.client(node);
    w.publish_namespace(third, "live/a");
    assert_eq!(heard(&mut w, viewer).len(), 4);
}

#[test]
fn a_watch_whose_prefix_changes_hears_of_the_new_prefix() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (viewer, publisher) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    w.publish_namespace(publisher, "vod/b");
    let request = watch(&mut w, viewer, "live");
    assert_eq!(heard(&mut w, viewer), [(true, ns("a"))]);
    w.c(viewer).take();
    let extra = ExtraParams { namespace_prefix: Some(ns("vod")), ..ExtraParams::default() };
    let params = Params { extra: Some(Box::new(extra)), ..Params::default() };
    w.c(viewer).protocol.update(request, params).expect("allowed");
    w.run();
    assert!(w.c(viewer).events.iter().any(|event| matches!(event, Event::UpdateOk { .. })));
    assert_eq!(heard(&mut w, viewer), [(true, ns("b"))]);
    w.publish_namespace(publisher, "vod/c");
    w.publish_namespace(publisher, "live/d");
    assert_eq!(heard(&mut w, viewer), [(true, ns("b")), (true, ns("c"))]);
}

#[test]
fn a_published_track_is_offered_to_those_who_asked_for_tracks() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (early, publisher, late, other) = (w.client(node), w.client(node), w.client(node), w.client(node));
    watch_tracks(&mut w, early, "live", None);
    watch_tracks(&mut w, other, "vod", None);
    watch_tracks(&mut w, publisher, "live", None);
    let source = w.publish(publisher, &track("video"), Known::default());
    assert_eq!(w.granted(publisher, source.request).and_then(|ok| ok.params.forward), Some(true));
    let offers = offered(&mut w, early);
    assert_eq!(offers.iter().map(|(_, name, _)| name.clone()).collect::<Vec<_>>(), [track("video")]);
    // "excluding tracks published by the subscriber"
    assert_eq!((offered(&mut w, publisher), offered(&mut w, other)), (vec![], vec![]));
    let request = offers[0].0;
    w.c(early).protocol.accept(request, RequestOk::default());
    w.put_group(source, 3, 2);
    assert_eq!(w.locations(early, request), [(3, 0), (3, 1)]);
    watch_tracks(&mut w, late, "live/a", Some(false));
    let offers = offered(&mut w, late);
    let (request, _, params) = offers.first().expect("offered").clone();
    assert_eq!((params.largest, params.forward), (Some(Location::new(3, 1)), Some(false)));
    w.c(late).protocol.accept(request, RequestOk::default());
    w.put_group(source, 4, 1);
    assert_eq!(w.locations(late, request), []);
    w.c(late).protocol.update(request, Params { forward: Some(true), ..Params::default() }).expect("allowed");
    w.run();
    w.put_group(source, 5, 1);
    assert_eq!(w.locations(late, request), [(5, 0)]);
}

#[test]
fn who_waits_for_a_track_gets_its_subscription_and_no_offer() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (viewer, publisher) = (w.client(node), w.client(node));
    let params = Params { rendezvous_timeout: Some(secs(5)), ..Params::default() };
    watch_tracks(&mut w, viewer, "live", None);
    let request = w.subscribe(viewer, &track("video"), params);
    w.publish(publisher, &track("video"), Known::default());
    // draft-18 8.5: "it MUST proceed with the SUBSCRIBE and MUST NOT also forward the PUBLISH to that subscriber".
    assert!(w.subscribed(viewer, request).is_some());
    assert_eq!(offered(&mut w, viewer), vec![]);
}

#[test]
fn an_offer_that_is_refused_leaves_nothing() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (viewer, publisher) = (w.client(node), w.client(node));
    watch_tracks(&mut w, viewer, "live", None);
    let source = w.publish(publisher, &track("video"), Known::default());
    let (request, _, _) = offered(&mut w, viewer).remove(0);
    let error = sluice_moqt::message::RequestError {
        code: sluice_moqt::error::RequestCode::Uninterested,
        retry: None,
        reason: String::new(),
        redirect: None,
    };
    w.c(viewer).protocol.reject(request, error);
    w.run();
    assert_eq!(w.n(node).snapshot().viewers, 0);
    w.put_group(source, 0, 1);
    assert_eq!(w.c(viewer).streams.len(), 0);
}

#[test]
fn a_publish_meets_those_who_are_served_by_another_publisher() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, second) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 2);
    let twin = w.publish(second, &track("video"), Known::at(0, 1));
    // Both are live: what comes twice is forwarded once.
    w.put_group(source, 1, 2);
    w.put_group(twin, 1, 2);
    w.put_group(twin, 2, 1);
    w.put_group(source, 2, 1);
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]);
    w.close(publisher);
    w.put_group(twin, 3, 1);
    w.pass(secs(20));
    assert_eq!(w.ended(viewer, request), None);
    assert_eq!(w.locations(viewer, request).last(), Some(&(3, 0)));
}

#[test]
fn a_namespace_published_later_is_asked_for_what_is_already_served() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, second) = (w.client(node), w.client(node), w.client(node));
    w.live(publisher, viewer, &track("video"));
    // draft-18 8.5: "it MUST send a SUBSCRIBE to the publisher .. for each matching subscription".
    w.publish_namespace(second, "live");
    w.asked(second);
}

#[test]
fn reserved_namespaces_do_not_exist() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let client = w.client(node);
    let request = w.subscribe(client, &track_in(".session", "x"), Params::default());
    assert_eq!(w.error(client, request), Some(sluice_moqt::error::RequestCode::DoesNotExist));
    let request = w.publish_namespace(client, ".session/a");
    assert_eq!(w.error(client, request), Some(sluice_moqt::error::RequestCode::DoesNotExist));
}
