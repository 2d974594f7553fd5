use super::{arbitrary_bytes, arbitrary_id, events, feed, must_close};
use crate::data::{DataEvent, EndOfRange, FetchEncoder, FetchHeader, FetchObject};
use crate::error::{DecodeError, EncodeError, SessionCode};
use crate::types::{GroupOrder, Location, RequestId};
use bytes::Bytes;
use proptest::prelude::*;

fn object(group: u64, id: u64) -> FetchObject {
    FetchObject {
        location: Location::new(group, id),
        subgroup: Some(0),
        priority: 128,
        properties: Bytes::new(),
        payload_len: 0,
    }
}

/// Encodes in `order` and compares with `bytes`; decodes and compares with `objects`.
fn assert_bytes(order: GroupOrder, objects: &[FetchObject], bytes: &[u8]) {
    let mut stream = vec![0x05, 7];
    let mut encoder = FetchEncoder::new(order);
    for object in objects {
        encoder.object(object, &mut stream).expect("in order");
    }
    assert_eq!(stream[2..], *bytes);
    let (seen, fin) = feed([stream.as_slice()], order).expect("valid");
    assert_eq!(fin, Ok(()));
    let mut expected = vec![DataEvent::Fetch(FetchHeader { request_id: RequestId(7) })];
    for object in objects {
        expected.extend([DataEvent::FetchObject(object.clone()), DataEvent::ObjectEnd]);
    }
    assert_eq!(seen, expected);
}

fn stream(entries: &[u8]) -> Vec<u8> {
    [&[0x05, 7], entries].concat()
}

/// One object 5/3 in subgroup 0 with priority 128.
const FIRST: [u8; 5] = [0x1C, 5, 3, 128, 0];

fn after_first(entry: &[u8]) -> Vec<u8> {
    stream(&[&FIRST, entry].concat())
}

fn no_prior(entries: &[u8]) {
    let error = must_close(&stream(entries));
    assert!(matches!(error, DecodeError::Forbidden { field } if field.contains("prior object")));
}

#[test]
fn bytes_of_each_flag_ascending() {
    let objects = [
        object(5, 3),
        object(5, 4),
        FetchObject { subgroup: Some(1), ..object(5, 6) },
        FetchObject { subgroup: Some(1), priority: 9, ..object(5, 7) },
        FetchObject { subgroup: Some(2), priority: 9, ..object(7, 8) },
        FetchObject { subgroup: Some(300), priority: 9, ..object(8, 0) },
        FetchObject { subgroup: None, priority: 9, properties: Bytes::from_static(&[4, 1]), ..object(8, 1) },
    ];
    let bytes = [
        &FIRST[..],
        &[0x00, 0],
        &[0x06, 2, 0],
        &[0x11, 9, 0],
        &[0x0A, 1, 0],
        &[0x0F, 0, 0x81, 0x2C, 0, 0],
        &[0x60, 2, 4, 1, 0],
    ]
    .concat();
    assert_bytes(GroupOrder::Ascending, &objects, &bytes);
}

#[test]
fn bytes_of_groups_descending() {
    let objects = [object(5, 3), object(4, 0), object(1, 1), object(1, 5)];
    let bytes = [&FIRST[..], &[0x0C, 0, 0, 0], &[0x08, 2, 0], &[0x04, 4, 0]].concat();
    assert_bytes(GroupOrder::Descending, &objects, &bytes);
}

#[test]
fn a_fetch_without_objects_is_its_header_alone() {
    let header = DataEvent::Fetch(FetchHeader { request_id: RequestId(7) });
    assert_eq!(events(&[5, 7]), Ok(vec![header]));
    let mut out = Vec::new();
    FetchHeader { request_id: RequestId(7) }.encode(&mut out);
    assert_eq!(out, [5, 7]);
}

