//! Transport parameters per kind of leg, each figure with its reason.

use crate::congestion::{self, LiveConfig};
use quinn_proto::congestion::{BbrConfig, CubicConfig};
use quinn_proto::{AckFrequencyConfig, IdleTimeout, TransportConfig, VarInt};
use std::time::Duration;

/// First guess where we dial, which decides when a lost handshake packet is sent again: Chromium's, after which the
/// first probe goes at 300 ms. RFC 9002 6.2.2 says that it SHOULD be 333 ms, so a probe at 1 s; what that protects,
/// paths of more than 300 ms, pays with a repeated packet or two.
const DIALLER_RTT: Duration = Duration::from_millis(100);
/// First guess where users dial us: RFC 9002's. We know nothing of their paths, and repeating a flight of certificates
/// once more keeps a viewer behind 10 kbit/s from ever joining.
const LISTENER_RTT: Duration = Duration::from_millis(333);

/// ACKs of viewers wait so long: each costs a cold look at a connection, which the next frame's visit makes anyway. It
/// pays with hundreds of connections.
const ACK_HOLD: Duration = Duration::from_millis(10);
/// A viewer's stream, which is what the path has to carry at once.
const STREAM_RATE: u64 = 4_000_000;
/// A few streams' between PoPs, whose links are made for many.
const TRUNK_RATE: u64 = 20_000_000;
/// A server only answers.
const NO_RACE: Race = Race { attempts: 1, after: Duration::ZERO };
/// The first rival comes a little after the first probe, whose answer a short path has brought by then.
const RACE: Race = Race { attempts: 5, after: Duration::from_millis(320) };

/// Congestion controller of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Congestion {
    /// RFC 9438: fair to others, collapses under random loss (2.7 of 50 Mbit/s at 1 %).
    Cubic,
    /// BBR version 1: holds under random loss (39.5 of 50 Mbit/s at 1 %), and keeps a queue when the path slows down.
    ///
    /// Its gain cycle starts at a random phase that `quinn-proto` does not let us seed.
    Bbr,
    /// Ours, for media: reacts to queues rather than losses and stays open while the application limits
    /// (docs/reliability.md has the comparison).
    Live,
}

/// Bytes that the transport may hold unacknowledged, following the congestion window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendWindow {
    /// Never less.
    pub min: u64,
    /// Never more; also what one slow peer can cost in memory.
    pub max: u64,
}

/// What is assumed and done before anything is known of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Round-trip time assumed before the first sample.
    pub rtt: Duration,
    /// First UDP payload size; path MTU discovery goes on up to 1,452.
    pub mtu: u16,
    /// Bits per second that the first window is good for, under [`Congestion::Live`]. A count of packets alone is a rate
    /// that falls with the round trip, to 0.25 Mbit/s by satellite, where each doubling takes a second.
    pub rate: u64,
    /// How a dial that takes long is helped.
    pub race: Race,
}

/// Further attempts at a dial whose handshake takes long. The first to finish is the connection, the others are closed.
///
/// A handshake that lost packets waits for probe timeouts that double, and a server that has heard little may send
/// little: a fresh attempt has neither behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Race {
    /// Attempts at most, the first one included; 1 for no race.
    pub attempts: u8,
    /// From the beginning of an attempt to that of the next.
    pub after: Duration,
}

/// For how long a packet that others overtook may be overdue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reordering {
    /// 3/8 of a round trip: costs nothing to know.
    Fixed,
    /// From 1/8 to 3/8, as the path shows. Each repair comes that much sooner; a look at the connection's figures per
    /// datagram.
    Measured,
}

/// How one kind of connection is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportProfile {
    /// Unidirectional streams that the peer may have open at first (`Output::StreamLimit` raises it).
    pub uni_streams: u32,
    /// Bidirectional streams that the peer may have open at first.
    pub bidi_streams: u32,
    /// Receive window per stream, bytes.
    pub stream_window: u32,
    /// Receive window per connection, bytes.
    pub connection_window: u32,
    /// Send window range.
    pub send_window: SendWindow,
    /// Silence that ends the connection.
    pub idle_timeout: Duration,
    /// A PING after so much silence of ours; `None`: the peer keeps itself alive.
    pub keep_alive: Option<Duration>,
    /// Congestion controller.
    pub congestion: Congestion,
    /// Asks the peer for one ACK per this many packets, where it speaks ACK_FREQUENCY.
    pub ack_every: Option<u32>,
    /// Longest time that a probable ACK waits for the next visit of a connection that writes steadily; zero: none does.
    pub ack_hold: Duration,
    /// When a packet that others overtook is lost.
    pub reordering: Reordering,
    /// Before anything is known of the path.
    pub opening: Opening,
    /// Bytes of datagrams held in each direction.
    pub datagram_buffer: usize,
}

