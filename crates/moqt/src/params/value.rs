//! The value of each parameter: where it lives in [`Params`] and how it looks on the wire.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{filter, trunk};
use crate::error::{DecodeError, EncodeError};
use crate::message::{ExtraParams, Params, Token};
use crate::name::Namespace;
use crate::reader::Reader;
use crate::types::GroupOrder;
use crate::varint;
use bytes::BufMut;
use std::time::Duration;

/// Every parameter of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    ObjectDeliveryTimeout,
    AuthorizationToken,
    RendezvousTimeout,
    SubgroupDeliveryTimeout,
    Expires,
    LargestObject,
    FillTimeout,
    Forward,
    SubscriberPriority,
    SubscriptionFilter,
    GroupOrder,
    NewGroupRequest,
    TrackNamespacePrefix,
    Route,
    RootPath,
    DeliveredDelay,
}

impl Params {
    /// How often `param` is present: 0 or 1, any number of tokens.
    pub(super) fn count_of(&self, param: Param) -> usize {
        let extra = self.extra.as_deref();
        usize::from(match param {
            Param::AuthorizationToken => return self.tokens.len(),
            Param::ObjectDeliveryTimeout => self.timeouts.object.is_some(),
            Param::RendezvousTimeout => self.rendezvous_timeout.is_some(),
            Param::SubgroupDeliveryTimeout => self.timeouts.subgroup.is_some(),
            Param::Expires => self.expires.is_some(),
            Param::LargestObject => self.largest.is_some(),
            Param::FillTimeout => self.fill_timeout.is_some(),
            Param::Forward => self.forward.is_some(),
            Param::SubscriberPriority => self.subscriber_priority.is_some(),
            Param::SubscriptionFilter => self.filter.is_some(),
            Param::GroupOrder => self.group_order.is_some(),
            Param::NewGroupRequest => self.new_group_request.is_some(),
            Param::TrackNamespacePrefix => extra.is_some_and(|e| e.namespace_prefix.is_some()),
            Param::Route => extra.is_some_and(|e| e.route.is_some()),
            Param::RootPath => extra.is_some_and(|e| e.root_path.is_some()),
            Param::DeliveredDelay => extra.is_some_and(|e| e.delivered_delay.is_some()),
        })
    }

    /// Appends the value of `param`, the `nth` one of tokens; nothing where it is absent.
    pub(super) fn encode_value(&self, param: Param, nth: usize, out: &mut impl BufMut) -> Result<(), EncodeError> {
        let extra = self.extra.as_deref();
        match param {
            Param::ObjectDeliveryTimeout => put_millis(self.timeouts.object, out),
            Param::SubgroupDeliveryTimeout => put_millis(self.timeouts.subgroup, out),
            Param::RendezvousTimeout => put_millis(self.rendezvous_timeout, out),
            Param::Expires => put_millis(self.expires, out),
            Param::FillTimeout => put_millis(self.fill_timeout, out),
            Param::AuthorizationToken => {
                let mut value = Vec::new();
                if let Some(token) = self.tokens.get(nth) {
                    token.encode(&mut value);
                }
                put_prefixed(&value, out);
            }
            Param::LargestObject => {
                if let Some(largest) = self.largest {
                    varint::encode(largest.group, out);
                    varint::encode(largest.object, out);
                }
            }
            Param::Forward => put_u8(self.forward.map(u8::from), out),
            Param::SubscriberPriority => put_u8(self.subscriber_priority, out),
            Param::GroupOrder => put_u8(self.group_order.map(order_code), out),
            Param::NewGroupRequest => put_varint(self.new_group_request, out),
            Param::SubscriptionFilter => {
                let mut value = Vec::new();
                if let Some(filter) = &self.filter {
                    filter::encode(filter, &mut value)?;
                }
                put_prefixed(&value, out);
            }
            Param::TrackNamespacePrefix => {
                if let Some(prefix) = extra.and_then(|e| e.namespace_prefix.as_ref()) {
                    prefix.encode(out);
                }
            }
            Param::Route => {
                let mut value = Vec::new();
                if let Some(route) = extra.and_then(|e| e.route.as_ref()) {
                    trunk::encode_route(route, &mut value)?;
                }
                put_prefixed(&value, out);
            }
            Param::RootPath => {
                let mut value = Vec::new();
                if let Some(path) = extra.and_then(|e| e.root_path.as_ref()) {
                    trunk::encode_pops("root path", path, &mut value)?;
                }
                put_prefixed(&value, out);
            }
            Param::DeliveredDelay => put_varint(extra.and_then(|e| e.delivered_delay).map(trunk::micros), out),
        }
        Ok(())
    }

