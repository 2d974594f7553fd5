//! Where to ask for a track: static next hops, in the order that decisions are made here.

use crate::config::Role;
use crate::namespaces::{Offer, Remote};
use crate::node::Node;
use crate::session::Kind;
use crate::tracks::{Track, Want};
use crate::trunk::link::Link;
use sluice_moqt::Namespace;
use sluice_moqt::message::{Class, Params, Route};
use sluice_moqt::transport::SessionId;
use sluice_topology::PopId;
use std::collections::BTreeSet;

/// One place to subscribe at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The session to subscribe on.
    pub(crate) session: SessionId,
    /// Trunks: the source route to send along.
    pub(crate) route: Option<Route>,
}

/// What those who ask for a track said about the way.
#[derive(Debug, Default)]
struct Asked {
    /// PoPs that must not be asked: they wait for us, the request came through them, or they have refused.
    excluded: BTreeSet<PopId>,
    visited: Vec<String>,
    hops: Vec<String>,
    class: Class,
    trust: Trust,
}

/// Who may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Trust {
    /// Peers that take joins.
    #[default]
    Full,
    /// Those on probation, too.
    Returning,
}

impl Node {
    /// Every publisher attached here; else the next hop of the source route; else the home, else an origin.
    /// draft-18 8.5: "Relays MUST send SUBSCRIBE messages to all matching publishers"; between relays, one is enough.
    ///
    /// A peer on probation is asked only where nobody else can be.
    pub(crate) fn candidates(&self, track: &Track) -> Vec<Candidate> {
        let mut asked = self.asked(track);
        let trusted = self.candidates_by(track, &asked);
        if !trusted.is_empty() {
            return trusted;
        }
        asked.trust = Trust::Returning;
        self.candidates_by(track, &asked)
    }

    fn candidates_by(&self, track: &Track, asked: &Asked) -> Vec<Candidate> {
        let namespace = track.name.namespace();
        let offers = self.namespaces.matching(namespace);
        let mut found: Vec<Candidate> = offers.iter().filter_map(publisher).collect();
        // Publishers at other shards of this process are attached here, too.
        let siblings = offers.iter().filter_map(remote).filter(|r| r.relay == self.config.pop);
        let siblings: BTreeSet<&PopId> = siblings
            .map(|r| &r.via)
            .chain(self.namespaces.vias_of(&track.name).filter(|via| self.is_sibling(via)))
            .collect();
        if self.owns(&track.name) {
            found.extend(siblings.into_iter().filter_map(|via| self.hop(via, asked, &[])));
        }
        if !found.is_empty() && self.config.role != Role::Origin {
            return found;
        }
        // Whatever lies elsewhere is the owner's to find.
        if let Some(owner) = self.owner_elsewhere(track) {
            found.extend(self.hop(&owner, asked, &[]));
            return found;
        }
        if let Some(next) = asked.hops.first().and_then(|hop| hop.parse::<PopId>().ok()) {
            found.extend(self.hop(&next, asked, asked.hops.get(1..).unwrap_or_default()));
            return found;
        }
        let told = self.namespaces.vias_of(&track.name);
        let told = told.map(|via| Remote { via: via.clone(), relay: via.clone(), epoch: u64::MAX });
        let told: Vec<Remote> = told.collect();
        let remotes = offers.iter().filter_map(remote).chain(&told).filter(|r| r.relay != self.config.pop);
        let remotes: Vec<&Remote> =
            remotes.filter(|r| !found.iter().any(|c| Some(c.session) == self.media_of(&r.via))).collect();
        match self.config.role {
            Role::Origin => {
                let more = self.towards_publishers(namespace, &remotes, asked, &found);
                found.extend(more);
            }
            Role::Edge | Role::Sibling => found.extend(self.towards_home(&remotes, asked)),
        }
        found
    }

