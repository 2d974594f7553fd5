//! The listener: loopback only, and few connections at once.

use super::{State, http};
use crate::config::LoopbackAddr;
use axum::serve::Listener;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at once: a scraper and an operator need a handful, and a leak elsewhere must not eat the relay's files.
const MAX_CONNECTIONS: usize = 32;

/// The admin address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on TCP {addr} (admin.addr): {source}; choose another with --admin-addr")]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

/// The bound admin interface.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    state: State,
}

impl Server {
    /// Binds `addr`; that it is loopback, the type says.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(addr: LoopbackAddr, state: State) -> Result<Self, BindError> {
        let addr = addr.get();
        let fail = |source| BindError { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(fail)?;
        let addr = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, addr, state })
    }

    /// Where it listens, with the port that port 0 became.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` is ready and the answers under way are out.
    ///
    /// # Errors
    /// None that a client could cause.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let listener = Bounded { listener: self.listener, slots: Arc::new(Semaphore::new(MAX_CONNECTIONS)) };
        axum::serve(listener, http::router(self.state)).with_graceful_shutdown(shutdown).await
    }
}

/// A listener that accepts no more than it has slots.
struct Bounded {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        // `Listener` of a TcpListener retries what fails.
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        (Connection { stream, _slot: slot }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its slot back when it ends.
struct Connection {
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
