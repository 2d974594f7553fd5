//! The publishing half of one session: answers what the peer asks of our broadcast.

use super::broadcast::{Broadcast, Track};
use super::tally::Tally;
use bytes::Bytes;
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode};
use sluice_moqt::message::{
    Class, FetchKind, FetchOk, Params, PublishDone, RequestError, RequestOk, SubscribeOk, Timeouts,
};
use sluice_moqt::name::TrackName;
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::session::{Event, Session};
use sluice_moqt::transport::{StreamEvent, StreamId, StreamSink};
use sluice_moqt::types::{Filter, GroupOrder, Location, RequestId};
use sluice_track::{
    Cursor, CursorConfig, CursorUpdate, FetchConfig, FetchRange, FetchReader, Forward, Forwarding, Range,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Subscriber priority where the peer does not say (draft-18 9.2.7).
const DEFAULT_PRIORITY: u8 = 128;
/// Groups that a subscriber may lag before it skips.
const MAX_LAG_GROUPS: usize = 4;

/// Open requests of one peer.
#[derive(Debug, Default)]
pub(super) struct Serving {
    subscriptions: BTreeMap<RequestId, Subscription>,
    fetches: BTreeMap<RequestId, Fetch>,
    /// Requests that are over, with streams to reset.
    closing: Vec<Closing>,
    /// Data streams that the peer has not acknowledged to the end.
    streams: BTreeSet<StreamId>,
}

#[derive(Debug)]
struct Subscription {
    track: Bytes,
    cursor: Cursor,
    /// Joining Location (draft-18 5.1): Largest when forwarding was last turned on.
    joining: Option<Location>,
    forward: Forward,
}

#[derive(Debug)]
struct Fetch {
    track: Bytes,
    reader: FetchReader,
}

#[derive(Debug)]
enum Closing {
    /// With the request that is owed a PUBLISH_DONE, which must not precede the resets (draft-18 5.1.1).
    Subscription(Subscription, Option<RequestId>),
    Fetch(Fetch),
}

/// Why a request is refused, before it is spelled out.
struct Refusal(RequestCode, &'static str);

impl From<Refusal> for RequestError {
    fn from(Refusal(code, reason): Refusal) -> Self {
        Self { code, retry: None, reason: reason.to_owned(), redirect: None }
    }
}

impl Serving {
    /// Answers a request of the peer's; other events are not ours.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the client routes: all other events are other roles'")]
    pub(super) fn handle_event(&mut self, now: Instant, session: &mut Session, broadcast: &Broadcast, event: Event) {
        match event {
            Event::Subscribe { request, track, params, .. } => {
                match self.subscribe(session, (request, &track, &params), broadcast) {
                    Ok(ok) => session.accept_subscribe(request, ok),
                    Err(refusal) => session.reject(request, refusal.into()),
                }
            }
            Event::TrackStatus { request, track, .. } => match known(broadcast, &track) {
                Ok(track) => session.accept(request, status_of(track)),
                Err(refusal) => session.reject(request, refusal.into()),
            },
            Event::Fetch { request, kind, params, .. } => match self.fetch(now, (request, kind, &params), broadcast) {
                Ok(ok) => session.accept_fetch(request, ok),
                Err(refusal) => session.reject(request, refusal.into()),
            },
            Event::SubscribeNamespace { request, namespace, .. } => {
                session.accept(request, RequestOk::default());
                if let Some(suffix) = broadcast.namespace().suffix_after(&namespace) {
                    session.namespace(request, suffix);
                }
            }
            Event::SubscribeTracks { request, .. }
            | Event::Publish { request, .. }
            | Event::PublishNamespace { request, .. } => {
                session.reject(request, Refusal(RequestCode::NotSupported, "this is a publisher").into());
            }
            Event::Update { request, update, params, .. } => {
                self.update(session, (request, update, &params), broadcast);
            }
            Event::UpdateRefused { request } => self.end_after_update(session, request),
            Event::Cancelled { request, .. } => self.cancelled(session, request),
            _ => {}
        }
    }

    fn subscribe(
        &mut self,
        session: &mut Session,
        (request, name, params): (RequestId, &TrackName, &Params),
        broadcast: &Broadcast,
    ) -> Result<SubscribeOk, Refusal> {
        let track = known(broadcast, name)?;
        if broadcast.ended() {
            // Accepting would only lead to the next PUBLISH_DONE, and a relay that tries again to the one after it.
            return Err(Refusal(RequestCode::DoesNotExist, "the broadcast has ended"));
        }
        let largest = track.log.largest();
        let range = resolve(params.filter, largest)?;
        let forward = if params.forward == Some(false) { Forward::Off } else { Forward::On };
        let alias = session.allocate_alias();
        let config = CursorConfig {
            alias,
            mode: Forwarding::Whole,
            range,
            order: params.group_order.unwrap_or_default(),
            priority: params.subscriber_priority.unwrap_or(DEFAULT_PRIORITY),
            class: Class::Live,
            timeouts: effective(params.timeouts, track),
            max_lag_groups: MAX_LAG_GROUPS,
            max_lag_age: None,
            forward,
        };
        let cursor = Cursor::new(config, &track.log);
        // "A publisher MUST save the Largest Location communicated in SUBSCRIBE_OK" (draft-18 5.1).
        let joining = if forward == Forward::On { largest } else { None };
        let subscription = Subscription { track: name.name().clone(), cursor, joining, forward };
        self.subscriptions.insert(request, subscription);
        let params = Params { largest, ..Params::default() };
        Ok(SubscribeOk { alias, params, properties: track.properties.clone() })
    }

    fn fetch(
        &mut self,
        now: Instant,
        (request, kind, params): (RequestId, FetchKind, &Params),
        broadcast: &Broadcast,
    ) -> Result<FetchOk, Refusal> {
        let (name, range) = self.fetch_range(kind, broadcast)?;
        let track = broadcast.track(&name).ok_or(UNKNOWN_TRACK)?;
        let plan = track.log.plan_fetch(range).map_err(|_| OUT_OF_RANGE)?;
        let config = FetchConfig {
            request_id: request,
            range: plan.range,
            order: params.group_order.unwrap_or(GroupOrder::Ascending),
            mode: Forwarding::Whole,
            priority: params.subscriber_priority.unwrap_or(DEFAULT_PRIORITY),
            class: Class::Live,
            fill: Duration::ZERO,
        };
        self.fetches.insert(request, Fetch { track: name, reader: FetchReader::new(now, config) });
        Ok(FetchOk {
            end_of_track: plan.end_of_track,
            end: plan.end,
            params: Params::default(),
            properties: track.properties.clone(),
        })
    }

    /// Which objects of which track: draft-18 9.12.2.1 for the joining kinds.
    fn fetch_range(&self, kind: FetchKind, broadcast: &Broadcast) -> Result<(Bytes, FetchRange), Refusal> {
        let joined = |id: RequestId| {
            let subscription = self
                .subscriptions
                .get(&id)
                .ok_or(Refusal(RequestCode::InvalidJoiningRequestId, "no such subscription"))?;
            // "A Joining Fetch is only permitted when the associated subscription has Forward State 1", and only
            // after something was published.
            let joining = match subscription.forward {
                Forward::On => subscription.joining,
                Forward::Off => None,
            };
            Ok((subscription.track.clone(), joining.ok_or(OUT_OF_RANGE)?))
        };
        let (name, first, last) = match kind {
            FetchKind::Standalone { track, start, end } => {
                known(broadcast, &track)?;
                let range = FetchRange::from_wire(start, end).map_err(|_| OUT_OF_RANGE)?;
                return Ok((track.name().clone(), range));
            }
            FetchKind::RelativeJoining { joining, start } => {
                let (name, last) = joined(joining)?;
                (name, last.group.saturating_sub(start), last)
            }
            FetchKind::AbsoluteJoining { joining, start } => {
                let (name, last) = joined(joining)?;
                (name, start, last)
            }
        };
        let first = Location::new(first, 0);
        if first > last { Err(OUT_OF_RANGE) } else { Ok((name, FetchRange { first, last })) }
    }

    fn update(
        &mut self,
        session: &mut Session,
        (request, update, params): (RequestId, RequestId, &Params),
        broadcast: &Broadcast,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(&request) else {
            // Fetches and namespace requests have nothing here that an update could change.
            session.accept_update(request, update, RequestOk::default());
            return;
        };
        let Some(track) = broadcast.track(&subscription.track) else { return };
        let largest = track.log.largest();
        let range = match params.filter.map(|filter| resolve(Some(filter), largest)).transpose() {
            Ok(range) => range,
            Err(refusal) => {
                session.reject_update(request, update, refusal.into());
                self.end_after_update(session, request);
                return;
            }
        };
        let forward = params.forward.map(|on| if on { Forward::On } else { Forward::Off });
        let resumed = forward == Some(Forward::On) && subscription.forward == Forward::Off;
        if resumed {
            subscription.joining = largest;
        }
        subscription.forward = forward.unwrap_or(subscription.forward);
        let changed = params.timeouts != Timeouts::default();
        subscription.cursor.update(
            &track.log,
            CursorUpdate {
                range,
                priority: params.subscriber_priority,
                timeouts: changed.then(|| effective(params.timeouts, track)),
                forward,
            },
        );
        // LARGEST_OBJECT tells the new Joining Location (draft-18 5.1).
        let params = Params { largest: if resumed { largest } else { None }, ..Params::default() };
        session.accept_update(request, update, RequestOk { params, ..RequestOk::default() });
    }

    /// A failed update ends its request (draft-18 9.9.1).
    fn end_after_update(&mut self, session: &mut Session, request: RequestId) {
        if let Some(subscription) = self.subscriptions.remove(&request) {
            self.closing.push(Closing::Subscription(subscription, Some(request)));
        }
        self.cancelled(session, request);
    }

    fn cancelled(&mut self, session: &mut Session, request: RequestId) {
        if let Some(subscription) = self.subscriptions.remove(&request) {
            self.closing.push(Closing::Subscription(subscription, None));
        }
        if let Some(fetch) = self.fetches.remove(&request) {
            session.fetch_done(request);
            self.closing.push(Closing::Fetch(fetch));
        }
    }

    /// Something happened on a stream that we may have opened.
    pub(super) fn handle_stream(&mut self, stream: StreamId, event: &StreamEvent) {
        match event {
            StreamEvent::Stopped { .. } => {
                for subscription in self.subscriptions.values_mut() {
                    subscription.cursor.handle_stopped(stream);
                }
                for fetch in self.fetches.values_mut() {
                    fetch.reader.handle_stopped(stream);
                }
            }
            StreamEvent::Acked => {
                self.streams.remove(&stream);
                for subscription in self.subscriptions.values_mut() {
                    subscription.cursor.handle_stream_closed(stream);
                }
            }
            StreamEvent::Data { .. } | StreamEvent::Reset { .. } | StreamEvent::Writable => {}
        }
    }

    /// Writes what may go out; returns whether another visit is due at once.
    pub(super) fn select(
        &mut self,
        now: Instant,
        broadcast: &mut Broadcast,
        session: &mut Session,
        sink: &mut dyn StreamSink,
    ) -> bool {
        let sink = &mut Tally::new(sink, &mut self.streams);
        for closing in self.closing.drain(..) {
            match closing {
                Closing::Subscription(mut subscription, owed) => {
                    subscription.cursor.close(sink, ResetCode::Cancelled);
                    if let Some(request) = owed {
                        let streams = subscription.cursor.streams_opened();
                        session.publish_done(request, done(DoneCode::UpdateFailed, streams));
                    }
                }
                Closing::Fetch(mut fetch) => fetch.reader.close(sink, ResetCode::Cancelled),
            }
        }
        let mut pending = false;
        self.fetches.retain(|request, fetch| {
            let Some(track) = broadcast.track_mut(&fetch.track) else { return false };
            pending |= fetch.reader.select(now, &mut track.log, sink).pending;
            let finished = fetch.reader.finished();
            if finished {
                session.fetch_done(*request);
            }
            !finished
        });
        self.subscriptions.retain(|request, subscription| {
            let Some(track) = broadcast.track_mut(&subscription.track) else { return false };
            pending |= subscription.cursor.select(now, &mut track.log, sink).pending;
            let finished = subscription.cursor.finished(now, &track.log);
            if finished {
                let ended = track.log.ended();
                let code = if ended { DoneCode::TrackEnded } else { DoneCode::SubscriptionEnded };
                session.publish_done(*request, done(code, subscription.cursor.streams_opened()));
            }
            !finished
        });
        pending
    }

    /// Whether nothing is open and everything sent was acknowledged.
    pub(super) fn is_drained(&self) -> bool {
        self.subscriptions.is_empty() && self.fetches.is_empty() && self.streams.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let cursors = self.subscriptions.values().filter_map(|s| s.cursor.poll_timeout());
        cursors.chain(self.fetches.values().filter_map(|f| f.reader.poll_timeout())).min()
    }
}

const UNKNOWN_TRACK: Refusal = Refusal(RequestCode::DoesNotExist, "no such track here");
const OUT_OF_RANGE: Refusal = Refusal(RequestCode::InvalidRange, "nothing of that range was published");

fn known<'a>(broadcast: &'a Broadcast, name: &TrackName) -> Result<&'a Track, Refusal> {
    if name.namespace() != broadcast.namespace() {
        return Err(Refusal(RequestCode::DoesNotExist, "no such namespace here"));
    }
    broadcast.track(name.name()).ok_or(UNKNOWN_TRACK)
}

