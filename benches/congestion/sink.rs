//! The receiving end: when each frame was whole.

use super::source::HEADER;
use bytes::{Buf as _, Bytes};
use sluice_moqt::transport::StreamId;
use std::collections::BTreeMap;
use std::time::Duration;

/// One frame that has arrived whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) track: u32,
    pub(crate) group: u32,
    pub(crate) born: Duration,
    pub(crate) latency: Duration,
}

#[derive(Debug, Default)]
struct Parse {
    header: Vec<u8>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    track: u32,
    group: u32,
    born: Duration,
    left: usize,
}

/// Frames of one connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    streams: BTreeMap<StreamId, Parse>,
    pub(crate) arrivals: Vec<Arrival>,
}

impl Frames {
    pub(crate) fn on_data(&mut self, now: Duration, stream: StreamId, mut data: Bytes) {
        let parse = self.streams.entry(stream).or_default();
        while !data.is_empty() {
            let Some(current) = &mut parse.current else {
                let part = data.split_to((HEADER - parse.header.len()).min(data.len()));
                parse.header.extend_from_slice(&part);
                if parse.header.len() == HEADER {
                    let mut header = Bytes::from(std::mem::take(&mut parse.header));
                    let (track, group, _index) = (header.get_u32(), header.get_u32(), header.get_u32());
                    let (left, born) = (header.get_u32() as usize, Duration::from_nanos(header.get_u64()));
                    parse.current = Some(Current { track, group, born, left });
                }
                continue;
            };
            let len = current.left.min(data.len());
            data.advance(len);
            current.left -= len;
            if current.left == 0 {
                let Current { track, group, born, .. } = *current;
                self.arrivals.push(Arrival { track, group, born, latency: now.saturating_sub(born) });
                parse.current = None;
            }
        }
    }

    pub(crate) fn forget(&mut self, stream: StreamId) {
        self.streams.remove(&stream);
    }
}
