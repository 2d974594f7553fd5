//! Who offers which namespace, and who wants to hear of it.

use crate::config::PublisherPolicy;
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Namespace, RequestId, TrackName};
use sluice_topology::PopId;
use std::collections::{BTreeMap, BTreeSet};

/// Tracks that peers may tell of, all together.
const MAX_TRACK_OFFERS: usize = 100_000;

/// Where a namespace can be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Offer {
    /// A session of ours published it by this request.
    Session(SessionId, RequestId),
    /// A source inside this process.
    Local,
    /// A trunk peer told us.
    Peer(Remote),
}

/// A namespace behind a trunk peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Remote {
    /// The peer that told us, and our next hop.
    pub(crate) via: PopId,
    /// The relay whose user publishes it.
    pub(crate) relay: PopId,
    /// When that relay announced it, unix milliseconds; the lowest decides the home.
    pub(crate) epoch: u64,
}

/// The watcher's place: the session and its SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS or trunk WATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatcherId {
    /// The session.
    pub(crate) session: SessionId,
    /// The request; trunk watches number their own.
    pub(crate) request: RequestId,
}

/// A namespace became available to a watcher, or went away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Whom to tell.
    pub(crate) watcher: WatcherId,
    /// The whole namespace.
    pub(crate) namespace: Namespace,
    /// The watcher's prefix.
    pub(crate) prefix: Namespace,
    /// Came or went.
    pub(crate) change: Change,
}

/// What happened to a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The first offer appeared.
    Up,
    /// The last offer went away.
    Down,
}

/// Result of adding an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Added {
    /// The namespace was not offered before.
    First,
    /// Another publisher offers it, too.
    Another,
    /// The same offer was there.
    Same,
    /// The policy admits one publisher only.
    Refused,
    /// The policy admits one publisher only, and it is this one; these are out.
    Replaced(Vec<Offer>),
}

/// The table. Iterates in namespace order, so that notices are reproducible.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    offers: BTreeMap<Namespace, Vec<Offer>>,
    /// Single tracks that peers told of: offered by PUBLISH, whose namespace nobody published.
    tracks: BTreeMap<TrackName, BTreeSet<PopId>>,
    watchers: BTreeMap<WatcherId, Namespace>,
    /// Grows whenever something more is to be had, or elsewhere.
    edition: u64,
}

impl Namespaces {
    /// Records an offer under `policy`. The policy binds publishers of this node, never what peers tell.
    pub(crate) fn add(&mut self, namespace: &Namespace, offer: Offer, policy: PublisherPolicy) -> Added {
        let offers = self.offers.entry(namespace.clone()).or_default();
        if let Offer::Peer(remote) = &offer {
            let same = |o: &Offer| matches!(o, Offer::Peer(r) if r.via == remote.via && r.relay == remote.relay);
            offers.retain(|o| !same(o) || *o == offer);
        }
        if offers.contains(&offer) {
            return Added::Same;
        }
        self.edition += 1;
        let rivals = offers.iter().filter(|o| is_publisher(o)).count();
        if !is_publisher(&offer) || rivals == 0 || policy == PublisherPolicy::Merge {
            offers.push(offer);
            return if offers.len() == 1 { Added::First } else { Added::Another };
        }
        match policy {
            PublisherPolicy::Refuse => Added::Refused,
            PublisherPolicy::Merge | PublisherPolicy::Newest => {
                let out = offers.extract_if(.., |o| is_publisher(o)).collect();
                offers.push(offer);
                Added::Replaced(out)
            }
        }
    }

    /// Removes one offer; says whether the namespace lost its last.
    pub(crate) fn remove(&mut self, namespace: &Namespace, offer: &Offer) -> bool {
        let Some(offers) = self.offers.get_mut(namespace) else { return false };
        offers.retain(|o| o != offer);
        let gone = offers.is_empty();
        if gone {
            self.offers.remove(namespace);
        }
        gone
    }

