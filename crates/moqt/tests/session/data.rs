//! Data streams and datagrams: draft-18 5.2, 9.11, 10.

use crate::harness::{Lone, config, done, fetch_ok, ok, publish, standalone, subscribe_ok, track};
use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{
    FetchEncoder, FetchHeader, FetchObject, ObjectDatagram, ObjectHeader, SubgroupEncoder, SubgroupFlags,
    SubgroupHeader, SubgroupId,
};
use sluice_moqt::error::{RequestCode, ResetCode, SessionCode};
use sluice_moqt::message::{Message, Params, Timeouts};
use sluice_moqt::session::{Config, Event, Limits, StreamEnd};
use sluice_moqt::transport::{Dir, Side, StreamId};
use sluice_moqt::types::ObjectStatus;
use sluice_moqt::{GroupOrder, Location, RequestId, TrackAlias};
use std::time::Duration;

fn header(alias: u64, group: u64) -> SubgroupHeader {
    SubgroupHeader {
        alias: TrackAlias(alias),
        group,
        subgroup: SubgroupId::Zero,
        priority: Some(1),
        flags: SubgroupFlags::NONE,
    }
}

/// A subgroup stream with objects 0, 1, ... of these payloads.
fn subgroup(alias: u64, payloads: &[&'static str]) -> Vec<u8> {
    let header = header(alias, 4);
    let mut out = BytesMut::new();
    header.encode(&mut out);
    let mut encoder = SubgroupEncoder::new(&header);
    for (id, payload) in payloads.iter().enumerate() {
        encoder.encode(&object(id as u64, payload), &mut out).expect("in order");
        out.extend_from_slice(payload.as_bytes());
    }
    out.to_vec()
}

fn object(id: u64, payload: &str) -> ObjectHeader {
    ObjectHeader { id, properties: Bytes::new(), payload_len: payload.len() as u64, status: ObjectStatus::Normal }
}

fn payload(stream: StreamId, data: &'static str) -> Event {
    Event::Payload { stream, data: Bytes::from_static(data.as_bytes()) }
}

/// A client whose SUBSCRIBE has the alias 7.
fn subscribed() -> (Lone, RequestId, StreamId) {
    let mut lone = Lone::ready(Side::Client);
    let (request, own) = subscribe(&mut lone, 0);
    lone.send(own, &Message::SubscribeOk(subscribe_ok(7)));
    lone.events();
    (lone, request, own)
}

fn subscribe(lone: &mut Lone, index: u64) -> (RequestId, StreamId) {
    let name = ["x", "y", "z"][usize::try_from(index).expect("small")];
    let request = lone.session.subscribe(track(name), Params::default()).expect("allowed");
    (request, lone.own_request(index))
}

#[test]
fn objects_reach_the_subscription_that_their_alias_names() {
    let (mut lone, request, _) = subscribed();
    let stream = lone.uni(&subgroup(7, &["hello", "world"]));
    lone.fin(stream);
    let expected = [
        Event::Subgroup { stream, request, header: header(7, 4) },
        Event::Object { stream, object: object(0, "hello") },
        payload(stream, "hello"),
        Event::Object { stream, object: object(1, "world") },
        payload(stream, "world"),
        Event::StreamEnd { stream, end: StreamEnd::Fin },
    ];
    assert_eq!(lone.events(), expected);
    lone.bytes(stream, b"late");
    lone.reset(stream, 0);
    assert_eq!(lone.events(), vec![], "what comes late is ignored");
}

#[test]
fn objects_of_a_publish_may_come_before_its_answer() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&publish(0, "x", 3));
    let stream = lone.uni(&subgroup(3, &["a"]));
    let events = lone.events();
    assert!(matches!(events[..], [Event::Publish { .. }, Event::Subgroup { request: RequestId(0), .. }, _, _]));
    lone.session.reject(RequestId(0), crate::harness::error(RequestCode::Uninterested));
    lone.events();
    assert_eq!(lone.sink.streams[&stream].stopped, Some(ResetCode::Cancelled.code()));
}

