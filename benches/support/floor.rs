//! The physical limit of fan-out on this machine: what no QUIC sender can do without.
//!
//! Per viewer and frame: one copy of the payload into a hot buffer, AES-128-GCM and the header-protection mask with
//! that viewer's own keys, one GSO send. No stream, loss or congestion state, no acknowledgement.

use crate::support::clock;
use crate::support::floor_report::FloorLine;
use crate::support::machine::{self, Core};
use crate::support::pattern::{FRAMES_PER_GROUP, Pattern, Schedule};
use crate::support::socket::{Inbox, Socket};
use anyhow::Context as _;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic};
use quinn_udp::Transmit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// UDP payload of a full packet: what quinn's MTU discovery settles on.
const PACKET_BYTES: usize = 1452;
/// Flags, 8 bytes of connection id, 2 bytes of packet number.
const SHORT_HEADER_BYTES: usize = 11;
/// STREAM frame: type, 1 byte of id, 4 of offset, 2 of length.
const STREAM_HEADER_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const PAYLOAD_BYTES: usize = PACKET_BYTES - SHORT_HEADER_BYTES - STREAM_HEADER_BYTES - TAG_BYTES;
const RECEIVER_SOCKETS: usize = 16;
/// The floor is void when it costs more than this over the sum of its parts.
const VOID_ABOVE: f64 = 1.10;

/// Measures the floor at `viewers` over `rounds` of three seconds.
///
/// The three modes take turns frame by frame, so that a busy neighbour hits all of them alike; over a round each has
/// served one whole group.
pub(crate) fn measure(viewers: usize, pattern: Pattern, rounds: u32) -> anyhow::Result<FloorLine> {
    machine::pin(Core::Sender)?;
    let receivers = Receivers::start()?;
    let mut sender = Sender::new(viewers, &receivers.addresses)?;
    let frames = (0..FRAMES_PER_GROUP).map(|seq| pattern.frame(seq, 0)).collect::<Vec<_>>();
    let mut spent = [Spent::default(); MODES.len()];
    let schedule = Schedule { epoch_ns: clock::wall_ns() };
    let mut idle_start = clock::thread_cpu_ns();
    for seq in 0..u64::from(rounds + 1) * ROUND_FRAMES {
        let frame = &frames[usize::try_from(seq % FRAMES_PER_GROUP)?];
        // Moved on by one in every group, or each mode would meet the same frames again and again.
        let slot = usize::try_from((seq + seq / FRAMES_PER_GROUP) % MODES.len() as u64)?;
        clock::sleep_until(schedule.due_ns(seq));
        let start = clock::thread_cpu_ns();
        let packets = sender.burst(MODES[slot], frame)?;
        let end = clock::thread_cpu_ns();
        // Round 0 warms caches, branch predictors and the kernel's allocator.
        if seq >= ROUND_FRAMES {
            let bytes = (frame.len() * viewers) as u64;
            spent[slot].add(Spent { total_ns: end - idle_start, burst_ns: end - start, packets, bytes });
        }
        idle_start = end;
    }
    let sent = sender.datagram_bytes;
    let received = receivers.stop()?;
    Ok(line(viewers, spent, received as f64 / sent as f64))
}

fn line(viewers: usize, [whole, seal, send]: [Spent; 3], delivered_ratio: f64) -> FloorLine {
    // Wake-ups belong to the floor, but not to its parts: so the parts can only make the check harder to pass.
    let ns_per_packet = whole.total_ns as f64 / whole.packets as f64;
    let seal_ns = seal.burst_ns as f64 / seal.packets as f64;
    let sendmsg_ns = send.burst_ns as f64 / send.packets as f64;
    FloorLine {
        case: "floor".to_owned(),
        viewers,
        cpu_s_per_gbit: whole.total_ns as f64 / (whole.bytes as f64 * 8.0),
        ns_per_packet,
        seal_ns,
        sendmsg_ns,
        delivered_ratio,
        void: ns_per_packet > (seal_ns + sendmsg_ns) * VOID_ABOVE,
    }
}

const MODES: [Mode; 3] = [Mode::Whole, Mode::SealAlone, Mode::SendAlone];
/// Frames after which every mode has served one whole group.
const ROUND_FRAMES: u64 = FRAMES_PER_GROUP * MODES.len() as u64;

#[derive(Debug, Clone, Copy)]
enum Mode {
    Whole,
    SealAlone,
    SendAlone,
}

#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    /// CPU of the thread, sleeping and waking included.
    total_ns: u64,
    /// CPU of the thread inside bursts only.
    burst_ns: u64,
    packets: u64,
    bytes: u64,
}

