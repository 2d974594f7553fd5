//! Datagrams that leave together: one call for as many of one size, to one place, as are due.

use super::clients::Clients;
use super::flight::Leg;
use super::port::Port;
use crate::lateness::Distribution;
use crate::model::Way;
use quinn_udp::Transmit;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Bytes in one call: what a UDP datagram over IPv4 can carry, which the kernel holds a batch to.
const BATCH_BYTES_MAX: usize = 65_507;

/// Datagrams gathered for one call.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// When each of them was due.
    due: Vec<Duration>,
    leg: Option<Leg>,
    segment: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::with_capacity(BATCH_BYTES_MAX), due: Vec::with_capacity(64), leg: None, segment: 0 }
    }

    /// Whether a datagram of `length` for `leg` can join. All but the last of a batch have one size.
    pub(super) fn takes(&self, leg: Leg, length: usize, segments_max: usize) -> bool {
        let Some(own) = self.leg else { return true };
        let last_is_whole = self.bytes.len() == self.due.len() * self.segment;
        own == leg
            && last_is_whole
            && (1..=self.segment).contains(&length)
            && self.due.len() < segments_max
            && self.bytes.len() + length <= BATCH_BYTES_MAX
    }

    pub(super) fn push(&mut self, leg: Leg, due: Duration, bytes: &[u8]) {
        if self.leg.is_none() {
            (self.leg, self.segment) = (Some(leg), bytes.len());
        }
        self.due.push(due);
        self.bytes.extend_from_slice(bytes);
    }

    /// Sends what there is and says how many datagrams the kernel refused. `now` tells how late they leave.
    pub(super) fn send(&mut self, now: Duration, doors: &Doors<'_>, late: &mut Distribution) -> u64 {
        let Some(leg) = self.leg.take() else { return 0 };
        let refused = match doors.of(leg) {
            Some(door) => self.send_through(&door, leg),
            // The client was forgotten meanwhile, and with it who waits for these.
            None => 0,
        };
        for due in self.due.drain(..) {
            late.record(now.saturating_sub(due));
        }
        self.bytes.clear();
        refused
    }

    fn send_through(&self, door: &Door<'_>, leg: Leg) -> u64 {
        let transmit = |contents, segment_size| Transmit {
            destination: door.destination,
            ecn: leg.ecn,
            contents,
            segment_size,
            src_ip: door.src_ip,
        };
        let batch = (self.due.len() > 1).then_some(self.segment);
        if door.port.send(&transmit(&self.bytes, batch)).is_ok() {
            return 0;
        }
        // A kernel or device without segmentation refuses batches; each datagram is tried by itself.
        let alone = |datagram| u64::from(door.port.send(&transmit(datagram, None)).is_err());
        match batch {
            Some(segment) => self.bytes.chunks(segment).map(alone).sum(),
            None => 1,
        }
    }
}

/// The sockets that datagrams leave through.
#[derive(Debug)]
pub(super) struct Doors<'a> {
    pub(super) listen: &'a Port,
    pub(super) clients: &'a Clients,
    pub(super) to: SocketAddr,
}

struct Door<'a> {
    port: &'a Port,
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
}

impl<'a> Doors<'a> {
    fn of(&self, leg: Leg) -> Option<Door<'a>> {
        let client = self.clients.get(leg.client)?;
        Some(match leg.way {
            Way::Forward => Door { port: &client.port, destination: self.to, src_ip: None },
            Way::Reverse => Door { port: self.listen, destination: client.addr, src_ip: client.local_ip },
        })
    }

    /// Datagrams that one call towards `leg` carries.
    pub(super) fn segments_max(&self, leg: Leg) -> usize {
        self.of(leg).map_or(1, |door| door.port.segments_max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::clients::ClientId;

    const LEG: Leg = Leg { way: Way::Forward, client: ClientId::NONE, ecn: None };

    #[test]
    fn a_batch_has_one_size_and_one_place() {
        let mut outbox = Outbox::new();
        assert!(outbox.takes(LEG, 0, 64));
        outbox.push(LEG, Duration::ZERO, &[1; 100]);
        assert!(outbox.takes(LEG, 100, 64) && outbox.takes(LEG, 1, 64));
        assert!(!outbox.takes(LEG, 101, 64) && !outbox.takes(LEG, 0, 64) && !outbox.takes(LEG, 100, 1));
        assert!(!outbox.takes(Leg { way: Way::Reverse, ..LEG }, 100, 64));
        outbox.push(LEG, Duration::ZERO, &[1; 60]);
        assert!(!outbox.takes(LEG, 60, 64), "a shorter one ends the batch");
    }

    #[test]
    fn a_batch_is_no_longer_than_a_datagram_may_be() {
        let mut outbox = Outbox::new();
        while outbox.takes(LEG, 1200, 64) {
            outbox.push(LEG, Duration::ZERO, &[1; 1200]);
        }
        assert_eq!(outbox.due.len(), 54);
    }
}
