//! What must close the session, and what must not.

use super::*;
use crate::error::{EncodeError, RequestCode, SessionCode};
use crate::message::{MAX_REASON_BYTES, MAX_URI_BYTES, kind};
use crate::params::Scope;
use crate::types::{Location, RequestId};
use std::time::Duration;

const ALL_KINDS: [u64; 19] = [
    kind::SETUP,
    kind::REQUEST_UPDATE,
    kind::SUBSCRIBE,
    kind::SUBSCRIBE_OK,
    kind::REQUEST_ERROR,
    kind::PUBLISH_NAMESPACE,
    kind::REQUEST_OK,
    kind::NAMESPACE,
    kind::PUBLISH_DONE,
    kind::TRACK_STATUS,
    kind::NAMESPACE_DONE,
    kind::PUBLISH_BLOCKED,
    kind::GOAWAY,
    kind::FETCH,
    kind::FETCH_OK,
    kind::PUBLISH,
    kind::PUBLISH_OK,
    kind::SUBSCRIBE_NAMESPACE,
    kind::SUBSCRIBE_TRACKS,
];

fn must_close(kind: u64, payload: &[u8]) -> DecodeError {
    let error = decode(kind, payload).expect_err("must close the session");
    assert_eq!(error.session_code(), SessionCode::ProtocolViolation, "{error}");
    error
}

#[test]
fn an_unknown_message_type_must_close_the_session() {
    // The reserved ones of earlier drafts, a grease value, and the unassigned small ones.
    for kind in [0, 1, 0x09, 0x11, 0x1C, 0x20, 0x21, 0x40, 0x41, 0x9D, u64::MAX] {
        assert!(!ALL_KINDS.contains(&kind));
        assert_eq!(must_close(kind, &[]), DecodeError::Undefined { field: "message type", value: kind });
    }
}

#[test]
fn a_payload_longer_than_its_fields_must_close_the_session() {
    for (kind, payload) in [
        (kind::SUBSCRIBE, &[2, 0, 1, b'v', 0, 9][..]),
        (kind::REQUEST_UPDATE, &[2, 0, 9]),
        (kind::PUBLISH_DONE, &[2, 0, 0, 9]),
        (kind::FETCH, &[2, 2, 0, 0, 0, 9]),
        (kind::NAMESPACE, &[0, 9]),
        (kind::PUBLISH_BLOCKED, &[0, 0, 9]),
        (kind::GOAWAY, &[0, 0, 0, 9]),
        (kind::PUBLISH_NAMESPACE, &[2, 0, 0, 9]),
        (kind::REQUEST_ERROR, &[0, 0, 0, 9]),
    ] {
        let trailing = DecodeError::Trailing { message: kind::name(kind), count: 1 };
        assert_eq!(must_close(kind, payload), trailing);
    }
}

#[test]
fn a_payload_shorter_than_its_fields_must_close_the_session() {
    let with_empty_form = [kind::SETUP];
    for kind in ALL_KINDS.into_iter().filter(|kind| !with_empty_form.contains(kind)) {
        assert!(matches!(must_close(kind, &[]), DecodeError::Truncated { .. }), "{}", kind::name(kind));
    }
}

#[test]
fn another_fetch_type_must_close_the_session() {
    for value in [0, 4] {
        let refused = DecodeError::Undefined { field: "Fetch Type", value };
        assert_eq!(must_close(kind::FETCH, &[2, u8::try_from(value).unwrap(), 0, 0, 0]), refused);
    }
}

#[test]
fn an_end_of_track_other_than_0_and_1_is_refused() {
    must_close(kind::FETCH_OK, &[2, 0, 0, 0]);
}

#[test]
fn a_reason_phrase_over_1024_bytes_must_close_the_session() {
    let payload = |len: usize| {
        let mut out = vec![0, 0];
        crate::varint::encode(len as u64, &mut out);
        out.extend(vec![b'x'; len]);
        out
    };
    assert!(decode(kind::REQUEST_ERROR, &payload(MAX_REASON_BYTES)).is_ok());
    let over = DecodeError::OverLimit { field: "Reason Phrase", value: 1025, limit: 1024 };
    assert_eq!(must_close(kind::REQUEST_ERROR, &payload(MAX_REASON_BYTES + 1)), over);
    assert_eq!(must_close(kind::PUBLISH_DONE, &payload(MAX_REASON_BYTES + 1)), over);
}

#[test]
fn a_new_session_uri_over_8192_bytes_must_close_the_session() {
    let payload = |len: usize| {
        let mut out = Vec::new();
        crate::varint::encode(len as u64, &mut out);
        out.extend(vec![b'x'; len]);
        out.push(0);
        out
    };
    assert!(decode(kind::GOAWAY, &payload(MAX_URI_BYTES)).is_ok());
    let over = DecodeError::OverLimit { field: "New Session URI", value: 8193, limit: 8192 };
    assert_eq!(must_close(kind::GOAWAY, &payload(MAX_URI_BYTES + 1)), over);
    assert_eq!(must_close(kind::GOAWAY, &[1, 0xFF, 0]), DecodeError::NotText { field: "New Session URI" });
}

