//! FETCH answered from the log (draft-18 9.12, 10.4.4).

use crate::support::{
    Received, SOURCE, Sink, fetched, header, log, ms, object, payload, put, put_group, start, status, whole_group,
};
use bytes::Bytes;
use proptest::prelude::*;
use sluice_moqt::Location;
use sluice_moqt::data::{EndOfRange, ObjectDatagram, ObjectHeader, SubgroupFlags};
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::Class;
use sluice_moqt::properties::PropertiesBuilder;
use sluice_moqt::transport::StreamId;
use sluice_moqt::types::{GroupOrder, ObjectStatus, RequestId, TrackAlias};
use sluice_track::{FetchConfig, FetchRange, FetchReader, Forwarding, Log, RangeError, SourceId};

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn config(first: Location, last: Location, order: GroupOrder) -> FetchConfig {
    FetchConfig {
        request_id: RequestId(4),
        range: FetchRange { first, last },
        order,
        mode: Forwarding::Whole,
        priority: 128,
        class: Class::Live,
        fill: ms(200),
    }
}

fn serve(log: &mut Log, config: FetchConfig) -> (Received, Sink) {
    let (now, mut sink) = (start(), Sink::default());
    let mut reader = FetchReader::new(now, config);
    reader.select(now, log, &mut sink);
    assert!(reader.finished(), "waits for {:?}", reader.waiting_for());
    let received = Received::decode_in(&sink.streams[&StreamId(3)], config.order);
    assert_eq!(reader.stats().objects, received.objects.len() as u64);
    assert!(received.fin);
    (received, sink)
}

fn locations(received: &Received) -> Vec<(u64, u64)> {
    let location = |fetched: &sluice_moqt::data::FetchObject| (fetched.location.group, fetched.location.object);
    received.objects.iter().filter_map(|object| object.fetched.as_ref().map(location)).collect()
}

