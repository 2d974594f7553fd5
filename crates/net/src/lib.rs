//! The shard loop: sockets, clock, QUIC and timers around pure cores.
#![doc = ""]

pub mod clock;
pub mod command;
pub mod config;
pub mod incoming;
pub mod keys;
pub mod profile;
pub mod rng;
pub mod shard;
pub mod socket;
pub mod stats;
pub mod task;
pub mod tls;
pub mod udp;

mod batch;
mod cid;
mod conn;
mod desk;
mod pipe;
mod port;
mod reason;
mod send_window;
mod sink;
mod timer;

pub use clock::{Clock, ManualClock, SystemClock};
pub use command::{Hosted, SendError, ShardHandle};
pub use config::{PortConfig, ShardConfig};
pub use incoming::Admission;
pub use keys::NodeKey;
pub use profile::{Congestion, SendWindow, TransportProfile};
pub use rng::Rng;
pub use shard::{Shard, ShardError};
pub use socket::{RecvBatch, RecvMeta, Socket, Transmit};
pub use stats::Stats;
pub use udp::{BufferWarning, UdpSocket};