    /// Removes what matches; returns every namespace that lost an offer, and whether it was the last.
    pub(crate) fn remove_where(&mut self, matches: impl Fn(&Offer) -> bool) -> Vec<(Namespace, Vec<Offer>, bool)> {
        let mut hit = Vec::new();
        for (namespace, offers) in &mut self.offers {
            let out: Vec<Offer> = offers.extract_if(.., |o| matches(o)).collect();
            if !out.is_empty() {
                hit.push((namespace.clone(), out, offers.is_empty()));
            }
        }
        self.offers.retain(|_, offers| !offers.is_empty());
        hit
    }

    /// Every offer whose namespace is `namespace` or a prefix of it, the longest prefix first
    /// (draft-18 8.5: "If the published or subscribed Track Namespace has the same or fewer fields ... it qualifies").
    pub(crate) fn matching(&self, namespace: &Namespace) -> Vec<Offer> {
        (0..=namespace.fields().len())
            .rev()
            .filter_map(|n| namespace.fields().get(..n).map(<[_]>::to_vec))
            .filter_map(|fields| Namespace::new(fields).ok())
            .filter_map(|prefix| self.offers.get(&prefix))
            .flatten()
            .cloned()
            .collect()
    }

    /// The offers of exactly this namespace.
    pub(crate) fn of(&self, namespace: &Namespace) -> &[Offer] {
        self.offers.get(namespace).map(Vec::as_slice).unwrap_or_default()
    }

    /// How many publishers attached to this node offer exactly this namespace.
    pub(crate) fn publishers_of(&self, namespace: &Namespace) -> usize {
        self.of(namespace).iter().filter(|offer| is_publisher(offer)).count()
    }

    /// Every offer, in order of namespaces.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Namespace, &[Offer])> {
        self.offers.iter().map(|(namespace, offers)| (namespace, offers.as_slice()))
    }

    /// Every offered namespace below `prefix`, in order.
    pub(crate) fn below<'a>(&'a self, prefix: &'a Namespace) -> impl Iterator<Item = (&'a Namespace, &'a [Offer])> {
        self.offers
            .range(prefix.clone()..)
            .take_while(move |(ns, _)| prefix.is_prefix_of(ns))
            .map(|(ns, offers)| (ns, offers.as_slice()))
    }

    /// Namespaces and single tracks on offer.
    pub(crate) fn len(&self) -> usize {
        self.offers.len() + self.tracks.len()
    }

    /// Starts telling `watcher` of everything below `prefix`; returns what is there.
    pub(crate) fn watch(&mut self, watcher: WatcherId, prefix: Namespace) -> Vec<Namespace> {
        let present = self.below(&prefix).map(|(ns, _)| ns.clone()).collect();
        self.watchers.insert(watcher, prefix);
        present
    }

    /// A peer tells of a track offered by PUBLISH. False where it had told before, or tells of too many.
    pub(crate) fn add_track(&mut self, track: &TrackName, via: &PopId) -> bool {
        let is_full = self.tracks.len() >= MAX_TRACK_OFFERS && !self.tracks.contains_key(track);
        let is_new = !is_full && self.tracks.entry(track.clone()).or_default().insert(via.clone());
        self.edition += u64::from(is_new);
        is_new
    }

    /// What is known not to be had is worth asking for again once this has grown.
    pub(crate) const fn edition(&self) -> u64 {
        self.edition
    }

    /// There is somebody new to ask.
    pub(crate) fn note_peer(&mut self) {
        self.edition += 1;
    }

    /// The peer withdraws the track. False where it had told of none.
    pub(crate) fn remove_track(&mut self, track: &TrackName, via: &PopId) -> bool {
        let Some(vias) = self.tracks.get_mut(track) else { return false };
        let removed = vias.remove(via);
        if vias.is_empty() {
            self.tracks.remove(track);
        }
        removed
    }

    /// Peers that told of the track.
    pub(crate) fn vias_of(&self, track: &TrackName) -> impl Iterator<Item = &PopId> {
        self.tracks.get(track).into_iter().flatten()
    }

    /// Every track that peers told of, with those who did.
    pub(crate) fn told_tracks(&self) -> impl Iterator<Item = (&TrackName, &BTreeSet<PopId>)> {
        self.tracks.iter()
    }

    /// Every track that `via` told of.
    pub(crate) fn tracks_via(&self, via: &PopId) -> Vec<TrackName> {
        self.tracks.iter().filter(|(_, vias)| vias.contains(via)).map(|(track, _)| track.clone()).collect()
    }

    /// Stops one watch and returns its prefix.
    pub(crate) fn unwatch(&mut self, watcher: WatcherId) -> Option<Namespace> {
        self.watchers.remove(&watcher)
    }

    /// Stops every watch of a session and returns their prefixes.
    pub(crate) fn unwatch_session(&mut self, session: SessionId) -> Vec<Namespace> {
        self.watchers.extract_if(.., |id, _| id.session == session).map(|(_, prefix)| prefix).collect()
    }

    /// Whom a change concerns.
    pub(crate) fn notices(&self, namespace: &Namespace, change: Change) -> Vec<Notice> {
        self.watchers
            .iter()
            .filter(|(_, prefix)| prefix.is_prefix_of(namespace))
            .map(|(id, prefix)| Notice { watcher: *id, namespace: namespace.clone(), prefix: prefix.clone(), change })
            .collect()
    }
}

