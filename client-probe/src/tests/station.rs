//! A publisher that accepts connections, and a recorder of what watchers get from it.

use super::wire::{Wire, epoch};
use crate::core::{Broadcast, Client, Event, Keep, LinkId, Role, Target};
use crate::exit::Exit;
use crate::host::{Command, Context, Driver, Host, Wall};
use crate::manifest::{Diff, HEADER, Manifest, compare, open_line};
use crate::report::Report;
use crate::sidefile::SideFile;
use crate::source::{Source, Turns, test_pattern};
use crate::studio::{Files, Studio};
use sluice_media::Frame;
use sluice_media::Pace;
use sluice_moqt::Namespace;
use sluice_net::Rng;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Wall clock at the start of every test.
pub(super) const UNIX: Duration = Duration::from_millis(1_774_000_000_000);

pub(super) fn wall() -> Wall {
    Wall { at: epoch(), unix: UNIX }
}

pub(super) fn quiet() -> Report {
    Report::to(Box::new(std::io::sink()))
}

pub(super) fn namespace() -> Namespace {
    Namespace::from_path("live/demo").unwrap()
}

pub(super) fn target() -> Target {
    let url = "moqt://relay.test:4443/live/demo".parse().unwrap();
    Target::new(&url, vec!["192.0.2.1:4443".parse().unwrap(), "192.0.2.2:4443".parse().unwrap()]).unwrap()
}

/// A file in memory that the test keeps a hand on.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    pub(super) fn file(&self) -> SideFile {
        SideFile::new("memory".to_owned(), Box::new(self.clone()))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| std::io::ErrorKind::Other)?.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Publishes the test pattern to whoever connects.
#[derive(Debug)]
pub(super) struct Station {
    source: Source,
    pace: Pace,
    studio: Option<Studio>,
    next: Option<(Frame, Instant)>,
    pub(super) manifest: Memory,
    begin_after: Duration,
    stop_after: Option<Duration>,
    begin_at: Option<Instant>,
    stop_at: Option<Instant>,
}

impl Station {
    /// A publisher that ends its broadcast after `stop_after`.
    pub(super) fn new(stop_after: Option<Duration>) -> Self {
        Self {
            source: Source::read(test_pattern(), Turns::Endless),
            pace: Pace::default(),
            studio: None,
            next: None,
            manifest: Memory::default(),
            begin_after: Duration::ZERO,
            stop_after,
            begin_at: None,
            stop_at: None,
        }
    }

    /// It has no tracks before `begin_after`.
    pub(super) fn begin_after(self, begin_after: Duration) -> Self {
        Self { begin_after, ..self }
    }

    pub(super) fn host(self) -> Host<Self> {
        Host::new(Client::new(Rng::from_seed(2), Some(Broadcast::new(namespace()))), self, wall(), quiet())
    }

    fn advance(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        loop {
            let (frame, due) = match self.next.take() {
                Some(next) => next,
                None => {
                    let frame = self.source.poll_frame()?.expect("the pattern is endless");
                    let tracks = self.source.tracks().expect("there is a frame");
                    let due = self.pace.due(context.now, &frame, &tracks[frame.track]);
                    (frame, due)
                }
            };
            if self.studio.is_none() {
                let mut manifest = self.manifest.file();
                manifest.line(HEADER);
                let unix = context.wall.unix(context.now);
                let tracks = self.source.tracks().expect("there is a frame");
                self.studio = Some(Studio::open(
                    (context.now, unix),
                    context.client,
                    tracks,
                    Files { manifest: Some(manifest), times: None },
                )?);
            }
            if due > context.now {
                self.next = Some((frame, due));
                return Ok(());
            }
            let stamp = Some(context.wall.unix(context.now));
            self.studio.as_mut().expect("just made").push(context.now, context.client, frame, stamp)?;
        }
    }
}

