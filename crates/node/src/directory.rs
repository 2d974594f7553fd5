//! The directory between relays: what an edge reports to its origins, what origins tell each other and those who
//! watch. Offers travel as (namespace, publishing relay), so that nobody is told of its own.

use crate::config::{Ingest, Role};
use crate::incident::Incident;
use crate::namespaces::{Added, Change, Offer, Remote};
use crate::node::{Hosted, Node};
use crate::reroute::Carried;
use crate::tell::{concerns, hears_of_track};
use crate::tracks::{State, Track};
use crate::trunk::link::{Leg, Link, Load, Told};
use crate::trunk::wire::{Hello, Message};
use sluice_moqt::error::SessionCode;
use sluice_moqt::transport::{CloseReason, Dial, Output, SessionId, StreamEvent, StreamId};
use sluice_moqt::{Namespace, TrackName};
use sluice_topology::PopId;
use sluice_topology::liveness::State as Liveness;
use std::collections::BTreeSet;
use std::time::Instant;

impl Node {
    // ---- connections

    /// First words on a fresh control connection: what we watch, then who we are, so that the answer to that tells
    /// everything that is watched before [`Message::Synced`].
    pub(crate) fn greet(&mut self, id: SessionId, peer: &PopId) {
        let hello = Hello {
            pop: self.config.pop.clone(),
            instance: self.config.epoch,
            is_origin: self.config.role == Role::Origin,
        };
        let Some(link) = self.links.get_mut(peer) else { return };
        link.sync.told = Some(Told::default());
        link.hello = None;
        link.watched.clear();
        let watches: Vec<Message> =
            link.watching.keys().map(|prefix| Message::Watch { prefix: prefix.clone() }).collect();
        for message in watches.iter().chain([&Message::Hello(hello)]) {
            self.send_control(id, message);
        }
    }

    /// Once we know what the peer is: our part of the directory.
    fn on_hello(&mut self, id: SessionId, peer: &PopId, hello: Hello) {
        if hello.pop != *peer && !(self.is_sibling(peer) && hello.pop == self.config.pop) {
            let reason = format!("the certificate names {peer}, the greeting {}", hello.pop);
            return self.close(id, SessionCode::Unauthorized, reason);
        }
        let Some(link) = self.links.get_mut(peer) else { return };
        link.hello = Some(hello);
        if link.config.role != Role::Sibling {
            self.effects.incidents.push(Incident::TrunkUp(peer.clone()));
        }
        link.sync.believed_until = None;
        let offers: Vec<(Namespace, Offer)> = self
            .namespaces
            .iter()
            .flat_map(|(namespace, offers)| offers.iter().map(|offer| (namespace.clone(), offer.clone())))
            .collect();
        for (namespace, offer) in offers {
            self.tell_peer(peer, &namespace, &offer, Change::Up);
        }
        if self.is_sibling(peer) {
            for pop in self.reachable_here() {
                self.send_control(id, &Message::PeerUp { pop });
            }
        }
        self.tell_tracks(peer, None);
        self.send_control(id, &Message::Synced);
    }

    /// A control connection is gone: what the peer told is believed for the linger.
    pub(crate) fn on_control_gone(&mut self, now: Instant, id: SessionId, peer: &PopId) {
        let linger = self.config.limits.linger;
        let jitter = self.jitter.next();
        if let Some(link) = self.links.get_mut(peer)
            && link.on_closed(now, id, jitter) == Some(Leg::Control)
        {
            link.sync.believed_until = Some(now + linger);
        }
        self.arm_trunks();
    }

    /// A media connection is gone; its subscriptions were dealt with.
    pub(crate) fn on_media_gone(&mut self, now: Instant, id: SessionId, peer: &PopId) {
        let jitter = self.jitter.next();
        if let Some(link) = self.links.get_mut(peer) {
            link.on_closed(now, id, jitter);
        }
        self.tell_siblings_of_peer(peer);
        self.arm_trunks();
    }

    /// Dials, probes, silence and disbelief.
    pub(crate) fn run_trunks(&mut self, now: Instant) {
        let pops: Vec<PopId> = self.links.keys().cloned().collect();
        let carried = self.carried();
        for pop in &pops {
            self.run_trunk(now, pop, carried);
        }
        self.arm_trunks();
    }

