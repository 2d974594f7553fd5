//! The conditions of draft-18 2.4.2, 11.7 and 11.8.

use crate::support::{SOURCE, fetched, header, log, object, payload, put, put_group, start, status, whole_group};
use bytes::Bytes;
use sluice_moqt::Location;
use sluice_moqt::data::{ObjectDatagram, ObjectHeader, SubgroupFlags};
use sluice_moqt::properties::PropertiesBuilder;
use sluice_moqt::types::{GroupOrder, ObjectStatus, TrackAlias};
use sluice_track::{EndOfTrack, FetchRange, Log, Malformed, SourceId, WriteError, WriterId};

const OTHER: SourceId = SourceId(2);

fn malformed<T: std::fmt::Debug>(result: Result<T, WriteError>) -> Malformed {
    match result {
        Err(WriteError::Malformed(malformed)) => malformed,
        other => panic!("{other:?} is not malformed"),
    }
}

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn open(log: &mut Log, source: SourceId, subgroup: u64, flags: SubgroupFlags) -> WriterId {
    log.open_subgroup(start(), source, &header(1, subgroup, flags)).expect("opens")
}

fn datagram(group: u64, id: u64) -> ObjectDatagram {
    ObjectDatagram {
        alias: TrackAlias(1),
        location: at(group, id),
        priority: None,
        end_of_group: false,
        properties: Bytes::new(),
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(b"d"),
    }
}

#[test]
fn condition_1_a_subgroup_changes_its_priority() {
    let (now, mut log) = (start(), log());
    open(&mut log, SOURCE, 0, SubgroupFlags::NONE);
    let mut changed = header(1, 0, SubgroupFlags::NONE);
    changed.priority = Some(3);
    assert_eq!(malformed(log.open_subgroup(now, OTHER, &changed)), Malformed::Priority { group: 1, subgroup: 0 });
    changed.priority = Some(128);
    assert!(log.open_subgroup(now, OTHER, &changed).is_ok(), "the default, spelled out");
}

#[test]
fn condition_2_an_object_after_the_final_one_of_its_subgroup() {
    let (now, mut log) = (start(), log());
    let one = open(&mut log, SOURCE, 0, SubgroupFlags::FIRST_OBJECT);
    put(&mut log, now, one, (1, 0), 10);
    log.finish(now, one).expect("finishes");
    let two = open(&mut log, OTHER, 0, SubgroupFlags::NONE);
    let refused = log.begin_object(now, two, &object(4, 1));
    assert_eq!(malformed(refused), Malformed::BeyondSubgroup { location: at(1, 4), subgroup: 0 });
    assert_eq!(log.largest(), Some(at(1, 0)), "what triggers it is not in the log");
}

#[test]
fn condition_3_two_ends_of_one_subgroup() {
    let (now, mut log) = (start(), log());
    let writers = [SOURCE, OTHER].map(|source| open(&mut log, source, 0, SubgroupFlags::FIRST_OBJECT));
    for writer in writers {
        put(&mut log, now, writer, (1, 0), 10);
    }
    put(&mut log, now, writers[0], (1, 1), 10);
    let refused = log.finish(now, writers[1]);
    assert_eq!(malformed(refused), Malformed::SubgroupEnds { group: 1, subgroup: 0 });
}

#[test]
fn condition_4_an_object_after_the_final_one_of_its_group() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 1, 2);
    let late = open(&mut log, SOURCE, 5, SubgroupFlags::NONE);
    assert_eq!(malformed(log.begin_object(now, late, &object(2, 1))), Malformed::BeyondGroup { location: at(1, 2) });

    let mut log = crate::support::log();
    let one = open(&mut log, SOURCE, 0, SubgroupFlags::FIRST_OBJECT);
    log.begin_object(now, one, &status(3, ObjectStatus::EndOfGroup)).expect("begins");
    let two = open(&mut log, SOURCE, 1, SubgroupFlags::NONE);
    put(&mut log, now, two, (1, 2), 1);
    assert_eq!(malformed(log.begin_object(now, two, &object(4, 1))), Malformed::BeyondGroup { location: at(1, 4) });
    let early = open(&mut log, SOURCE, 2, SubgroupFlags::NONE);
    let refused = log.begin_object(now, early, &status(1, ObjectStatus::EndOfGroup));
    assert_eq!(malformed(refused), Malformed::BeyondGroup { location: at(1, 1) });
}

#[test]
fn condition_4_holds_when_the_end_comes_after_the_object() {
    let (now, mut log) = (start(), log());
    let late = open(&mut log, SOURCE, 5, SubgroupFlags::NONE);
    put(&mut log, now, late, (1, 9), 1);
    let ends = open(&mut log, SOURCE, 0, whole_group());
    put(&mut log, now, ends, (1, 0), 1);
    assert_eq!(malformed(log.finish(now, ends)), Malformed::BeyondGroup { location: at(1, 9) });
}

#[test]
fn condition_5_an_object_after_the_end_of_the_track() {
    let (now, mut log) = (start(), log());
    let writer = open(&mut log, SOURCE, 0, SubgroupFlags::FIRST_OBJECT);
    log.begin_object(now, writer, &status(1, ObjectStatus::EndOfTrack)).expect("begins");
    let later = log.open_subgroup(now, SOURCE, &header(2, 0, SubgroupFlags::NONE)).expect("opens");
    assert_eq!(malformed(log.begin_object(now, later, &object(0, 1))), Malformed::BeyondTrack { location: at(2, 0) });
    assert_eq!(malformed(log.append_datagram(now, &datagram(3, 0))), Malformed::BeyondTrack { location: at(3, 0) });
}

