//! The open requests of a session, and the rules between them.

use super::event::ResolvedToken;
use super::ids::UsedIds;
use crate::message::{Framer, Message, PublishDone, RequestUpdate, Timeouts};
use crate::name::{NameError, Namespace, TrackName};
use crate::transport::{Side, StreamId};
use crate::types::{GroupOrder, Location, RequestId, TrackAlias};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// One open request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) state: State,
    /// The bidirectional stream; `None` until ours is opened.
    pub(super) stream: Option<StreamId>,
    pub(super) framer: Framer,
    /// Bytes in `framer`, at most.
    pub(super) partial: usize,
    pub(super) updates: Updates,
    pub(super) goaway: RequestGoaway,
}

/// What was requested, with what belongs to that kind alone.
#[derive(Debug)]
pub(super) enum Kind {
    /// SUBSCRIBE.
    Subscribe(Subscription),
    /// PUBLISH.
    Publish(Subscription),
    /// FETCH.
    Fetch(FetchState),
    /// TRACK_STATUS.
    TrackStatus,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace(NamespaceWatch),
    /// SUBSCRIBE_TRACKS with its prefix.
    SubscribeTracks(Namespace),
}

/// Progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Not answered.
    Pending,
    /// Answered with success.
    Established,
    /// Only late data is awaited: the publisher said PUBLISH_DONE.
    Done,
}

/// A subscription from either side; the receiving fields stay empty where we are the publisher.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) track: TrackName,
    pub(super) alias: Option<TrackAlias>,
    /// Open data streams.
    pub(super) streams: BTreeSet<StreamId>,
    /// Data streams seen so far.
    pub(super) seen: u64,
    /// The largest delivery timeout asked for.
    pub(super) delivery_timeout: Duration,
    pub(super) done: Option<Ending>,
}

/// What PUBLISH_DONE said.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) done: PublishDone,
    /// When missing streams are given up; `None` once that has passed.
    pub(super) deadline: Option<Instant>,
}

impl Subscription {
    pub(super) fn new(track: TrackName) -> Self {
        Self { track, alias: None, streams: BTreeSet::new(), seen: 0, delivery_timeout: Duration::ZERO, done: None }
    }

    /// Learns delivery timeouts: late streams are awaited at least that long.
    pub(super) fn note(&mut self, timeouts: Timeouts) {
        for timeout in [timeouts.object, timeouts.subgroup].into_iter().flatten() {
            self.delivery_timeout = self.delivery_timeout.max(timeout);
        }
    }

    /// Whether PUBLISH_DONE came and nothing can follow it.
    pub(super) fn is_over(&self) -> bool {
        self.streams.is_empty()
            && self.done.as_ref().is_some_and(|ending| {
                ending.deadline.is_none() || ending.done.streams.is_some_and(|count| self.seen >= count)
            })
    }
}

/// A fetch from either side; the receiving fields stay empty where we are the publisher.
#[derive(Debug)]
pub(super) struct FetchState {
    pub(super) order: GroupOrder,
    /// First location asked for, where that is known.
    pub(super) start: Option<Location>,
    pub(super) data: FetchData,
}

/// The data stream of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchData {
    /// Not seen.
    None,
    /// Being read.
    Open(StreamId),
    /// Ended; of a fetch that we serve: its owner said so.
    Ended,
}

/// A SUBSCRIBE_NAMESPACE from either side.
#[derive(Debug)]
pub(super) struct NamespaceWatch {
    pub(super) prefix: Namespace,
    /// Full namespaces announced and not taken back.
    pub(super) active: BTreeSet<Namespace>,
}

impl NamespaceWatch {
    pub(super) fn new(prefix: Namespace) -> Self {
        Self { prefix, active: BTreeSet::new() }
    }

    /// The namespace that a suffix means.
    pub(super) fn full(&self, suffix: &Namespace) -> Result<Namespace, NameError> {
        Namespace::new([self.prefix.fields(), suffix.fields()].concat())
    }
}

