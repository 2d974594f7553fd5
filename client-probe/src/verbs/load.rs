//! `load URL`.

use crate::cli::{self, Format};
use crate::core::{Event, Keep, LinkId, Object, Role, Target};
use crate::exit::{Exit, Failure};
use crate::figures::{Durations, Latency, Quantiles, TrackTally};
use crate::host::{Command, Context, Driver};
use crate::manifest::Via;
use crate::patience::Patience;
use crate::report;
use crate::times::{Happened, Times};
use crate::verbs::Every;
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// Time between two progress reports.
const REPORT: Duration = Duration::from_secs(1);
/// Objects whose first arrival is remembered, for relative delays.
const ARRIVALS_MAX: usize = 4096;

/// The verb's state.
#[derive(Debug)]
pub(crate) struct Loading {
    args: cli::Load,
    target: Target,
    viewers: BTreeMap<LinkId, Viewer>,
    patience: Option<Patience>,
    figures: Figures,
    times: Option<Times>,
    /// Who leaves when, in order.
    leaves: VecDeque<(Instant, LinkId)>,
    clock: Clock,
    over: Option<anyhow::Result<Exit>>,
}

#[derive(Debug)]
struct Viewer {
    index: usize,
    dialled: Instant,
    joined: bool,
    tracks: BTreeMap<Bytes, TrackTally>,
}

#[derive(Debug, Default)]
struct Figures {
    joins: Durations,
    latency: Latency,
    relative: Relative,
    joined: u64,
    reconnects: u64,
}

#[derive(Debug)]
struct Clock {
    started: Option<Instant>,
    until: Option<Instant>,
    next_dial: Option<Instant>,
    report: Option<Every>,
    progress: report::Progress,
}

/// How much later than the first viewer each other one gets an object.
#[derive(Debug, Default)]
struct Relative {
    first: BTreeMap<(usize, u64, u64), Instant>,
    order: VecDeque<(usize, u64, u64)>,
    delays: Durations,
}

impl Relative {
    fn add(&mut self, object: &Object) {
        let (Some(rendition), true) = (object.rendition, object.flags.via != Via::Fetch) else { return };
        let key = (rendition, object.at.group, object.at.object);
        let first = *self.first.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            object.arrived
        });
        self.delays.add(object.arrived.saturating_duration_since(first));
        if self.order.len() > ARRIVALS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.first.remove(&oldest);
        }
    }
}

/// What is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Summary {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
    seconds: f64,
    viewers: u32,
    joined: u64,
    join_seconds: Option<Quantiles>,
    objects_received: u64,
    objects_lost: u64,
    groups_skipped: u64,
    bytes_received: u64,
    /// `absolute`: from the publisher's stamp. `relative`: behind the first viewer that had the object.
    latency_kind: &'static str,
    latency_seconds: Option<Quantiles>,
    reconnects: u64,
}

impl Loading {
    pub(crate) fn new(args: cli::Load, target: Target) -> anyhow::Result<Self> {
        let progress = report::Progress::new(args.common.format);
        let times = Times::create(args.times.as_deref())?;
        Ok(Self {
            args,
            target,
            viewers: BTreeMap::new(),
            patience: None,
            figures: Figures::default(),
            times,
            leaves: VecDeque::new(),
            clock: Clock { started: None, until: None, next_dial: None, report: None, progress },
            over: None,
        })
    }

    /// Dials the viewers whose turn it is: evenly over the ramp.
    fn dial(&mut self, context: &mut Context<'_>) {
        let Some(started) = self.clock.started else { return };
        let wanted = self.args.viewers;
        self.clock.next_dial = None;
        for index in u32::try_from(self.viewers.len()).unwrap_or(wanted)..wanted {
            let due = started + self.args.ramp.get() * index / wanted;
            if due > context.now {
                self.clock.next_dial = Some(due);
                return;
            }
            let role = Role::Watcher { namespace: self.args.url.namespace().clone(), keep: Keep::Sizes };
            let link = context.client.connect(context.now, self.target.clone(), role);
            let index = self.viewers.len();
            let viewer = Viewer { index, dialled: context.now, joined: false, tracks: BTreeMap::new() };
            self.viewers.insert(link, viewer);
            self.leaves.extend(self.args.stay.map(|stay| (context.now + stay.get(), link)));
            self.happened(context, link, Happened::Dialled);
        }
    }

    /// Ends the sessions of viewers that have stayed as long as they should.
    fn leave(&mut self, context: &mut Context<'_>) {
        while let Some((_, link)) = self.leaves.pop_front_if(|(due, _)| *due <= context.now) {
            context.client.close(context.now, link);
            self.happened(context, link, Happened::Left);
        }
    }

    fn happened(&mut self, context: &Context<'_>, link: LinkId, what: Happened) {
        if let (Some(times), Some(viewer)) = (&mut self.times, self.viewers.get(&link)) {
            times.happened(context.now, viewer.index, what, context.wall.unix(context.now));
        }
    }

    fn object(&mut self, context: &Context<'_>, link: LinkId, object: &Object) {
        let Some(viewer) = self.viewers.get_mut(&link) else { return };
        if object.rendition.is_none() {
            return;
        }
        if let Some(times) = &mut self.times {
            times.arrived(viewer.index, object, context.wall.unix(object.arrived));
        }
        if !std::mem::replace(&mut viewer.joined, true) {
            self.figures.joined += 1;
            self.figures.joins.add(object.arrived.saturating_duration_since(viewer.dialled));
        }
        viewer.tracks.entry(object.track.clone()).or_default().object(object);
        if !self.figures.latency.stamped(object, context.wall.unix(object.arrived)) {
            self.figures.relative.add(object);
        }
    }