    /// Reads the value of `param` into its place.
    pub(super) fn decode_value(&mut self, param: Param, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match param {
            Param::ObjectDeliveryTimeout => {
                self.timeouts.object = Some(millis(reader, "OBJECT_DELIVERY_TIMEOUT")?);
            }
            Param::SubgroupDeliveryTimeout => {
                self.timeouts.subgroup = Some(millis(reader, "SUBGROUP_DELIVERY_TIMEOUT")?);
            }
            Param::RendezvousTimeout => self.rendezvous_timeout = Some(millis(reader, "RENDEZVOUS_TIMEOUT")?),
            Param::Expires => self.expires = Some(millis(reader, "EXPIRES")?),
            Param::FillTimeout => self.fill_timeout = Some(millis(reader, "FILL_TIMEOUT")?),
            Param::AuthorizationToken => {
                self.tokens.push(Token::decode(prefixed(reader, "AUTHORIZATION TOKEN")?)?);
            }
            Param::LargestObject => self.largest = Some(reader.location("LARGEST_OBJECT")?),
            Param::Forward => self.forward = Some(flag(reader.u8("FORWARD")?, "FORWARD")?),
            Param::SubscriberPriority => self.subscriber_priority = Some(reader.u8("SUBSCRIBER_PRIORITY")?),
            Param::GroupOrder => {
                self.group_order = Some(order(reader.u8("GROUP_ORDER")?.into(), "GROUP_ORDER")?);
            }
            Param::NewGroupRequest => self.new_group_request = Some(reader.varint("NEW_GROUP_REQUEST")?),
            Param::SubscriptionFilter => {
                self.filter = Some(filter::decode(prefixed(reader, "SUBSCRIPTION_FILTER")?)?);
            }
            Param::TrackNamespacePrefix => self.extra().namespace_prefix = Some(Namespace::decode(reader)?),
            Param::Route => self.extra().route = Some(trunk::decode_route(prefixed(reader, "route")?)?),
            Param::RootPath => {
                let mut value = Reader::new(prefixed(reader, "root path")?);
                self.extra().root_path = Some(trunk::decode_pops("root path", &mut value)?);
                value.finish("root path")?;
            }
            Param::DeliveredDelay => {
                let micros = reader.varint("delivered delay")?;
                self.extra().delivered_delay = Some(Duration::from_micros(micros));
            }
        }
        Ok(())
    }

    fn extra(&mut self) -> &mut ExtraParams {
        self.extra.get_or_insert_default()
    }
}

/// Milliseconds, rounded up: a short timeout must not become 0, which means none.
pub(crate) fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The wire form of a group order.
pub(crate) const fn order_code(order: GroupOrder) -> u8 {
    match order {
        GroupOrder::Ascending => 0x1,
        GroupOrder::Descending => 0x2,
    }
}

/// "If an endpoint receives a value outside this range, it MUST close the session with `PROTOCOL_VIOLATION`"
/// (draft-18 9.2.8, 11.5).
pub(crate) const fn order(value: u64, field: &'static str) -> Result<GroupOrder, DecodeError> {
    match value {
        0x1 => Ok(GroupOrder::Ascending),
        0x2 => Ok(GroupOrder::Descending),
        value => Err(DecodeError::Undefined { field, value }),
    }
}

/// 0 or 1.
pub(crate) fn flag(value: u8, field: &'static str) -> Result<bool, DecodeError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::Undefined { field, value: value.into() }),
    }
}

fn put_millis(duration: Option<Duration>, out: &mut impl BufMut) {
    put_varint(duration.map(to_millis), out);
}

fn put_varint(value: Option<u64>, out: &mut impl BufMut) {
    if let Some(value) = value {
        varint::encode(value, out);
    }
}

fn put_u8(value: Option<u8>, out: &mut impl BufMut) {
    if let Some(value) = value {
        out.put_u8(value);
    }
}

fn put_prefixed(value: &[u8], out: &mut impl BufMut) {
    varint::encode(value.len() as u64, out);
    out.put_slice(value);
}

fn millis(reader: &mut Reader<'_>, field: &'static str) -> Result<Duration, DecodeError> {
    reader.varint(field).map(Duration::from_millis)
}

/// A length-prefixed value; a message is no longer than 65,535 bytes.
fn prefixed<'a>(reader: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], DecodeError> {
    reader.prefixed(usize::from(u16::MAX), field)
}
