//! "no allocation per object per viewer": counted from an append to the log to the last viewer's visit.
//!
//! A binary of its own, since it takes the place of the process's allocator.
#![expect(unsafe_code, reason = "a counting allocator has to implement GlobalAlloc")]

use bytes::Bytes;
use sluice_moqt::message::{Message, Params, Setup, Subscribe, TrackProperties};
use sluice_moqt::transport::{
    App, DatagramError, Dir, Output, Peer, SessionId, Side, SinkError, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::{Draft, Location, Namespace, RequestId, TrackName};
use sluice_node::{Config, Homing, Ingest, Limits, LocalObject, Node, PublisherPolicy, Role, Shard, USER_ALPN};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
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

const VIEWERS: u64 = 100;
const FRAME: usize = 16_700;
const FRAMES: u64 = 60;

/// Takes everything, keeps nothing.
#[derive(Default)]
struct Sink {
    streams: u64,
    bytes: usize,
}

impl StreamSink for Sink {
    fn open(&mut self, _: Dir) -> Option<StreamId> {
        self.streams += 1;
        Some(StreamId(self.streams << 2 | 3))
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

fn config() -> Config {
    Config {
        pop: "e1".parse().expect("legal"),
        role: Role::Edge,
        shard: Shard::ONLY,
        peers: Vec::new(),
        homing: Homing {
            origins: Vec::new(),
            homes: Vec::new(),
            ingest: Ingest::Always,
            publishers: PublisherPolicy::Merge,
        },
        limits: Limits::default(),
        track: sluice_track::Limits::default(),
        epoch: 1,
        implementation: String::new(),
        scope: None,
        authorize: false,
        seed: 1,
    }
}

/// Connects a viewer that subscribes to `name`.
fn join(now: Instant, node: &mut Node, viewer: u64, name: &TrackName) {
    let session = SessionId(viewer);
    let remote = SocketAddr::from(([127, 0, 0, 1], 1));
    let peer = Peer { side: Side::Server, alpn: USER_ALPN.to_vec(), pop: None, remote, token: None };
    node.handle_connected(now, session, peer);
    let params = Params { subscriber_priority: Some(1), ..Params::default() };
    let subscribe = Subscribe { request_id: RequestId(0), track: name.clone(), params };
    for (stream, message) in [(2, Message::Setup(Setup::default())), (0, Message::Subscribe(subscribe))] {
        let mut bytes = bytes::BytesMut::new();
        message.encode(Draft::V18, &mut bytes).expect("legal");
        node.handle_stream(now, session, StreamId(stream), StreamEvent::Data { data: bytes.freeze(), fin: false });
    }
}

/// Visits everybody who is woken; returns how many were.
fn visit_all(now: Instant, node: &mut Node, sinks: &mut [Sink]) -> u64 {
    let mut visits = 0;
    while let Some(output) = node.poll_output() {
        if let Output::Wake(session) = output {
            let at = usize::try_from(session.0).expect("small");
            node.select(now, session, &mut sinks[at]);
            visits += 1;
        }
    }
    visits
}

#[test]
fn a_frame_to_a_hundred_viewers_allocates_for_the_frame_only() {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a test's time")]
    let start = Instant::now();
    let mut node = Node::new(start, config());
    let namespace = Namespace::from_path("live/a").expect("legal");
    let name = TrackName::new(namespace, Bytes::from_static(b"video")).expect("legal");
    let mut track = node.publish_local(start, &name, TrackProperties::default(), None).expect("room");
    let mut sinks: Vec<Sink> = (0..VIEWERS).map(|_| Sink::default()).collect();
    for viewer in 0..VIEWERS {
        join(start, &mut node, viewer, &name);
    }
    visit_all(start, &mut node, &mut sinks);
    let payload = Bytes::from(vec![7; FRAME]);
    for group in 0..3 {
        for id in 0..FRAMES {
            let now = start + Duration::from_millis(33 * (group * FRAMES + id));
            let location = Location::new(group, id);
            let object = LocalObject { location, priority: None, properties: Bytes::new(), payload: payload.clone() };
            let before = allocations();
            node.write_local(now, &mut track, &object).expect("sound");
            let appended = allocations() - before;
            assert!(appended < 40, "{appended} allocations to append one frame and to wake {VIEWERS} viewers");
            let before = allocations();
            let visits = visit_all(now, &mut node, &mut sinks);
            let visited = allocations() - before;
            assert_eq!(visits, VIEWERS, "each viewer is visited once per frame");
            // The first object of a group opens a stream per viewer, and the first group grows what is kept.
            if group > 0 && id > 0 {
                assert_eq!(visited, 0, "object {id} of group {group}");
            }
        }
    }
    let media = 3 * usize::try_from(FRAMES).expect("small") * FRAME;
    assert!(sinks.iter().all(|sink| sink.bytes > media));
}
