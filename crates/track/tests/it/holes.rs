//! A hole is a state at which readers wait: filled, ruled out, or timed out.

use crate::support::{Ingest, SOURCE, Sink, fetched, header, log, object, payload, put, start, viewer, wire};
use sluice_moqt::Location;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags};
use sluice_moqt::properties::PropertiesBuilder;
use sluice_moqt::types::GroupOrder;
use sluice_track::{EndOfTrack, FetchRange, Limits, Log, SourceId};

const FETCH: SourceId = SourceId(9);

/// Joins group 3 in the middle, as a relay does that subscribes at the largest object.
fn joined_late(log: &mut Log) -> sluice_track::WriterId {
    let now = start();
    log.add_source(SOURCE, Some(Location::new(3, 4)));
    let writer = log.open_subgroup(now, SOURCE, &header(3, 0, SubgroupFlags::END_OF_GROUP)).expect("opens");
    put(log, now, writer, (3, 4), 10);
    writer
}

fn back_fill(log: &mut Log, ids: std::ops::Range<u64>) {
    let now = start();
    let range = FetchRange { first: Location::new(3, 0), last: Location::new(3, 3) };
    let writer = log.open_fetch(FETCH, range, GroupOrder::Ascending).expect("opens");
    for id in ids {
        log.begin_fetched(now, writer, &fetched(3, id, 0, 10)).expect("begins");
        log.append(now, writer, &payload(3, id, 10)).expect("appends");
    }
    log.set_fetch_end(writer, Location::new(3, 4), EndOfTrack::No);
    log.finish(now, writer).expect("finishes");
}

#[test]
fn a_reader_waits_at_a_hole_until_it_is_filled() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = joined_late(&mut log);
    cursor.select(now, &mut log, &mut sink);
    assert!(sink.streams.is_empty() && !log.is_join_point(3));
    back_fill(&mut log, 0..4);
    assert!(log.take_progress().whole && log.is_join_point(3));
    log.finish(now, writer).expect("finishes");
    cursor.select(now, &mut log, &mut sink);
    let received = sink.received();
    assert_eq!((received.len(), received[0].ids(), received[0].fin), (1, vec![0, 1, 2, 3, 4], true));
    assert!(received[0].header.expect("header").flags.contains(SubgroupFlags::FIRST_OBJECT));
    assert_eq!(received[0].objects[3].payload, payload(3, 3, 10));
}

#[test]
fn what_a_fetch_leaves_out_does_not_exist() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    joined_late(&mut log);
    back_fill(&mut log, 0..2);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].ids(), [0, 1, 4]);
    assert_eq!(log.first_missing(Location::default()), None);
}

#[test]
fn a_reader_that_starts_behind_the_hole_does_not_care() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    joined_late(&mut log);
    let range = sluice_track::Range { start: Location::new(3, 4), end_group: None };
    let config = sluice_track::CursorConfig { range, ..crate::support::config(sluice_track::Forwarding::Whole) };
    let mut cursor = sluice_track::Cursor::new(config, &log);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].ids(), [4]);
    assert!(!sink.received()[0].header.expect("header").flags.contains(SubgroupFlags::FIRST_OBJECT));
}

#[test]
fn a_hole_that_times_out_must_reset_the_stream_and_open_a_new_one() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let first = log.open_subgroup(now, SOURCE, &header(3, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut log, now, first, (3, 0), 10);
    log.reset(now, first);
    let second = log.open_subgroup(now, SourceId(2), &header(3, 0, SubgroupFlags::NONE)).expect("opens");
    put(&mut log, now, second, (3, 5), 10);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(3, 0)]);
    let due = cursor.poll_timeout().expect("the hole times out");
    assert_eq!(due, now + Limits::default().fill);
    cursor.select(due, &mut log, &mut sink);
    let received = sink.received();
    assert!(received[0].reset.is_some());
    assert_eq!(received[1].ids(), [5]);
    assert_eq!(cursor.stats().dropped.incomplete, 1);
}

