//! `watch --output`: received objects as one fragmented MP4.

use crate::core::Object;
use crate::report;
use crate::sidefile::SideFile;
use bytes::Bytes;
use sluice_media::catalog::Broadcast;
use sluice_media::fmp4::Muxer;
use sluice_media::{Received, UnpackError, Unpackager};
use sluice_moqt::types::ObjectStatus;

/// Writes the stream as it can be decoded: from a video group on, interleaved, gaps left as gaps.
#[derive(Debug)]
pub(crate) struct Output {
    file: SideFile,
    stream: Option<Stream>,
    /// The first thing that could not be written, said once.
    complained: bool,
}

#[derive(Debug)]
struct Stream {
    catalog: Broadcast,
    unpackager: Unpackager,
    muxer: Option<Muxer>,
}

impl Output {
    pub(crate) const fn new(file: SideFile) -> Self {
        Self { file, stream: None, complained: false }
    }

    /// The tracks to come. A file has one set of tracks: a later change is said and left out.
    pub(crate) fn catalog(&mut self, catalog: &Broadcast) {
        if self.stream.as_ref().is_some_and(|stream| stream.catalog != *catalog) {
            self.complain(&"the stream's tracks changed; the output keeps the ones it began with");
        }
        if self.stream.is_some() {
            return;
        }
        match Unpackager::new(catalog) {
            Ok(unpackager) => self.stream = Some(Stream { catalog: catalog.clone(), unpackager, muxer: None }),
            Err(error) => self.complain(&error),
        }
    }

    pub(crate) fn object(&mut self, object: &Object) {
        let (Some(stream), Some(track)) = (&mut self.stream, object.rendition) else { return };
        if object.flags.status != ObjectStatus::Normal {
            return;
        }
        let received = Received {
            track,
            group: object.at.group,
            object: object.at.object,
            properties: object.properties.clone(),
            payload: object.payload.clone(),
            arrived: object.arrived,
        };
        let result = stream.unpackager.push(received);
        self.settle(result);
    }

    pub(crate) fn end_group(&mut self, track: &Bytes, group: u64) {
        self.with_track(track, |unpackager, index| unpackager.end_group(index, group));
    }

    /// The track's group ids begin anew: another publisher took over.
    pub(crate) fn restart(&mut self, track: &Bytes) {
        self.with_track(track, Unpackager::restart);
    }

    /// Times that another publisher took over whose timestamps began anew: its pictures follow after a gap.
    pub(crate) fn takeovers(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.unpackager.takeovers())
    }

    /// Whether whoever read the output has gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.file.is_abandoned()
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Something could not be stored.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        if let Some(stream) = &mut self.stream {
            let unread = stream.unpackager.finish();
            self.drain();
            if let Err(error) = unread {
                self.complain(&error);
            }
        }
        if let Some(muxer) = self.stream.as_mut().and_then(|stream| stream.muxer.as_mut()) {
            muxer.finish()?;
            while let Some(bytes) = muxer.poll_bytes() {
                self.file.write(&bytes);
            }
        }
        self.file.finish()
    }

    fn with_track(&mut self, track: &Bytes, step: impl FnOnce(&mut Unpackager, usize) -> Result<(), UnpackError>) {
        let Some(stream) = &mut self.stream else { return };
        let Some(index) = stream.catalog.renditions.iter().position(|r| r.name.as_bytes() == &track[..]) else {
            return;
        };
        let result = step(&mut stream.unpackager, index);
        self.settle(result);
    }

    fn settle(&mut self, result: Result<(), UnpackError>) {
        self.drain();
        if let Err(error) = result {
            self.complain(&error);
        }
    }

    fn drain(&mut self) {
        if let Err(error) = self.mux() {
            self.complain(&error);
        }
    }

    fn mux(&mut self) -> Result<(), sluice_media::fmp4::MuxError> {
        let Some(Stream { unpackager, muxer, .. }) = &mut self.stream else { return Ok(()) };
        let mut wrote = false;
        while let Some(frame) = unpackager.poll_frame() {
            if muxer.is_none() {
                let Some(tracks) = unpackager.tracks() else { continue };
                *muxer = Some(Muxer::new(tracks)?);
            }
            let Some(muxer) = muxer else { continue };
            muxer.push(frame)?;
            while let Some(bytes) = muxer.poll_bytes() {
                self.file.write(&bytes);
                wrote = true;
            }
        }
        if wrote {
            // A player at the other end of a pipe waits for whole fragments.
            self.file.flush();
        }
        Ok(())
    }

    fn complain(&mut self, what: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.complained, true) {
            report::note(format_args!("output: {what}"));
        }
    }
}
