//! How frames cross: offered to a link, delivered to a stream, acknowledged, or sent again.

use super::World;
use super::schedule::Due;
use super::wire::{Ack, ConnId, Ending, Frame, Parcel, Phase, Piece, dir_of};
use crate::trace::Outcome;
use bytes::Bytes;
use sluice_moqt::transport::{CloseReason, Dir, Side, StreamEvent, StreamId};
use sluice_netem::model::{State, Verdict};
use std::time::Duration;

/// Least time before a lost parcel is sent again.
const MIN_RESEND: Duration = Duration::from_millis(25);
/// Longest pause between two attempts, so that a mended path is found within it.
const MAX_RESEND: Duration = Duration::from_secs(1);

impl World {
    /// Sends frames from one end of a connection to the other.
    pub(super) fn send_all(&mut self, conn: ConnId, from: usize, frames: Vec<Frame>) {
        for frame in frames {
            self.send(Parcel { conn, to: 1 - from, frame, attempt: 0 });
        }
    }

    /// Offers a parcel to the link.
    pub(super) fn send(&mut self, parcel: Parcel) {
        let Some((link, way)) = self.way_of(&parcel) else {
            self.trace.add(self.now, u64::MAX >> 34, parcel.frame.bytes(), Outcome::Lost);
            return self.lost(parcel);
        };
        let bytes = parcel.frame.bytes();
        let number = (link * 2 + way) as u64;
        match self.links[link][way].offer(self.now, bytes) {
            Verdict::Deliver { at, token, .. } => {
                self.trace.add(self.now, number, bytes, Outcome::Delivered);
                self.schedule.add(at, Due::Arrive(parcel, token));
            }
            Verdict::Drop(_) => {
                self.trace.add(self.now, number, bytes, Outcome::Lost);
                self.lost(parcel);
            }
        }
    }

    /// The link that a parcel takes, and which way.
    fn way_of(&self, parcel: &Parcel) -> Option<(usize, usize)> {
        let (link, out) = self.conns.get(&parcel.conn)?.link?;
        // The way from dialler to acceptor leads to end 1.
        Some((link.index(), if parcel.to == 1 { out } else { 1 - out }))
    }

    /// The round trip of a connection, without queues.
    pub(super) fn round_trip(&self, conn: ConnId) -> Duration {
        let link = self.conns.get(&conn).and_then(|conn| conn.link);
        link.map_or(Duration::ZERO, |(link, _)| {
            self.links[link.index()].iter().map(|way| way.config().delay.get()).sum()
        })
    }

    /// A parcel did not arrive: it is sent again after a while, where it matters.
    pub(super) fn lost(&mut self, parcel: Parcel) {
        if parcel.frame.is_reliable() {
            let first = MIN_RESEND.max(self.round_trip(parcel.conn) * 5 / 4);
            let pause = first.saturating_mul(1 << parcel.attempt.min(8)).min(MAX_RESEND.max(first));
            self.schedule.add(self.now + pause, Due::Resend(parcel));
        }
    }

    pub(super) fn resend(&mut self, mut parcel: Parcel) {
        let Some(conn) = self.conns.get(&parcel.conn) else { return };
        let sender = &conn.ends[1 - parcel.to];
        if sender.is_over() {
            return;
        }
        let node = sender.node;
        if self.hosts[node.index()].stopped {
            // Timers of a process that does not run do not fire.
            let _ = self.hosts[node.index()].defer(Due::Resend(parcel));
            return;
        }
        parcel.attempt += 1;
        self.send(parcel);
    }

