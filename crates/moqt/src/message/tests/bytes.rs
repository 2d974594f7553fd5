//! The bytes of one message of each type, written out by hand from the draft's figures.

use super::*;
use crate::error::{DoneCode, RequestCode};
use crate::message::{Frame, Framer, kind};
use crate::types::{Location, RequestId, TrackAlias};
use std::time::Duration;

/// `message` has exactly these bytes, type and length included, and comes back from them.
fn assert_bytes(message: &Message, bytes: &[u8]) {
    assert_eq!(encode(message)[..], *bytes, "{}", message.name());
    let mut framer = Framer::default();
    framer.push(Bytes::copy_from_slice(bytes));
    let Frame { kind, payload } = framer.poll().expect("a whole message");
    assert_eq!(kind, message.kind());
    assert_eq!(decode(kind, &payload).as_ref(), Ok(message));
    assert_eq!(framer.finish(), Ok(()));
}

fn forward() -> Params {
    Params { forward: Some(true), ..Params::default() }
}

fn properties() -> TrackProperties {
    TrackProperties(Bytes::from_static(&[0x30, 1]))
}

#[test]
fn setup() {
    let setup = Setup { path: Some("/".into()), max_auth_token_cache: 9, ..Setup::default() };
    assert_bytes(&Message::Setup(setup), b"\xAF\x00\x00\x05\x01\x01/\x03\x09");
    assert_bytes(&Message::Setup(Setup::default()), b"\xAF\x00\x00\x00");
}

#[test]
fn goaway() {
    let goaway = Goaway { uri: "u".into(), timeout: Duration::from_millis(9), request_id: Some(RequestId(4)) };
    assert_bytes(&Message::Goaway(goaway.clone()), b"\x10\x00\x04\x01u\x09\x04");
    let on_request_stream = Goaway { request_id: None, uri: String::new(), ..goaway };
    assert_bytes(&Message::Goaway(on_request_stream), b"\x10\x00\x02\x00\x09");
}

#[test]
fn subscribe_and_track_status() {
    let subscribe = Subscribe { request_id: RequestId(2), track: track(), params: forward() };
    assert_bytes(&Message::Subscribe(subscribe.clone()), b"\x03\x00\x0B\x02\x02\x01a\x01b\x01v\x01\x10\x01");
    let status = Subscribe { params: Params::default(), ..subscribe };
    assert_bytes(&Message::TrackStatus(status), b"\x0D\x00\x09\x02\x02\x01a\x01b\x01v\x00");
}

#[test]
fn subscribe_ok() {
    let params = Params { largest: Some(Location::new(3, 4)), ..Params::default() };
    let ok = SubscribeOk { alias: TrackAlias(7), params, properties: properties() };
    assert_bytes(&Message::SubscribeOk(ok), b"\x04\x00\x07\x07\x01\x09\x03\x04\x30\x01");
}

#[test]
fn request_update() {
    let update = RequestUpdate { request_id: RequestId(6), params: forward() };
    assert_bytes(&Message::RequestUpdate(update), b"\x02\x00\x04\x06\x01\x10\x01");
}

#[test]
fn publish() {
    let publish = Publish {
        request_id: RequestId(2),
        track: track(),
        alias: TrackAlias(7),
        params: forward(),
        properties: properties(),
    };
    let bytes = b"\x1D\x00\x0E\x02\x02\x01a\x01b\x01v\x07\x01\x10\x01\x30\x01";
    assert_bytes(&Message::Publish(publish), bytes);
}

#[test]
fn publish_done() {
    let done = PublishDone { code: DoneCode::TrackEnded, streams: Some(5), reason: "r".into() };
    assert_bytes(&Message::PublishDone(done), b"\x0B\x00\x04\x02\x05\x01r");
}

/// "it MUST set Stream Count to 2^62 - 1".
#[test]
fn publish_done_with_an_unknown_number_of_streams() {
    let done = PublishDone { code: DoneCode::GoingAway, streams: None, reason: String::new() };
    let bytes = b"\x0B\x00\x0B\x04\xFF\x3F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x00";
    assert_bytes(&Message::PublishDone(done), bytes);
}

