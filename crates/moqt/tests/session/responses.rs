//! What may follow on the stream of a request: draft-18 5.1, 9.5, 9.6, 9.9, 9.11, 9.18.

use crate::harness::{
    Lone, Pair, done, error, fetch_ok, namespace, namespace_request, ok, publish, standalone, subscribe,
    subscribe_body, subscribe_ok, track, update,
};
use bytes::Bytes;
use sluice_moqt::error::{RequestCode, ResetCode, SessionCode};
use sluice_moqt::message::{
    ExtraParams, Message, Params, Redirect, RequestError, RequestOk, RequestUpdate, TrackProperties,
};
use sluice_moqt::session::Event;
use sluice_moqt::transport::{Side, StreamId};
use sluice_moqt::{Location, Namespace, RequestId};

/// A client session with one SUBSCRIBE sent.
fn subscribed() -> (Lone, RequestId, StreamId) {
    let mut lone = Lone::ready(Side::Client);
    let request = lone.session.subscribe(track("x"), Params::default()).expect("allowed");
    let stream = lone.own_request(0);
    (lone, request, stream)
}

fn watching() -> (Lone, RequestId, StreamId) {
    let mut lone = Lone::ready(Side::Client);
    let request = lone.session.subscribe_namespace(namespace("a"), Params::default()).expect("allowed");
    let stream = lone.own_request(0);
    (lone, request, stream)
}

#[test]
fn a_request_has_exactly_one_response() {
    for second in [
        Message::SubscribeOk(subscribe_ok(2)),
        Message::RequestError(error(RequestCode::Timeout)),
        Message::RequestOk(ok()),
        Message::FetchOk(fetch_ok(1)),
    ] {
        let (mut lone, _, stream) = subscribed();
        lone.send(stream, &Message::SubscribeOk(subscribe_ok(1)));
        assert_eq!(lone.events().len(), 1);
        lone.send(stream, &second);
        assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation), "{}", second.name());
    }
}

#[test]
fn a_response_must_fit_its_request() {
    for wrong in [Message::RequestOk(ok()), Message::FetchOk(fetch_ok(1)), Message::PublishDone(done(None)), update(1)]
    {
        let (mut lone, _, stream) = subscribed();
        lone.send(stream, &wrong);
        assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation), "{}", wrong.name());
    }
}

#[test]
fn the_first_answer_to_subscribe_namespace_must_be_ok_or_error() {
    for early in [Message::Namespace(namespace("b")), Message::NamespaceDone(namespace("b"))] {
        let (mut lone, _, stream) = watching();
        lone.send(stream, &early);
        assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
    }
}

#[test]
fn namespace_done_must_not_come_before_namespace() {
    let (mut lone, request, stream) = watching();
    lone.send(stream, &Message::RequestOk(ok()));
    lone.send(stream, &Message::Namespace(namespace("b")));
    lone.send(stream, &Message::NamespaceDone(namespace("b")));
    let (suffix, again) = (namespace("b"), namespace("b"));
    let expected = [
        Event::Ok { request, ok: ok() },
        Event::Namespace { request, suffix },
        Event::NamespaceDone { request, suffix: again },
    ];
    assert_eq!(lone.events(), expected);
    lone.send(stream, &Message::NamespaceDone(namespace("b")));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn we_send_namespace_done_only_after_namespace() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&Message::SubscribeNamespace(namespace_request(0, "a")));
    lone.events();
    let request = RequestId(0);
    lone.session.namespace(request, namespace("early"));
    lone.session.accept(request, ok());
    lone.session.namespace_done(request, namespace("b"));
    lone.session.namespace(request, namespace("b"));
    lone.session.namespace(request, namespace("b"));
    lone.session.namespace_done(request, namespace("b"));
    let expected =
        [Message::RequestOk(ok()), Message::Namespace(namespace("b")), Message::NamespaceDone(namespace("b"))];
    assert_eq!(lone.replies(stream), expected);
}

#[test]
fn publish_blocked_answers_subscribe_tracks() {
    let mut pair = Pair::ready();
    let request = pair.client.subscribe_tracks(namespace("live"), Params::default()).expect("allowed");
    pair.server_hears();
    pair.server.accept(request, ok());
    pair.server.publish_blocked(request, track("x"));
    let (client, _) = pair.run();
    assert_eq!(client, [Event::Ok { request, ok: ok() }, Event::PublishBlocked { request, track: track("x") }]);
}

