//! Times without video: gaps, resumption after faults, healing after repairs.

use super::GAP_FRAMES;
use super::evidence::{Arrival, Happened, Media, Viewing};
use super::report::Gap;
use crate::scenario::{Action, Event, Role, Route, Scenario};
use std::time::Duration;

/// How long after a fault a pause still counts as its doing.
const BLAME: Duration = Duration::from_secs(10);

/// What the pauses of viewers are judged by.
#[derive(Debug)]
pub(super) struct Pauses<'a> {
    events: Vec<(&'a Event, Duration)>,
    frame: Duration,
    route: Option<&'a Route>,
    ended: Duration,
}

impl<'a> Pauses<'a> {
    /// For viewers whose undisturbed path is `route`.
    pub(super) fn new(
        scenario: &'a Scenario,
        happened: &[Happened],
        (viewers, route): (crate::scenario::NodeId, Option<&'a Route>),
        ended: Duration,
    ) -> Self {
        let events = happened.iter().filter_map(|h| Some((scenario.events.get(h.event)?, h.at))).collect();
        let workload = match &scenario.node(viewers).role {
            Role::Viewers(of) => match &scenario.node(of.watch).role {
                Role::Publisher(workload) => Some(workload.frame()),
                Role::Origin | Role::Edge | Role::Viewers(_) => None,
            },
            Role::Origin | Role::Edge | Role::Publisher(_) => None,
        };
        Self { events, frame: workload.unwrap_or_default(), route, ended }
    }

    /// Time between two frames.
    pub(super) const fn frame(&self) -> Duration {
        self.frame
    }

    /// Pauses of more than [`GAP_FRAMES`] frames.
    pub(super) fn gaps(&self, viewing: &Viewing) -> Vec<Gap> {
        let gap = |(from, to): (Duration, Duration)| {
            let (start_seconds, pause) = (from.as_secs_f64(), to.saturating_sub(from));
            let gap = Gap { start_seconds, seconds: pause.as_secs_f64() };
            (pause > self.frame * GAP_FRAMES).then_some(gap)
        };
        self.intervals(viewing).filter_map(gap).collect()
    }

    /// For each fault on the path while the viewer was there: the longest pause that it can be blamed for.
    pub(super) fn resumes(&self, viewing: &Viewing) -> Vec<Duration> {
        let Some(first) = video(viewing).next() else { return Vec::new() };
        let mut found = Vec::new();
        for (at, (event, when)) in self.events.iter().enumerate() {
            if !event.action.is_fault() || !self.is_on_path(&event.action) {
                continue;
            }
            if *when <= first.at || *when >= viewing.left {
                continue;
            }
            let later = self.events.iter().skip(at + 1);
            let next = later.filter(|(event, _)| event.action.is_fault()).map(|(_, when)| *when).next();
            let until = next.unwrap_or(self.ended).min(*when + BLAME);
            let pauses = self.intervals(viewing).filter(|(from, to)| *to > *when && *from < until);
            let longest = pauses.map(|(from, to)| to.saturating_sub(from)).max().unwrap_or_default();
            found.push(longest.saturating_sub(self.frame));
        }
        found
    }

    /// For each repair on the path while the viewer was there: until something arrived that was published after it.
    pub(super) fn heals(&self, viewing: &Viewing) -> Vec<Duration> {
        let repairs = self.events.iter().filter(|(event, at)| {
            event.action.is_repair() && self.is_on_path(&event.action) && viewing.dialled < *at && *at < viewing.left
        });
        let heal = |(_, repaired): &(&Event, Duration)| {
            let fresh = video(viewing).find(|arrival| arrival.sent >= *repaired && arrival.at >= *repaired);
            fresh.map_or(viewing.left, |arrival| arrival.at).saturating_sub(*repaired)
        };
        repairs.map(heal).collect()
    }

    /// From the last event until video is no later than `usual` any more; `None` without an event.
    pub(super) fn recovery(&self, viewing: &Viewing, usual: Duration) -> Option<Duration> {
        let (_, last) = self.events.last()?;
        let slow = usual + self.frame * 2;
        let late = |arrival: &&Arrival| arrival.at > *last && arrival.at.saturating_sub(arrival.sent) > slow;
        let after = video(viewing).filter(late).last().map_or(*last, |arrival| arrival.at);
        Some(after.saturating_sub(*last))
    }

    /// When the first event happened.
    pub(super) fn first_event(&self) -> Option<Duration> {
        self.events.first().map(|(_, at)| *at)
    }

    /// From each video object to the next; the end counts as one for a viewer that was still there.
    fn intervals<'v>(&self, viewing: &'v Viewing) -> impl Iterator<Item = (Duration, Duration)> + 'v {
        let arrivals = video(viewing).map(|arrival| arrival.at);
        let end = viewing.left.min(self.ended);
        let after = arrivals.clone().skip(1).chain(std::iter::once(end));
        arrivals.zip(after)
    }

    fn is_on_path(&self, action: &Action) -> bool {
        let Some(route) = self.route else { return false };
        match action {
            Action::Down(links) | Action::Up(links) => links.iter().any(|link| route.links.contains(link)),
            Action::Set(link, _) | Action::Rebind(link) => route.links.contains(link),
            Action::Kill(node)
            | Action::Restart(node)
            | Action::Stop(node)
            | Action::Cont(node)
            | Action::Clock(node, _) => route.nodes.contains(node),
        }
    }
}

/// The pictures that a viewer got.
pub(super) fn video(viewing: &Viewing) -> impl Iterator<Item = &Arrival> + Clone {
    viewing.arrivals.iter().filter(|arrival| arrival.media == Media::Video)
}