#[test]
fn a_first_object_that_references_a_prior_object_must_close_the_session() {
    no_prior(&[0x18, 5, 128, 0]);
    no_prior(&[0x14, 3, 128, 0]);
    no_prior(&[0x0C, 5, 3, 0]);
    no_prior(&[0x1D, 5, 3, 128, 0]);
    no_prior(&[0x1E, 5, 3, 128, 0]);
}

#[test]
fn an_end_of_range_has_absolute_ids_and_nothing_else() {
    let last = Location::new(5, 9);
    for (kind, range) in
        [([0x80, 0x8C], EndOfRange::NonExistent { last }), ([0x81, 0x0C], EndOfRange::Unknown { last })]
    {
        let bytes = after_first(&[kind[0], kind[1], 5, 9]);
        assert_eq!(events(&bytes).expect("valid").last(), Some(&DataEvent::EndOfRange(range)));
        let mut out = vec![5, 7];
        let mut encoder = FetchEncoder::new(GroupOrder::Ascending);
        encoder.object(&object(5, 3), &mut out).expect("first");
        encoder.end_of_range(range, &mut out).expect("after it");
        assert_eq!(out, bytes);
        assert!(encoder.object(&object(5, 9), &mut out).is_err(), "inside the range");
    }
}

#[test]
fn after_an_end_of_range_ids_count_from_it_and_the_rest_from_the_last_object() {
    let entries = [0x1F, 5, 6, 3, 128, 0, 0x80, 0x8C, 6, 9, 0x01, 0];
    let seen = events(&stream(&entries)).expect("valid");
    let expected = FetchObject { subgroup: Some(6), ..object(6, 10) };
    assert_eq!(seen.get(4), Some(&DataEvent::FetchObject(expected)));
}

#[test]
fn after_a_first_end_of_range_there_is_no_prior_subgroup_and_priority() {
    let range = [0x80, 0x8C, 6, 9];
    assert!(events(&stream(&[&range[..], &[0x10, 128, 0]].concat())).is_ok());
    no_prior(&[&range[..], &[0x00, 0]].concat());
    no_prior(&[&range[..], &[0x11, 128, 0]].concat());
    no_prior(&[&range[..], &[0x12, 128, 0]].concat());
}

#[test]
fn an_end_of_range_that_goes_back_is_refused() {
    must_close(&after_first(&[0x80, 0x8C, 5, 2]));
    must_close(&after_first(&[0x80, 0x8C, 4, 9]));
}

#[test]
fn any_other_serialization_flags_are_a_protocol_violation() {
    for value in [0x80_u64, 0x8D, 0x10D, 0x20C, u64::MAX] {
        let mut bytes = vec![5, 7];
        crate::varint::encode(value, &mut bytes);
        let refused = DecodeError::Undefined { field: "Serialization Flags", value };
        assert_eq!(must_close(&bytes), refused);
    }
}

#[test]
fn the_subgroup_bits_of_a_datagram_object_must_be_ignored() {
    for bits in 0..4 {
        let seen = events(&stream(&[0x5C | bits, 5, 3, 128, 0])).expect("valid");
        let expected = FetchObject { subgroup: None, ..object(5, 3) };
        assert_eq!(seen.get(1), Some(&DataEvent::FetchObject(expected)));
    }
}

#[test]
fn a_datagram_object_leaves_no_subgroup_to_refer_to() {
    no_prior(&[0x5C, 5, 3, 128, 0, 0x01, 0]);
}

#[test]
fn a_group_id_out_of_range_must_close_the_session() {
    let delta = [[0x08].as_slice(), &[0xFF; 9], &[0]].concat();
    assert_eq!(must_close(&after_first(&delta)), DecodeError::OutOfRange { field: "Group ID Delta" });
    let down = after_first(&[0x08, 5, 0]);
    let error = feed([down.as_slice()], GroupOrder::Descending).expect_err("below 0");
    assert_eq!(error, DecodeError::OutOfRange { field: "Group ID Delta" });
    assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
}

