//! The moving picture with a tone that `dev` and the tests play.

use bytes::Bytes;

/// A fragmented MP4 of 4.8 s that loops without a seam: H.264 640x360 at 25 pictures/s, AAC mono 48 kHz.
/// `assets/README.md` says how it was made.
#[must_use]
pub fn testpattern() -> Bytes {
    Bytes::from_static(include_bytes!("../../../assets/testpattern.mp4"))
}
