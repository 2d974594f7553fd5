//! Requests: draft-18 3.3, 5, 6, 9.1, 9.7 to 9.19.

use crate::harness::{
    Lone, Pair, config, done, encode, error, fetch, fetch_ok, joining, namespace, namespace_request, ok, publish,
    publish_body, standalone, subscribe, subscribe_ok, track, update,
};
use bytes::Bytes;
use sluice_moqt::error::{RequestCode, ResetCode, SessionCode};
use sluice_moqt::message::{Message, Params, Subscribe, TrackProperties};
use sluice_moqt::session::{Config, Event, Limits, RequestRefused};
use sluice_moqt::transport::{Dir, Side, StreamId};
use sluice_moqt::{Namespace, RequestId, TrackName};
use std::time::Duration;

#[test]
fn a_subscription_lives_from_subscribe_to_publish_done() {
    let mut pair = Pair::ready();
    let request = pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    assert!(
        matches!(pair.server_hears(), Event::Subscribe { request: r, track: t, .. } if r == request && t == track("x"))
    );
    pair.server.accept_subscribe(request, subscribe_ok(7));
    assert_eq!(pair.client_hears(), Event::SubscribeOk { request, ok: subscribe_ok(7) });

    let change = pair.client.update(request, Params::default()).expect("allowed");
    assert!(
        matches!(pair.server_hears(), Event::Update { request: r, update, .. } if (r, update) == (request, change))
    );
    pair.server.accept_update(request, change, ok());
    assert_eq!(pair.client_hears(), Event::UpdateOk { request, update: change, ok: ok() });

    pair.server.publish_done(request, done(Some(0)));
    assert_eq!(pair.client_hears(), Event::PublishDone { request, done: done(Some(0)) });
    assert!(pair.client_sink.streams[&StreamId(0)].finished && pair.server_sink.streams[&StreamId(0)].finished);
    assert_eq!(pair.client_sink.streams[&StreamId(0)].priority, i32::MAX - 1);
}

#[test]
fn every_other_request_is_answered_on_its_own_stream() {
    let mut pair = Pair::ready();
    let publish = pair.client.allocate_alias();
    let none = Params::default;
    let requests = [
        pair.client.track_status(track("s"), none()),
        pair.client.publish(track("p"), publish, none(), TrackProperties::default()),
        pair.client.publish_namespace(namespace("n"), none()),
        pair.client.subscribe_namespace(namespace("w"), none()),
        pair.client.subscribe_tracks(namespace("w"), none()),
    ]
    .map(|request| request.expect("allowed"));
    let (_, server) = pair.run();
    assert!(matches!(
        &server[..],
        [
            Event::TrackStatus { .. },
            Event::Publish { .. },
            Event::PublishNamespace { .. },
            Event::SubscribeNamespace { .. },
            Event::SubscribeTracks { .. }
        ]
    ));
    for request in requests {
        pair.server.accept(request, ok());
        assert_eq!(pair.client_hears(), Event::Ok { request, ok: ok() });
    }
    assert_eq!(requests.map(|request| request.0), [0, 2, 4, 6, 8]);

    let fetch = pair.client.fetch(standalone("x"), none()).expect("allowed");
    assert!(matches!(pair.server_hears(), Event::Fetch { request, .. } if request == fetch));
    pair.server.accept_fetch(fetch, fetch_ok(2));
    assert_eq!(pair.client_hears(), Event::FetchOk { request: fetch, ok: fetch_ok(2) });
    pair.server.fetch_done(fetch);
    assert_eq!(pair.run(), (vec![], vec![]));
}

#[test]
fn a_rejected_request_is_over_on_both_sides() {
    let mut pair = Pair::ready();
    for _ in 0..2 {
        let request = pair.client.subscribe(track("x"), Params::default()).expect("the first is over");
        pair.server_hears();
        pair.server.reject(request, error(RequestCode::DoesNotExist));
        assert_eq!(pair.client_hears(), Event::Error { request, error: error(RequestCode::DoesNotExist) });
        pair.server.accept_subscribe(request, subscribe_ok(1));
        assert_eq!(pair.run(), (vec![], vec![]), "a late verdict is ignored");
    }
}

