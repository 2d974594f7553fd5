//! A connection between two shards of one process: the same events and the same sink as QUIC, over a pair of
//! bounded queues. A shard so subscribes to a track's owner exactly as a PoP does.
//!
//! Bounded twice: frames by the queue, bytes by credit that comes back as the other side reads. What does not
//! fit stays in the log, as on any slow leg.

use bytes::Bytes;
use mio::Waker;
use sluice_moqt::transport::{DatagramError, Dir, Peer, Side, SinkError, StreamEvent, StreamId, StreamSink};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

/// Bytes that one direction may hold unread: 30 ms of 1 Gbit/s.
const WINDOW: u64 = 4 << 20;
/// Frames that one direction may hold unread.
const FRAMES: usize = 1024;
/// Streams that each side may have open, as on trunks.
const STREAMS: usize = 4096;
/// Largest datagram: as large as QUIC could ever carry.
const MAX_DATAGRAM: usize = 65_507;

/// What passes from one side to the other.
#[derive(Debug)]
pub(crate) enum Frame {
    Data {
        stream: StreamId,
        data: Bytes,
        fin: bool,
    },
    Reset {
        stream: StreamId,
        code: u64,
    },
    Stop {
        stream: StreamId,
        code: u64,
    },
    /// The stream was read to its end.
    Acked {
        stream: StreamId,
    },
    Datagram(Bytes),
    Close {
        code: u64,
        reason: String,
    },
}

/// The counters of one direction, each written by one side only.
#[derive(Debug, Default)]
struct Flow {
    /// Payload bytes read so far.
    read: AtomicU64,
    /// Frames in the queue.
    queued: AtomicUsize,
    /// The sender was refused and wants to be woken when something is read.
    waiting: AtomicBool,
}

/// One end of a pipe, on its way to its shard.
pub(crate) struct End {
    sender: SyncSender<Frame>,
    receiver: Receiver<Frame>,
    outward: Arc<Flow>,
    inward: Arc<Flow>,
    /// Wakes the other side.
    waker: Option<Arc<Waker>>,
    pub(crate) peer: Peer,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // The other side finds the queue disconnected.
        if let Some(waker) = &self.waker {
            let _ = waker.wake();
        }
    }
}

/// What one side of a new pipe is told of the other.
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) waker: Option<Arc<Waker>>,
}

/// Makes both ends; the first is the client's. `others` says whom each end talks to.
pub(crate) fn ends(alpn: &[u8], others: [Other; 2]) -> [End; 2] {
    let (there, back) = (sync_channel(FRAMES), sync_channel(FRAMES));
    let (there_flow, back_flow) = (Arc::<Flow>::default(), Arc::<Flow>::default());
    let [first, second] = others;
    let peer = |side, name| Peer {
        side,
        alpn: alpn.to_vec(),
        pop: Some(name),
        remote: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        token: None,
    };
    [
        End {
            sender: there.0,
            receiver: back.1,
            outward: there_flow.clone(),
            inward: back_flow.clone(),
            waker: first.waker,
            peer: peer(Side::Client, first.name),
        },
        End {
            sender: back.0,
            receiver: there.1,
            outward: back_flow,
            inward: there_flow,
            waker: second.waker,
            peer: peer(Side::Server, second.name),
        },
    ]
}

/// Whether a sending half still takes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    Finished,
}

/// One side of a pipe as its shard keeps it.
#[derive(Debug)]
pub(crate) struct Pipe {
    end: End,
    /// Frames that found the queue full; data waits in the log, so these are few.
    outbox: VecDeque<Frame>,
    /// Payload bytes sent so far.
    sent: u64,
    /// Streams opened by us, per direction.
    opened: [u64; 2],
    /// Streams opened by the other side as far as we have heard, per direction.
    heard: [u64; 2],
    /// Sending halves that are not over.
    sending: BTreeMap<StreamId, Half>,
    /// Receiving halves that are not over and not stopped by us; what comes for others is discarded.
    receiving: BTreeSet<StreamId>,
    /// Sending halves that were refused bytes.
    blocked: BTreeSet<StreamId>,
    /// Directions in which `open` was refused.
    starved: Vec<Dir>,
    /// A datagram was refused.
    datagram_refused: bool,
    /// The other side has something new to look at.
    touched: bool,
}

impl Pipe {
    pub(crate) const fn new(end: End) -> Self {
        Self {
            end,
            outbox: VecDeque::new(),
            sent: 0,
            opened: [0; 2],
            heard: [0; 2],
            sending: BTreeMap::new(),
            receiving: BTreeSet::new(),
            blocked: BTreeSet::new(),
            starved: Vec::new(),
            datagram_refused: false,
            touched: false,
        }
    }

