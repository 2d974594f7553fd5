//! `publish URL`.

use crate::cli::{self, Format, Place};
use crate::core::{Event, LinkId, Role, Target};
use crate::exit::{Exit, Failure};
use crate::host::{Command, Context, Driver};
use crate::patience::Patience;
use crate::report;
use crate::source::{Source, Turns, test_pattern};
use crate::studio::{Files, Published, Studio};
use crate::times::Times;
use crate::verbs::Every;
use serde::Serialize;
use sluice_media::{Frame, Pace};
use std::fmt;
use std::fs::File;
use std::time::{Duration, Instant};

/// Frames published in one go; the loop turns in between.
const FRAMES_PER_TURN: usize = 64;
/// How long subscribers may take to get the end of the stream.
const DRAIN: Duration = Duration::from_secs(5);
/// How often it is looked whether they have it.
const DRAIN_CHECK: Duration = Duration::from_millis(20);
/// Time between two progress reports.
const REPORT: Duration = Duration::from_secs(1);

/// The verb's state.
#[derive(Debug)]
pub(crate) struct Publishing {
    args: cli::Publish,
    target: Option<Target>,
    files: Files,
    source: Source,
    pace: Pace,
    /// Waits for its time.
    next: Option<(Frame, Instant)>,
    studio: Option<Studio>,
    link: Option<LinkId>,
    patience: Option<Patience>,
    phase: Phase,
    clock: Clock,
}

/// When things happened and are due.
#[derive(Debug)]
struct Clock {
    started: Option<Instant>,
    until: Option<Instant>,
    report: Option<Every>,
    progress: report::Progress,
    reconnects: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A paced source waits until somebody takes its namespace.
    Waiting,
    /// Frames go out.
    Live,
    /// The broadcast has ended; subscribers get the rest until the second time, asked at the first.
    Draining(Instant, Instant),
    Over,
}

/// What is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    seconds: f64,
    objects: u64,
    groups: u64,
    bytes: u64,
    reconnects: u64,
}

impl Publishing {
    pub(crate) fn new(args: cli::Publish, target: Target) -> anyhow::Result<Self> {
        let turns = if args.looped { Turns::Endless } else { Turns::Once };
        let source = match &args.input {
            None => Source::read(test_pattern(), Turns::Endless),
            Some(Place::Standard) => Source::pushed(),
            Some(Place::File(path)) => {
                let open = |e| Failure::new(Exit::Usage, format!("cannot read {}: {e}", path.display()));
                Source::read(Box::new(File::open(path).map_err(open)?), turns)
            }
        };
        let manifest = super::open_manifest(args.manifest.as_deref())?;
        let files = Files { manifest, times: Times::create(args.times.as_deref())? };
        let progress = report::Progress::new(args.common.format);
        let clock = Clock { started: None, until: None, report: None, progress, reconnects: 0 };
        Ok(Self {
            args,
            target: Some(target),
            files,
            source,
            pace: Pace::default(),
            next: None,
            studio: None,
            link: None,
            patience: None,
            phase: Phase::Waiting,
            clock,
        })
    }

    /// Whether input comes from stdin, by [`Command::Input`].
    pub(crate) const fn is_pushed(&self) -> bool {
        !self.source.is_paced()
    }

    /// Publishes what is due, and connects as soon as there is a catalog to offer.
    fn advance(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        for _ in 0..FRAMES_PER_TURN {
            if self.phase == Phase::Waiting && self.studio.is_some() && self.source.is_paced() {
                return Ok(());
            }
            let Some((frame, due)) = self.take_frame(context)? else {
                if self.source.is_over() {
                    self.end(context)?;
                }
                return Ok(());
            };
            if due > context.now {
                self.next = Some((frame, due));
                return Ok(());
            }
            let stamp = self.args.stamp.then(|| context.wall.unix(context.now));
            if let Some(studio) = &mut self.studio {
                studio.push(context.now, context.client, frame, stamp)?;
            }
        }
        // More is due: the loop turns first.
        self.next = self.take_frame(context)?;
        Ok(())
    }

    fn take_frame(&mut self, context: &mut Context<'_>) -> anyhow::Result<Option<(Frame, Instant)>> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        let Some(frame) = self.source.poll_frame()? else { return Ok(None) };
        self.open_studio(context)?;
        if self.phase == Phase::Waiting && self.source.is_paced() {
            self.next = Some((frame, context.now));
            return Ok(None);
        }
        let track = self.studio.as_ref().and_then(|studio| studio.track(&frame));
        let due = match track {
            Some(track) if self.source.is_paced() => self.pace.due(context.now, &frame, track),
            Some(_) | None => context.now,
        };
        Ok(Some((frame, due)))
    }