fn status_of(track: &Track) -> RequestOk {
    let params = Params { largest: track.log.largest(), ..Params::default() };
    RequestOk { params, properties: track.properties.clone() }
}

/// draft-18 5.1.2: "if the entire End Group has already been published it SHOULD send a REQUEST_ERROR with code
/// INVALID_RANGE".
fn resolve(filter: Option<Filter>, largest: Option<Location>) -> Result<Range, Refusal> {
    let Some(filter) = filter else { return Ok(Range::ALL) };
    let range = Range::resolve(filter, largest);
    match (range.end_group, largest) {
        (Some(end), Some(largest)) if end < largest.group => {
            Err(Refusal(RequestCode::InvalidRange, "the whole range was published already; use FETCH"))
        }
        _ => Ok(range),
    }
}

/// Per kind the smaller one of the publisher's and the subscriber's timeout (draft-18 6).
fn effective(subscriber: Timeouts, track: &Track) -> Timeouts {
    let publisher = TrackInfo::read(&track.properties.0).map(|info| info.timeouts).unwrap_or_default();
    let smaller = |a: Option<Duration>, b: Option<Duration>| a.into_iter().chain(b).filter(|t| !t.is_zero()).min();
    Timeouts {
        object: smaller(subscriber.object, publisher.object),
        subgroup: smaller(subscriber.subgroup, publisher.subgroup),
    }
}

fn done(code: DoneCode, streams: u64) -> PublishDone {
    PublishDone { code, streams: Some(streams), reason: String::new() }
}
