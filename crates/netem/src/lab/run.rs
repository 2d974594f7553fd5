//! Packets that leave together: one write for as many of one flow as are due.

use super::datagram::{Datagram, HEADERS, PREFIX, RUN_BYTES_MAX, RUN_MAX, run_headers};
use super::device::{Framing, Port};
use super::flight::{PACKET_MAX, Slot};
use rustix::io::{write, writev};
use std::io::IoSlice;

/// Packets gathered for one write.
#[derive(Debug)]
pub(super) struct Run {
    /// Where each is, and how long.
    packets: Vec<(Slot, usize)>,
    first: Option<First>,
    payloads: usize,
    /// Whether one that is shorter than the first has come, after which nothing can.
    is_ended: bool,
}

/// What those that follow are held to.
#[derive(Debug, Clone, Copy)]
struct First {
    port: usize,
    /// `None`: nothing can follow.
    datagram: Option<Datagram>,
}

/// Where the bytes of a packet are.
pub(super) type Bytes<'a> = &'a dyn Fn(Slot) -> &'a [u8; PACKET_MAX];

impl Run {
    pub(super) fn new() -> Self {
        Self { packets: Vec::with_capacity(RUN_MAX), first: None, payloads: 0, is_ended: false }
    }

    /// Adds a packet that leaves by `port`, unless it has to wait until the others have left.
    pub(super) fn push(&mut self, (number, port): (usize, &Port), (slot, length): (Slot, usize), bytes: &[u8]) -> bool {
        let datagram = match port.framing {
            Framing::Run => Datagram::of(bytes),
            Framing::Bare => None,
        };
        match (self.first, datagram) {
            (None, datagram) => self.first = Some(First { port: number, datagram }),
            (Some(First { port, datagram: Some(first) }), Some(datagram)) => {
                let fits = self.packets.len() < RUN_MAX && HEADERS + self.payloads + datagram.payload <= RUN_BYTES_MAX;
                let follows = !self.is_ended && datagram.payload <= first.payload && first.is_like(&datagram);
                if port != number || !fits || !follows {
                    return false;
                }
                self.is_ended = datagram.payload < first.payload;
            }
            (Some(First { datagram: None, .. }), _) | (Some(_), None) => return false,
        }
        self.payloads += datagram.map_or(0, |datagram| datagram.payload);
        self.packets.push((slot, length));
        true
    }

    /// Writes what there is and says how many packets the kernel did not take.
    pub(super) fn send(&self, ports: &[Port], bytes: Bytes<'_>) -> u64 {
        let Some(First { port, datagram }) = self.first else { return 0 };
        let port = &ports[port];
        if let (Some(first), true) = (datagram, self.packets.len() > 1)
            && self.send_run(port, first.payload, bytes)
        {
            return 0;
        }
        let alone = |(slot, length): &(Slot, usize)| u64::from(write(port, &bytes(*slot)[..*length]).is_err());
        self.packets.iter().map(alone).sum()
    }

    fn send_run(&self, port: &Port, segment: usize, bytes: Bytes<'_>) -> bool {
        let headers_end = port.header + HEADERS;
        let first = self.packets.first().map(|(slot, _)| &bytes(*slot)[port.header..]);
        let Some(first) = first.and_then(<[u8]>::first_chunk) else { return false };
        let head: [u8; PREFIX + HEADERS] = run_headers(first, self.payloads, segment);
        let mut parts = [IoSlice::new(&head); RUN_MAX + 1];
        for (part, (slot, length)) in parts[1..].iter_mut().zip(&self.packets) {
            *part = IoSlice::new(&bytes(*slot)[headers_end..*length]);
        }
        // A kernel that refuses is given the packets one by one.
        writev(port, &parts[..=self.packets.len()]).is_ok()
    }

    /// What was gathered, and begins anew.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Slot> + '_ {
        (self.first, self.payloads, self.is_ended) = (None, 0, false);
        self.packets.drain(..).map(|(slot, _)| slot)
    }
}
