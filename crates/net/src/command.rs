//! From other threads into a shard: one bounded queue and a waker.

use crate::pipe::{self, End, Other};
use crate::socket::{EcnCodepoint, RecvMeta};
use bytes::BytesMut;
use mio::Waker;
use sluice_moqt::transport::App;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// An [`App`] with a door for other threads.
pub trait Hosted: App {
    /// What may be asked of it; [`std::convert::Infallible`] for nothing.
    type Command: Send + 'static;

    /// Carries out `command`; effects leave by `poll_output` as always.
    fn handle_command(&mut self, now: Instant, command: Self::Command);
}

/// The command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue is full; the shard is behind. Try again later or give up.
    #[error("the shard's command queue is full")]
    Full,
    /// The shard has ended.
    #[error("the shard has ended")]
    Gone,
}

/// What goes through the queue.
#[derive(Debug)]
pub(crate) enum Message<C> {
    Command(C),
    /// A datagram that the kernel gave to the wrong shard.
    Foreign(Foreign),
    /// One end of a pipe to another shard.
    Pipe(Box<End>),
    /// Another shard was started again.
    Sibling {
        index: u8,
        handle: ShardHandle<C>,
    },
    Stop {
        grace: Duration,
    },
}

/// A datagram on its way to the shard that its connection id names.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) port: usize,
    pub(crate) remote: SocketAddr,
    pub(crate) local_ip: Option<IpAddr>,
    pub(crate) ecn: Option<EcnCodepoint>,
    pub(crate) data: BytesMut,
}

impl Foreign {
    pub(crate) fn new(port: usize, meta: &RecvMeta, data: BytesMut) -> Self {
        Self { port, remote: meta.addr, local_ip: meta.dst_ip, ecn: meta.ecn, data }
    }
}

/// Sends to one shard from any thread. Cheap to clone.
pub struct ShardHandle<C> {
    sender: SyncSender<Message<C>>,
    waker: Option<Arc<Waker>>,
}

impl<C> Clone for ShardHandle<C> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<C> fmt::Debug for ShardHandle<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShardHandle")
    }
}

impl<C> ShardHandle<C> {
    /// Queues `command` for [`Hosted::handle_command`].
    ///
    /// # Errors
    /// The queue is full or the shard gone; the command is dropped.
    pub fn send(&self, command: C) -> Result<(), SendError> {
        self.send_message(Message::Command(command))
    }

    /// Ends the shard: no new connections from now on; [`crate::Shard::run`] returns when the last one has
    /// closed or `grace` is over, whichever comes first. Tell the app to send its goodbyes before this.
    ///
    /// # Errors
    /// The queue is full or the shard gone.
    pub fn stop(&self, grace: Duration) -> Result<(), SendError> {
        self.send_message(Message::Stop { grace })
    }

    /// Connects this shard and `other` by a pipe in memory, over which their apps talk `alpn` as two PoPs would.
    /// `names` says what each is called, this one first: the other app sees it as [`Peer::pop`]. This one is the
    /// client. The pipe's sessions end with [`CloseReason::Reset`] when either shard ends.
    ///
    /// [`Peer::pop`]: sluice_moqt::transport::Peer::pop
    /// [`CloseReason::Reset`]: sluice_moqt::transport::CloseReason::Reset
    ///
    /// # Errors
    /// Either queue is full or either shard gone.
    pub fn join(&self, other: &Self, alpn: &[u8], names: [&str; 2]) -> Result<(), SendError> {
        let [own_name, other_name] = names.map(str::to_owned);
        let seen = [
            Other { name: other_name, waker: other.waker.clone() },
            Other { name: own_name, waker: self.waker.clone() },
        ];
        let [client, server] = pipe::ends(alpn, seen);
        self.send_message(Message::Pipe(Box::new(client)))?;
        other.send_message(Message::Pipe(Box::new(server)))
    }

    /// Names shard `index` of the process anew, which was started again: datagrams that are its go to `handle`.
    ///
    /// # Errors
    /// The queue is full or the shard gone.
    pub fn introduce(&self, index: u8, handle: Self) -> Result<(), SendError> {
        self.send_message(Message::Sibling { index, handle })
    }

    pub(crate) fn send_message(&self, message: Message<C>) -> Result<(), SendError> {
        self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Disconnected(_) => SendError::Gone,
        })?;
        if let Some(waker) = &self.waker
            && let Err(error) = waker.wake()
        {
            // The message is queued; the next timer or packet finds it.
            tracing::warn!(%error, "cannot wake a shard");
        }
        Ok(())
    }
}

pub(crate) fn channel<C>(capacity: usize, waker: Option<Arc<Waker>>) -> (ShardHandle<C>, Receiver<Message<C>>) {
    let (sender, receiver) = sync_channel(capacity);
    (ShardHandle { sender, waker }, receiver)
}
