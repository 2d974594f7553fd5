//! Who may open a connection: budgets judged before any cryptography.
//!
//! Retry proves a source address at the price of one round trip, so it is asked for only under load. A source is
//! an IPv4 /24 or an IPv6 /56: what one customer can cheaply take addresses from.

use crate::stats::HandshakeStats;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Limits on new connections of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Connections in all; more are refused.
    pub connections: usize,
    /// Connections per source; more are refused.
    pub connections_per_source: u32,
    /// Handshakes under way above which unproved addresses get a Retry.
    pub retry_above: usize,
    /// Handshakes under way above which first packets are dropped.
    pub ignore_above: usize,
    /// New connections per second and source before Retry is asked for, then refused.
    pub rate_per_source: u32,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_source: 2_000,
            retry_above: 256,
            ignore_above: 4_096,
            rate_per_source: 500,
        }
    }
}

/// What to do with a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Retry,
    Refuse,
    Ignore,
}

/// Whether a source has shown that it receives at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    Proved,
    Unproved,
}

/// A source's network prefix, IPv4 mapped into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(u128);

impl Source {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(u128::from(v4.to_ipv6_mapped()) & !0xff),
            IpAddr::V6(v6) => Self(u128::from(v6) & !((1 << 72) - 1)),
        }
    }
}

/// Sources remembered at once. A flood from more than this many prefixes finds the table full and gets Retry.
const MAX_SOURCES: usize = 65_536;

/// A flood of new prefixes must not make each of its packets cost a look at the whole table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Account {
    connections: u32,
    /// When the token bucket would be full again; one token is `1 / rate_per_source`.
    full_at: Instant,
}

/// The gatekeeper of a shard.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Admission,
    sources: BTreeMap<Source, Account>,
    connections: usize,
    handshakes: usize,
    closed: bool,
    /// When idle sources were last forgotten, which looks at all of them.
    swept: Option<Instant>,
    pub(crate) stats: HandshakeStats,
}

impl Gate {
    pub(crate) fn new(limits: Admission) -> Self {
        Self {
            limits,
            sources: BTreeMap::new(),
            connections: 0,
            handshakes: 0,
            closed: false,
            swept: None,
            stats: HandshakeStats::default(),
        }
    }

    /// Refuses everybody from now on.
    pub(crate) const fn close(&mut self) {
        self.closed = true;
    }

    /// Judges a first packet. `Accept` takes the budgets, to be given back by [`Self::handshake_over`] and
    /// [`Self::connection_over`].
    pub(crate) fn judge(&mut self, now: Instant, source: Source, address: Address) -> Verdict {
        let verdict = self.verdict(now, source, address);
        match verdict {
            Verdict::Accept => {
                self.stats.admitted += 1;
                self.admit(now, source);
            }
            Verdict::Retry => self.stats.retried += 1,
            Verdict::Refuse => self.stats.refused += 1,
            Verdict::Ignore => self.stats.ignored += 1,
        }
        verdict
    }