#[test]
fn an_object_id_out_of_range_must_close_the_session() {
    let refused = DecodeError::OutOfRange { field: "Object ID Delta" };
    let delta = [[0x04].as_slice(), &[0xFF; 9], &[0]].concat();
    assert_eq!(must_close(&after_first(&delta)), refused);
    let last = [[0x1C, 5].as_slice(), &[0xFF; 9], &[128, 0], &[0x00, 0]].concat();
    assert_eq!(must_close(&stream(&last)), refused);
}

#[test]
fn a_subgroup_id_out_of_range_closes_the_session() {
    let last = [[0x1F, 5].as_slice(), &[0xFF; 9], &[3, 128, 0], &[0x02, 0]].concat();
    assert_eq!(must_close(&stream(&last)), DecodeError::OutOfRange { field: "Subgroup ID" });
}

#[test]
fn the_same_object_twice_is_refused() {
    must_close(&after_first(&[0x04, 0, 0]));
}

#[test]
fn the_encoder_keeps_the_group_order() {
    for (order, next) in [(GroupOrder::Ascending, 4), (GroupOrder::Descending, 6)] {
        let mut encoder = FetchEncoder::new(order);
        let mut out = Vec::new();
        encoder.object(&object(5, 3), &mut out).expect("first");
        let len = out.len();
        let error = encoder.object(&object(next, 9), &mut out).expect_err("wrong way");
        assert_eq!(error, EncodeError::OutOfOrder { field: "Group ID", value: next, previous: 5 });
        assert_eq!(out.len(), len, "nothing is written");
    }
}

#[derive(Debug, Clone)]
enum Entry {
    Object(FetchObject, Bytes),
    End(EndOfRange),
}

fn arbitrary_entry() -> impl Strategy<Value = Entry> {
    let subgroup = prop::option::of(prop_oneof![0..4_u64, arbitrary_id()]);
    let priority = prop_oneof![Just(128), any::<u8>()];
    let location = (0..5_u64, 0..50_u64).prop_map(|(group, id)| Location::new(group, id));
    let object = (location.clone(), subgroup, priority, arbitrary_bytes(40), arbitrary_bytes(60)).prop_map(
        |(location, subgroup, priority, properties, payload)| {
            let payload_len = payload.len() as u64;
            Entry::Object(FetchObject { location, subgroup, priority, properties, payload_len }, payload)
        },
    );
    let end = (location, any::<bool>()).prop_map(|(last, known)| {
        Entry::End(if known { EndOfRange::NonExistent { last } } else { EndOfRange::Unknown { last } })
    });
    prop_oneof![4 => object, 1 => end]
}

/// A stream in an order and the events that it should give; entries that do not follow are left out.
pub(super) fn arbitrary_stream() -> impl Strategy<Value = (GroupOrder, Vec<u8>, Vec<DataEvent>)> {
    let order = prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)];
    (order, arbitrary_id(), prop::collection::vec(arbitrary_entry(), 0..10)).prop_map(|(order, id, entries)| {
        let header = FetchHeader { request_id: RequestId(id) };
        let mut stream = Vec::new();
        header.encode(&mut stream);
        let mut expected = vec![DataEvent::Fetch(header)];
        let mut encoder = FetchEncoder::new(order);
        for entry in entries {
            match entry {
                Entry::End(range) => {
                    if encoder.end_of_range(range, &mut stream).is_ok() {
                        expected.push(DataEvent::EndOfRange(range));
                    }
                }
                Entry::Object(object, payload) => {
                    if encoder.object(&object, &mut stream).is_err() {
                        continue;
                    }
                    stream.extend(&payload);
                    expected.push(DataEvent::FetchObject(object));
                    if !payload.is_empty() {
                        expected.push(DataEvent::Payload(payload));
                    }
                    expected.push(DataEvent::ObjectEnd);
                }
            }
        }
        (order, stream, expected)
    })
}

proptest! {
    #[test]
    fn objects_and_ranges_round_trip((order, stream, expected) in arbitrary_stream()) {
        prop_assert_eq!(feed([stream.as_slice()], order), Ok((expected, Ok(()))));
    }
}
