//! What a publishing link answers, and what it says to a relay.

use super::scripted::Scripted;
use super::station::{Recorder, namespace};
use super::wire::Wire;
use crate::core::{Broadcast, Client, Down, Event as Out, Keep, Outgoing, Role};
use bytes::Bytes;
use sluice_moqt::error::{DoneCode, RequestCode};
use sluice_moqt::message::{FetchKind, Goaway, Params, RequestOk, TrackProperties};
use sluice_moqt::name::{Namespace, TrackName};
use sluice_moqt::session::{Event, StreamEnd};
use sluice_moqt::types::{Filter, Location, RequestId};
use sluice_net::Rng;
use std::time::Duration;

/// Groups 5, 6 and 7, three objects each; group 7 goes on.
const LARGEST: Location = Location { group: 7, object: 2 };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn track(name: &'static str) -> TrackName {
    TrackName::new(namespace(), Bytes::from_static(name.as_bytes())).unwrap()
}

fn object(group: u64, object: u64) -> Outgoing {
    let payload = Bytes::from(format!("{group}/{object}"));
    Outgoing { group, object, priority: 128, properties: Bytes::new(), payload }
}

fn publisher(now: std::time::Instant) -> Client {
    let mut broadcast = Broadcast::new(namespace());
    for name in ["v", "empty"] {
        broadcast.add_track(Bytes::from(name), TrackProperties::default()).unwrap();
    }
    let mut client = Client::new(Rng::from_seed(1), Some(broadcast));
    for group in 5..=7 {
        for id in 0..3 {
            client.publish(now, b"v", &object(group, id)).unwrap();
        }
        if group < 7 {
            client.end_group(now, b"v", group).unwrap();
        }
    }
    client
}

type World = Wire<Scripted, Client>;

/// A subscriber that has a session with the publisher.
fn world() -> World {
    let mut world = Wire::new(Scripted::dialling(), publisher(super::wire::epoch()));
    world.run(ms(100));
    assert!(matches!(world.a.take().as_slice(), [Event::Ready(_)]));
    world
}

fn subscribe(world: &mut World, name: &'static str, params: Params) -> (RequestId, Vec<Event>) {
    let request = world.a.tell(|session| session.subscribe(track(name), params)).unwrap();
    world.run(ms(100));
    (request, world.a.take())
}

fn fetch(world: &mut World, kind: FetchKind) -> Vec<Event> {
    world.a.tell(|session| session.fetch(kind, Params::default())).unwrap();
    world.run(ms(100));
    world.a.take()
}

fn filter(filter: Filter) -> Params {
    Params { filter: Some(filter), ..Params::default() }
}

/// The payloads that came, in order.
fn payloads(events: &[Event]) -> Vec<String> {
    let mut out = Vec::new();
    for event in events {
        if let Event::Payload { data, .. } = event {
            out.push(String::from_utf8(data.to_vec()).unwrap());
        }
    }
    out
}

fn refusal(events: &[Event]) -> Option<RequestCode> {
    events.iter().find_map(|e| if let Event::Error { error, .. } = e { Some(error.code) } else { None })
}

#[test]
fn every_filter_starts_exactly_where_it_says() {
    let range = |start, end_group| Filter::AbsoluteRange { start, end_group };
    let cases: [(Filter, &[&str]); 5] = [
        (Filter::LargestObject, &["7/3", "8/0"]),
        (Filter::NextGroupStart, &["8/0"]),
        (Filter::AbsoluteStart { start: Location::new(6, 2) }, &["6/2", "7/0", "7/1", "7/2", "7/3", "8/0"]),
        (range(Location::new(7, 1), 7), &["7/1", "7/2", "7/3"]),
        (range(Location::new(8, 0), 9), &["8/0"]),
    ];
    for (asked, expected) in cases {
        let mut world = world();
        let (_, mut events) = subscribe(&mut world, "v", filter(asked));
        let ok = events.iter().find_map(|e| if let Event::SubscribeOk { ok, .. } = e { Some(ok) } else { None });
        assert_eq!(ok.unwrap().params.largest, Some(LARGEST), "{asked:?}");
        let now = world.now;
        world.b.publish(now, b"v", &object(7, 3)).unwrap();
        world.b.end_group(now, b"v", 7).unwrap();
        world.b.publish(now, b"v", &object(8, 0)).unwrap();
        world.run(ms(100));
        events.extend(world.a.take());
        let mut got = payloads(&events);
        got.sort();
        assert_eq!(got, expected, "{asked:?}");
    }
}

