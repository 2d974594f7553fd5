//! Message parameters (draft-18 9.2): one table says which parameter may stand in which message.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod filter;
mod trunk;
mod value;

use crate::error::{DecodeError, EncodeError, ParamFault};
use crate::message::Params;
use crate::reader::Reader;
use crate::types::Draft;
use crate::varint;
use bytes::BufMut;
use value::Param;
pub(crate) use value::{flag, order, to_millis};

/// Where parameters stand; REQUEST_OK and REQUEST_UPDATE split by the request that they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
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

/// A set of [`Scope`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scopes(u32);

impl Scopes {
    /// REQUEST_OK whatever it answers.
    pub(crate) const REQUEST_OK: Self =
        Self::of(&[Scope::PublishOk, Scope::TrackStatusOk, Scope::NamespaceOk, Scope::UpdateOk]);
    /// REQUEST_UPDATE whatever it changes.
    pub(crate) const REQUEST_UPDATE: Self =
        Self::of(&[Scope::UpdateSubscription, Scope::UpdateFetch, Scope::UpdatePublishNamespace, Scope::UpdatePrefix]);

    pub(crate) const fn of(mut scopes: &[Scope]) -> Self {
        let mut bits = 0;
        while let [scope, rest @ ..] = scopes {
            bits |= 1_u32.wrapping_shl(*scope as u32);
            scopes = rest;
        }
        Self(bits)
    }

    const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// One parameter as the draft defines it.
struct Row {
    param: Param,
    kind: u64,
    /// Spoken on trunks only.
    trunk: bool,
    scopes: Scopes,
}

const fn row(param: Param, kind: u64, scopes: &[Scope]) -> Row {
    Row { param, kind, trunk: false, scopes: Scopes::of(scopes) }
}

const fn trunk_row(param: Param, kind: u64, scopes: &[Scope]) -> Row {
    Row { param, kind, trunk: true, scopes: Scopes::of(scopes) }
}

/// Ascending by type, as parameters stand on the wire. The last column is each definition's "It MAY appear in".
const TABLE: [Row; 16] = {
    use Scope::{
        Fetch, Publish, PublishNamespace, PublishOk, Subscribe, SubscribeNamespace, SubscribeOk, SubscribeTracks,
        TrackStatus, TrackStatusOk, UpdateFetch, UpdateOk, UpdatePrefix, UpdatePublishNamespace, UpdateSubscription,
    };
    const TIMEOUTS: &[Scope] = &[PublishOk, Subscribe, UpdateSubscription];
    [
        row(Param::ObjectDeliveryTimeout, 0x02, TIMEOUTS),
        row(
            Param::AuthorizationToken,
            0x03,
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
        row(Param::RendezvousTimeout, 0x04, &[Subscribe]),
        row(Param::SubgroupDeliveryTimeout, 0x06, TIMEOUTS),
        // TRACK_STATUS_OK by 9.14: "with the same parameters .. it would have set in a SUBSCRIBE_OK".
        row(Param::Expires, 0x08, &[SubscribeOk, Publish, PublishOk, UpdateOk, TrackStatusOk]),
        row(Param::LargestObject, 0x09, &[SubscribeOk, Publish, UpdateOk, TrackStatusOk]),
        row(Param::FillTimeout, 0x0A, &[Fetch]),
        row(Param::Forward, 0x10, &[Subscribe, UpdateSubscription, Publish, PublishOk, SubscribeTracks]),
        row(Param::SubscriberPriority, 0x20, &[Subscribe, Fetch, UpdateSubscription, UpdateFetch, PublishOk]),
        row(Param::SubscriptionFilter, 0x21, &[Subscribe, PublishOk, UpdateSubscription]),
        row(Param::GroupOrder, 0x22, &[Subscribe, PublishOk, Fetch]),
        row(Param::NewGroupRequest, 0x32, &[PublishOk, Subscribe, UpdateSubscription]),
        row(Param::TrackNamespacePrefix, 0x34, &[UpdatePrefix]),
        trunk_row(Param::Route, trunk::ROUTE, &[Subscribe, Fetch]),
        trunk_row(Param::RootPath, trunk::ROOT_PATH, &[SubscribeOk]),
        trunk_row(Param::DeliveredDelay, trunk::DELIVERED_DELAY, &[SubscribeOk]),
    ]
};

impl Row {
    const fn known_in(&self, draft: Draft) -> bool {
        match draft {
            Draft::V18 => !self.trunk,
            Draft::Trunk1 => true,
        }
    }

    fn find(kind: u64, draft: Draft) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.kind == kind && row.known_in(draft))
    }
}

/// The message that parameters are in, for errors and the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) draft: Draft,
    pub(crate) message: &'static str,
    pub(crate) scopes: Scopes,
}

impl Params {
    /// Refuses parameters that must not stand in `scope`. [`crate::Message::decode`] has done this already except
    /// for REQUEST_OK and REQUEST_UPDATE, where only the session knows the request.
    ///
    /// # Errors
    /// [`DecodeError::Parameter`] for the first that must not stand there.
    pub fn check(&self, draft: Draft, scope: Scope) -> Result<(), DecodeError> {
        let scopes = Scopes::of(&[scope]);
        match self.first_outside(draft, scopes) {
            None => Ok(()),
            Some(kind) => {
                Err(DecodeError::Parameter { message: "this response or update", kind, fault: ParamFault::Misplaced })
            }
        }
    }

    /// The first parameter present here that may not stand in any of `scopes`.
    fn first_outside(&self, draft: Draft, scopes: Scopes) -> Option<u64> {
        TABLE
            .iter()
            .filter(|row| self.count_of(row.param) > 0)
            .find(|row| !row.known_in(draft) || !row.scopes.intersects(scopes))
            .map(|row| row.kind)
    }

    /// Appends "Number of Parameters" and the parameters.
    pub(crate) fn encode(&self, place: Place, out: &mut impl BufMut) -> Result<(), EncodeError> {
        if let Some(kind) = self.first_outside(place.draft, place.scopes) {
            return Err(EncodeError::Parameter { message: place.message, kind });
        }
        let count: usize = TABLE.iter().map(|row| self.count_of(row.param)).sum();
        varint::encode(count as u64, out);
        let mut previous = 0_u64;
        for row in &TABLE {
            for nth in 0..self.count_of(row.param) {
                varint::encode(row.kind.saturating_sub(previous), out);
                previous = row.kind;
                self.encode_value(row.param, nth, out)?;
            }
        }
        Ok(())
    }

    /// Reads "Number of Parameters" and that many parameters.
    pub(crate) fn decode(reader: &mut Reader<'_>, place: Place) -> Result<Self, DecodeError> {
        let mut params = Self::default();
        let mut kind = 0_u64;
        for _ in 0..reader.varint("Number of Parameters")? {
            let delta = reader.varint("Type Delta")?;
            kind = kind.checked_add(delta).ok_or(DecodeError::OutOfRange { field: "Type Delta" })?;
            let fault = |fault| DecodeError::Parameter { message: place.message, kind, fault };
            let row = Row::find(kind, place.draft).ok_or_else(|| fault(ParamFault::Unknown))?;
            if !row.scopes.intersects(place.scopes) {
                return Err(fault(ParamFault::Misplaced));
            }
            if params.count_of(row.param) > 0 && row.param != Param::AuthorizationToken {
                return Err(fault(ParamFault::Duplicate));
            }
            params.decode_value(row.param, reader)?;
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests;
