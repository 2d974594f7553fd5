//! Telling peers and sessions what is to be had where, asking peers to tell, and taking back what was told.

use crate::config::Role;
use crate::namespaces::{Added, Change, Offer, Remote};
use crate::node::{Hosted, Node};
use crate::tracks::TrackKey;
use crate::trunk::link::{Link, Told};
use crate::trunk::wire::Message;
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Namespace, TrackName};
use sluice_topology::PopId;

impl Node {
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

    pub(crate) fn tell_peer(&mut self, pop: &PopId, namespace: &Namespace, offer: &Offer, change: Change) {
        let Some(link) = self.links.get(pop) else { return };
        if link.hello.is_none() || !self.is_to_know(link, namespace, offer) {
            return;
        }
        // To others all shards are one relay, which has the namespace while one of them has.
        let outside = change == Change::Down && link.role() != Role::Sibling;
        if outside && self.is_ours(offer) && self.namespaces.of(namespace).iter().any(|other| self.is_ours(other)) {
            return;
        }
        if change == Change::Down && self.is_known_by_another(link, namespace, offer) {
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

    /// Whether the peer is still told of the same publishing relay by an offer of another peer: what is told names the
    /// relay and not the way. Origins may have it from each other, and would keep it alive among them after it has gone:
    /// between them only what an edge reported counts. Edges pass nothing on.
    fn is_known_by_another(&self, link: &Link, namespace: &Namespace, offer: &Offer) -> bool {
        let Offer::Peer(remote) = offer else { return false };
        let is_edge = |pop: &PopId| self.links.get(pop).is_some_and(|via| via.role() == Role::Edge);
        let is_other = |r: &Remote| r.relay == remote.relay && r.via != remote.via;
        let counts = |r: &Remote| is_other(r) && (link.role() == Role::Edge || is_edge(&r.via));
        let offers = self.namespaces.of(namespace).iter();
        let mut others = offers.filter(|other| matches!(other, Offer::Peer(r) if counts(r)));
        others.any(|other| self.is_to_know(link, namespace, other))
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
    pub(crate) fn tell_peers_of_track(&mut self, name: &TrackName, from: Option<&PopId>, change: Change) {
        let via = from.and_then(|pop| self.links.get(pop)).map(Link::role);
        let told: Vec<SessionId> = self
            .links
            .values()
            .filter(|link| Some(&link.config.pop) != from && link.hello.is_some())
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

    /// Where the root path of a track has changed, everybody downstream is told.
    pub(crate) fn note_path(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let is_rooted = track.sources.iter().any(|source| source.established);
        if is_rooted && track.root_path() != track.upkeep.told_path {
            track.upkeep.told_path = track.root_path().to_vec();
            self.tell_track_path(key);
        }
    }

    fn tell_track_path(&mut self, key: TrackKey) {
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
        if let Some(Hosted::Control(control)) = self.sessions.get_mut(id) {
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
            self.forget_unwatched(&pop);
        }
    }

    /// Whether what a peer tells of a namespace is kept up to date: an edge hears of changes only while it watches.
    pub(crate) fn keeps_word(&self, peer: &PopId, namespace: &Namespace) -> bool {
        let Some(link) = self.links.get(peer) else { return false };
        let watches = || link.watching.keys().any(|prefix| concerns(prefix, namespace));
        self.config.role != Role::Edge || link.role() != Role::Origin || watches()
    }

    /// Nobody watches any more: what the peer told before may change unheard.
    fn forget_unwatched(&mut self, via: &PopId) {
        for (namespace, relay) in self.told_by(via) {
            if !self.keeps_word(via, &namespace) {
                self.remove_offers_of(&namespace, |remote| remote.via == *via && remote.relay == relay);
            }
        }
        for track in self.namespaces.tracks_via(via) {
            if !self.keeps_word(via, track.namespace()) {
                self.on_track_down(via, &track);
            }
        }
    }

    /// A peer does not watch any more. An edge forgets by itself what it heard as a watcher; an origin cannot tell that
    /// from what it hears anyway, and would believe it for ever.
    pub(crate) fn on_unwatch(&mut self, peer: &PopId, prefix: &Namespace) {
        let Some(link) = self.links.get_mut(peer) else { return };
        let was_watched = link.watched.remove(prefix);
        let (role, control) = (link.role(), link.control);
        let Some(id) = control.filter(|_| was_watched && role == Role::Origin) else { return };
        let Some(link) = self.links.get(peer) else { return };
        let offers = self.namespaces.iter().filter(|(namespace, _)| concerns(prefix, namespace));
        let offers = offers.flat_map(|(namespace, offers)| offers.iter().map(move |offer| (namespace, offer)));
        let unheard = offers.filter(|(namespace, offer)| {
            !self.is_to_know(link, namespace, offer) && !self.is_known_by_another(link, namespace, offer)
        });
        let withdrawn = unheard.filter_map(|(namespace, offer)| match offer {
            Offer::Peer(remote) if remote.relay != *peer => {
                Some(Message::NsDown { namespace: namespace.clone(), relay: remote.relay.clone() })
            }
            Offer::Peer(_) | Offer::Session(..) | Offer::Local => None,
        });
        let tracks = self.namespaces.told_tracks().filter(|(name, vias)| {
            let hears = |via: &PopId| hears_of_track(link, name, self.links.get(via).map(Link::role));
            concerns(prefix, name.namespace()) && !vias.iter().any(hears)
        });
        let withdrawn = withdrawn.chain(tracks.map(|(name, _)| Message::TrackDown { track: name.clone() }));
        let withdrawn: Vec<Message> = withdrawn.collect();
        for message in withdrawn {
            self.send_control(id, &message);
        }
    }

    /// Namespaces that a peer told of, with the relay that publishes them.
    fn told_by(&self, via: &PopId) -> Vec<(Namespace, PopId)> {
        let offers = self.namespaces.iter().flat_map(|(ns, offers)| offers.iter().map(move |offer| (ns, offer)));
        let told = offers.filter_map(|(ns, offer)| match offer {
            Offer::Peer(remote) if remote.via == *via => Some((ns.clone(), remote.relay.clone())),
            Offer::Peer(_) | Offer::Session(..) | Offer::Local => None,
        });
        told.collect()
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
    pub(crate) fn remove_offers(&mut self, matches: impl Fn(&Remote) -> bool) {
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

    pub(crate) fn remove_offers_of(&mut self, namespace: &Namespace, matches: impl Fn(&Remote) -> bool) {
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

    pub(crate) fn remove_unmentioned(&mut self, via: &PopId, told: &Told) {
        for (namespace, relay) in self.told_by(via).into_iter().filter(|pair| !told.namespaces.contains(pair)) {
            self.remove_offers_of(&namespace, |remote| remote.via == *via && remote.relay == relay);
        }
        for track in self.namespaces.tracks_via(via) {
            if !told.tracks.contains(&track) {
                self.on_track_down(via, &track);
            }
        }
    }
}

/// Whether a watch of `prefix` is about `namespace`: one contains the other. A publisher of `(live)` serves a
/// subscriber of `(live, a)`, too.
pub(crate) fn concerns(prefix: &Namespace, namespace: &Namespace) -> bool {
    prefix.is_prefix_of(namespace) || namespace.is_prefix_of(prefix)
}

/// Origins hear of tracks offered here or at another shard, shards of those that no shard told of, and watchers of all.
pub(crate) fn hears_of_track(link: &Link, name: &TrackName, via: Option<Role>) -> bool {
    let watches = link.watched.iter().any(|prefix| concerns(prefix, name.namespace()));
    match link.role() {
        Role::Sibling => via != Some(Role::Sibling),
        Role::Origin => watches || matches!(via, None | Some(Role::Sibling)),
        Role::Edge => watches,
    }
}
