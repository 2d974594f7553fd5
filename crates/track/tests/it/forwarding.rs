//! What goes in comes out: streams, flags, priorities, cut-through.

use crate::support::{
    ALIAS, Ingest, Received, SOURCE, Sink, config, header, log, object, payload, put, put_group, start, status, viewer,
    whole_group, wire,
};
use bytes::Bytes;
use proptest::prelude::*;
use sluice_moqt::data::{ObjectHeader, SubgroupFlags};
use sluice_moqt::properties::PropertiesBuilder;
use sluice_moqt::types::{GroupOrder, ObjectStatus};
use sluice_track::{Cursor, CursorConfig, Forwarding, Log};

/// Three interleaved subgroups with properties, an empty object and one larger than an arena block.
fn three_subgroups() -> Vec<(SubgroupFlags, Vec<(ObjectHeader, Vec<u8>)>)> {
    let properties = PropertiesBuilder::default().int(0x38, 5).build().expect("builds");
    let with = |id: u64, len: usize, properties: &Bytes| {
        (ObjectHeader { properties: properties.clone(), ..object(id, len) }, payload(9, id, len))
    };
    let none = Bytes::new();
    let flags = SubgroupFlags::FIRST_OBJECT;
    vec![
        (
            flags | SubgroupFlags::PROPERTIES,
            vec![with(0, 300, &properties), with(3, 0, &none), with(6, 90, &properties)],
        ),
        (flags, vec![with(1, 70_000, &none), with(4, 1, &none), with(200, 40, &none)]),
        (
            flags | SubgroupFlags::END_OF_GROUP,
            vec![with(2, 50, &none), with(5, 60, &none), (status(201, ObjectStatus::EndOfGroup), Vec::new())],
        ),
    ]
}

fn wires() -> Vec<Vec<u8>> {
    let streams = three_subgroups();
    streams.iter().enumerate().map(|(id, (flags, objects))| wire(&header(9, id as u64, *flags), objects)).collect()
}

/// The streams as a reader of alias [`ALIAS`] gets them.
fn expected() -> Vec<Received> {
    let streams = three_subgroups().into_iter().enumerate();
    let decode = |(id, (flags, objects)): (usize, (SubgroupFlags, Vec<_>))| {
        let mut header = header(9, id as u64, flags);
        header.alias = ALIAS;
        let data = wire(&header, &objects);
        Received::decode(&crate::support::Out { data, fin: true, ..Default::default() })
    };
    streams.map(decode).collect()
}

fn by_subgroup(sink: &Sink) -> Vec<Received> {
    let mut received = sink.received();
    received.sort_by_key(|stream| stream.header.map(|header| header.subgroup.resolve(0)));
    received
}

fn run(splits: &[(usize, usize)], accepts: Vec<usize>, mode: Forwarding) -> Vec<Received> {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(config(mode), &log);
    let mut next = accepts.into_iter().cycle();
    sink.accept = Box::new(move |_| next.next().unwrap_or(usize::MAX));
    let wires = wires();
    let mut ingests: Vec<Ingest> = wires.iter().map(|_| Ingest::new(SOURCE)).collect();
    let mut at = vec![0_usize; wires.len()];
    for &(stream, len) in splits.iter().chain(&[(0, usize::MAX), (1, usize::MAX), (2, usize::MAX)]) {
        let end = at[stream].saturating_add(len).min(wires[stream].len());
        ingests[stream].push(&mut log, now, &wires[stream][at[stream]..end]).expect("sound");
        at[stream] = end;
        cursor.select(now, &mut log, &mut sink);
    }
    for ingest in &mut ingests {
        ingest.finish(&mut log, now).expect("sound");
    }
    sink.unblock();
    let selected = cursor.select(now, &mut log, &mut sink);
    assert!(!selected.blocked && !selected.pending);
    assert_eq!(cursor.stats().objects, 9);
    assert_eq!(cursor.stats().dropped.total(), 0);
    assert_eq!(cursor.stats().bytes, sink.streams.values().map(|out| out.data.len() as u64).sum::<u64>());
    by_subgroup(&sink)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_cut_and_any_acceptance_give_the_same_streams(
        splits in prop::collection::vec((0..3_usize, prop_oneof![1..40_usize, 1..30_000_usize]), 0..60),
        accepts in prop::collection::vec(prop_oneof![0..5_usize, 0..2_000_usize, Just(usize::MAX)], 1..20),
        cut_through in any::<bool>(),
    ) {
        let mode = if cut_through { Forwarding::CutThrough } else { Forwarding::Whole };
        prop_assert_eq!(run(&splits, accepts, mode), expected());
    }
}

