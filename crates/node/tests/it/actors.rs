//! What publishers and viewers do, in words.

use crate::client::Out;
use crate::world::{C, World};
use bytes::Bytes;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::error::{DoneCode, RequestCode};
use sluice_moqt::message::{FetchKind, Params, PublishDone, RequestError, RequestOk, SubscribeOk, TrackProperties};
use sluice_moqt::session::Event;
use sluice_moqt::types::ObjectStatus;
use sluice_moqt::{Filter, Location, Namespace, RequestId, TrackAlias, TrackName};
use std::time::Duration;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn ns(path: &str) -> Namespace {
    Namespace::from_path(path).expect("a short path")
}

/// A track of namespace `live/a`.
pub(crate) fn track(name: &'static str) -> TrackName {
    track_in("live/a", name)
}

pub(crate) fn track_in(path: &str, name: &'static str) -> TrackName {
    TrackName::new(ns(path), Bytes::from_static(name.as_bytes())).expect("a short name")
}

pub(crate) fn object(id: u64, len: usize) -> ObjectHeader {
    ObjectHeader { id, properties: Bytes::new(), payload_len: len as u64, status: ObjectStatus::Normal }
}

/// Payload that tells objects apart.
pub(crate) fn payload(group: u64, id: u64, len: usize) -> Vec<u8> {
    let first = group.to_le_bytes()[0].wrapping_mul(31).wrapping_add(id.to_le_bytes()[0].wrapping_mul(7));
    (0..=u8::MAX).map(|at| at.wrapping_add(first)).cycle().take(len).collect()
}

pub(crate) fn filter(filter: Filter) -> Params {
    Params { filter: Some(filter), ..Params::default() }
}

/// A publisher of one track: its client, its subscription, its alias.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub(crate) client: C,
    pub(crate) request: RequestId,
    pub(crate) alias: TrackAlias,
    /// Publisher priority of its subgroups, where their headers say.
    pub(crate) priority: Option<u8>,
}

/// What a publisher knows of its track.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) largest: Option<Location>,
    pub(crate) properties: Bytes,
}

impl Known {
    pub(crate) fn at(group: u64, object: u64) -> Self {
        Self { largest: Some(Location::new(group, object)), ..Self::default() }
    }
}

impl World {
    pub(crate) fn publish_namespace(&mut self, client: C, path: &str) -> RequestId {
        let request = self.c(client).protocol.publish_namespace(ns(path), Params::default()).expect("allowed");
        self.run();
        request
    }

    /// PUBLISH, accepted by the relay.
    pub(crate) fn publish(&mut self, client: C, name: &TrackName, known: Known) -> Source {
        let protocol = &mut self.c(client).protocol;
        let alias = protocol.allocate_alias();
        let params = Params { largest: known.largest, ..Params::default() };
        let properties = TrackProperties(known.properties);
        let request = protocol.publish(name.clone(), alias, params, properties).expect("allowed");
        self.run();
        Source { client, request, alias, priority: None }
    }

    pub(crate) fn subscribe(&mut self, client: C, name: &TrackName, params: Params) -> RequestId {
        let request = self.c(client).protocol.subscribe(name.clone(), params).expect("allowed");
        self.run();
        request
    }

    pub(crate) fn fetch(&mut self, client: C, kind: FetchKind) -> RequestId {
        let request = self.c(client).protocol.fetch(kind, Params::default()).expect("allowed");
        self.run();
        request
    }

    pub(crate) fn join(&mut self, client: C, joining: RequestId) -> RequestId {
        self.fetch(client, FetchKind::RelativeJoining { joining, start: 0 })
    }

    /// Takes the only SUBSCRIBE that a publisher was asked.
    pub(crate) fn asked(&mut self, client: C) -> (RequestId, Params) {
        let mut asked = self.all_asked(client);
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }

    /// Takes every SUBSCRIBE that a publisher was asked.
    pub(crate) fn all_asked(&mut self, client: C) -> Vec<(RequestId, Params)> {
        let of = |event: &mut Event| matches!(event, Event::Subscribe { .. });
        let events: Vec<Event> = self.c(client).events.extract_if(.., of).collect();
        let asked = events.into_iter().filter_map(|event| {
            if let Event::Subscribe { request, params, .. } = event { Some((request, params)) } else { None }
        });
        asked.collect()
    }

    /// Answers the only SUBSCRIBE that a publisher was asked.
    pub(crate) fn accept(&mut self, client: C, known: Known) -> Source {
        let (request, _) = self.asked(client);
        self.accept_request(client, request, known)
    }

