//! Every limit, hit.

use crate::support::{SOURCE, header, object, payload, put, put_group, start, viewer, whole_group};
use bytes::Bytes;
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::transport::{DatagramError, Dir, SinkError, StreamId, StreamSink};
use sluice_track::{Keep, Limit, Limits, Log, WriteError};

fn refused<T: std::fmt::Debug>(result: Result<T, WriteError>) -> Limit {
    match result {
        Err(WriteError::Limit(limit)) => limit,
        other => panic!("{other:?} is no limit"),
    }
}

#[test]
fn bytes_evict_the_oldest_groups() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let (now, mut log) = (start(), Log::new(limits, 128));
    for group in 0..50 {
        let writer = log.open_subgroup(now, SOURCE, &header(group, 0, whole_group())).expect("opens");
        for id in 0..5 {
            put(&mut log, now, writer, (group, id), 20_000);
        }
        log.finish(now, writer).expect("finishes");
        assert!(log.bytes_held() <= limits.bytes, "{} bytes held", log.bytes_held());
    }
    let oldest = log.oldest_group().expect("groups");
    assert_eq!(log.groups_evicted(), oldest);
    // 100 kB of payload a group in 64-KiB blocks: a quarter of the arena at most is lost to unused ends of blocks.
    assert!((50 - oldest) * 100_000 > 700_000, "{} groups held", 50 - oldest);
}

#[test]
fn a_group_that_is_too_large_alone_is_refused() {
    let limits = Limits { bytes: 100_000, ..Limits::default() };
    let (now, mut log) = (start(), Log::new(limits, 128));
    let writer = log.open_subgroup(now, SOURCE, &header(0, 0, whole_group())).expect("opens");
    log.begin_object(now, writer, &object(0, 200_000)).expect("begins");
    let body = payload(0, 0, 200_000);
    let error = body.chunks(1_000).find_map(|part| log.append(now, writer, part).err()).expect("refused");
    assert_eq!(error, WriteError::Limit(Limit::Bytes(100_000)));
    assert_eq!(log.append(now, writer, b"more"), Ok(()), "the writer is closed");
}

#[test]
fn a_declared_length_alone_takes_no_more_than_one_piece() {
    let (now, mut log) = (start(), Log::new(Limits::default(), 128));
    let writer = log.open_subgroup(now, SOURCE, &header(0, 0, whole_group())).expect("opens");
    log.begin_object(now, writer, &object(0, 8 << 20)).expect("begins");
    assert!(log.bytes_held() <= 64 << 10);
}

#[test]
fn groups_are_evicted_and_stay_so() {
    let limits = Limits { groups: 3, ..Limits::default() };
    let (now, mut log) = (start(), Log::new(limits, 128));
    for group in 1..=5 {
        put_group(&mut log, now, group, 1);
    }
    assert_eq!((log.oldest_group(), log.groups_evicted()), (Some(3), 2));
    let held = log.bytes_held();
    put_group(&mut log, now, 1, 1);
    assert_eq!((log.oldest_group(), log.bytes_held()), (Some(3), held));
}

#[test]
fn a_writer_of_an_evicted_group_writes_nowhere() {
    let limits = Limits { groups: 1, ..Limits::default() };
    let (now, mut log) = (start(), Log::new(limits, 128));
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    log.begin_object(now, writer, &object(0, 10)).expect("begins");
    put_group(&mut log, now, 2, 1);
    log.append(now, writer, &payload(1, 0, 10)).expect("ignored");
    put(&mut log, now, writer, (1, 1), 10);
    log.finish(now, writer).expect("ignored");
    assert_eq!(log.oldest_group(), Some(2));
}

#[test]
fn object_bytes_subgroups_objects_and_writers_are_refused() {
    let limits = Limits { object_bytes: 1_000, subgroups_per_group: 2, objects_per_group: 3, ..Limits::default() };
    let (now, mut log) = (start(), Log::new(limits, 128));
    let open = |log: &mut Log, subgroup| log.open_subgroup(now, SOURCE, &header(0, subgroup, SubgroupFlags::NONE));
    let large = open(&mut log, 0).expect("opens");
    assert_eq!(refused(log.begin_object(now, large, &object(0, 1_001))), Limit::ObjectBytes(1_000));
    open(&mut log, 1).expect("opens");
    assert_eq!(refused(open(&mut log, 2)), Limit::Subgroups(2));
    let writer = open(&mut log, 0).expect("opens");
    for id in 0..3 {
        put(&mut log, now, writer, (0, id), 1);
    }
    assert_eq!(refused(log.begin_object(now, writer, &object(3, 1))), Limit::Objects(3));
    let writer = open(&mut log, 0).expect("opens");
    assert_eq!(refused(log.begin_object(now, writer, &object(u64::MAX, 1))), Limit::ObjectId);
    let limit = std::iter::repeat_with(|| open(&mut log, 0)).take(5_000).find_map(Result::err).expect("refused");
    assert_eq!(limit, WriteError::Limit(Limit::Writers(4_096)));
}

#[test]
fn trimming_keeps_the_newest_whole_group_or_what_can_be_joined() {
    let (now, mut log) = (start(), Log::new(Limits::default(), 128));
    for group in 1..=5 {
        put_group(&mut log, now, group, 3);
    }
    let writer = log.open_subgroup(now, SOURCE, &header(6, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (6, 0), 100);
    log.trim(Keep::WholeGroup);
    assert_eq!((log.oldest_group(), log.groups_evicted()), (Some(5), 4));
    log.trim(Keep::JoinPoint);
    assert_eq!(log.oldest_group(), Some(6));
    log.trim(Keep::JoinPoint);
    put(&mut log, now, writer, (6, 1), 100);
    assert_eq!((log.oldest_group(), log.bytes_retained()), (Some(6), 0));
}

#[test]
fn what_a_transport_holds_of_an_evicted_group_is_counted_until_it_lets_go() {
    let (now, mut log) = (start(), Log::new(Limits { groups: 1, ..Limits::default() }, 128));
    let (mut cursor, mut sink) = (viewer(&log), Hoard::default());
    let writer = log.open_subgroup(now, SOURCE, &header(1, 0, whole_group())).expect("opens");
    put(&mut log, now, writer, (1, 0), 60_000);
    cursor.select(now, &mut log, &mut sink);
    assert!(!sink.0.is_empty());
    put_group(&mut log, now, 2, 1);
    assert!(log.bytes_retained() >= 60_000, "{} bytes retained", log.bytes_retained());
    sink.0.clear();
    log.settle_memory();
    assert_eq!(log.bytes_retained(), 0);
}

/// A transport that takes everything and gets no acknowledgement.
#[derive(Debug, Default)]
struct Hoard(Vec<Bytes>);

impl StreamSink for Hoard {
    fn open(&mut self, _: Dir) -> Option<StreamId> {
        Some(StreamId(2))
    }

    fn write(&mut self, _: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let taken = chunks.iter().map(Bytes::len).sum();
        self.0.extend(chunks.iter_mut().map(std::mem::take));
        Ok(taken)
    }

    fn finish(&mut self, _: StreamId) {}

    fn reset(&mut self, _: StreamId, _: u64) {}

    fn stop(&mut self, _: StreamId, _: u64) {}

    fn set_priority(&mut self, _: StreamId, _: i32) {}

    fn send_datagram(&mut self, _: Bytes) -> Result<(), DatagramError> {
        Err(DatagramError::Unsupported)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        None
    }
}
