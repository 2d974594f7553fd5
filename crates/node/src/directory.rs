//! The directory between relays: what an edge reports to its origins, what origins tell each other and those who
//! watch. Offers travel as (namespace, publishing relay), so that nobody is told of its own.

use crate::config::{Ingest, Role};
use crate::incident::Incident;
use crate::namespaces::{Added, Change, Offer, Remote};
use crate::node::{Hosted, Node};
use crate::tracks::{State, TrackKey};
use crate::trunk::link::{Leg, Link, Load};
use crate::trunk::wire::{Hello, Message};
use sluice_moqt::error::SessionCode;
use sluice_moqt::transport::{CloseReason, Dial, Output, SessionId, StreamEvent, StreamId};
use sluice_moqt::{Namespace, TrackName};
use sluice_topology::PopId;
use sluice_topology::liveness::State as Liveness;
use std::time::Instant;

impl Node {
    // ---- connections

    /// First words on a fresh control connection: who we are, and everything that the peer is to know.
    pub(crate) fn greet(&mut self, id: SessionId, peer: &PopId) {
        let hello = Hello {
            pop: self.config.pop.clone(),
            instance: self.config.epoch,
            is_origin: self.config.role == Role::Origin,
        };
        let mut messages = vec![Message::Hello(hello)];
        if let Some(link) = self.links.get_mut(peer) {
            link.sync.told.clear();
            link.watched.clear();
            messages.extend(link.watching.keys().map(|prefix| Message::Watch { prefix: prefix.clone() }));
        }
        for message in messages {
            self.send_control(id, &message);
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
        self.tell_tracks(peer);
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
        for pop in &pops {
            self.run_trunk(now, pop);
        }
        self.arm_trunks();
    }

    fn run_trunk(&mut self, now: Instant, pop: &PopId) {
        let late = self.timers.lateness();
        let Some(link) = self.links.get_mut(pop) else { return };
        for leg in link.due_dials(now) {
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
        let is_busy = link.media.is_some_and(|id| match self.sessions.get(&id) {
            Some(Hosted::Moq(session)) => !session.down.subs.is_empty() || !session.up.requests.is_empty(),
            Some(Hosted::Control(_)) | None => false,
        });
        let probe = link.take_probe(now, if is_busy { Load::Busy } else { Load::Idle });
        let judged = link.judge(now, late);
        let disbelieved = link.sync.believed_until.is_some_and(|until| until <= now);
        if disbelieved {
            link.sync.believed_until = None;
        }
        if let (Some(seq), Some(id)) = (probe, link.control)
            && let Some(Hosted::Control(control)) = self.sessions.get_mut(&id)
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
        if judged == Some(Liveness::Suspect) {
            self.effects.incidents.push(Incident::PeerSuspect(pop.clone()));
        }
    }

    /// A dial of ours came to nothing.
    pub(crate) fn on_dial_failed(&mut self, now: Instant, token: u64, _reason: &CloseReason) {
        let jitter = self.jitter.next();
        let leg = if token & 1 == 0 { Leg::Control } else { Leg::Media };
        if let Some(link) = self.links.values_mut().find(|link| link.number == token >> 1) {
            link.on_dial_failed(now, leg, jitter);
        }
        self.arm_trunks();
    }

    // ---- messages

    /// A stream event of a control connection.
    pub(crate) fn on_control_stream(&mut self, now: Instant, id: SessionId, stream: StreamId, event: StreamEvent) {
        let Some(Hosted::Control(control)) = self.sessions.get_mut(&id) else { return };
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
        let Some(Hosted::Control(control)) = self.sessions.get_mut(&id) else { return };
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
        if self.links.get_mut(peer).and_then(|link| link.on_heard(now)) == Some(Liveness::Up) {
            self.effects.incidents.push(Incident::PeerTrusted(peer.clone()));
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
                let told = self.links.get_mut(peer).map(|link| std::mem::take(&mut link.sync.told)).unwrap_or_default();
                let via = peer.clone();
                self.remove_unmentioned(&via, &told);
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
            Message::Unwatch { prefix } => {
                if let Some(link) = self.links.get_mut(peer) {
                    link.watched.remove(&prefix);
                }
            }
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
        if relay == self.config.pop && !self.is_sibling(peer) {
            return;
        }
        if let Some(link) = self.links.get_mut(peer) {
            link.sync.told.insert((namespace.clone(), relay.clone()));
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
    }

    /// A track was offered by PUBLISH behind `peer`.
    fn on_track_up(&mut self, now: Instant, peer: &PopId, name: &TrackName) {
        if !self.namespaces.add_track(name, peer) {
            return;
        }
        let key = self.tracks.find(name);
        let pulls = self.config.role == Role::Origin && self.config.homing.ingest == Ingest::Always && self.owns(name);
        let key = if pulls { Some(self.tracks.find_or_create(name, self.config.track)) } else { key };
        if let Some(track) = key.and_then(|key| self.tracks.get_mut(key)) {
            track.upkeep.pinned |= pulls;
            track.upkeep.unused_since = None;
            let looks = matches!(track.state, State::Idle | State::Orphaned(_));
            if let Some(key) = key.filter(|_| looks) {
                self.find_sources(now, key);
            }
        }
        let from = self.links.get(peer).and_then(|link| link.media);
        self.announce_track(now, name, from);
    }

    /// It no longer is.
    fn on_track_down(&mut self, peer: &PopId, name: &TrackName) {
        if self.namespaces.remove_track(name, peer) {
            let from = self.links.get(peer).and_then(|link| link.media);
            self.tell_peers_of_track(name, from, Change::Down);
        }
    }

    /// Tells a peer that has just greeted of every track that was offered by PUBLISH here.
    fn tell_tracks(&mut self, peer: &PopId) {
        let Some((id, link)) = self.links.get(peer).and_then(|link| Some((link.control?, link))) else { return };
        let offered = self.tracks.iter().filter(|(_, track)| !track.upkeep.offered.is_empty());
        let heard = offered.map(|(_, track)| &track.name).filter(|name| hears_of_track(link, name, None));
        let heard: Vec<TrackName> = heard.cloned().collect();
        for track in heard {
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
        self.tell_track_path(key);
    }

    // ---- telling others

    /// A publisher attached here offers a namespace: peers are told of the first one, sessions of the first offer.
    pub(crate) fn publisher_up(&mut self, namespace: &Namespace, offer: &Offer, added: &Added) {
        if *added == Added::First {
            self.notify_sessions(namespace, Change::Up);
        }
        let is_new = !matches!(added, Added::Same | Added::Refused | Added::Replaced(_));
        if is_new && self.namespaces.publishers_of(namespace) == 1 {
            self.tell_peers(namespace, offer, Change::Up);
        }
    }

    /// A publisher attached here withdraws its offer.
    pub(crate) fn publisher_down(&mut self, namespace: &Namespace, offer: &Offer) {
        let was_last = self.namespaces.remove(namespace, offer);
        if self.namespaces.publishers_of(namespace) == 0 {
            self.tell_peers(namespace, offer, Change::Down);
        }
        if was_last {
            self.notify_sessions(namespace, Change::Down);
        }
    }

    /// Whether the publisher is attached to this relay, whatever the shard.
    fn is_ours(&self, offer: &Offer) -> bool {
        match offer {
            Offer::Session(..) | Offer::Local => true,
            Offer::Peer(remote) => remote.relay == self.config.pop,
        }
    }

    /// Tells every peer that is to know of an offer.
    pub(crate) fn tell_peers(&mut self, namespace: &Namespace, offer: &Offer, change: Change) {
        let pops: Vec<PopId> = self.links.keys().cloned().collect();
        for pop in pops {
            self.tell_peer(&pop, namespace, offer, change);
        }
    }

    fn tell_peer(&mut self, pop: &PopId, namespace: &Namespace, offer: &Offer, change: Change) {
        let Some(link) = self.links.get(pop) else { return };
        if link.hello.is_none() || !self.is_to_know(link, namespace, offer) {
            return;
        }
        // To others all shards are one relay, which has the namespace while one of them has.
        let outside = change == Change::Down && link.role() != Role::Sibling;
        if outside && self.is_ours(offer) && self.namespaces.of(namespace).iter().any(|other| self.is_ours(other)) {
            return;
        }
        let Some(id) = link.control else { return };
        let (relay, epoch) = match offer {
            Offer::Session(..) | Offer::Local => (self.config.pop.clone(), self.config.epoch),
            Offer::Peer(remote) => (remote.relay.clone(), remote.epoch),
        };
        let message = match change {
            Change::Up => Message::NsUp { namespace: namespace.clone(), relay, epoch },
            Change::Down => Message::NsDown { namespace: namespace.clone(), relay },
        };
        self.send_control(id, &message);
    }

    /// Edges report their own publishers to their origins; origins tell each other what was reported to them by edges;
    /// shards tell each other what no shard told them; whoever watches is told everything but its own.
    fn is_to_know(&self, link: &Link, namespace: &Namespace, offer: &Offer) -> bool {
        let pop = &link.config.pop;
        let watches = link.watched.iter().any(|prefix| concerns(prefix, namespace));
        let hears_of_ours = watches || self.config.homing.origins.contains(pop) || link.role() == Role::Origin;
        match offer {
            Offer::Session(..) | Offer::Local => hears_of_ours || link.role() == Role::Sibling,
            Offer::Peer(remote) if remote.via == *pop || remote.relay == *pop => false,
            Offer::Peer(remote) if self.is_sibling(&remote.via) => match link.role() {
                Role::Sibling => false,
                Role::Edge | Role::Origin => hears_of_ours && (watches || remote.relay == self.config.pop),
            },
            Offer::Peer(remote) => {
                let from_edge = self.links.get(&remote.via).is_some_and(|via| via.role() == Role::Edge);
                let between_origins = self.config.role == Role::Origin && link.role() == Role::Origin && from_edge;
                watches || between_origins || link.role() == Role::Sibling
            }
        }
    }

    /// Tells peers of a track offered by PUBLISH, where they are to know of its publisher.
    pub(crate) fn tell_peers_of_track(&mut self, name: &TrackName, publisher: Option<SessionId>, change: Change) {
        let from = publisher.and_then(|id| self.moq(id).and_then(|session| session.kind.pop().cloned()));
        let via = from.as_ref().and_then(|pop| self.links.get(pop)).map(Link::role);
        let told: Vec<SessionId> = self
            .links
            .values()
            .filter(|link| Some(&link.config.pop) != from.as_ref() && link.hello.is_some())
            .filter(|link| hears_of_track(link, name, via))
            .filter_map(|link| link.control)
            .collect();
        let message = match change {
            Change::Up => Message::TrackUp { track: name.clone() },
            Change::Down => Message::TrackDown { track: name.clone() },
        };
        for id in told {
            self.send_control(id, &message);
        }
    }

    /// The root path of a track changed: everybody downstream is told.
    pub(crate) fn tell_track_path(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get(key) else { return };
        let above = track.root_path().to_vec();
        let name = track.name.clone();
        let readers: Vec<SessionId> = track.readers.iter().filter(|r| r.cut_through).map(|r| r.session).collect();
        for reader in readers {
            let pop = self.moq(reader).and_then(|session| session.kind.pop().cloned());
            let Some(link) = pop.and_then(|pop| self.links.get(&pop)) else { continue };
            let ours = (link.role() != Role::Sibling).then_some(&self.config.pop);
            let root_path = above.iter().chain(ours).cloned().collect();
            if let Some(id) = link.control {
                self.send_control(id, &Message::TrackPath { track: name.clone(), root_path });
            }
        }
    }

    pub(crate) fn send_control(&mut self, id: SessionId, message: &Message) {
        if let Some(Hosted::Control(control)) = self.sessions.get_mut(&id) {
            control.send(message);
            self.effects.wake(id);
        }
    }

    // ---- interest

    /// Somebody here wants to hear of namespaces around `prefix`: the origins are asked to tell.
    pub(crate) fn add_interest(&mut self, prefix: &Namespace) {
        for pop in self.config.homing.origins.clone() {
            let Some(link) = self.links.get_mut(&pop) else { continue };
            let watchers = link.watching.entry(prefix.clone()).or_default();
            *watchers += 1;
            if let (1, Some(id)) = (*watchers, link.control) {
                self.send_control(id, &Message::Watch { prefix: prefix.clone() });
            }
        }
    }

    /// One watcher less.
    pub(crate) fn drop_interest(&mut self, prefix: &Namespace) {
        for pop in self.config.homing.origins.clone() {
            let Some(link) = self.links.get_mut(&pop) else { continue };
            let Some(watchers) = link.watching.get_mut(prefix) else { continue };
            *watchers -= 1;
            if *watchers > 0 {
                continue;
            }
            link.watching.remove(prefix);
            if let Some(id) = link.control {
                self.send_control(id, &Message::Unwatch { prefix: prefix.clone() });
            }
        }
    }

    /// A subscriber waits for a publisher to appear.
    pub(crate) fn watch_for_publishers(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let wanted = !track.waiting.is_empty();
        if std::mem::replace(&mut track.upkeep.watching, wanted) == wanted {
            return;
        }
        let namespace = track.name.namespace().clone();
        if wanted { self.add_interest(&namespace) } else { self.drop_interest(&namespace) }
    }

    // ---- withdrawing

    /// Removes offers of peers, and tells whoever was told of them.
    fn remove_offers(&mut self, matches: impl Fn(&Remote) -> bool) {
        let is_it = |offer: &Offer| matches!(offer, Offer::Peer(remote) if matches(remote));
        for (namespace, offers, was_last) in self.namespaces.remove_where(is_it) {
            for offer in &offers {
                self.tell_peers(&namespace, offer, Change::Down);
            }
            if was_last {
                self.notify_sessions(&namespace, Change::Down);
            }
        }
    }

    fn remove_offers_of(&mut self, namespace: &Namespace, matches: impl Fn(&Remote) -> bool) {
        let out: Vec<Offer> = self
            .namespaces
            .of(namespace)
            .iter()
            .filter(|o| matches!(o, Offer::Peer(r) if matches(r)))
            .cloned()
            .collect();
        for offer in out {
            let was_last = self.namespaces.remove(namespace, &offer);
            self.tell_peers(namespace, &offer, Change::Down);
            if was_last {
                self.notify_sessions(namespace, Change::Down);
            }
        }
    }

    fn remove_unmentioned(&mut self, via: &PopId, told: &std::collections::BTreeSet<(Namespace, PopId)>) {
        let stale: Vec<(Namespace, PopId)> = self
            .namespaces
            .iter()
            .flat_map(|(ns, offers)| offers.iter().map(move |offer| (ns, offer)))
            .filter_map(|(ns, offer)| match offer {
                Offer::Peer(remote) if remote.via == *via => Some((ns.clone(), remote.relay.clone())),
                Offer::Peer(_) | Offer::Session(..) | Offer::Local => None,
            })
            .filter(|pair| !told.contains(pair))
            .collect();
        for (namespace, relay) in stale {
            self.remove_offers_of(&namespace, |remote| remote.via == *via && remote.relay == relay);
        }
    }
}

/// Whether a watch of `prefix` is about `namespace`: one contains the other. A publisher of `(live)` serves a
/// subscriber of `(live, a)`, too.
fn concerns(prefix: &Namespace, namespace: &Namespace) -> bool {
    prefix.is_prefix_of(namespace) || namespace.is_prefix_of(prefix)
}

/// Origins hear of tracks offered here or at another shard, shards of those that no shard told of, and watchers of all.
fn hears_of_track(link: &Link, name: &TrackName, via: Option<Role>) -> bool {
    let watches = link.watched.iter().any(|prefix| concerns(prefix, name.namespace()));
    match link.role() {
        Role::Sibling => via != Some(Role::Sibling),
        Role::Origin => watches || matches!(via, None | Some(Role::Sibling)),
        Role::Edge => watches,
    }
}
