//! FETCH: served from the log, which is filled from upstream where something is missing (draft-18 5.2, 9.12).

use crate::downstream::{request_error, session_of};
use crate::node::Node;
use crate::session::{Call, FetchJob, HeldJoin};
use crate::tracks::{Reader, Track, TrackKey, Want};
use sluice_moqt::error::RequestCode;
use sluice_moqt::message::{Class, FetchKind, FetchOk, Params, RequestError};
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Location, RequestId};
use sluice_track::{FetchConfig, FetchRange, FetchReader, Forwarding};
use std::time::{Duration, Instant};

/// How long a fetch waits for what is missing where it does not say (FILL_TIMEOUT, draft-18 9.2.5).
const DEFAULT_FILL: Duration = Duration::from_secs(5);
/// Longest FILL_TIMEOUT that is honoured.
const MAX_FILL: Duration = Duration::from_secs(30);

impl Node {
    /// FETCH.
    pub(crate) fn on_fetch(&mut self, call: Call, kind: FetchKind, params: Params) {
        let Call { session: id, request, .. } = call;
        match kind {
            FetchKind::Standalone { track, start, end } => match FetchRange::from_wire(start, end) {
                Ok(range) => {
                    let want = Want::Fetch(range, Box::new(params));
                    self.request_track(call, &track, None, want);
                }
                Err(error) => self.refuse(id, request, request_error(RequestCode::InvalidRange, &error.to_string())),
            },
            FetchKind::RelativeJoining { joining, .. } | FetchKind::AbsoluteJoining { joining, .. } => {
                let held = HeldJoin { subscription: joining, request, kind, params };
                let Some(session) = self.moq(id) else { return };
                if session.down.subs.contains_key(&joining) {
                    self.serve_join(call.now, id, &held);
                } else if self.is_pending(id, joining)
                    && let Some(session) = self.moq(id)
                {
                    // draft-18 9.12.2: "the Publisher receiving the Joining Fetch buffers the pending Joining Fetch".
                    session.down.joins.push(held);
                } else {
                    let error = request_error(RequestCode::InvalidJoiningRequestId, "no subscription has that id");
                    self.refuse(id, request, error);
                }
            }
        }
    }

    /// Whether a subscription waits for its track or for a verdict.
    fn is_pending(&self, id: SessionId, request: RequestId) -> bool {
        let waits = |track: &Track| track.waiting.iter().any(|w| w.session == id && w.request == request);
        self.auth.is_held(id, request) || self.tracks.iter().any(|(_, track)| waits(track))
    }

    /// A subscription was established: the joining fetches that waited for it.
    pub(crate) fn serve_held_joins(&mut self, now: Instant, id: SessionId, subscription: RequestId) {
        let Some(session) = self.moq(id) else { return };
        let ready: Vec<HeldJoin> =
            session.down.joins.extract_if(.., |join| join.subscription == subscription).collect();
        for held in ready {
            self.serve_join(now, id, &held);
        }
    }

    /// A subscription was refused: so are the joining fetches that waited for it.
    pub(crate) fn refuse_held_joins(&mut self, id: SessionId, subscription: RequestId) {
        let Some(session) = self.moq(id) else { return };
        let lost: Vec<HeldJoin> = session.down.joins.extract_if(.., |join| join.subscription == subscription).collect();
        for held in lost {
            let error = request_error(RequestCode::InvalidJoiningRequestId, "the subscription to join is over");
            self.refuse(id, held.request, error);
        }
    }

    fn serve_join(&mut self, now: Instant, id: SessionId, held: &HeldJoin) {
        match self.join_range(id, held) {
            Ok((key, range)) => {
                let call = Call { now, session: id, request: held.request };
                self.serve_fetch(call, key, (range, Some(held.subscription)), &held.params);
            }
            Err(error) => self.refuse(id, held.request, *error),
        }
    }

    /// draft-18 9.12.2.1: from the start asked for to the joining location, inclusive.
    fn join_range(&mut self, id: SessionId, held: &HeldJoin) -> Result<(TrackKey, FetchRange), Box<RequestError>> {
        let sub = self.moq(id).and_then(|session| session.down.subs.get(&held.subscription));
        let Some(sub) = sub else {
            return Err(Box::new(request_error(
                RequestCode::InvalidJoiningRequestId,
                "no established subscription has that id",
            )));
        };
        if !sub.forward {
            return Err(Box::new(request_error(RequestCode::InvalidRange, "a joining fetch needs Forward State 1")));
        }
        let Some(last) = sub.joining else {
            return Err(Box::new(request_error(
                RequestCode::InvalidRange,
                "nothing was published when the subscription began",
            )));
        };
        let group = match &held.kind {
            FetchKind::RelativeJoining { start, .. } => last.group.saturating_sub(*start),
            FetchKind::AbsoluteJoining { start, .. } => *start,
            FetchKind::Standalone { start, .. } => start.group,
        };
        if group > last.group {
            return Err(Box::new(request_error(
                RequestCode::InvalidRange,
                "the fetch starts after the joining location",
            )));
        }
        Ok((sub.track, FetchRange { first: Location::new(group, 0), last }))
    }

    /// Starts serving a range of a live track, which a subscription is joined by or none.
    pub(crate) fn serve_fetch(
        &mut self,
        call: Call,
        key: TrackKey,
        (range, joins): (FetchRange, Option<RequestId>),
        params: &Params,
    ) {
        let Call { now, session: id, request } = call;
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(largest) = track.largest().filter(|largest| range.first <= *largest) else {
            let error = request_error(RequestCode::InvalidRange, "the range starts after the largest object");
            self.note_use(now, key);
            return self.refuse(id, request, error);
        };
        let range = FetchRange { first: range.first, last: range.last.min(largest) };
        if let Some(first) = track.log.first_unknown(range) {
            self.fill(now, key, FetchRange { first, ..range });
        }
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(session) = session_of(&mut self.sessions, id) else { return };
        let route = params.extra.as_ref().and_then(|extra| extra.route.as_ref());
        let mode = session.kind.forwarding(self.config.limits.viewer_forwarding);
        let config = FetchConfig {
            request_id: request,
            range,
            order: params.group_order.unwrap_or_default(),
            mode,
            priority: params.subscriber_priority.unwrap_or(128),
            class: route.map_or(Class::Live, |r| r.class),
            fill: params.fill_timeout.unwrap_or(DEFAULT_FILL).min(MAX_FILL),
        };
        let reader = FetchReader::new(now, config);
        let job = FetchJob { track: key, reader, range, joins, filling: false, queued: false };
        session.down.fetches.insert(request, Box::new(job));
        session.mark_ready(request);
        session.protocol.accept_fetch(
            request,
            FetchOk {
                end_of_track: track.log.ended() && range.last == largest,
                end: range.wire_end(),
                params: Params::default(),
                properties: track.meta.properties.clone(),
            },
        );
        track.readers.push(Reader {
            session: id,
            request,
            cut_through: mode == Forwarding::CutThrough,
            is_live: false,
        });
        track.upkeep.unused_since = None;
        self.effects.wake(id);
    }
}
