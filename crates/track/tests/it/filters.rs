//! "A publisher MUST NOT send objects from outside the requested range" (draft-18 5.1.2).

use crate::support::{SOURCE, Sink, config, header, log, ms, put, put_group, start, whole_group};
use sluice_moqt::Location;
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::types::Filter;
use sluice_track::{Cursor, CursorConfig, Forwarding, Log, Range, RangeError};

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

/// Group 5 up to object 2 is held; then come its object 3 and group 6.
fn published_after(filter: Filter) -> Vec<(u64, u64)> {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    put_group(&mut log, now, 4, 2);
    let writer = log.open_subgroup(now, SOURCE, &header(5, 0, whole_group())).expect("opens");
    for id in 0..3 {
        put(&mut log, now, writer, (5, id), 10);
    }
    let range = Range::resolve(filter, log.largest());
    let mut cursor = Cursor::new(CursorConfig { range, ..config(Forwarding::Whole) }, &log);
    cursor.select(now, &mut log, &mut sink);
    put(&mut log, now, writer, (5, 3), 10);
    log.finish(now, writer).expect("finishes");
    put_group(&mut log, now, 6, 2);
    cursor.select(now, &mut log, &mut sink);
    assert!(sink.streams.values().all(|out| out.fin), "objects before the start do not keep a stream from its FIN");
    sink.locations()
}

#[test]
fn every_filter_passes_exactly_its_range() {
    assert_eq!(published_after(Filter::NextGroupStart), [(6, 0), (6, 1)]);
    assert_eq!(published_after(Filter::LargestObject), [(5, 3), (6, 0), (6, 1)]);
    let from = |group, object| Filter::AbsoluteStart { start: at(group, object) };
    assert_eq!(published_after(from(5, 1)), [(5, 1), (5, 2), (5, 3), (6, 0), (6, 1)]);
    assert_eq!(published_after(from(0, 0)).len(), 8);
    assert_eq!(published_after(from(7, 0)), []);
    let range = |start, end_group| Filter::AbsoluteRange { start, end_group };
    assert_eq!(published_after(range(at(4, 1), 5)), [(4, 1), (5, 0), (5, 1), (5, 2), (5, 3)]);
    assert_eq!(published_after(range(at(5, 2), 5)), [(5, 2), (5, 3)]);
}

#[test]
fn relative_filters_on_an_empty_track_start_at_the_beginning() {
    assert_eq!(Range::resolve(Filter::LargestObject, None), Range::ALL);
    assert_eq!(Range::resolve(Filter::NextGroupStart, None), Range::ALL);
    assert_eq!(Range::resolve(Filter::LargestObject, Some(at(3, u64::MAX))).start, at(4, 0));
}

#[test]
fn a_stream_that_starts_in_the_middle_says_so() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let writer = log.open_subgroup(now, SOURCE, &header(5, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (5, 0), 10);
    let range = Range::resolve(Filter::LargestObject, log.largest());
    let mut cursor = Cursor::new(CursorConfig { range, ..config(Forwarding::Whole) }, &log);
    put(&mut log, now, writer, (5, 300), 10);
    put(&mut log, now, writer, (5, 301), 10);
    cursor.select(now, &mut log, &mut sink);
    let received = &sink.received()[0];
    assert_eq!(received.ids(), [300, 301]);
    assert!(!received.header.expect("header").flags.contains(SubgroupFlags::FIRST_OBJECT));
}

#[test]
fn a_filter_with_an_end_finishes() {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let range = Range { start: at(0, 0), end_group: Some(1) };
    let mut complete = Cursor::new(CursorConfig { range, ..config(Forwarding::Whole) }, &log);
    put_group(&mut log, now, 1, 2);
    complete.select(now, &mut log, &mut sink);
    assert!(complete.finished(now, &log), "the whole end group was sent");

    let mut open: Log = crate::support::log();
    let mut settling = Cursor::new(CursorConfig { range, ..config(Forwarding::Whole) }, &open);
    let writer = open.open_subgroup(now, SOURCE, &header(1, 0, SubgroupFlags::FIRST_OBJECT)).expect("opens");
    put(&mut open, now, writer, (1, 0), 10);
    open.finish(now, writer).expect("finishes");
    settling.select(now, &mut open, &mut sink);
    assert!(!settling.finished(now, &open), "more subgroups may come");
    put_group(&mut open, now + ms(10), 2, 1);
    settling.select(now + ms(10), &mut open, &mut sink);
    let due = settling.poll_timeout().expect("it settles");
    assert!(!settling.finished(now + ms(10), &open));
    settling.select(due, &mut open, &mut sink);
    assert!(settling.finished(due, &open));
}

#[test]
fn a_range_that_was_published_entirely_is_invalid() {
    let (now, mut log) = (start(), log());
    let range = |end_group| Range { start: at(0, 0), end_group: Some(end_group) };
    assert_eq!(log.check_range(range(3)), Ok(()));
    put_group(&mut log, now, 3, 2);
    assert_eq!(log.check_range(range(2)), Err(RangeError::Published { end_group: 2 }));
    assert_eq!(log.check_range(range(3)), Err(RangeError::Published { end_group: 3 }));
    assert_eq!(log.check_range(range(4)), Ok(()));
    assert_eq!(log.check_range(Range::ALL), Ok(()));
}
