//! How connections come about and end.

use super::World;
use super::schedule::Due;
use super::wire::{Conn, ConnId, End, Frame, Parcel, Phase};
use crate::actor::owner_of;
use crate::plan::{Kind, NodeId};
use sluice_moqt::transport::{CloseReason, Dial, Peer, SessionId};
use sluice_net::TransportProfile;
use sluice_netem::model::Token;
use sluice_node::{CONTROL_ALPN, USER_ALPN};
use std::time::Duration;

/// A handshake that takes longer is given up, as in the shard loop.
const HANDSHAKE: Duration = Duration::from_secs(5);

impl World {
    /// A process wants a connection.
    pub(super) fn dial(&mut self, node: NodeId, dial: Dial) {
        let is_relay =
            |id: &NodeId| self.plan.nodes.get(id.index()).is_some_and(|node| matches!(node.kind, Kind::Relay(_)));
        let Some(target) = owner_of(dial.remote).filter(is_relay) else {
            let reason = CloseReason::Transport(format!("nobody has the address {}", dial.remote));
            return self.call(node, |app, now| app.handle_dial_failed(now, dial.token, reason));
        };
        let [client, server] = profiles(&dial.alpn);
        let mut ends = [End::new(node, client.clone(), &server), End::new(target, server, &client)];
        ends[0].phase = Phase::Shaking;
        ends[0].life = self.hosts[node.index()].life;
        let id = ConnId(self.take_number());
        let link = self.plan.link_between(node, target);
        self.conns.insert(id, Conn { ends, link, alpn: dial.alpn, token: dial.token });
        self.schedule.add(self.now + HANDSHAKE, Due::DialOver(id));
        self.send_all(id, 0, vec![Frame::Hello]);
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Whether a parcel has come through its link.
    pub(super) fn survives(&mut self, parcel: &Parcel, token: Token) -> bool {
        let link = self.conns.get(&parcel.conn).and_then(|conn| conn.link);
        link.is_some_and(|(link, out)| {
            let way = if parcel.to == 1 { out } else { 1 - out };
            self.links[link.index()][way].arrives(self.now, token)
        })
    }

    /// A frame for an end whose handshake goes on.
    pub(super) fn shake(&mut self, parcel: Parcel) {
        let Parcel { conn: id, to, frame, .. } = parcel;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let end = &mut conn.ends[to];
        match (to, frame) {
            (1, Frame::Hello) => {
                if end.phase == Phase::Idle {
                    end.phase = Phase::Shaking;
                    end.life = self.hosts[end.node.index()].life;
                    self.send_all(id, 1, vec![Frame::Welcome]);
                }
            }
            (0, Frame::Welcome) => {
                self.send_all(id, 0, vec![Frame::Finished]);
                self.open(id, 0);
            }
            (1, Frame::Finished) => self.open(id, 1),
            (_, Frame::Close { .. } | Frame::Reset) if to == 0 => self.dial_failed(id, CloseReason::Reset),
            (_, Frame::Close { .. } | Frame::Reset) => {
                end.phase = Phase::Gone;
                self.sweep(id);
            }
            (_, frame) => end.early.push(frame),
        }
    }

    /// The handshake of an end is done.
    fn open(&mut self, id: ConnId, to: usize) {
        let session = SessionId(self.take_number());
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let other = conn.ends[1 - to].node;
        let (alpn, token) = (conn.alpn.clone(), (to == 0).then_some(conn.token));
        let idle = idle_of(conn);
        let end = &mut conn.ends[to];
        end.phase = Phase::Open;
        end.session = session;
        end.heard = now;
        let keep_alive = end.profile.keep_alive;
        let early = std::mem::take(&mut end.early);
        self.sessions.insert(session, (id, to));
        self.schedule.add(now + idle, Due::Idle(id, to));
        if let Some(every) = keep_alive {
            self.schedule.add(now + every, Due::Ping(id, to));
        }
        let pop = (alpn != USER_ALPN).then(|| self.plan.node(other).name.clone());
        let remote = if alpn == USER_ALPN { other.user_addr() } else { other.trunk_addr() };
        let peer = Peer { side: super::carry::side(to), alpn, pop, remote, token };
        self.tell(id, to, |app, now| app.handle_connected(now, session, peer));
        for frame in early {
            self.take(id, to, frame);
        }
    }

    /// The process at an end closes a connection.
    pub(super) fn close(&mut self, session: SessionId, code: u64, reason: String) {
        let Some((id, at)) = self.sessions.remove(&session) else { return };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[at].phase = Phase::Closed { code, reason: reason.clone() };
        self.send_all(id, at, vec![Frame::Close { code, reason }]);
        self.tell(id, at, |app, now| app.handle_closed(now, session, CloseReason::Local));
        self.sweep(id);
    }

    /// A connection is over for one end.
    pub(super) fn end_over(&mut self, id: ConnId, at: usize, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let end = &mut conn.ends[at];
        let was_open = end.phase == Phase::Open;
        end.phase = Phase::Gone;
        let session = end.session;
        if was_open {
            self.sessions.remove(&session);
            self.tell(id, at, |app, now| app.handle_closed(now, session, reason));
        }
        self.sweep(id);
    }

    fn dial_failed(&mut self, id: ConnId, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let token = conn.token;
        conn.ends[0].phase = Phase::Gone;
        self.tell(id, 0, |app, now| app.handle_dial_failed(now, token, reason));
        self.sweep(id);
    }

    /// A handshake has had its time.
    pub(super) fn dial_over(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let dialler = conn.ends[0].node;
        if self.hosts[dialler.index()].stopped && conn.ends[0].phase == Phase::Shaking {
            let _ = self.hosts[dialler.index()].defer(Due::DialOver(id));
            return;
        }
        if conn.ends[1].phase == Phase::Shaking {
            conn.ends[1].phase = Phase::Gone;
        }
        if conn.ends[0].phase == Phase::Shaking {
            self.dial_failed(id, CloseReason::TimedOut);
            self.settle(dialler);
        } else {
            self.sweep(id);
        }
    }

    /// Forgets a connection that neither end knows.
    pub(super) fn sweep(&mut self, id: ConnId) {
        let is_over = |end: &End| end.is_over() || end.phase == Phase::Idle;
        if self.conns.get(&id).is_some_and(|conn| conn.ends.iter().all(is_over)) {
            self.conns.remove(&id);
        }
    }

    /// Whether an end has heard nothing for too long.
    pub(super) fn idle(&mut self, id: ConnId, at: usize) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (end, idle) = (&conn.ends[at], idle_of(conn));
        if end.phase != Phase::Open {
            return;
        }
        let node = end.node;
        if self.hosts[node.index()].stopped {
            let _ = self.hosts[node.index()].defer(Due::Idle(id, at));
            return;
        }
        let due = end.heard + idle;
        if due > self.now {
            return self.schedule.add(due, Due::Idle(id, at));
        }
        self.end_over(id, at, CloseReason::TimedOut);
        self.settle(node);
    }

