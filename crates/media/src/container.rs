//! One MoQ object <-> frames, in the three containers that catalogs name.

use crate::catalog::{Container, MICROS, Rendition};
use crate::fmp4::fragment::{self, Run};
use crate::fmp4::sample::{self, Fragment};
use crate::fmp4::{MuxError, boxes, init};
use crate::frame::{Frame, Kind, rescale_nearest};
use crate::quic_varint;
use bytes::Bytes;
use sluice_moqt::kvp::{Pairs, Value};
use sluice_moqt::properties::PropertiesBuilder;

/// LOC's Timescale (draft-ietf-moq-loc-04).
const TIMESCALE: u64 = 0x08;
/// LOC's Timestamp (draft-ietf-moq-loc-04).
const TIMESTAMP: u64 = 0x10;
/// Timestamp as draft-ietf-moq-loc-03 numbered it; read, never written.
const TIMESTAMP_03: u64 = 0x06;
/// Our latency stamp: unix microseconds at the publisher, from the range for experiments (0x38 to 0x3F).
const STAMP: u64 = 0x3A;
/// Samples of one object; a CMAF object may hold a whole chunk.
const MAX_SAMPLES: usize = 16_384;

/// Why an object cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    /// The payload is not what the catalog announces.
    #[error("{container} object is broken: {cause}")]
    Broken {
        /// Which container.
        container: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The container cannot be read here.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The frame cannot be written.
    #[error(transparent)]
    Mux(#[from] MuxError),
}

/// Properties and payload of an object with one frame.
pub(crate) fn encode(
    rendition: &Rendition,
    frame: &Frame,
    sequence: u32,
    stamp: Option<u64>,
) -> Result<(Bytes, Bytes), ContainerError> {
    let info = &rendition.info;
    let micros = || u64::try_from(rescale_nearest(frame.pts, info.timescale, MICROS)).unwrap_or(0);
    let mut properties = PropertiesBuilder::default();
    let payload = match &rendition.container {
        Container::Cmaf { .. } => {
            fragment::write(sequence, &[Run { id: info.id, frames: std::slice::from_ref(frame) }])?
        }
        Container::Legacy => {
            let mut out = Vec::with_capacity(8 + frame.data.len());
            quic_varint::encode(micros(), &mut out);
            out.extend_from_slice(&frame.data);
            out.into()
        }
        Container::Loc => {
            properties = properties.int(TIMESCALE, u64::from(MICROS)).int(TIMESTAMP, micros());
            write_loc(micros(), &frame.data)
        }
        Container::Unsupported(why) => return Err(ContainerError::Unsupported(why.clone())),
    };
    if let Some(stamp) = stamp {
        properties = properties.int(STAMP, stamp);
    }
    let broken = |e| ContainerError::Broken { container: "outgoing", cause: format!("{e}") };
    Ok((properties.build().map_err(broken)?, payload))
}

/// LOC as moq-dev lays the payload out: length of the private properties, those (QUIC varints), the coded frame.
fn write_loc(micros: u64, data: &[u8]) -> Bytes {
    let mut private = Vec::new();
    quic_varint::encode(TIMESTAMP, &mut private);
    quic_varint::encode(micros, &mut private);
    let mut out = Vec::with_capacity(1 + private.len() + data.len());
    quic_varint::encode(u64::try_from(private.len()).unwrap_or(0), &mut out);
    out.extend_from_slice(&private);
    out.extend_from_slice(data);
    out.into()
}

/// The publisher's clock in unix microseconds when it sent the object, where it says so.
#[must_use]
pub fn stamp_micros(properties: &[u8]) -> Option<u64> {
    property(properties, &[STAMP])
}

fn property(properties: &[u8], kinds: &[u64]) -> Option<u64> {
    Pairs::new(properties).map_while(Result::ok).find_map(|pair| match pair.value {
        Value::Int(value) if kinds.contains(&pair.kind) => Some(value),
        Value::Int(_) | Value::Bytes(_) => None,
    })
}

/// Reads the objects of one track.
#[derive(Debug)]
pub(crate) struct Decoder {
    track: usize,
    kind: Kind,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Legacy,
    Loc,
    Cmaf { trak: Box<[init::Trak; 1]>, next: sample::NextTimes },
}

impl Decoder {
    /// For the rendition that is number `track` of its broadcast.
    pub(crate) fn new(track: usize, rendition: &Rendition) -> Result<Self, ContainerError> {
        let kind = rendition.info.kind();
        let wire = match &rendition.container {
            Container::Legacy => Wire::Legacy,
            Container::Loc => Wire::Loc,
            Container::Cmaf { init } => {
                let trak = init::trak_of_segment(init, kind)
                    .map_err(|cause| ContainerError::Broken { container: "CMAF", cause })?;
                Wire::Cmaf { next: vec![trak.info.shift], trak: Box::new([trak]) }
            }
            Container::Unsupported(why) => return Err(ContainerError::Unsupported(why.clone())),
        };
        Ok(Self { track, kind, wire })
    }

    /// Whether decode times are on the wire; otherwise `dts` is a copy of `pts`.
    pub(crate) const fn has_decode_times(&self) -> bool {
        matches!(self.wire, Wire::Cmaf { .. })
    }

    /// The frames of an object, none for a marker; `first` says that it is the first of its group.
    pub(crate) fn decode(
        &mut self,
        properties: &[u8],
        payload: &Bytes,
        first: First,
    ) -> Result<Vec<Frame>, ContainerError> {
        let keyframe = self.kind == Kind::Audio || first == First::Yes;
        let (pts, data) = match &mut self.wire {
            Wire::Cmaf { trak, next } => {
                return read_cmaf(payload, self.track, trak.as_slice(), next)
                    .map_err(|cause| ContainerError::Broken { container: "CMAF", cause });
            }
            Wire::Legacy => {
                let broken = || ContainerError::Broken { container: "legacy", cause: "no timestamp".to_owned() };
                let (pts, data) = quic_varint::decode(payload).ok_or_else(broken)?;
                (pts, payload.slice_ref(data))
            }
            Wire::Loc => {
                let broken = || ContainerError::Broken { container: "LOC", cause: "no timestamp".to_owned() };
                read_loc(properties, payload).ok_or_else(broken)?
            }
        };
        if data.is_empty() {
            // hang: a frame without bytes only says where the one before ends.
            return Ok(Vec::new());
        }
        let pts = i64::try_from(pts).unwrap_or(i64::MAX);
        Ok(vec![Frame { track: self.track, dts: pts, pts, duration: 0, keyframe, data }])
    }
}

/// Whether an object is the first of its group, which in containers without flags makes it a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// It is.
    Yes,
    /// It follows others.
    No,
}

