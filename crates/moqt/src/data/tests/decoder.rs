use super::{feed, fetch, must_close, subgroup};
use crate::data::{DataEvent, MAX_PROPERTIES_BYTES, PADDING_STREAM, StreamDecoder};
use crate::error::DecodeError;
use crate::types::GroupOrder;
use bytes::Bytes;
use proptest::prelude::*;

#[test]
fn a_fin_in_the_middle_of_an_object_is_noticed_at_every_byte() {
    let stream = b"\x15\x02\x00\x00\x00\x00\x02\x04\x09\x04abcd\x00\x00\x03efg";
    let between_objects = [5, 14, stream.len()];
    for cut in 0..=stream.len() {
        let (_, fin) = feed([&stream[..cut]], GroupOrder::Ascending).expect("valid so far");
        assert_eq!(fin.is_ok(), between_objects.contains(&cut), "after {cut} bytes");
        assert!(matches!(fin, Ok(()) | Err(DecodeError::Truncated { .. })));
    }
}

#[test]
fn payload_and_properties_are_slices_of_what_was_pushed() {
    let data = Bytes::from_static(b"\x31\x02\x00\x00\x02\x04\x09\x04abcd");
    let mut decoder = StreamDecoder::default();
    decoder.push(data.clone());
    let mut seen = std::iter::from_fn(|| decoder.poll().expect("valid")).skip(1);
    let Some(DataEvent::Object(object)) = seen.next() else {
        panic!("an object");
    };
    assert_eq!(object.properties.as_ptr(), data[5..].as_ptr());
    let Some(DataEvent::Payload(payload)) = seen.next() else {
        panic!("its payload");
    };
    assert_eq!(payload.as_ptr(), data[8..].as_ptr());
}

#[test]
fn payload_is_passed_on_as_it_comes() {
    let mut decoder = StreamDecoder::default();
    decoder.push(Bytes::from_static(b"\x30\x02\x00\x00\x04ab"));
    let seen: Vec<_> = std::iter::from_fn(|| decoder.poll().expect("valid")).collect();
    assert_eq!(seen.last(), Some(&DataEvent::Payload(Bytes::from_static(b"ab"))));
    decoder.push(Bytes::from_static(b"cd"));
    assert_eq!(decoder.poll(), Ok(Some(DataEvent::Payload(Bytes::from_static(b"cd")))));
    assert_eq!(decoder.poll(), Ok(Some(DataEvent::ObjectEnd)));
    assert_eq!(decoder.poll(), Ok(None));
}

#[test]
fn properties_over_the_limit_are_refused_before_they_arrive() {
    let mut stream = vec![0x31, 2, 0, 0];
    crate::varint::encode(MAX_PROPERTIES_BYTES as u64 + 1, &mut stream);
    assert!(matches!(must_close(&stream), DecodeError::OverLimit { .. }));
}

#[test]
fn a_header_in_pieces_is_buffered_and_nothing_behind_it() {
    let mut decoder = StreamDecoder::default();
    decoder.push(Bytes::from_static(b"\x30\x02\x00\x00"));
    assert!(matches!(decoder.poll(), Ok(Some(DataEvent::Subgroup(_)))));
    assert_eq!(decoder.poll(), Ok(None));
    let piece = Bytes::from_static(b"\x04abcd");
    decoder.push(piece.clone());
    assert!(matches!(decoder.poll(), Ok(Some(DataEvent::Object(_)))));
    assert_eq!(decoder.poll(), Ok(Some(DataEvent::Payload(piece.slice(1..)))));
}

#[test]
fn a_control_stream_is_handed_over_with_its_type() {
    let stream = b"\xAF\x00\x00\x00";
    for cut in [1, stream.len()] {
        let mut decoder = StreamDecoder::default();
        let (first, second) = stream.split_at(cut);
        decoder.push(Bytes::from_static(first));
        if !second.is_empty() {
            assert_eq!(decoder.poll(), Ok(None));
            decoder.push(Bytes::from_static(second));
        }
        assert_eq!(decoder.poll(), Ok(Some(DataEvent::Control)));
        assert_eq!(decoder.poll(), Ok(None));
        assert!(decoder.finish().is_err(), "a control stream must not be closed");
        assert_eq!(decoder.into_rest(), stream[..]);
    }
}

#[test]
fn all_data_on_a_padding_stream_must_be_discarded() {
    let mut stream = Vec::new();
    crate::varint::encode(PADDING_STREAM, &mut stream);
    stream.extend([0; 1000]);
    let mut decoder = StreamDecoder::default();
    decoder.push(stream.into());
    assert_eq!(decoder.poll(), Ok(Some(DataEvent::Padding)));
    assert_eq!(decoder.poll(), Ok(None));
    decoder.push(Bytes::from_static(&[0; 9]));
    assert_eq!(decoder.poll(), Ok(None));
    assert_eq!(decoder.finish(), Ok(()));
    assert!(decoder.into_rest().is_empty());
}

#[test]
fn two_pushes_without_a_poll_lose_nothing() {
    let mut decoder = StreamDecoder::default();
    decoder.push(Bytes::from_static(b"\x30\x02"));
    decoder.push(Bytes::from_static(b"\x00\x00\x01x"));
    let seen = std::iter::from_fn(|| decoder.poll().expect("valid")).count();
    assert_eq!(seen, 4);
}

/// Cuts `stream` into pieces of the given lengths, over and over.
fn cut<'a>(mut stream: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (piece, rest) = stream.split_at((*length).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..40_usize, 1..20)
}

proptest! {
    #[test]
    fn any_split_of_a_subgroup_stream_gives_the_same_events(
        (stream, expected) in subgroup::arbitrary_stream(),
        lengths in lengths(),
    ) {
        prop_assert_eq!(feed(cut(&stream, &lengths), GroupOrder::Ascending), Ok((expected, Ok(()))));
    }

    #[test]
    fn any_split_of_a_fetch_stream_gives_the_same_events(
        (order, stream, expected) in fetch::arbitrary_stream(),
        lengths in lengths(),
    ) {
        prop_assert_eq!(feed(cut(&stream, &lengths), order), Ok((expected, Ok(()))));
    }

    #[test]
    fn one_byte_at_a_time_gives_the_same_events((stream, expected) in subgroup::arbitrary_stream()) {
        prop_assert_eq!(feed(cut(&stream, &[1]), GroupOrder::Ascending), Ok((expected, Ok(()))));
    }

    #[test]
    fn random_bytes_never_panic_and_any_split_ends_the_same_way(
        kind in prop_oneof![Just(0x05_u8), 0x10..0x80_u8],
        tail: Vec<u8>,
        lengths in lengths(),
    ) {
        let stream = [&[kind], tail.as_slice()].concat();
        let whole = feed([stream.as_slice()], GroupOrder::Descending);
        let pieces = feed(cut(&stream, &lengths), GroupOrder::Descending);
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                prop_assert_eq!(whole.0, pieces.0);
                prop_assert_eq!(whole.1.is_ok(), pieces.1.is_ok());
            }
            (whole, pieces) => prop_assert_eq!(whole.map(drop), pieces.map(drop)),
        }
    }
}
