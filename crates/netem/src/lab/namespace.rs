//! A network namespace and the thread that lives in it.
//!
//! Nothing has a name in the file system: the namespace exists as long as the thread, its processes or a descriptor of
//! it do. However the run ends, the kernel closes what was open and takes the namespace with its interfaces away.

use super::sys;
use rustix::fd::OwnedFd;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// Jobs that wait for a namespace's thread; callers wait for their answer anyway.
const JOBS_MAX: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace, held by a thread in it that does what is asked.
///
/// Sockets made there stay in the namespace whoever uses them later, and processes started there run in it and are
/// killed when the thread ends.
#[derive(Debug)]
pub(super) struct Namespace {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A fresh one, in which loopback is not up yet.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Job>(JOBS_MAX);
        let (ready, started) = sync_channel(1);
        let thread = thread::Builder::new().name(format!("netem {name}")).spawn(move || live(&ready, &todo))?;
        let mut namespace = Self { jobs: Some(jobs), thread: Some(thread) };
        match started.recv() {
            Ok(Ok(())) => Ok(namespace),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                namespace.close();
                Err(gone())
            }
        }
    }

    /// Does `work` in the namespace, and returns what it gives. A panic in it is an error here.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (give, take) = sync_channel(1);
        let job: Job = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(gone()));
            // Only a caller that panicked does not wait.
            let _ = give.send(result);
        });
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        take.recv().map_err(|_| gone())?
    }

    /// What another thread or the kernel knows the namespace by.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.run(|| Ok(File::open("/proc/thread-self/ns/net")?.into()))
    }

    fn close(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panics were answers already.
            let _ = thread.join();
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.close();
    }
}

fn live(ready: &SyncSender<io::Result<()>>, todo: &Receiver<Job>) {
    let unshared = sys::unshare_network();
    let is_inside = unshared.is_ok();
    if ready.send(unshared).is_err() || !is_inside {
        return;
    }
    while let Ok(job) = todo.recv() {
        job();
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread of a network namespace has ended")
}
