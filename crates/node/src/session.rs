//! One MoQ session of the node: a user's, or a trunk's media connection.

use crate::tracks::TrackKey;
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::{Class, FetchKind, Params};
use sluice_moqt::session::Session as Protocol;
use sluice_moqt::transport::{SessionId, StreamId, StreamSink};
use sluice_moqt::{Location, Namespace, RequestId};
use sluice_topology::PopId;
use sluice_track::{Cursor, FetchRange, FetchReader, Forwarding, SourceId, WriterId};
use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// One request of a peer's: whose, which, and when it is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) now: Instant,
    pub(crate) session: SessionId,
    pub(crate) request: RequestId,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A publisher or viewer.
    User,
    /// Another relay.
    Trunk(PopId),
}

impl Kind {
    /// Trunks get bytes as they come, viewers as configured.
    pub(crate) const fn forwarding(&self, viewers: Forwarding) -> Forwarding {
        match self {
            Self::User => viewers,
            Self::Trunk(_) => Forwarding::CutThrough,
        }
    }

    /// The peer's name, for trunks.
    pub(crate) const fn pop(&self) -> Option<&PopId> {
        match self {
            Self::User => None,
            Self::Trunk(pop) => Some(pop),
        }
    }
}

/// A subscription that we serve.
#[derive(Debug)]
pub(crate) struct Sub {
    pub(crate) track: TrackKey,
    pub(crate) cursor: Cursor,
    /// Largest location told in SUBSCRIBE_OK, PUBLISH or the update that set Forward to 1 (draft-18 5.1).
    pub(crate) joining: Option<Location>,
    pub(crate) forward: bool,
    pub(crate) priority: u8,
    pub(crate) class: Class,
    /// Stands in [`Downstream::ready`].
    pub(crate) queued: bool,
}

/// A fetch that we serve.
#[derive(Debug)]
pub(crate) struct FetchJob {
    pub(crate) track: TrackKey,
    pub(crate) reader: FetchReader,
    pub(crate) range: FetchRange,
    /// The subscription that it joins.
    pub(crate) joins: Option<RequestId>,
    /// Something missing was asked of a source.
    pub(crate) filling: bool,
    /// Stands in [`Downstream::ready`].
    pub(crate) queued: bool,
}

/// A joining fetch whose subscription is not established yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldJoin {
    pub(crate) subscription: RequestId,
    pub(crate) request: RequestId,
    pub(crate) kind: FetchKind,
    pub(crate) params: Params,
}

/// What a request means in which we are the subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// A subscription, by our SUBSCRIBE or the peer's PUBLISH.
    Subscription {
        /// Which track.
        track: TrackKey,
        /// Its number in the log.
        source: SourceId,
    },
    /// A fetch that fills the log.
    Fetch {
        /// Which track.
        track: TrackKey,
        /// Its number in the log.
        source: SourceId,
        /// What was asked for.
        range: FetchRange,
        /// Writes what comes; open from the start, so that readers know that something may come.
        writer: WriterId,
    },
}

/// A data stream of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inbound {
    pub(crate) track: TrackKey,
    pub(crate) writer: WriterId,
    /// The request that it belongs to.
    pub(crate) request: RequestId,
    /// Of a subscription; a fetch fills what subscriptions do not send.
    pub(crate) is_live: bool,
}

/// A request that may have something to send, with its urgency: lower goes first (draft-18 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    class: Class,
    subscriber: u8,
    publisher: u8,
    pub(crate) request: RequestId,
}

impl Turn {
    fn of_sub(request: RequestId, sub: &Sub) -> Self {
        let publisher = sub.cursor.publisher_priority();
        Self { class: sub.class, subscriber: sub.priority, publisher, request }
    }

    /// What is past comes after what is live.
    const fn of_fetch(request: RequestId) -> Self {
        Self { class: Class::Live, subscriber: u8::MAX, publisher: u8::MAX, request }
    }

    /// Who goes first.
    pub(crate) const fn urgency(&self) -> (Class, u8, u8) {
        (self.class, self.subscriber, self.publisher)
    }

    /// Its subscription has had a turn: what is to come may be more urgent or less.
    pub(crate) fn follow(&mut self, sub: &Sub) {
        self.publisher = sub.cursor.publisher_priority();
    }
}

/// Where objects go on this session.
#[derive(Debug, Default)]
pub(crate) struct Downstream {
    /// Boxed: a node of the map has room for eleven, of which most viewers use one or two.
    pub(crate) subs: BTreeMap<RequestId, Box<Sub>>,
    pub(crate) fetches: BTreeMap<RequestId, Box<FetchJob>>,
    pub(crate) joins: Vec<HeldJoin>,
    /// Requests that may have something to send; sorted by urgency at the visit. A `Vec` keeps its memory, so that
    /// marking a viewer ready allocates nothing.
    pub(crate) ready: Vec<Turn>,
    /// Requests that are to be put there at the visit, which looks at them anyway: a fan-out to hundreds of viewers finds
    /// each of their readers cold.
    pub(crate) marked: Vec<RequestId>,
    /// Who took the last of the room that the transport had.
    pub(crate) filled_by: Option<Turn>,
    /// Readers that ended but may have streams to reset.
    pub(crate) doomed: Vec<Doomed>,
}

