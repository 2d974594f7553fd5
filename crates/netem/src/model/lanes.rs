//! Many links that an engine sees as one: behind one address each connection has a link of its own.

use super::line::Line;
use super::{Counters, Direction, Key, Program, State, Token, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Connections with a link of their own; those that come on top share one.
const LANES_MAX: usize = 65_536;
/// Bytes of a QUIC connection id that tell connections apart.
const ID_BYTES: usize = 8;
/// The first bit of a QUIC packet with a long header: one of a handshake, which tells how long its ids are.
const LONG_HEADER: u8 = 0x80;
/// In a long header, bytes before the length of the destination's id: the first, and four of a version.
const VERSION_BYTES: usize = 4;

/// Whose packets share a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Sharing {
    /// Everybody's.
    #[default]
    All,
    /// Those of one QUIC connection: clients behind one socket have a link each, as if each had a socket of its own.
    /// A connection that changes its id gets another, empty one. Once ids of less than 8 bytes have passed, packets
    /// after a handshake may begin with anything, and those of unknown connections share one.
    Connection,
}

/// One direction of a link, or of a link per connection. Pure, as [`Link`](super::Link).
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    key: Key,
    sharing: Sharing,
    /// For packets of no known connection.
    common: Line,
    /// By connection.
    own: BTreeMap<u64, Line>,
    /// Those of them with a queue, and some that had one: an engine stands still while queues are looked at, and
    /// thousands of connections have none.
    queued: BTreeSet<u64>,
    /// What all of them have done.
    counters: Counters,
    /// Whether short ids have passed.
    is_ambiguous: bool,
}

/// A packet under way, as [`Lanes`] know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    connection: Option<u64>,
    token: Token,
}

/// What becomes of a packet: [`Verdict`], as far as an engine needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// When it arrives, unless the link is cut meanwhile.
    pub(crate) at: Duration,
    /// When a copy of it does.
    pub(crate) copy: Option<Duration>,
    /// What to ask [`Lanes::arrives`] with, for both.
    pub(crate) ticket: Ticket,
}

impl Lanes {
    /// Links that are up under the conditions of `config`.
    pub(crate) fn new(key: Key, config: Direction, sharing: Sharing) -> Self {
        Self {
            key,
            sharing,
            common: Line::new(key, config),
            own: BTreeMap::new(),
            queued: BTreeSet::new(),
            counters: Counters::default(),
            is_ambiguous: false,
        }
    }

    /// What becomes of the next packet, which comes at `now`, carries `datagram` over UDP and has `bytes` with its IP
    /// header; `None`: it is gone.
    pub(crate) fn offer(&mut self, now: Duration, datagram: &[u8], bytes: usize) -> Option<Delivery> {
        let connection = match self.sharing {
            Sharing::All => None,
            Sharing::Connection => self.connection(datagram),
        };
        let (line, counters) = self.line(connection);
        let verdict = line.offer(now, bytes, counters);
        let waits = line.backlog(now) > Duration::ZERO;
        self.queued.extend(connection.filter(|_| waits));
        match verdict {
            Verdict::Drop(_) => None,
            Verdict::Deliver { at, copy, queued: _, token } => {
                Some(Delivery { at, copy, ticket: Ticket { connection, token } })
            }
        }
    }

    /// As [`Link::arrives`](super::Link::arrives).
    pub(crate) fn arrives(&mut self, due: Duration, ticket: Ticket) -> bool {
        let (line, counters) = self.line(ticket.connection);
        line.arrives(due, ticket.token, counters)
    }

    /// As [`Link::set`](super::Link::set), of all of them and those to come.
    pub(crate) fn set(&mut self, now: Duration, config: &Direction) {
        self.all_mut().for_each(|line| line.set(now, config.clone()));
    }

    /// As [`Link::set_state`](super::Link::set_state), likewise.
    pub(crate) fn set_state(&mut self, now: Duration, state: State) {
        self.all_mut().for_each(|line| line.set_state(now, state));
    }

    /// As [`Link::run_program`](super::Link::run_program), likewise.
    pub(crate) fn run_program(&mut self, now: Duration, program: &Program, begun: Duration) {
        self.all_mut().for_each(|line| line.run_program(now, program.clone(), begun));
    }

