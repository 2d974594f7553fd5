use super::{arbitrary_bytes, arbitrary_id, events, feed, must_close};
use crate::data::{DataEvent, ObjectHeader, SubgroupEncoder, SubgroupFlags, SubgroupHeader, SubgroupId};
use crate::error::{DecodeError, EncodeError};
use crate::types::{GroupOrder, ObjectStatus, TrackAlias};
use bytes::Bytes;
use proptest::prelude::*;

const HEADER: SubgroupHeader = SubgroupHeader {
    alias: TrackAlias(2),
    group: 0,
    subgroup: SubgroupId::Zero,
    priority: None,
    flags: SubgroupFlags::NONE,
};

fn object(id: u64, payload_len: u64) -> ObjectHeader {
    ObjectHeader { id, properties: Bytes::new(), payload_len, status: ObjectStatus::Normal }
}

fn payload(bytes: &'static [u8]) -> DataEvent {
    DataEvent::Payload(Bytes::from_static(bytes))
}

#[test]
fn the_example_of_the_draft() {
    let stream = b"\x14\x02\x00\x00\x00\x00\x04abcd\x00\x04efgh";
    let header = SubgroupHeader { subgroup: SubgroupId::Explicit(0), priority: Some(0), ..HEADER };
    let expected = vec![
        DataEvent::Subgroup(header),
        DataEvent::Object(object(0, 4)),
        payload(b"abcd"),
        DataEvent::ObjectEnd,
        DataEvent::Object(object(1, 4)),
        payload(b"efgh"),
        DataEvent::ObjectEnd,
    ];
    assert_eq!(events(stream), Ok(expected));

    let mut out = Vec::new();
    header.encode(&mut out);
    let mut encoder = SubgroupEncoder::new(&header);
    for (id, bytes) in [(0, b"abcd"), (1, b"efgh")] {
        encoder.encode(&object(id, 4), &mut out).expect("in order");
        out.extend(bytes);
    }
    assert_eq!(out, stream);
}

#[test]
fn bytes_of_objects_with_properties() {
    let flags = SubgroupFlags::PROPERTIES | SubgroupFlags::END_OF_GROUP | SubgroupFlags::FIRST_OBJECT;
    let header = SubgroupHeader { subgroup: SubgroupId::FirstObject, flags, ..HEADER };
    let properties = Bytes::from_static(&[4, 9]);
    let objects = [
        ObjectHeader { properties, ..object(3, 0) },
        object(300, 0),
        ObjectHeader { status: ObjectStatus::EndOfGroup, ..object(301, 0) },
    ];
    let mut out = Vec::new();
    header.encode(&mut out);
    let mut encoder = SubgroupEncoder::new(&header);
    for object in &objects {
        encoder.encode(object, &mut out).expect("in order");
    }
    let stream = [0x7B, 2, 0, 3, 2, 4, 9, 0, 0, 0x81, 0x28, 0, 0, 0, 0, 0, 0, 3];
    assert_eq!(out, stream);
    let mut expected = vec![DataEvent::Subgroup(header)];
    for object in objects {
        expected.extend([DataEvent::Object(object), DataEvent::ObjectEnd]);
    }
    assert_eq!(events(&stream), Ok(expected));
}

#[test]
fn the_subgroup_id_is_zero_the_first_object_or_in_the_header() {
    assert_eq!(SubgroupId::Zero.resolve(7), 0);
    assert_eq!(SubgroupId::FirstObject.resolve(7), 7);
    assert_eq!(SubgroupId::Explicit(9).resolve(7), 9);
    assert_eq!(SubgroupId::from(0), SubgroupId::Zero);
    assert_eq!(SubgroupId::from(9), SubgroupId::Explicit(9));
}

/// "If an endpoint receives a stream header with any of these Type values, it MUST close the session": all but
/// 0x10..0x15, 0x18..0x1D, and the same with bits 0x20, 0x40 and both.
#[test]
fn only_the_listed_types_are_subgroup_headers() {
    for kind in 0..=0x1FF_u64 {
        let low = kind & !0x60;
        let valid = kind <= 0x7F && (matches!(low, 0x10..=0x15 | 0x18..=0x1D));
        assert_eq!(SubgroupHeader::is_kind(kind), valid, "{kind:#x}");
        let mut stream = Vec::new();
        crate::varint::encode(kind, &mut stream);
        stream.extend([0; 4]);
        if !valid && kind != 0x05 {
            let refused = DecodeError::Undefined { field: "stream type", value: kind };
            assert_eq!(must_close(&stream), refused);
        }
    }
}

#[test]
fn an_object_id_above_64_bits_must_close_the_session() {
    let mut stream = vec![0x30, 2, 0];
    stream.extend([0xFF; 9]);
    stream.extend([0, 0, 0, 0, 0]);
    assert_eq!(must_close(&stream), DecodeError::OutOfRange { field: "Object ID Delta" });
}

#[test]
fn properties_on_an_object_that_is_not_normal_must_close_the_session() {
    let stream = [0x31, 2, 0, 0, 2, 4, 9, 0, 3];
    assert!(matches!(must_close(&stream), DecodeError::Forbidden { .. }));
}

