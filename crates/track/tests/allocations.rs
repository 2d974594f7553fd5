//! "no allocation per object per reader": counted, for whole-object readers in steady state.
//!
//! A binary of its own, since it takes the place of the process's allocator.
#![expect(unsafe_code, reason = "a counting allocator has to implement GlobalAlloc")]

use bytes::Bytes;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::message::{Class, Timeouts};
use sluice_moqt::transport::{DatagramError, Dir, SinkError, StreamId, StreamSink};
use sluice_moqt::types::{GroupOrder, ObjectStatus, TrackAlias};
use sluice_track::{Cursor, CursorConfig, Forward, Forwarding, Limits, Log, Range, SourceId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

struct Counting;

thread_local! {
    /// Of this thread: the test runner's own allocates when it likes.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count_one() {
    // A thread that is ending has no counter any more, and nobody looks at it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: every call is handed to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `System` by way of `alloc`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_one();
        // SAFETY: as `dealloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes everything, keeps nothing.
struct Sink {
    streams: u64,
    bytes: usize,
}

impl StreamSink for Sink {
    fn open(&mut self, _: Dir) -> Option<StreamId> {
        self.streams += 1;
        Some(StreamId(self.streams))
    }

    fn write(&mut self, _: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let taken = chunks.iter_mut().map(|chunk| std::mem::take(chunk).len()).sum();
        self.bytes += taken;
        Ok(taken)
    }

    fn finish(&mut self, _: StreamId) {}
    fn reset(&mut self, _: StreamId, _: u64) {}
    fn stop(&mut self, _: StreamId, _: u64) {}
    fn set_priority(&mut self, _: StreamId, _: i32) {}

    fn send_datagram(&mut self, _: Bytes) -> Result<(), DatagramError> {
        Err(DatagramError::Unsupported)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        None
    }
}

const READERS: usize = 50;
const FRAME: usize = 16_700;
const FRAMES: u64 = 60;
/// Payload that each reader gets.
const PAYLOAD: usize = 2 * 60 * FRAME;

#[test]
fn select_allocates_nothing_per_object_per_reader() {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a test's time")]
    let start = Instant::now();
    let mut log = Log::new(Limits::default(), 128);
    let config = CursorConfig {
        alias: TrackAlias(1),
        mode: Forwarding::Whole,
        range: Range::ALL,
        order: GroupOrder::Ascending,
        priority: 128,
        class: Class::Live,
        timeouts: Timeouts { object: Some(Duration::from_secs(1)), subgroup: None },
        max_lag_groups: 1,
        max_lag_age: None,
        forward: Forward::On,
    };
    let mut readers: Vec<(Cursor, Sink)> =
        (0..READERS).map(|_| (Cursor::new(config, &log), Sink { streams: 0, bytes: 0 })).collect();
    let flags = SubgroupFlags::FIRST_OBJECT | SubgroupFlags::PROPERTIES | SubgroupFlags::END_OF_GROUP;
    let frame = vec![7; FRAME];
    for group in 0..2 {
        let header = SubgroupHeader { alias: TrackAlias(1), group, subgroup: SubgroupId::Zero, priority: None, flags };
        let writer = log.open_subgroup(start, SourceId(1), &header).expect("opens");
        for id in 0..FRAMES {
            let now = start + Duration::from_millis(33 * (group * FRAMES + id));
            let object =
                ObjectHeader { id, properties: Bytes::new(), payload_len: FRAME as u64, status: ObjectStatus::Normal };
            log.begin_object(now, writer, &object).expect("begins");
            for part in frame.chunks(1_200) {
                log.append(now, writer, part).expect("appends");
            }
            let before = allocations();
            for (cursor, sink) in &mut readers {
                let selected = cursor.select(now, &mut log, sink);
                assert!(selected.wrote >= FRAME && !selected.blocked);
            }
            let allocated = allocations() - before;
            // The first object of a group opens a stream per reader, which is counted apart.
            if id > 0 {
                assert_eq!(allocated, 0, "object {id} of group {group}");
            } else {
                assert!(allocated <= 3 * READERS as u64, "{allocated} allocations to open {READERS} streams");
            }
        }
        log.finish(start, writer).expect("finishes");
    }
    for (cursor, sink) in &readers {
        assert_eq!((cursor.stats().objects, cursor.streams_opened()), (2 * FRAMES, 2));
        assert!(sink.bytes > PAYLOAD);
    }
}