    fn tally(&mut self, link: LinkId, track: Bytes) -> Option<&mut TrackTally> {
        Some(self.viewers.get_mut(&link)?.tracks.entry(track).or_default())
    }

    fn finish(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.over.is_some() {
            return Ok(());
        }
        self.clock.progress.clear();
        for link in self.viewers.keys() {
            context.client.close(context.now, *link);
        }
        self.times.take().map_or(Ok(()), Times::finish)?;
        let summary = self.summary(context.now, "summary");
        context.report.result(self.args.common.format, &summary)?;
        let wanted = u64::from(self.args.viewers);
        self.over = Some(match summary.joined {
            0 => Err(Failure::new(Exit::NoSuchStream, format!("no viewer got an object of {}", self.args.url)).into()),
            joined if joined < wanted => Ok(Exit::Threshold),
            _ => Ok(Exit::Ok),
        });
        Ok(())
    }

    fn summary(&self, now: Instant, kind: &'static str) -> Summary {
        let tallies = self.viewers.values().flat_map(|viewer| viewer.tracks.values());
        let all = tallies.fold(TrackTally::default(), TrackTally::plus);
        let absolute = self.figures.latency.quantiles();
        Summary {
            kind,
            url: self.args.url.to_string(),
            seconds: self.clock.started.map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64()),
            viewers: self.args.viewers,
            joined: self.figures.joined,
            join_seconds: self.figures.joins.quantiles(),
            objects_received: all.objects,
            objects_lost: all.objects_lost,
            groups_skipped: all.groups_skipped,
            bytes_received: all.bytes,
            latency_kind: if absolute.is_some() { "absolute" } else { "relative" },
            latency_seconds: absolute.or_else(|| self.figures.relative.delays.quantiles()),
            reconnects: self.figures.reconnects,
        }
    }

    fn show(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let now = context.now;
        if !self.clock.report.as_mut().is_some_and(|every| every.take(now)) {
            return Ok(());
        }
        let summary = self.summary(now, "progress");
        self.clock.progress.update(now, || {
            format!("{:.0} s: {} of {} viewers joined", summary.seconds, summary.joined, summary.viewers)
        });
        if self.args.common.format == Format::Jsonl {
            context.report.json(&summary)?;
        }
        Ok(())
    }
}

impl Driver for Loading {
    fn start(&mut self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let now = context.now;
        self.clock.started = Some(now);
        self.clock.until = Some(now + self.args.duration.get());
        self.clock.report = Some(Every::new(now, REPORT));
        self.patience = Some(Patience::new(self.args.url.clone(), now + self.args.common.timeout.get()));
        self.dial(context);
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the patience's or of no interest here")]
    fn handle_event(&mut self, context: &mut Context<'_>, link: LinkId, event: Event) -> anyhow::Result<()> {
        if let Some(patience) = &mut self.patience {
            patience.handle_event(&event)?;
        }
        match event {
            Event::Object(object) => self.object(context, link, &object),
            Event::GroupEnd { track, group } => {
                if let Some(tally) = self.tally(link, track) {
                    tally.end_group(group);
                }
            }
            Event::Restart { track } => {
                if let Some(tally) = self.tally(link, track) {
                    tally.restart();
                }
            }
            Event::Cut { track, group } => {
                if let Some(tally) = self.tally(link, track) {
                    tally.cut(group);
                }
            }
            Event::Down { .. } => {
                self.figures.reconnects += 1;
                self.happened(context, link, Happened::Down);
            }
            _ => {}
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
        if self.clock.next_dial.is_some_and(|at| at <= context.now) {
            self.dial(context);
        }
        self.leave(context);
        self.show(context)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.patience.as_ref().and_then(Patience::poll_timeout);
        let report = self.clock.report.as_ref().map(Every::next);
        let leave = self.leaves.front().map(|(due, _)| *due);
        [patience, report, leave, self.clock.until, self.clock.next_dial].into_iter().flatten().min()
    }

    fn poll_outcome(&mut self) -> Option<anyhow::Result<Exit>> {
        self.over.take()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |q: &Quantiles| format!("p50 {:.1} ms, p99 {:.1} ms", q.p50 * 1e3, q.p99 * 1e3);
        write!(f, "{} of {} viewers joined", self.joined, self.viewers)?;
        if let Some(join) = &self.join_seconds {
            write!(f, ", {}", millis(join))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let rate = self.bytes_received as f64 * 8.0 / 1e6 / self.seconds.max(0.001);
        write!(
            f,
            "\n{} objects in {:.1} s ({rate:.1} Mbit/s), {} lost, {} groups skipped or cut",
            self.objects_received, self.seconds, self.objects_lost, self.groups_skipped
        )?;
        if let Some(latency) = &self.latency_seconds {
            write!(f, "\n{} latency {}", self.latency_kind, millis(latency))?;
        }
        if self.reconnects > 0 {
            write!(f, "\n{} connections lost", self.reconnects)?;
        }
        Ok(())
    }
}
