//! Waiting for sockets and other threads: epoll by way of `mio`, which is already in the tree through tokio and
//! keeps our code free of `unsafe`.

use crate::batch::Blocked;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

const WAKER: Token = Token(usize::MAX);

/// Readiness of one port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    pub(super) port: usize,
    pub(super) readable: bool,
}

pub(super) struct Poller {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    ports: Vec<Watched>,
}

struct Watched {
    fd: RawFd,
    interest: Interest,
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poller")
    }
}

impl Poller {
    pub(super) fn new(fds: &[RawFd]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (index, fd) in fds.iter().enumerate() {
            poll.registry().register(&mut SourceFd(fd), Token(index), Interest::READABLE)?;
        }
        let ports = fds.iter().map(|fd| Watched { fd: *fd, interest: Interest::READABLE }).collect();
        Ok(Self { poll, events: Events::with_capacity(fds.len() + 1), waker, ports })
    }

    /// Whether to be woken, too, when a port can send: only while something waits for that, or every datagram
    /// that leaves the machine would wake the loop.
    pub(super) fn watch(&mut self, port: usize, blocked: Option<&Blocked>) -> io::Result<()> {
        let writable = blocked.map(|_| Interest::WRITABLE);
        let interest = writable.map_or(Interest::READABLE, |writable| writable | Interest::READABLE);
        let watched = &mut self.ports[port];
        if watched.interest != interest {
            watched.interest = interest;
            self.poll.registry().reregister(&mut SourceFd(&watched.fd), Token(port), interest)?;
        }
        Ok(())
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// Waits at most `timeout` (for ever without) and reports ports whose readiness has changed; `Ok(true)` when
    /// anything happened.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, mut ready: impl FnMut(Ready)) -> io::Result<bool> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        }
        for event in self.events.iter().filter(|event| event.token() != WAKER) {
            ready(Ready { port: event.token().0, readable: event.is_readable() || event.is_error() });
        }
        Ok(!self.events.is_empty())
    }
}
