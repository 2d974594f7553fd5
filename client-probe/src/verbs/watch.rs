//! `watch URL`.

use crate::cli::{self, Format};
use crate::core::{Event, Keep, LinkId, Object, Role, Target};
use crate::exit::Exit;
use crate::figures::{Latency, Quantiles, TrackTally};
use crate::host::{Command, Context, Driver};
use crate::manifest;
use crate::output::Output;
use crate::patience::Patience;
use crate::report;
use crate::sidefile::SideFile;
use crate::verbs::Every;
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Time between two progress reports.
const REPORT: Duration = Duration::from_secs(1);

/// The verb's state.
#[derive(Debug)]
pub(crate) struct Watching {
    args: cli::Watch,
    target: Option<Target>,
    link: Option<LinkId>,
    patience: Option<Patience>,
    manifest: Option<SideFile>,
    output: Option<Output>,
    tracks: BTreeMap<Bytes, TrackTally>,
    latency: Latency,
    /// Changes of the publisher that were told.
    changes: u64,
    clock: Clock,
    over: Option<anyhow::Result<Exit>>,
}

#[derive(Debug)]
struct Clock {
    started: Option<Instant>,
    joined: Option<Duration>,
    until: Option<Instant>,
    report: Option<Every>,
    progress: report::Progress,
    reconnects: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    seconds: f64,
    join_seconds: Option<f64>,
    objects_received: u64,
    objects_lost: u64,
    groups_skipped: u64,
    publisher_changes: u64,
    bytes_received: u64,
    latency_seconds: Option<Quantiles>,
    reconnects: u64,
    tracks: Vec<TrackLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct TrackLine {
    track: String,
    #[serde(flatten)]
    tally: TrackTally,
}

impl Watching {
    pub(crate) fn new(args: cli::Watch, target: Target) -> anyhow::Result<Self> {
        let manifest = super::open_manifest(args.manifest.as_deref())?;
        let output = args.output.as_ref().map(SideFile::open).transpose()?.map(Output::new);
        let progress = report::Progress::new(args.common.format);
        Ok(Self {
            args,
            target: Some(target),
            link: None,
            patience: None,
            manifest,
            output,
            tracks: BTreeMap::new(),
            latency: Latency::default(),
            changes: 0,
            clock: Clock { started: None, joined: None, until: None, report: None, progress, reconnects: 0 },
            over: None,
        })
    }

    fn object(&mut self, context: &Context<'_>, object: &Object) {
        if let Some(manifest) = &mut self.manifest {
            manifest.line(object.record());
        }
        let tally = self.tracks.entry(object.track.clone()).or_default();
        let pause = tally.object(object);
        let changes = tally.publisher_changes;
        if object.rendition.is_some() {
            if self.clock.joined.is_none() {
                self.clock.joined = self.clock.started.map(|at| object.arrived.saturating_duration_since(at));
            }
            self.latency.stamped(object, context.wall.unix(object.arrived));
        }
        if let Some(output) = &mut self.output {
            output.object(object);
        }
        if object.rendition.is_some() {
            self.tell_changes(changes, pause);
        }
    }

    /// Says once for all tracks that another publisher took over. Timestamps that begin anew under ids that go on show
    /// in the output alone.
    fn tell_changes(&mut self, changes: u64, pause: Option<Duration>) {
        let seen = changes.max(self.output.as_ref().map_or(0, Output::takeovers));
        if seen <= self.changes {
            return;
        }
        self.changes = seen;
        self.clock.progress.clear();
        match pause {
            Some(pause) => report::note(format_args!(
                "another publisher took over after {:.1} s without objects",
                pause.as_secs_f64()
            )),
            None => report::note("the stream's timestamps began anew: another publisher took over"),
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.over.is_some() {
            return Ok(());
        }
        self.over = Some(Ok(Exit::Ok));
        self.clock.progress.clear();
        if let Some(link) = self.link {
            if let Some(manifest) = &mut self.manifest {
                for (track, group, subgroup) in context.client.open_subgroups(link) {
                    manifest.line(manifest::open_line(&track, group, subgroup));
                }
            }
            context.client.close(context.now, link);
        }
        let summary = self.summary(context.now, "summary");
        let output_on_stdout = self.args.output == Some(cli::Place::Standard);
        if output_on_stdout {
            // Stdout carries the stream.
            report::note(&summary);
        } else {
            context.report.result(self.args.common.format, &summary)?;
        }
        let manifest = self.manifest.take().map_or(Ok(()), SideFile::finish);
        self.output.take().map_or(Ok(()), Output::finish)?;
        manifest?;
        match (&self.clock.joined, &self.patience) {
            // A report of nothing is no success.
            (None, Some(patience)) => Err(patience.verdict().into()),
            _ => Ok(()),
        }
    }

    fn summary(&self, now: Instant, kind: &'static str) -> Summary {
        let all = self.tracks.values().fold(TrackTally::default(), TrackTally::plus);
        let tracks = self.tracks.iter();
        Summary {
            kind,
            url: self.args.url.to_string(),
            seconds: self.clock.started.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64()),
            join_seconds: self.clock.joined.map(|d| d.as_secs_f64()),
            objects_received: all.objects,
            objects_lost: all.objects_lost,
            groups_skipped: all.groups_skipped,
            publisher_changes: self.changes,
            bytes_received: all.bytes,
            latency_seconds: self.latency.quantiles(),
            reconnects: self.clock.reconnects,
            tracks: tracks.map(|(name, t)| TrackLine { track: manifest::escape(name), tally: t.clone() }).collect(),
        }
    }

