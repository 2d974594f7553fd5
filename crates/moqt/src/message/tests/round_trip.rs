//! Any message comes back from its bytes, and any bytes are survived.

use super::*;
use crate::error::{DoneCode, RequestCode};
use crate::message::{Class, ExtraParams, Route, Timeouts};
use crate::name::arbitrary::{namespace, track_name};
use crate::types::{Filter, GroupOrder, Location, RequestId, TrackAlias};
use proptest::prelude::*;
use std::time::Duration;

fn id() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

fn request_id() -> impl Strategy<Value = RequestId> {
    id().prop_map(RequestId)
}

fn location() -> impl Strategy<Value = Location> {
    (id(), id()).prop_map(|(group, object)| Location { group, object })
}

fn millis() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 50).prop_map(Duration::from_millis)
}

fn micros() -> impl Strategy<Value = Duration> {
    (0..1_u64 << 50).prop_map(Duration::from_micros)
}

fn blob() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn token() -> impl Strategy<Value = Token> {
    prop_oneof![
        id().prop_map(|alias| Token::Delete { alias }),
        (id(), id(), blob()).prop_map(|(alias, kind, value)| Token::Register { alias, kind, value }),
        id().prop_map(|alias| Token::UseAlias { alias }),
        (id(), blob()).prop_map(|(kind, value)| Token::UseValue { kind, value }),
    ]
}

fn tokens() -> impl Strategy<Value = Vec<Token>> {
    prop::collection::vec(token(), 0..3)
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        Just(Filter::NextGroupStart),
        Just(Filter::LargestObject),
        location().prop_map(|start| Filter::AbsoluteStart { start }),
        (location(), id())
            .prop_map(|(start, more)| Filter::AbsoluteRange { start, end_group: start.group.saturating_add(more) }),
    ]
}

fn route() -> impl Strategy<Value = Route> {
    let pops = || prop::collection::vec("[a-z0-9]{1,12}", 0..4);
    let class = prop_oneof![Just(Class::Rtc), Just(Class::Live), Just(Class::Default)];
    (pops(), pops(), class, prop::option::of(micros())).prop_map(|(hops, visited, class, delay_bound)| Route {
        hops,
        visited,
        class,
        delay_bound,
    })
}

fn order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

/// Parameters of a SUBSCRIBE, which has most of them; over a trunk where there is a route.
fn subscribe_params() -> impl Strategy<Value = Params> {
    let durations = prop::array::uniform3(prop::option::of(millis()));
    let numbers = (any::<Option<bool>>(), any::<Option<u8>>(), prop::option::of(id()));
    let rest = (prop::option::of(filter()), prop::option::of(order()), prop::option::of(route()));
    (durations, tokens(), numbers, rest).prop_map(|(durations, tokens, numbers, rest)| {
        let [object, subgroup, rendezvous_timeout] = durations;
        let (forward, subscriber_priority, new_group_request) = numbers;
        let (filter, group_order, route) = rest;
        Params {
            timeouts: Timeouts { object, subgroup },
            tokens,
            rendezvous_timeout,
            forward,
            subscriber_priority,
            filter,
            group_order,
            new_group_request,
            extra: route.map(|route| Box::new(ExtraParams { route: Some(route), ..ExtraParams::default() })),
            ..Params::default()
        }
    })
}

fn answer_params() -> impl Strategy<Value = Params> {
    (prop::option::of(millis()), prop::option::of(location())).prop_map(|(expires, largest)| Params {
        expires,
        largest,
        ..Params::default()
    })
}

fn fetch_kind() -> impl Strategy<Value = FetchKind> {
    prop_oneof![
        (track_name(), location(), location()).prop_map(|(track, start, end)| FetchKind::Standalone {
            track,
            start,
            end
        }),
        (request_id(), id()).prop_map(|(joining, start)| FetchKind::RelativeJoining { joining, start }),
        (request_id(), id()).prop_map(|(joining, start)| FetchKind::AbsoluteJoining { joining, start }),
    ]
}

fn request_error() -> impl Strategy<Value = RequestError> {
    let redirect = ("[a-z:/]{0,20}", track_name()).prop_map(|(uri, name)| {
        let (namespace, name) = name.into_parts();
        Redirect { uri, namespace, name }
    });
    let plain = id()
        .prop_map(RequestCode::from_code)
        .prop_filter("redirects have a body", |code| *code != RequestCode::Redirect);
    let code = prop_oneof![
        plain.prop_map(|code| (code, None)),
        redirect.prop_map(|redirect| (RequestCode::Redirect, Some(redirect))),
    ];
    (code, prop::option::of(millis()), "\\PC{0,30}").prop_map(|((code, redirect), retry, reason)| RequestError {
        code,
        retry,
        reason,
        redirect,
    })
}

