//! A publisher: our own client, fed with objects by the clock.

use super::{Birth, PlanError};
use crate::media::Payloads;
use crate::plan::{self, Kind, NodeId, Plan, Track};
use bytes::Bytes;
use sluice_client_probe::core::{Broadcast, Client, LinkId, Outgoing, Role, Target};
use sluice_client_probe::url::StreamUrl;
use sluice_moqt::Location;
use sluice_moqt::message::TrackProperties;
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_net::Rng;
use std::time::{Duration, Instant};

/// How much of what a publisher missed while it did not run it makes up for; a live source skips the rest.
const CATCH_UP: Duration = Duration::from_millis(500);

/// An object that was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Which of the publisher's tracks.
    pub track: usize,
    /// Where it stands.
    pub at: Location,
    /// When.
    pub when: Instant,
}

/// The process of a publisher.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    link: LinkId,
    tracks: Vec<Source>,
    published: Vec<Published>,
    over: bool,
}

/// One track as it is written.
#[derive(Debug)]
struct Source {
    plan: Track,
    payloads: Payloads,
    next: Location,
    due: Instant,
}

impl Publisher {
    pub(super) fn start(
        plan: &Plan,
        (id, publisher): (NodeId, &plan::Publisher),
        birth: Birth,
    ) -> Result<Self, PlanError> {
        let name = || plan.node(id).name.clone();
        if !matches!(plan.node(publisher.relay).kind, Kind::Relay(_)) {
            let other = plan.node(publisher.relay).name.clone();
            return Err(PlanError::NotA { node: name(), what: "a relay", other });
        }
        let mut rng = Rng::from_seed(super::seed_of(plan, id, birth));
        let mut broadcast = Broadcast::new(publisher.namespace.clone());
        let mut tracks = Vec::new();
        for track in &publisher.tracks {
            let refuse = || PlanError::TrackName { node: name(), track: track.name.clone() };
            let full = publisher.track_name(track).ok_or_else(refuse)?;
            let added = broadcast.add_track(full.name().clone(), TrackProperties::default());
            added.map_err(|_| refuse())?;
            // Group ids of our publishers start at the unix milliseconds of their first group.
            let group = u64::try_from(birth.wall.as_millis()).unwrap_or(u64::MAX);
            // Tracks of one publisher are not in step.
            let wait = Duration::from_micros(rng.below(1_000) * u64::try_from(track.interval.as_millis()).unwrap_or(1));
            tracks.push(Source {
                plan: track.clone(),
                payloads: Payloads::new(&full, track),
                next: Location::new(group, 0),
                due: birth.now + wait,
            });
        }
        let mut client = Client::new(rng, Some(broadcast));
        let link = client.connect(birth.now, target(publisher.relay), Role::Publisher);
        Ok(Self { client, link, tracks, published: Vec::new(), over: false })
    }

    /// What it published since the last call.
    pub fn take_published(&mut self) -> Vec<Published> {
        std::mem::take(&mut self.published)
    }

    /// The broadcast ends and the session is closed.
    pub(super) fn quit(&mut self, now: Instant) {
        self.over = true;
        self.client.end_broadcast(now);
        self.client.close(now, self.link);
    }

    fn publish_due(&mut self, now: Instant) {
        let Self { client, tracks, published, .. } = self;
        for (track, source) in tracks.iter_mut().enumerate() {
            while source.due <= now {
                if now.saturating_duration_since(source.due) > CATCH_UP {
                    source.due = now;
                }
                source.publish(now, client);
                published.push(Published { track, at: source.last(), when: now });
                source.due += source.plan.interval;
            }
        }
    }

    fn drop_events(&mut self) {
        while self.client.poll_event().is_some() {}
    }
}

impl Source {
    fn publish(&mut self, now: Instant, client: &mut Client) {
        let name = self.plan.name.as_bytes();
        let at = self.next;
        let payload = self.payloads.at(at);
        let (priority, properties) = (self.plan.priority, Bytes::new());
        let object = Outgoing { group: at.group, object: at.object, priority, properties, payload };
        client
            .publish(now, name, &object)
            .expect("ids grow by one, and the limits of a log are above any plan's objects");
        self.next.object += 1;
        if self.next.object >= u64::from(self.plan.objects_per_group) {
            client.end_group(now, name, at.group).expect("the group is open");
            self.next = Location::new(at.group + 1, 0);
        }
    }

    /// What was published last; something was.
    fn last(&self) -> Location {
        match self.next.object.checked_sub(1) {
            Some(object) => Location::new(self.next.group, object),
            None => Location::new(self.next.group - 1, u64::from(self.plan.objects_per_group) - 1),
        }
    }
}

/// A relay as a client's target.
fn target(relay: NodeId) -> Target {
    let addr = relay.user_addr();
    let url: StreamUrl = format!("moqt://{addr}/").parse().expect("an address makes a URL");
    Target::new(&url, vec![addr]).expect("there is an address")
}

impl App for Publisher {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        self.client.handle_connected(now, session, peer);
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        self.client.handle_dial_failed(now, token, reason);
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.client.handle_stream(now, session, stream, event);
    }

    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir) {
        self.client.handle_streams_available(now, session, dir);
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        self.client.handle_datagram(now, session, data);
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        self.client.handle_closed(now, session, reason);
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        self.client.handle_stats(now, session, stats);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !self.over {
            self.publish_due(now);
        }
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        self.client.select(now, session, sink);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.drop_events();
        self.client.poll_output()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let due = self.tracks.iter().filter(|_| !self.over).map(|track| track.due).min();
        [due, self.client.poll_timeout()].into_iter().flatten().min()
    }
}
