//! Bytes to messages.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    Fetch, FetchKind, FetchOk, Goaway, Message, NamespaceRequest, Params, Publish, PublishDone, Redirect, RequestError,
    RequestOk, RequestUpdate, Subscribe, SubscribeOk, TrackProperties, kind, setup,
};
use super::{MAX_REASON_BYTES, MAX_URI_BYTES, STREAMS_UNKNOWN};
use crate::error::{DecodeError, DoneCode, RequestCode};
use crate::name::{Namespace, TrackName};
use crate::params::{Place, Scope, Scopes, flag};
use crate::reader::Reader;
use crate::types::{Draft, RequestId, TrackAlias};
use bytes::Bytes;
use std::time::Duration;

impl Message {
    /// Reads the message of type `kind` whose payload is exactly `payload`. Nothing in the result refers to `payload`,
    /// so that a short name does not keep a long message alive.
    ///
    /// # Errors
    /// See [`DecodeError`]; close the session with its code.
    pub fn decode(draft: Draft, kind: u64, payload: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let message = Self::read(draft, kind, &mut reader)?;
        // "If the length does not match the length of the Message Payload, the receiver MUST close the session".
        reader.finish(kind::name(kind))?;
        Ok(message)
    }

    fn read(draft: Draft, kind: u64, r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let place = |scope| Place { draft, message: kind::name(kind), scopes: Scopes::of(&[scope]) };
        Ok(match kind {
            kind::SETUP => Self::Setup(setup::decode(r.take_rest())?),
            kind::GOAWAY => Self::Goaway(goaway(r)?),
            kind::SUBSCRIBE => Self::Subscribe(subscribe(r, place(Scope::Subscribe))?),
            kind::TRACK_STATUS => Self::TrackStatus(subscribe(r, place(Scope::TrackStatus))?),
            kind::SUBSCRIBE_OK => Self::SubscribeOk(SubscribeOk {
                alias: TrackAlias(r.varint("Track Alias")?),
                params: Params::decode(r, place(Scope::SubscribeOk))?,
                properties: properties(r),
            }),
            kind::REQUEST_UPDATE => Self::RequestUpdate(RequestUpdate {
                request_id: request_id(r)?,
                params: Params::decode(r, Place { scopes: Scopes::REQUEST_UPDATE, ..place(Scope::UpdateOk) })?,
            }),
            kind::PUBLISH => Self::Publish(Publish {
                request_id: request_id(r)?,
                track: TrackName::decode(r)?,
                alias: TrackAlias(r.varint("Track Alias")?),
                params: Params::decode(r, place(Scope::Publish))?,
                properties: properties(r),
            }),
            kind::PUBLISH_DONE => Self::PublishDone(publish_done(r)?),
            kind::FETCH => Self::Fetch(Fetch {
                request_id: request_id(r)?,
                kind: fetch_kind(r)?,
                params: Params::decode(r, place(Scope::Fetch))?,
            }),
            kind::FETCH_OK => Self::FetchOk(FetchOk {
                end_of_track: flag(r.u8("End Of Track")?, "End Of Track")?,
                end: r.location("End Location")?,
                params: Params::decode(r, place(Scope::FetchOk))?,
                properties: properties(r),
            }),
            kind::PUBLISH_NAMESPACE => Self::PublishNamespace(namespace(r, place(Scope::PublishNamespace))?),
            kind::SUBSCRIBE_NAMESPACE => Self::SubscribeNamespace(namespace(r, place(Scope::SubscribeNamespace))?),
            kind::SUBSCRIBE_TRACKS => Self::SubscribeTracks(namespace(r, place(Scope::SubscribeTracks))?),
            kind::NAMESPACE => Self::Namespace(Namespace::decode(r)?),
            kind::NAMESPACE_DONE => Self::NamespaceDone(Namespace::decode(r)?),
            kind::PUBLISH_BLOCKED => Self::PublishBlocked(TrackName::decode(r)?),
            kind::REQUEST_OK | kind::PUBLISH_OK => Self::RequestOk(RequestOk {
                params: Params::decode(r, Place { scopes: Scopes::REQUEST_OK, ..place(Scope::UpdateOk) })?,
                properties: properties(r),
            }),
            kind::REQUEST_ERROR => Self::RequestError(request_error(r)?),
            value => return Err(DecodeError::Undefined { field: "message type", value }),
        })
    }
}

