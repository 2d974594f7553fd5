//! Messages to bytes.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    Fetch, FetchKind, FetchOk, Goaway, Message, NamespaceRequest, Publish, PublishDone, RequestError, RequestOk,
    RequestUpdate, Subscribe, SubscribeOk, kind, setup,
};
use super::{MAX_REASON_BYTES, MAX_URI_BYTES, STREAMS_UNKNOWN};
use crate::error::{EncodeError, RequestCode};
use crate::name::TrackName;
use crate::params::{Place, Scope, Scopes, to_millis};
use crate::types::{Draft, Location};
use crate::varint;
use bytes::{BufMut, BytesMut};

impl Message {
    /// Appends the whole message: type, length, payload. `out` stays as it was on an error.
    ///
    /// # Errors
    /// See [`EncodeError`]; all are local faults.
    pub fn encode(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let start = out.len();
        varint::encode(self.kind(), out);
        let length_at = out.len();
        out.put_u16(0);
        let payload_at = out.len();
        let written = self.encode_payload(draft, out).and_then(|()| {
            let len = out.len().saturating_sub(payload_at);
            u16::try_from(len).map_err(|_| EncodeError::MessageTooLong { message: self.name(), len })
        });
        match written {
            Ok(len) => {
                if let Some(length) = out.get_mut(length_at..payload_at) {
                    length.copy_from_slice(&len.to_be_bytes());
                }
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }

    /// Message type on the wire.
    #[must_use]
    pub const fn kind(&self) -> u64 {
        match self {
            Self::Setup(_) => kind::SETUP,
            Self::Goaway(_) => kind::GOAWAY,
            Self::Subscribe(_) => kind::SUBSCRIBE,
            Self::SubscribeOk(_) => kind::SUBSCRIBE_OK,
            Self::RequestUpdate(_) => kind::REQUEST_UPDATE,
            Self::Publish(_) => kind::PUBLISH,
            Self::PublishDone(_) => kind::PUBLISH_DONE,
            Self::Fetch(_) => kind::FETCH,
            Self::FetchOk(_) => kind::FETCH_OK,
            Self::TrackStatus(_) => kind::TRACK_STATUS,
            Self::PublishNamespace(_) => kind::PUBLISH_NAMESPACE,
            Self::SubscribeNamespace(_) => kind::SUBSCRIBE_NAMESPACE,
            Self::SubscribeTracks(_) => kind::SUBSCRIBE_TRACKS,
            Self::Namespace(_) => kind::NAMESPACE,
            Self::NamespaceDone(_) => kind::NAMESPACE_DONE,
            Self::PublishBlocked(_) => kind::PUBLISH_BLOCKED,
            Self::RequestOk(_) => kind::REQUEST_OK,
            Self::RequestError(_) => kind::REQUEST_ERROR,
        }
    }

    /// Name as in the draft.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        kind::name(self.kind())
    }

    fn encode_payload(&self, draft: Draft, out: &mut BytesMut) -> Result<(), EncodeError> {
        let place = |scope| Place { draft, message: self.name(), scopes: Scopes::of(&[scope]) };
        match self {
            Self::Setup(setup) => setup::encode(setup, out),
            Self::Goaway(goaway) => put_goaway(goaway, out),
            Self::Subscribe(subscribe) => put_subscribe(subscribe, place(Scope::Subscribe), out),
            Self::TrackStatus(subscribe) => put_subscribe(subscribe, place(Scope::TrackStatus), out),
            Self::SubscribeOk(ok) => put_subscribe_ok(ok, place(Scope::SubscribeOk), out),
            Self::RequestUpdate(RequestUpdate { request_id, params }) => {
                varint::encode(request_id.0, out);
                params.encode(Place { scopes: Scopes::REQUEST_UPDATE, ..place(Scope::UpdateOk) }, out)
            }
            Self::Publish(publish) => put_publish(publish, place(Scope::Publish), out),
            Self::PublishDone(done) => {
                put_publish_done(done, out);
                Ok(())
            }
            Self::Fetch(fetch) => put_fetch(fetch, place(Scope::Fetch), out),
            Self::FetchOk(ok) => put_fetch_ok(ok, place(Scope::FetchOk), out),
            Self::PublishNamespace(request) => put_namespace(request, place(Scope::PublishNamespace), out),
            Self::SubscribeNamespace(request) => put_namespace(request, place(Scope::SubscribeNamespace), out),
            Self::SubscribeTracks(request) => put_namespace(request, place(Scope::SubscribeTracks), out),
            Self::Namespace(suffix) | Self::NamespaceDone(suffix) => {
                suffix.encode(out);
                Ok(())
            }
            Self::PublishBlocked(name) => {
                name.encode(out);
                Ok(())
            }
            Self::RequestOk(RequestOk { params, properties }) => {
                params.encode(Place { scopes: Scopes::REQUEST_OK, ..place(Scope::UpdateOk) }, out)?;
                out.put_slice(&properties.0);
                Ok(())
            }
            Self::RequestError(error) => put_request_error(error, out),
        }
    }
}

fn put_goaway(goaway: &Goaway, out: &mut BytesMut) -> Result<(), EncodeError> {
    put_uri("New Session URI", &goaway.uri, out)?;
    varint::encode(to_millis(goaway.timeout), out);
    if let Some(id) = goaway.request_id {
        varint::encode(id.0, out);
    }
    Ok(())
}

fn put_subscribe(subscribe: &Subscribe, place: Place, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::encode(subscribe.request_id.0, out);
    subscribe.track.encode(out);
    subscribe.params.encode(place, out)
}

fn put_subscribe_ok(ok: &SubscribeOk, place: Place, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::encode(ok.alias.0, out);
    ok.params.encode(place, out)?;
    out.put_slice(&ok.properties.0);
    Ok(())
}

fn put_publish(publish: &Publish, place: Place, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::encode(publish.request_id.0, out);
    publish.track.encode(out);
    varint::encode(publish.alias.0, out);
    publish.params.encode(place, out)?;
    out.put_slice(&publish.properties.0);
    Ok(())
}

fn put_publish_done(done: &PublishDone, out: &mut BytesMut) {
    varint::encode(done.code.code(), out);
    varint::encode(done.streams.unwrap_or(STREAMS_UNKNOWN), out);
    put_reason(&done.reason, out);
}

fn put_fetch(fetch: &Fetch, place: Place, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::encode(fetch.request_id.0, out);
    varint::encode(fetch.kind.code(), out);
    match &fetch.kind {
        FetchKind::Standalone { track, start, end } => {
            track.encode(out);
            put_location(*start, out);
            put_location(*end, out);
        }
        FetchKind::RelativeJoining { joining, start } | FetchKind::AbsoluteJoining { joining, start } => {
            varint::encode(joining.0, out);
            varint::encode(*start, out);
        }
    }
    fetch.params.encode(place, out)
}

fn put_fetch_ok(ok: &FetchOk, place: Place, out: &mut BytesMut) -> Result<(), EncodeError> {
    out.put_u8(u8::from(ok.end_of_track));
    put_location(ok.end, out);
    ok.params.encode(place, out)?;
    out.put_slice(&ok.properties.0);
    Ok(())
}

fn put_namespace(request: &NamespaceRequest, place: Place, out: &mut BytesMut) -> Result<(), EncodeError> {
    varint::encode(request.request_id.0, out);
    request.namespace.encode(out);
    request.params.encode(place, out)
}

fn put_request_error(error: &RequestError, out: &mut BytesMut) -> Result<(), EncodeError> {
    if (error.code == RequestCode::Redirect) != error.redirect.is_some() {
        return Err(EncodeError::Contradiction { field: "Redirect" });
    }
    varint::encode(error.code.code(), out);
    // "The minimum time (in milliseconds) before the request SHOULD be sent again, plus one."
    varint::encode(error.retry.map_or(0, |retry| to_millis(retry).saturating_add(1)), out);
    put_reason(&error.reason, out);
    if let Some(redirect) = &error.redirect {
        put_uri("Connect URI", &redirect.uri, out)?;
        let name = TrackName::new(redirect.namespace.clone(), redirect.name.clone())?;
        name.encode(out);
    }
    Ok(())
}

fn put_location(location: Location, out: &mut BytesMut) {
    varint::encode(location.group, out);
    varint::encode(location.object, out);
}

fn put_uri(field: &'static str, uri: &str, out: &mut BytesMut) -> Result<(), EncodeError> {
    if uri.len() > MAX_URI_BYTES {
        return Err(EncodeError::OverLimit { field, value: uri.len() as u64, limit: MAX_URI_BYTES as u64 });
    }
    varint::encode(uri.len() as u64, out);
    out.put_slice(uri.as_bytes());
    Ok(())
}

/// Cut to the limit: words for humans must not be what fails a message.
fn put_reason(reason: &str, out: &mut BytesMut) {
    let reason = reason.get(..reason.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or_default();
    varint::encode(reason.len() as u64, out);
    out.put_slice(reason.as_bytes());
}