/// "An endpoint MUST NOT close the session because it received an unknown error code in a REQUEST_ERROR or
/// PUBLISH_DONE."
#[test]
fn unknown_error_codes_do_not_close_the_session() {
    let grease = [0x80, 0x9D, 0, 0];
    let Ok(Message::RequestError(error)) = decode(kind::REQUEST_ERROR, &grease) else {
        panic!("accepted");
    };
    assert_eq!(error.code, RequestCode::Unknown(0x9D));
    assert!(decode(kind::PUBLISH_DONE, &grease).is_ok());
}

#[test]
fn a_redirect_stands_exactly_where_the_code_is_redirect() {
    assert!(matches!(must_close(kind::REQUEST_ERROR, &[0x34, 0, 0]), DecodeError::Truncated { .. }));
    assert!(matches!(must_close(kind::REQUEST_ERROR, &[0x10, 0, 0, 0, 0, 0]), DecodeError::Trailing { .. }));
    let mut error = RequestError { code: RequestCode::Redirect, retry: None, reason: String::new(), redirect: None };
    let mut out = BytesMut::new();
    let contradiction = Err(EncodeError::Contradiction { field: "Redirect" });
    assert_eq!(Message::RequestError(error.clone()).encode(Draft::V18, &mut out), contradiction);
    let redirect = Redirect { uri: String::new(), namespace: Namespace::default(), name: Bytes::new() };
    error.redirect = Some(redirect);
    error.code = RequestCode::Timeout;
    assert_eq!(Message::RequestError(error).encode(Draft::V18, &mut out), contradiction);
    assert!(out.is_empty());
}

#[test]
fn a_reason_that_is_not_utf8_is_repaired() {
    let Ok(Message::PublishDone(done)) = decode(kind::PUBLISH_DONE, &[0, 0, 2, b'a', 0xFF]) else {
        panic!("accepted");
    };
    assert_eq!(done.reason, "a\u{FFFD}");
}

#[test]
fn an_overlong_reason_is_cut_between_characters() {
    let reason = format!("x{}", "\u{e4}".repeat(MAX_REASON_BYTES));
    let error = RequestError { code: RequestCode::Timeout, retry: None, reason: reason.clone(), redirect: None };
    let bytes = encode(&Message::RequestError(error));
    let Ok(Message::RequestError(seen)) = decode(kind::REQUEST_ERROR, &bytes[3..]) else {
        panic!("valid");
    };
    assert_eq!(seen.reason.len(), MAX_REASON_BYTES - 1);
    assert!(reason.starts_with(&seen.reason));
}

/// "the total length of a control message is limited to 2^16-1 bytes".
#[test]
fn a_message_over_65535_bytes_is_not_written() {
    let ok = |len| {
        Message::RequestOk(RequestOk { params: Params::default(), properties: TrackProperties(vec![0; len].into()) })
    };
    let mut out = BytesMut::from(&b"before"[..]);
    let refused = EncodeError::MessageTooLong { message: "REQUEST_OK", len: 65_536 };
    assert_eq!(ok(65_535).encode(Draft::V18, &mut out), Err(refused));
    assert_eq!(out[..], b"before"[..], "what was there stays");
    assert_eq!(ok(65_534).encode(Draft::V18, &mut out), Ok(()));
}

#[test]
fn a_uri_over_its_limit_is_not_written() {
    let uri = "x".repeat(MAX_URI_BYTES + 1);
    let goaway = Message::Goaway(Goaway { uri, timeout: Duration::ZERO, request_id: None });
    let refused = EncodeError::OverLimit { field: "New Session URI", value: 8193, limit: 8192 };
    assert_eq!(goaway.encode(Draft::V18, &mut BytesMut::new()), Err(refused));
}

/// Which request a REQUEST_OK or REQUEST_UPDATE belongs to is known to the session alone.
#[test]
fn parameters_of_responses_and_updates_are_checked_against_their_request() {
    let Ok(Message::RequestOk(ok)) = decode(kind::REQUEST_OK, &[1, 0x21, 1, 2]) else {
        panic!("some REQUEST_OK may carry a filter");
    };
    assert_eq!(ok.params.check(Draft::V18, Scope::PublishOk), Ok(()));
    assert!(ok.params.check(Draft::V18, Scope::NamespaceOk).is_err());
    let Ok(Message::RequestUpdate(update)) = decode(kind::REQUEST_UPDATE, &[2, 1, 0x34, 0]) else {
        panic!("some REQUEST_UPDATE may carry a prefix");
    };
    assert_eq!(update.params.check(Draft::V18, Scope::UpdatePrefix), Ok(()));
    assert!(update.params.check(Draft::V18, Scope::UpdateSubscription).is_err());
}

#[test]
fn a_message_that_must_not_carry_a_parameter_is_not_written() {
    let params = Params { largest: Some(Location::default()), ..Params::default() };
    let subscribe = Subscribe { request_id: RequestId(0), track: track(), params };
    let refused = EncodeError::Parameter { message: "SUBSCRIBE", kind: 0x09 };
    assert_eq!(Message::Subscribe(subscribe).encode(Draft::V18, &mut BytesMut::new()), Err(refused));
}
