//! Parameters of trunks: where a request goes, and where its answer comes from. Only [`crate::Draft::Trunk1`] has
//! them; both ends are ours, so their types lie far above the registered ones.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::error::{DecodeError, EncodeError};
use crate::message::{Class, Route};
use crate::reader::Reader;
use crate::varint;
use bytes::BufMut;
use std::time::Duration;

pub(super) const ROUTE: u64 = 0x5C01;
pub(super) const ROOT_PATH: u64 = 0x5C03;
pub(super) const DELIVERED_DELAY: u64 = 0x5C04;

/// Most PoPs in one list.
const MAX_POPS: usize = 32;
/// Most bytes of a PoP id: a DNS label.
const MAX_POP_ID_BYTES: usize = 63;

pub(super) fn encode_route(route: &Route, out: &mut impl BufMut) -> Result<(), EncodeError> {
    out.put_u8(class_code(route.class));
    // Plus one, so that 0 can mean unbounded.
    let bound = route.delay_bound.map_or(0, |bound| micros(bound).saturating_add(1));
    varint::encode(bound, out);
    encode_pops("hops", &route.hops, out)?;
    encode_pops("visited", &route.visited, out)
}

pub(super) fn decode_route(bytes: &[u8]) -> Result<Route, DecodeError> {
    let mut reader = Reader::new(bytes);
    let class = class(reader.u8("class")?)?;
    let delay_bound = reader.varint("delay bound")?.checked_sub(1).map(Duration::from_micros);
    let hops = decode_pops("hops", &mut reader)?;
    let visited = decode_pops("visited", &mut reader)?;
    reader.finish("route")?;
    Ok(Route { hops, visited, class, delay_bound })
}

pub(super) fn encode_pops(field: &'static str, pops: &[String], out: &mut impl BufMut) -> Result<(), EncodeError> {
    within(field, pops.len(), MAX_POPS)?;
    varint::encode(pops.len() as u64, out);
    for pop in pops {
        within(field, pop.len(), MAX_POP_ID_BYTES)?;
        varint::encode(pop.len() as u64, out);
        out.put_slice(pop.as_bytes());
    }
    Ok(())
}

pub(super) fn decode_pops(field: &'static str, reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let count = reader.varint(field)?;
    if count > MAX_POPS as u64 {
        return Err(DecodeError::OverLimit { field, value: count, limit: MAX_POPS as u64 });
    }
    (0..count)
        .map(|_| {
            let id = reader.prefixed(MAX_POP_ID_BYTES, field)?;
            std::str::from_utf8(id).map(str::to_owned).map_err(|_| DecodeError::Formatting { field })
        })
        .collect()
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

const fn class_code(class: Class) -> u8 {
    match class {
        Class::Rtc => 0,
        Class::Live => 1,
        Class::Default => 2,
    }
}

fn class(code: u8) -> Result<Class, DecodeError> {
    match code {
        0 => Ok(Class::Rtc),
        1 => Ok(Class::Live),
        2 => Ok(Class::Default),
        code => Err(DecodeError::Undefined { field: "class", value: code.into() }),
    }
}

fn within(field: &'static str, value: usize, limit: usize) -> Result<(), EncodeError> {
    if value > limit {
        return Err(EncodeError::OverLimit { field, value: value as u64, limit: limit as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn bytes_of_a_route() {
        let route = Route {
            hops: names(&["ams"]),
            visited: names(&["fra1", "x"]),
            class: Class::Live,
            delay_bound: Some(Duration::from_micros(299)),
        };
        let bytes = b"\x01\x81\x2c\x01\x03ams\x02\x04fra1\x01x";
        let mut out = Vec::new();
        encode_route(&route, &mut out).expect("valid");
        assert_eq!(out, bytes);
        assert_eq!(decode_route(bytes), Ok(route));
    }

    #[test]
    fn an_unbounded_route_is_short() {
        let route = Route { class: Class::Default, ..Route::default() };
        let mut out = Vec::new();
        encode_route(&route, &mut out).expect("valid");
        assert_eq!(out, [2, 0, 0, 0]);
        assert_eq!(decode_route(&out), Ok(route));
    }

    #[test]
    fn limits_hold_both_ways() {
        let long = names(&["x".repeat(64).as_str()]);
        assert!(encode_pops("hops", &long, &mut Vec::new()).is_err());
        assert!(encode_pops("hops", &vec![String::new(); 33], &mut Vec::new()).is_err());
        let refused = |bytes: &[u8]| decode_pops("hops", &mut Reader::new(bytes)).expect_err("over a limit");
        assert_eq!(refused(&[33]), DecodeError::OverLimit { field: "hops", value: 33, limit: 32 });
        assert_eq!(refused(&[1, 64]), DecodeError::OverLimit { field: "hops", value: 64, limit: 63 });
        assert_eq!(refused(&[1, 1, 0xFF]), DecodeError::Formatting { field: "hops" });
    }

    #[test]
    fn an_undefined_class_is_refused() {
        assert_eq!(class(3), Err(DecodeError::Undefined { field: "class", value: 3 }));
    }
}
