//! Threads that somebody owns: named, and joined when their handle drops.

use std::io;
use std::panic;
use std::thread::{self, JoinHandle};

/// A running named thread. Dropping the handle waits for its end, so the owner must first make it end
/// (close its queue, send it a stop): no thread outlives what it works for.
#[derive(Debug)]
#[must_use = "dropping the handle waits for the thread"]
pub struct Thread<T = ()> {
    handle: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts `body` on a thread called `name` (the kernel keeps 15 bytes of it).
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub fn spawn(name: &str, body: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let handle = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self { handle: Some(handle) })
    }

    /// Whether the body has returned or panicked.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the body's value; a panic of the body goes on here.
    pub fn join(mut self) -> T {
        let handle = self.handle.take().expect("the handle is taken only by join, which consumes self");
        handle.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            tracing::error!("a thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn dropping_the_handle_waits_for_the_body() {
        let (tx, rx) = mpsc::channel();
        drop(Thread::spawn("waiter", move || tx.send(7)).unwrap());
        assert_eq!(rx.try_recv(), Ok(7));
    }

    #[test]
    fn join_returns_the_value() {
        assert_eq!(Thread::spawn("value", || 5).unwrap().join(), 5);
    }
}
