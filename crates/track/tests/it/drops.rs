//! Every reason for which a reader does not get an object.

use crate::support::{SOURCE, Sink, config, header, log, ms, object, put, put_group, start, viewer, whole_group};
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::error::ResetCode;
use sluice_moqt::message::Timeouts;
use sluice_moqt::transport::StreamId;
use sluice_track::{Cursor, CursorConfig, CursorUpdate, Dropped, Forward, Forwarding, Limits, Log, Range};

fn with_timeouts(object: Option<u64>, subgroup: Option<u64>) -> CursorConfig {
    let timeouts = Timeouts { object: object.map(ms), subgroup: subgroup.map(ms) };
    CursorConfig { timeouts, ..config(Forwarding::Whole) }
}

#[test]
fn object_delivery_timeout_must_reset_the_stream_and_not_open_another() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(with_timeouts(Some(500), None), &log);
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (1, 0), 100);
    cursor.select(now, &mut log, &mut sink);
    sink.block();
    put(&mut log, now + ms(100), writer, (1, 1), 100);
    assert!(cursor.select(now + ms(100), &mut log, &mut sink).blocked);
    let due = cursor.poll_timeout().expect("a deadline");
    assert!(due > now + ms(600) && due < now + ms(601), "elapsed time has to exceed the timeout");
    cursor.select(now + ms(600), &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, None);
    cursor.select(due, &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::DeliveryTimeout.code()));
    sink.unblock();
    put(&mut log, due, writer, (1, 2), 100);
    cursor.select(due, &mut log, &mut sink);
    assert_eq!(sink.streams.len(), 1);
    assert_eq!(cursor.stats().dropped, Dropped { timeout: 1, ..Dropped::default() });
    assert_eq!(cursor.stats().groups_skipped, 1);
    put_group(&mut log, due, 2, 3);
    cursor.select(due, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(1, 0), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn a_blocked_reader_skips_by_age_where_no_timeout_is_given() {
    let (now, mut log) = (start(), log());
    let aged = CursorConfig { max_lag_age: Some(ms(500)), max_lag_groups: 10, ..config(Forwarding::Whole) };
    let timed = CursorConfig { max_lag_age: Some(ms(500)), max_lag_groups: 10, ..with_timeouts(Some(5000), None) };
    let mut readers = [aged, timed].map(|config| (Cursor::new(config, &log), Sink::default()));
    put_group(&mut log, now, 1, 3);
    for (cursor, sink) in &mut readers {
        sink.block();
        assert!(cursor.select(now, &mut log, sink).blocked);
    }
    put_group(&mut log, now + ms(400), 2, 1);
    put_group(&mut log, now + ms(600), 3, 1);
    for (cursor, sink) in &mut readers {
        cursor.select(now + ms(600), &mut log, sink);
        sink.unblock();
        cursor.select(now + ms(600), &mut log, sink);
    }
    let [(aged, skipped), (_, patient)] = &readers;
    assert_eq!((skipped.locations(), aged.stats().dropped.lag), (vec![(3, 0)], 4));
    assert_eq!(patient.locations().len(), 5);
}

/// The transport's buffer is lag as well: at 120 kbit/s its 64 KiB are four seconds of it.
#[test]
fn a_skip_takes_back_what_the_transport_still_holds_of_old_groups() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    for group in 1..=2 {
        put_group(&mut log, now, group, 2);
    }
    cursor.select(now, &mut log, &mut sink);
    let first = *sink.streams.keys().next().expect("a stream");
    cursor.handle_stream_closed(first);
    sink.block();
    put_group(&mut log, now, 3, 2);
    assert!(cursor.select(now, &mut log, &mut sink).blocked);
    for group in 4..=5 {
        put_group(&mut log, now, group, 2);
    }
    sink.unblock();
    cursor.select(now, &mut log, &mut sink);
    let skipped = Some(ResetCode::DeliveryTimeout.code());
    let resets: Vec<Option<u64>> = sink.received().iter().map(|stream| stream.reset).collect();
    assert_eq!(resets, [None, skipped, skipped, None], "1 has arrived, 2 and 3 are too old, 5 is the newest");
    assert_eq!(sink.locations(), [(1, 0), (1, 1), (2, 0), (2, 1), (5, 0), (5, 1)]);
}

#[test]
fn half_an_object_times_out_too() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(with_timeouts(Some(500), None), &log);
    put_group(&mut log, now, 1, 1);
    let mut room = 50;
    sink.accept = Box::new(move |offered| {
        let taken = offered.min(room);
        room -= taken;
        taken
    });
    assert!(cursor.select(now, &mut log, &mut sink).blocked);
    cursor.select(now + ms(501), &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::DeliveryTimeout.code()));
    assert_eq!(cursor.stats().dropped.timeout, 1);
}

