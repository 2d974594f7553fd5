//! Dialling: attempts that race to the same end.
//!
//! The app hears of one dial with one outcome. The first attempt whose handshake completes is its connection; the
//! others are closed before they have said enough for the peer's app to hear of them. What the peer itself answers to
//! one attempt, a refusal for instance, it would answer to all: that ends the dial.

use super::core::{Core, Origin};
use crate::conn::{Attempt, Phase};
use crate::socket::Socket;
use bytes::Bytes;
use quinn_proto::VarInt;
use sluice_moqt::transport::{App, CloseReason, Dial};
use std::time::Instant;

/// A dial under way.
#[derive(Debug)]
pub(super) struct Dialling {
    dial: Dial,
    /// When all attempts are given up.
    deadline: Instant,
    /// Attempts begun.
    begun: u8,
    /// Those under way, by the keys of their connections.
    runners: Vec<u32>,
}

impl<S: Socket> Core<S> {
    /// Carries a dial out, or says why it cannot be.
    pub(super) fn dial<A: App>(&mut self, now: Instant, dial: Dial, app: &mut A) {
        let deadline = now + self.limits.handshake_timeout;
        let key = self.dials.insert(Dialling { dial, deadline, begun: 0, runners: Vec::new() });
        if let Err(reason) = self.attempt(now, key) {
            self.give_up(now, key, CloseReason::Transport(reason), app);
        }
    }

    /// Begins one more attempt of a dial.
    fn attempt(&mut self, now: Instant, key: usize) -> Result<(), String> {
        let dialling = self.dials.get_mut(key).ok_or("the dial is over")?;
        let dial = &dialling.dial;
        let alpn = String::from_utf8_lossy(&dial.alpn);
        let mut fitting = self.ports.iter_mut().enumerate().filter(|(_, port)| port.dialer(&dial.alpn).is_some());
        let reachable = fitting.find_map(|(index, port)| Some((index, port.reachable(dial.remote)?, port)));
        let Some((index, remote, port)) = reachable else {
            return Err(format!("no port of this shard dials {alpn} to {}", dial.remote));
        };
        let (config, leg) = port.dialer(&dial.alpn).ok_or("the port has lost its dialler")?;
        let quic = port
            .endpoint
            .connect(now, config, remote, &dial.server_name)
            .map_err(|error| format!("cannot dial {} at {}: {error}", dial.server_name, dial.remote))?;
        dialling.begun += 1;
        let another = (dialling.begun < leg.race.attempts).then(|| now + leg.race.after);
        let attempt = Some(Attempt { dial: key, another });
        let phase = Phase::Handshaking { attempt, deadline: dialling.deadline };
        self.gate.stats.dialled += 1;
        let runner = self.insert(now, quic, Origin { port: index, leg, phase, source: None });
        self.dials[key].runners.push(runner);
        Ok(())
    }

    /// Begins another attempt beside one that takes long.
    pub(super) fn attempt_another(&mut self, now: Instant, key: u32) {
        let Some(conn) = self.conn(key) else { return };
        let Phase::Handshaking { attempt: Some(attempt), .. } = &mut conn.phase else { return };
        if attempt.another.take_if(|at| *at <= now).is_some() {
            let dial = attempt.dial;
            // Those under way go on where no further one can be made.
            let _ = self.attempt(now, dial);
        }
    }

    /// One attempt has won: the others are called off. Returns the token of the dial.
    pub(super) fn won(&mut self, now: Instant, attempt: Attempt) -> Option<u64> {
        self.end_dial(now, attempt.dial).map(|dial| dial.token)
    }

    /// An attempt has failed, and with it the dial, unless others may still come through.
    pub(super) fn lost<A: App>(
        &mut self,
        now: Instant,
        (key, attempt): (u32, Attempt),
        reason: CloseReason,
        app: &mut A,
    ) {
        let Some(dialling) = self.dials.get_mut(attempt.dial) else { return };
        dialling.runners.retain(|runner| *runner != key);
        if reason != CloseReason::TimedOut || dialling.runners.is_empty() {
            self.give_up(now, attempt.dial, reason, app);
        }
    }

    fn give_up<A: App>(&mut self, now: Instant, key: usize, reason: CloseReason, app: &mut A) {
        if let Some(dial) = self.end_dial(now, key) {
            self.gate.stats.failed += 1;
            Self::desk(&mut self.queues.effects, app, now).dial_failed(dial.token, reason);
        }
    }

    /// Forgets a dial and calls off what is still under way for it.
    fn end_dial(&mut self, now: Instant, key: usize) -> Option<Dial> {
        let Dialling { dial, runners, .. } = self.dials.try_remove(key)?;
        for runner in runners {
            let Some(conn) = self.conn(runner) else { continue };
            if matches!(conn.phase, Phase::Handshaking { .. }) {
                conn.phase = Phase::Ended;
                conn.quic.close(now, VarInt::from_u32(0), Bytes::from_static(b"another attempt was faster"));
                self.census.live -= 1;
                self.enqueue(runner);
            }
        }
        Some(dial)
    }
}