#[test]
fn streams_with_an_unknown_alias_wait_for_it() {
    let mut lone = Lone::ready(Side::Client);
    let (request, own) = subscribe(&mut lone, 0);
    let bytes = subgroup(7, &["hello"]);
    let stream = lone.uni(&bytes[..6]);
    lone.bytes(stream, &bytes[6..]);
    lone.fin(stream);
    assert_eq!(lone.events(), vec![]);
    lone.send(own, &Message::SubscribeOk(subscribe_ok(7)));
    let events = lone.events();
    assert_eq!(events[0], Event::SubscribeOk { request, ok: subscribe_ok(7) });
    assert_eq!(events[1], Event::Subgroup { stream, request, header: header(7, 4) });
    assert_eq!(events.last(), Some(&Event::StreamEnd { stream, end: StreamEnd::Fin }));
    assert_eq!(lone.session.poll_timeout(), None);
}

#[test]
fn streams_wait_only_so_long_and_only_so_many() {
    let limits = Limits { held_streams: 2, held_bytes: 100, ..Limits::default() };
    let mut lone = Lone::with(Config { limits, ..config(Side::Client) });
    let streams: Vec<StreamId> = (0..3).map(|_| lone.uni(&subgroup(9, &["a"]))).collect();
    assert_eq!(lone.events(), vec![]);
    let stopped = |lone: &Lone, at: usize| lone.sink.streams.get(&streams[at]).and_then(|written| written.stopped);
    assert_eq!(stopped(&lone, 2), Some(ResetCode::ExcessiveLoad.code()), "too many");
    lone.bytes(streams[1], &[0; 101]);
    lone.events();
    assert_eq!(stopped(&lone, 1), Some(ResetCode::ExcessiveLoad.code()), "too large");
    lone.pass(Duration::from_secs(2));
    lone.events();
    assert_eq!(stopped(&lone, 0), Some(ResetCode::Cancelled.code()), "too long");
    assert_eq!(lone.session.poll_timeout(), None);
}

#[test]
fn streams_before_setup_wait_for_it() {
    let mut lone = Lone::fresh(config(Side::Server));
    let control = lone.open(Dir::Uni);
    lone.uni(&subgroup(3, &["a"]));
    lone.request(&publish(0, "x", 3));
    assert_eq!(lone.events(), vec![]);
    lone.send(control, &Message::Setup(sluice_moqt::message::Setup::default()));
    let events = lone.events();
    assert!(matches!(events[..], [Event::Ready(_), Event::Publish { .. }, Event::Subgroup { .. }, _, _]), "{events:?}");
}

#[test]
fn an_alias_must_not_name_two_tracks() {
    let (mut lone, ..) = subscribed();
    let (_, own) = subscribe(&mut lone, 1);
    lone.send(own, &Message::SubscribeOk(subscribe_ok(7)));
    assert_eq!(lone.closed(), Some(SessionCode::DuplicateTrackAlias));

    let (mut lone, ..) = subscribed();
    lone.request(&publish(1, "other", 7));
    assert_eq!(lone.closed(), Some(SessionCode::DuplicateTrackAlias));
}

#[test]
fn streams_of_a_cancelled_subscription_are_discarded_quietly() {
    let (mut lone, request, _) = subscribed();
    let open = lone.uni(&subgroup(7, &["a"]));
    lone.events();
    lone.session.cancel(request, ResetCode::Cancelled);
    let late = lone.uni(&subgroup(7, &["a"]));
    lone.bytes(open, b"more");
    assert_eq!(lone.events(), vec![]);
    for stream in [open, late] {
        assert_eq!(lone.sink.streams[&stream].stopped, Some(ResetCode::Cancelled.code()));
    }
    let (again, own) = subscribe(&mut lone, 1);
    let early = lone.uni(&subgroup(7, &["a"]));
    lone.send(own, &Message::SubscribeOk(subscribe_ok(7)));
    let events = lone.events();
    let header = header(7, 4);
    assert_eq!(events[1], Event::Subgroup { stream: early, request: again, header }, "the alias is used again");
}

