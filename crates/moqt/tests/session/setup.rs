//! draft-18 3.3 and 9.3.

use crate::harness::{Lone, Pair, Sink, config, encode, goaway, subscribe};
use sluice_moqt::Message;
use sluice_moqt::error::{ResetCode, SessionCode};
use sluice_moqt::message::Setup;
use sluice_moqt::session::{Event, Limits};
use sluice_moqt::transport::{Dir, Side, StreamId};
use std::time::Duration;

fn closed_by(side: Side, setup: Setup) -> Option<SessionCode> {
    let mut lone = Lone::fresh(config(side));
    let control = lone.open(Dir::Uni);
    lone.send(control, &Message::Setup(setup));
    lone.closed()
}

fn path(path: &str) -> Setup {
    Setup { path: Some(path.to_owned()), ..Setup::default() }
}

#[test]
fn each_side_opens_one_control_stream_that_begins_with_setup() {
    let pair = Pair::ready();
    let first = |sink: &Sink| sink.streams.iter().map(|(id, s)| (*id, s.priority, s.bytes[0])).collect::<Vec<_>>();
    assert_eq!(first(&pair.client_sink), vec![(StreamId(2), i32::MAX, 0xAF)]);
    assert_eq!(first(&pair.server_sink), vec![(StreamId(3), i32::MAX, 0xAF)]);
}

#[test]
fn a_server_must_not_send_path_or_authority() {
    assert_eq!(closed_by(Side::Client, path("/")), Some(SessionCode::InvalidPath));
    let authority = Setup { authority: Some("example.com".to_owned()), ..Setup::default() };
    assert_eq!(closed_by(Side::Client, authority.clone()), Some(SessionCode::InvalidAuthority));
    assert_eq!(closed_by(Side::Server, authority), None);
}

#[test]
fn a_path_must_be_served_here() {
    for served in ["/", "/scope", "/scope?token=x"] {
        assert_eq!(closed_by(Side::Server, path(served)), None, "{served}");
    }
    assert_eq!(closed_by(Side::Server, Setup::default()), None);
    assert_eq!(closed_by(Side::Server, path("/elsewhere")), Some(SessionCode::InvalidPath));
}

#[test]
fn a_path_must_be_a_uri_path() {
    let mut bytes = encode(&Message::Setup(path("/x")));
    let slash = bytes.iter().position(|b| *b == b'/').expect("the path is in there");
    bytes[slash] = b' ';
    let mut lone = Lone::fresh(config(Side::Server));
    let control = lone.open(Dir::Uni);
    lone.bytes(control, &bytes);
    assert_eq!(lone.closed(), Some(SessionCode::MalformedPath));
}

#[test]
fn the_control_stream_must_not_be_closed() {
    let mut lone = Lone::ready(Side::Server);
    let control = lone.control();
    lone.fin(control);
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    let mut lone = Lone::ready(Side::Server);
    lone.reset(control, 0);
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    let mut lone = Lone::ready(Side::Server);
    lone.stop(StreamId(3), 0);
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn only_one_control_stream_and_one_setup() {
    let mut lone = Lone::ready(Side::Server);
    lone.uni(&encode(&Message::Setup(Setup::default())));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    let mut lone = Lone::ready(Side::Server);
    let control = lone.control();
    lone.send(control, &Message::Setup(Setup::default()));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn requests_must_not_stand_on_the_control_stream() {
    let mut lone = Lone::ready(Side::Server);
    let control = lone.control();
    lone.send(control, &subscribe(0, "x"));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn setup_may_come_in_pieces() {
    let mut lone = Lone::fresh(config(Side::Server));
    let control = lone.open(Dir::Uni);
    for byte in encode(&Message::Setup(path("/"))) {
        assert_eq!(lone.events(), vec![]);
        lone.bytes(control, &[byte]);
    }
    assert_eq!(lone.events(), vec![Event::Ready(path("/"))]);
    for byte in encode(&Message::Goaway(goaway(Some(1)))) {
        lone.bytes(control, &[byte]);
    }
    assert_eq!(lone.events(), vec![Event::Goaway(goaway(Some(1)))]);
}

#[test]
fn requests_before_setup_wait_for_it() {
    let mut lone = Lone::fresh(config(Side::Server));
    let control = lone.open(Dir::Uni);
    lone.request(&subscribe(0, "x"));
    let late = lone.request(&subscribe(2, "y"));
    lone.reset(late, 0);
    assert_eq!(lone.events(), vec![]);
    lone.send(control, &Message::Setup(Setup::default()));
    let events = lone.events();
    assert!(matches!(&events[..], [Event::Ready(_), Event::Subscribe { .. }]), "{events:?}");
}

#[test]
fn what_waits_for_setup_is_bounded() {
    let limits = Limits { held_streams: 2, held_bytes: 100, ..Limits::default() };
    let mut lone = Lone::fresh(sluice_moqt::session::Config { limits, ..config(Side::Server) });
    let streams: Vec<StreamId> = (0..3).map(|i| lone.request(&subscribe(2 * i, "x"))).collect();
    lone.bytes(streams[0], &[0; 200]);
    assert_eq!(lone.events(), vec![]);
    for refused in [streams[0], streams[2]] {
        assert_eq!(lone.sink.streams[&refused].stopped, Some(ResetCode::ExcessiveLoad.code()));
        assert_eq!(lone.sink.streams[&refused].reset, Some(ResetCode::ExcessiveLoad.code()));
    }
    let control = lone.open(Dir::Uni);
    lone.send(control, &Message::Setup(Setup::default()));
    assert_eq!(lone.events().len(), 2, "Ready and the request that was kept");
}

#[test]
fn a_missing_setup_times_out() {
    let mut lone = Lone::fresh(config(Side::Server));
    assert_eq!(lone.session.poll_timeout(), Some(lone.now + Duration::from_secs(5)));
    lone.pass(Duration::from_millis(4_999));
    assert_eq!(lone.closed(), None);
    lone.pass(Duration::from_millis(1));
    assert_eq!(lone.closed(), Some(SessionCode::ControlMessageTimeout));
    assert_eq!(lone.session.poll_timeout(), None);
}

#[test]
fn an_unknown_stream_type_closes_the_session() {
    let mut lone = Lone::ready(Side::Server);
    lone.uni(&[0x01]);
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn a_closed_session_says_nothing_more() {
    let mut lone = Lone::ready(Side::Server);
    lone.session.close(SessionCode::NoError, "bye");
    lone.session.close(SessionCode::InternalError, "again");
    lone.request(&subscribe(0, "x"));
    let closed = Event::Closed { code: SessionCode::NoError, reason: "bye".to_owned() };
    assert_eq!(lone.events(), vec![closed]);
    assert!(!lone.session.wants_transmit());
}
