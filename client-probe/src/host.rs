//! A verb inside the shard: the client core and what drives it, as one app.

use crate::core::{Client, Event, LinkId, Target};
use crate::exit::Exit;
use crate::report::Report;
use crate::url::StreamUrl;
use bytes::Bytes;
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use std::time::{Duration, Instant};

/// From the main thread into the shard.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// The user wants it to end, with its summary.
    Interrupt,
    /// More of stdin.
    Input(Bytes),
    /// Stdin has ended.
    InputEnd,
}

/// What a verb sees of the world at one instant.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    /// Wall clock: stamps and group ids only.
    pub(crate) wall: Wall,
    pub(crate) client: &'a mut Client,
    pub(crate) report: &'a mut Report,
}

/// Relates the monotonic clock to the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wall {
    pub(crate) at: Instant,
    pub(crate) unix: Duration,
}

impl Wall {
    /// Time since the Unix epoch at `now`.
    pub(crate) fn unix(&self, now: Instant) -> Duration {
        match now.checked_duration_since(self.at) {
            Some(since) => self.unix + since,
            None => self.unix.saturating_sub(self.at.saturating_duration_since(now)),
        }
    }
}

/// One verb. Its events come in order; it says by [`Driver::poll_outcome`] when it is over.
pub(crate) trait Driver {
    /// Called once, first.
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()>;

    /// Something happened on a link.
    fn handle_event(&mut self, context: &mut Context<'_>, link: LinkId, event: Event) -> anyhow::Result<()>;

    /// The main thread says something.
    fn handle_command(&mut self, context: &mut Context<'_>, command: Command) -> anyhow::Result<()>;

    /// [`Driver::poll_timeout`] has passed.
    fn handle_timeout(&mut self, context: &mut Context<'_>) -> anyhow::Result<()>;

    /// When to call [`Driver::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;

    /// The result, once the verb is over and everything was reported.
    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>>;
}

/// The app that a shard hosts for a verb.
#[derive(Debug)]
pub(crate) struct Host<D> {
    client: Client,
    driver: D,
    wall: Wall,
    report: Report,
    started: bool,
    outcome: Option<anyhow::Result<Exit>>,
    over: bool,
}

impl<D: Driver> Host<D> {
    /// Starts with the first call of the loop: [`App::poll_timeout`] asks for it at once.
    pub(crate) const fn new(client: Client, driver: D, wall: Wall, report: Report) -> Self {
        Self { client, driver, wall, report, started: false, outcome: None, over: false }
    }

    /// The result, once; the host may stop the loop then.
    pub(crate) const fn take_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        self.outcome.take()
    }

    #[cfg(test)]
    pub(crate) const fn driver(&self) -> &D {
        &self.driver
    }

    #[cfg(test)]
    pub(crate) fn with_client(&mut self, now: Instant, step: impl FnOnce(&mut Client)) {
        step(&mut self.client);
        self.pump(now);
    }

    #[cfg(test)]
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn handle_command(&mut self, now: Instant, command: Command) {
        self.with_driver(now, |driver, context| driver.handle_command(context, command));
        self.pump(now);
    }

    fn with_driver(&mut self, now: Instant, step: impl FnOnce(&mut D, &mut Context<'_>) -> anyhow::Result<()>) {
        if self.over {
            return;
        }
        let context = &mut Context { now, wall: self.wall, client: &mut self.client, report: &mut self.report };
        let result = step(&mut self.driver, context);
        let outcome = result.err().map(Err).or_else(|| self.driver.poll_outcome());
        if outcome.is_some() {
            self.over = true;
            self.outcome = outcome;
        }
    }

    fn pump(&mut self, now: Instant) {
        while let Some((link, event)) = self.client.poll_event() {
            if let Event::Resolve { uri } = &event {
                // A relay that drains is rare enough for a blocking look-up.
                self.client.retarget(now, link, resolve(uri));
                continue;
            }
            self.with_driver(now, |driver, context| driver.handle_event(context, link, event));
        }
    }
}

fn resolve(uri: &str) -> Option<Target> {
    let url: StreamUrl = uri.parse().ok()?;
    Target::new(&url, url.resolve().ok()?)
}

impl<D: Driver> App for Host<D> {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        self.client.handle_connected(now, session, peer);
        self.pump(now);
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.client.handle_dial_failed(now, token, reason);
        self.pump(now);
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.client.handle_stream(now, session, stream, event);
        self.pump(now);
    }

    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir) {
        self.client.handle_streams_available(now, session, dir);
        self.pump(now);
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        self.client.handle_datagram(now, session, data);
        self.pump(now);
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        self.client.handle_closed(now, session, reason);
        self.pump(now);
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        self.client.handle_stats(now, session, stats);
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.started, true) {
            self.with_driver(now, Driver::start);
        }
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
            self.pump(now);
        }
        if self.driver.poll_timeout().is_some_and(|at| at <= now) {
            self.with_driver(now, Driver::handle_timeout);
            self.pump(now);
        }
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        self.client.select(now, session, sink);
        self.pump(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.client.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if !self.started {
            return Some(self.wall.at);
        }
        let driver = if self.over { None } else { self.driver.poll_timeout() };
        driver.into_iter().chain(self.client.poll_timeout()).min()
    }
}