impl Kind {
    /// The prefix and the space it lives in, where this kind has one.
    pub(super) fn prefix(&self) -> Option<(PrefixKind, &Namespace)> {
        match self {
            Self::SubscribeNamespace(watch) => Some((PrefixKind::Namespaces, &watch.prefix)),
            Self::SubscribeTracks(prefix) => Some((PrefixKind::Tracks, prefix)),
            Self::Subscribe(_) | Self::Publish(_) | Self::Fetch(_) | Self::TrackStatus | Self::PublishNamespace => None,
        }
    }

    /// The prefix, where this kind has one.
    pub(super) fn prefix_mut(&mut self) -> Option<&mut Namespace> {
        match self {
            Self::SubscribeNamespace(watch) => Some(&mut watch.prefix),
            Self::SubscribeTracks(prefix) => Some(prefix),
            Self::Subscribe(_) | Self::Publish(_) | Self::Fetch(_) | Self::TrackStatus | Self::PublishNamespace => None,
        }
    }
}

/// REQUEST_UPDATEs in flight, each in order.
#[derive(Debug, Default)]
pub(super) struct Updates {
    /// Ours, unanswered, with the new prefix they ask for.
    pub(super) ours: VecDeque<(RequestId, Option<Namespace>)>,
    /// The peer's, unanswered or answered behind an unanswered one.
    pub(super) theirs: VecDeque<TheirUpdate>,
    /// The peer's that came before the request was answered.
    pub(super) early: Vec<(RequestUpdate, Vec<ResolvedToken>)>,
}

/// One update of the peer's.
#[derive(Debug)]
pub(super) struct TheirUpdate {
    pub(super) id: RequestId,
    pub(super) prefix: Option<Namespace>,
    pub(super) answer: Option<Message>,
}

/// GOAWAY on a request stream.
#[derive(Debug, Default)]
pub(super) struct RequestGoaway {
    pub(super) received: bool,
    pub(super) sent: bool,
    pub(super) deadline: Option<Instant>,
}

impl Request {
    pub(super) fn new(kind: Kind, stream: Option<StreamId>) -> Self {
        Self {
            kind,
            state: State::Pending,
            stream,
            framer: Framer::default(),
            partial: 0,
            updates: Updates::default(),
            goaway: RequestGoaway::default(),
        }
    }

    /// The subscription, where this is one.
    pub(super) fn subscription(&mut self) -> Option<&mut Subscription> {
        match &mut self.kind {
            Kind::Subscribe(subscription) | Kind::Publish(subscription) => Some(subscription),
            Kind::Fetch(_)
            | Kind::TrackStatus
            | Kind::PublishNamespace
            | Kind::SubscribeNamespace(_)
            | Kind::SubscribeTracks(_) => None,
        }
    }
}

/// Which end of a subscription we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// We receive.
    Subscriber,
    /// We send.
    Publisher,
}

/// All open requests.
#[derive(Debug)]
pub(super) struct Requests {
    side: Side,
    /// Boxed, as every large value in a map of a session: a node of the map has room for eleven, of which most viewers
    /// use one.
    open: BTreeMap<RequestId, Box<Request>>,
    /// Subscriptions by what must be unique (draft-18 5.1); two while a PUBLISH crosses our SUBSCRIBE.
    tracks: HashMap<(Role, TrackName), Vec<RequestId>>,
    next_ours: u64,
    theirs: UsedIds,
    their_open: usize,
}

