//! The seam between pure cores and whatever carries bytes: QUIC, a ring between shards, the simulator.
//!
//! Contract of [`App`]: one `handle_*` call mutates, then the host drains [`App::poll_output`] until `None`
//! and reads [`App::poll_timeout`] again. Bytes leave only inside [`App::select`], pulled by the host through
//! a [`StreamSink`], and only as many as the transport takes.

use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One connection as the host numbers it: slab key plus generation, never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// QUIC stream id (RFC 9000 2.1): bit 0 = server initiated, bit 1 = unidirectional.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl StreamId {
    /// Whether data flows one way only.
    #[must_use]
    pub const fn is_uni(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether the server side of the connection opened it.
    #[must_use]
    pub const fn is_server_initiated(self) -> bool {
        self.0 & 1 != 0
    }
}

/// Direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Unidirectional.
    Uni,
    /// Bidirectional.
    Bi,
}

/// The stream is gone: never opened, finished, reset, or stopped by the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The stream does not exist or was finished or reset before.
    #[error("stream is closed")]
    Closed,
    /// The peer sent STOP_SENDING with this code; reset the stream.
    #[error("peer stopped the stream with code {0:#x}")]
    Stopped(u64),
}

/// Why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// Larger than the session's current datagram size.
    #[error("datagram exceeds {max} bytes")]
    TooLarge {
        /// Current limit in bytes.
        max: usize,
    },
    /// The datagram buffer is full; `select` is called again when there is room.
    #[error("datagram buffer is full")]
    Blocked,
    /// The peer does not take datagrams.
    #[error("peer does not support datagrams")]
    Unsupported,
}

/// How urgent bytes are, beside the others of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// As all others, or less.
    #[default]
    Usual,
    /// They go before something that waits or was taken lately: a transport that is full of that may take a little more.
    Urgent,
}

/// The sending half of one connection during one visit.
pub trait StreamSink {
    /// Opens a stream; `None` when the peer's stream limit is reached (the session is woken when it grows).
    fn open(&mut self, dir: Dir) -> Option<StreamId>;

    /// Offers `chunks` in order; returns the bytes accepted. Accepted chunks are left empty, a partly accepted
    /// one is advanced. 0 means blocked: the session gets [`StreamEvent::Writable`] later.
    ///
    /// # Errors
    /// The stream is closed or was stopped by the peer.
    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError>;

    /// Ends the stream after what was written. No effect on a closed stream.
    fn finish(&mut self, stream: StreamId);

    /// Abandons sending with an application code. No effect on a closed stream.
    fn reset(&mut self, stream: StreamId, code: u64);

    /// Asks the peer to stop sending on `stream`.
    fn stop(&mut self, stream: StreamId, code: u64);

    /// How urgent is what is offered from now on in this visit.
    fn set_urgency(&mut self, _urgency: Urgency) {}

    /// Transport priority; larger goes first. Default 0.
    fn set_priority(&mut self, stream: StreamId, priority: i32);

    /// Queues one datagram.
    ///
    /// # Errors
    /// See [`DatagramError`]; the datagram is dropped in every case.
    fn send_datagram(&mut self, data: Bytes) -> Result<(), DatagramError>;

    /// Largest datagram payload now, `None` where datagrams are unsupported.
    fn max_datagram_size(&self) -> Option<usize>;
}

/// Who opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// We dialled.
    Client,
    /// We accepted.
    Server,
}

/// What is known about a connection once its handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Our role.
    pub side: Side,
    /// Negotiated ALPN, for instance `moqt-18` or `sluice-trunk/1`.
    pub alpn: Vec<u8>,
    /// Verified PoP name of a trunk peer (URI SAN `sluice:pop/NAME`), `None` for users.
    pub pop: Option<String>,
    /// Address as seen now.
    pub remote: SocketAddr,
    /// The `token` of the [`Dial`] that led here; `None` for accepted connections.
    pub token: Option<u64>,
}

/// What happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// In-order bytes; `fin` marks the last (data may then be empty).
    Data {
        /// The bytes; a slice of the received packet.
        data: Bytes,
        /// The peer finished the stream.
        fin: bool,
    },
    /// The peer reset its sending side.
    Reset {
        /// Application code.
        code: u64,
    },
    /// The peer asks us to stop sending.
    Stopped {
        /// Application code.
        code: u64,
    },
    /// A blocked write may go on.
    Writable,
    /// All bytes and the FIN were acknowledged.
    Acked,
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed with an application code and reason.
    Peer {
        /// Application code.
        code: u64,
        /// The peer's words, lossily decoded and cut to 256 bytes.
        reason: String,
    },
    /// We closed it (by [`Output::Close`]).
    Local,
    /// Nothing heard for the idle timeout.
    TimedOut,
    /// The peer lost its state (stateless reset).
    Reset,
    /// The handshake failed or the transport was violated; human text.
    Transport(String),
}

/// A connection that the app wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Comes back in [`Peer::token`] or [`App::handle_dial_failed`].
    pub token: u64,
    /// Where to.
    pub remote: SocketAddr,
    /// ALPN to offer.
    pub alpn: Vec<u8>,
    /// TLS server name; for trunks, the PoP name that the certificate must carry.
    pub server_name: String,
}

/// Effects that the host carries out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Visit this session: call [`App::select`] on the next turn. Idempotent.
    Wake(SessionId),
    /// Close the connection with an application code and a short reason.
    Close {
        /// Which.
        session: SessionId,
        /// Application code.
        code: u64,
        /// Reason for the peer; at most 256 bytes.
        reason: String,
    },
    /// Open a connection.
    Dial(Dial),
    /// Raise the number of streams that the peer may have open.
    StreamLimit {
        /// Which session.
        session: SessionId,
        /// Of which kind.
        dir: Dir,
        /// New total of concurrent streams.
        count: u64,
    },
}

/// A measured view of one connection, handed in at each visit where the app asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window in bytes.
    pub cwnd: u64,
    /// UDP payload bytes sent so far.
    pub udp_tx_bytes: u64,
    /// UDP payload bytes received so far.
    pub udp_rx_bytes: u64,
    /// Packets declared lost so far.
    pub lost_packets: u64,
}

/// A pure core hosted by a shard loop: the relay node, a client, a bench.
pub trait App {
    /// The handshake of `session` is done.
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer);

    /// A dial did not lead to a connection.
    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason);

    /// Something happened on a stream. Unknown stream ids of the peer's are new streams.
    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent);

    /// The peer's stream limit grew.
    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir);

    /// One datagram arrived.
    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes);

    /// The connection is gone; the id will not come back.
    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason);

    /// Path figures of a session while it is active: every 100 ms at most if we dialled it or it leads to a relay, else
    /// every second.
    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats);

    /// [`App::poll_timeout`] has passed.
    fn handle_timeout(&mut self, now: Instant);

    /// Writes what `session` may send now into `sink`, until nothing is left or the sink blocks.
    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink);

    /// Next effect, in order; drain until `None` after every `handle_*` and after a round of `select`.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to call [`App::handle_timeout`], if ever.
    fn poll_timeout(&self) -> Option<Instant>;
}