#[test]
fn request_streams_must_begin_with_a_request() {
    let answers = [
        Message::SubscribeOk(subscribe_ok(0)),
        Message::RequestOk(ok()),
        Message::RequestError(error(RequestCode::Timeout)),
        Message::PublishDone(done(None)),
        Message::Namespace(namespace("x")),
        update(0),
        Message::Setup(sluice_moqt::message::Setup::default()),
    ];
    for message in answers {
        let mut lone = Lone::ready(Side::Server);
        lone.request(&message);
        assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation), "{}", message.name());
    }
}

#[test]
fn a_request_id_must_have_the_parity_of_its_sender() {
    for (side, wrong) in [(Side::Server, 1), (Side::Client, 0)] {
        let mut lone = Lone::ready(side);
        lone.request(&subscribe(wrong, "x"));
        assert_eq!(lone.closed(), Some(SessionCode::InvalidRequestId));
    }
}

#[test]
fn a_request_id_must_not_be_used_twice() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&subscribe(4, "x"));
    lone.request(&subscribe(0, "y"));
    assert_eq!(lone.events().len(), 2, "streams may overtake each other");
    lone.request(&subscribe(4, "z"));
    assert_eq!(lone.closed(), Some(SessionCode::InvalidRequestId));

    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&subscribe(0, "x"));
    lone.send(stream, &update(0));
    assert_eq!(lone.closed(), Some(SessionCode::InvalidRequestId), "updates take ids too");
}

#[test]
fn a_track_has_at_most_one_subscription_per_role() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&subscribe(0, "x"));
    lone.events();
    let second = lone.request(&subscribe(2, "x"));
    assert_eq!(refused(&mut lone, second), Some(RequestCode::DuplicateSubscription));
    assert!(lone.sink.streams[&second].finished);

    lone.request(&publish(4, "x", 1));
    assert_eq!(lone.events().len(), 1, "the other role");
    let second = lone.request(&publish(6, "x", 2));
    assert_eq!(refused(&mut lone, second), Some(RequestCode::DuplicateSubscription));
    let refused = lone.session.subscribe(track("x"), Params::default());
    assert_eq!(refused, Err(RequestRefused::Duplicate));
}

/// The code of the one answer on `stream`, which must be REQUEST_ERROR.
fn refused(lone: &mut Lone, stream: StreamId) -> Option<RequestCode> {
    let replies = lone.replies(stream);
    if let [Message::RequestError(error)] = &replies[..] { Some(error.code) } else { None }
}

#[test]
fn a_publish_that_crosses_our_pending_subscribe_ends_it_before_publish_ok() {
    let mut lone = Lone::ready(Side::Server);
    let ours = lone.session.subscribe(track("x"), Params::default()).expect("allowed");
    let own = lone.own_request(0);
    let theirs = lone.request(&publish(0, "x", 1));
    assert!(matches!(lone.events()[..], [Event::Publish { .. }]));
    lone.session.accept(RequestId(0), ok());
    assert_eq!(lone.events(), vec![Event::Cancelled { request: ours, code: ResetCode::Cancelled }]);
    assert_eq!(lone.sink.streams[&own].stopped, Some(ResetCode::Cancelled.code()));
    assert_eq!(lone.replies(theirs), vec![Message::RequestOk(ok())]);
}

#[test]
fn prefixes_must_not_overlap_within_one_type() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&Message::SubscribeNamespace(namespace_request(0, "a/b")));
    lone.request(&Message::SubscribeTracks(namespace_request(2, "a/b")));
    lone.request(&Message::SubscribeNamespace(namespace_request(4, "a/bc")));
    assert_eq!(lone.events().len(), 3);
    for (id, overlapping) in [(6, "a"), (8, "a/b"), (10, "a/b/c"), (12, "")] {
        let stream = lone.request(&Message::SubscribeNamespace(namespace_request(id, overlapping)));
        assert_eq!(refused(&mut lone, stream), Some(RequestCode::PrefixOverlap), "{overlapping}");
    }
    lone.session.subscribe_tracks(namespace("a"), Params::default()).expect("ours and theirs are apart");
    let ours = lone.session.subscribe_tracks(namespace("a/b"), Params::default());
    assert_eq!(ours, Err(RequestRefused::PrefixOverlap));
}