    fn run_trunk(&mut self, now: Instant, pop: &PopId, carried: Carried) {
        let late = self.timers.lateness();
        let Some(link) = self.links.get_mut(pop) else { return };
        let mut due = link.due_dials(now);
        if link.take_renewal(now) {
            due.push(Leg::Media);
        }
        for leg in due {
            let Some(remote) = link.config.addr else { continue };
            let (alpn, bit) = match leg {
                Leg::Control => (crate::CONTROL_ALPN, 0),
                Leg::Media => (crate::MEDIA_ALPN, 1),
            };
            let dial = Dial {
                token: link.number << 1 | bit,
                remote,
                alpn: alpn.to_vec(),
                server_name: pop.as_str().to_owned(),
            };
            self.effects.push(Output::Dial(dial));
        }
        let is_busy = link.media.is_some_and(|id| match self.sessions.get(id) {
            Some(Hosted::Moq(session)) => !session.down.subs.is_empty() || !session.up.requests.is_empty(),
            Some(Hosted::Control(_)) | None => false,
        });
        let is_standby = carried == Carried::Something && self.config.homing.origins.contains(pop);
        let probe = link.take_probe(now, if is_busy || is_standby { Load::Busy } else { Load::Idle });
        let judged = link.judge(now, late);
        let is_over = link.renewal.retiring().is_some_and(|(_, at)| at <= now);
        let disbelieved = link.sync.believed_until.is_some_and(|until| until <= now);
        if disbelieved {
            link.sync.believed_until = None;
        }
        if let (Some(seq), Some(id)) = (probe, link.control)
            && let Some(Hosted::Control(control)) = self.sessions.get_mut(id)
        {
            control.send_datagram(&Message::Ping { seq });
            self.effects.wake(id);
        }
        if disbelieved {
            self.remove_offers(|remote| remote.via == *pop);
            for track in self.namespaces.tracks_via(pop) {
                self.on_track_down(pop, &track);
            }
        }
        if is_over {
            self.retire_media(pop);
        }
        if judged == Some(Liveness::Suspect) {
            self.effects.incidents.push(Incident::PeerSuspect(pop.clone()));
            self.bypass(now, pop);
        }
    }

    /// A dial of ours came to nothing.
    pub(crate) fn on_dial_failed(&mut self, now: Instant, token: u64, reason: &CloseReason) {
        let jitter = self.jitter.next();
        let leg = if token & 1 == 0 { Leg::Control } else { Leg::Media };
        if let Some(link) = self.links.values_mut().find(|link| link.number == token >> 1) {
            link.on_dial_failed(now, leg, jitter);
            let pop = link.config.pop.clone();
            self.tell_of_failure(now, pop, reason);
        }
        self.arm_trunks();
    }

    /// A connection of a trunk failed or was lost.
    pub(crate) fn tell_of_failure(&mut self, now: Instant, pop: PopId, reason: &CloseReason) {
        let is_news = |link: &mut Link| *reason != CloseReason::Local && link.is_news(now, reason);
        if self.links.get_mut(&pop).is_some_and(is_news) {
            self.effects.incidents.push(Incident::TrunkDown { pop, reason: reason.clone() });
        }
    }

    // ---- messages

    /// A stream event of a control connection.
    pub(crate) fn on_control_stream(&mut self, now: Instant, id: SessionId, stream: StreamId, event: StreamEvent) {
        let Some(Hosted::Control(control)) = self.sessions.get_mut(id) else { return };
        let peer = control.peer.clone();
        match event {
            StreamEvent::Data { data, fin } => match control.receive(stream, &data) {
                Ok(messages) => {
                    self.on_heard(now, &peer);
                    for message in messages {
                        self.on_control(now, id, &peer, message);
                    }
                    if fin {
                        self.close(id, SessionCode::ProtocolViolation, "the control stream ended".to_owned());
                    }
                }
                Err(error) => self.close(id, SessionCode::ProtocolViolation, error.to_string()),
            },
            StreamEvent::Writable => self.effects.wake(id),
            StreamEvent::Reset { .. } | StreamEvent::Stopped { .. } => {
                self.close(id, SessionCode::ProtocolViolation, "the control stream was reset".to_owned());
            }
            StreamEvent::Acked => {}
        }
    }

