//! Several sources of one track: the unit of splice is the byte.

use crate::support::{Ingest, Received, SOURCE, Sink, config, header, log, object, payload, start, whole_group, wire};
use sluice_moqt::data::SubgroupFlags;
use sluice_track::{Cursor, Forwarding, Malformed, SourceId, WriteError};

const OTHER: SourceId = SourceId(2);

fn streams() -> Vec<Vec<u8>> {
    let flags = [SubgroupFlags::FIRST_OBJECT, SubgroupFlags::FIRST_OBJECT, whole_group()];
    let stream = |(subgroup, flags): (u64, SubgroupFlags)| {
        let objects: Vec<_> = (0..3).map(|n| n * 3 + subgroup).map(|id| (object(id, 20), payload(2, id, 20))).collect();
        wire(&header(2, subgroup, flags), &objects)
    };
    (0..3).zip(flags).map(stream).collect()
}

/// All bytes in the order in which they arrive: the streams take turns, five bytes each.
fn interleaved(wires: &[Vec<u8>]) -> Vec<(usize, u8)> {
    let longest = wires.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).step_by(5);
    turns
        .flat_map(|at| {
            wires
                .iter()
                .enumerate()
                .flat_map(move |(stream, wire)| wire.iter().skip(at).take(5).map(move |byte| (stream, *byte)))
        })
        .collect()
}

fn expected() -> Vec<Received> {
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(config(Forwarding::CutThrough), &log);
    for wire in streams() {
        let mut ingest = Ingest::new(SOURCE);
        ingest.push(&mut log, now, &wire).expect("sound");
        ingest.finish(&mut log, now).expect("sound");
    }
    cursor.select(now, &mut log, &mut sink);
    sink.received()
}

#[test]
fn a_second_source_takes_over_at_any_byte_and_the_reader_cannot_tell() {
    let (wires, expected) = (streams(), expected());
    let bytes = interleaved(&wires);
    for cut in 0..=bytes.len() {
        let (now, mut log, mut sink) = (start(), log(), Sink::default());
        let mut cursor = Cursor::new(config(Forwarding::CutThrough), &log);
        let mut first: Vec<Ingest> = wires.iter().map(|_| Ingest::new(SOURCE)).collect();
        for (stream, byte) in &bytes[..cut] {
            first[*stream].push(&mut log, now, &[*byte]).expect("sound");
            cursor.select(now, &mut log, &mut sink);
        }
        log.remove_source(now, SOURCE);
        cursor.select(now, &mut log, &mut sink);
        for wire in &wires {
            let mut second = Ingest::new(OTHER);
            for piece in wire.chunks(7) {
                second.push(&mut log, now, piece).expect("sound");
                cursor.select(now, &mut log, &mut sink);
            }
            second.finish(&mut log, now).expect("sound");
        }
        cursor.select(now, &mut log, &mut sink);
        let mut received = sink.received();
        received.sort_by_key(|stream| stream.header.map(|header| header.subgroup.resolve(0)));
        assert_eq!(received, expected, "cut at byte {cut}");
    }
}

#[test]
fn two_live_sources_are_deduplicated() {
    let (wires, expected) = (streams(), expected());
    let (now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(config(Forwarding::CutThrough), &log);
    let mut sources: Vec<[Ingest; 2]> = wires.iter().map(|_| [Ingest::new(SOURCE), Ingest::new(OTHER)]).collect();
    let mut at = vec![[0, 0]; wires.len()];
    // Each source is ahead at times; every byte comes twice.
    for round in 0..200 {
        for (stream, wire) in wires.iter().enumerate() {
            for who in 0..2 {
                let len = if (round + who) % 3 == 0 { 9 } else { 1 };
                let (from, to) = (at[stream][who], (at[stream][who] + len).min(wire.len()));
                sources[stream][who].push(&mut log, now, &wire[from..to]).expect("sound");
                at[stream][who] = to;
                cursor.select(now, &mut log, &mut sink);
            }
        }
    }
    for ingest in sources.iter_mut().flatten() {
        ingest.finish(&mut log, now).expect("sound");
    }
    cursor.select(now, &mut log, &mut sink);
    let mut received = sink.received();
    received.sort_by_key(|stream| stream.header.map(|header| header.subgroup.resolve(0)));
    assert_eq!(received, expected);
    assert_eq!(cursor.stats().objects, 9);
}

#[test]
fn a_second_source_with_another_byte_makes_the_track_malformed() {
    let (now, mut log) = (start(), log());
    let wire = &streams()[0];
    Ingest::new(SOURCE).push(&mut log, now, wire).expect("sound");
    let mut forged = wire.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    let refused = Ingest::new(OTHER).push(&mut log, now, &forged);
    assert!(matches!(refused, Err(WriteError::Malformed(Malformed::Content { .. }))), "{refused:?}");
}

#[test]
fn what_nobody_completes_is_unknown_and_later_objects_get_a_stream_of_their_own() {
    let (mut now, mut log, mut sink) = (start(), log(), Sink::default());
    let mut cursor = Cursor::new(config(Forwarding::CutThrough), &log);
    let mut dying = Ingest::new(SOURCE);
    dying.push(&mut log, now, &streams()[0][..40]).expect("sound");
    cursor.select(now, &mut log, &mut sink);
    dying.reset(&mut log, now);
    let due = log.poll_timeout().expect("a half object waits");
    assert_eq!(due, now + log_fill());
    now = due;
    log.handle_timeout(now);
    assert!(log.take_progress().whole);
    // Object 3 was given up halfway; object 6 comes from a source that joined behind it.
    let mut second = Ingest::new(OTHER);
    let tail = wire(&header(2, 0, SubgroupFlags::NONE), &[(object(6, 20), payload(2, 6, 20))]);
    second.push(&mut log, now, &tail).expect("sound");
    second.finish(&mut log, now).expect("sound");
    cursor.select(now, &mut log, &mut sink);
    now += log_fill();
    cursor.select(now, &mut log, &mut sink);
    let received = sink.received();
    assert_eq!((received[0].ids(), received[0].fin), (vec![0], false));
    assert!(received[0].reset.is_some());
    assert_eq!((received[1].ids(), received[1].fin), (vec![6], true));
    assert!(!received[1].header.expect("header").flags.contains(SubgroupFlags::FIRST_OBJECT));
    assert!(cursor.stats().dropped.incomplete > 0);
}

fn log_fill() -> std::time::Duration {
    sluice_track::Limits::default().fill
}

#[test]
fn first_missing_says_where_to_resubscribe() {
    let (now, mut log) = (start(), log());
    let at = sluice_moqt::Location::new;
    let wires = streams();
    let mut ingest = Ingest::new(SOURCE);
    ingest.push(&mut log, now, &wires[0][..40]).expect("sound");
    assert_eq!(log.first_missing(at(0, 0)), None, "still being written");
    assert_eq!(log.first_unfinished(at(0, 0)), Some(at(2, 3)), "by a source that may go");
    ingest.reset(&mut log, now);
    assert_eq!(log.first_missing(at(0, 0)), Some(at(2, 3)));
    let mut again = Ingest::new(OTHER);
    again.push(&mut log, now, &wires[0]).expect("sound");
    again.finish(&mut log, now).expect("sound");
    assert_eq!(log.first_missing(at(0, 0)), None);
}