#[test]
fn ids_that_other_subgroups_account_for_are_no_hole() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let even = log.open_subgroup(now, SOURCE, &header(3, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut log, now, even, (3, 0), 10);
    log.reset(now, even);
    let again = log.open_subgroup(now, SOURCE, &header(3, 0, SubgroupFlags::NONE)).expect("opens");
    put(&mut log, now, again, (3, 2), 10);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(3, 0)]);
    let odd = log.open_subgroup(now, SOURCE, &header(3, 1, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut log, now, odd, (3, 1), 10);
    assert!(log.take_progress().whole);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].ids(), [0, 2]);
    assert_eq!(sink.received()[1].ids(), [1]);
}

#[test]
fn a_gap_property_is_no_hole() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let gap = PropertiesBuilder::default().int(0x3E, 4).build().expect("builds");
    let flags = SubgroupFlags::FIRST_OBJECT | SubgroupFlags::PROPERTIES;
    let one = log.open_subgroup(now, SOURCE, &header(3, 0, flags)).expect("opens");
    put(&mut log, now, one, (3, 0), 10);
    log.reset(now, one);
    let two = log.open_subgroup(now, SOURCE, &header(3, 0, SubgroupFlags::PROPERTIES)).expect("opens");
    let with_gap = ObjectHeader { properties: gap.clone(), ..object(5, 1) };
    log.begin_object(now, two, &with_gap).expect("begins");
    log.append(now, two, b"x").expect("appends");
    cursor.select(now, &mut log, &mut sink);
    let received = sink.received();
    assert_eq!((received.len(), received[0].ids()), (1, vec![0, 5]));
    assert_eq!(received[0].objects[1].header.properties, gap);
}

#[test]
fn properties_that_appear_late_reopen_the_stream() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let one = log.open_subgroup(now, SOURCE, &header(3, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut log, now, one, (3, 0), 10);
    cursor.select(now, &mut log, &mut sink);
    let properties = PropertiesBuilder::default().int(0x38, 4).build().expect("builds");
    let two = wire(
        &header(3, 0, SubgroupFlags::FIRST_OBJECT | SubgroupFlags::PROPERTIES),
        &[(object(0, 10), payload(3, 0, 10)), (ObjectHeader { properties, ..object(1, 0) }, Vec::new())],
    );
    Ingest::new(SourceId(2)).push(&mut log, now, &two).expect("sound");
    cursor.select(now, &mut log, &mut sink);
    let received = sink.received();
    assert!(received[0].reset.is_some());
    assert_eq!(received[1].ids(), [1]);
}

#[test]
fn a_whole_fetched_group_ends_its_streams() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let range = FetchRange { first: Location::new(1, 0), last: Location::new(2, 0) };
    let writer = log.open_fetch(FETCH, range, GroupOrder::Ascending).expect("opens");
    for (group, id, subgroup) in [(1, 0, 0), (1, 1, 1), (1, 2, 0), (2, 0, 0)] {
        log.begin_fetched(now, writer, &fetched(group, id, subgroup, 1)).expect("begins");
        log.append(now, writer, &payload(group, id, 1)).expect("appends");
    }
    cursor.select(now, &mut log, &mut sink);
    let received = sink.received();
    assert_eq!((received[0].ids(), received[0].fin), (vec![0, 2], true));
    assert_eq!((received[1].ids(), received[1].fin), (vec![1], true));
    assert_eq!((received[2].ids(), received[2].fin), (vec![0], false));
    assert_eq!(log.largest(), None, "only what comes through a subscription moves the largest location");
}

#[test]
fn the_priority_that_a_fetch_tells_gives_way_to_a_header() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let range = FetchRange { first: Location::new(3, 0), last: Location::new(3, 3) };
    let fetch = log.open_fetch(FETCH, range, GroupOrder::Ascending).expect("opens");
    let told = |id, priority| sluice_moqt::data::FetchObject { priority, ..fetched(3, id, 0, 0) };
    log.begin_fetched(now, fetch, &told(0, 9)).expect("begins");
    let mut live = header(3, 0, SubgroupFlags::FIRST_OBJECT);
    live.priority = Some(5);
    let writer = log.open_subgroup(now, SOURCE, &live).expect("a header outranks a fetch");
    put(&mut log, now, writer, (3, 0), 0);
    log.begin_fetched(now, fetch, &told(1, 9)).expect("a fetch is not held against a header");
    let mut cursor = viewer(&log);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].header.expect("header").priority, Some(5));
    live.priority = Some(6);
    assert!(log.open_subgroup(now, SourceId(2), &live).is_err());
}