impl TransportProfile {
    /// A user at our edge. quinn-proto makes a map entry for every stream that the peer may open, so idle
    /// memory is 42 KB with these limits and 88 KB with a thousand.
    #[must_use]
    pub const fn viewer() -> Self {
        Self {
            uni_streams: 8,
            bidi_streams: 32,
            stream_window: 1 << 20,
            connection_window: 4 << 20,
            // At 64 KiB a viewer of 120 kbit/s was four seconds behind before anybody noticed.
            send_window: SendWindow { min: 16 << 10, max: 1 << 20 },
            idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            congestion: Congestion::Live,
            ack_every: Some(10),
            ack_hold: ACK_HOLD,
            // Reading of thousands of connections what is read of each ACK costs more than it gives.
            reordering: Reordering::Fixed,
            opening: Opening { rtt: LISTENER_RTT, mtu: 1200, rate: STREAM_RATE, race: NO_RACE },
            datagram_buffer: 128 << 10,
        }
    }

    /// Media between two of our relays: never window-limited on a 200 ms path at 1 Gbit/s.
    #[must_use]
    pub const fn trunk() -> Self {
        Self {
            uni_streams: 4096,
            bidi_streams: 4096,
            stream_window: 4 << 20,
            connection_window: 32 << 20,
            send_window: SendWindow { min: 1 << 20, max: 32 << 20 },
            idle_timeout: Duration::from_secs(10),
            // An idle media leg must stand when the first viewer comes; probes travel on the control leg.
            keep_alive: Some(Duration::from_secs(3)),
            congestion: Congestion::Live,
            ack_every: Some(10),
            // Loss is repaired sooner by what is read sooner, and trunks are few.
            ack_hold: Duration::ZERO,
            reordering: Reordering::Measured,
            opening: Opening { rtt: DIALLER_RTT, mtu: 1200, rate: TRUNK_RATE, race: RACE },
            datagram_buffer: 1 << 20,
        }
    }

    /// Control between two of our relays: a few kbit/s of link state and probes, so nothing may delay an ACK
    /// and an application-limited controller must not probe for bandwidth.
    #[must_use]
    pub const fn trunk_control() -> Self {
        Self {
            uni_streams: 64,
            bidi_streams: 64,
            stream_window: 1 << 20,
            connection_window: 4 << 20,
            send_window: SendWindow { min: 256 << 10, max: 1 << 20 },
            keep_alive: None,
            congestion: Congestion::Cubic,
            ack_every: None,
            datagram_buffer: 128 << 10,
            ..Self::trunk()
        }
    }

    /// Our own tools: publishers and viewers in one.
    #[must_use]
    pub const fn client() -> Self {
        Self {
            uni_streams: 1024,
            bidi_streams: 64,
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            send_window: SendWindow { min: 256 << 10, max: 8 << 20 },
            // A publisher without viewers and a viewer of a silent track have nothing else to say.
            keep_alive: Some(Duration::from_secs(10)),
            ack_hold: Duration::ZERO,
            reordering: Reordering::Measured,
            opening: Opening { rtt: DIALLER_RTT, mtu: 1200, rate: STREAM_RATE, race: RACE },
            ..Self::viewer()
        }
    }

    pub(crate) fn transport_config(&self) -> TransportConfig {
        let mut config = TransportConfig::default();
        config
            .max_concurrent_uni_streams(VarInt::from_u32(self.uni_streams))
            .max_concurrent_bidi_streams(VarInt::from_u32(self.bidi_streams))
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.connection_window))
            .send_window(self.send_window.min)
            .initial_mtu(self.opening.mtu)
            .datagram_receive_buffer_size(Some(self.datagram_buffer))
            .datagram_send_buffer_size(self.datagram_buffer)
            // Equal priorities share the window: one large object must not hold back its neighbours.
            .send_fairness(true)
            // Told by time, not by how many overtook.
            .packet_threshold(u32::MAX)
            .time_threshold(1.0 + congestion::MOST)
            .initial_rtt(self.opening.rtt)
            .keep_alive_interval(self.keep_alive)
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok());
        match self.congestion {
            Congestion::Cubic => config.congestion_controller_factory(std::sync::Arc::new(CubicConfig::default())),
            Congestion::Bbr => config.congestion_controller_factory(std::sync::Arc::new(BbrConfig::default())),
            Congestion::Live => config
                .congestion_controller_factory(std::sync::Arc::new(LiveConfig { first_rate: self.opening.rate / 8 })),
        };
        if let Some(every) = self.ack_every {
            let mut ack = AckFrequencyConfig::default();
            // The threshold counts packets that may go without an ACK.
            ack.ack_eliciting_threshold(VarInt::from_u32(every.saturating_sub(1)));
            config.ack_frequency_config(Some(ack));
        }
        config
    }
}