impl Driver for Station {
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.stop_at = self.stop_after.map(|after| context.now + after);
        self.begin_at = Some(context.now + self.begin_after);
        self.handle_timeout(context)
    }

    fn handle_event(&mut self, _: &mut Context<'_>, _: LinkId, _: Event) -> anyhow::Result<()> {
        Ok(())
    }

    fn handle_command(&mut self, _: &mut Context<'_>, _: Command) -> anyhow::Result<()> {
        let studio = self.studio.as_mut().expect("the station runs");
        studio.close()
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.stop_at.is_some_and(|at| at <= context.now) {
            self.stop_at = None;
            self.next = None;
            return self.studio.as_mut().expect("the station runs").finish(context.now, context.client);
        }
        if self.begin_at.take_if(|at| *at <= context.now).is_some() || self.next.is_some() {
            self.advance(context)?;
        }
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next.as_ref().map(|(_, due)| *due).into_iter().chain(self.stop_at).chain(self.begin_at).min()
    }

    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        None
    }
}

/// Connects watchers at given times and keeps every event.
#[derive(Debug)]
pub(super) struct Recorder {
    joins: Vec<Duration>,
    started: Option<Instant>,
    role: Role,
    pub(super) events: Vec<(Instant, LinkId, Event)>,
}

impl Recorder {
    /// One watcher per join time, ascending.
    pub(super) fn new(joins: &[Duration]) -> Self {
        let role = Role::Watcher { namespace: namespace(), keep: Keep::Payloads };
        Self { joins: joins.to_vec(), started: None, role, events: Vec::new() }
    }

    pub(super) fn with_role(role: Role) -> Self {
        Self { joins: vec![Duration::ZERO], started: None, role, events: Vec::new() }
    }

    pub(super) fn host(self) -> Host<Self> {
        Host::new(Client::new(Rng::from_seed(1), None), self, wall(), quiet())
    }

    /// The manifest of one watcher that stops with `open` subgroups.
    pub(super) fn manifest(&self, link: LinkId, open: &[(bytes::Bytes, u64, u64)]) -> Manifest {
        let mut text = format!("{HEADER}\n");
        for (_, of, event) in &self.events {
            if let (Event::Object(object), true) = (event, *of == link) {
                text += &format!("{}\n", object.record());
            }
        }
        for (track, group, subgroup) in open {
            text += &format!("{}\n", open_line(track, *group, *subgroup));
        }
        Manifest::read(text.as_bytes()).unwrap()
    }

    fn join(&mut self, context: &mut Context<'_>) {
        let started = *self.started.get_or_insert(context.now);
        while self.joins.first().is_some_and(|at| started + *at <= context.now) {
            self.joins.remove(0);
            context.client.connect(context.now, target(), self.role.clone());
        }
    }
}

impl Driver for Recorder {
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.join(context);
        Ok(())
    }

    fn handle_event(&mut self, context: &mut Context<'_>, link: LinkId, event: Event) -> anyhow::Result<()> {
        self.events.push((context.now, link, event));
        Ok(())
    }

    fn handle_command(&mut self, _: &mut Context<'_>, _: Command) -> anyhow::Result<()> {
        Ok(())
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.join(context);
        Ok(())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.started? + *self.joins.first()?)
    }

    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        None
    }
}

/// Station and recorder, joined.
pub(super) type World = Wire<Host<Recorder>, Host<Station>>;

pub(super) fn world(joins: &[Duration], stop_after: Option<Duration>) -> World {
    Wire::new(Recorder::new(joins).host(), Station::new(stop_after).host())
}

impl World {
    /// Compares what was published with what the watcher `link` got.
    pub(super) fn diff(&mut self, link: u64) -> Diff {
        let link = LinkId(link);
        // Any command makes the station close its manifest.
        self.b.handle_command(self.now, Command::Interrupt);
        let published = Manifest::read(&self.b.driver().manifest.bytes()[..]).unwrap();
        let open = self.a.client().open_subgroups(link);
        compare(&published, &self.a.driver().manifest(link, &open))
    }
}