/// Whether the publisher is attached to this node.
const fn is_publisher(offer: &Offer) -> bool {
    match offer {
        Offer::Session(..) | Offer::Local => true,
        Offer::Peer(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(path: &str) -> Namespace {
        Namespace::from_path(path).expect("legal")
    }

    fn session(n: u64) -> Offer {
        Offer::Session(SessionId(n), RequestId(0))
    }

    #[test]
    fn prefixes_match_by_field_longest_first() {
        let mut t = Namespaces::default();
        t.add(&ns("foo"), session(1), PublisherPolicy::Merge);
        t.add(&ns("foo/bar"), session(2), PublisherPolicy::Merge);
        t.add(&ns("foobar"), session(3), PublisherPolicy::Merge);
        assert_eq!(t.matching(&ns("foo/bar")), vec![session(2), session(1)]);
        assert_eq!(t.matching(&ns("foo/baz")), vec![session(1)]);
        assert_eq!(t.matching(&ns("fo")), vec![]);
    }

    #[test]
    fn second_publishers_follow_the_policy() {
        let mut t = Namespaces::default();
        assert_eq!(t.add(&ns("a"), session(1), PublisherPolicy::Refuse), Added::First);
        assert_eq!(t.add(&ns("a"), session(1), PublisherPolicy::Refuse), Added::Same);
        assert_eq!(t.add(&ns("a"), session(2), PublisherPolicy::Refuse), Added::Refused);
        assert_eq!(t.add(&ns("a"), session(2), PublisherPolicy::Merge), Added::Another);
        let replaced = t.add(&ns("a"), session(3), PublisherPolicy::Newest);
        assert_eq!(replaced, Added::Replaced(vec![session(1), session(2)]));
        assert_eq!(t.matching(&ns("a")), vec![session(3)]);
    }

    #[test]
    fn a_peer_that_repeats_itself_is_one_offer() {
        let remote = |epoch| {
            let pop = |s: &str| s.parse::<PopId>().expect("legal");
            Offer::Peer(Remote { via: pop("o1"), relay: pop("e1"), epoch })
        };
        let mut t = Namespaces::default();
        assert_eq!(t.add(&ns("a"), remote(1), PublisherPolicy::Refuse), Added::First);
        assert_eq!(t.add(&ns("a"), remote(2), PublisherPolicy::Refuse), Added::First);
        assert_eq!(t.add(&ns("a"), session(1), PublisherPolicy::Refuse), Added::Another);
        assert_eq!(t.matching(&ns("a")), vec![remote(2), session(1)]);
    }

    #[test]
    fn watchers_hear_of_what_lies_below_their_prefix() {
        let mut t = Namespaces::default();
        t.add(&ns("live/a"), session(1), PublisherPolicy::Merge);
        let id = WatcherId { session: SessionId(9), request: RequestId(2) };
        assert_eq!(t.watch(id, ns("live")), vec![ns("live/a")]);
        assert_eq!(t.notices(&ns("live/b"), Change::Up).len(), 1);
        assert_eq!(t.notices(&ns("other"), Change::Up).len(), 0);
        assert!(t.remove(&ns("live/a"), &session(1)));
        assert_eq!(t.unwatch(id), Some(ns("live")));
        assert_eq!(t.notices(&ns("live/b"), Change::Down).len(), 0);
    }
}