    /// As [`Link::backlog`](super::Link::backlog), where it is longest.
    pub(crate) fn backlog(&mut self, now: Duration) -> Duration {
        let mut longest = self.common.backlog(now);
        self.queued.retain(|connection| {
            let waits = self.own.get(connection).map_or(Duration::ZERO, |line| line.backlog(now));
            longest = longest.max(waits);
            waits > Duration::ZERO
        });
        longest
    }

    /// What all of them have done.
    pub(crate) const fn counters(&self) -> Counters {
        self.counters
    }

    fn line(&mut self, connection: Option<u64>) -> (&mut Line, &mut Counters) {
        let own = connection.and_then(|connection| self.own.get_mut(&connection));
        (own.unwrap_or(&mut self.common), &mut self.counters)
    }

    /// The connection of a datagram, if it has a link of its own; one that begins is given one.
    fn connection(&mut self, datagram: &[u8]) -> Option<u64> {
        let connection = match destination(datagram)? {
            Destination::Told(Some(id)) => id,
            Destination::Told(None) => {
                self.is_ambiguous = true;
                return None;
            }
            // Peers change to ids that they were told in private.
            Destination::Untold(id) if !self.is_ambiguous || self.own.contains_key(&id) => id,
            Destination::Untold(_) => return None,
        };
        if !self.own.contains_key(&connection) {
            let number = u32::try_from(self.own.len()).ok().filter(|_| self.own.len() < LANES_MAX)?;
            let place = self.key.link ^ (number + 1).rotate_left(u32::BITS / 2);
            let key = Key::new(self.key.seed, place, self.key.way);
            self.own.insert(connection, self.common.sibling(key));
        }
        Some(connection)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        std::iter::once(&mut self.common).chain(self.own.values_mut())
    }

    /// Whether it carries anything.
    #[cfg(test)]
    pub(crate) const fn state(&self) -> State {
        self.common.state()
    }
}

/// The first bytes of the destination's id in a QUIC packet (RFC 9000 17.2, 17.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    /// The header tells how long the id is; `None`: too short.
    Told(Option<u64>),
    /// It does not: an id, if it is long enough.
    Untold(u64),
}