#[test]
fn an_undefined_status_closes_the_session() {
    for status in [1, 2, 5] {
        let refused = DecodeError::Undefined { field: "Object Status", value: status.into() };
        assert_eq!(must_close(&[0x30, 2, 0, 0, 0, status]), refused);
    }
}

#[test]
fn an_object_after_the_end_of_its_group_closes_the_session() {
    for end in [3, 4] {
        let stream = [0x30, 2, 0, 0, 0, end, 0, 1, b'x'];
        assert!(matches!(must_close(&stream), DecodeError::Forbidden { .. }));
    }
}

#[test]
fn the_encoder_refuses_what_a_peer_would_close_the_session_for() {
    let refused = |header: &SubgroupHeader, objects: &[ObjectHeader]| {
        let mut encoder = SubgroupEncoder::new(header);
        let mut out = Vec::new();
        let (last, before) = objects.split_last().expect("some");
        before.iter().for_each(|object| encoder.encode(object, &mut out).expect("valid"));
        let len = out.len();
        let error = encoder.encode(last, &mut out).expect_err("must be refused");
        assert_eq!(out.len(), len, "nothing is written");
        error
    };
    let order = EncodeError::OutOfOrder { field: "Object ID", value: 4, previous: 4 };
    assert_eq!(refused(&HEADER, &[object(4, 1), object(4, 1)]), order);
    let with_properties = ObjectHeader { properties: Bytes::from_static(&[4, 9]), ..object(0, 0) };
    let field = "properties";
    assert_eq!(refused(&HEADER, std::slice::from_ref(&with_properties)), EncodeError::Contradiction { field });
    let flags = SubgroupFlags::PROPERTIES;
    let ended = ObjectHeader { status: ObjectStatus::EndOfTrack, ..with_properties };
    let field = "status";
    assert_eq!(refused(&SubgroupHeader { flags, ..HEADER }, &[ended]), EncodeError::Contradiction { field });
    let ended = ObjectHeader { status: ObjectStatus::EndOfGroup, ..object(0, 1) };
    assert_eq!(refused(&HEADER, &[ended]), EncodeError::Contradiction { field });
}

fn arbitrary_header() -> impl Strategy<Value = SubgroupHeader> {
    let subgroup = prop_oneof![
        Just(SubgroupId::Zero),
        Just(SubgroupId::FirstObject),
        arbitrary_id().prop_map(SubgroupId::Explicit),
    ];
    let flag = |flag| prop_oneof![Just(SubgroupFlags::NONE), Just(flag)];
    let flags = (flag(SubgroupFlags::PROPERTIES), flag(SubgroupFlags::END_OF_GROUP), flag(SubgroupFlags::FIRST_OBJECT));
    (arbitrary_id(), arbitrary_id(), subgroup, any::<Option<u8>>(), flags).prop_map(
        |(alias, group, subgroup, priority, (a, b, c))| SubgroupHeader {
            alias: TrackAlias(alias),
            group,
            subgroup,
            priority,
            flags: a | b | c,
        },
    )
}

/// A stream and the events that it should give.
pub(super) fn arbitrary_stream() -> impl Strategy<Value = (Vec<u8>, Vec<DataEvent>)> {
    let content = (0..1000_u64, arbitrary_bytes(40), arbitrary_bytes(60));
    (arbitrary_header(), prop::collection::vec(content, 0..6)).prop_map(|(header, objects)| {
        let mut stream = Vec::new();
        header.encode(&mut stream);
        let mut expected = vec![DataEvent::Subgroup(header)];
        let mut encoder = SubgroupEncoder::new(&header);
        let mut id = 0;
        for (step, properties, payload) in objects {
            let has_properties = header.flags.contains(SubgroupFlags::PROPERTIES);
            let properties = if has_properties { properties } else { Bytes::new() };
            id += step + 1;
            let object = ObjectHeader { properties, ..object(id, payload.len() as u64) };
            encoder.encode(&object, &mut stream).expect("in order");
            stream.extend(&payload);
            expected.push(DataEvent::Object(object));
            if !payload.is_empty() {
                expected.push(DataEvent::Payload(payload));
            }
            expected.push(DataEvent::ObjectEnd);
        }
        (stream, expected)
    })
}

proptest! {
    #[test]
    fn headers_and_objects_round_trip((stream, expected) in arbitrary_stream()) {
        prop_assert_eq!(events(&stream), Ok(expected));
    }

    #[test]
    fn a_header_is_no_longer_than_it_says(header in arbitrary_header()) {
        let mut out = Vec::new();
        header.encode(&mut out);
        prop_assert!(out.len() <= SubgroupHeader::MAX_LEN);
    }
}

#[test]
fn the_longest_object_header_is_as_long_as_it_says() {
    let mut out = Vec::new();
    let mut encoder = SubgroupEncoder::new(&HEADER);
    encoder.encode(&object(u64::MAX, u64::MAX), &mut out).expect("valid");
    assert!(out.len() <= ObjectHeader::MAX_LEN);
    let (seen, fin) = feed([&[0x30, 2, 0][..], &out], GroupOrder::Ascending).expect("valid");
    assert_eq!(seen.last(), Some(&DataEvent::Object(object(u64::MAX, u64::MAX))));
    assert!(fin.is_err());
}
