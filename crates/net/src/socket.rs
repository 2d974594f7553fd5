//! What the loop needs of a datagram socket, and the buffers it receives into.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::RawFd;

pub use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit};

/// Largest UDP datagram, and so the largest GRO batch that one message can carry.
const MAX_MESSAGE: usize = 65_535;

/// A datagram socket: the kernel's ([`crate::udp::UdpSocket`]) or a simulated one.
pub trait Socket: fmt::Debug {
    /// Sends one datagram, or one batch of equal segments when `segment_size` is set.
    ///
    /// # Errors
    /// `WouldBlock`: nothing was sent, offer the same batch again. Any other error: it is lost.
    fn send(&mut self, transmit: &Transmit<'_>) -> io::Result<()>;

    /// Receives up to [`BATCH_SIZE`] messages into `batch`, replacing what it held.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits.
    fn recv(&mut self, batch: &mut RecvBatch) -> io::Result<()>;

    /// Segments that one send may carry at this moment (1 without GSO); falls when the kernel refuses GSO.
    fn max_gso_segments(&self) -> usize;

    /// Whether the network may fragment what is sent; path MTU discovery is off then.
    fn may_fragment(&self) -> bool;

    /// The bound address.
    fn local_addr(&self) -> SocketAddr;

    /// What to poll for readiness; `None` for a simulated socket, whose shard never sleeps by itself.
    fn raw_fd(&self) -> Option<RawFd>;
}

/// Buffers for one batched receive, shared by all ports of a shard.
pub struct RecvBatch {
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    count: usize,
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        // 2 MiB of address space; the kernel backs only what datagrams have touched.
        Self { storage: vec![0; BATCH_SIZE * MAX_MESSAGE], metas: [RecvMeta::default(); BATCH_SIZE], count: 0 }
    }
}

impl RecvBatch {
    /// Forgets what was received.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds one message by copy; `false` when the batch is full or the message too large. For simulated sockets.
    pub fn push(&mut self, mut meta: RecvMeta, data: &[u8]) -> bool {
        let start = self.count * MAX_MESSAGE;
        if self.count == BATCH_SIZE || data.len() > MAX_MESSAGE {
            return false;
        }
        self.storage[start..start + data.len()].copy_from_slice(data);
        meta.len = data.len();
        self.metas[self.count] = meta;
        self.count += 1;
        true
    }

    /// Messages received, each with one or more datagrams of `stride` bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&RecvMeta, &[u8])> {
        let slots = self.storage.chunks_exact(MAX_MESSAGE);
        self.metas[..self.count].iter().zip(slots).map(|(meta, slot)| (meta, &slot[..meta.len.min(MAX_MESSAGE)]))
    }

    /// Lends all slots to a batched receive, which returns how many it filled.
    pub(crate) fn fill_with(
        &mut self,
        recv: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.count = 0;
        let mut slots = self.storage.chunks_exact_mut(MAX_MESSAGE);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(slots.next().unwrap_or_default()));
        self.count = recv(&mut slices, &mut self.metas)?;
        Ok(())
    }
}