#[test]
fn every_single_byte_as_a_piece_of_its_own() {
    let small: Vec<(usize, usize)> = (0..400).map(|_| (0, 1)).chain((0..300).map(|_| (2, 1))).collect();
    for mode in [Forwarding::Whole, Forwarding::CutThrough] {
        assert_eq!(run(&small, vec![usize::MAX], mode), expected());
        assert_eq!(run(&small, vec![1], mode), expected());
    }
}

#[test]
fn cut_through_forwards_bytes_of_unfinished_objects_and_whole_does_not() {
    let (now, mut log) = (start(), log());
    let mut trunks =
        [Cursor::new(config(Forwarding::CutThrough), &log), Cursor::new(config(Forwarding::CutThrough), &log)];
    let mut viewer = viewer(&log);
    let (mut trunk_sinks, mut viewer_sink) = ([Sink::default(), Sink::default()], Sink::default());
    let writer = log.open_subgroup(now, SOURCE, &header(0, 0, whole_group())).expect("opens");
    log.begin_object(now, writer, &object(0, 1_000)).expect("begins");
    let body = payload(0, 0, 1_000);
    for part in body.chunks(300) {
        log.append(now, writer, part).expect("appends");
        let progress = log.take_progress();
        assert!(progress.partial);
        viewer.select(now, &mut log, &mut viewer_sink);
        for (cursor, sink) in trunks.iter_mut().zip(&mut trunk_sinks) {
            assert!(cursor.select(now, &mut log, sink).wrote > 0);
        }
        assert_eq!(viewer_sink.streams.is_empty(), !progress.whole);
    }
    log.finish(now, writer).expect("finishes");
    for (cursor, sink) in trunks.iter_mut().zip(&mut trunk_sinks).chain([(&mut viewer, &mut viewer_sink)]) {
        cursor.select(now, &mut log, sink);
        let received = sink.received();
        assert!(received[0].fin && received[0].objects[0].payload == body);
    }
}

#[test]
fn the_header_says_what_the_upstream_said() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let mut upstream = header(4, 3, whole_group());
    upstream.priority = Some(9);
    let writer = log.open_subgroup(now, SOURCE, &upstream).expect("opens");
    put(&mut log, now, writer, (4, 2), 10);
    cursor.select(now, &mut log, &mut sink);
    upstream.alias = ALIAS;
    assert_eq!(sink.received()[0].header, Some(upstream));
    assert_eq!(cursor.streams_opened(), 1);
}

#[test]
fn an_empty_subgroup_is_forwarded_as_one() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(4, 3, SubgroupFlags::NONE)).expect("opens");
    cursor.select(now, &mut log, &mut sink);
    assert!(sink.streams.is_empty());
    log.finish(now, writer).expect("finishes");
    cursor.select(now, &mut log, &mut sink);
    let received = sink.received();
    assert!(received[0].fin && received[0].objects.is_empty() && received[0].header.is_some());
}