#[test]
fn requests_that_cannot_be_served_are_refused_with_the_drafts_codes() {
    let mut world = world();
    let past = Filter::AbsoluteRange { start: Location::new(5, 0), end_group: 6 };
    assert_eq!(refusal(&subscribe(&mut world, "v", filter(past)).1), Some(RequestCode::InvalidRange));
    assert_eq!(refusal(&subscribe(&mut world, "nothing", Params::default()).1), Some(RequestCode::DoesNotExist));
    let elsewhere = TrackName::new(Namespace::from_path("other").unwrap(), Bytes::from_static(b"v")).unwrap();
    world.a.tell(|session| session.track_status(elsewhere, Params::default())).unwrap();
    world.run(ms(100));
    assert_eq!(refusal(&world.a.take()), Some(RequestCode::DoesNotExist));
}

#[test]
fn track_status_tells_the_largest_location_and_sends_nothing() {
    let mut world = world();
    world.a.tell(|session| session.track_status(track("v"), Params::default())).unwrap();
    world.run(ms(100));
    let events = world.a.take();
    assert!(matches!(&events[..], [Event::Ok { ok, .. }] if ok.params.largest == Some(LARGEST)), "{events:?}");
}

#[test]
fn fetches_bring_their_range_and_no_more() {
    let mut world = world();
    let (joining, _) = subscribe(&mut world, "v", filter(Filter::LargestObject));
    let standalone = |start, end| FetchKind::Standalone { track: track("v"), start, end };
    let cases: [(FetchKind, &[&str]); 4] = [
        (standalone(Location::new(5, 1), Location::new(6, 2)), &["5/1", "5/2", "6/0", "6/1"]),
        (standalone(Location::new(7, 0), Location::new(9, 0)), &["7/0", "7/1", "7/2"]),
        (FetchKind::RelativeJoining { joining, start: 0 }, &["7/0", "7/1", "7/2"]),
        (FetchKind::AbsoluteJoining { joining, start: 6 }, &["6/0", "6/1", "6/2", "7/0", "7/1", "7/2"]),
    ];
    for (kind, expected) in cases {
        let events = fetch(&mut world, kind.clone());
        assert_eq!(payloads(&events), expected, "{kind:?}");
        assert!(events.iter().any(|e| matches!(e, Event::FetchOk { .. })), "{kind:?}");
        assert!(events.iter().any(|e| matches!(e, Event::StreamEnd { end: StreamEnd::Fin, .. })), "{kind:?}");
    }
}

#[test]
fn fetches_that_join_nothing_are_refused() {
    let mut world = world();
    let (silent, _) = subscribe(&mut world, "v", Params { forward: Some(false), ..Params::default() });
    let (empty, _) = subscribe(&mut world, "empty", Params::default());
    let future = FetchKind::Standalone { track: track("v"), start: Location::new(9, 0), end: Location::new(9, 0) };
    let cases = [
        (FetchKind::RelativeJoining { joining: silent, start: 0 }, RequestCode::InvalidRange),
        (FetchKind::RelativeJoining { joining: empty, start: 0 }, RequestCode::InvalidRange),
        (FetchKind::AbsoluteJoining { joining: silent, start: 9 }, RequestCode::InvalidRange),
        (future, RequestCode::InvalidRange),
    ];
    for (kind, code) in cases {
        assert_eq!(refusal(&fetch(&mut world, kind.clone())), Some(code), "{kind:?}");
    }
}

#[test]
fn forwarding_that_is_turned_on_moves_the_joining_location() {
    let mut world = world();
    let (request, _) = subscribe(&mut world, "v", Params { forward: Some(false), ..filter(Filter::LargestObject) });
    let now = world.now;
    world.b.publish(now, b"v", &object(7, 3)).unwrap();
    world.run(ms(100));
    assert_eq!(payloads(&world.a.take()), [""; 0]);
    let on = Params { forward: Some(true), ..Params::default() };
    world.a.tell(|session| session.update(request, on)).unwrap();
    world.run(ms(100));
    let events = world.a.take();
    let largest = events.iter().find_map(|e| if let Event::UpdateOk { ok, .. } = e { ok.params.largest } else { None });
    assert_eq!(largest, Some(Location::new(7, 3)));
    let joined = fetch(&mut world, FetchKind::RelativeJoining { joining: request, start: 0 });
    assert_eq!(payloads(&joined), ["7/0", "7/1", "7/2", "7/3"]);
}