#[test]
fn publish_done_waits_for_the_streams_it_counts() {
    let (mut lone, request, own) = subscribed();
    let first = lone.uni(&subgroup(7, &["a"]));
    lone.send(own, &Message::PublishDone(done(Some(2))));
    lone.fin(own);
    lone.fin(first);
    let events = lone.events();
    assert_eq!(events.last(), Some(&Event::StreamEnd { stream: first, end: StreamEnd::Fin }));
    let second = lone.uni(&subgroup(7, &["b"]));
    lone.reset(second, 2);
    let events = lone.events();
    let end = Event::StreamEnd { stream: second, end: StreamEnd::Reset(2) };
    assert_eq!(events[events.len() - 2..], [end, Event::PublishDone { request, done: done(Some(2)) }]);
    assert_eq!(lone.session.poll_timeout(), None);
}

#[test]
fn publish_done_gives_missing_streams_up_but_not_open_ones() {
    let (mut lone, request, own) = subscribed();
    let open = lone.uni(&subgroup(7, &["a"]));
    lone.send(own, &Message::PublishDone(done(None)));
    lone.events();
    lone.pass(Duration::from_secs(2));
    assert_eq!(lone.events(), vec![]);
    lone.fin(open);
    assert_eq!(lone.events().last(), Some(&Event::PublishDone { request, done: done(None) }));
}

#[test]
fn late_streams_are_awaited_for_the_delivery_timeout_within_reason() {
    for (asked, waited) in [(Duration::from_secs(5), 5), (Duration::MAX, 30)] {
        let mut lone = Lone::ready(Side::Client);
        let timeouts = Timeouts { object: Some(asked.min(Duration::from_millis(u64::MAX))), subgroup: None };
        let request = lone.session.subscribe(track("x"), Params { timeouts, ..Params::default() }).expect("allowed");
        let own = lone.own_request(0);
        lone.send(own, &Message::SubscribeOk(subscribe_ok(7)));
        lone.send(own, &Message::PublishDone(done(Some(1))));
        lone.events();
        assert_eq!(lone.session.poll_timeout(), Some(lone.now + Duration::from_secs(waited)));
        lone.pass(Duration::from_secs(waited));
        assert_eq!(lone.events(), vec![Event::PublishDone { request, done: done(Some(1)) }]);
    }
}

#[test]
fn a_fin_inside_an_object_closes_the_session() {
    let (mut lone, ..) = subscribed();
    let bytes = subgroup(7, &["hello"]);
    let stream = lone.uni(&bytes[..bytes.len() - 1]);
    lone.fin(stream);
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn an_incomplete_stream_header_times_out() {
    let (mut lone, ..) = subscribed();
    let bytes = subgroup(7, &["a"]);
    let whole = lone.uni(&bytes[..2]);
    lone.bytes(whole, &bytes[2..]);
    lone.uni(&bytes[..2]);
    lone.pass(Duration::from_secs(10));
    assert_eq!(lone.closed(), Some(SessionCode::DataStreamTimeout));
}

#[test]
fn padding_is_discarded() {
    let mut lone = Lone::ready(Side::Server);
    let mut bytes = BytesMut::new();
    sluice_moqt::varint::encode(sluice_moqt::data::PADDING_STREAM, &mut bytes);
    let stream = lone.uni(&bytes);
    lone.bytes(stream, &[0; 1000]);
    lone.fin(stream);
    assert_eq!(lone.events(), vec![]);
}

fn fetch_stream(request_id: u64) -> Vec<u8> {
    let mut out = BytesMut::new();
    FetchHeader { request_id: RequestId(request_id) }.encode(&mut out);
    FetchEncoder::new(GroupOrder::Ascending).object(&fetch_object(), &mut out).expect("the first");
    out.extend_from_slice(b"hello");
    out.to_vec()
}

fn fetch_object() -> FetchObject {
    FetchObject {
        location: Location::new(2, 0),
        subgroup: Some(0),
        priority: 128,
        properties: Bytes::new(),
        payload_len: 5,
    }
}

#[test]
fn a_fetch_ends_with_its_answer_and_its_stream_in_any_order() {
    for answer_first in [true, false] {
        let mut lone = Lone::ready(Side::Client);
        let request = lone.session.fetch(standalone("x"), Params::default()).expect("allowed");
        let own = lone.own_request(0);
        let answered = Event::FetchOk { request, ok: fetch_ok(3) };
        let answer = Message::FetchOk(fetch_ok(3));
        if answer_first {
            lone.send(own, &answer);
            assert_eq!(lone.events(), vec![answered.clone()]);
        }
        let stream = lone.uni(&fetch_stream(0));
        lone.fin(stream);
        let expected = [
            Event::FetchStream { stream, request },
            Event::FetchObject { stream, object: fetch_object() },
            payload(stream, "hello"),
            Event::StreamEnd { stream, end: StreamEnd::Fin },
        ];
        assert_eq!(lone.events(), expected);
        if !answer_first {
            lone.send(own, &answer);
            assert_eq!(lone.events(), vec![answered]);
        }
        assert!(lone.sink.streams[&own].finished);
    }
}

#[test]
fn a_fetch_has_one_stream_and_it_must_be_ours() {
    let mut lone = Lone::ready(Side::Client);
    lone.session.fetch(standalone("x"), Params::default()).expect("allowed");
    lone.uni(&fetch_stream(0));
    lone.uni(&fetch_stream(0));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));

    for unknown in [2, 1] {
        let mut lone = Lone::ready(Side::Client);
        lone.session.fetch(standalone("x"), Params::default()).expect("allowed");
        lone.uni(&fetch_stream(unknown));
        assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
    }
}

