//! What a plan does to its nodes and links.

use super::World;
use super::schedule::Due;
use super::wire::{ConnId, Frame, Phase};
use crate::actor::Actor;
use crate::plan::{Act, LinkId, NodeId};
use sluice_netem::model::State;
use std::time::Duration;

/// What a process that is asked to leave has for it.
const GRACE: Duration = Duration::from_secs(2);

impl World {
    /// Carries out an event of the plan.
    pub(super) fn carry_out(&mut self, act: Act) {
        self.watch.on_act(self.now, &act);
        match act {
            Act::Down(link) => self.set_state(link, State::Down),
            Act::Up(link) => self.set_state(link, State::Up),
            // A link's program does it. Connections of the ideal world have ends, and no addresses.
            Act::Set(_) | Act::Rebind(_) => {}
            Act::Kill(node) => self.kill(node),
            Act::Start(node) => self.start(node),
            Act::Quit(node) => self.quit(node),
            Act::Stop(node) => self.hosts[node.index()].stopped = self.hosts[node.index()].actor.is_some(),
            Act::Cont(node) => self.cont(node),
            Act::Clock(node, jump) => self.hosts[node.index()].set_clock(jump),
        }
    }

    fn set_state(&mut self, link: LinkId, state: State) {
        let now = self.now;
        for way in &mut self.links[link.index()] {
            way.set_state(now, state);
        }
    }

    pub(super) fn start(&mut self, node: NodeId) {
        if self.hosts[node.index()].actor.is_some() {
            return;
        }
        let (base, now) = (self.base(), self.now);
        let host = &mut self.hosts[node.index()];
        host.life += 1;
        host.stopped = false;
        host.leaving = false;
        host.armed = None;
        // The plan was tried when the world was made.
        host.actor = Actor::start(&self.plan, node, host.birth(base, now)).ok();
        self.watch.on_start(now, node);
        self.settle(node);
    }

    /// Ends of connections that the process of a node knows.
    fn ends_of(&self, node: NodeId) -> Vec<(ConnId, usize)> {
        let ends = self.conns.iter().flat_map(|(id, conn)| [(*id, 0, &conn.ends[0]), (*id, 1, &conn.ends[1])]);
        ends.filter(|(_, _, end)| end.node == node && !end.is_over() && end.phase != Phase::Idle)
            .map(|(id, at, _)| (id, at))
            .collect()
    }

    /// The process of a node is gone, and nobody is told.
    pub(super) fn kill(&mut self, node: NodeId) {
        for (id, at) in self.ends_of(node) {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.ends[at].phase = Phase::Gone;
                self.sessions.remove(&conn.ends[at].session);
            }
            self.sweep(id);
        }
        let host = &mut self.hosts[node.index()];
        host.actor = None;
        host.stopped = false;
        host.take_inbox();
        self.watch.on_end(self.now, node);
    }

    fn quit(&mut self, node: NodeId) {
        let now = self.instant();
        let host = &mut self.hosts[node.index()];
        let Some(actor) = &mut host.actor else { return };
        actor.quit(now, GRACE);
        host.leaving = true;
        let is_client = !matches!(actor, Actor::Relay(_));
        let life = host.life;
        self.settle(node);
        if is_client {
            return self.leave(node);
        }
        self.schedule.add(self.now + GRACE, Due::GraceOver(node, life));
    }

    pub(super) fn grace_over(&mut self, node: NodeId, life: u32) {
        let host = &self.hosts[node.index()];
        if host.life == life && host.leaving && host.actor.is_some() {
            self.leave(node);
        }
    }

    /// The process of a node ends in order: it closes what is open.
    fn leave(&mut self, node: NodeId) {
        for (id, at) in self.ends_of(node) {
            self.send_all(id, at, vec![Frame::Close { code: 0, reason: String::new() }]);
        }
        self.kill(node);
    }

    fn cont(&mut self, node: NodeId) {
        let host = &mut self.hosts[node.index()];
        if !std::mem::take(&mut host.stopped) {
            return;
        }
        for due in host.take_inbox() {
            self.handle(due);
        }
        self.fire(node);
    }
}