#[test]
fn a_joining_fetch_must_name_a_subscription() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&subscribe(0, "x"));
    lone.request(&fetch(2, joining(0)));
    assert!(matches!(lone.events()[..], [Event::Subscribe { .. }, Event::Fetch { .. }]), "pending is enough");
    lone.session.reject(RequestId(0), error(RequestCode::DoesNotExist));
    for (id, target) in [(4, 0), (6, 2), (8, 1)] {
        let stream = lone.request(&fetch(id, joining(target)));
        assert_eq!(refused(&mut lone, stream), Some(RequestCode::InvalidJoiningRequestId), "{target}");
    }
    let ours = lone.session.fetch(joining(99), Params::default());
    assert_eq!(ours, Err(RequestRefused::NoSuchRequest(99)));
}

#[test]
fn a_joining_fetch_that_overtakes_its_subscribe_waits_for_it() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&fetch(2, joining(0)));
    let never = lone.request(&fetch(6, joining(4)));
    let gone = lone.request(&fetch(8, joining(4)));
    lone.reset(gone, 0);
    assert_eq!(lone.events(), vec![]);
    lone.request(&subscribe(0, "x"));
    assert!(matches!(lone.events()[..], [Event::Subscribe { .. }, Event::Fetch { .. }]));
    lone.pass(Duration::from_secs(2));
    assert_eq!(refused(&mut lone, never), Some(RequestCode::InvalidJoiningRequestId));
}

#[test]
fn open_requests_of_the_peer_are_bounded() {
    let limits = Limits { open_requests: 2, ..Limits::default() };
    let mut lone = Lone::with(Config { limits, ..config(Side::Server) });
    let first = lone.request(&subscribe(0, "a"));
    lone.request(&subscribe(2, "b"));
    assert_eq!(lone.events().len(), 2);
    let third = lone.request(&subscribe(4, "c"));
    let [Message::RequestError(error)] = &lone.replies(third)[..] else { panic!("no answer") };
    assert_eq!((error.code, error.retry), (RequestCode::ExcessiveLoad, Some(Duration::from_secs(1))));
    lone.reset(first, 0);
    lone.request(&subscribe(6, "c"));
    assert_eq!(lone.events().len(), 2, "Cancelled and Subscribe");
}

#[test]
fn reserved_namespaces_do_not_exist() {
    let mut lone = Lone::ready(Side::Server);
    for (id, first) in [(0, "."), (2, ".session")] {
        let namespace = Namespace::new(vec![Bytes::from_static(first.as_bytes())]).expect("short");
        let track = TrackName::new(namespace, Bytes::new()).expect("short");
        let request = Subscribe { request_id: RequestId(id), track, params: Params::default() };
        let stream = lone.request(&Message::Subscribe(request));
        assert_eq!(refused(&mut lone, stream), Some(RequestCode::DoesNotExist));
    }
}

#[test]
fn a_track_with_an_unknown_mandatory_property_is_refused() {
    // A mandatory type (0x4000) with the value 1.
    let properties = TrackProperties(Bytes::from_static(&[0x80 | 0x40, 0x40, 0x00, 0x01]));
    let mut lone = Lone::ready(Side::Server);
    let mut offer = publish_body(0, "x", 1);
    offer.properties = properties.clone();
    let stream = lone.request(&Message::Publish(offer));
    assert_eq!(refused(&mut lone, stream), Some(RequestCode::UnsupportedExtension));

    lone.session.subscribe(track("y"), Params::default()).expect("allowed");
    let own = lone.own_request(0);
    let mut ok = subscribe_ok(3);
    ok.properties = properties;
    lone.send(own, &Message::SubscribeOk(ok));
    let events = lone.events();
    assert!(
        matches!(&events[..], [Event::Error { error, .. }] if error.code == RequestCode::UnsupportedExtension),
        "{events:?}"
    );
    assert_eq!(lone.sink.streams[&own].stopped, Some(ResetCode::Cancelled.code()));
}