#[test]
fn the_stream_of_a_cancelled_fetch_is_discarded_quietly() {
    let mut lone = Lone::ready(Side::Client);
    let request = lone.session.fetch(standalone("x"), Params::default()).expect("allowed");
    lone.own_request(0);
    lone.session.cancel(request, ResetCode::Cancelled);
    let stream = lone.uni(&fetch_stream(0));
    assert_eq!(lone.events(), vec![]);
    assert_eq!(lone.sink.streams[&stream].stopped, Some(ResetCode::Cancelled.code()));
}

fn datagram(alias: u64) -> ObjectDatagram {
    ObjectDatagram {
        alias: TrackAlias(alias),
        location: Location::new(1, 2),
        priority: None,
        end_of_group: false,
        properties: Bytes::new(),
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(b"tiny"),
    }
}

fn receive(lone: &mut Lone, alias: u64) {
    let mut out = BytesMut::new();
    datagram(alias).encode(&mut out).expect("a plain object");
    lone.session.handle_datagram(lone.now, out.freeze());
}

#[test]
fn datagrams_find_their_subscription_or_wait_briefly() {
    let mut lone = Lone::ready(Side::Client);
    let (request, own) = subscribe(&mut lone, 0);
    receive(&mut lone, 7);
    lone.pass(Duration::from_secs(3));
    receive(&mut lone, 7);
    receive(&mut lone, 8);
    assert_eq!(lone.events(), vec![]);
    lone.send(own, &Message::SubscribeOk(subscribe_ok(7)));
    let expected =
        [Event::SubscribeOk { request, ok: subscribe_ok(7) }, Event::Datagram { request, datagram: datagram(7) }];
    assert_eq!(lone.events(), expected, "one was too old");
    receive(&mut lone, 7);
    assert_eq!(lone.events().len(), 1);
}

#[test]
fn an_unknown_datagram_type_closes_the_session() {
    let mut lone = Lone::ready(Side::Client);
    lone.session.handle_datagram(lone.now, Bytes::from_static(&[0x3F, 0, 0, 0]));
    assert_eq!(lone.closed(), Some(SessionCode::ProtocolViolation));
}

#[test]
fn an_accepted_publish_carries_objects_until_it_is_done() {
    let mut lone = Lone::ready(Side::Server);
    let own = lone.request(&publish(0, "x", 3));
    lone.session.accept(RequestId(0), ok());
    let stream = lone.uni(&subgroup(3, &["a"]));
    lone.fin(stream);
    lone.send(own, &Message::PublishDone(done(Some(1))));
    lone.fin(own);
    let events = lone.events();
    assert_eq!(events.last(), Some(&Event::PublishDone { request: RequestId(0), done: done(Some(1)) }));
    lone.request(&publish(2, "x", 3));
    assert_eq!(lone.events().len(), 1, "track and alias are free again");
}
