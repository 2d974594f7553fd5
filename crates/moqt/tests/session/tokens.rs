//! draft-18 9.2.2 through a session; the cache has its own tests.

use crate::harness::{Lone, config, subscribe, subscribe_body, subscribe_ok};
use bytes::Bytes;
use sluice_moqt::RequestId;
use sluice_moqt::error::{RequestCode, SessionCode};
use sluice_moqt::message::{Message, Params, RequestUpdate, Setup, Token};
use sluice_moqt::session::{Event, ResolvedToken};
use sluice_moqt::transport::{Dir, Side};

fn register(alias: u64) -> Token {
    Token::Register { alias, kind: 5, value: Bytes::from_static(b"secret") }
}

fn with_tokens(id: u64, name: &'static str, tokens: Vec<Token>) -> Message {
    let mut request = subscribe_body(id, name);
    request.params.tokens = tokens;
    Message::Subscribe(request)
}

#[test]
fn tokens_reach_the_owner_resolved() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&with_tokens(0, "x", vec![register(1)]));
    lone.request(&with_tokens(2, "y", vec![Token::UseAlias { alias: 1 }]));
    let expected = vec![ResolvedToken { kind: 5, value: Bytes::from_static(b"secret") }];
    for event in lone.events() {
        let Event::Subscribe { tokens, .. } = event else { panic!("{event:?}") };
        assert_eq!(tokens, expected);
    }
}

#[test]
fn an_unknown_alias_rejects_the_message_only() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&with_tokens(0, "x", vec![Token::UseAlias { alias: 1 }]));
    let replies = lone.replies(stream);
    let code = RequestCode::Unknown(SessionCode::UnknownAuthTokenAlias.code());
    assert!(matches!(&replies[..], [Message::RequestError(error)] if error.code == code), "{replies:?}");
    lone.request(&subscribe(2, "x"));
    assert_eq!(lone.events().len(), 1);
}

#[test]
fn an_update_with_an_unknown_alias_is_rejected_and_reported() {
    let mut lone = Lone::ready(Side::Server);
    let stream = lone.request(&subscribe(0, "x"));
    lone.session.accept_subscribe(RequestId(0), subscribe_ok(1));
    lone.events();
    let params = Params { tokens: vec![Token::UseAlias { alias: 9 }], ..Params::default() };
    lone.send(stream, &Message::RequestUpdate(RequestUpdate { request_id: RequestId(2), params }));
    assert_eq!(lone.events(), vec![Event::UpdateRefused { request: RequestId(0) }]);
    assert!(matches!(lone.written(stream)[..], [_, Message::RequestError(_)]));
}

#[test]
fn registrations_above_the_advertised_size_close_the_session() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&with_tokens(0, "x", vec![register(1)]));
    lone.request(&with_tokens(2, "y", vec![register(2)]));
    assert_eq!(lone.closed(), None);
    lone.request(&with_tokens(4, "z", vec![register(3)]));
    assert_eq!(lone.closed(), Some(SessionCode::AuthTokenCacheOverflow));
}

#[test]
fn an_alias_must_not_be_registered_twice() {
    let mut lone = Lone::ready(Side::Server);
    lone.request(&with_tokens(0, "x", vec![register(1)]));
    lone.request(&with_tokens(2, "y", vec![register(1)]));
    assert_eq!(lone.closed(), Some(SessionCode::DuplicateAuthTokenAlias));
}

#[test]
fn aliases_of_setup_serve_requests() {
    let mut lone = Lone::fresh(config(Side::Server));
    let control = lone.open(Dir::Uni);
    lone.send(control, &Message::Setup(Setup { tokens: vec![register(1)], ..Setup::default() }));
    lone.request(&with_tokens(0, "x", vec![Token::UseAlias { alias: 1 }]));
    assert!(matches!(&lone.events()[..], [Event::Ready(_), Event::Subscribe { tokens, .. }] if tokens.len() == 1));
}
