//! Packets from one socket to another, each with the time at which it was sent.

use crate::clock::Clock;
use crate::model::packet_bytes;
use crate::proxy::{Batch, Port, Precise, datagrams, until_ready};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of a packet's number and time.
const STAMP_BYTES: usize = 12;
/// A receiver that hears nothing for this long after the last was sent has heard all.
const SILENCE: Duration = Duration::from_millis(500);
/// How long a receiver sleeps at most.
const NAP: Duration = Duration::from_millis(20);

/// Packets as they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// How many.
    pub packets: u32,
    /// Bytes of UDP payload of each, at least 12.
    pub payload: usize,
    /// Time between bursts.
    pub every: Duration,
    /// Packets sent at once, at least 1.
    pub burst: u32,
}

/// A packet that arrived, in the time of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its number.
    pub number: u32,
    /// When it was sent.
    pub sent: Duration,
    /// When the kernel had it for the receiver.
    pub received: Duration,
}

/// What was sent and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// What was sent.
    pub stream: Stream,
    /// Bytes of one packet on the wire.
    pub packet_bytes: usize,
    /// How long sending took.
    pub sending: Duration,
    /// What arrived, in order of arrival, copies included.
    pub arrivals: Vec<Arrival>,
}

impl Stream {
    /// Sends the stream from `sender` to `to`, and receives what arrives at `receiver` until nothing more does.
    ///
    /// # Errors
    /// A socket fails.
    pub fn between(self, sender: &UdpSocket, to: SocketAddr, receiver: UdpSocket) -> io::Result<Traffic> {
        let receiver = Port::adopt(receiver.into())?;
        let clock = Clock::start();
        let is_sent = AtomicBool::new(false);
        let (sending, arrivals) = std::thread::scope(|scope| {
            let arrivals = scope.spawn(|| self.receive(&receiver, clock, &is_sent));
            let sending = self.send(sender, to, clock);
            is_sent.store(true, Ordering::Release);
            (sending, arrivals.join().unwrap_or_else(|_| Err(io::Error::other("the receiver panicked"))))
        });
        let packet_bytes = packet_bytes(self.payload.max(STAMP_BYTES), &to);
        Ok(Traffic { stream: self, packet_bytes, sending: sending?, arrivals: arrivals? })
    }

    fn send(self, socket: &UdpSocket, to: SocketAddr, clock: Clock) -> io::Result<Duration> {
        let _precise = Precise::new();
        let mut payload = vec![0; self.payload.max(STAMP_BYTES)];
        let start = clock.now();
        for number in 0..self.packets {
            let due = start + self.every * (number / self.burst.max(1));
            let early = due.saturating_sub(clock.now());
            if !early.is_zero() {
                std::thread::sleep(early);
            }
            stamp(&mut payload, number, clock.now());
            socket.send_to(&payload, to)?;
        }
        Ok(clock.now().saturating_sub(start))
    }

    fn receive(self, port: &Port, clock: Clock, is_sent: &AtomicBool) -> io::Result<Vec<Arrival>> {
        let _precise = Precise::new();
        let mut arrivals = Vec::with_capacity(self.packets as usize);
        let (mut batch, mut ready, mut heard) = (Batch::new(), Vec::new(), clock.now());
        loop {
            until_ready(std::iter::once(port), NAP, &mut ready)?;
            port.receive(&mut batch)?;
            let stamps = clock.stamps();
            for (meta, message) in batch.messages() {
                let received = stamps.time(meta.timestamp);
                heard = clock.now();
                let stamps = datagrams(meta, message).filter_map(read);
                arrivals.extend(stamps.map(|(number, sent)| Arrival { number, sent, received }));
            }
            if !is_sent.load(Ordering::Acquire) {
                heard = heard.max(clock.now());
            } else if clock.now().saturating_sub(heard) > SILENCE {
                return Ok(arrivals);
            }
        }
    }
}

impl Traffic {
    /// Share of the packets that arrived, copies not counted.
    #[must_use]
    pub fn share(&self) -> f64 {
        let mut came: Vec<u32> = self.arrivals.iter().map(|arrival| arrival.number).collect();
        came.sort_unstable();
        came.dedup();
        came.len() as f64 / f64::from(self.stream.packets)
    }

    /// What was sent per second, in bits on the wire.
    #[must_use]
    pub fn offered(&self) -> f64 {
        f64::from(self.stream.packets) * self.bits() / self.sending.as_secs_f64()
    }

    /// What came per second from the first arrival to the last, in bits on the wire; `None` where that is no time.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let (first, last) = (self.arrivals.first()?, self.arrivals.last()?);
        let span = last.received.checked_sub(first.received).filter(|span| !span.is_zero())?;
        Some((self.arrivals.len() - 1) as f64 * self.bits() / span.as_secs_f64())
    }

    fn bits(&self) -> f64 {
        8.0 * self.packet_bytes as f64
    }
}

fn stamp(payload: &mut [u8], number: u32, now: Duration) {
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let stamp = number.to_be_bytes().into_iter().chain(nanos.to_be_bytes());
    payload.iter_mut().zip(stamp).for_each(|(to, from)| *to = from);
}

fn read(payload: &[u8]) -> Option<(u32, Duration)> {
    let (number, rest) = payload.split_first_chunk()?;
    let nanos = rest.first_chunk()?;
    Some((u32::from_be_bytes(*number), Duration::from_nanos(u64::from_be_bytes(*nanos))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(arrivals: Vec<Arrival>) -> Traffic {
        let stream = Stream { packets: 4, payload: 97, every: Duration::ZERO, burst: 1 };
        Traffic { stream, packet_bytes: 125, sending: Duration::from_secs(2), arrivals }
    }

    fn arrival(number: u32, received: u64) -> Arrival {
        Arrival { number, sent: Duration::ZERO, received: Duration::from_secs(received) }
    }

    #[test]
    fn stamps_read_back() {
        let mut payload = [0; 20];
        stamp(&mut payload, 7, Duration::from_nanos(123_456_789_012));
        assert_eq!(read(&payload), Some((7, Duration::from_nanos(123_456_789_012))));
        assert_eq!(read(&payload[..STAMP_BYTES - 1]), None);
    }

    #[test]
    fn figures_of_traffic() {
        let some = traffic(vec![arrival(0, 1), arrival(2, 2), arrival(2, 3), arrival(3, 4)]);
        assert!((some.share() - 0.75).abs() < 1e-9, "copies do not count");
        assert_eq!((some.offered(), some.rate()), (2000.0, Some(1000.0)));
        assert_eq!(traffic(Vec::new()).rate(), None);
        assert_eq!(traffic(vec![arrival(0, 1)]).rate(), None);
    }

    #[test]
    fn a_stream_over_plain_loopback_arrives() {
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = receiver.local_addr().unwrap();
        let stream = Stream { packets: 50, payload: 0, every: Duration::ZERO, burst: 1 };
        let traffic = stream.between(&sender, to, receiver).unwrap();
        assert!((traffic.share() - 1.0).abs() < 1e-9);
        assert!(traffic.arrivals.iter().all(|arrival| arrival.received >= arrival.sent));
        assert_eq!(traffic.packet_bytes, 40);
    }
}