    /// A parcel has come out of its link.
    pub(super) fn arrive(&mut self, parcel: Parcel) {
        let Some(conn) = self.conns.get_mut(&parcel.conn) else { return };
        let end = &mut conn.ends[parcel.to];
        let host = &mut self.hosts[end.node.index()];
        if host.actor.is_none() {
            return self.lost(parcel);
        }
        if host.stopped {
            if let Err(Due::Read(parcel)) = host.defer(Due::Read(parcel)) {
                self.lost(parcel);
            }
            return;
        }
        if let Some(rate) = self.reads[end.node.index()] {
            let bytes = parcel.frame.bytes() as u64;
            let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1));
            end.read_until = end.read_until.max(self.now) + takes;
            self.schedule.add(end.read_until, Due::Read(parcel));
            return;
        }
        self.deliver(parcel);
    }

    /// The process of the receiving end gets a parcel.
    pub(super) fn deliver(&mut self, parcel: Parcel) {
        let Parcel { conn: id, to, .. } = parcel;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let node = conn.ends[to].node;
        let host = &mut self.hosts[node.index()];
        if host.actor.is_none() {
            return self.lost(parcel);
        }
        if host.stopped {
            let _ = host.defer(Due::Read(parcel));
            return;
        }
        let phase = conn.ends[to].phase.clone();
        conn.ends[to].heard = self.now;
        match phase {
            Phase::Closed { code, reason } => {
                self.send(Parcel { conn: id, to: 1 - to, frame: Frame::Close { code, reason }, attempt: 0 });
            }
            Phase::Gone => {
                // A relay that has restarted has its old address; a client has a new port, where nobody hears.
                if to == 1 {
                    self.send(Parcel { conn: id, to: 0, frame: Frame::Reset, attempt: 0 });
                } else {
                    self.lost(parcel);
                }
            }
            Phase::Idle | Phase::Shaking => self.shake(parcel),
            Phase::Open => self.take(id, to, parcel.frame),
        }
        self.settle(node);
    }

    /// An open end takes a frame.
    pub(super) fn take(&mut self, id: ConnId, to: usize, frame: Frame) {
        match frame {
            Frame::Hello | Frame::Welcome | Frame::Finished => {}
            Frame::Ping => {
                let nothing = StreamId(0);
                self.acknowledge(Ack { conn: id, to: 1 - to, stream: nothing, bytes: 0, ending: None, attempt: 0 });
            }
            Frame::Stream { id: stream, seq, piece } => self.take_piece((id, to), stream, seq, piece),
            Frame::Datagram(data) => {
                let Some(session) = self.session_at(id, to) else { return };
                self.tell(id, to, |app, now| app.handle_datagram(now, session, data));
            }
            Frame::Limit(dir, count) => self.take_limit(id, to, dir, count),
            Frame::Close { code, reason } => self.end_over(id, to, CloseReason::Peer { code, reason }),
            Frame::Reset => self.end_over(id, to, CloseReason::Reset),
        }
    }

    fn take_limit(&mut self, id: ConnId, to: usize, dir: Dir, count: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let kind = super::wire::at(dir);
        let streams = &mut conn.ends[to].streams;
        streams.limit[kind] = streams.limit[kind].max(count);
        if streams.take_available(kind) {
            self.tell_available(id, to, dir);
        }
    }

    fn take_piece(&mut self, (id, to): (ConnId, usize), stream: StreamId, seq: u64, piece: Piece) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let end = &mut conn.ends[to];
        let bytes = piece.bytes();
        let ending = match &piece {
            Piece::Data { fin: true, .. } => Some(Ending::Fin),
            Piece::Reset(_) => Some(Ending::Reset),
            Piece::Data { fin: false, .. } | Piece::Stop(_) => None,
        };
        let is_stop = matches!(piece, Piece::Stop(_));
        let session = end.session;
        if !stream.is_uni() && !is_ours(stream, to) {
            // The answering half of a request stream comes into being with the stream.
            end.streams.sending.entry(stream).or_default();
        }
        if let Piece::Stop(code) = piece {
            let half = end.streams.sending.get_mut(&stream).filter(|half| !half.ended && half.stopped.is_none());
            if let Some(half) = half {
                half.stopped = Some(code);
                self.tell(id, to, |app, now| app.handle_stream(now, session, stream, StreamEvent::Stopped { code }));
            }
        } else {
            for piece in end.streams.receive(stream, seq, piece) {
                self.tell_piece((id, to), stream, piece);
            }
        }
        self.settle_stream(id, to, stream);
        if !is_stop {
            let ack = Ack { conn: id, to: 1 - to, stream, bytes, ending, attempt: 0 };
            self.acknowledge(ack);
        }
    }

    fn tell_piece(&mut self, (id, to): (ConnId, usize), stream: StreamId, piece: Piece) {
        let Some(session) = self.session_at(id, to) else { return };
        match piece {
            Piece::Data { mut chunks, fin } => {
                if chunks.is_empty() {
                    chunks.push(Bytes::new());
                }
                let last = chunks.len() - 1;
                for (at, data) in chunks.into_iter().enumerate() {
                    let event = StreamEvent::Data { data, fin: fin && at == last };
                    self.tell(id, to, |app, now| app.handle_stream(now, session, stream, event));
                }
            }
            Piece::Reset(code) => {
                self.tell(id, to, |app, now| app.handle_stream(now, session, stream, StreamEvent::Reset { code }));
            }
            Piece::Stop(_) => {}
        }
    }

    /// An acknowledgement goes back.
    fn acknowledge(&mut self, ack: Ack) {
        let parcel = Parcel { conn: ack.conn, to: ack.to, frame: Frame::Ping, attempt: 0 };
        let Some((link, way)) = self.way_of(&parcel) else { return };
        let delay = self.links[link][way].config().delay.get();
        self.schedule.add(self.now + delay, Due::Acked(ack));
    }

    /// An acknowledgement has come back, unless the way is cut: then a later one will.
    pub(super) fn acked(&mut self, ack: Ack) {
        let parcel = Parcel { conn: ack.conn, to: ack.to, frame: Frame::Ping, attempt: 0 };
        let Some((link, way)) = self.way_of(&parcel) else { return };
        let Some(conn) = self.conns.get_mut(&ack.conn) else { return };
        let end = &mut conn.ends[ack.to];
        if end.phase != Phase::Open {
            return;
        }
        if self.links[link][way].state() == State::Down {
            let pause = MIN_RESEND.saturating_mul(1 << ack.attempt.min(8)).min(MAX_RESEND);
            let ack = Ack { attempt: ack.attempt + 1, ..ack };
            return self.schedule.add(self.now + pause, Due::Acked(ack));
        }
        let node = end.node;
        if self.hosts[node.index()].stopped {
            let _ = self.hosts[node.index()].defer(Due::Acked(ack));
            return;
        }
        end.heard = self.now;
        end.streams.in_flight = end.streams.in_flight.saturating_sub(ack.bytes);
        let session = end.session;
        if let Some(ending) = ack.ending {
            if let Some(half) = end.streams.sending.get_mut(&ack.stream) {
                half.acked = true;
            }
            if ending == Ending::Fin {
                let stream = ack.stream;
                self.tell(ack.conn, ack.to, |app, now| app.handle_stream(now, session, stream, StreamEvent::Acked));
            }
            self.settle_stream(ack.conn, ack.to, ack.stream);
        }
        self.unblock(ack.conn, ack.to);
        self.settle(node);
    }

    /// Streams that were refused bytes may write again.
    fn unblock(&mut self, id: ConnId, to: usize) {
        let window = self.window_of(id, to);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let end = &mut conn.ends[to];
        if end.streams.room(window) == 0 || end.streams.blocked.is_empty() {
            return;
        }
        let session = end.session;
        for stream in std::mem::take(&mut end.streams.blocked) {
            self.tell(id, to, |app, now| app.handle_stream(now, session, stream, StreamEvent::Writable));
        }
    }

    fn settle_stream(&mut self, id: ConnId, to: usize, stream: StreamId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if is_ours(stream, to) && conn.ends[to].streams.settle(stream) {
            self.tell_available(id, to, dir_of(stream));
        }
    }

    fn tell_available(&mut self, id: ConnId, to: usize, dir: Dir) {
        let Some(session) = self.session_at(id, to) else { return };
        self.tell(id, to, |app, now| app.handle_streams_available(now, session, dir));
    }
}

/// Which side an end is.
pub(super) const fn side(end: usize) -> Side {
    if end == 0 { Side::Client } else { Side::Server }
}

fn is_ours(stream: StreamId, end: usize) -> bool {
    stream.is_server_initiated() == (side(end) == Side::Server)
}
