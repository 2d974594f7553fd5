//! draft-18 3.5 and 9.4.

use crate::harness::{Lone, Pair, goaway, ok, subscribe, subscribe_ok, track};
use sluice_moqt::error::{RequestCode, ResetCode, SessionCode};
use sluice_moqt::message::{Goaway, Message, Params};
use sluice_moqt::session::{Event, RequestRefused};
use sluice_moqt::transport::{Side, StreamId};
use sluice_moqt::{RequestId, TrackAlias};
use std::time::Duration;

fn with_uri() -> Goaway {
    Goaway { uri: "moqt://elsewhere".to_owned(), timeout: Duration::from_secs(3), request_id: None }
}

#[test]
fn goaway_names_the_first_request_that_was_not_processed() {
    let mut pair = Pair::ready();
    pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    pair.run();
    pair.server.goaway(pair.now, with_uri());
    pair.server.goaway(pair.now, with_uri());
    let expected = Goaway { request_id: Some(RequestId(2)), ..with_uri() };
    assert_eq!(pair.client_hears(), Event::Goaway(expected));
    assert_eq!(pair.client.subscribe(track("y"), Params::default()), Err(RequestRefused::GoingAway));
}

#[test]
fn requests_after_our_goaway_are_rejected() {
    let mut lone = Lone::ready(Side::Server);
    let now = lone.now;
    lone.session.goaway(now, goaway(None));
    let stream = lone.request(&subscribe(0, "x"));
    let replies = lone.replies(stream);
    assert!(matches!(&replies[..], [Message::RequestError(error)] if error.code == RequestCode::GoingAway));
    lone.session.subscribe(track("x"), Params::default()).expect("the sender of GOAWAY may still ask");
}

#[test]
fn goaway_comes_at_most_once_per_stream() {
    let mut lone = Lone::ready(Side::Server);
    let control = lone.control();
    lone.send(control, &Message::Goaway(goaway(Some(1))));
    assert_eq!(lone.events(), vec![Event::Goaway(goaway(Some(1)))]);
    lone.send(control, &Message::Goaway(goaway(Some(1))));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&subscribe(0, "x"));
    lone.send(stream, &Message::Goaway(goaway(None)));
    assert!(matches!(lone.events()[..], [Event::Subscribe { .. }, Event::RequestGoaway { .. }]));
    lone.send(stream, &Message::Goaway(goaway(None)));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn a_client_must_not_send_a_uri() {
    let mut lone = Lone::ready(Side::Server);
    let control = lone.control();
    lone.send(control, &Message::Goaway(Goaway { request_id: Some(RequestId(1)), ..with_uri() }));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    let mut pair = Pair::ready();
    pair.client.goaway(pair.now, with_uri());
    assert!(matches!(pair.server_hears(), Event::Goaway(goaway) if goaway.uri.is_empty()));
}

#[test]
fn the_request_id_has_our_parity_and_stands_on_the_control_stream_only() {
    for (request_id, code) in [(Some(0), SessionCode::InvalidRequestId), (None, SessionCode::ProtocolViolation)] {
        let mut lone = Lone::ready(Side::Server);
        let control = lone.control();
        lone.send(control, &Message::Goaway(goaway(request_id)));
        assert_eq!(lone.closed(), Some(code));
    }
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&subscribe(0, "x"));
    lone.send(stream, &Message::Goaway(goaway(Some(1))));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn the_session_is_closed_after_the_timeout() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&subscribe(0, "x"));
    let now = lone.now;
    lone.session.goaway(now, with_uri());
    lone.pass(Duration::from_secs(3));
    assert_eq!(lone.closed(), Some(SessionCode::GoawayTimeout));

    let mut lone = Lone::ready(Side::Server);
    lone.session.goaway(now, with_uri());
    lone.pass(Duration::from_secs(3));
    assert_eq!(lone.closed(), Some(SessionCode::NoError), "nothing was open");
}

#[test]
fn a_request_that_does_not_move_is_reset() {
    let mut pair = Pair::ready();
    let request = pair.client.subscribe(track("x"), Params::default()).expect("allowed");
    pair.server_hears();
    pair.server.accept_subscribe(request, subscribe_ok(1));
    pair.server.goaway_request(pair.now, request, with_uri());
    let (client, _) = pair.run();
    assert_eq!(client[1..], [Event::RequestGoaway { request, goaway: with_uri() }]);
    pair.client.subscribe(track("y"), Params::default()).expect("the session goes on");
    pair.run();
    pair.pass(Duration::from_secs(3));
    let (client, server) = pair.run();
    let gone = [Event::Cancelled { request, code: ResetCode::GoingAway }];
    assert_eq!((&client[..], &server[..]), (&gone[..], &gone[..]));
    assert_eq!(pair.server_sink.streams[&StreamId(0)].reset, Some(ResetCode::GoingAway.code()));
}

#[test]
fn a_request_that_moved_in_time_is_left_alone() {
    let mut pair = Pair::ready();
    let request = pair.client.publish_namespace(crate::harness::namespace("n"), Params::default()).expect("allowed");
    pair.server_hears();
    pair.server.accept(request, ok());
    pair.server.goaway_request(pair.now, request, with_uri());
    pair.run();
    pair.client.cancel(request, ResetCode::GoingAway);
    assert!(matches!(pair.server_hears(), Event::Cancelled { .. }));
    pair.pass(Duration::from_secs(3));
    assert_eq!(pair.run(), (vec![], vec![]));
    assert_eq!(pair.server.poll_timeout(), None);
    assert_eq!(pair.server.allocate_alias(), TrackAlias(0));
}