#[test]
fn a_stream_limit_blocks_and_nothing_is_lost() {
    let (now, mut log, mut sink) = (start(), log(), Sink { stream_limit: 0, ..Sink::default() });
    let mut cursor = viewer(&log);
    put_group(&mut log, now, 1, 3);
    assert!(cursor.select(now, &mut log, &mut sink).blocked);
    sink.stream_limit = 10;
    assert!(!cursor.select(now, &mut log, &mut sink).blocked);
    assert_eq!(sink.locations(), [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn streams_get_priorities_in_the_order_of_the_draft() {
    for order in [GroupOrder::Ascending, GroupOrder::Descending] {
        let (now, mut log, mut sink) = (start(), log(), Sink::default());
        let mut cursor = Cursor::new(CursorConfig { order, ..config(Forwarding::Whole) }, &log);
        for (group, subgroup, priority) in [(1, 0, 128), (1, 1, 128), (2, 0, 128), (2, 1, 5)] {
            let mut header = header(group, subgroup, SubgroupFlags::FIRST_OBJECT);
            header.priority = Some(priority);
            let writer = log.open_subgroup(now, SOURCE, &header).expect("opens");
            put(&mut log, now, writer, (group, subgroup), 10);
        }
        cursor.select(now, &mut log, &mut sink);
        let mut streams: Vec<(i32, (u64, u64))> = sink
            .streams
            .values()
            .map(|out| {
                let header = Received::decode(out).header.expect("header");
                (-out.priority, (header.group, header.subgroup.resolve(0)))
            })
            .collect();
        streams.sort_unstable();
        let sent: Vec<(u64, u64)> = streams.into_iter().map(|(_, key)| key).collect();
        match order {
            GroupOrder::Ascending => assert_eq!(sent, [(2, 1), (1, 0), (1, 1), (2, 0)]),
            GroupOrder::Descending => assert_eq!(sent, [(2, 1), (2, 0), (1, 0), (1, 1)]),
        }
    }
}

#[test]
fn a_budget_ends_a_visit_and_the_next_one_goes_on() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(0, 0, whole_group())).expect("opens");
    for id in 0..60 {
        put(&mut log, now, writer, (0, id), 60_000);
    }
    let first = cursor.select(now, &mut log, &mut sink);
    assert!(first.pending && !first.blocked && first.wrote < 3_000_000);
    while cursor.select(now, &mut log, &mut sink).pending {}
    assert_eq!(sink.locations().len(), 60);
}

#[test]
fn readers_of_an_ended_track_finish() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    put_group(&mut log, now, 1, 2);
    log.end_track(now);
    assert!(log.take_progress().ended && !cursor.finished(now, &log));
    cursor.select(now, &mut log, &mut sink);
    assert!(cursor.finished(now, &log));
}

#[test]
fn an_end_of_track_object_ends_it_too() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(0, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut log, now, writer, (0, 0), 10);
    log.begin_object(now, writer, &status(1, ObjectStatus::EndOfTrack)).expect("begins");
    log.finish(now, writer).expect("finishes");
    cursor.select(now, &mut log, &mut sink);
    assert!(log.ended() && cursor.finished(now, &log));
    assert_eq!(sink.received()[0].objects[1].header.status, ObjectStatus::EndOfTrack);
}

#[test]
fn largest_follows_the_first_byte_and_join_points_are_whole_from_object_0() {
    let (now, mut log): (_, Log) = (start(), log());
    assert_eq!((log.largest(), log.newest_join_point()), (None, None));
    let writer = log.open_subgroup(now, SOURCE, &header(5, 0, whole_group())).expect("opens");
    assert_eq!(log.largest(), None);
    log.begin_object(now, writer, &object(0, 10)).expect("begins");
    assert_eq!(log.largest(), Some(sluice_moqt::Location::new(5, 0)));
    assert_eq!(log.newest_join_point(), Some(5));
    let late = log.open_subgroup(now, SOURCE, &header(6, 0, SubgroupFlags::NONE)).expect("opens");
    put(&mut log, now, late, (6, 3), 10);
    assert!(!log.is_join_point(6));
    assert_eq!(log.newest_join_point(), Some(5));
}