/// Groups 1 and 2 with two subgroups each, complete.
fn two_groups() -> Log {
    let (now, mut log) = (start(), log());
    for group in 1..=2 {
        let even = log.open_subgroup(now, SOURCE, &header(group, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
        let mut odd_header = header(group, 1, whole_group() | SubgroupFlags::PROPERTIES);
        odd_header.priority = Some(50);
        let odd = log.open_subgroup(now, SOURCE, &odd_header).expect("opens");
        put(&mut log, now, even, (group, 0), 100);
        put(&mut log, now, even, (group, 2), 0);
        let properties = PropertiesBuilder::default().int(0x38, 77).build().expect("builds");
        log.begin_object(now, odd, &ObjectHeader { properties, ..object(1, 70_000) }).expect("begins");
        log.append(now, odd, &payload(group, 1, 70_000)).expect("appends");
        put(&mut log, now, odd, (group, 3), 5);
        log.finish(now, even).expect("finishes");
        log.finish(now, odd).expect("finishes");
    }
    log
}

#[test]
fn a_range_comes_in_order_of_objects_with_all_their_fields() {
    let mut log = two_groups();
    let (received, _) = serve(&mut log, config(at(1, 1), at(2, 2), GroupOrder::Ascending));
    assert_eq!(locations(&received), [(1, 1), (1, 2), (1, 3), (2, 0), (2, 1), (2, 2)]);
    assert_eq!(received.ranges, []);
    let first = &received.objects[0];
    let fields = first.fetched.as_ref().expect("fetched");
    assert_eq!((fields.subgroup, fields.priority), (Some(1), 50));
    assert_eq!(fields.properties, PropertiesBuilder::default().int(0x38, 77).build().expect("builds"));
    assert_eq!(first.payload, payload(1, 1, 70_000));
    assert!(received.objects[1].payload.is_empty());
}

#[test]
fn descending_turns_the_groups_around_and_not_the_objects() {
    let mut log = two_groups();
    let (received, _) = serve(&mut log, config(at(1, 2), at(2, 1), GroupOrder::Descending));
    assert_eq!(locations(&received), [(2, 0), (2, 1), (1, 2), (1, 3)]);
}

#[test]
fn what_is_not_known_is_said_to_be_unknown() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 1, 2);
    put_group(&mut log, now, 4, 1);
    let open = log.open_subgroup(now, SOURCE, &header(6, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut log, now, open, (6, 0), 1);
    put(&mut log, now, open, (6, 2), 1);
    log.finish(now, open).expect("finishes");
    let unknown = |group, object| EndOfRange::Unknown { last: at(group, object) };
    let (received, _) = serve(&mut log, config(at(0, 5), at(6, 2), GroupOrder::Ascending));
    assert_eq!(locations(&received), [(1, 0), (1, 1), (4, 0), (6, 0), (6, 2)]);
    assert_eq!(received.ranges, [unknown(0, u64::MAX), unknown(3, u64::MAX), unknown(5, u64::MAX), unknown(6, 1)]);
    let (received, _) = serve(&mut log, config(at(2, 0), at(3, 9), GroupOrder::Ascending));
    assert_eq!((locations(&received), received.ranges), (vec![], vec![unknown(3, 9)]));
    let (received, _) = serve(&mut log, config(at(3, 0), at(6, u64::MAX), GroupOrder::Descending));
    assert_eq!(locations(&received), [(6, 0), (6, 2), (4, 0)]);
    assert_eq!(received.ranges, [unknown(6, 1), unknown(5, u64::MAX), unknown(3, u64::MAX)]);
}

#[test]
fn what_is_known_not_to_exist_is_a_plain_gap() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 1, 2);
    let gaps = PropertiesBuilder::default().int(0x3C, 3).int(0x3E, 4).build().expect("builds");
    let flags = SubgroupFlags::FIRST_OBJECT | SubgroupFlags::PROPERTIES;
    let writer = log.open_subgroup(now, SOURCE, &header(5, 0, flags)).expect("opens");
    log.begin_object(now, writer, &ObjectHeader { properties: gaps, ..object(4, 0) }).expect("begins");
    log.begin_object(now, writer, &status(5, ObjectStatus::EndOfGroup)).expect("begins");
    log.finish(now, writer).expect("finishes");
    let (received, _) = serve(&mut log, config(at(1, 0), at(5, u64::MAX), GroupOrder::Ascending));
    assert_eq!((locations(&received), received.ranges), (vec![(1, 0), (1, 1), (5, 4)], vec![]));
}

#[test]
fn what_an_upstream_fetch_left_out_is_a_plain_gap_here_too() {
    for order in [GroupOrder::Ascending, GroupOrder::Descending] {
        let (now, mut log) = (start(), log());
        let range = FetchRange { first: at(1, 0), last: at(8, u64::MAX) };
        let upstream = log.open_fetch(SourceId(5), range, order).expect("opens");
        let mut objects = [(3, 2), (3, 4), (6, 1)];
        if order == GroupOrder::Descending {
            objects = [(6, 1), (3, 2), (3, 4)];
        }
        for (group, id) in objects {
            log.begin_fetched(now, upstream, &fetched(group, id, 0, 0)).expect("begins");
        }
        log.set_fetch_end(upstream, at(8, 0), sluice_track::EndOfTrack::No);
        log.finish(now, upstream).expect("finishes");
        let (received, _) = serve(&mut log, config(at(1, 0), at(8, 9), GroupOrder::Ascending));
        assert_eq!((locations(&received), received.ranges), (vec![(3, 2), (3, 4), (6, 1)], vec![]), "{order:?}");
    }
}

#[test]
fn datagram_objects_are_fetched_as_such() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 1, 1);
    let datagram = ObjectDatagram {
        alias: TrackAlias(1),
        location: at(2, 0),
        priority: Some(3),
        end_of_group: true,
        properties: Bytes::new(),
        status: ObjectStatus::Normal,
        payload: Bytes::from_static(b"datagram"),
    };
    log.append_datagram(now, &datagram).expect("sound");
    let (received, _) = serve(&mut log, config(at(1, 0), at(2, 0), GroupOrder::Ascending));
    let fields = received.objects[1].fetched.clone().expect("fetched");
    assert_eq!((fields.subgroup, fields.priority, fields.location), (None, 3, at(2, 0)));
    assert_eq!(received.objects[1].payload, b"datagram");
}

