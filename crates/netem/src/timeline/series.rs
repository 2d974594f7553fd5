//! What the picture shows, in bins of time.

use super::{BINS, ROWS_MAX};
use crate::result::{Evidence, GAP_FRAMES, Happened, Media, Viewing, quantile};
use crate::scenario::{Action, LinkId, NodeId, Role, Scenario};
use std::collections::BTreeMap;
use std::time::Duration;

/// One row: a viewer, or several neighbours.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) label: String,
    /// Share of what was published that arrived, by bin: 0 to 1 and more after a gap.
    pub(super) density: Vec<f64>,
    /// From and to, of the worst viewer of the row.
    pub(super) gaps: Vec<(Duration, Duration)>,
}

/// A time at which a link, or a process, was away.
#[derive(Debug, PartialEq)]
pub(super) struct Away {
    pub(super) label: String,
    pub(super) spans: Vec<(Duration, Duration)>,
}

/// Which bin a time falls into.
pub(super) fn bin(at: Duration, ended: Duration) -> usize {
    let share = at.as_secs_f64() / ended.as_secs_f64().max(1e-9);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a bin")]
    let bin = (share * BINS as f64) as usize;
    bin.min(BINS - 1)
}

/// A row per viewer, or per band of viewers where there are many.
pub(super) fn rows(scenario: &Scenario, evidence: &Evidence) -> Vec<Row> {
    let mut by_node: BTreeMap<NodeId, Vec<&Viewing>> = BTreeMap::new();
    for viewing in &evidence.viewers {
        by_node.entry(viewing.node).or_default().push(viewing);
    }
    let kinds = by_node.len().max(1);
    let mut rows = Vec::new();
    for (node, viewings) in by_node {
        let name = &scenario.node(node).name;
        let frame = frame(scenario, node);
        let per_row = viewings.len().div_ceil((ROWS_MAX / kinds).max(1)).max(1);
        for band in viewings.chunks(per_row) {
            let label = match band {
                [only] => format!("{name} {}", only.index),
                [first, .., last] => format!("{name} {}-{}", first.index, last.index),
                [] => continue,
            };
            rows.push(row(label, band, frame, evidence));
        }
    }
    rows.truncate(ROWS_MAX);
    rows
}

fn frame(scenario: &Scenario, viewers: NodeId) -> Duration {
    let Role::Viewers(of) = &scenario.node(viewers).role else { return Duration::ZERO };
    match &scenario.node(of.watch).role {
        Role::Publisher(workload) => workload.frame(),
        Role::Origin | Role::Edge | Role::Viewers(_) => Duration::ZERO,
    }
}

fn row(label: String, band: &[&Viewing], frame: Duration, evidence: &Evidence) -> Row {
    let mut counts = vec![0_u32; BINS];
    let mut worst: Vec<(Duration, Duration)> = Vec::new();
    for viewing in band {
        let video = viewing.arrivals.iter().filter(|arrival| arrival.media == Media::Video).map(|arrival| arrival.at);
        for at in video.clone() {
            if let Some(count) = counts.get_mut(bin(at, evidence.ended)) {
                *count += 1;
            }
        }
        let next = video.clone().skip(1).chain(std::iter::once(viewing.left));
        let gaps = video.zip(next).filter(|(from, to)| to.saturating_sub(*from) > frame * GAP_FRAMES);
        let gaps: Vec<_> = gaps.collect();
        let without = |gaps: &[(Duration, Duration)]| gaps.iter().map(|(from, to)| *to - *from).sum::<Duration>();
        if without(&gaps) > without(&worst) {
            worst = gaps;
        }
    }
    let seconds = evidence.ended.as_secs_f64() / f64::from(u32::try_from(BINS).unwrap_or(1));
    let full = seconds / frame.as_secs_f64().max(1e-3) * f64::from(u32::try_from(band.len()).unwrap_or(1));
    let density = counts.into_iter().map(|count| f64::from(count) / full.max(1e-9)).collect();
    Row { label, density, gaps: worst }
}

/// Median and 99th percentile of the latency of video, by bin; bins without video have none.
pub(super) fn latency(evidence: &Evidence) -> Vec<Option<(Duration, Duration)>> {
    let mut bins: Vec<Vec<Duration>> = vec![Vec::new(); BINS];
    for arrival in evidence.viewers.iter().flat_map(|viewing| &viewing.arrivals) {
        if arrival.media == Media::Video
            && let Some(bin) = bins.get_mut(bin(arrival.at, evidence.ended))
        {
            bin.push(arrival.at.saturating_sub(arrival.sent));
        }
    }
    let of = |mut bin: Vec<Duration>| {
        bin.sort_unstable();
        quantile(&bin, 0.5).zip(quantile(&bin, 0.99))
    };
    bins.into_iter().map(of).collect()
}

/// Links and processes that were away at some time.
pub(super) fn away(scenario: &Scenario, evidence: &Evidence) -> Vec<Away> {
    let mut links: BTreeMap<LinkId, Spans> = BTreeMap::new();
    let mut nodes: BTreeMap<NodeId, Spans> = BTreeMap::new();
    for Happened { event, at, .. } in &evidence.happened {
        let Some(event) = scenario.events.get(*event) else { continue };
        match &event.action {
            Action::Down(ids) => ids.iter().for_each(|id| links.entry(*id).or_default().begin(*at)),
            Action::Up(ids) => ids.iter().for_each(|id| links.entry(*id).or_default().end(*at)),
            Action::Kill(id) | Action::Stop(id) => nodes.entry(*id).or_default().begin(*at),
            Action::Restart(id) | Action::Cont(id) => nodes.entry(*id).or_default().end(*at),
            Action::Set(..) | Action::Rebind(_) | Action::Clock(..) => {}
        }
    }
    let links = links.into_iter().map(|(id, spans)| (scenario.link(id).name.clone(), spans));
    let nodes = nodes.into_iter().map(|(id, spans)| (scenario.node(id).name.clone(), spans));
    let away = links.chain(nodes).map(|(label, spans)| Away { label, spans: spans.until(evidence.ended) });
    away.take(ROWS_MAX).collect()
}

#[derive(Debug, Default)]
struct Spans {
    spans: Vec<(Duration, Duration)>,
    since: Option<Duration>,
}

impl Spans {
    fn begin(&mut self, at: Duration) {
        self.since.get_or_insert(at);
    }

    fn end(&mut self, at: Duration) {
        if let Some(since) = self.since.take() {
            self.spans.push((since, at));
        }
    }

    fn until(mut self, ended: Duration) -> Vec<(Duration, Duration)> {
        self.end(ended);
        self.spans
    }
}