fn goaway(r: &mut Reader<'_>) -> Result<Goaway, DecodeError> {
    Ok(Goaway {
        uri: uri(r, "New Session URI")?,
        timeout: Duration::from_millis(r.varint("Timeout")?),
        request_id: if r.remaining() == 0 { None } else { Some(request_id(r)?) },
    })
}

fn subscribe(r: &mut Reader<'_>, place: Place) -> Result<Subscribe, DecodeError> {
    Ok(Subscribe { request_id: request_id(r)?, track: TrackName::decode(r)?, params: Params::decode(r, place)? })
}

fn publish_done(r: &mut Reader<'_>) -> Result<PublishDone, DecodeError> {
    Ok(PublishDone {
        code: DoneCode::from_code(r.varint("Status Code")?),
        streams: Some(r.varint("Stream Count")?).filter(|count| *count != STREAMS_UNKNOWN),
        reason: reason(r)?,
    })
}

fn fetch_kind(r: &mut Reader<'_>) -> Result<FetchKind, DecodeError> {
    match r.varint("Fetch Type")? {
        FetchKind::STANDALONE => Ok(FetchKind::Standalone {
            track: TrackName::decode(r)?,
            start: r.location("Start Location")?,
            end: r.location("End Location")?,
        }),
        FetchKind::RELATIVE_JOINING => {
            Ok(FetchKind::RelativeJoining { joining: joining(r)?, start: r.varint("Joining Start")? })
        }
        FetchKind::ABSOLUTE_JOINING => {
            Ok(FetchKind::AbsoluteJoining { joining: joining(r)?, start: r.varint("Joining Start")? })
        }
        value => Err(DecodeError::Undefined { field: "Fetch Type", value }),
    }
}

fn joining(r: &mut Reader<'_>) -> Result<RequestId, DecodeError> {
    r.varint("Joining Request ID").map(RequestId)
}

fn namespace(r: &mut Reader<'_>, place: Place) -> Result<NamespaceRequest, DecodeError> {
    Ok(NamespaceRequest {
        request_id: request_id(r)?,
        namespace: Namespace::decode(r)?,
        params: Params::decode(r, place)?,
    })
}

fn request_error(r: &mut Reader<'_>) -> Result<RequestError, DecodeError> {
    let code = RequestCode::from_code(r.varint("Error Code")?);
    Ok(RequestError {
        code,
        retry: r.varint("Retry Interval")?.checked_sub(1).map(Duration::from_millis),
        reason: reason(r)?,
        redirect: if code == RequestCode::Redirect { Some(redirect(r)?) } else { None },
    })
}

fn redirect(r: &mut Reader<'_>) -> Result<Redirect, DecodeError> {
    let uri = uri(r, "Connect URI")?;
    let (namespace, name) = TrackName::decode(r)?.into_parts();
    Ok(Redirect { uri, namespace, name })
}

fn request_id(r: &mut Reader<'_>) -> Result<RequestId, DecodeError> {
    r.varint("Request ID").map(RequestId)
}

/// "Track Properties always appear as the final field"; read them with [`crate::properties::TrackInfo`].
fn properties(r: &mut Reader<'_>) -> TrackProperties {
    TrackProperties(Bytes::copy_from_slice(r.take_rest()))
}

fn uri(r: &mut Reader<'_>, field: &'static str) -> Result<String, DecodeError> {
    let bytes = r.prefixed(MAX_URI_BYTES, field)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError::NotText { field })
}

/// For humans only, so broken UTF-8 is repaired rather than punished.
fn reason(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    r.prefixed(MAX_REASON_BYTES, "Reason Phrase").map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