#[test]
fn it_waits_for_what_is_arriving_and_not_for_longer_than_the_fill_timeout() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    log.begin_object(now, writer, &object(0, 10)).expect("begins");
    let mut readers = [FetchReader::new(now, config(at(1, 0), at(1, 0), GroupOrder::Ascending)), {
        let through = FetchConfig { mode: Forwarding::CutThrough, ..config(at(1, 0), at(1, 0), GroupOrder::Ascending) };
        FetchReader::new(now, through)
    }];
    let mut late = FetchReader::new(now, config(at(1, 0), at(1, 0), GroupOrder::Ascending));
    for reader in readers.iter_mut().chain([&mut late]) {
        reader.select(now, &mut log, &mut sink);
        assert_eq!(reader.waiting_for(), Some(at(1, 0)));
    }
    // Once the first half of an object is out, no time changes anything: the rest comes or is given up.
    let timeouts = [readers[0].poll_timeout(), readers[1].poll_timeout(), late.poll_timeout()];
    assert_eq!(timeouts, [Some(now + ms(200)), None, Some(now + ms(200))]);
    late.select(now + ms(200), &mut log, &mut sink);
    assert!(late.finished());
    log.append(now, writer, &payload(1, 0, 10)).expect("appends");
    for reader in &mut readers {
        reader.select(now, &mut log, &mut sink);
        assert!(reader.finished());
    }
    let received: Vec<Received> = sink.streams.values().map(Received::decode).collect();
    assert_eq!(received[0].objects, received[1].objects);
    assert_eq!(received[0].objects[0].payload, payload(1, 0, 10));
    assert_eq!(received[2].ranges, [EndOfRange::Unknown { last: at(1, 0) }]);
}

#[test]
fn it_waits_for_an_upstream_fetch_that_will_tell() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    put_group(&mut log, now, 2, 1);
    let range = FetchRange { first: at(1, 0), last: at(1, u64::MAX) };
    let upstream = log.open_fetch(SourceId(5), range, GroupOrder::Ascending).expect("opens");
    let mut reader = FetchReader::new(now, config(at(1, 0), at(2, 0), GroupOrder::Ascending));
    reader.select(now, &mut log, &mut sink);
    assert_eq!(reader.waiting_for(), Some(at(1, 0)));
    for id in 0..2 {
        log.begin_fetched(now, upstream, &fetched(1, id, 0, 1)).expect("begins");
        log.append(now, upstream, &payload(1, id, 1)).expect("appends");
        reader.select(now, &mut log, &mut sink);
        assert_eq!(reader.waiting_for(), Some(at(1, id + 1)));
    }
    log.set_fetch_end(upstream, at(1, 0), sluice_track::EndOfTrack::No);
    log.finish(now, upstream).expect("finishes");
    reader.select(now, &mut log, &mut sink);
    assert!(reader.finished());
    let received = sink.received();
    assert_eq!((locations(&received[0]), &received[0].ranges[..]), (vec![(1, 0), (1, 1), (2, 0)], &[][..]));
}

#[test]
fn half_an_object_that_nobody_completes_resets_the_stream() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    log.begin_object(now, writer, &object(0, 10)).expect("begins");
    log.append(now, writer, &payload(1, 0, 5)).expect("appends");
    let through = FetchConfig { mode: Forwarding::CutThrough, ..config(at(1, 0), at(1, 0), GroupOrder::Ascending) };
    let mut reader = FetchReader::new(now, through);
    reader.select(now, &mut log, &mut sink);
    log.end_track(now);
    reader.select(now, &mut log, &mut sink);
    assert!(reader.finished());
    assert_eq!(sink.received()[0].reset, Some(ResetCode::UnknownObjectStatus.code()));
}