#[test]
fn subgroup_delivery_timeout_must_reset_a_stream_that_is_not_acknowledged() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(with_timeouts(None, Some(300)), &log);
    put_group(&mut log, now, 1, 2);
    put_group(&mut log, now, 2, 2);
    cursor.select(now, &mut log, &mut sink);
    let streams: Vec<StreamId> = sink.streams.keys().copied().collect();
    assert!(sink.streams.values().all(|out| out.fin));
    assert_eq!(cursor.poll_timeout(), Some(now + ms(300)));
    cursor.handle_stream_closed(streams[0]);
    cursor.select(now + ms(300), &mut log, &mut sink);
    assert_eq!(sink.streams[&streams[0]].reset, None);
    assert_eq!(sink.streams[&streams[1]].reset, Some(ResetCode::DeliveryTimeout.code()));
    assert_eq!(cursor.poll_timeout(), None);
}

#[test]
fn subgroup_delivery_timeout_also_ends_what_was_not_sent_yet() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(with_timeouts(None, Some(300)), &log);
    sink.block();
    put_group(&mut log, now, 1, 2);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(cursor.poll_timeout(), Some(now + ms(300)));
    cursor.select(now + ms(300), &mut log, &mut sink);
    assert_eq!(cursor.stats().dropped.timeout, 2);
}

#[test]
fn a_blocked_reader_skips_to_the_newest_join_point_when_it_lags_more_than_allowed() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    put_group(&mut log, now, 1, 4);
    sink.block();
    cursor.select(now, &mut log, &mut sink);
    put_group(&mut log, now, 2, 4);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(cursor.stats().dropped.lag, 0, "one group behind is allowed");
    put_group(&mut log, now, 3, 4);
    sink.unblock();
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(3, 0), (3, 1), (3, 2), (3, 3)]);
    assert_eq!((cursor.stats().dropped.lag, cursor.stats().groups_skipped), (8, 2));
    let resets: Vec<_> = sink.streams.values().filter_map(|out| out.reset).collect();
    assert!(resets.iter().all(|code| *code == ResetCode::DeliveryTimeout.code()) && !resets.is_empty());
}

#[test]
fn a_burst_is_no_lag_for_a_reader_that_is_not_blocked() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    for group in 1..=5 {
        put_group(&mut log, now, group, 1);
    }
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(cursor.stats().dropped.total(), 0);
}

#[test]
fn evicted_groups_are_counted_and_their_streams_reset() {
    let limits = Limits { groups: 2, ..Limits::default() };
    let (now, mut log, mut sink) = (start(), Log::new(limits, 128), Sink::default());
    let mut cursor = Cursor::new(CursorConfig { max_lag_groups: 10, ..config(Forwarding::Whole) }, &log);
    put_group(&mut log, now, 1, 2);
    sink.accept = Box::new(|offered| offered.min(3));
    cursor.select(now, &mut log, &mut sink);
    put_group(&mut log, now, 2, 2);
    put_group(&mut log, now, 3, 2);
    sink.unblock();
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::TooFarBehind.code()));
    assert_eq!(sink.locations(), [(2, 0), (2, 1), (3, 0), (3, 1)]);
    assert_eq!((log.groups_evicted(), cursor.stats().groups_skipped), (1, 1));
}

#[test]
fn max_cache_duration_must_keep_old_objects_from_being_started() {
    let limits = Limits { age: Some(ms(1_000)), ..Limits::default() };
    let (now, mut log, mut sink) = (start(), Log::new(limits, 128), Sink::default());
    let mut cursor = viewer(&log);
    sink.stream_limit = 0;
    put_group(&mut log, now, 1, 2);
    cursor.select(now, &mut log, &mut sink);
    sink.stream_limit = 9;
    cursor.select(now + ms(1_001), &mut log, &mut sink);
    assert!(sink.locations().is_empty());
    assert_eq!(cursor.stats().dropped.evicted, 2);
    assert_eq!(log.poll_timeout(), Some(now + ms(1_000)));
    log.handle_timeout(now + ms(1_000));
    assert_eq!((log.oldest_group(), log.poll_timeout()), (None, None));
}

#[test]
fn the_newest_group_outlives_the_window() {
    let limits = Limits { window: Some(ms(1_000)), ..Limits::default() };
    let (now, mut log, mut sink) = (start(), Log::new(limits, 128), Sink::default());
    put_group(&mut log, now, 1, 2);
    assert_eq!(log.poll_timeout(), None, "nothing is to be evicted");
    log.handle_timeout(now + ms(5_000));
    let mut late = viewer(&log);
    late.select(now + ms(5_000), &mut log, &mut sink);
    assert_eq!(sink.locations(), [(1, 0), (1, 1)], "a catalog is there for whoever joins");
    put_group(&mut log, now + ms(6_000), 2, 1);
    assert_eq!(log.poll_timeout(), Some(now + ms(1_000)));
    log.handle_timeout(now + ms(6_000));
    assert_eq!((log.oldest_group(), log.poll_timeout()), (Some(2), None));
}