fn destination(datagram: &[u8]) -> Option<Destination> {
    let start = |id: &[u8]| id.first_chunk::<ID_BYTES>().map(|id| u64::from_be_bytes(*id));
    let (first, rest) = datagram.split_first()?;
    if first & LONG_HEADER == 0 {
        return start(rest).map(Destination::Untold);
    }
    let (length, id) = rest.get(VERSION_BYTES..)?.split_first()?;
    id.get(..usize::from(*length)).map(|id| Destination::Told(start(id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Capacity, Queue, Rate, Span, Way};

    const KEY: Key = Key::new(7, 3, Way::Forward);
    const BYTES: usize = 1250;

    /// 10 ms per packet.
    fn megabit() -> Direction {
        Direction::default().with_bottleneck(Capacity::Rate(Rate::megabits(1)), Queue::Time(Span::from_millis(500)))
    }

    fn lanes(sharing: Sharing) -> Lanes {
        Lanes::new(KEY, megabit(), sharing)
    }

    fn handshake(id: u8) -> Vec<u8> {
        [&[0xc0, 0, 0, 0, 1, 10][..], &[id; 10], &[0; 40]].concat()
    }

    fn short(id: u8) -> Vec<u8> {
        [&[0x40][..], &[id; 10], &[0; 40]].concat()
    }

    fn arrives(lanes: &mut Lanes, at: u64, datagram: &[u8]) -> Option<u128> {
        let delivery = lanes.offer(Duration::from_millis(at), datagram, BYTES)?;
        lanes.arrives(delivery.at, delivery.ticket).then_some(delivery.at.as_millis())
    }

    #[test]
    fn connections_do_not_wait_for_each_other() {
        let mut own = lanes(Sharing::Connection);
        let mut came = |datagram: &[u8]| arrives(&mut own, 0, datagram);
        assert_eq!([came(&handshake(1)), came(&short(1)), came(&short(1))], [Some(10), Some(20), Some(30)]);
        assert_eq!([came(&handshake(2)), came(&short(2))], [Some(10), Some(20)]);
        let mut all = lanes(Sharing::All);
        let mut came = |datagram: &[u8]| arrives(&mut all, 0, datagram);
        assert_eq!([came(&handshake(1)), came(&handshake(2)), came(&short(2))], [Some(10), Some(20), Some(30)]);
        assert_eq!(own.counters().delivered.packets, 5);
        assert_eq!(own.counters().offered, all_packets(5));
        assert_eq!(own.backlog(Duration::ZERO), Duration::from_millis(30), "that of the longest queue");
    }

    fn all_packets(packets: u64) -> crate::model::Tally {
        crate::model::Tally { packets, bytes: packets * BYTES as u64 }
    }

    #[test]
    fn a_look_at_the_queues_passes_over_those_who_have_none() {
        let ms = Duration::from_millis;
        let mut lanes = Lanes::new(KEY, Direction::delayed(Span::from_millis(5)), Sharing::Connection);
        (0..=255).for_each(|id| assert_eq!(arrives(&mut lanes, 0, &handshake(id)), Some(5)));
        assert_eq!((lanes.own.len(), lanes.queued.len()), (256, 0), "no bottleneck");
        lanes.set(ms(10), &megabit());
        for id in [1, 1, 2] {
            arrives(&mut lanes, 10, &handshake(id)).expect("it is up");
        }
        assert_eq!((lanes.backlog(ms(15)), lanes.queued.len()), (ms(15), 2));
        assert_eq!((lanes.backlog(ms(20)), lanes.queued.len()), (ms(10), 1));
        assert_eq!((lanes.backlog(ms(30)), lanes.queued.len()), (ms(0), 0));
        assert_eq!(lanes.counters().delivered, all_packets(259));
    }

    #[test]
    fn an_id_that_was_told_in_private_is_a_connections_too() {
        let mut lanes = lanes(Sharing::Connection);
        let mut came = |datagram: &[u8]| arrives(&mut lanes, 0, datagram);
        assert_eq!([came(&handshake(1)), came(&handshake(2))], [Some(10); 2]);
        assert_eq!([came(&short(11)), came(&short(12)), came(&short(11))], [Some(10), Some(10), Some(20)]);
    }

    #[test]
    fn what_cannot_be_told_apart_shares_a_link() {
        let mut lanes = lanes(Sharing::Connection);
        arrives(&mut lanes, 0, &handshake(1)).expect("it is up");
        let brief = [0xc0, 0, 0, 0, 1, 2, 9, 9];
        let strays: [&[u8]; 5] = [&[], &[0x40], &[0xc0, 0, 0, 0, 1, 255, 1], &brief, &short(9)];
        let came = strays.map(|stray| arrives(&mut lanes, 0, stray));
        assert_eq!(came, [Some(10), Some(20), Some(30), Some(40), Some(50)]);
        assert_eq!(arrives(&mut lanes, 0, &short(1)), Some(20), "known before");
    }

    #[test]
    fn what_changes_changes_for_all_and_for_who_comes_later() {
        let mut lanes = lanes(Sharing::Connection);
        arrives(&mut lanes, 0, &handshake(1)).expect("it is up");
        lanes.set_state(Duration::from_millis(5), State::Down);
        assert_eq!(arrives(&mut lanes, 6, &short(1)), None);
        assert_eq!(arrives(&mut lanes, 6, &handshake(2)), None);
        lanes.set_state(Duration::from_millis(7), State::Up);
        lanes.set(Duration::from_millis(7), &Direction::delayed(Span::from_millis(50)));
        assert_eq!([1, 2].map(|id| arrives(&mut lanes, 10, &short(id))), [Some(60); 2]);
        assert_eq!(arrives(&mut lanes, 10, &handshake(3)), Some(60));
    }

    #[test]
    fn each_link_makes_choices_of_its_own() {
        let lossy = Direction::default().with_loss(crate::model::Loss::Random(crate::model::Ratio::percent(50)));
        let mut lanes = Lanes::new(KEY, lossy, Sharing::Connection);
        let mut fates = |id| {
            lanes.offer(Duration::ZERO, &handshake(id), BYTES);
            (0..64).map(|_| lanes.offer(Duration::ZERO, &short(id), BYTES).is_some()).collect::<Vec<_>>()
        };
        assert_ne!(fates(1), fates(2));
    }
}