    pub(crate) const fn peer(&self) -> &Peer {
        &self.end.peer
    }

    /// Whether a turn would find something here.
    pub(crate) fn has_work(&self) -> bool {
        let room = self.has_room();
        self.end.inward.queued.load(Ordering::SeqCst) > 0
            || (room && (self.datagram_refused || !self.blocked.is_empty()))
            || (self.queue_has_room() && !self.outbox.is_empty())
    }

    /// Next thing to tell the app; `Err` once the other side is gone.
    pub(crate) fn receive(&mut self) -> Result<Option<Heard>, Gone> {
        loop {
            let frame = match self.end.receiver.try_recv() {
                Ok(frame) => frame,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(Gone),
            };
            self.end.inward.queued.fetch_sub(1, Ordering::SeqCst);
            let heard = self.on_frame(frame);
            // After the counters: a sender that waits from here on sees the room by itself before it sleeps.
            self.touched |= self.end.inward.waiting.swap(false, Ordering::SeqCst);
            if let Some(heard) = heard {
                return Ok(Some(heard));
            }
        }
    }

    fn on_frame(&mut self, frame: Frame) -> Option<Heard> {
        match frame {
            Frame::Data { stream, data, fin } => {
                self.end.inward.read.fetch_add(data.len() as u64, Ordering::SeqCst);
                self.on_heard(stream);
                if fin {
                    self.send(Frame::Acked { stream });
                }
                let wanted = if fin { self.receiving.remove(&stream) } else { self.receiving.contains(&stream) };
                wanted.then_some(Heard::Stream(stream, StreamEvent::Data { data, fin }))
            }
            Frame::Reset { stream, code } => {
                self.on_heard(stream);
                self.receiving.remove(&stream).then_some(Heard::Stream(stream, StreamEvent::Reset { code }))
            }
            Frame::Stop { stream, code } => {
                self.on_heard(stream);
                let known = self.sending.contains_key(&stream);
                known.then_some(Heard::Stream(stream, StreamEvent::Stopped { code }))
            }
            Frame::Acked { stream } => {
                self.forget(stream);
                Some(Heard::Stream(stream, StreamEvent::Acked))
            }
            Frame::Datagram(data) => {
                self.end.inward.read.fetch_add(data.len() as u64, Ordering::SeqCst);
                Some(Heard::Datagram(data))
            }
            Frame::Close { code, reason } => Some(Heard::Close { code, reason }),
        }
    }

    /// Streams whose writes may go on.
    pub(crate) fn writable(&mut self) -> BTreeSet<StreamId> {
        if self.has_room() { std::mem::take(&mut self.blocked) } else { BTreeSet::new() }
    }

    /// Whether a datagram was refused that would have room now.
    pub(crate) fn datagrams_unblocked(&mut self) -> bool {
        self.has_room() && std::mem::take(&mut self.datagram_refused)
    }

    /// Directions in which streams may be opened again.
    pub(crate) fn available(&mut self) -> Vec<Dir> {
        if self.sending.len() < STREAMS { std::mem::take(&mut self.starved) } else { Vec::new() }
    }

    /// Tells the other side that it is over.
    pub(crate) fn close(&mut self, code: u64, reason: String) {
        self.send(Frame::Close { code, reason });
        self.flush();
    }

    /// Moves on what waits and wakes the other side, once per turn.
    pub(crate) fn flush(&mut self) {
        while let Some(frame) = self.outbox.pop_front() {
            if let Err(frame) = self.offer(frame) {
                self.outbox.push_front(frame);
                break;
            }
        }
        if std::mem::take(&mut self.touched)
            && let Some(waker) = &self.end.waker
            && let Err(error) = waker.wake()
        {
            // The frames are queued; the other side's next turn finds them.
            tracing::warn!(%error, "cannot wake a shard");
        }
    }

    /// Whether data may be sent: behind nothing, within credit and the queue.
    fn has_room(&self) -> bool {
        self.outbox.is_empty() && self.credit() > 0 && self.queue_has_room()
    }

    fn queue_has_room(&self) -> bool {
        self.end.outward.queued.load(Ordering::SeqCst) < FRAMES
    }

    fn credit(&self) -> u64 {
        let unread = self.sent - self.end.outward.read.load(Ordering::SeqCst);
        WINDOW.saturating_sub(unread)
    }

    /// Sends a frame that may not be lost.
    fn send(&mut self, frame: Frame) {
        let refused = if self.outbox.is_empty() { self.offer(frame).err() } else { Some(frame) };
        if let Some(frame) = refused {
            self.outbox.push_back(frame);
            self.wait_for_room();
        }
    }

