use super::{arbitrary_bytes, arbitrary_id};
use crate::data::{Datagram, ObjectDatagram};
use crate::error::{DecodeError, EncodeError, SessionCode};
use crate::types::{Location, ObjectStatus, TrackAlias};
use bytes::Bytes;
use proptest::prelude::*;

fn datagram(payload: &'static [u8]) -> ObjectDatagram {
    ObjectDatagram {
        alias: TrackAlias(2),
        location: Location::new(5, 6),
        priority: Some(7),
        end_of_group: false,
        properties: Bytes::new(),
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(payload),
    }
}

fn decode(bytes: &[u8]) -> Result<Datagram, DecodeError> {
    Datagram::decode(Bytes::copy_from_slice(bytes))
}

fn must_close(bytes: &[u8]) -> DecodeError {
    let error = decode(bytes).expect_err("must close the session");
    assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
    error
}

#[test]
fn bytes_of_each_type_bit() {
    let cases = [
        (datagram(b"x"), &[0x00, 2, 5, 6, 7, b'x'][..]),
        (ObjectDatagram { properties: Bytes::from_static(&[4, 9]), ..datagram(b"x") }, &[1, 2, 5, 6, 7, 2, 4, 9, b'x']),
        (ObjectDatagram { end_of_group: true, ..datagram(b"x") }, &[0x02, 2, 5, 6, 7, b'x']),
        (ObjectDatagram { location: Location::new(5, 0), ..datagram(b"x") }, &[0x04, 2, 5, 7, b'x']),
        (ObjectDatagram { priority: None, ..datagram(b"x") }, &[0x08, 2, 5, 6, b'x']),
        (ObjectDatagram { status: ObjectStatus::EndOfTrack, ..datagram(b"") }, &[0x20, 2, 5, 6, 7, 4]),
        (datagram(b""), &[0x20, 2, 5, 6, 7, 0]),
        (ObjectDatagram { end_of_group: true, ..datagram(b"") }, &[0x02, 2, 5, 6, 7]),
    ];
    for (datagram, bytes) in cases {
        let mut out = Vec::new();
        datagram.encode(&mut out).expect("valid");
        assert_eq!(out, bytes);
        assert_eq!(datagram.encoded_len(), bytes.len());
        assert_eq!(decode(bytes), Ok(Datagram::Object(datagram)));
    }
}

#[test]
fn an_empty_payload_without_a_status_is_a_normal_object() {
    assert_eq!(decode(&[0x00, 2, 5, 6, 7]), Ok(Datagram::Object(datagram(b""))));
}

/// "If an endpoint receives a datagram with any of these Type values, it MUST close the session".
#[test]
fn only_the_listed_types_are_datagrams() {
    for kind in 0..=0x1FF_u64 {
        let valid = matches!(kind, 0x00..=0x0F | 0x20..=0x21 | 0x24..=0x25 | 0x28..=0x29 | 0x2C..=0x2D);
        let mut bytes = Vec::new();
        crate::varint::encode(kind, &mut bytes);
        bytes.extend([1, 1, 1, 2, 4, 9, 0]);
        let refused = Err(DecodeError::Undefined { field: "datagram type", value: kind });
        assert_eq!(decode(&bytes) == refused, !valid, "{kind:#x}");
    }
}

#[test]
fn a_properties_length_of_0_must_close_the_session() {
    assert!(matches!(must_close(&[0x09, 2, 5, 6, 0, b'x']), DecodeError::Undefined { value: 0, .. }));
}

#[test]
fn properties_with_a_status_that_is_not_normal_must_close_the_session() {
    assert!(matches!(must_close(&[0x29, 2, 5, 6, 2, 4, 9, 3]), DecodeError::Forbidden { .. }));
    assert!(decode(&[0x29, 2, 5, 6, 2, 4, 9, 0]).is_ok());
}

#[test]
fn a_payload_beside_a_status_closes_the_session() {
    assert!(matches!(must_close(&[0x28, 2, 5, 6, 0, b'x']), DecodeError::Trailing { count: 1, .. }));
}

#[test]
fn an_undefined_status_closes_the_session() {
    assert!(matches!(must_close(&[0x28, 2, 5, 6, 1]), DecodeError::Undefined { value: 1, .. }));
}

#[test]
fn a_datagram_that_is_cut_off_closes_the_session() {
    let whole = [0x01, 2, 5, 6, 7, 2, 4, 9];
    assert!(decode(&whole).is_ok());
    for cut in 0..whole.len() {
        assert!(matches!(must_close(&whole[..cut]), DecodeError::Truncated { .. }), "{cut}");
    }
}

#[test]
fn padding_is_told_apart() {
    let mut bytes = Vec::new();
    crate::varint::encode(crate::data::PADDING_DATAGRAM, &mut bytes);
    bytes.extend([0; 100]);
    assert_eq!(decode(&bytes), Ok(Datagram::Padding));
}

#[test]
fn the_encoder_refuses_a_status_beside_payload_properties_or_end_of_group() {
    let status = ObjectStatus::EndOfGroup;
    for datagram in [
        ObjectDatagram { status, ..datagram(b"x") },
        ObjectDatagram { status, end_of_group: true, ..datagram(b"") },
        ObjectDatagram { status, properties: Bytes::from_static(&[4, 9]), ..datagram(b"") },
    ] {
        let mut out = Vec::new();
        assert_eq!(datagram.encode(&mut out), Err(EncodeError::Contradiction { field: "status" }));
        assert!(out.is_empty());
    }
}

#[test]
fn payload_and_properties_are_slices_of_the_datagram() {
    let data = Bytes::from_static(&[0x01, 2, 5, 6, 7, 2, 4, 9, b'x']);
    let Ok(Datagram::Object(object)) = Datagram::decode(data.clone()) else {
        panic!("valid");
    };
    assert_eq!(object.payload.as_ptr(), data[8..].as_ptr());
    assert_eq!(object.properties.as_ptr(), data[6..].as_ptr());
}

fn arbitrary_datagram() -> impl Strategy<Value = ObjectDatagram> {
    let location = (arbitrary_id(), prop_oneof![Just(0), arbitrary_id()]);
    (arbitrary_id(), location, any::<Option<u8>>(), any::<bool>(), (arbitrary_bytes(30), arbitrary_bytes(60))).prop_map(
        |(alias, (group, id), priority, end_of_group, (properties, payload))| ObjectDatagram {
            alias: TrackAlias(alias),
            location: Location::new(group, id),
            priority,
            end_of_group,
            properties,
            status: ObjectStatus::Normal,
            payload,
        },
    )
}

proptest! {
    #[test]
    fn datagrams_round_trip(datagram in arbitrary_datagram()) {
        let mut out = Vec::new();
        datagram.encode(&mut out).expect("valid");
        prop_assert_eq!(out.len(), datagram.encoded_len());
        prop_assert_eq!(decode(&out), Ok(Datagram::Object(datagram)));
    }

    #[test]
    fn decoding_never_panics(bytes: Vec<u8>) {
        let _ = decode(&bytes);
    }
}