    /// A probe or its answer.
    pub(crate) fn on_control_datagram(&mut self, now: Instant, id: SessionId, data: &[u8]) {
        let Some(Hosted::Control(control)) = self.sessions.get_mut(id) else { return };
        let peer = control.peer.clone();
        let mut data = bytes::BytesMut::from(data);
        match Message::decode(&mut data) {
            Ok(Some(Some(Message::Ping { seq }))) => {
                control.send_datagram(&Message::Pong { seq });
                self.effects.wake(id);
            }
            Ok(Some(Some(Message::Pong { seq }))) => {
                if let Some(link) = self.links.get_mut(&peer) {
                    link.on_pong(now, seq);
                }
            }
            Ok(_) | Err(_) => {}
        }
        self.on_heard(now, &peer);
    }

    fn on_heard(&mut self, now: Instant, peer: &PopId) {
        let was_silent = self.links.get(peer).is_some_and(Link::is_silent);
        if self.links.get_mut(peer).and_then(|link| link.on_heard(now)) == Some(Liveness::Up) {
            self.effects.incidents.push(Incident::PeerTrusted(peer.clone()));
            self.retry_tracks(now);
        } else if was_silent {
            self.run_trunks(now);
            self.retry_tracks(now);
        }
        self.arm_trunks();
    }

    fn on_control(&mut self, now: Instant, id: SessionId, peer: &PopId, message: Message) {
        match message {
            Message::Hello(hello) => self.on_hello(id, peer, hello),
            Message::NsUp { namespace, relay, epoch } => self.on_ns_up(now, peer, &namespace, (relay, epoch)),
            Message::NsDown { namespace, relay } => {
                self.remove_offers_of(&namespace, |remote| remote.via == *peer && remote.relay == relay);
            }
            Message::Synced => {
                if let Some(told) = self.links.get_mut(peer).and_then(|link| link.sync.told.take()) {
                    self.remove_unmentioned(peer, &told);
                }
            }
            Message::TrackUp { track } => self.on_track_up(now, peer, &track),
            Message::TrackDown { track } => self.on_track_down(peer, &track),
            Message::PeerUp { pop } => {
                if self.is_sibling(peer)
                    && let Some(link) = self.links.get_mut(peer)
                {
                    link.reach.insert(pop);
                    self.retry_tracks(now);
                }
            }
            Message::PeerDown { pop } => {
                if let Some(link) = self.links.get_mut(peer) {
                    link.reach.remove(&pop);
                }
            }
            Message::Watch { prefix } => self.on_watch(peer, prefix),
            Message::Unwatch { prefix } => self.on_unwatch(peer, &prefix),
            Message::TrackPath { track, root_path } => self.on_track_path(now, peer, &track, root_path),
            Message::Drain => {
                if let Some(link) = self.links.get_mut(peer) {
                    link.draining = true;
                }
            }
            Message::Ping { .. } | Message::Pong { .. } => {}
        }
    }

    fn on_ns_up(&mut self, now: Instant, peer: &PopId, namespace: &Namespace, (relay, epoch): (PopId, u64)) {
        let is_own = relay == self.config.pop && !self.is_sibling(peer);
        if is_own || !self.keeps_word(peer, namespace) {
            return;
        }
        if let Some(told) = self.links.get_mut(peer).and_then(|link| link.sync.told.as_mut()) {
            told.namespaces.insert((namespace.clone(), relay.clone()));
        }
        let offer = Offer::Peer(Remote { via: peer.clone(), relay, epoch });
        let added = self.namespaces.add(namespace, offer.clone(), self.config.homing.publishers);
        match added {
            Added::Same | Added::Refused => return,
            Added::First => self.notify_sessions(namespace, Change::Up),
            Added::Another | Added::Replaced(_) => {}
        }
        self.tell_peers(namespace, &offer, Change::Up);
        self.on_namespace_offered(now, namespace);
    }

    fn on_watch(&mut self, peer: &PopId, prefix: Namespace) {
        let Some(link) = self.links.get_mut(peer) else { return };
        if !link.watched.insert(prefix.clone()) {
            return;
        }
        let present: Vec<(Namespace, Offer)> = self
            .namespaces
            .iter()
            .filter(|(namespace, _)| concerns(&prefix, namespace))
            .flat_map(|(namespace, offers)| offers.iter().map(|offer| (namespace.clone(), offer.clone())))
            .collect();
        for (namespace, offer) in present {
            self.tell_peer(peer, &namespace, &offer, Change::Up);
        }
        if self.links.get(peer).is_some_and(|link| link.hello.is_some()) {
            self.tell_tracks(peer, Some(&prefix));
        }
    }

