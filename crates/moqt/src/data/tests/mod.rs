mod datagram;
mod decoder;
mod fetch;
mod subgroup;

use super::{DataEvent, StreamDecoder};
use crate::error::{DecodeError, SessionCode};
use crate::types::GroupOrder;
use bytes::Bytes;
use proptest::prelude::*;

/// Feeds `pieces` and returns what the stream said, neighbouring payload pieces joined, and how it stands for a FIN.
fn feed<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    order: GroupOrder,
) -> Result<(Vec<DataEvent>, Result<(), DecodeError>), DecodeError> {
    let mut decoder = StreamDecoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Some(event) = decoder.poll()? {
            match (events.last_mut(), event) {
                (Some(DataEvent::Payload(before)), DataEvent::Payload(more)) => {
                    *before = [before.as_ref(), more.as_ref()].concat().into();
                }
                (_, event) => {
                    if let DataEvent::Fetch(_) = event {
                        decoder.set_group_order(order);
                    }
                    events.push(event);
                }
            }
        }
    }
    let fin = decoder.finish();
    Ok((events, fin))
}

/// Events of a whole stream in one piece that may end with a FIN.
fn events(stream: &[u8]) -> Result<Vec<DataEvent>, DecodeError> {
    let (events, fin) = feed([stream], GroupOrder::Ascending)?;
    assert_eq!(fin, Ok(()), "no FIN here");
    Ok(events)
}

fn must_close(stream: &[u8]) -> DecodeError {
    let error = feed([stream], GroupOrder::Ascending).expect_err("must close the session");
    assert_eq!(error.session_code(), SessionCode::ProtocolViolation);
    error
}

fn arbitrary_bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=longest).prop_map(Bytes::from)
}

/// Integers of every encoded length.
fn arbitrary_id() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}