    pub(crate) fn accept_request(&mut self, client: C, request: RequestId, known: Known) -> Source {
        let protocol = &mut self.c(client).protocol;
        let alias = protocol.allocate_alias();
        let params = Params { largest: known.largest, ..Params::default() };
        protocol
            .accept_subscribe(request, SubscribeOk { alias, params, properties: TrackProperties(known.properties) });
        self.run();
        Source { client, request, alias, priority: None }
    }

    /// A publisher with namespace `live/a`, a viewer of `name`, both served.
    pub(crate) fn live(&mut self, publisher: C, viewer: C, name: &TrackName) -> (Source, RequestId) {
        self.publish_namespace(publisher, "live/a");
        let request = self.subscribe(viewer, name, Params::default());
        let source = self.accept(publisher, Known::default());
        (source, request)
    }

    /// Opens the only subgroup of a group.
    pub(crate) fn group(&mut self, source: Source, group: u64) -> Out {
        let flags = SubgroupFlags::FIRST_OBJECT | SubgroupFlags::END_OF_GROUP;
        self.subgroup(source, (group, 0), flags)
    }

    pub(crate) fn subgroup(&mut self, source: Source, (group, id): (u64, u64), flags: SubgroupFlags) -> Out {
        let subgroup = SubgroupId::from(id);
        let header = SubgroupHeader { alias: source.alias, group, subgroup, priority: source.priority, flags };
        self.c(source.client).open(&header)
    }

    /// Sends whole objects.
    pub(crate) fn put(&mut self, source: Source, out: Out, group: u64, ids: std::ops::Range<u64>) {
        for id in ids {
            self.c(source.client).object(out, &object(id, 100), &payload(group, id, 100));
        }
        self.run();
    }

    /// Publishes a whole group of `count` objects.
    pub(crate) fn put_group(&mut self, source: Source, group: u64, count: u64) {
        let out = self.group(source, group);
        self.put(source, out, group, 0..count);
        self.c(source.client).fin(out);
        self.run();
    }

    /// PUBLISH_DONE.
    pub(crate) fn done(&mut self, source: Source, code: DoneCode) {
        let streams = Some(self.c(source.client).streams_of(source.alias));
        let done = PublishDone { code, streams, reason: String::new() };
        self.c(source.client).protocol.publish_done(source.request, done);
        self.run();
    }

    /// The error that ended a request, if any.
    pub(crate) fn error(&mut self, client: C, request: RequestId) -> Option<RequestCode> {
        self.errors(client, request).first().map(|error| error.code)
    }

    fn errors(&mut self, client: C, request: RequestId) -> Vec<RequestError> {
        let errors = self.c(client).events.iter().filter_map(|event| match event {
            Event::Error { request: of, error } if *of == request => Some(error.clone()),
            _ => None,
        });
        errors.collect()
    }

    /// The SUBSCRIBE_OK to a request, if any.
    pub(crate) fn subscribed(&mut self, client: C, request: RequestId) -> Option<SubscribeOk> {
        self.c(client).events.iter().find_map(|event| match event {
            Event::SubscribeOk { request: of, ok } if *of == request => Some(ok.clone()),
            _ => None,
        })
    }

    /// The REQUEST_OK to a request, if any.
    pub(crate) fn granted(&mut self, client: C, request: RequestId) -> Option<RequestOk> {
        self.c(client).events.iter().find_map(|event| match event {
            Event::Ok { request: of, ok } if *of == request => Some(ok.clone()),
            _ => None,
        })
    }

    /// The PUBLISH_DONE of a request, if any.
    pub(crate) fn ended(&mut self, client: C, request: RequestId) -> Option<DoneCode> {
        self.c(client).events.iter().find_map(|event| match event {
            Event::PublishDone { request: of, done } if *of == request => Some(done.code),
            _ => None,
        })
    }

    /// Whether a FETCH was accepted.
    pub(crate) fn fetching(&mut self, client: C, request: RequestId) -> bool {
        self.c(client).events.iter().any(|event| matches!(event, Event::FetchOk { request: of, .. } if *of == request))
    }

    /// Whether the peer cancelled a request.
    pub(crate) fn cancelled(&mut self, client: C, request: RequestId) -> bool {
        self.c(client)
            .events
            .iter()
            .any(|event| matches!(event, Event::Cancelled { request: of, .. } if *of == request))
    }

    pub(crate) fn locations(&mut self, client: C, request: RequestId) -> Vec<(u64, u64)> {
        self.c(client).locations(request)
    }
}
