//! One connection as the ideal world carries it: streams that are reliable and ordered each, windows, stream limits,
//! idle timeouts. What QUIC does with packets is left out: a parcel is a frame of any size, and a lost one is sent again.

use crate::plan::{LinkId, NodeId};
use bytes::Bytes;
use sluice_moqt::transport::{Dir, SessionId, StreamId};
use sluice_net::TransportProfile;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// A connection of the world; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnId(pub(super) u64);

/// Bytes of a packet beside its payload.
const OVERHEAD: usize = 60;
/// Bytes of stream data that a packet holds: a sender waits for the room of a whole one. Were it to fill whatever room
/// an acknowledgement leaves, pieces would become smaller and smaller and never grow again.
const PACKET: usize = 1_200;
/// Bytes of a packet of a handshake.
const HANDSHAKE_BYTES: usize = 1_228;

/// What crosses a connection.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// The dialler is there.
    Hello,
    /// The acceptor is, too.
    Welcome,
    /// The dialler has heard that.
    Finished,
    /// The next piece of a stream.
    Stream { id: StreamId, seq: u64, piece: Piece },
    /// A datagram.
    Datagram(Bytes),
    /// Streams that the receiver may have open.
    Limit(Dir, u64),
    /// Nothing but a sign of life.
    Ping,
    /// The sender has closed the connection.
    Close { code: u64, reason: String },
    /// The sender does not know the connection.
    Reset,
}

/// A piece of a stream.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Bytes in order; `fin`: the last.
    Data { chunks: Vec<Bytes>, fin: bool },
    /// The sender abandons the stream; overtakes its data.
    Reset(u64),
    /// The receiving side does not want the stream.
    Stop(u64),
}

impl Frame {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Hello | Self::Welcome | Self::Finished => HANDSHAKE_BYTES,
            Self::Stream { piece, .. } => OVERHEAD + piece.bytes(),
            Self::Datagram(data) => OVERHEAD + data.len(),
            Self::Limit(..) | Self::Ping | Self::Close { .. } | Self::Reset => OVERHEAD,
        }
    }

    /// Whether it is sent again where it was lost.
    pub(super) const fn is_reliable(&self) -> bool {
        match self {
            Self::Hello | Self::Welcome | Self::Finished | Self::Stream { .. } | Self::Limit(..) | Self::Ping => true,
            Self::Datagram(_) | Self::Close { .. } | Self::Reset => false,
        }
    }
}

impl Piece {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Data { chunks, .. } => chunks.iter().map(Bytes::len).sum(),
            Self::Reset(_) | Self::Stop(_) => 0,
        }
    }
}

/// A frame on its way to one end of a connection.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) conn: ConnId,
    pub(super) to: usize,
    pub(super) frame: Frame,
    /// How often it was sent before.
    pub(super) attempt: u32,
}

/// The acknowledgement of a stream's piece on its way to the end that sent it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    pub(super) conn: ConnId,
    pub(super) to: usize,
    pub(super) stream: StreamId,
    pub(super) bytes: usize,
    /// The piece ended the stream.
    pub(super) ending: Option<Ending>,
    pub(super) attempt: u32,
}

/// How a sending half ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Fin,
    Reset,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    /// Dialler and acceptor.
    pub(super) ends: [End; 2],
    /// The link and its way from dialler to acceptor; `None`: they do not reach each other.
    pub(super) link: Option<(LinkId, usize)>,
    /// What the dialler offered.
    pub(super) alpn: Vec<u8>,
    /// The dialler's number for it.
    pub(super) token: u64,
}

/// How far an end is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// The process has not heard of it.
    Idle,
    /// The handshake goes on.
    Shaking,
    /// The process uses it.
    Open,
    /// Closed by this end, which says so again where it hears from the other.
    Closed { code: u64, reason: String },
    /// Unknown here, or its process has ended.
    Gone,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeId,
    /// The life of the node that has it.
    pub(super) life: u32,
    pub(super) phase: Phase,
    pub(super) session: SessionId,
    pub(super) profile: TransportProfile,
    pub(super) streams: Streams,
    /// Frames that came before the handshake was over.
    pub(super) early: Vec<Frame>,
    /// When it heard of the other end last.
    pub(super) heard: Duration,
    /// When the path was reported last.
    pub(super) reported: Option<Duration>,
    /// When a slow reader will have read everything that came.
    pub(super) read_until: Duration,
}

