//! A live source with video and sound, and what it does when the transport is behind: what the relay does.

use bytes::{BufMut as _, Bytes, BytesMut};
use sluice_moqt::transport::{Dir, StreamId, StreamSink};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A reader further behind than this goes on at the newest group: the relay's default.
const MAX_LAG_GROUPS: u32 = 1;
/// Reset code.
const BEHIND: u64 = 5;

/// What is sent: one group per second on a stream of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) id: u32,
    pub(crate) frames_per_second: u32,
    pub(crate) first: u32,
    pub(crate) other: u32,
    pub(crate) priority: i32,
}

/// 8 Mbit/s at 25 frames/s with keyframes of four times the size.
pub(crate) const VIDEO: Format = Format { id: 1, frames_per_second: 25, first: 142_857, other: 35_714, priority: 0 };
/// 128 kbit/s.
pub(crate) const SOUND: Format = Format { id: 2, frames_per_second: 50, first: 320, other: 320, priority: 10 };

/// Length of a frame's header: track, group, index, length, time of birth.
pub(crate) const HEADER: usize = 24;

#[derive(Debug)]
struct Frame {
    group: u32,
    last: bool,
    chunks: [Bytes; 2],
}

/// One track on one connection.
#[derive(Debug)]
pub(crate) struct Track {
    format: Format,
    start: Duration,
    born: u32,
    waiting: VecDeque<Frame>,
    /// Open streams by group, and whether all of it was written.
    open: BTreeMap<u32, (StreamId, bool)>,
    zeros: Bytes,
}

impl Track {
    pub(crate) fn new(format: Format, start: Duration) -> Self {
        let zeros = Bytes::from(vec![0; format.first.max(format.other) as usize]);
        Self { format, start, born: 0, waiting: VecDeque::new(), open: BTreeMap::new(), zeros }
    }

    pub(crate) fn due(&self) -> Duration {
        self.start + Duration::from_secs(1) * self.born / self.format.frames_per_second
    }

    /// Makes the frame that is due.
    pub(crate) fn give_birth(&mut self) {
        let (group, index) = (self.born / self.format.frames_per_second, self.born % self.format.frames_per_second);
        let len = if index == 0 { self.format.first } else { self.format.other };
        let mut header = BytesMut::with_capacity(HEADER);
        header.put_u32(self.format.id);
        header.put_u32(group);
        header.put_u32(index);
        header.put_u32(len);
        header.put_u64(u64::try_from(self.due().as_nanos()).unwrap_or(u64::MAX));
        let last = index + 1 == self.format.frames_per_second;
        let chunks = [header.freeze(), self.zeros.slice(..len as usize)];
        self.waiting.push_back(Frame { group, last, chunks });
        self.born += 1;
    }

    pub(crate) fn on_acked(&mut self, stream: StreamId) {
        self.open.retain(|_, (id, _)| *id != stream);
    }

    /// Writes what goes; whether the transport is blocked.
    pub(crate) fn write(&mut self, sink: &mut dyn StreamSink) {
        while let Some(frame) = self.waiting.front_mut() {
            let stream = match self.open.get(&frame.group) {
                Some((stream, _)) => *stream,
                None => {
                    let Some(stream) = sink.open(Dir::Uni) else { return };
                    sink.set_priority(stream, self.format.priority);
                    self.open.insert(frame.group, (stream, false));
                    stream
                }
            };
            let written = sink.write(stream, &mut frame.chunks);
            if written.is_ok() && frame.chunks.iter().any(|chunk| !chunk.is_empty()) {
                return self.skip_if_behind(sink);
            }
            if frame.last {
                sink.finish(stream);
                if let Some((_, whole)) = self.open.get_mut(&frame.group) {
                    *whole = true;
                }
            }
            self.waiting.pop_front();
        }
    }

    /// Goes on at the newest group when blocked and too far behind.
    fn skip_if_behind(&mut self, sink: &mut dyn StreamSink) {
        let newest = (self.born - 1) / self.format.frames_per_second;
        let behind = self.waiting.front().is_some_and(|frame| frame.group + MAX_LAG_GROUPS < newest);
        if !behind {
            return;
        }
        self.waiting.retain(|frame| frame.group >= newest);
        self.open.retain(|group, (stream, _)| {
            let keep = *group >= newest;
            if !keep {
                sink.reset(*stream, BEHIND);
            }
            keep
        });
        self.write(sink);
    }
}