/// Timestamp in microseconds and coded frame.
///
/// The draft puts timestamps into object properties and the bare frame into the payload; moq-dev puts a block of
/// private properties before the frame as well. The block is believed where it parses to its last byte, holds a
/// timestamp, and does not contradict a public one.
fn read_loc(properties: &[u8], payload: &Bytes) -> Option<(u64, Bytes)> {
    let public = property(properties, &[TIMESTAMP, TIMESTAMP_03])
        .map(|time| to_micros(time, property(properties, &[TIMESCALE])));
    match (public, read_private(payload)) {
        (Some(public), Some((private, data))) if public.abs_diff(private) <= 1_000 => {
            Some((private, payload.slice_ref(data)))
        }
        (Some(public), _) => Some((public, payload.clone())),
        (None, private) => private.map(|(time, data)| (time, payload.slice_ref(data))),
    }
}

fn read_private(payload: &[u8]) -> Option<(u64, &[u8])> {
    let (len, rest) = quic_varint::decode(payload)?;
    let (mut block, data) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    let (mut kind, mut time, mut scale) = (0u64, None, None);
    while !block.is_empty() {
        let (delta, rest) = quic_varint::decode(block)?;
        let (value, rest) = quic_varint::decode(rest)?;
        kind = kind.checked_add(delta)?;
        block = match kind {
            TIMESTAMP | TIMESTAMP_03 => {
                time = Some(value);
                rest
            }
            TIMESCALE => {
                scale = Some(value);
                rest
            }
            even if even % 2 == 0 => rest,
            _ => rest.get(usize::try_from(value).ok()?..)?,
        };
    }
    Some((to_micros(time?, scale), data))
}

fn to_micros(time: u64, timescale: Option<u64>) -> u64 {
    let scale = timescale.filter(|s| *s > 0).unwrap_or_else(|| MICROS.into());
    u64::try_from(u128::from(time) * u128::from(MICROS) / u128::from(scale)).unwrap_or(u64::MAX)
}

fn read_cmaf(
    payload: &Bytes,
    track: usize,
    trak: &[init::Trak],
    next: &mut sample::NextTimes,
) -> Result<Vec<Frame>, String> {
    let mut samples = Vec::new();
    let mut at = 0u64;
    for child in boxes::children(payload) {
        let end = at.saturating_add(u64::try_from(child.whole.len()).unwrap_or(u64::MAX));
        if child.code.0 == *b"moof" {
            let fragment = Fragment { body: child.body, start: at, end };
            sample::from_fragment(fragment, trak, next, MAX_SAMPLES, &mut samples)?;
        }
        at = end;
    }
    if samples.is_empty() {
        return Err("no `moof` with samples of the track".to_owned());
    }
    let frames = samples.into_iter().filter(|s| s.size > 0).map(|s| {
        let start = usize::try_from(s.offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(s.size).unwrap_or(usize::MAX));
        let data = payload.get(start..end).ok_or("a sample lies outside the object")?;
        let data = payload.slice_ref(data);
        Ok(Frame { track, dts: s.dts, pts: s.pts, duration: s.duration, keyframe: s.keyframe, data })
    });
    frames.collect()
}
