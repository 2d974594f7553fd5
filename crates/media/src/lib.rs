//! Media containers and catalogs to and from MoQ objects, without IO and without a clock.
//!
//! ```text
//! fMP4 or MP4 bytes -> fmp4::Demuxer -> Frame -> Packager   -> Event::{Object, EndOfGroup} -> a MoQ session
//! fMP4 bytes        <- fmp4::Muxer   <- Frame <- Unpackager <- objects of the catalog's tracks
//!                              catalog::Broadcast <-> hang `catalog.json` | MSF `catalog`
//! ```
//!
//! Contract (the same pump everywhere): push bytes, frames or objects in, then drain `poll_*` until `None`.
//!
//! ```
//! use sluice_media::{Event, Options, Packager, fmp4, testpattern};
//!
//! let mut demuxer = fmp4::Demuxer::new(fmp4::Limits::default());
//! demuxer.push(&testpattern())?;
//! let tracks = demuxer.tracks().expect("the init segment is whole").to_vec();
//! let options = Options { first_group: 1_700_000_000_000, container: Default::default() };
//! let mut packager = Packager::new(&tracks, options)?;
//! assert!(packager.broadcast().to_hang().contains("video0"));
//! while let Some(frame) = demuxer.poll_frame() {
//!     packager.push(frame, None)?;
//! }
//! let Some(Event::Object(first)) = packager.poll_event() else { panic!("a keyframe comes first") };
//! assert_eq!((first.track, first.group, first.object), (0, 1_700_000_000_000, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod annexb;
pub mod catalog;
mod container;
pub mod fmp4;
mod frame;
mod interleave;
mod looping;
mod pace;
mod packager;
mod quic_varint;
mod testpattern;
mod timeline;
mod unpackager;

pub use catalog::{Broadcast, Container, Rendition};
pub use container::{ContainerError, stamp_micros};
pub use frame::{Format, Frame, Kind, TrackInfo};
pub use interleave::Interleaver;
pub use looping::Looper;
pub use pace::Pace;
pub use packager::{
    ContainerKind, Event, Object, Options, PRIORITY_AUDIO, PRIORITY_CATALOG, PRIORITY_VIDEO, PackageError, Packager,
};
pub use testpattern::testpattern;
pub use timeline::Timeline;
pub use unpackager::{Received, UnpackError, Unpackager};
