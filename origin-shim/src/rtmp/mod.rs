//! RTMP from encoders: a listener of ours, and an ffmpeg child per connection that turns FLV into fragmented MP4.
//!
//! ```text
//! OBS ──TCP──> Session (handshake, commands, chunks) ──FLV──> ffmpeg ──fMP4──> the player of a source
//! ```
//! ffmpeg's own listener (`-listen 1`) takes one connection per process and does not tell the stream key, so several
//! encoders could not push at once; the server's side of RTMP is small, and here it is, as a pure state machine.

mod amf;
mod chunk;
mod connection;
mod flv;
mod session;

use crate::outlet::Gone;
use crate::sources::Studio;
use sluice_moqt::Namespace;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Encoders at once: each costs a process.
const CONNECTIONS_MAX: usize = 64;
/// Pause after the listener failed, as it does when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes RTMP connections.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    names: Names,
}

impl Listener {
    /// Listens at `addr` and gives away every namespace below `live` but those in `taken`.
    pub(crate) async fn bind(addr: SocketAddr, taken: Vec<Namespace>) -> io::Result<Self> {
        let socket = TcpListener::bind(addr).await?;
        Ok(Self { socket, names: Names(Arc::new(Mutex::new(taken.into_iter().collect()))) })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves encoders until the relay has ended.
    pub(crate) async fn serve(self, studio: Studio) -> Gone {
        let mut connections: JoinSet<Result<(), Gone>> = JoinSet::new();
        loop {
            let has_room = connections.len() < CONNECTIONS_MAX;
            tokio::select! {
                accepted = self.socket.accept(), if has_room => match accepted {
                    Ok((stream, peer)) => drop(connections.spawn(Box::pin(serve(stream, peer, self.names.clone(), studio.clone())))),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an RTMP connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => match ended {
                    Ok(Ok(())) => {}
                    Ok(Err(gone)) => return gone,
                    Err(error) => tracing::error!(%error, "an RTMP connection ended by a panic"),
                },
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, names: Names, studio: Studio) -> Result<(), Gone> {
    tracing::debug!(%peer, "RTMP connection");
    match connection::Connection::new(stream, names).run(&studio).await {
        Ok(()) => tracing::info!("RTMP stream has ended"),
        Err(connection::Error::Gone(gone)) if studio.is_over() => return Err(gone),
        // The encoder comes again, and finds the shard that took the place.
        Err(error) => tracing::warn!(%error, "RTMP connection closed"),
    }
    Ok(())
}

/// Namespaces in use.
#[derive(Debug, Clone)]
struct Names(Arc<Mutex<BTreeSet<Namespace>>>);

impl Names {
    /// Takes `namespace`, unless somebody has it.
    fn claim(&self, namespace: &Namespace) -> Option<Claim> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(namespace.clone()).then(|| Claim { names: self.clone(), namespace: namespace.clone() })
    }
}

/// A namespace in use; free again when this drops.
#[derive(Debug)]
struct Claim {
    names: Names,
    namespace: Namespace,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.names.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.namespace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_one_publisher_at_a_time() {
        let names = Names(Arc::default());
        let match7 = Namespace::from_path("live/match7").unwrap();
        let claim = names.claim(&match7).unwrap();
        assert!(names.claim(&match7).is_none());
        drop(claim);
        assert!(names.claim(&match7).is_some());
    }
}
