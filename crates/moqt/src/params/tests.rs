use super::*;
use crate::error::SessionCode;
use crate::message::{Class, ExtraParams, Route, Timeouts, Token};
use crate::name::Namespace;
use crate::types::{Filter, GroupOrder, Location};
use std::time::Duration;

const ALL_SCOPES: [Scope; 17] = [
    Scope::Subscribe,
    Scope::SubscribeOk,
    Scope::Publish,
    Scope::PublishOk,
    Scope::Fetch,
    Scope::FetchOk,
    Scope::TrackStatus,
    Scope::TrackStatusOk,
    Scope::PublishNamespace,
    Scope::SubscribeNamespace,
    Scope::SubscribeTracks,
    Scope::NamespaceOk,
    Scope::UpdateSubscription,
    Scope::UpdateFetch,
    Scope::UpdatePublishNamespace,
    Scope::UpdatePrefix,
    Scope::UpdateOk,
];

fn place(draft: Draft, scope: Scope) -> Place {
    Place { draft, message: "M", scopes: Scopes::of(&[scope]) }
}

fn decode(bytes: &[u8], scope: Scope) -> Result<Params, DecodeError> {
    let mut reader = Reader::new(bytes);
    let params = Params::decode(&mut reader, place(Draft::V18, scope))?;
    reader.finish("M")?;
    Ok(params)
}

fn must_close(bytes: &[u8], scope: Scope) -> DecodeError {
    let error = decode(bytes, scope).expect_err("must close the session");
    assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
    error
}

fn faulty(kind: u64, fault: ParamFault) -> DecodeError {
    DecodeError::Parameter { message: "M", kind, fault }
}

fn extra(extra: ExtraParams) -> Params {
    Params { extra: Some(Box::new(extra)), ..Params::default() }
}

/// Every parameter alone: its value, its bytes as the only parameter, and where it may stand.
fn every_parameter() -> Vec<Alone> {
    [varints(), other_encodings()].concat()
}

type Alone = (Params, &'static [u8], &'static [Scope]);

fn varints() -> Vec<Alone> {
    use Scope::*;
    const TIMEOUT: &[Scope] = &[PublishOk, Subscribe, UpdateSubscription];
    let ms = |ms| Some(Duration::from_millis(ms));
    let none = Params::default();
    vec![
        (
            Params { timeouts: Timeouts { object: ms(300), subgroup: None }, ..none.clone() },
            &[1, 2, 0x81, 0x2C],
            TIMEOUT,
        ),
        (Params { rendezvous_timeout: ms(0), ..none.clone() }, &[1, 4, 0], &[Subscribe]),
        (Params { timeouts: Timeouts { object: None, subgroup: ms(7) }, ..none.clone() }, &[1, 6, 7], TIMEOUT),
        (
            Params { expires: ms(9), ..none.clone() },
            &[1, 8, 9],
            &[SubscribeOk, Publish, PublishOk, UpdateOk, TrackStatusOk],
        ),
        (Params { fill_timeout: ms(1), ..none.clone() }, &[1, 0x0A, 1], &[Fetch]),
        (Params { new_group_request: Some(0), ..none }, &[1, 0x32, 0], &[PublishOk, Subscribe, UpdateSubscription]),
    ]
}

fn other_encodings() -> Vec<Alone> {
    use Scope::*;
    let none = Params::default();
    vec![
        (
            Params { tokens: vec![Token::UseAlias { alias: 5 }], ..none.clone() },
            &[1, 3, 2, 2, 5],
            &[
                Publish,
                Subscribe,
                UpdateSubscription,
                UpdateFetch,
                UpdatePublishNamespace,
                UpdatePrefix,
                SubscribeNamespace,
                SubscribeTracks,
                PublishNamespace,
                TrackStatus,
                Fetch,
            ],
        ),
        (
            Params { largest: Some(Location::new(300, 1)), ..none.clone() },
            &[1, 9, 0x81, 0x2C, 1],
            &[SubscribeOk, Publish, UpdateOk, TrackStatusOk],
        ),
        (
            Params { forward: Some(false), ..none.clone() },
            &[1, 0x10, 0],
            &[Subscribe, UpdateSubscription, Publish, PublishOk, SubscribeTracks],
        ),
        (
            Params { subscriber_priority: Some(200), ..none.clone() },
            &[1, 0x20, 200],
            &[Subscribe, Fetch, UpdateSubscription, UpdateFetch, PublishOk],
        ),
        (
            Params { filter: Some(Filter::LargestObject), ..none.clone() },
            &[1, 0x21, 1, 2],
            &[Subscribe, PublishOk, UpdateSubscription],
        ),
        (Params { group_order: Some(GroupOrder::Descending), ..none }, &[1, 0x22, 2], &[Subscribe, PublishOk, Fetch]),
        (
            extra(ExtraParams { namespace_prefix: Namespace::from_path("a").ok(), ..ExtraParams::default() }),
            &[1, 0x34, 1, 1, b'a'],
            &[UpdatePrefix],
        ),
    ]
}

#[test]
fn bytes_of_every_parameter() {
    for (params, bytes, scopes) in every_parameter() {
        for scope in scopes {
            let mut out = Vec::new();
            params.encode(place(Draft::V18, *scope), &mut out).expect("may stand here");
            assert_eq!(out, bytes);
            assert_eq!(decode(bytes, *scope), Ok(params.clone()));
            assert_eq!(params.check(Draft::V18, *scope), Ok(()));
        }
    }
}