#[test]
fn a_stopped_stream_is_reset_and_its_subgroup_left_out() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (1, 0), 10);
    cursor.select(now, &mut log, &mut sink);
    let stream = *sink.streams.keys().next().expect("a stream");
    cursor.handle_stopped(stream);
    put(&mut log, now, writer, (1, 1), 10);
    cursor.select(now, &mut log, &mut sink);
    put(&mut log, now, writer, (1, 2), 10);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.streams[&stream].reset, Some(ResetCode::Cancelled.code()));
    assert_eq!((sink.streams.len(), cursor.stats().dropped.stopped), (1, 1));
}

#[test]
fn a_stop_that_the_sink_reports_first_does_the_same() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (1, 0), 10);
    cursor.select(now, &mut log, &mut sink);
    sink.streams.values_mut().for_each(|out| out.stopped = Some(1));
    put(&mut log, now, writer, (1, 1), 10);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::Cancelled.code()));
    assert_eq!(cursor.stats().dropped.stopped, 1);
}

#[test]
fn a_subgroup_that_nobody_writes_any_more_is_reset_and_goes_on_when_taken_up() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (1, 0), 10);
    log.reset(now, writer);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, None, "another source has the fill timeout to take it up");
    let due = log.poll_timeout().expect("a wait");
    log.handle_timeout(due);
    cursor.select(due, &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::DeliveryTimeout.code()));
    assert!(!cursor.finished(due, &log));
    let writer = log.open_subgroup(due, SOURCE, &header(1, 0, SubgroupFlags::NONE)).expect("opens");
    put(&mut log, due, writer, (1, 1), 10);
    log.finish(due, writer).expect("finishes");
    cursor.select(due, &mut log, &mut sink);
    let received = sink.received();
    assert_eq!((received[1].ids(), received[1].fin), (vec![1], true));
    assert!(!received[1].header.expect("header").flags.contains(SubgroupFlags::FIRST_OBJECT));
}

#[test]
fn forward_0_resets_and_forward_1_goes_on_after_the_largest() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (1, 0), 10);
    cursor.select(now, &mut log, &mut sink);
    cursor.update(&log, CursorUpdate { forward: Some(Forward::Off), ..CursorUpdate::default() });
    put(&mut log, now, writer, (1, 1), 10);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::Cancelled.code()));
    cursor.update(&log, CursorUpdate { forward: Some(Forward::On), ..CursorUpdate::default() });
    put(&mut log, now, writer, (1, 2), 10);
    log.finish(now, writer).expect("finishes");
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(1, 0), (1, 2)]);
    assert!(sink.received()[1].fin);
}

#[test]
fn a_narrower_range_resets_what_falls_out_of_it() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writers = [1, 2].map(|group| log.open_subgroup(now, SOURCE, &header(group, 0, whole_group())).expect("opens"));
    put(&mut log, now, writers[0], (1, 0), 10);
    put(&mut log, now, writers[1], (2, 0), 10);
    cursor.select(now, &mut log, &mut sink);
    let range = Range { end_group: Some(1), ..Range::ALL };
    cursor.update(&log, CursorUpdate { range: Some(range), priority: Some(3), ..CursorUpdate::default() });
    put(&mut log, now, writers[0], (1, 1), 10);
    put(&mut log, now, writers[1], (2, 1), 10);
    let before = sink.streams.values().next().expect("a stream").priority;
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(1, 0), (1, 1), (2, 0)]);
    assert_eq!(sink.received()[1].reset, Some(ResetCode::Cancelled.code()));
    assert!(sink.streams.values().next().expect("a stream").priority > before);
}

#[test]
fn closing_resets_every_stream() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    log.begin_object(now, writer, &object(0, 0)).expect("begins");
    cursor.select(now, &mut log, &mut sink);
    cursor.close(&mut sink, ResetCode::MalformedTrack);
    assert_eq!(sink.received()[0].reset, Some(ResetCode::MalformedTrack.code()));
}

#[test]
fn a_reader_that_missed_too_many_births_goes_on_behind_what_it_knew_and_repeats_nothing() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = viewer(&log);
    put_group(&mut log, now, 1, 2);
    cursor.select(now, &mut log, &mut sink);
    for group in 1..=11 {
        for subgroup in 1..=100 {
            let header = header(group, subgroup, SubgroupFlags::FIRST_OBJECT);
            let writer = log.open_subgroup(now, SOURCE, &header).expect("opens");
            log.reset(now, writer);
        }
    }
    put_group(&mut log, now, 12, 2);
    cursor.select(now, &mut log, &mut sink);
    assert_eq!(sink.locations(), [(1, 0), (1, 1), (12, 0), (12, 1)]);
}