/// A reader whose request is over, and the code for what it left open.
#[derive(Debug)]
pub(crate) enum Doomed {
    /// Of a subscription.
    Sub(Box<Cursor>, ResetCode),
    /// Of a fetch.
    Fetch(Box<FetchReader>, ResetCode),
}

/// Where objects come from on this session.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    pub(crate) requests: BTreeMap<RequestId, Upstream>,
    pub(crate) inbound: HashMap<StreamId, Inbound>,
    /// Streams that we want no more of, with the code.
    pub(crate) stops: Vec<(StreamId, u64)>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) kind: Kind,
    pub(crate) protocol: Protocol,
    pub(crate) down: Downstream,
    pub(crate) up: Upstreams,
    /// Namespaces that the peer published.
    pub(crate) published: BTreeMap<RequestId, Namespace>,
    /// Prefixes of the peer's SUBSCRIBE_TRACKS.
    pub(crate) track_watches: BTreeMap<RequestId, TrackWatch>,
    /// The peer has been allowed more streams than at accept.
    pub(crate) stream_limits_raised: bool,
}

/// A SUBSCRIBE_TRACKS of the peer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrackWatch {
    pub(crate) prefix: Namespace,
    pub(crate) forward: bool,
}

/// Marks of one session that wait for its visit; beyond that readers are looked at right away.
const MARKED_MAX: usize = 64;

impl Session {
    /// A fresh session.
    pub(crate) fn new(kind: Kind, protocol: Protocol) -> Self {
        Self {
            kind,
            protocol,
            down: Downstream::default(),
            up: Upstreams::default(),
            published: BTreeMap::new(),
            track_watches: BTreeMap::new(),
            stream_limits_raised: false,
        }
    }

    /// Marks a subscription or fetch as having something to send.
    pub(crate) fn mark_ready(&mut self, request: RequestId) {
        if self.down.marked.last() == Some(&request) {
            return;
        }
        if self.down.marked.len() < MARKED_MAX {
            self.down.marked.push(request);
        } else {
            self.stand_in_line(request);
        }
    }

    fn stand_in_line(&mut self, request: RequestId) {
        let turn = if let Some(sub) = self.down.subs.get_mut(&request) {
            (!std::mem::replace(&mut sub.queued, true)).then(|| Turn::of_sub(request, sub))
        } else if let Some(job) = self.down.fetches.get_mut(&request) {
            (!std::mem::replace(&mut job.queued, true)).then_some(Turn::of_fetch(request))
        } else {
            None
        };
        self.down.ready.extend(turn);
    }

    /// What is ready, in the order of its turns: by urgency, for what the transport has taken it sends first; among
    /// equals whoever comes after the one that took the last of the room. In a fixed order the first of a trunk that
    /// carries less than its tracks need would take all of it, and the others would never get anything.
    pub(crate) fn take_ready(&mut self) -> Vec<Turn> {
        let mut marked = std::mem::take(&mut self.down.marked);
        marked.drain(..).for_each(|request| self.stand_in_line(request));
        self.down.marked = marked;
        let mut ready = std::mem::take(&mut self.down.ready);
        let last = self.down.filled_by.map(|turn| turn.request);
        ready.sort_unstable_by_key(|turn| (turn.urgency(), Some(turn.request) <= last, turn.request));
        ready
    }

    /// Marks everything as worth a try: the transport unblocked.
    pub(crate) fn mark_all_ready(&mut self) {
        let Downstream { subs, fetches, ready, .. } = &mut self.down;
        for (request, sub) in subs {
            if !std::mem::replace(&mut sub.queued, true) {
                ready.push(Turn::of_sub(*request, sub));
            }
        }
        for (request, job) in fetches {
            if !std::mem::replace(&mut job.queued, true) {
                ready.push(Turn::of_fetch(*request));
            }
        }
    }

    /// Resets what ended readers left open and asks for no more of unwanted streams.
    pub(crate) fn clean_up(&mut self, sink: &mut dyn StreamSink) {
        for doomed in self.down.doomed.drain(..) {
            match doomed {
                Doomed::Sub(mut cursor, code) => cursor.close(sink, code),
                Doomed::Fetch(mut reader, code) => reader.close(sink, code),
            }
        }
        for (stream, code) in self.up.stops.drain(..) {
            sink.stop(stream, code);
        }
    }
}
