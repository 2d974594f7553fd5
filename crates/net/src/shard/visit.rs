//! Visiting a connection: queued ACKs, write, transmit, timer, in that order and once per frame.

use super::core::Core;
use crate::batch::{self, Blocked, Sent};
use crate::conn::{Conn, Marks, Phase};
use crate::sink::QuicSink;
use crate::socket::Socket;
use crate::tls::Peers;
use bytes::Bytes;
use quinn_proto::{Side, VarInt};
use sluice_moqt::transport::{App, CloseReason, PathStats};
use std::time::{Duration, Instant};

/// Visits per turn, about 0.3 ms; then sockets and timers are looked at again. An ACK that waits in the socket while
/// hundreds of others are served is stamped late: quinn-proto takes our own delay for the path's, paces the next large
/// frame in small bursts for it, and each burst is one more visit. One that comes soon finds its connection in the caches.
const VISITS_PER_TURN: usize = 16;
/// GSO batches per visit, 64 KB each; a connection with more goes to the end of the queue.
const BATCHES_PER_VISIT: usize = 4;
/// Between two path reports of one connection, if we dialled it or it leads to a relay.
const STATS_INTERVAL: Duration = Duration::from_millis(100);
/// The same of users, who may be hundreds and whose paths nothing is decided by.
const USER_STATS_INTERVAL: Duration = Duration::from_secs(1);

/// How a transmit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// There was nothing to send, or it may not leave at this moment.
    Quiet,
    /// The same, after something has left.
    Idle,
    /// The visit's share is used up.
    More,
    /// The port is blocked.
    Stalled,
}

impl<S: Socket> Core<S> {
    /// Visits ready connections until none is left or the budget is.
    pub(super) fn serve<A: App>(&mut self, now: Instant, app: &mut A) {
        self.apply(now, app);
        for _ in 0..VISITS_PER_TURN {
            if let Some(key) = self.queues.pipes.pop_front() {
                self.visit_pipe(now, key, app);
            } else if let Some(key) = self.queues.ready.pop_front() {
                self.visit(now, key, app);
            } else {
                return;
            }
            self.apply(now, app);
        }
    }