fn session_message() -> impl Strategy<Value = Message> {
    let path = prop::option::of("(/[a-z0-9]{0,9}){0,3}");
    let authority = prop::option::of("[a-z]{1,9}(:[0-9]{1,4})?");
    let setup = (path, authority, id(), tokens(), prop::option::of("\\PC{0,20}"));
    let goaway = ("[a-z:/]{0,30}", millis(), prop::option::of(request_id()));
    let done = (id(), prop::option::of(0..1_u64 << 62), "\\PC{0,30}");
    prop_oneof![
        setup.prop_map(|(path, authority, max_auth_token_cache, tokens, implementation)| {
            Message::Setup(Setup { path, authority, max_auth_token_cache, tokens, implementation })
        }),
        goaway.prop_map(|(uri, timeout, request_id)| Message::Goaway(Goaway { uri, timeout, request_id })),
        request_error().prop_map(Message::RequestError),
        done.prop_map(|(code, streams, reason)| {
            let streams = streams.filter(|count| *count != (1 << 62) - 1);
            Message::PublishDone(PublishDone { code: DoneCode::from_code(code), streams, reason })
        }),
        namespace().prop_map(Message::Namespace),
        namespace().prop_map(Message::NamespaceDone),
        track_name().prop_map(Message::PublishBlocked),
    ]
}

fn request_message() -> impl Strategy<Value = Message> {
    let namespace_request = || {
        (request_id(), namespace(), tokens()).prop_map(|(request_id, namespace, tokens)| {
            let params = Params { tokens, ..Params::default() };
            NamespaceRequest { request_id, namespace, params }
        })
    };
    prop_oneof![
        (request_id(), track_name(), subscribe_params())
            .prop_map(|(request_id, track, params)| Message::Subscribe(Subscribe { request_id, track, params })),
        (request_id(), track_name(), tokens()).prop_map(|(request_id, track, tokens)| {
            let params = Params { tokens, ..Params::default() };
            Message::TrackStatus(Subscribe { request_id, track, params })
        }),
        (request_id(), tokens()).prop_map(|(request_id, tokens)| {
            let params = Params { tokens, ..Params::default() };
            Message::RequestUpdate(RequestUpdate { request_id, params })
        }),
        (request_id(), fetch_kind(), prop::option::of(millis())).prop_map(|(request_id, kind, fill_timeout)| {
            let params = Params { fill_timeout, ..Params::default() };
            Message::Fetch(Fetch { request_id, kind, params })
        }),
        (request_id(), track_name(), id(), answer_params(), blob()).prop_map(
            |(request_id, track, alias, params, properties)| {
                let (alias, properties) = (TrackAlias(alias), TrackProperties(properties));
                Message::Publish(Publish { request_id, track, alias, params, properties })
            }
        ),
        namespace_request().prop_map(Message::PublishNamespace),
        namespace_request().prop_map(Message::SubscribeNamespace),
        namespace_request().prop_map(Message::SubscribeTracks),
    ]
}

fn answer_message() -> impl Strategy<Value = Message> {
    let trunk = (prop::option::of(prop::collection::vec("[a-z]{1,9}", 0..4)), prop::option::of(micros()));
    prop_oneof![
        (id(), answer_params(), trunk, blob()).prop_map(|(alias, mut params, trunk, properties)| {
            let (root_path, delivered_delay) = trunk;
            if root_path.is_some() || delivered_delay.is_some() {
                params.extra = Some(Box::new(ExtraParams { root_path, delivered_delay, ..ExtraParams::default() }));
            }
            let (alias, properties) = (TrackAlias(alias), TrackProperties(properties));
            Message::SubscribeOk(SubscribeOk { alias, params, properties })
        }),
        (any::<bool>(), location(), blob()).prop_map(|(end_of_track, end, properties)| {
            let properties = TrackProperties(properties);
            Message::FetchOk(FetchOk { end_of_track, end, params: Params::default(), properties })
        }),
        (answer_params(), blob()).prop_map(|(params, properties)| {
            Message::RequestOk(RequestOk { params, properties: TrackProperties(properties) })
        }),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_back(
        message in prop_oneof![session_message(), request_message(), answer_message()],
    ) {
        let mut out = BytesMut::new();
        message.encode(Draft::Trunk1, &mut out).expect("valid");
        let mut framer = crate::message::Framer::default();
        framer.push(out.freeze());
        let frame = framer.poll().expect("whole");
        prop_assert_eq!(Message::decode(Draft::Trunk1, frame.kind, &frame.payload), Ok(message));
    }

    #[test]
    fn random_payloads_never_panic(kind in 0..0x60_u64, payload: Vec<u8>) {
        for kind in [kind, crate::message::kind::SETUP] {
            for draft in [Draft::V18, Draft::Trunk1] {
                let _ = Message::decode(draft, kind, &payload);
            }
        }
    }

    #[test]
    fn a_changed_byte_never_panics(
        message in prop_oneof![session_message(), request_message(), answer_message()],
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut out = BytesMut::new();
        message.encode(Draft::Trunk1, &mut out).expect("valid");
        let at = at.index(out.len());
        out[at] = byte;
        let mut framer = crate::message::Framer::default();
        framer.push(out.freeze());
        while let Some(frame) = framer.poll() {
            let _ = Message::decode(Draft::Trunk1, frame.kind, &frame.payload);
        }
    }
}