/// "If it appears in some other type of message, the receiving endpoint MUST close the connection with a
/// `PROTOCOL_VIOLATION`."
#[test]
fn a_parameter_in_another_message_must_close_the_session() {
    for (params, bytes, scopes) in every_parameter() {
        for scope in ALL_SCOPES.into_iter().filter(|scope| !scopes.contains(scope)) {
            let kind = bytes.get(1).copied().expect("count, then type").into();
            assert_eq!(must_close(bytes, scope), faulty(kind, ParamFault::Misplaced), "{scope:?}");
            assert!(params.check(Draft::V18, scope).is_err());
            let refused = params.encode(place(Draft::V18, scope), &mut Vec::new());
            assert_eq!(refused, Err(EncodeError::Parameter { message: "M", kind }));
        }
    }
}

#[test]
fn an_unknown_parameter_must_close_the_session() {
    for kind in [0, 1, 5, 7, 0x0B, 0x33] {
        assert_eq!(must_close(&[1, kind, 0], Scope::Subscribe), faulty(kind.into(), ParamFault::Unknown));
    }
}

#[test]
fn a_duplicate_parameter_closes_the_session() {
    let bytes = [2, 0x10, 1, 0, 1];
    assert_eq!(must_close(&bytes, Scope::Subscribe), faulty(0x10, ParamFault::Duplicate));
}

#[test]
fn an_authorization_token_may_be_repeated() {
    let tokens = vec![Token::UseAlias { alias: 1 }, Token::UseAlias { alias: 2 }];
    let params = Params { tokens, forward: Some(true), ..Params::default() };
    let bytes = [3, 3, 2, 2, 1, 0, 2, 2, 2, 0x0D, 1];
    let mut out = Vec::new();
    params.encode(place(Draft::V18, Scope::Subscribe), &mut out).expect("valid");
    assert_eq!(out, bytes);
    assert_eq!(decode(&bytes, Scope::Subscribe), Ok(params));
}

#[test]
fn a_token_that_cannot_be_decoded_must_close_with_key_value_formatting_error() {
    let error = decode(&[1, 3, 1, 9], Scope::Subscribe).expect_err("undefined alias type");
    assert_eq!(error.session_code(), SessionCode::KeyValueFormattingError);
}

#[test]
fn a_type_above_64_bits_must_close_the_session() {
    let bytes = [&[2, 0x10, 1][..], &[0xFF; 9]].concat();
    assert_eq!(must_close(&bytes, Scope::Subscribe), DecodeError::OutOfRange { field: "Type Delta" });
}

#[test]
fn a_group_order_outside_its_range_must_close_the_session() {
    for value in [0, 3] {
        let error = must_close(&[1, 0x22, value], Scope::Subscribe);
        assert_eq!(error, DecodeError::Undefined { field: "GROUP_ORDER", value: value.into() });
    }
}

#[test]
fn a_forward_outside_its_range_must_close_the_session() {
    let error = must_close(&[1, 0x10, 2], Scope::Subscribe);
    assert_eq!(error, DecodeError::Undefined { field: "FORWARD", value: 2 });
}

#[test]
fn a_count_beyond_the_message_is_refused() {
    let bytes = [&[0xFF; 9][..], &[0x10, 1]].concat();
    assert!(matches!(must_close(&bytes, Scope::Subscribe), DecodeError::Truncated { .. }));
}

#[test]
fn a_timeout_below_a_millisecond_does_not_become_none() {
    let params = Params { expires: Some(Duration::from_micros(1)), ..Params::default() };
    let mut out = Vec::new();
    params.encode(place(Draft::V18, Scope::Publish), &mut out).expect("valid");
    assert_eq!(out, [1, 8, 1]);
}

/// Both ends of a trunk are ours, but not always of one release: these bytes are a promise.
#[test]
fn bytes_of_the_trunk_parameters() {
    let route = Route { hops: vec!["ams".into()], visited: vec!["fra".into()], class: Class::Rtc, delay_bound: None };
    let cases = [
        (
            ExtraParams { route: Some(route), ..ExtraParams::default() },
            Scope::Subscribe,
            &b"\x01\xC0\x5C\x01\x0C\x00\x00\x01\x03ams\x01\x03fra"[..],
        ),
        (
            ExtraParams {
                root_path: Some(vec!["ams".into()]),
                delivered_delay: Some(Duration::from_micros(300)),
                ..ExtraParams::default()
            },
            Scope::SubscribeOk,
            b"\x02\xC0\x5C\x03\x05\x01\x03ams\x01\x81\x2C",
        ),
    ];
    for (parameters, scope, bytes) in cases {
        let params = extra(parameters);
        let mut out = Vec::new();
        params.encode(place(Draft::Trunk1, scope), &mut out).expect("valid");
        assert_eq!(out, bytes);
        assert_eq!(Params::decode(&mut Reader::new(bytes), place(Draft::Trunk1, scope)), Ok(params.clone()));

        assert!(matches!(must_close(bytes, scope), DecodeError::Parameter { fault: ParamFault::Unknown, .. }));
        assert!(params.encode(place(Draft::V18, scope), &mut Vec::new()).is_err(), "never towards others");
    }
}

#[test]
fn a_trunk_speaks_every_parameter_of_the_draft() {
    for (params, bytes, scopes) in every_parameter() {
        let place = place(Draft::Trunk1, *scopes.first().expect("somewhere"));
        assert_eq!(Params::decode(&mut Reader::new(bytes), place), Ok(params));
    }
}

#[test]
fn the_table_ascends_as_deltas_need_it() {
    assert!(TABLE.is_sorted_by(|a, b| a.kind < b.kind));
}
