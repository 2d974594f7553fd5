//! From quinn-proto's events to the app's.

use super::core::Core;
use crate::conn::{Conn, Marks, Phase};
use crate::desk::Desk;
use crate::reason::close_reason;
use crate::sink::{dir_from_quic, from_quic};
use crate::socket::Socket;
use crate::tls::{Peers, pop_name};
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{Event, ReadError, Side as QuicSide, StreamEvent as QuicStreamEvent};
use rustls_pki_types::CertificateDer;
use sluice_moqt::transport::{App, CloseReason, Peer, Side, StreamEvent};
use std::net::SocketAddr;
use std::time::Instant;

impl<S: Socket> Core<S> {
    /// Tells the app what the packets received before this turn's visits have brought.
    pub(super) fn deliver<A: App>(&mut self, now: Instant, app: &mut A) {
        let mut fed = std::mem::take(&mut self.queues.fed);
        for key in fed.drain(..) {
            if let Some(conn) = self.conn(key) {
                conn.marks.take(Marks::FED);
                let said = self.queues.effects.len();
                self.pump(now, key, app);
                if self.queues.effects.len() == said {
                    self.answer(now, key, app);
                } else {
                    self.enqueue(key);
                }
            }
        }
        self.queues.fed = fed;
    }

    /// Drains a connection's events towards its endpoint and the app until both are empty. Endpoint events left
    /// behind would mean ids never issued and slots never freed.
    pub(super) fn pump<A: App>(&mut self, now: Instant, key: u32, app: &mut A) {
        while let Some(conn) = self.conns.get_mut(key as usize) {
            let endpoint = &mut self.ports[conn.port].endpoint;
            while let Some(event) = conn.quic.poll_endpoint_events() {
                if let Some(answer) = endpoint.handle_event(conn.handle, event) {
                    conn.quic.handle_event(answer);
                }
            }
            let Some(event) = conn.quic.poll() else { return };
            let mut desk = Self::desk(&mut self.queues.effects, app, now);
            match event {
                Event::Connected => self.connected(key, app, now),
                Event::ConnectionLost { reason } => self.end(now, key, close_reason(reason), app),
                Event::Stream(event) => {
                    conn.times.pulse.on_fed(now);
                    stream_event(conn, event, &mut desk);
                }
                Event::DatagramReceived => datagrams(conn, &mut desk),
                // `select` is where datagrams are sent, so that is where there is room for them again.
                Event::DatagramsUnblocked => conn.marks.set(Marks::WOKEN),
                Event::HandshakeDataReady => {}
            }
        }
    }

    fn connected<A: App>(&mut self, key: u32, app: &mut A, now: Instant) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let Phase::Handshaking { attempt, .. } = conn.phase else { return };
        conn.on_open(now);
        self.gate.stats.completed += 1;
        if conn.source.is_some() {
            self.gate.handshake_over();
        }
        let token = attempt.and_then(|attempt| self.won(now, attempt));
        let Some(conn) = self.conns.get(key as usize) else { return };
        let peer = peer(conn, token);
        Self::desk(&mut self.queues.effects, app, now).connected(conn.id, peer);
    }

    /// Tells the app, once, that a connection or dial is over.
    pub(super) fn end<A: App>(&mut self, now: Instant, key: u32, reason: CloseReason, app: &mut A) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let phase = std::mem::replace(&mut conn.phase, Phase::Ended);
        match phase {
            Phase::Ended => return,
            Phase::Open => Self::desk(&mut self.queues.effects, app, now).closed(conn.id, reason),
            Phase::Handshaking { attempt: Some(attempt), .. } => self.lost(now, (key, attempt), reason, app),
            Phase::Handshaking { attempt: None, .. } => self.refused(now, key, &reason),
        }
        self.census.live -= 1;
    }

    /// Whoever dialled us has not come through.
    fn refused(&mut self, now: Instant, key: u32, reason: &CloseReason) {
        let Some(conn) = self.conns.get(key as usize) else { return };
        self.gate.stats.failed += 1;
        self.gate.handshake_over();
        // Nobody else says it here: the app does not know of the connection.
        if let (CloseReason::Transport(cause), Peers::Pops) = (reason, conn.leg.peers) {
            self.gate.stats.peers_refused += 1;
            let from = conn.quic.remote_address();
            if let Some(unsaid) = self.complaints.due(now, from.ip()) {
                tracing::warn!(%from, cause, unsaid, "a trunk peer could not connect");
            }
        }
    }
}

fn stream_event<A: App>(conn: &mut Conn, event: QuicStreamEvent, desk: &mut Desk<'_, A>) {
    if !conn.is_open() {
        return;
    }
    let session = conn.id;
    match event {
        QuicStreamEvent::Opened { dir } => {
            // Data of a new stream comes without an event of its own.
            while let Some(id) = conn.quic.streams().accept(dir) {
                read(conn, id, desk);
            }
        }
        QuicStreamEvent::Readable { id } => read(conn, id, desk),
        QuicStreamEvent::Writable { id } => desk.stream(session, from_quic(id), StreamEvent::Writable),
        QuicStreamEvent::Finished { id } => desk.stream(session, from_quic(id), StreamEvent::Acked),
        QuicStreamEvent::Stopped { id, error_code } => {
            desk.stream(session, from_quic(id), StreamEvent::Stopped { code: error_code.into_inner() });
        }
        QuicStreamEvent::Available { dir } => desk.streams_available(session, dir_from_quic(dir)),
    }
}

fn datagrams<A: App>(conn: &mut Conn, desk: &mut Desk<'_, A>) {
    while let Some(data) = conn.quic.datagrams().recv() {
        if conn.is_open() {
            desk.datagram(conn.id, data);
        }
    }
}

/// Hands over everything that has arrived in order; a relay never stops reading.
fn read<A: App>(conn: &mut Conn, id: quinn_proto::StreamId, desk: &mut Desk<'_, A>) {
    let (session, stream) = (conn.id, from_quic(id));
    let mut recv = conn.quic.recv_stream(id);
    let Ok(mut chunks) = recv.read(true) else { return };
    // One chunk is kept back, so that the last one can carry the FIN.
    let mut last = None;
    let end = loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => {
                if let Some(data) = last.replace(chunk.bytes) {
                    desk.stream(session, stream, StreamEvent::Data { data, fin: false });
                }
            }
            Ok(None) => break Some(StreamEvent::Data { data: last.take().unwrap_or_default(), fin: true }),
            Err(ReadError::Blocked) => break None,
            Err(ReadError::Reset(code)) => break Some(StreamEvent::Reset { code: code.into_inner() }),
        }
    };
    // Credit frames leave with the transmit that follows every delivery.
    let _ = chunks.finalize();
    if let Some(data) = last {
        desk.stream(session, stream, StreamEvent::Data { data, fin: false });
    }
    if let Some(event) = end {
        desk.stream(session, stream, event);
    }
}

fn peer(conn: &Conn, token: Option<u64>) -> Peer {
    let crypto = conn.quic.crypto_session();
    let alpn = crypto.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok()?.protocol);
    let chain = crypto.peer_identity().and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    let pop = match conn.leg.peers {
        Peers::Users => None,
        Peers::Pops => chain.and_then(|chain| pop_name(chain.first()?)),
    };
    let remote = conn.quic.remote_address();
    Peer {
        side: match conn.quic.side() {
            QuicSide::Client => Side::Client,
            QuicSide::Server => Side::Server,
        },
        alpn: alpn.unwrap_or_default(),
        pop,
        remote: SocketAddr::new(remote.ip().to_canonical(), remote.port()),
        token,
    }
}
