//! Receiving: from sockets through the endpoint to connections, with the judgement of first packets.

use super::core::{Core, Origin};
use crate::command::Foreign;
use crate::conn::{Marks, Phase};
use crate::incoming::{Address, Source, Verdict};
use crate::pulse::{Header, Heard};
use crate::socket::{RecvBatch, Socket};
use bytes::BytesMut;
use quinn_proto::{ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint, Incoming};
use std::io;
use std::time::Instant;

/// Receive calls per port and turn, each of up to 32 messages: then timers and viewers have their turn.
const RECEIVES_PER_TURN: usize = 8;

impl<S: Socket> Core<S> {
    pub(super) fn receive(&mut self, now: Instant, batch: &mut RecvBatch) {
        let ports = self.ports.len();
        // Another port goes first each turn.
        let first = usize::try_from(self.stats.turn.turns).unwrap_or(0);
        for port in (0..ports).map(|offset| (first + offset) % ports) {
            self.receive_port(now, port, batch);
        }
    }

    fn receive_port(&mut self, now: Instant, index: usize, batch: &mut RecvBatch) {
        let simulated = self.ports[index].socket.raw_fd().is_none();
        for _ in 0..RECEIVES_PER_TURN {
            let port = &mut self.ports[index];
            if !port.readable && !simulated {
                return;
            }
            match port.socket.recv(batch) {
                Ok(()) => self.stats.udp.rx_batches += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    port.readable = false;
                    return;
                }
                // Datagrams behind an error are intact, but an error that stays must not keep the loop awake: the
                // next datagram to arrive makes the port readable again.
                Err(_) => {
                    self.stats.drop.receive_error += 1;
                    port.readable = false;
                    return;
                }
            }
            for (meta, message) in batch.iter() {
                let stride = meta.stride.max(1);
                let mut rest = BytesMut::from(message);
                while !rest.is_empty() {
                    let data = rest.split_to(stride.min(rest.len()));
                    self.stats.udp.rx_datagrams += 1;
                    self.stats.udp.rx_bytes += data.len() as u64;
                    let datagram = Foreign::new(index, meta, data);
                    match self.foreign(&datagram.data) {
                        Some(shard) => self.queues.foreign.push((shard, datagram)),
                        None => self.datagram(now, datagram),
                    }
                }
            }
        }
    }

    fn foreign(&self, data: &[u8]) -> Option<u8> {
        if self.limits.shards < 2 {
            return None;
        }
        self.cids.foreign(data, self.limits.index).filter(|shard| *shard < self.limits.shards)
    }

    /// One datagram that is ours, from our socket or handed over by another shard.
    pub(super) fn datagram(&mut self, now: Instant, datagram: Foreign) {
        let Foreign { port: index, remote, local_ip, ecn, data } = datagram;
        let Some(port) = self.ports.get_mut(index) else { return };
        let ecn = ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        let shape = (data.len(), Header::of(&data));
        self.hot.clear();
        match port.endpoint.handle(now, remote, local_ip, ecn, data, &mut self.hot) {
            None => {}
            Some(DatagramEvent::ConnectionEvent(handle, event)) => self.route(now, (index, handle), event, shape),
            Some(DatagramEvent::NewConnection(incoming)) => self.incoming(now, index, incoming),
            Some(DatagramEvent::Response(transmit)) => self.respond(index, &transmit),
        }
    }

    fn route(&mut self, now: Instant, to: (usize, ConnectionHandle), event: ConnectionEvent, shape: (usize, Header)) {
        let Some(key) = self.ports[to.0].key(to.1) else { return };
        let Some(conn) = self.conns.get_mut(key as usize) else { return };
        let (len, header) = shape;
        let heard = conn.times.pulse.on_heard(now, header, conn.quic.rtt());
        if heard == Heard::Still && conn.may_hold(now, len) {
            let until = now + conn.leg.ack_hold;
            conn.held.push(event, until);
            self.census.held += 1;
            self.stats.turn.held += 1;
            conn.due = conn.due.map_or(Some(until), |due| Some(due.min(until)));
            self.wheel.arm(key, until, &mut conn.armed);
            return;
        }
        // What was held came first.
        self.census.held -= conn.feed_held();
        match heard {
            Heard::Again(silence) if conn.is_open() => conn.feed_after_silence(now, event, silence),
            Heard::Still if conn.is_open() => conn.feed(now, event),
            Heard::Again(_) | Heard::Unfinished | Heard::Still => drop(conn.feed_doubtful(now, event)),
        }
        conn.on_heard_early(now, heard);
        if !conn.marks.has(Marks::FED) {
            conn.marks.set(Marks::FED);
            self.queues.fed.push(key);
        }
    }

    fn incoming(&mut self, now: Instant, index: usize, incoming: Incoming) {
        let source = Source::of(incoming.remote_address().ip());
        let address = if incoming.remote_address_validated() { Address::Proved } else { Address::Unproved };
        let port = &mut self.ports[index];
        self.hot.clear();
        let transmit = match self.gate.judge(now, source, address) {
            Verdict::Accept => return self.accept(now, index, incoming),
            Verdict::Retry => match port.endpoint.retry(incoming, &mut self.hot) {
                Ok(transmit) => transmit,
                Err(error) => port.endpoint.refuse(error.into_incoming(), &mut self.hot),
            },
            Verdict::Refuse => port.endpoint.refuse(incoming, &mut self.hot),
            Verdict::Ignore => return port.endpoint.ignore(incoming),
        };
        self.respond(index, &transmit);
    }

    fn accept(&mut self, now: Instant, index: usize, incoming: Incoming) {
        let source = Source::of(incoming.remote_address().ip());
        let port = &mut self.ports[index];
        let Some(leg) = port.accepted() else { return port.endpoint.ignore(incoming) };
        match port.endpoint.accept(incoming, now, &mut self.hot, None) {
            Ok(mut quic) => {
                // Its first packet to get here was its last. quinn-proto would wait for more until it is idle.
                if let Some(idle) = quic.1.poll_timeout().filter(|_| quic.1.is_closed()) {
                    quic.1.handle_timeout(idle);
                }
                let phase = Phase::Handshaking { attempt: None, deadline: now + self.limits.handshake_timeout };
                self.insert(now, quic, Origin { port: index, leg, phase, source: Some(source) });
            }
            Err(error) => {
                self.gate.stats.failed += 1;
                self.gate.handshake_over();
                self.gate.connection_over(now, source);
                if let Some(transmit) = error.response {
                    self.respond(index, &transmit);
                }
            }
        }
    }
}