    fn visit<A: App>(&mut self, now: Instant, key: u32, app: &mut A) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        self.stats.turn.visits += 1;
        // ACKs in hand go before the timers, or a probe timeout fires although the ACK is here.
        self.census.held -= conn.feed_held();
        conn.ring(now);
        conn.ask(now);
        let late = matches!(conn.phase, Phase::Handshaking { deadline, .. } if deadline <= now);
        if late {
            conn.quic.close(now, VarInt::from_u32(0), Bytes::from_static(b"handshake took too long"));
            self.end(now, key, CloseReason::TimedOut, app);
        } else if conn.is_open() && conn.times.pulse.gives_up(now) {
            conn.quic.close(now, VarInt::from_u32(0), Bytes::from_static(b"no answer to the end of the handshake"));
            self.end(now, key, CloseReason::TimedOut, app);
        }
        self.attempt_another(now, key);
        self.pump(now, key, app);
        self.select(now, key, app);
        self.repeat_flight(now, key);
        let flow = self.transmit(now, key);
        self.follow_up(now, key, flow, app);
        self.report(now, key, app);
        self.settle(now, key, flow, app);
    }

    /// Sends what quinn-proto has to say to what has just come, while the connection is in the caches. Nothing of the
    /// app waits; a connection that stands in the queue is visited anyway.
    pub(super) fn answer<A: App>(&mut self, now: Instant, key: u32, app: &mut A) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.marks.has(Marks::QUEUED) {
            return;
        }
        if !conn.is_open() || conn.marks.has(Marks::WAITING) {
            return self.enqueue(key);
        }
        let flow = self.transmit(now, key);
        self.follow_up(now, key, flow, app);
        self.report(now, key, app);
        self.settle(now, key, flow, app);
    }

    /// Sending may have made room for datagrams, and the endpoint may owe connection ids.
    fn follow_up<A: App>(&mut self, now: Instant, key: u32, flow: Flow, app: &mut A) {
        if flow != Flow::Quiet {
            self.pump(now, key, app);
        }
    }

    /// Lets the app write, with a send window that fits the congestion window.
    fn select<A: App>(&mut self, now: Instant, key: u32, app: &mut A) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if !conn.is_open() || !conn.marks.take(Marks::WOKEN) {
            return;
        }
        if let Some(window) = conn.window.update(conn.quic.congestion_state().window()) {
            conn.quic.set_send_window(window);
        }
        let mut sink = QuicSink::new(&mut conn.quic, &mut conn.window);
        app.select(now, conn.id, &mut sink);
        let tally = sink.tally();
        if tally.bytes > 0 {
            conn.held.on_write(now);
            conn.times.pulse.on_write(now, conn.quic.rtt());
        }
        conn.marks.take(Marks::REFUSED);
        if tally.blocked {
            conn.marks.set(Marks::REFUSED);
        }
        Self::desk(&mut self.queues.effects, app, now).drain();
    }

    /// Tells the app now and then how the path does.
    fn report<A: App>(&mut self, now: Instant, key: u32, app: &mut A) {
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        if conn.is_open() && now >= conn.times.stats_due {
            let close_up = conn.leg.peers == Peers::Pops || conn.quic.side() == Side::Client;
            // A peer that has moved has another path, which quinn-proto does not tell.
            conn.watch_losses(now);
            conn.times.stats_due = now + if close_up { STATS_INTERVAL } else { USER_STATS_INTERVAL };
            Self::desk(&mut self.queues.effects, app, now).stats(conn.id, path_stats(conn));
        }
    }

    /// Sends a handshake flight again that did not arrive: Initial packets first, then those of the handshake, since
    /// each probe is for the packets that have waited longest.
    fn repeat_flight(&mut self, now: Instant, key: u32) {
        let Some(conn) = self.conn(key).filter(|conn| conn.marks.has(Marks::UNHEARD)) else { return };
        conn.marks.take(Marks::UNHEARD);
        conn.doubt_handshake_rtt(now);
        for _ in 0..2 {
            let Some(conn) = self.conn(key).filter(|conn| conn.phase != Phase::Ended) else { return };
            conn.ring_early();
            self.transmit(now, key);
        }
    }

    fn transmit(&mut self, now: Instant, key: u32) -> Flow {
        let Some(conn) = self.conns.get_mut(key as usize) else { return Flow::Quiet };
        let port = &mut self.ports[conn.port];
        if port.blocked.is_some() {
            return Flow::Stalled;
        }
        let mut flow = Flow::Quiet;
        for _ in 0..BATCHES_PER_VISIT {
            self.hot.clear();
            // Read again after each send: the kernel may have refused GSO meanwhile.
            let segments = batch::max_segments(port.socket.max_gso_segments(), conn.quic.current_mtu());
            let Some(transmit) = conn.quic.poll_transmit(now, segments, &mut self.hot) else { return flow };
            if batch::send(&mut port.socket, &transmit, &self.hot, &mut self.stats) == Sent::Blocked {
                port.blocked = Some(Blocked::new(transmit, std::mem::take(&mut self.hot)));
                return Flow::Stalled;
            }
            flow = Flow::Idle;
        }
        Flow::More
    }

    /// Ends the visit: queue again, wait for the port, arm the timer, or forget.
    fn settle<A: App>(&mut self, now: Instant, key: u32, flow: Flow, app: &mut A) {
        if self.conns.get(key as usize).is_some_and(|conn| conn.quic.is_drained()) {
            // Whatever ended it, its endpoint and the app are told.
            self.pump(now, key, app);
            self.remove(now, key);
            return;
        }
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        conn.marks.take(Marks::BEHIND);
        if conn.quic.has_pending_retransmits() {
            conn.marks.set(Marks::BEHIND);
        }
        conn.due = conn.deadline();
        if let Some(at) = conn.due {
            self.wheel.arm(key, at, &mut conn.armed);
        }
        conn.marks.take(Marks::QUEUED);
        match flow {
            Flow::More => self.enqueue(key),
            Flow::Stalled => {
                conn.marks.set(Marks::QUEUED);
                self.ports[conn.port].stalled.push(key);
            }
            // Woken after its `select`; one that has ended is never selected again.
            Flow::Quiet | Flow::Idle if conn.marks.has(Marks::WOKEN) && conn.phase != Phase::Ended => {
                self.enqueue(key);
            }
            Flow::Quiet | Flow::Idle => {}
        }
    }
}

fn path_stats(conn: &Conn) -> PathStats {
    let stats = conn.quic.stats();
    PathStats {
        rtt: stats.path.rtt,
        cwnd: stats.path.cwnd,
        udp_tx_bytes: stats.udp_tx.bytes,
        udp_rx_bytes: stats.udp_rx.bytes,
        lost_packets: stats.path.lost_packets,
    }
}
