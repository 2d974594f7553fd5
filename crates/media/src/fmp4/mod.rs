//! MP4: reading fragmented and plain files, writing CMAF-style fragments.

pub(crate) mod boxes;
mod demux;
mod entry;
mod error;
pub(crate) mod fragment;
pub(crate) mod init;
mod mux;
pub(crate) mod sample;

pub use boxes::Code;
pub use demux::{Demuxer, Limits};
pub use error::{DemuxError, MuxError};
pub use mux::Muxer;