/// The streams of an end.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) sending: HashMap<StreamId, Sending>,
    pub(super) receiving: HashMap<StreamId, Receiving>,
    /// Streams of ours so far: bidirectional, unidirectional.
    pub(super) opened: [u64; 2],
    /// Streams of ours that are open.
    pub(super) open: [u64; 2],
    /// How many may be.
    pub(super) limit: [u64; 2],
    /// One was refused.
    pub(super) refused: [bool; 2],
    /// Refused bytes.
    pub(super) blocked: BTreeSet<StreamId>,
    /// Bytes sent and not acknowledged.
    pub(super) in_flight: usize,
    /// Payload bytes ever taken.
    pub(super) written: u64,
}

/// Our half of a stream.
#[derive(Debug, Default)]
pub(super) struct Sending {
    pub(super) seq: u64,
    pub(super) ended: bool,
    pub(super) acked: bool,
    pub(super) stopped: Option<u64>,
}

/// The other's half of a stream.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    pub(super) next: u64,
    pub(super) held: BTreeMap<u64, Piece>,
    pub(super) over: bool,
}

/// Index of a direction in the tables of [`Streams`].
pub(super) const fn at(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}

/// The direction of a stream.
pub(super) const fn dir_of(stream: StreamId) -> Dir {
    if stream.is_uni() { Dir::Uni } else { Dir::Bi }
}

impl End {
    pub(super) fn new(node: NodeId, profile: TransportProfile, theirs: &TransportProfile) -> Self {
        let limit = [u64::from(theirs.bidi_streams), u64::from(theirs.uni_streams)];
        Self {
            node,
            life: 0,
            phase: Phase::Idle,
            session: SessionId(0),
            profile,
            streams: Streams { limit, ..Streams::default() },
            early: Vec::new(),
            heard: Duration::ZERO,
            reported: None,
            read_until: Duration::ZERO,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        match self.phase {
            Phase::Closed { .. } | Phase::Gone => true,
            Phase::Idle | Phase::Shaking | Phase::Open => false,
        }
    }
}

impl Streams {
    /// Bytes that may be sent now where `window` bytes may be under way.
    pub(super) const fn room(&self, window: usize) -> usize {
        let room = window.saturating_sub(self.in_flight);
        if room < PACKET && self.in_flight > 0 { 0 } else { room }
    }

    /// The bookkeeping of a stream of ours that may have come to its end. Whether another one of its kind may be opened now
    /// that was refused before.
    pub(super) fn settle(&mut self, stream: StreamId) -> bool {
        let sent = self.sending.get(&stream).is_none_or(|half| half.acked);
        let received = stream.is_uni() || self.receiving.get(&stream).is_some_and(|half| half.over);
        if !sent || !received || self.sending.remove(&stream).is_none() {
            return false;
        }
        let kind = at(dir_of(stream));
        self.open[kind] -= 1;
        self.take_available(kind)
    }

    /// Whether a stream of a kind was refused and may be opened now.
    pub(super) fn take_available(&mut self, kind: usize) -> bool {
        self.open[kind] < self.limit[kind] && std::mem::take(&mut self.refused[kind])
    }

    /// What comes in order once a piece is here.
    pub(super) fn receive(&mut self, stream: StreamId, seq: u64, piece: Piece) -> Vec<Piece> {
        let half = self.receiving.entry(stream).or_default();
        if half.over {
            return Vec::new();
        }
        match piece {
            Piece::Reset(_) => {
                half.over = true;
                half.held.clear();
                vec![piece]
            }
            Piece::Stop(_) => vec![piece],
            Piece::Data { .. } => {
                half.held.insert(seq, piece);
                let mut ready = Vec::new();
                while let Some(piece) = half.held.remove(&half.next) {
                    half.next += 1;
                    half.over |= matches!(piece, Piece::Data { fin: true, .. });
                    ready.push(piece);
                }
                ready
            }
        }
    }
}