#[test]
fn either_side_cancels_by_reset_and_stop_sending() {
    let mut pair = Pair::ready();
    let request = pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    pair.server_hears();
    pair.client.cancel(request, ResetCode::Cancelled);
    assert_eq!(pair.server_hears(), Event::Cancelled { request, code: ResetCode::Cancelled });

    let request = pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    pair.server_hears();
    pair.server.cancel(request, ResetCode::TooFarBehind);
    assert_eq!(pair.client_hears(), Event::Cancelled { request, code: ResetCode::TooFarBehind });
    pair.client.subscribe(track("x"), Params::default()).expect("the track is free again");
}

#[test]
fn a_request_that_was_never_sent_is_cancelled_without_a_trace() {
    let mut pair = Pair::ready();
    let request = pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    pair.client.cancel(request, ResetCode::Cancelled);
    assert_eq!(pair.run(), (vec![], vec![]));
    assert_eq!(pair.client_sink.streams.len(), 1, "only the control stream");
}

#[test]
fn a_fin_withdraws_namespaces_but_not_subscriptions() {
    let mut lone = Lone::ready(Side::Server);
    let requests = [
        Message::PublishNamespace(namespace_request(0, "a")),
        Message::SubscribeNamespace(namespace_request(2, "a")),
        Message::SubscribeTracks(namespace_request(4, "a")),
        publish(6, "x", 1),
    ];
    for (id, request) in requests.iter().enumerate() {
        let stream = lone.request(request);
        lone.events();
        lone.fin(stream);
        let request = RequestId(2 * id as u64);
        assert_eq!(lone.events(), vec![Event::Cancelled { request, code: ResetCode::Cancelled }]);
        assert!(lone.sink.streams[&stream].finished);
    }
    let stream = lone.request(&subscribe(8, "y"));
    lone.fin(stream);
    assert_eq!(lone.events().len(), 1);
    lone.session.accept_subscribe(RequestId(8), subscribe_ok(1));
    assert_eq!(lone.replies(stream), vec![Message::SubscribeOk(subscribe_ok(1))]);
}

#[test]
fn requests_wait_for_stream_credit() {
    let mut pair = Pair::ready();
    pair.client_sink.credit = [0, 0];
    let request = pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    assert_eq!(pair.run(), (vec![], vec![]));
    assert!(!pair.client.wants_transmit());
    pair.client_sink.credit = [0, 1];
    pair.client.handle_streams_available();
    assert!(matches!(pair.server_hears(), Event::Subscribe { request: r, .. } if r == request));
}

#[test]
fn a_blocked_stream_goes_on_when_it_is_writable() {
    let mut pair = Pair::ready();
    pair.client_sink.room = 3;
    pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    assert_eq!(pair.run(), (vec![], vec![]));
    assert!(!pair.client.wants_transmit());
    pair.client_sink.room = usize::MAX;
    pair.client.handle_stream(pair.now, StreamId(0), sluice_moqt::transport::StreamEvent::Writable);
    assert!(matches!(pair.server_hears(), Event::Subscribe { .. }));
}

#[test]
fn control_bytes_that_the_peer_does_not_read_are_bounded() {
    let limits = Limits { queued_control_bytes: 1_000, ..Limits::default() };
    let mut lone = Lone::with(Config { limits, ..config(Side::Server) });
    lone.sink.room = 0;
    for at in 0..200 {
        let path = format!("ns/{at}");
        let _ = lone.session.publish_namespace(namespace(&path), Params::default());
    }
    assert_eq!(lone.closed(), Some(SessionCode::InternalError));
}

#[test]
fn an_incomplete_request_times_out_and_its_bytes_are_bounded() {
    let bytes = encode(&subscribe(0, "x"));
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.open(Dir::Bi);
    lone.bytes(stream, &bytes[..5]);
    lone.pass(Duration::from_secs(10));
    assert_eq!(lone.closed(), Some(SessionCode::ControlMessageTimeout));

    let limits = Limits { held_bytes: 100, ..Limits::default() };
    let mut lone = Lone::with(Config { limits, ..config(Side::Server) });
    let stream = lone.request(&subscribe(0, "x"));
    // The header of a PUBLISH_DONE of 60,000 bytes, and some of them.
    lone.bytes(stream, &[0x0B, 0xEA, 0x60]);
    for _ in 0..20 {
        lone.bytes(stream, &[0; 10]);
    }
    assert_eq!(lone.closed(), Some(SessionCode::InternalError));
}