    /// An origin asks the relays that reported to it, unless another origin is the home.
    fn towards_publishers(
        &self,
        namespace: &Namespace,
        remotes: &[&Remote],
        asked: &Asked,
        attached: &[Candidate],
    ) -> Vec<Candidate> {
        let is_origin = |pop: &PopId| self.links.get(pop).is_some_and(|link| link.role() == Role::Origin);
        let (origins, edges): (Vec<&Remote>, Vec<&Remote>) = remotes.iter().partition(|r| is_origin(&r.via));
        let ours = edges.iter().map(|r| (r.epoch, &self.config.pop)).min();
        let theirs = origins.iter().map(|r| (r.epoch, &r.via)).min();
        let home = self.configured_home(namespace).or_else(|| match (ours, theirs) {
            (Some(ours), Some(theirs)) if theirs < ours => Some(theirs.1),
            (None, Some(theirs)) => Some(theirs.1),
            (Some(_), _) | (None, None) => None,
        });
        let elsewhere = home.filter(|home| **home != self.config.pop && attached.is_empty());
        if let Some(via_home) = elsewhere.and_then(|home| self.hop(home, asked, &[])) {
            return vec![via_home];
        }
        let relays: BTreeSet<&PopId> = edges.iter().map(|r| &r.via).collect();
        let direct: Vec<Candidate> = relays.into_iter().filter_map(|pop| self.hop(pop, asked, &[])).collect();
        if !direct.is_empty() || !attached.is_empty() {
            return direct;
        }
        origins.iter().find_map(|r| self.hop(&r.via, asked, &[])).into_iter().collect()
    }

    /// An edge asks whoever is known to have it, its origins in their order first.
    fn towards_home(&self, remotes: &[&Remote], asked: &Asked) -> Option<Candidate> {
        let known = |pop: &&PopId| remotes.iter().any(|r| r.via == **pop);
        let origins = &self.config.homing.origins;
        let informed = origins.iter().filter(known);
        let others = remotes.iter().map(|r| &r.via);
        informed.chain(others).chain(origins.iter()).find_map(|pop| self.hop(pop, asked, &[]))
    }

    fn configured_home(&self, namespace: &Namespace) -> Option<&PopId> {
        let homes = self.config.homing.homes.iter();
        homes
            .filter(|(prefix, _)| prefix.is_prefix_of(namespace))
            .max_by_key(|(prefix, _)| prefix.fields().len())
            .map(|(_, pop)| pop)
    }

    /// The trunk to `pop`, where it takes joins and is not what we are asked through.
    fn hop(&self, pop: &PopId, asked: &Asked, rest: &[String]) -> Option<Candidate> {
        if asked.excluded.contains(pop) {
            return None;
        }
        let joinable = match asked.trust {
            Trust::Full => Link::joinable,
            Trust::Returning => Link::returning,
        };
        let mut visited = asked.visited.clone();
        let class = asked.class;
        if let Some(session) = self.links.get(pop).and_then(joinable) {
            // Shards of a process are one stop.
            let stop = (!self.is_sibling(pop)).then(|| self.config.pop.as_str().to_owned());
            visited.extend(stop);
            let route = Route { hops: rest.to_vec(), visited, class, delay_bound: None };
            return Some(Candidate { session, route: Some(route) });
        }
        let session = joinable(self.links.get(self.sibling_towards(pop)?)?)?;
        let hops = [pop.as_str().to_owned()].into_iter().chain(rest.iter().cloned()).collect();
        Some(Candidate { session, route: Some(Route { hops, visited, class, delay_bound: None }) })
    }

    fn media_of(&self, pop: &PopId) -> Option<SessionId> {
        self.links.get(pop)?.media
    }

    fn asked(&self, track: &Track) -> Asked {
        let mut asked = Asked { excluded: track.upkeep.refused_by.clone(), ..Asked::default() };
        let readers = track.readers.iter().map(|r| r.session);
        for session in readers.chain(track.waiting.iter().map(|w| w.session)) {
            if let Some(crate::node::Hosted::Moq(moq)) = self.sessions.get(session)
                && let Kind::Trunk(pop) = &moq.kind
                && !self.is_sibling(pop)
            {
                asked.excluded.insert(pop.clone());
            }
        }
        for waiting in &track.waiting {
            let params: Option<&Params> = match &waiting.want {
                Want::Subscribe(params) | Want::Fetch(_, params) => Some(params),
                Want::Status | Want::Publish => None,
            };
            let Some(route) = params.and_then(|p| p.extra.as_ref()).and_then(|extra| extra.route.as_ref()) else {
                continue;
            };
            asked.excluded.extend(route.visited.iter().filter_map(|pop| pop.parse().ok()));
            asked.class = asked.class.min(route.class);
            if asked.visited.is_empty() {
                asked.visited.clone_from(&route.visited);
                asked.hops.clone_from(&route.hops);
            }
        }
        asked
    }
}

const fn publisher(offer: &Offer) -> Option<Candidate> {
    match offer {
        Offer::Session(session, _) => Some(Candidate { session: *session, route: None }),
        // Local sources attach to their tracks themselves.
        Offer::Local | Offer::Peer(_) => None,
    }
}

const fn remote(offer: &Offer) -> Option<&Remote> {
    match offer {
        Offer::Peer(remote) => Some(remote),
        Offer::Session(..) | Offer::Local => None,
    }
}