    fn open_studio(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let Some(tracks) = self.source.tracks().filter(|_| self.studio.is_none()) else { return Ok(()) };
        let now = context.now;
        let clocks = (now, context.wall.unix(now));
        self.studio = Some(Studio::open(clocks, context.client, tracks, std::mem::take(&mut self.files))?);
        if let Some(target) = self.target.take() {
            self.patience = Some(Patience::new(self.args.url.clone(), now + self.args.common.timeout.get()));
            self.link = Some(context.client.connect(now, target, Role::Publisher));
        }
        Ok(())
    }

    /// The stream ends: what is left goes out, and subscribers are given a while to get it.
    fn end(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.is_ending() {
            return Ok(());
        }
        match &mut self.studio {
            Some(studio) => studio.finish(context.now, context.client)?,
            None => anyhow::bail!(Failure::new(Exit::Usage, "the input has no track that can be published")),
        }
        self.phase = Phase::Draining(context.now + DRAIN_CHECK, context.now + DRAIN);
        Ok(())
    }

    const fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining(..) | Phase::Over)
    }

    fn finish(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if let Some(link) = self.link {
            context.client.close(context.now, link);
        }
        self.phase = Phase::Over;
        self.clock.progress.clear();
        let manifest = self.studio.as_mut().map_or(Ok(()), Studio::close);
        let summary = self.summary(context.now, "summary");
        context.report.result(self.args.common.format, &summary)?;
        manifest
    }

    fn summary(&self, now: Instant, kind: &'static str) -> Summary {
        let Published { objects, bytes, groups } = self.studio.as_ref().map(Studio::published).unwrap_or_default();
        let seconds = self.clock.started.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        Summary {
            kind,
            url: self.args.url.to_string(),
            seconds,
            objects,
            groups,
            bytes,
            reconnects: self.clock.reconnects,
        }
    }

    fn show(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let now = context.now;
        let summary = self.summary(now, "progress");
        self.clock.progress.update(now, || summary.to_string());
        if self.args.common.format == Format::Jsonl && self.clock.report.as_mut().is_some_and(|every| every.take(now)) {
            context.report.json(&summary)?;
        }
        Ok(())
    }
}

impl Driver for Publishing {
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        self.clock.started = Some(context.now);
        self.clock.until = self.args.duration.map(|span| context.now + span.get());
        self.clock.report = Some(Every::new(context.now, REPORT));
        if self.is_pushed() {
            self.phase = Phase::Live;
        }
        self.advance(context)
    }

    fn handle_event(&mut self, context: &mut Context<'_>, _link: LinkId, event: Event) -> anyhow::Result<()> {
        if let Some(patience) = &mut self.patience {
            patience.handle_event(&event)?;
        }
        if let Event::Down { why, retry: Some(_) } = &event {
            self.clock.reconnects += 1;
            if self.phase == Phase::Live {
                report::note(format_args!("{why}; trying again"));
            }
        }
        if event == Event::Announced && self.phase == Phase::Waiting {
            self.phase = Phase::Live;
            self.advance(context)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, context: &mut Context<'_>, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Interrupt => self.end(context)?,
            // The stream has ended: what a program goes on to write is not of it.
            Command::Input(_) | Command::InputEnd if self.is_ending() => {}
            Command::Input(bytes) => {
                self.source.push(&bytes)?;
                self.advance(context)?;
            }
            Command::InputEnd => {
                self.source.finish()?;
                self.advance(context)?;
            }
        }
        Ok(())
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let now = context.now;
        if let Some(patience) = &self.patience {
            patience.handle_timeout(now)?;
        }
        if self.clock.until.is_some_and(|at| at <= now) {
            self.clock.until = None;
            self.end(context)?;
        }
        match self.phase {
            Phase::Live => self.advance(context)?,
            Phase::Draining(check, until) if check <= now => {
                if context.client.is_drained() || now >= until {
                    return self.finish(context);
                }
                self.phase = Phase::Draining(now + DRAIN_CHECK, until);
            }
            Phase::Waiting | Phase::Draining(..) | Phase::Over => {}
        }
        self.show(context)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.patience.as_ref().and_then(Patience::poll_timeout);
        let phase = match self.phase {
            Phase::Live => self.next.as_ref().map(|(_, due)| *due),
            Phase::Draining(check, _) => Some(check),
            Phase::Waiting | Phase::Over => None,
        };
        let report = self.clock.report.as_ref().map(Every::next).filter(|_| self.args.common.format == Format::Jsonl);
        [patience, phase, report, self.clock.until].into_iter().flatten().min()
    }

    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        (self.phase == Phase::Over).then_some(Ok(Exit::Ok))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let megabytes = self.bytes as f64 / 1e6;
        write!(
            f,
            "published {} objects in {} groups, {megabytes:.1} MB in {:.1} s",
            self.objects, self.groups, self.seconds
        )?;
        if self.reconnects > 0 {
            write!(f, ", {} connections lost", self.reconnects)?;
        }
        Ok(())
    }
}