#[test]
fn condition_5_by_a_fetch() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 2, 1);
    let range = FetchRange { first: at(1, 0), last: at(1, 1) };
    let fetch = log.open_fetch(OTHER, range, GroupOrder::Ascending).expect("opens");
    log.begin_fetched(now, fetch, &fetched(1, 0, 0, 0)).expect("begins");
    log.set_fetch_end(fetch, at(1, 2), EndOfTrack::Yes);
    assert_eq!(malformed(log.finish(now, fetch)), Malformed::BeyondTrack { location: at(2, 0) });
}

#[test]
fn condition_6_one_object_with_two_contents() {
    let (now, immutable) = (start(), |value: &'static [u8]| {
        PropertiesBuilder::default().bytes(0xB, Bytes::from_static(value)).build().expect("builds")
    });
    let first = |log: &mut Log| {
        let writer = open(log, SOURCE, 0, SubgroupFlags::FIRST_OBJECT | SubgroupFlags::PROPERTIES);
        let header = ObjectHeader { properties: immutable(&[0x38, 1]), ..object(0, 10) };
        log.begin_object(now, writer, &header).expect("begins");
        log.append(now, writer, &payload(1, 0, 10)).expect("appends");
    };
    let again = |log: &mut Log, subgroup, header: &ObjectHeader| {
        let writer = open(log, OTHER, subgroup, SubgroupFlags::PROPERTIES);
        log.begin_object(now, writer, header).map(|()| writer)
    };
    let content = Malformed::Content { location: at(1, 0) };
    let properties = immutable(&[0x38, 1]);
    let headers = [
        ObjectHeader { properties: properties.clone(), ..object(0, 11) },
        ObjectHeader { properties: immutable(&[0x38, 2]), ..object(0, 10) },
    ];
    for header in headers {
        let mut log = log();
        first(&mut log);
        assert_eq!(malformed(again(&mut log, 0, &header)), content);
    }
    let same = ObjectHeader { properties, ..object(0, 10) };
    let mut log = log();
    first(&mut log);
    assert_eq!(malformed(again(&mut log, 1, &same)), content, "another subgroup");
    let writer = again(&mut log, 0, &same).expect("the same object");
    assert_eq!(log.append(now, writer, &payload(1, 0, 5)), Ok(()));
    assert_eq!(malformed(log.append(now, writer, b"xxxxx")), content);
}

#[test]
fn condition_7_one_object_by_stream_and_by_datagram() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 1, 1);
    let changed = Malformed::ForwardingPreference { location: at(1, 0) };
    assert_eq!(malformed(log.append_datagram(now, &datagram(1, 0))), changed);
    let mut log = crate::support::log();
    log.append_datagram(now, &datagram(1, 0)).expect("sound");
    let writer = open(&mut log, SOURCE, 0, SubgroupFlags::NONE);
    assert_eq!(malformed(log.begin_object(now, writer, &object(0, 1))), changed);
}

#[test]
fn gap_properties_must_not_contradict_anything() {
    let now = start();
    let gap = |kind, value| PropertiesBuilder::default().int(kind, value).build().expect("builds");
    let begin = |log: &mut Log, group: u64, id: u64, properties: Bytes| {
        let header = header(group, id, SubgroupFlags::PROPERTIES);
        let writer = log.open_subgroup(now, SOURCE, &header)?;
        log.begin_object(now, writer, &ObjectHeader { properties, ..object(id, 1) })
    };
    let (object_gap, group_gap) = (|value| gap(0x3E, value), |value| gap(0x3C, value));

    let mut objects = log();
    begin(&mut objects, 1, 3, Bytes::new()).expect("sound");
    assert_eq!(malformed(begin(&mut objects, 1, 5, object_gap(2))), Malformed::Gap { location: at(1, 5) });
    begin(&mut objects, 1, 9, object_gap(3)).expect("sound");
    assert_eq!(malformed(begin(&mut objects, 1, 7, Bytes::new())), Malformed::Gap { location: at(1, 7) });
    assert!(matches!(begin(&mut objects, 1, 20, object_gap(21)), Err(WriteError::Malformed(_))));

    let mut groups = log();
    begin(&mut groups, 3, 0, Bytes::new()).expect("sound");
    assert_eq!(malformed(begin(&mut groups, 5, 0, group_gap(2))), Malformed::Gap { location: at(5, 0) });
    begin(&mut groups, 9, 0, group_gap(3)).expect("sound");
    assert_eq!(malformed(begin(&mut groups, 7, 0, Bytes::new())), Malformed::Gap { location: at(7, 0) });
    assert_eq!(malformed(begin(&mut groups, 9, 1, group_gap(2))), Malformed::Gap { location: at(9, 1) });
}

#[test]
fn an_object_that_a_fetch_ruled_out_is_ignored_and_not_malformed() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 2, 1);
    let keep = open(&mut log, SOURCE, 0, SubgroupFlags::FIRST_OBJECT);
    put(&mut log, now, keep, (1, 0), 1);
    let range = FetchRange { first: at(1, 0), last: at(1, 9) };
    let fetch = log.open_fetch(OTHER, range, GroupOrder::Ascending).expect("opens");
    log.begin_fetched(now, fetch, &fetched(1, 0, 0, 1)).expect("begins");
    log.append(now, fetch, &payload(1, 0, 1)).expect("appends");
    log.set_fetch_end(fetch, at(1, 10), EndOfTrack::No);
    log.finish(now, fetch).expect("finishes");
    put(&mut log, now, keep, (1, 4), 1);
    assert_eq!(log.first_missing(at(1, 0)), None);
    let held = log.bytes_held();
    put(&mut log, now, keep, (1, 5), 60_000);
    assert_eq!(log.bytes_held(), held);
}