#[test]
fn only_track_status_ok_has_track_properties() {
    let properties = TrackProperties(Bytes::from_static(&[0x30, 0x01]));
    let with = RequestOk { params: Params::default(), properties };
    let (mut lone, _, stream) = watching();
    lone.send(stream, &Message::RequestOk(with.clone()));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    let mut lone = Lone::ready(Side::Client);
    let request = lone.session.track_status(track("x"), Params::default()).expect("allowed");
    let stream = lone.own_request(0);
    lone.send(stream, &Message::RequestOk(with.clone()));
    assert_eq!(lone.events(), vec![Event::Ok { request, ok: with }]);
}

#[test]
fn parameters_must_belong_to_the_request_that_is_answered() {
    let params = Params { largest: Some(Location::new(1, 1)), ..Params::default() };
    let (mut lone, _, stream) = watching();
    lone.send(stream, &Message::RequestOk(RequestOk { params, ..ok() }));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn fetch_ok_must_not_end_before_its_start() {
    let mut lone = Lone::ready(Side::Client);
    lone.session.fetch(standalone("x"), Params::default()).expect("allowed");
    let stream = lone.own_request(0);
    lone.send(stream, &Message::FetchOk(fetch_ok(1)));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn a_redirect_must_fit_its_receiver_and_request() {
    let redirect = |uri: &str, name: &'static [u8]| {
        Message::RequestError(RequestError {
            redirect: Some(Redirect { uri: uri.to_owned(), namespace: namespace("b"), name: Bytes::from_static(name) }),
            ..error(RequestCode::Redirect)
        })
    };
    let mut lone = Lone::ready(Side::Server);
    lone.session.subscribe(track("x"), Params::default()).expect("allowed");
    let stream = lone.own_request(0);
    lone.send(stream, &redirect("moqt://elsewhere", b"x"));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation), "a server is not sent elsewhere");

    let (mut lone, _, stream) = watching();
    lone.send(stream, &redirect("moqt://elsewhere", b"x"));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation), "a namespace has no track name");

    let (mut lone, _, stream) = watching();
    lone.send(stream, &redirect("moqt://elsewhere", b""));
    assert!(matches!(lone.events()[..], [Event::Error { .. }]));
}

#[test]
fn updates_wait_for_the_answer_to_their_request() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&subscribe(0, "x"));
    lone.send(stream, &update(2));
    assert!(matches!(lone.events()[..], [Event::Subscribe { .. }]));
    lone.session.accept_subscribe(RequestId(0), subscribe_ok(1));
    assert!(matches!(lone.events()[..], [Event::Update { update: RequestId(2), .. }]));
}

#[test]
fn updates_are_answered_in_their_order() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&subscribe(0, "x"));
    lone.session.accept_subscribe(RequestId(0), subscribe_ok(1));
    lone.send(stream, &update(2));
    lone.send(stream, &update(4));
    lone.events();
    lone.session.reject_update(RequestId(0), RequestId(4), error(RequestCode::InvalidRange));
    assert_eq!(lone.replies(stream), vec![Message::SubscribeOk(subscribe_ok(1))]);
    lone.session.accept_update(RequestId(0), RequestId(2), ok());
    lone.session.accept_update(RequestId(0), RequestId(2), ok());
    let expected = [
        Message::SubscribeOk(subscribe_ok(1)),
        Message::RequestOk(ok()),
        Message::RequestError(error(RequestCode::InvalidRange)),
    ];
    assert_eq!(lone.replies(stream), expected, "one answer each");
}

#[test]
fn a_failed_namespace_update_closes_the_request_stream() {
    let mut pair = Pair::ready();
    let request = pair.client.subscribe_namespace(namespace("a"), Params::default()).expect("allowed");
    pair.server_hears();
    pair.server.accept(request, ok());
    pair.client_hears();
    let update = pair.client.update(request, Params::default()).expect("allowed");
    pair.server_hears();
    pair.server.reject_update(request, update, error(RequestCode::Unauthorized));
    let (client, server) = pair.run();
    let cancelled = Event::Cancelled { request, code: ResetCode::Cancelled };
    assert_eq!(server, vec![cancelled.clone()]);
    let failed = Event::UpdateError { request, update, error: error(RequestCode::Unauthorized) };
    assert_eq!(client, vec![failed, cancelled]);
}

