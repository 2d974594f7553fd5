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
//! # Public surface
//!
//! ```ignore
//! // frame.rs
//! pub enum Kind { Video, Audio }
//! pub enum Format { Video { width: u32, height: u32 }, Audio { sample_rate: u32, channels: u32 } }
//! pub struct TrackInfo { id: u32, codec: String, timescale: u32, format: Format, config: Bytes,
//!                        sample_entry: Bytes, shift: i64, bitrate: Option<u64> }
//! pub struct Frame { track: usize, dts: i64, pts: i64, duration: u32, keyframe: bool, data: Bytes }
//!
//! // fmp4
//! impl Demuxer { fn new(Limits) -> Self; fn push(&mut self, &[u8]) -> Result<(), DemuxError>;
//!     fn finish(&mut self) -> Result<(), DemuxError>; fn tracks(&self) -> Option<&[TrackInfo]>;
//!     fn poll_frame(&mut self) -> Option<Frame>; }
//! impl Muxer { fn new(&[TrackInfo]) -> Result<Self, MuxError>; fn push(&mut self, Frame) -> Result<(), MuxError>;
//!     fn finish(&mut self) -> Result<(), MuxError>; fn poll_bytes(&mut self) -> Option<Bytes>; }
//!
//! // catalog
//! pub const HANG_TRACK: &str = "catalog.json";  pub const MSF_TRACK: &str = "catalog";
//! impl Broadcast { fn to_hang(&self) -> String; fn from_hang(&[u8]) -> Result<Self, CatalogError>;
//!     fn to_msf(&self) -> String; fn from_msf(&[u8]) -> Result<Self, CatalogError>; }
//! pub struct Rendition { name: String, info: TrackInfo, container: Container, framerate: Option<f64> }
//! pub enum Container { Legacy, Loc, Cmaf { init: Bytes } }
//!
//! // packager: tracks in the order of Broadcast::renditions; group ids start at `first_group`
//! impl Packager { fn new(&[TrackInfo], Options) -> Result<Self, PackageError>;
//!     fn broadcast(&self) -> &Broadcast;
//!     fn push(&mut self, Frame, stamp_micros: Option<u64>) -> Result<(), PackageError>;
//!     fn finish(&mut self); fn poll_event(&mut self) -> Option<Event>; }
//! pub struct Options { first_group: u64, container: ContainerKind }
//! pub enum Event { Object(Object), EndOfGroup { track: usize, group: u64, objects: u64 } }
//! pub struct Object { track: usize, group: u64, object: u64, priority: u8, properties: Bytes, payload: Bytes,
//!                     decode_time: Duration /* since the first frame: pace by it */ }
//!
//! // looping: re-stamps frames of a file played again and again
//! impl Looper { fn new(&[TrackInfo]) -> Self; fn push(&mut self, Frame) -> Frame; fn restart(&mut self); }
//!
//! // unpackager
//! impl Unpackager { fn new(&Broadcast) -> Result<Self, UnpackError>;   // tracks: indices into renditions
//!     fn push(&mut self, Received) -> Result<(), UnpackError>;         // Received { track, group, object, properties, payload }
//!     fn end_group(&mut self, track: usize, group: u64);               // FIN or reset of the group's stream
//!     fn finish(&mut self); fn tracks(&self) -> &[TrackInfo];
//!     fn poll_frame(&mut self) -> Option<Frame>; }                     // in decode order: push into a Muxer
//! pub fn stamp_micros(properties: &[u8]) -> Option<u64>;              // reads the latency stamp of an object
//!
//! pub fn testpattern() -> Bytes;                                      // a small looping fMP4 made by the project
//! ```

pub mod fmp4;
mod frame;

pub use frame::{Format, Frame, Kind, TrackInfo};
