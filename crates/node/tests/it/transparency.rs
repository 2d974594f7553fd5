//! What passes untouched: properties, subgroups, priorities, payload, at any split of the bytes (decisions 1.7).

use crate::actors::{Known, secs, track};
use crate::client::Out;
use crate::trunk::tree;
use crate::world::{World, config};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use sluice_moqt::Location;
use sluice_moqt::data::{ObjectDatagram, ObjectHeader, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::message::Params;
use sluice_moqt::properties::{PropertiesBuilder, kind};
use sluice_moqt::session::StreamEnd;
use sluice_moqt::types::ObjectStatus;
use std::collections::BTreeMap;

/// A property that nobody knows, and an immutable run with another one inside.
fn properties(seed: u64) -> Bytes {
    let inner = PropertiesBuilder::default().int(0x3FFE, seed).build().expect("legal");
    PropertiesBuilder::default()
        .int(0x1F4, seed)
        .bytes(0x1F5, Bytes::from_static(b"whatever"))
        .bytes(kind::IMMUTABLE, inner)
        .build()
        .expect("legal")
}

#[test]
fn track_properties_reach_every_answer_byte_for_byte() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer, offered) = (w.client(t.a), w.client(t.b), w.client(t.b));
    crate::discovery::watch_tracks(&mut w, offered, "live", None);
    let known = Known { largest: Some(Location::new(1, 1)), properties: properties(7) };
    w.publish(publisher, &track("video"), known);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.subscribed(viewer, request).map(|ok| ok.properties.0), Some(properties(7)));
    let status = w.c(viewer).protocol.track_status(track("video"), Params::default()).expect("allowed");
    w.run();
    assert_eq!(w.granted(viewer, status).map(|ok| ok.properties.0), Some(properties(7)));
    let told = w.c(offered).events.iter().find_map(|event| match event {
        sluice_moqt::session::Event::Publish { properties, .. } => Some(properties.0.clone()),
        _ => None,
    });
    assert_eq!(told, Some(properties(7)));
}

#[test]
fn datagrams_stay_datagrams() {
    let mut w = World::new();
    let t = tree(&mut w);
    let (publisher, viewer) = (w.client(t.a), w.client(t.b));
    let (source, request) = w.live(publisher, viewer, &track("chat"));
    let datagram = ObjectDatagram {
        alias: source.alias,
        location: Location::new(3, 5),
        priority: Some(9),
        end_of_group: false,
        properties: properties(3),
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(b"small"),
    };
    let mut bytes = BytesMut::new();
    datagram.encode(&mut bytes).expect("legal");
    w.c(publisher).datagram(bytes.freeze());
    w.run();
    let (of, got) = w.c(viewer).datagrams.first().expect("came").clone();
    assert_eq!(of, request);
    assert_eq!(ObjectDatagram { alias: datagram.alias, ..got }, datagram);
    assert_eq!(w.c(viewer).streams.len(), 0);
}

#[test]
fn a_reset_subgroup_is_never_told_as_complete() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    let out = w.group(source, 0);
    w.put(source, out, 0, 0..2);
    w.c(publisher).reset(out, 0);
    w.run();
    w.pass(secs(5));
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1)]);
    assert!(matches!(w.c(viewer).streams[0].end, Some(StreamEnd::Reset(_))));
}

/// One object as the test publishes it.
#[derive(Debug, Clone)]
struct Sent {
    group: u64,
    subgroup: u64,
    id: u64,
    properties: Bytes,
    payload: Vec<u8>,
}

/// Groups of two subgroups with odd and even ids, one of each with properties.
fn objects() -> impl Strategy<Value = Vec<Sent>> {
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    let object = (payload, any::<u16>());
    proptest::collection::vec(proptest::collection::vec(object, 1..8), 1..4).prop_map(|groups| {
        let mut sent = Vec::new();
        for (group, objects) in (10..).zip(groups) {
            for (id, (payload, seed)) in (0..).zip(objects) {
                let properties = if id % 2 == 0 { Bytes::new() } else { properties(u64::from(seed)) };
                sent.push(Sent { group, subgroup: id % 2, id, properties, payload });
            }
        }
        sent
    })
}

fn open(w: &mut World, source: crate::actors::Source, object: &Sent) -> Out {
    let with = if object.subgroup == 1 { SubgroupFlags::PROPERTIES } else { SubgroupFlags::NONE };
    let header = SubgroupHeader {
        alias: source.alias,
        group: object.group,
        subgroup: SubgroupId::from(object.subgroup),
        priority: Some(17),
        flags: with | SubgroupFlags::FIRST_OBJECT,
    };
    w.c(source.client).open(&header)
}

fn publish_all(w: &mut World, source: crate::actors::Source, objects: &[Sent]) {
    let mut streams: BTreeMap<(u64, u64), Out> = BTreeMap::new();
    for object in objects {
        let key = (object.group, object.subgroup);
        let out = match streams.get(&key) {
            Some(out) => *out,
            None => open(w, source, object),
        };
        streams.insert(key, out);
        let header = ObjectHeader {
            id: object.id,
            properties: object.properties.clone(),
            payload_len: object.payload.len() as u64,
            status: ObjectStatus::Normal,
        };
        w.c(source.client).object(out, &header, &object.payload);
        w.run();
    }
    for out in streams.values() {
        w.c(source.client).fin(*out);
    }
    w.run();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_hops_change_nothing_at_any_split(
        sent in objects(),
        pieces in proptest::collection::vec(1_usize..80, 1..6),
    ) {
        let mut w = World::new();
        let t = tree(&mut w);
        let (publisher, viewer) = (w.client(t.a), w.client(t.b));
        let (source, request) = w.live(publisher, viewer, &track("video"));
        w.pieces = pieces;
        publish_all(&mut w, source, &sent);
        let mut got = Vec::new();
        for stream in w.c(viewer).streams.iter().filter(|stream| stream.request == request) {
            let header = stream.header.expect("a subgroup");
            prop_assert_eq!(header.priority, Some(17));
            prop_assert!(header.flags.contains(SubgroupFlags::FIRST_OBJECT));
            prop_assert_eq!(stream.end, Some(StreamEnd::Fin));
            for object in &stream.objects {
                prop_assert!(object.is_whole());
                let subgroup = header.subgroup.resolve(0);
                let fields = (header.group, object.location.object, subgroup);
                got.push((fields, object.properties.clone(), object.payload.clone()));
            }
        }
        got.sort();
        let expected: Vec<_> =
            sent.into_iter().map(|s| ((s.group, s.id, s.subgroup), s.properties, s.payload)).collect();
        prop_assert_eq!(got, expected);
    }
}