fn prefix_update(id: u64, prefix: Namespace) -> Message {
    let extra = ExtraParams { namespace_prefix: Some(prefix), ..ExtraParams::default() };
    let params = Params { extra: Some(Box::new(extra)), ..Params::default() };
    Message::RequestUpdate(RequestUpdate { request_id: RequestId(id), params })
}

#[test]
fn an_updated_prefix_must_not_overlap_either() {
    let mut lone = Lone::ready(Side::Server);
    let first = lone.request(&Message::SubscribeNamespace(namespace_request(0, "a")));
    let second = lone.request(&Message::SubscribeNamespace(namespace_request(2, "b")));
    lone.session.accept(RequestId(0), ok());
    lone.session.accept(RequestId(2), ok());
    lone.events();
    lone.send(second, &prefix_update(4, namespace("b/c")));
    assert!(matches!(lone.events()[..], [Event::Update { .. }]), "its own old prefix does not count");
    lone.session.accept_update(RequestId(2), RequestId(4), ok());
    lone.send(first, &prefix_update(6, namespace("b/c/d")));
    assert!(matches!(lone.events()[..], [Event::Cancelled { request: RequestId(0), .. }]));
    let replies = lone.written(first);
    assert!(
        matches!(&replies[..], [_, Message::RequestError(error)] if error.code == RequestCode::PrefixOverlap),
        "{replies:?}"
    );
    let third = lone.request(&Message::SubscribeNamespace(namespace_request(8, "b")));
    let replies = lone.replies(third);
    assert!(matches!(&replies[..], [Message::RequestError(_)]), "the new prefix counts: {replies:?}");
}

#[test]
fn the_subscriber_updates_a_subscription_made_by_publish() {
    let mut pair = Pair::ready();
    let alias = pair.client.allocate_alias();
    let request =
        pair.client.publish(track("x"), alias, Params::default(), TrackProperties::default()).expect("allowed");
    pair.server_hears();
    assert!(pair.server.update(request, Params::default()).is_err(), "not before it is accepted");
    pair.server.accept(request, ok());
    let update = pair.server.update(request, Params { forward: Some(false), ..Params::default() }).expect("allowed");
    let (client, _) = pair.run();
    assert!(
        matches!(&client[..], [Event::Ok { .. }, Event::Update { update: u, params, .. }]
            if *u == update && params.forward == Some(false)),
        "{client:?}"
    );
    pair.client.accept_update(request, update, ok());
    assert_eq!(pair.server_hears(), Event::UpdateOk { request, update, ok: ok() });
}

#[test]
fn track_status_cannot_be_updated() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&Message::TrackStatus(subscribe_body(0, "x")));
    lone.send(stream, &update(2));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn a_publisher_may_be_done_before_its_publish_is_answered() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&publish(0, "x", 1));
    lone.send(stream, &Message::PublishDone(done(Some(0))));
    let events = lone.events();
    assert!(matches!(events[..], [Event::Publish { .. }, Event::PublishDone { .. }]), "{events:?}");
    assert!(lone.sink.streams[&stream].finished);
}

#[test]
fn a_source_that_finishes_without_an_answer_is_reported() {
    let (mut lone, request, stream) = subscribed();
    lone.fin(stream);
    assert_eq!(lone.events(), vec![Event::Cancelled { request, code: ResetCode::Cancelled }]);
}

#[test]
fn a_publisher_that_reads_no_updates_does_not_end_the_subscription() {
    let (mut lone, request, stream) = subscribed();
    lone.send(stream, &Message::SubscribeOk(subscribe_ok(1)));
    lone.events();
    lone.stop(stream, 0);
    assert_eq!(lone.events(), vec![]);
    lone.send(stream, &Message::PublishDone(done(Some(0))));
    assert_eq!(lone.events(), vec![Event::PublishDone { request, done: done(Some(0)) }]);

    let (mut lone, request, stream) = subscribed();
    lone.send(stream, &Message::SubscribeOk(subscribe_ok(1)));
    lone.stop(stream, 0);
    lone.session.cancel(request, ResetCode::Cancelled);
    lone.events();
    assert_eq!(lone.sink.streams[&stream].stopped, Some(ResetCode::Cancelled.code()), "we can still cancel");
}
