//! Where to ask for a track: static next hops, in the order that decisions are made here.

use crate::config::Role;
use crate::namespaces::{Offer, Remote};
use crate::node::Node;
use crate::session::Kind;
use crate::tracks::{Track, Want};
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
    /// PoPs that must not be asked: they wait for us, or the request came through them.
    excluded: BTreeSet<PopId>,
    visited: Vec<String>,
    hops: Vec<String>,
    class: Class,
}

impl Node {
    /// Every publisher attached here; else the next hop of the source route; else the home, else an origin.
    /// draft-18 8.5: "Relays MUST send SUBSCRIBE messages to all matching publishers"; between relays, one is enough.
    pub(crate) fn candidates(&self, track: &Track) -> Vec<Candidate> {
        let asked = self.asked(track);
        let namespace = track.name.namespace();
        let offers = self.namespaces.matching(namespace);
        let mut found: Vec<Candidate> = offers.iter().filter_map(publisher).collect();
        let merges = self.config.role == Role::Origin;
        if !found.is_empty() && !merges {
            return found;
        }
        if let Some(next) = asked.hops.first().and_then(|hop| hop.parse::<PopId>().ok()) {
            found.extend(self.hop(&next, &asked, asked.hops.get(1..).unwrap_or_default()));
            return found;
        }
        let remotes: Vec<&Remote> = offers.iter().filter_map(remote).collect();
        match self.config.role {
            Role::Origin => {
                let more = self.towards_publishers(namespace, &remotes, &asked, &found);
                found.extend(more);
            }
            Role::Edge => found.extend(self.towards_home(&remotes, &asked)),
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
        let session = self.links.get(pop)?.joinable()?;
        let mut visited = asked.visited.clone();
        visited.push(self.config.pop.as_str().to_owned());
        let route = Route { hops: rest.to_vec(), visited, class: asked.class, delay_bound: None };
        Some(Candidate { session, route: Some(route) })
    }

    fn asked(&self, track: &Track) -> Asked {
        let mut asked = Asked::default();
        let readers = track.readers.iter().map(|r| r.session);
        for session in readers.chain(track.waiting.iter().map(|w| w.session)) {
            if let Some(crate::node::Hosted::Moq(moq)) = self.sessions.get(&session)
                && let Kind::Trunk(pop) = &moq.kind
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