#[test]
fn fetch_of_each_type() {
    let fetch = |kind| Message::Fetch(Fetch { request_id: RequestId(2), kind, params: Params::default() });
    let (start, end) = (Location::new(1, 2), Location::new(3, 0));
    let standalone = FetchKind::Standalone { track: track(), start, end };
    assert_bytes(&fetch(standalone), b"\x16\x00\x0E\x02\x01\x02\x01a\x01b\x01v\x01\x02\x03\x00\x00");
    let joining = RequestId(0);
    assert_bytes(&fetch(FetchKind::RelativeJoining { joining, start: 4 }), b"\x16\x00\x05\x02\x02\x00\x04\x00");
    assert_bytes(&fetch(FetchKind::AbsoluteJoining { joining, start: 4 }), b"\x16\x00\x05\x02\x03\x00\x04\x00");
}

#[test]
fn fetch_ok() {
    let ok =
        FetchOk { end_of_track: true, end: Location::new(3, 4), params: Params::default(), properties: properties() };
    assert_bytes(&Message::FetchOk(ok), b"\x18\x00\x06\x01\x03\x04\x00\x30\x01");
}

#[test]
fn the_three_namespace_requests() {
    let request = NamespaceRequest { request_id: RequestId(2), namespace: namespace(), params: Params::default() };
    let tail = b"\x00\x07\x02\x02\x01a\x01b\x00";
    for (kind, message) in [
        (0x06, Message::PublishNamespace(request.clone())),
        (0x50, Message::SubscribeNamespace(request.clone())),
        (0x51, Message::SubscribeTracks(request)),
    ] {
        assert_bytes(&message, &[&[kind], &tail[..]].concat());
    }
}

#[test]
fn namespace_and_namespace_done() {
    assert_bytes(&Message::Namespace(namespace()), b"\x08\x00\x05\x02\x01a\x01b");
    assert_bytes(&Message::NamespaceDone(Namespace::default()), b"\x0E\x00\x01\x00");
}

#[test]
fn publish_blocked() {
    assert_bytes(&Message::PublishBlocked(track()), b"\x0F\x00\x07\x02\x01a\x01b\x01v");
}

#[test]
fn request_ok() {
    assert_bytes(&Message::RequestOk(RequestOk::default()), b"\x07\x00\x01\x00");
    let params = Params { largest: Some(Location::new(3, 4)), ..Params::default() };
    let status = RequestOk { params, properties: properties() };
    assert_bytes(&Message::RequestOk(status), b"\x07\x00\x06\x01\x09\x03\x04\x30\x01");
}

#[test]
fn publish_ok_is_understood_as_request_ok() {
    assert_eq!(decode(kind::PUBLISH_OK, &[0]), Ok(Message::RequestOk(RequestOk::default())));
}

#[test]
fn request_error_with_the_retry_interval_plus_one() {
    let error = RequestError {
        code: RequestCode::DoesNotExist,
        retry: Some(Duration::from_millis(0)),
        reason: "no".into(),
        redirect: None,
    };
    assert_bytes(&Message::RequestError(error.clone()), b"\x05\x00\x05\x10\x01\x02no");
    let never = RequestError { retry: None, ..error };
    assert_bytes(&Message::RequestError(never), b"\x05\x00\x05\x10\x00\x02no");
}

#[test]
fn request_error_with_a_redirect() {
    let (namespace, name) = track().into_parts();
    let error = RequestError {
        code: RequestCode::Redirect,
        retry: Some(Duration::from_millis(4)),
        reason: String::new(),
        redirect: Some(Redirect { uri: "u".into(), namespace, name }),
    };
    assert_bytes(&Message::RequestError(error), b"\x05\x00\x0C\x34\x05\x00\x01u\x02\x01a\x01b\x01v");
}
