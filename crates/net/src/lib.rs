//! The shard loop: sockets, clock, QUIC and timers around pure cores.
//!
//! ```text
//!   other threads --ShardHandle--> | one thread                                             |
//!   other shards  <----pipes-----> |  Shard = Port*       + connections   + timer wheel + App |
//!                                  |          UDP socket    quinn-proto                       |
//!                                  |          QUIC endpoint held ACKs                         |
//! ```
//!
//! A [`Shard`] owns everything that it touches: no lock, task or channel per connection. Its app is a pure core
//! ([`sluice_moqt::transport::App`]) with a door for commands ([`Hosted`]). The loop hands it events and, for
//! sessions that it wakes, a sink to write into; all else (what to send, to whom, what to drop) is the app's.
//!
//! The contract:
//! - Every call into the app is followed by a full drain of its outputs, which are carried out in order.
//! - All packets, commands and pipe frames that a turn finds reach the app before the first `select` of the turn.
//! - A woken session gets one `select` per turn, with its congestion and send windows up to date.
//! - Streams are read at once and whole; back-pressure is the app's, by dropping.
//! - Time, randomness and bytes come from [`Clock`], a seed and [`Socket`]: with a [`ManualClock`] and simulated
//!   sockets the same loop replays packet for packet. (Not with [`Congestion::Bbr`], and with certificates whose
//!   signatures have one length.)
//!
//! ```
//! use sluice_moqt::transport::*;
//! use sluice_net::{Clock, Hosted, NodeKey, Shard, ShardConfig, SystemClock, UdpSocket};
//! use std::{convert::Infallible, sync::Arc, time::{Duration, Instant}};
//!
//! /// Hears everything and says nothing.
//! struct Mute;
//! impl App for Mute {
//!     fn handle_connected(&mut self, _: Instant, _: SessionId, _: Peer) {}
//!     fn handle_dial_failed(&mut self, _: Instant, _: u64, _: CloseReason) {}
//!     fn handle_stream(&mut self, _: Instant, _: SessionId, _: StreamId, _: StreamEvent) {}
//!     fn handle_streams_available(&mut self, _: Instant, _: SessionId, _: Dir) {}
//!     fn handle_datagram(&mut self, _: Instant, _: SessionId, _: bytes::Bytes) {}
//!     fn handle_closed(&mut self, _: Instant, _: SessionId, _: CloseReason) {}
//!     fn handle_stats(&mut self, _: Instant, _: SessionId, _: PathStats) {}
//!     fn handle_timeout(&mut self, _: Instant) {}
//!     fn select(&mut self, _: Instant, _: SessionId, _: &mut dyn StreamSink) {}
//!     fn poll_output(&mut self) -> Option<Output> { None }
//!     fn poll_timeout(&self) -> Option<Instant> { None }
//! }
//! impl Hosted for Mute {
//!     type Command = Infallible;
//!     fn handle_command(&mut self, _: Instant, command: Infallible) { match command {} }
//! }
//!
//! let config = ShardConfig::single(NodeKey::generate());
//! let mut shard = Shard::<UdpSocket, _>::new(config, Vec::new(), Arc::new(SystemClock), Mute)?;
//! shard.handle().stop(Duration::ZERO).expect("the queue has room");
//! shard.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod clock;
pub mod command;
pub mod config;
pub mod incoming;
pub mod keys;
mod overdue;
pub mod profile;
pub mod rng;
pub mod shard;
pub mod socket;
pub mod stats;
pub mod supervise;
pub mod task;
pub mod tls;
pub mod udp;

mod batch;
mod cid;
mod complaints;
mod congestion;
mod conn;
mod desk;
mod idle;
mod pipe;
mod port;
mod pulse;
mod reason;
mod send_window;
mod sink;
mod timer;

pub use clock::{Clock, ManualClock, SystemClock};
pub use command::{Hosted, SendError, ShardHandle};
pub use config::{PortConfig, ShardConfig};
pub use incoming::Admission;
pub use keys::NodeKey;
pub use profile::{Congestion, Opening, Race, Reordering, SendWindow, TransportProfile};
pub use rng::Rng;
pub use shard::{Shard, ShardError};
pub use socket::{RecvBatch, RecvMeta, Socket, Transmit};
pub use stats::Stats;
pub use supervise::supervise;
pub use udp::{BufferWarning, UdpSocket};
