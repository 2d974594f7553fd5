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
            Case::Relay => Self::Objects(Box::default()),
        }
    }

    /// Takes the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: Bytes, tally: &mut Tally) -> Told {
        let completed = match self {
            Self::Control => return Told::Control(bytes),
            Self::Frames(frames) => frames.push(&bytes, tally),
            Self::Objects(reader) => {
                let (decoder, frames) = &mut **reader;
                decoder.push(bytes);
                let mut completed = 0;
                while let Ok(Some(event)) = decoder.poll() {
                    match event {
                        DataEvent::Payload(payload) => completed += frames.push(&payload, tally),
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
                completed
            }
        };
        if completed > 0 { Told::Frame } else { Told::Nothing }
    }
}