    /// Whether an end has to say something to be heard of.
    pub(super) fn ping(&mut self, id: ConnId, at: usize) {
        let Some(end) = self.conns.get(&id).map(|conn| &conn.ends[at]) else { return };
        let Some(every) = end.profile.keep_alive.filter(|_| end.phase == Phase::Open) else { return };
        let node = end.node;
        if self.hosts[node.index()].stopped {
            let _ = self.hosts[node.index()].defer(Due::Ping(id, at));
            return;
        }
        let due = end.heard + every;
        if due > self.now {
            return self.schedule.add(due, Due::Ping(id, at));
        }
        self.send_all(id, at, vec![Frame::Ping]);
        self.schedule.add(self.now + every, Due::Ping(id, at));
    }
}

/// The smaller timeout of the two ends counts (RFC 9000 10.1).
fn idle_of(conn: &Conn) -> Duration {
    conn.ends[0].profile.idle_timeout.min(conn.ends[1].profile.idle_timeout)
}

/// How the daemon and our client run such a connection: dialler and acceptor.
fn profiles(alpn: &[u8]) -> [TransportProfile; 2] {
    match alpn {
        USER_ALPN => [TransportProfile::client(), TransportProfile::viewer()],
        CONTROL_ALPN => [TransportProfile::trunk_control(), TransportProfile::trunk()],
        _ => [TransportProfile::trunk(), TransportProfile::trunk()],
    }
}