    /// A track was offered by PUBLISH behind `peer`.
    fn on_track_up(&mut self, now: Instant, peer: &PopId, name: &TrackName) {
        if let Some(told) = self.links.get_mut(peer).and_then(|link| link.sync.told.as_mut()) {
            told.tracks.insert(name.clone());
        }
        if !self.keeps_word(peer, name.namespace()) || !self.namespaces.add_track(name, peer) {
            return;
        }
        self.pull(now, name);
        let key = self.tracks.find(name);
        if let Some(track) = key.and_then(|key| self.tracks.get(key))
            && let Some(key) = key.filter(|_| matches!(track.state, State::Idle | State::Orphaned(_)))
        {
            self.find_sources(now, key);
        }
        self.offer_track(now, name, None);
        self.tell_peers_of_track(name, Some(peer), Change::Up);
    }

    /// A home takes a track at once and keeps its window, where it is told to.
    fn pull(&mut self, now: Instant, name: &TrackName) {
        if self.config.role != Role::Origin || self.config.homing.ingest != Ingest::Always || !self.owns(name) {
            return;
        }
        if self.tracks.len() >= self.config.limits.max_tracks && self.tracks.find(name).is_none() {
            self.metrics.limits_hit_total += 1;
            return;
        }
        let key = self.tracks.find_or_create(name, self.config.track);
        if let Some(track) = self.tracks.get_mut(key) {
            track.upkeep.pinned = true;
            if track.state == State::Idle {
                self.find_sources(now, key);
            }
        }
    }

    /// Pulls what could not be had when it was told of.
    pub(crate) fn pull_told(&mut self, now: Instant) {
        let told: Vec<TrackName> = self.namespaces.told_tracks().map(|(name, _)| name.clone()).collect();
        for name in told {
            self.pull(now, &name);
        }
    }

    /// It no longer is.
    pub(crate) fn on_track_down(&mut self, peer: &PopId, name: &TrackName) {
        let is_ours = |track: &Track| !track.upkeep.offered.is_empty();
        let is_offered_here = self.tracks.find(name).and_then(|key| self.tracks.get(key)).is_some_and(is_ours);
        if !self.namespaces.remove_track(name, peer) || is_offered_here {
            return;
        }
        if self.namespaces.vias_of(name).next().is_none() {
            self.tell_peers_of_track(name, Some(peer), Change::Down);
        }
    }

    /// Tells a peer of tracks offered by PUBLISH, here or behind another peer, in namespaces that a watch is about.
    fn tell_tracks(&mut self, peer: &PopId, watched: Option<&Namespace>) {
        let Some((id, link)) = self.links.get(peer).and_then(|link| Some((link.control?, link))) else { return };
        let ours = self.tracks.iter().filter(|(_, track)| !track.upkeep.offered.is_empty());
        let ours = ours.map(|(_, track)| (&track.name, None));
        let told = self.namespaces.told_tracks().filter_map(|(name, vias)| {
            let via = vias.iter().find(|via| *via != peer)?;
            Some((name, self.links.get(via).map(Link::role)))
        });
        let is_asked = |name: &TrackName| watched.is_none_or(|prefix| concerns(prefix, name.namespace()));
        let heard = ours.chain(told).filter(|(name, via)| is_asked(name) && hears_of_track(link, name, *via));
        let names: BTreeSet<TrackName> = heard.map(|(name, _)| name.clone()).collect();
        for track in names {
            self.send_control(id, &Message::TrackUp { track });
        }
    }

    fn on_track_path(&mut self, now: Instant, peer: &PopId, name: &TrackName, root_path: Vec<PopId>) {
        let Some(media) = self.links.get(peer).and_then(|link| link.media) else { return };
        let Some(key) = self.tracks.find(name) else { return };
        let loops = root_path.contains(&self.config.pop);
        let Some(track) = self.tracks.get_mut(key) else { return };
        let on_media = |kind| matches!(kind, crate::tracks::SourceKind::Session(id, _) if id == media);
        let Some(source) = track.sources.iter_mut().find(|s| on_media(s.kind)) else { return };
        source.root_path = root_path;
        let source = source.clone();
        if loops && let crate::tracks::SourceKind::Session(id, request) = source.kind {
            let error = crate::downstream::request_error(
                sluice_moqt::error::RequestCode::DoesNotExist,
                "the parent became downstream of this relay",
            );
            if let Some(session) = self.moq(id) {
                session.protocol.cancel(request, sluice_moqt::error::ResetCode::Cancelled);
            }
            self.drop_source(now, id, request, &error);
        }
        self.note_path(key);
    }
}