    fn verdict(&mut self, now: Instant, source: Source, address: Address) -> Verdict {
        if self.closed || self.connections >= self.limits.connections {
            return Verdict::Refuse;
        }
        if self.handshakes >= self.limits.ignore_above {
            return Verdict::Ignore;
        }
        let (over_count, over_rate) = self.sources.get(&source).map_or((false, false), |account| {
            // The bucket holds one second's worth.
            let over_rate = account.full_at.saturating_duration_since(now) >= Duration::from_secs(1);
            (account.connections >= self.limits.connections_per_source, over_rate)
        });
        let table_full = self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source);
        if table_full {
            self.forget_idle_sources(now);
        }
        let suspicious = over_count || over_rate || (table_full && self.sources.len() >= MAX_SOURCES);
        match address {
            // An address that is not proved may be somebody else's: never refuse in their name.
            Address::Unproved if suspicious || self.handshakes >= self.limits.retry_above => Verdict::Retry,
            Address::Proved if suspicious => Verdict::Refuse,
            Address::Unproved | Address::Proved => Verdict::Accept,
        }
    }

    fn admit(&mut self, now: Instant, source: Source) {
        self.connections += 1;
        self.handshakes += 1;
        let account = self.sources.entry(source).or_insert(Account { connections: 0, full_at: now });
        account.connections += 1;
        let token = Duration::from_secs(1) / self.limits.rate_per_source.max(1);
        account.full_at = account.full_at.max(now) + token;
    }

    fn forget_idle_sources(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_INTERVAL) {
            return;
        }
        self.swept = Some(now);
        self.sources.retain(|_, account| account.connections > 0 || account.full_at > now);
    }

    /// An admitted handshake has completed or failed.
    pub(crate) const fn handshake_over(&mut self) {
        self.handshakes = self.handshakes.saturating_sub(1);
    }

    /// An admitted connection is gone.
    pub(crate) fn connection_over(&mut self, now: Instant, source: Source) {
        self.connections = self.connections.saturating_sub(1);
        if let Some(account) = self.sources.get_mut(&source) {
            account.connections = account.connections.saturating_sub(1);
            if account.connections == 0 && account.full_at <= now {
                self.sources.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    fn gate(limits: Admission) -> (Gate, Instant) {
        (Gate::new(limits), ManualClock::new(Duration::ZERO).now())
    }

    #[test]
    fn sources_are_prefixes() {
        assert_eq!(source("192.0.2.1"), source("192.0.2.200"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.3.1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8:0:ff::1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:100::1"));
    }

    #[test]
    fn load_asks_for_retry_then_drops() {
        let (mut gate, now) = gate(Admission { retry_above: 1, ignore_above: 3, ..Admission::default() });
        let from = source("192.0.2.1");
        assert_eq!(gate.judge(now, from, Address::Unproved), Verdict::Accept);
        assert_eq!(gate.judge(now, from, Address::Unproved), Verdict::Retry);
        assert_eq!(gate.judge(now, from, Address::Proved), Verdict::Accept);
        assert_eq!(gate.judge(now, from, Address::Proved), Verdict::Accept);
        assert_eq!(gate.judge(now, from, Address::Proved), Verdict::Ignore);
        gate.handshake_over();
        assert_eq!(gate.judge(now, from, Address::Proved), Verdict::Accept);
        assert_eq!(gate.stats.admitted, 4);
    }

    #[test]
    fn one_source_cannot_take_everything() {
        let (mut gate, now) = gate(Admission { connections_per_source: 1, ..Admission::default() });
        let (greedy, other) = (source("192.0.2.1"), source("192.0.3.1"));
        assert_eq!(gate.judge(now, greedy, Address::Unproved), Verdict::Accept);
        assert_eq!(gate.judge(now, greedy, Address::Unproved), Verdict::Retry);
        assert_eq!(gate.judge(now, greedy, Address::Proved), Verdict::Refuse);
        assert_eq!(gate.judge(now, other, Address::Unproved), Verdict::Accept);
        gate.connection_over(now, greedy);
        assert_eq!(gate.judge(now, greedy, Address::Proved), Verdict::Accept);
    }

    #[test]
    fn rate_per_source_refills() {
        let (mut gate, now) = gate(Admission { rate_per_source: 2, ..Admission::default() });
        let from = source("192.0.2.1");
        let results = [(); 3].map(|()| gate.judge(now, from, Address::Proved));
        assert_eq!(results, [Verdict::Accept, Verdict::Accept, Verdict::Refuse]);
        let later = now + Duration::from_millis(500);
        assert_eq!(gate.judge(later, from, Address::Proved), Verdict::Accept);
    }

    #[test]
    fn a_closed_gate_refuses() {
        let (mut gate, now) = gate(Admission::default());
        gate.close();
        assert_eq!(gate.judge(now, source("192.0.2.1"), Address::Unproved), Verdict::Refuse);
    }
}
