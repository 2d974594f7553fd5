//! Message parameters (draft-18 9.2): one table says which parameter may stand in which message.

use crate::error::DecodeError;
use crate::message::Params;
use crate::types::Draft;

/// Where parameters stand; REQUEST_OK and REQUEST_UPDATE split by the request that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SUBSCRIBE.
    Subscribe,
    /// SUBSCRIBE_OK.
    SubscribeOk,
    /// PUBLISH.
    Publish,
    /// REQUEST_OK to a PUBLISH.
    PublishOk,
    /// FETCH.
    Fetch,
    /// FETCH_OK.
    FetchOk,
    /// TRACK_STATUS.
    TrackStatus,
    /// REQUEST_OK to a TRACK_STATUS.
    TrackStatusOk,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace,
    /// SUBSCRIBE_TRACKS.
    SubscribeTracks,
    /// REQUEST_OK to any of the three namespace requests.
    NamespaceOk,
    /// REQUEST_UPDATE of a subscription (SUBSCRIBE or PUBLISH).
    UpdateSubscription,
    /// REQUEST_UPDATE of a FETCH.
    UpdateFetch,
    /// REQUEST_UPDATE of a PUBLISH_NAMESPACE.
    UpdatePublishNamespace,
    /// REQUEST_UPDATE of a SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS.
    UpdatePrefix,
    /// REQUEST_OK to a REQUEST_UPDATE.
    UpdateOk,
}

impl Params {
    /// Refuses parameters that must not stand in `scope`. [`crate::Message::decode`] has done this already except
    /// for REQUEST_OK and REQUEST_UPDATE, where only the session knows the request.
    ///
    /// # Errors
    /// [`DecodeError::Parameter`] for the first that must not stand there.
    pub fn check(&self, draft: Draft, scope: Scope) -> Result<(), DecodeError> {
        let _ = (draft, scope);
        todo!()
    }
}
