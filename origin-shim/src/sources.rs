//! The sources of a process: each a task that plays its input into the shard, again and again where that is due.

use crate::backoff::Backoff;
use crate::input::{Input, Reader};
use crate::outlet::{Gone, Outlet};
use crate::player::{Moment, Next, Plan, PlayError, Player};
use crate::programme::SOURCES_MAX;
use crate::rtmp;
use sluice_moqt::Namespace;
use sluice_net::{Clock, Rng, ShardHandle};
use sluice_relay::daemon::{Command, Fleet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

pub use crate::player::Stamps;

/// Read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Runs sources. Dropping it ends them, their children included.
#[derive(Debug)]
pub struct Sources {
    studio: Studio,
    configured: Vec<Namespace>,
    tasks: JoinSet<Gone>,
}

/// What every source needs.
#[derive(Debug, Clone)]
pub(crate) struct Studio {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    stamps: Stamps,
    next_source: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The shard has ended; nothing can be published by this run any more.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The input cannot be played.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// A program that is to run for ever has ended.
    #[error("{0}")]
    Ended(String),
}

impl Sources {
    /// Sources for the relay of `fleet`: its first shard publishes them.
    #[must_use]
    pub fn new(fleet: Fleet, clock: Arc<dyn Clock>, stamps: Stamps) -> Self {
        let (next_source, dropped) = (Arc::default(), Arc::default());
        let studio = Studio { fleet, clock, stamps, next_source, dropped };
        Self { studio, configured: Vec::new(), tasks: JoinSet::new() }
    }

    /// Starts a source. Must be called within a tokio runtime.
    pub fn add(&mut self, namespace: Namespace, input: Input) {
        self.configured.push(namespace.clone());
        self.tasks.spawn(Box::pin(keep_running(self.studio.clone(), namespace, input)));
    }

    /// Starts to take RTMP from encoders; call it after [`Self::add`], whose namespaces it does not give away.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn listen_rtmp(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let listener = rtmp::Listener::bind(addr, self.configured.clone()).await?;
        let bound = listener.local_addr()?;
        self.tasks.spawn(Box::pin(listener.serve(self.studio.clone())));
        Ok(bound)
    }

    /// Objects dropped on the way to the shard, because it was behind.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.studio.dropped.load(Ordering::Relaxed)
    }

    /// Returns when the relay has ended, and never before. Cancel-safe.
    pub async fn watch(&mut self) -> anyhow::Error {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(gone)) => return gone.into(),
                Some(Err(error)) => tracing::error!(%error, "a source ended by a panic"),
                None => std::future::pending().await,
            }
        }
    }
}

/// Plays `input` again whenever it or the shard dies, until the relay has ended.
async fn keep_running(studio: Studio, namespace: Namespace, input: Input) -> Gone {
    let mut backoff = Backoff::new(Rng::from_entropy());
    let mut above = None;
    loop {
        let started = studio.clock.now();
        let error = match studio.play(&namespace, &input, &mut above).await {
            Ok(()) => {
                tracing::info!(source = %input, "source has ended");
                return std::future::pending().await;
            }
            Err(RunError::Gone(gone)) if studio.fleet.is_over() => return gone,
            Err(error) => error,
        };
        let wait = backoff.next(studio.clock.now().saturating_duration_since(started));
        tracing::warn!(source = %input, %error, again = ?wait, "source died; starting it again");
        tokio::time::sleep(wait).await;
    }
}

impl Studio {
    /// One run of `input`. `above` is the newest group of the runs before, and then of this one.
    async fn play(&self, namespace: &Namespace, input: &Input, above: &mut Option<u64>) -> Result<(), RunError> {
        let plan = self.plan(namespace.clone(), input, *above);
        let mut run = self.run(plan);
        let result = run.play_input(input).await;
        *above = run.player.last_group();
        run.close(result).await
    }

    /// As [`Studio::play`], for bytes that somebody else provides and that end with their connection.
    pub(crate) async fn play_reader(&self, namespace: &Namespace, reader: Reader) -> Result<(), RunError> {
        let input = Input::Command(Vec::new());
        let plan = self.plan(namespace.clone(), &input, None);
        let mut run = self.run(plan);
        let mut reader = reader;
        let result = run.play_to_end(&input, &mut reader).await;
        let result = run.close(result).await;
        let withdrawn = run.send(Command::Withdraw(namespace.clone())).await;
        result?;
        Ok(withdrawn?)
    }

    fn plan(&self, namespace: Namespace, input: &Input, above: Option<u64>) -> Plan {
        Plan {
            namespace,
            pace: input.pace(),
            stamps: self.stamps,
            ending: input.ending(),
            above,
            first_source: self.next_source.fetch_add(SOURCES_MAX, Ordering::Relaxed),
        }
    }

    fn run(&self, plan: Plan) -> Run<'_> {
        Run { studio: self, shard: self.fleet.first(), player: Player::new(plan), outlet: Outlet::default() }
    }

    /// Whether no shard is left that could publish anything.
    pub(crate) fn is_over(&self) -> bool {
        self.fleet.is_over()
    }

    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), unix: self.clock.unix_time() }
    }
}

/// One run of an input.
struct Run<'a> {
    studio: &'a Studio,
    /// As it was when the run began: another one knows nothing of its tracks.
    shard: ShardHandle<Command>,
    player: Player,
    outlet: Outlet,
}

impl Run<'_> {
    async fn play_input(&mut self, input: &Input) -> Result<(), RunError> {
        let mut reader = input.open().await?;
        let result = self.play_to_end(input, &mut reader).await;
        match (reader.child, &result) {
            (Some(child), Ok(()) | Err(RunError::Play(_) | RunError::Read(_))) => {
                Err(RunError::Ended(child.end().await))
            }
            (Some(_) | None, _) => result,
        }
    }

    /// Plays to the end of the input; a looped one has none.
    async fn play_to_end(&mut self, input: &Input, reader: &mut Reader) -> Result<(), RunError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let outlet = &mut self.outlet;
            let next = self.player.advance(self.studio.moment(), &mut |command| outlet.push(command));
            self.flush().await?;
            match next? {
                Next::Time(due) => tokio::time::sleep_until(due.into()).await,
                Next::Over => return Ok(()),
                Next::Input => match reader.bytes.read(&mut chunk).await? {
                    0 if input.is_looped() => {
                        self.player.restart()?;
                        *reader = input.open().await?;
                    }
                    0 => self.player.finish()?,
                    read => self.player.push(chunk.get(..read).unwrap_or_default())?,
                },
            }
        }
    }

    /// After a failure, the tracks are told that they are lost.
    async fn close(&mut self, result: Result<(), RunError>) -> Result<(), RunError> {
        let outlet = &mut self.outlet;
        self.player.lose(&mut |command| outlet.push(command));
        self.flush().await?;
        self.studio.dropped.fetch_add(self.outlet.dropped(), Ordering::Relaxed);
        result
    }

    async fn send(&mut self, command: Command) -> Result<(), Gone> {
        self.outlet.push(command);
        self.flush().await
    }

    /// Waits until the shard has taken everything, or until the outlet has given up what it could not take.
    async fn flush(&mut self) -> Result<(), Gone> {
        let send = |command| self.shard.send(command);
        while let Some(again) = self.outlet.pump(self.studio.clock.now(), send)? {
            tokio::time::sleep_until(again.into()).await;
        }
        Ok(())
    }
}