    fn show(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let now = context.now;
        if !self.clock.report.as_mut().is_some_and(|every| every.take(now)) {
            return Ok(());
        }
        let summary = self.summary(now, "progress");
        self.clock.progress.update(now, || summary.headline());
        if self.args.common.format == Format::Jsonl && self.args.output != Some(cli::Place::Standard) {
            context.report.json(&summary)?;
        }
        Ok(())
    }
}

impl Driver for Watching {
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let now = context.now;
        self.clock.started = Some(now);
        self.clock.until = self.args.duration.map(|span| now + span.get());
        self.clock.report = Some(Every::new(now, REPORT));
        self.patience = Some(Patience::new(self.args.url.clone(), now + self.args.common.timeout.get()));
        if let Some(target) = self.target.take() {
            let role = Role::Watcher { namespace: self.args.url.namespace().clone(), keep: Keep::Payloads };
            self.link = Some(context.client.connect(now, target, role));
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the patience's or of no interest here")]
    fn handle_event(&mut self, context: &mut Context<'_>, _link: LinkId, event: Event) -> anyhow::Result<()> {
        if let Some(patience) = &mut self.patience {
            patience.handle_event(&event)?;
        }
        match event {
            Event::Object(object) => self.object(context, &object),
            Event::Catalog(catalog) => {
                if let Some(output) = &mut self.output {
                    output.catalog(&catalog);
                }
            }
            Event::GroupEnd { track, group } => {
                self.tracks.entry(track.clone()).or_default().end_group(group);
                if let Some(output) = &mut self.output {
                    output.end_group(&track, group);
                }
            }
            Event::Restart { track } => {
                self.tracks.entry(track.clone()).or_default().restart();
                if let Some(output) = &mut self.output {
                    output.restart(&track);
                }
            }
            Event::Cut { track, group } => self.tracks.entry(track).or_default().cut(group),
            Event::Down { why, retry: Some(_) } => {
                self.clock.reconnects += 1;
                if self.clock.joined.is_some() {
                    report::note(format_args!("{why}; trying again"));
                }
            }
            // Within a given time the publisher may come back.
            Event::Ended if self.args.duration.is_none() => self.finish(context)?,
            _ => {}
        }
        if self.output.as_ref().is_some_and(Output::is_abandoned) {
            self.finish(context)?;
        }
        Ok(())
    }

    fn handle_command(&mut self, context: &mut Context<'_>, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Interrupt => self.finish(context),
            Command::Input(_) | Command::InputEnd => Ok(()),
        }
    }

    fn handle_timeout(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if let Some(patience) = &self.patience {
            patience.handle_timeout(context.now)?;
        }
        if self.clock.until.is_some_and(|at| at <= context.now) {
            return self.finish(context);
        }
        self.show(context)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.patience.as_ref().and_then(Patience::poll_timeout);
        [patience, self.clock.until, self.clock.report.as_ref().map(Every::next)].into_iter().flatten().min()
    }

    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        self.over.take()
    }
}

impl Summary {
    fn headline(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let megabytes = self.bytes_received as f64 / 1e6;
        format!("{:.0} s: {} objects, {megabytes:.1} MB", self.seconds, self.objects_received)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.join_seconds {
            Some(join) => writeln!(f, "joined in {:.1} ms", join * 1e3)?,
            None => writeln!(f, "nothing arrived")?,
        }
        for line in &self.tracks {
            let TrackTally { objects, bytes, groups, objects_lost, groups_skipped, .. } = &line.tally;
            writeln!(
                f,
                "{}: {objects} objects in {groups} groups, {bytes} bytes, {objects_lost} objects lost, \
                 {groups_skipped} groups skipped or cut",
                line.track
            )?;
        }
        if let Some(latency) = &self.latency_seconds {
            writeln!(f, "latency p50 {:.1} ms, p99 {:.1} ms", latency.p50 * 1e3, latency.p99 * 1e3)?;
        }
        write!(f, "{} objects in {:.1} s, {} lost", self.objects_received, self.seconds, self.objects_lost)?;
        if self.reconnects > 0 {
            write!(f, ", {} connections lost", self.reconnects)?;
        }
        if self.publisher_changes > 0 {
            write!(f, ", {} changes of the publisher", self.publisher_changes)?;
        }
        Ok(())
    }
}
