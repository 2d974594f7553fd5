mod bytes;
mod refusals;
mod round_trip;

use super::{
    Fetch, FetchKind, FetchOk, Goaway, Message, NamespaceRequest, Params, Publish, PublishDone, Redirect, RequestError,
    RequestOk, RequestUpdate, Setup, Subscribe, SubscribeOk, Token, TrackProperties,
};
use crate::error::DecodeError;
use crate::name::{Namespace, TrackName};
use crate::types::Draft;
use ::bytes::{Bytes, BytesMut};

fn encode(message: &Message) -> BytesMut {
    let mut out = BytesMut::new();
    message.encode(Draft::V18, &mut out).expect("valid");
    out
}

fn decode(kind: u64, payload: &[u8]) -> Result<Message, DecodeError> {
    Message::decode(Draft::V18, kind, payload)
}

fn track() -> TrackName {
    TrackName::new(namespace(), Bytes::from_static(b"v")).expect("short")
}

fn namespace() -> Namespace {
    Namespace::from_path("a/b").expect("short")
}
