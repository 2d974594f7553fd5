//! The proxy engine: a UDP forwarder that impairs what passes. No privilege, any system.
//!
//! ```text
//!   client A ──┐                       ┌── socket for A ──┐
//!              ├──▶ listening socket ──┤                  ├──▶ server
//!   client B ──┘     both ways through └── socket for B ──┘
//!                    one pair of links
//! ```
//!
//! All clients share one link, unless each connection is to have its own. The server sees each client by a socket of its own, so that it can tell them apart.
//! Sizes count with IP and UDP headers, as on the wire. The delay counts from the kernel's receive stamp where the system
//! has one, so that a proxy that got no CPU for a while makes packets late only by what exceeds the delay; how late
//! they left is in the [`Report`].
//!
//! ```
//! use sluice_netem::model::{Direction, Span};
//! use sluice_netem::proxy::{Config, Proxy};
//!
//! let slow = Direction::delayed(Span::from_millis(80));
//! let config = Config { seed: 7, ..Config::new(slow.clone(), slow) };
//! let proxy = Proxy::bind("127.0.0.1:0".parse()?, "127.0.0.1:4443".parse()?, config)?;
//! let handle = proxy.handle();
//! println!("send to {} until ^C", proxy.local_addr());
//! std::thread::scope(|scope| {
//!     let running = scope.spawn(|| proxy.run());
//!     handle.stop();
//!     running.join().expect("the proxy does not panic")
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod clients;
mod flight;
mod handle;
mod outbox;
mod port;
mod wait;
mod worker;

pub use crate::lateness::Lateness;
pub use handle::{Handle, Report, Tally};
pub(crate) use port::{Batch, Port, datagrams};
pub(crate) use wait::{Precise, until_ready};

use crate::model::{Direction, Key, Lanes, Sharing, Span, Way};
use crate::priority::Priority;
use handle::Shared;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use worker::Worker;

/// What a proxy does.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Conditions from the clients to the server.
    pub forward: Direction,
    /// Conditions back.
    pub reverse: Direction,
    /// Seed of all random choices.
    pub seed: u64,
    /// Number of the link in its scenario; part of the seed.
    pub link: u32,
    /// Whether all packets share the link, or each connection has one like it.
    pub sharing: Sharing,
    /// Clients at once; packets of others are thrown away.
    pub clients_max: usize,
    /// A client is forgotten when nothing came from it or for it for so long.
    pub client_idle: Span,
    /// Who goes first on a busy machine.
    pub priority: Priority,
}

impl Config {
    /// The conditions of both ways, shared by all, with seed 0, at most 512 clients, forgotten after two minutes, and the
    /// proxy before ordinary threads.
    #[must_use]
    pub const fn new(forward: Direction, reverse: Direction) -> Self {
        // 512 sockets fit into the 1024 descriptors that most systems allow a process.
        let (sharing, client_idle) = (Sharing::All, Span::from_millis(120_000));
        let priority = Priority::RealTime;
        Self { forward, reverse, seed: 0, link: 0, sharing, clients_max: 512, client_idle, priority }
    }
}

/// Why a proxy did not start or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The listening socket could not be had.
    #[error("cannot listen on udp {addr} ({source}); choose another address with --listen")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Packets can't be sent there.
    #[error("cannot forward to {to}: {why}")]
    Target {
        /// The address asked for.
        to: SocketAddr,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Waiting or receiving failed.
    #[error("the proxy's socket failed: {0}")]
    Socket(#[source] io::Error),
}

/// A proxy that listens.
#[derive(Debug)]
pub struct Proxy {
    worker: Worker,
    shared: Arc<Shared>,
    local: SocketAddr,
    priority: Priority,
}

impl Proxy {
    /// Listens on `listen` and will forward to `to`. `[::]` listens for IPv4 too.
    ///
    /// # Errors
    /// The address is in use or not local, or `to` is no address to send to.
    pub fn bind(listen: SocketAddr, to: SocketAddr, config: Config) -> Result<Self, ProxyError> {
        let wrong = |why| Err(ProxyError::Target { to, why });
        if to.port() == 0 {
            return wrong("port 0 is nobody's");
        }
        if to.ip().is_unspecified() {
            return wrong("that is no host; for this machine say 127.0.0.1 or [::1]");
        }
        let itself = listen.ip() == to.ip() || (listen.ip().is_unspecified() && to.ip().is_loopback());
        if itself && listen.port() == to.port() {
            return wrong("the proxy listens there itself");
        }
        let refused = |source| ProxyError::Listen { addr: listen, source };
        let port = Port::bind(listen).map_err(refused)?;
        let local = port.local_addr().map_err(refused)?;
        let Config { forward, reverse, seed, link, sharing, clients_max, client_idle, priority } = config;
        let lanes = |way, config| {
            let key = Key::new(seed, link, way);
            Lanes::new(key, config, sharing)
        };
        let shared = Shared::new(lanes(Way::Forward, forward), lanes(Way::Reverse, reverse));
        let worker = Worker::new(port, to, (clients_max, client_idle.get()), Arc::clone(&shared));
        Ok(Self { worker, shared, local, priority })
    }

    /// The address that clients send to.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What changes, reads and stops the proxy.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Forwards on the calling thread until a [`Handle::stop`]. What is under way then is dropped. Meanwhile the thread has
    /// the priority of the [`Config`], as far as the system permits.
    ///
    /// # Errors
    /// The system refuses to wait or to receive.
    pub fn run(self) -> Result<Report, ProxyError> {
        let handle = self.handle();
        self.worker.run(self.priority).map_err(ProxyError::Socket)?;
        Ok(handle.report())
    }
}

#[cfg(test)]
mod tests;
