//! What a viewer makes of the bytes of one stream.

use super::frames::FrameReader;
use super::tally::Tally;
use crate::support::protocol::Case;
use bytes::Bytes;
use sluice_moqt::data::{DataEvent, StreamDecoder};

/// The reader of one stream.
pub(super) enum Reader {
    /// Frames end to end.
    Frames(FrameReader),
    /// A MoQ data stream with a frame in every object, or the relay's control stream: its first bytes tell.
    Objects(Box<(StreamDecoder, FrameReader)>),
    /// Control messages.
    Control,
}

/// What the bytes pushed came to.
pub(super) enum Told {
    Nothing,
    /// Part of an object's payload, and no frame is complete.
    Part,
    /// At least one frame is complete.
    Frame,
    /// Bytes for the MoQ session.
    Control(Bytes),
}

impl Reader {
    /// For a unidirectional stream that the sender has opened.
    pub(super) fn new(case: Case) -> Self {
        match case {
            Case::Quinn | Case::Bare => Self::Frames(FrameReader::default()),
            Case::Relay | Case::Daemon => Self::Objects(Box::default()),
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: Bytes, tally: &mut Tally) -> Told {
        let (completed, part) = match self {
            Self::Control => return Told::Control(bytes),
            Self::Frames(frames) => (frames.push(&bytes, tally), true),
            Self::Objects(reader) => {
                let (decoder, frames) = &mut **reader;
                decoder.push(bytes);
                let (mut completed, mut part) = (0, false);
                while let Ok(Some(event)) = decoder.poll() {
                    match event {
                        DataEvent::Payload(payload) => {
                            completed += frames.push(&payload, tally);
                            part = true;
                        }
                        DataEvent::Control => {
                            let rest = std::mem::take(decoder).into_rest();
                            *self = Self::Control;
                            return Told::Control(rest);
                        }
                        DataEvent::Subgroup(_)
                        | DataEvent::Fetch(_)
                        | DataEvent::Padding
                        | DataEvent::Object(_)
                        | DataEvent::FetchObject(_)
                        | DataEvent::EndOfRange(_)
                        | DataEvent::ObjectEnd => {}
                    }
                }
                (completed, part)
            }
        };
        match (completed, part) {
            (0, false) => Told::Nothing,
            (0, true) => Told::Part,
            _ => Told::Frame,
        }
    }
}
