//! Datagram objects.

use crate::support::{ALIAS, Sink, config, log, ms, start, viewer};
use bytes::Bytes;
use sluice_moqt::Location;
use sluice_moqt::data::{Datagram, ObjectDatagram};
use sluice_moqt::message::Timeouts;
use sluice_moqt::types::{Filter, ObjectStatus, TrackAlias};
use sluice_track::{Cursor, CursorConfig, Dropped, Forwarding, Limits, Log, Malformed, Range, WriteError};

fn datagram(group: u64, id: u64, len: usize) -> ObjectDatagram {
    ObjectDatagram {
        alias: TrackAlias(1),
        location: Location::new(group, id),
        priority: Some(9),
        end_of_group: false,
        properties: Bytes::new(),
        status: ObjectStatus::Normal,
        payload: vec![id.to_le_bytes()[0]; len].into(),
    }
}

fn received(sink: &Sink) -> Vec<ObjectDatagram> {
    let decode = |bytes: &Bytes| match Datagram::decode(bytes.clone()).expect("well formed") {
        Datagram::Object(object) => object,
        Datagram::Padding => panic!("nobody sends padding"),
    };
    sink.datagrams.iter().map(decode).collect()
}

#[test]
fn they_pass_untouched_but_for_the_alias() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let properties = sluice_moqt::properties::PropertiesBuilder::default().int(0x38, 1).build().expect("builds");
    let sent = ObjectDatagram { properties, end_of_group: true, ..datagram(1, 0, 100) };
    log.append_datagram(now, &sent).expect("sound");
    assert!(log.take_progress().datagram);
    assert_eq!(log.largest(), Some(Location::new(1, 0)));
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(received(&sink), [ObjectDatagram { alias: ALIAS, ..sent }]);
    assert!(sink.streams.is_empty());
}

#[test]
fn readers_with_one_alias_share_the_bytes() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursors: Vec<Cursor> = (0..3).map(|_| viewer(&log)).collect();
    log.append_datagram(now, &datagram(1, 0, 100)).expect("sound");
    for cursor in &mut cursors {
        cursor.select(now, &mut log, &mut sink);
    }
    assert!(sink.datagrams.windows(2).all(|pair| pair[0].as_ptr() == pair[1].as_ptr()));
}

#[test]
fn duplicates_go_once_and_contradictions_are_malformed() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    log.append_datagram(now, &datagram(1, 0, 100)).expect("sound");
    log.append_datagram(now, &datagram(1, 0, 100)).expect("sound");
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.datagrams.len(), 1);
    let other = log.append_datagram(now, &datagram(1, 0, 99));
    assert_eq!(other, Err(WriteError::Malformed(Malformed::Content { location: Location::new(1, 0) })));
}

#[test]
fn the_filter_holds_for_them_too() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    log.append_datagram(now, &datagram(5, 5, 1)).expect("sound");
    let range = Range::resolve(Filter::LargestObject, log.largest());
    let mut cursor = Cursor::new(CursorConfig { range, ..config(Forwarding::Whole) }, &log);
    for (group, id) in [(5, 4), (5, 6), (4, 9), (6, 0)] {
        log.append_datagram(now, &datagram(group, id, 1)).expect("sound");
    }
    cursor.select(now, &mut log, &mut sink);
    let sent: Vec<Location> = received(&sink).iter().map(|object| object.location).collect();
    assert_eq!(sent, [Location::new(5, 6), Location::new(6, 0)]);
}

#[test]
fn each_way_to_lose_one_is_counted() {
    let limits = Limits { datagrams: 2, ..Limits::default() };
    let (now, mut log, mut sink) = (start(), Log::new(limits, 128), Sink::default());
    let timeouts = Timeouts { object: Some(ms(300)), subgroup: Some(ms(100)) };
    let mut cursor = Cursor::new(CursorConfig { timeouts, ..config(Forwarding::Whole) }, &log);
    for id in 0..3 {
        log.append_datagram(now, &datagram(1, id, 1)).expect("sound");
    }
    cursor.select(now + ms(101), &mut log, &mut sink);
    assert_eq!(cursor.stats().dropped, Dropped { evicted: 1, timeout: 2, ..Dropped::default() });
    log.append_datagram(now, &datagram(1, 3, 1_200)).expect("sound");
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(cursor.stats().dropped.oversize, 1);
    sink.datagrams_blocked = true;
    log.append_datagram(now, &datagram(1, 4, 1)).expect("sound");
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(cursor.stats().dropped.datagram, 1);
    assert!(sink.datagrams.is_empty());
}

#[test]
fn they_age_out_of_the_ring() {
    let limits = Limits { age: Some(ms(100)), ..Limits::default() };
    let (now, mut log) = (start(), Log::new(limits, 128));
    log.append_datagram(now, &datagram(1, 0, 5_000)).expect("sound");
    log.append_datagram(now, &datagram(2, 0, 5_000)).expect("sound");
    let held = log.bytes_held();
    log.handle_timeout(now + ms(100));
    assert!(log.bytes_held() < held);
}