#[test]
fn the_end_of_the_broadcast_is_a_publish_done_with_its_stream_count() {
    let mut world = world();
    subscribe(&mut world, "v", filter(Filter::AbsoluteStart { start: Location::new(6, 0) }));
    let now = world.now;
    world.b.end_broadcast(now);
    world.run(ms(200));
    let done = world
        .a
        .take()
        .into_iter()
        .find_map(|e| if let Event::PublishDone { done, .. } = e { Some(done) } else { None });
    let done = done.expect("the subscription ends");
    assert_eq!((done.code, done.streams), (DoneCode::TrackEnded, Some(2)));
    assert!(world.b.is_drained());
    assert_eq!(refusal(&subscribe(&mut world, "v", Params::default()).1), Some(RequestCode::DoesNotExist));
    let rest = FetchKind::Standalone { track: track("v"), start: Location::new(7, 0), end: Location::new(7, 0) };
    assert_eq!(payloads(&fetch(&mut world, rest)), ["7/0", "7/1", "7/2"], "what is there can still be fetched");
}

/// A publisher that dials a relay of the test's.
fn relay_world() -> Wire<Client, Scripted> {
    let mut client = publisher(super::wire::epoch());
    client.connect(super::wire::epoch(), super::station::target(), Role::Publisher);
    let mut world = Wire::new(client, Scripted::default());
    world.run(ms(100));
    world
}

fn offered(events: &[Event]) -> Option<RequestId> {
    events.iter().find_map(|e| match e {
        Event::PublishNamespace { request, namespace: offered, .. } if *offered == namespace() => Some(*request),
        _ => None,
    })
}

#[test]
fn a_publisher_offers_its_namespace_below_the_path_root() {
    let mut world = relay_world();
    let events = world.b.take();
    let Some(Event::Ready(setup)) = events.first() else { panic!("{events:?}") };
    assert_eq!((setup.path.as_deref(), setup.authority.as_deref()), (Some("/"), Some("relay.test:4443")));
    let request = offered(&events).expect("the namespace is offered");
    world.b.tell(|session| session.accept(request, RequestOk::default()));
    world.run(ms(100));
    let events: Vec<Out> = std::iter::from_fn(|| world.a.poll_event().map(|(_, event)| event)).collect();
    assert_eq!(events, [Out::Up, Out::Announced]);
}

#[test]
fn a_goaway_moves_the_publisher_before_it_leaves() {
    let mut world = relay_world();
    world.b.take();
    let goaway = Goaway { uri: "moqt://198.51.100.7:5555".to_owned(), timeout: ms(2000), request_id: None };
    let now = world.now;
    world.b.tell(|session| session.goaway(now, goaway));
    world.run(ms(200));
    assert_eq!(world.dials[1].1.remote.to_string(), "198.51.100.7:5555");
    assert!(offered(&world.b.take()).is_some(), "offered on the new session");
    assert_eq!(world.b.sessions.len(), 2, "the old one is served on");
    world.run(ms(3000));
    assert_eq!(world.b.sessions.len(), 1);
    let downs = std::iter::from_fn(|| world.a.poll_event())
        .filter(|(_, e)| matches!(e, Out::Down { why: Down::GoingAway, .. }));
    assert_eq!(downs.count(), 1);
}

#[test]
fn a_goaway_without_a_uri_redials_the_same_place_and_watchers_resubscribe() {
    let role = Role::Watcher { namespace: namespace(), keep: Keep::Payloads };
    let mut world = Wire::new(Recorder::with_role(role).host(), Scripted::default());
    world.run(ms(100));
    let now = world.now;
    let asked = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Subscribe { .. })).count();
    assert_eq!(asked(&world.b.take()), 2, "both catalogs");
    let goaway = Goaway { uri: String::new(), timeout: ms(0), request_id: None };
    world.b.tell(|session| session.goaway(now, goaway));
    world.run(ms(100));
    assert_eq!((world.dials.len(), world.dials[1].1.remote.port()), (2, 4443));
    assert_eq!(asked(&world.b.take()), 2);
}

#[test]
fn pings_are_answered_by_any_peer() {
    let role = Role::Pinger { namespace: namespace(), interval: ms(50) };
    let mut world = Wire::new(Recorder::with_role(role).host(), Client::new(Rng::from_seed(1), None));
    world.run(ms(1000));
    let trips: Vec<Duration> = world
        .a
        .driver()
        .events
        .iter()
        .filter_map(|(_, _, e)| match e {
            Out::Pong { round_trip, .. } => Some(*round_trip),
            _ => None,
        })
        .collect();
    assert!(trips.len() > 15 && trips.iter().all(|trip| *trip == ms(20)), "{trips:?}");
}