impl Spent {
    const fn add(&mut self, other: Self) {
        self.total_ns += other.total_ns;
        self.burst_ns += other.burst_ns;
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// What a QUIC sender has to keep per viewer at the very least.
struct Viewer {
    seal: LessSafeKey,
    mask: quic::HeaderProtectionKey,
    connection_id: [u8; 8],
    packet_number: u64,
    destination: SocketAddr,
}

impl Viewer {
    fn new(index: usize, destination: SocketAddr) -> anyhow::Result<Self> {
        let mut key = [0x17; 16];
        key[..8].copy_from_slice(&(index as u64).to_be_bytes());
        let seal = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
        let mask = quic::HeaderProtectionKey::new(&quic::AES_128, &key)?;
        let connection_id = (index as u64).to_be_bytes();
        Ok(Self { seal, mask, connection_id, packet_number: 0, destination })
    }

    /// Seals `batch` into one train of packets.
    fn seal_train(&mut self, batch: &[u8], train: &mut Vec<u8>) -> anyhow::Result<()> {
        train.clear();
        batch.chunks(PAYLOAD_BYTES).try_for_each(|payload| self.seal(payload, train))
    }

    /// Appends one sealed packet that carries `payload`.
    fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
        let start = out.len();
        let number = self.packet_number;
        self.packet_number += 1;
        let [.., high, low] = number.to_be_bytes();
        out.push(0x41);
        out.extend_from_slice(&self.connection_id);
        out.extend_from_slice(&[high, low]);
        out.extend_from_slice(&[0x0e; STREAM_HEADER_BYTES]);
        out.extend_from_slice(payload);
        let (header, body) = out[start..].split_at_mut(SHORT_HEADER_BYTES);
        let mut nonce = [0x2b; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.seal.seal_in_place_separate_tag(nonce, Aad::from(&*header), body)?;
        out.extend_from_slice(tag.as_ref());
        // RFC 9001 5.4.2: the sample starts 4 bytes after the start of the packet number, however long that is.
        let sample = start + SHORT_HEADER_BYTES + 2;
        let mask = self.mask.new_mask(&out[sample..sample + 16])?;
        out[start] ^= mask[0] & 0x1f;
        out[start + SHORT_HEADER_BYTES - 2] ^= mask[1];
        out[start + SHORT_HEADER_BYTES - 1] ^= mask[2];
        Ok(())
    }
}

struct Sender {
    socket: Socket,
    viewers: Vec<Viewer>,
    /// The one hot buffer through which every packet leaves.
    train: Vec<u8>,
    segments: usize,
    datagram_bytes: u64,
}

impl Sender {
    fn new(viewers: usize, addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let socket = Socket::bind()?;
        let segments = socket.segments(PACKET_BYTES);
        let viewers = (0..viewers)
            .map(|index| Viewer::new(index, addresses[index % addresses.len()]))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { socket, viewers, train: Vec::with_capacity(65_536), segments, datagram_bytes: 0 })
    }

    /// Serves one frame to every viewer; returns the packets it took.
    fn burst(&mut self, mode: Mode, frame: &[u8]) -> anyhow::Result<u64> {
        let Self { socket, viewers, train, segments, datagram_bytes } = self;
        let mut packets = 0;
        for viewer in viewers {
            for batch in frame.chunks(PAYLOAD_BYTES * *segments) {
                match mode {
                    Mode::Whole | Mode::SealAlone => viewer.seal_train(batch, train)?,
                    Mode::SendAlone => train.resize(train_bytes(batch.len()), 0x33),
                }
                packets += train.len().div_ceil(PACKET_BYTES) as u64;
                if matches!(mode, Mode::Whole | Mode::SendAlone) {
                    *datagram_bytes += train.len() as u64;
                    send(socket, viewer.destination, train)?;
                }
            }
        }
        Ok(packets)
    }
}

/// Length of the train that carries `payload` bytes.
const fn train_bytes(payload: usize) -> usize {
    payload + payload.div_ceil(PAYLOAD_BYTES) * (PACKET_BYTES - PAYLOAD_BYTES)
}

fn send(socket: &Socket, destination: SocketAddr, train: &[u8]) -> anyhow::Result<()> {
    let segment_size = Some(PACKET_BYTES);
    let transmit = Transmit { destination, ecn: None, contents: train, segment_size, src_ip: None };
    socket.send(&transmit).context("sending a train")
}

/// Sockets with UDP_GRO and a thread on the load core that empties them.
struct Receivers {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<anyhow::Result<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    bytes: AtomicU64,
}

impl Receivers {
    fn start() -> anyhow::Result<Self> {
        let sockets = (0..RECEIVER_SOCKETS).map(|_| Socket::bind()).collect::<anyhow::Result<Vec<_>>>()?;
        let addresses = sockets.iter().map(Socket::local).collect();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("receivers".into())
            .spawn(move || drain(&sockets, &theirs))
            .context("starting the receiving thread")?;
        Ok(Self { addresses, shared, thread })
    }

    /// Stops the thread; returns the bytes that arrived.
    fn stop(self) -> anyhow::Result<u64> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the receiving thread panicked"))??;
        Ok(self.shared.bytes.load(Ordering::Relaxed))
    }
}

fn drain(sockets: &[Socket], shared: &Shared) -> anyhow::Result<()> {
    machine::pin(Core::Load)?;
    let mut inbox = Inbox::new();
    // Long enough to wake rarely, short enough to notice the end.
    let patience = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    loop {
        let mut ready = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect::<Vec<_>>();
        let waiting = poll(&mut ready, Some(&patience))?;
        if waiting == 0 && shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        for socket in sockets {
            let trains = socket.receive(&mut inbox)?;
            let bytes = (0..trains).map(|index| inbox.train(index).1.len() as u64).sum();
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