#[test]
fn a_stopped_or_cancelled_fetch_is_reset() {
    let (now, mut log, mut sink) = (start(), two_groups(), Sink::default());
    sink.block();
    let [mut stopped, mut cancelled] =
        [0, 1].map(|_| FetchReader::new(now, config(at(1, 0), at(2, 0), GroupOrder::Ascending)));
    assert!(stopped.select(now, &mut log, &mut sink).blocked);
    assert!(cancelled.select(now, &mut log, &mut sink).blocked);
    stopped.handle_stopped(StreamId(3));
    stopped.select(now, &mut log, &mut sink);
    cancelled.close(&mut sink, ResetCode::Cancelled);
    assert!(stopped.finished() && cancelled.finished());
    assert!(sink.streams.values().all(|out| out.reset == Some(ResetCode::Cancelled.code())));
}

#[test]
fn the_plan_is_cut_at_the_largest_object() {
    let mut log = two_groups();
    let plan = |log: &Log, start, end| log.plan_fetch(FetchRange::from_wire(start, end)?);
    let cut = plan(&log, at(1, 0), at(9, 0)).expect("served");
    assert_eq!((cut.end, cut.range.last, cut.end_of_track), (at(2, 4), at(2, 3), false));
    let inside = plan(&log, at(1, 1), at(1, 3)).expect("served");
    assert_eq!((inside.end, inside.range.last), (at(1, 3), at(1, 2)));
    assert_eq!(plan(&log, at(1, 0), at(1, 0)).expect("served").end, at(1, 0), "a whole group");
    assert_eq!(plan(&log, at(3, 0), at(3, 1)), Err(RangeError::Future));
    assert_eq!(plan(&log, at(2, 2), at(2, 1)), Err(RangeError::Inverted));
    let writer = log.open_subgroup(start(), SOURCE, &header(3, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    log.begin_object(start(), writer, &status(0, ObjectStatus::EndOfTrack)).expect("begins");
    assert!(plan(&log, at(1, 0), at(9, 0)).expect("served").end_of_track);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_acceptance_gives_the_same_stream(accepts in prop::collection::vec(0..40_000_usize, 1..12)) {
        let (now, mut log, mut sink) = (start(), two_groups(), Sink::default());
        let whole = config(at(1, 0), at(2, 3), GroupOrder::Ascending);
        let expected = serve(&mut log, whole).1;
        let mut reader = FetchReader::new(now, whole);
        let mut next = accepts.clone().into_iter();
        sink.accept = Box::new(move |_| next.next().unwrap_or(usize::MAX));
        for _ in 0..=accepts.len() {
            reader.select(now, &mut log, &mut sink);
        }
        prop_assert_eq!(&sink.streams, &expected.streams);
    }
}

#[test]
fn what_is_unknown_is_known_before_it_is_served() {
    let (now, mut log) = (start(), log());
    put_group(&mut log, now, 3, 2);
    let range = |first, last| FetchRange { first, last };
    assert_eq!(log.first_unknown(range(at(3, 0), at(3, 1))), None);
    assert_eq!(log.first_unknown(range(at(1, 2), at(3, 1))), Some(at(1, 2)));
    assert_eq!(log.first_unknown(range(at(3, 1), at(5, 0))), Some(at(3, 2)));
    log.open_fetch(SourceId(5), range(at(1, 0), at(2, u64::MAX)), GroupOrder::Ascending).expect("opens");
    assert_eq!(log.first_unknown(range(at(1, 2), at(3, 1))), None);
}

#[test]
fn a_fetch_that_is_given_up_is_reset_as_late_and_one_that_has_not_begun_goes_on() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    put_group(&mut log, now, 1, 4);
    let mut reader = FetchReader::new(now, config(at(1, 0), at(1, 3), GroupOrder::Ascending));
    reader.give_up(&mut sink);
    assert!(!reader.finished());
    sink.accept = Box::new(|offered| offered.min(50));
    assert!(reader.select(now, &mut log, &mut sink).blocked);
    reader.give_up(&mut sink);
    assert!(reader.finished());
    let resets: Vec<_> = sink.streams.values().map(|out| out.reset).collect();
    assert_eq!(resets, [Some(ResetCode::DeliveryTimeout.code())]);
}