    /// Offers a frame to the queue; gives it back when that is full.
    fn offer(&mut self, frame: Frame) -> Result<(), Frame> {
        // Counted first: the other side may read the frame before this returns.
        self.end.outward.queued.fetch_add(1, Ordering::SeqCst);
        match self.end.sender.try_send(frame) {
            Ok(()) => {
                self.touched = true;
                Ok(())
            }
            Err(TrySendError::Full(frame)) => {
                self.end.outward.queued.fetch_sub(1, Ordering::SeqCst);
                Err(frame)
            }
            // The next receive finds out, too.
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Sends as much of `data` as there is room for and returns how much that was.
    fn offer_data(&mut self, stream: StreamId, data: &mut Bytes) -> usize {
        let len = data.len().min(usize::try_from(self.credit()).unwrap_or(usize::MAX));
        if len == 0 || !self.outbox.is_empty() {
            return 0;
        }
        let piece = data.slice(..len);
        if self.offer(Frame::Data { stream, data: piece, fin: false }).is_err() {
            return 0;
        }
        let _ = data.split_to(len);
        self.sent += len as u64;
        len
    }

    /// Asks the other side for a wake-up when it has read something.
    fn wait_for_room(&self) {
        self.end.outward.waiting.store(true, Ordering::SeqCst);
    }

    fn forget(&mut self, stream: StreamId) {
        self.sending.remove(&stream);
        self.blocked.remove(&stream);
    }

    /// A stream of the other side's opens every lower one of its kind, too (RFC 9000 3.2).
    fn on_heard(&mut self, stream: StreamId) {
        let server = u64::from(stream.is_server_initiated());
        if server == self.own_bit() {
            return;
        }
        let uni = u64::from(stream.is_uni());
        let heard = &mut self.heard[usize::from(stream.is_uni())];
        while *heard <= stream.0 >> 2 {
            let opened = StreamId(*heard << 2 | uni << 1 | server);
            *heard += 1;
            self.receiving.insert(opened);
            if uni == 0 {
                self.sending.insert(opened, Half::Open);
            }
        }
    }

    /// Bit 0 of stream ids that we open.
    const fn own_bit(&self) -> u64 {
        match self.end.peer.side {
            Side::Client => 0,
            Side::Server => 1,
        }
    }
}

impl StreamSink for Pipe {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        if self.sending.len() >= STREAMS {
            if !self.starved.contains(&dir) {
                self.starved.push(dir);
            }
            return None;
        }
        let uni = u64::from(dir == Dir::Uni);
        let opened = &mut self.opened[usize::from(dir == Dir::Uni)];
        let index = *opened;
        *opened += 1;
        let stream = StreamId(index << 2 | uni << 1 | self.own_bit());
        self.sending.insert(stream, Half::Open);
        if dir == Dir::Bi {
            self.receiving.insert(stream);
        }
        Some(stream)
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        if self.sending.get(&stream) != Some(&Half::Open) {
            return Err(SinkError::Closed);
        }
        let mut taken = 0;
        for chunk in chunks.iter_mut() {
            taken += self.offer_data(stream, chunk);
            if !chunk.is_empty() {
                self.blocked.insert(stream);
                self.wait_for_room();
                break;
            }
        }
        Ok(taken)
    }

    fn finish(&mut self, stream: StreamId) {
        if let Some(half) = self.sending.get_mut(&stream).filter(|half| **half == Half::Open) {
            *half = Half::Finished;
            self.blocked.remove(&stream);
            self.send(Frame::Data { stream, data: Bytes::new(), fin: true });
        }
    }

    fn reset(&mut self, stream: StreamId, code: u64) {
        if self.sending.contains_key(&stream) {
            self.forget(stream);
            self.send(Frame::Reset { stream, code });
        }
    }

    fn stop(&mut self, stream: StreamId, code: u64) {
        if self.receiving.remove(&stream) {
            self.send(Frame::Stop { stream, code });
        }
    }

    fn set_priority(&mut self, _stream: StreamId, _priority: i32) {
        // Frames leave in the order of writing, which is the order of the app's own priorities.
    }

    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError> {
        if data.len() > MAX_DATAGRAM {
            return Err(DatagramError::TooLarge { max: MAX_DATAGRAM });
        }
        let len = data.len() as u64;
        if !self.outbox.is_empty() || len > self.credit() || self.offer(Frame::Datagram(data)).is_err() {
            self.datagram_refused = true;
            self.wait_for_room();
            return Err(DatagramError::Blocked);
        }
        self.sent += len;
        Ok(())
    }

    fn max_datagram_size(&self) -> Option<usize> {
        Some(MAX_DATAGRAM)
    }
}

/// What the app is to be told.
#[derive(Debug)]
pub(crate) enum Heard {
    Stream(StreamId, StreamEvent),
    Datagram(Bytes),
    Close { code: u64, reason: String },
}

/// The other side's shard has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;
