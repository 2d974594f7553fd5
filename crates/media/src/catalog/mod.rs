//! What a broadcast consists of, and the two catalogs that say so: hang's `catalog.json` and MSF's `catalog`.
//!
//! Our publishers write both, so that moq-cli and @moq/watch (hang) and MSF players find the same tracks; our watchers
//! read either.

mod hang;
mod msf;
#[cfg(test)]
mod tests;
mod text;

use crate::fmp4::{MuxError, init};
use crate::frame::{Format, Kind, TrackInfo};
use bytes::Bytes;

/// Track name of the hang catalog.
pub const HANG_TRACK: &str = "catalog.json";
/// Track name of the MSF catalog.
pub const MSF_TRACK: &str = "catalog";
/// Most renditions of one broadcast; hang's consumers refuse more.
pub const MAX_RENDITIONS: usize = 64;
/// Ticks per second of the containers that do not say (hang legacy, LOC without a timescale).
pub(crate) const MICROS: u32 = 1_000_000;

/// The tracks of a broadcast, video first; the same in every catalog format.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Broadcast {
    /// In catalog order.
    pub renditions: Vec<Rendition>,
}

/// One track of a broadcast.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendition {
    /// MoQ track name.
    pub name: String,
    /// Codec, configuration, time base.
    pub info: TrackInfo,
    /// How an object carries frames.
    pub container: Container,
    /// Pictures per second where known.
    pub framerate: Option<f64>,
}

/// How an object's payload carries frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// hang's own: QUIC varint of the presentation time in microseconds, then the coded frame.
    Legacy,
    /// draft-ietf-moq-loc: properties, then the coded frame.
    Loc,
    /// `moof` and `mdat`; the init segment is in the catalog.
    Cmaf {
        /// `ftyp` and `moov` of this one track.
        init: Bytes,
    },
    /// Nothing that can be read here; says why. Such a track is left out when watching.
    Unsupported(String),
}

/// Why a catalog cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// Not the JSON of this catalog.
    #[error("catalog `{track}` is not understood: {cause}")]
    Json {
        /// Track name of the catalog.
        track: &'static str,
        /// Where and why.
        cause: String,
    },
    /// More than [`MAX_RENDITIONS`].
    #[error("catalog lists {0} tracks, the limit is 64")]
    TooMany(usize),
    /// An MSF delta, which only makes sense after the whole catalog before it.
    #[error("MSF catalog object is a delta update: start at the first object of its group")]
    Delta,
}

impl Broadcast {
    /// Reads a hang catalog (`catalog.json`), unknown fields ignored.
    ///
    /// # Errors
    /// Not such a document, or too many tracks.
    pub fn from_hang(json: &[u8]) -> Result<Self, CatalogError> {
        hang::read(json)?.checked()
    }

    /// Reads an MSF catalog (`catalog`, drafts 00 and 01), unknown fields ignored.
    ///
    /// # Errors
    /// Not such a document, a delta update, or too many tracks.
    pub fn from_msf(json: &[u8]) -> Result<Self, CatalogError> {
        msf::read(json)?.checked()
    }

    /// The hang catalog of this broadcast.
    #[must_use]
    pub fn to_hang(&self) -> String {
        hang::write(self)
    }

    /// The MSF catalog of this broadcast.
    #[must_use]
    pub fn to_msf(&self) -> String {
        msf::write(self)
    }

    /// The tracks that a viewer takes: the largest picture and the richest sound that can be read here.
    #[must_use]
    pub fn best(&self) -> Self {
        let pick = |kind| {
            let usable = self.renditions.iter().filter(|r| r.info.kind() == kind && r.container.is_supported());
            // `rev`: of equals the first wins.
            usable.rev().max_by_key(|r| (r.size(), r.info.bitrate)).cloned()
        };
        Self { renditions: [Kind::Video, Kind::Audio].into_iter().filter_map(pick).collect() }
    }

    fn checked(self) -> Result<Self, CatalogError> {
        if self.renditions.len() > MAX_RENDITIONS {
            return Err(CatalogError::TooMany(self.renditions.len()));
        }
        Ok(self)
    }
}

impl Container {
    /// Whether frames can be read from it.
    #[must_use]
    pub const fn is_supported(&self) -> bool {
        !matches!(self, Self::Unsupported(_))
    }
}

impl Rendition {
    /// A CMAF rendition of a track, with the init segment made for it.
    ///
    /// # Errors
    /// The codec has no sample entry.
    pub fn cmaf(name: String, info: TrackInfo) -> Result<Self, MuxError> {
        let init = init::write(std::slice::from_ref(&info))?;
        Ok(Self { name, info, container: Container::Cmaf { init }, framerate: None })
    }

    fn size(&self) -> u64 {
        match self.info.format {
            Format::Video { width, height } => u64::from(width) * u64::from(height),
            Format::Audio { .. } => 0,
        }
    }

    /// A rendition as a catalog lists it; a CMAF init segment, once read, knows better than the catalog's fields.
    fn listed(name: String, described: TrackInfo, container: Listed, framerate: Option<f64>) -> Self {
        let mut info = described;
        let container = match container {
            Listed::Legacy => Container::Legacy,
            Listed::Loc => Container::Loc,
            Listed::Other(kind) => Container::Unsupported(format!("container `{kind}`")),
            Listed::Cmaf(None) => Container::Unsupported("CMAF without an init segment".to_owned()),
            Listed::Cmaf(Some(init)) => match init::trak_of_segment(&init, info.kind()).map(|t| t.info) {
                Ok(track) => {
                    info = TrackInfo { codec: info.codec, bitrate: info.bitrate.or(track.bitrate), ..track };
                    Container::Cmaf { init }
                }
                Err(cause) => Container::Unsupported(format!("init segment: {cause}")),
            },
        };
        Self { name, info, container, framerate }
    }
}

/// A container as the catalogs name it, before its init segment is looked at.
#[derive(Debug)]
enum Listed {
    Legacy,
    Loc,
    Cmaf(Option<Bytes>),
    Other(String),
}

/// A track of a catalog, of the time base that containers without one of their own have.
fn described(codec: String, format: Format, config: Bytes, bitrate: Option<u64>) -> TrackInfo {
    TrackInfo { id: 1, codec, timescale: MICROS, format, config, sample_entry: Bytes::new(), shift: 0, bitrate }
}