impl Requests {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            open: BTreeMap::new(),
            tracks: HashMap::new(),
            // draft-18 9.1: even from clients, odd from servers.
            next_ours: parity(side),
            theirs: UsedIds::default(),
            their_open: 0,
        }
    }

    pub(super) fn is_ours(&self, id: RequestId) -> bool {
        id.0 & 1 == parity(self.side)
    }

    /// The next id for a request or update of ours.
    pub(super) fn allocate(&mut self) -> RequestId {
        let id = RequestId(self.next_ours);
        self.next_ours += 2;
        id
    }

    /// Whether we ever used this id of ours.
    pub(super) fn was_ours(&self, id: RequestId) -> bool {
        self.is_ours(id) && id.0 < self.next_ours
    }

    /// Takes an id that the peer uses; `false` where it must not (draft-18 9.1).
    pub(super) fn take_theirs(&mut self, id: RequestId) -> bool {
        !self.is_ours(id) && self.theirs.insert(id.0 >> 1)
    }

    /// Whether the peer has used this id of its own.
    pub(super) fn was_theirs(&self, id: RequestId) -> bool {
        !self.is_ours(id) && self.theirs.contains(id.0 >> 1)
    }

    /// The id above all that the peer has used.
    pub(super) fn next_theirs(&self) -> RequestId {
        RequestId((self.theirs.next() << 1) | (parity(self.side) ^ 1))
    }

    /// Open requests of the peer's.
    pub(super) fn their_open(&self) -> usize {
        self.their_open
    }

    /// Whether any request is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Request> {
        self.open.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Request> {
        self.open.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn insert(&mut self, id: RequestId, mut request: Request) {
        if !self.is_ours(id) {
            self.their_open += 1;
        }
        if let Some((role, track)) = self.role_of(id, &mut request) {
            self.tracks.entry((role, track)).or_default().push(id);
        }
        self.open.insert(id, Box::new(request));
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Request> {
        let mut request = self.open.remove(&id)?;
        if !self.is_ours(id) {
            self.their_open = self.their_open.saturating_sub(1);
        }
        if let Some(key) = self.role_of(id, &mut request)
            && let Some(ids) = self.tracks.get_mut(&key)
        {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.tracks.remove(&key);
            }
        }
        Some(*request)
    }

    /// The subscriptions that we have to a track in one role.
    pub(super) fn subscriptions(&self, role: Role, track: &TrackName) -> &[RequestId] {
        self.tracks.get(&(role, track.clone())).map_or(&[], Vec::as_slice)
    }

    /// Whether a SUBSCRIBE of ours is unanswered, so that any alias may get a meaning.
    pub(super) fn awaits_alias(&self) -> bool {
        self.open.iter().any(|(id, open)| {
            self.is_ours(*id) && open.state == State::Pending && matches!(open.kind, Kind::Subscribe(_))
        })
    }

    /// Our role in a subscription.
    pub(super) fn role(&self, id: RequestId, kind: &Kind) -> Option<Role> {
        match (kind, self.is_ours(id)) {
            (Kind::Subscribe(_), true) | (Kind::Publish(_), false) => Some(Role::Subscriber),
            (Kind::Subscribe(_), false) | (Kind::Publish(_), true) => Some(Role::Publisher),
            (
                Kind::Fetch(_)
                | Kind::TrackStatus
                | Kind::PublishNamespace
                | Kind::SubscribeNamespace(_)
                | Kind::SubscribeTracks(_),
                _,
            ) => None,
        }
    }

    fn role_of(&self, id: RequestId, request: &mut Request) -> Option<(Role, TrackName)> {
        let role = self.role(id, &request.kind)?;
        Some((role, request.subscription()?.track.clone()))
    }

    /// Whether `prefix` overlaps the one of another open request of the same type and side (draft-18 9.18: "shares a
    /// common prefix", so one is a prefix of the other).
    pub(super) fn overlaps(
        &self,
        kind: PrefixKind,
        whose: Whose,
        prefix: &Namespace,
        except: Option<RequestId>,
    ) -> bool {
        self.open.iter().any(|(id, request)| {
            Some(*id) != except
                && self.is_ours(*id) == (whose == Whose::Ours)
                && request.kind.prefix().is_some_and(|(other_kind, other)| {
                    other_kind == kind && (other.is_prefix_of(prefix) || prefix.is_prefix_of(other))
                })
        })
    }
}

/// The two independent spaces of prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PrefixKind {
    /// SUBSCRIBE_NAMESPACE.
    Namespaces,
    /// SUBSCRIBE_TRACKS.
    Tracks,
}

/// Who made a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// We.
    Ours,
    /// The peer.
    Theirs,
}

const fn parity(side: Side) -> u64 {
    match side {
        Side::Client => 0,
        Side::Server => 1,
    }
}
