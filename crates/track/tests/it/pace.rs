//! Readers whose path carries only part of the track.

use crate::support::{SOURCE, Sink, header, log, ms, put, start, viewer, whole_group};
use sluice_moqt::transport::StreamId;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

const STEP_MS: u64 = 40;
const FRAMES: u64 = 25;
const FRAME: usize = 1_000;
const GROUPS: u64 = 60;
/// What the transport holds at most.
const BUFFER: usize = 16 << 10;

/// Percent of the groups that arrive whole where the path carries `percent` of a live track.
fn whole_groups(percent: usize) -> usize {
    let (mut log, mut sink, mut now) = (log(), Sink::default(), start());
    let mut cursor = viewer(&log);
    let room = Rc::new(Cell::new(BUFFER));
    let free = room.clone();
    sink.accept = Box::new(move |offered| {
        let taken = offered.min(free.get());
        free.set(free.get() - taken);
        taken
    });
    let mut delivered: BTreeMap<StreamId, usize> = BTreeMap::new();
    for group in 0..GROUPS {
        let writer = log.open_subgroup(now, SOURCE, &header(group, 0, whole_group())).expect("opens");
        for frame in 0..FRAMES {
            now += ms(STEP_MS);
            put(&mut log, now, writer, (group, frame), FRAME);
            if frame + 1 == FRAMES {
                log.finish(now, writer).expect("finishes");
            }
            cursor.select(now, &mut log, &mut sink);
            let mut budget = FRAME * percent / 100;
            let mut held = 0;
            for (id, stream) in sink.streams.iter().filter(|(_, stream)| stream.reset.is_none()) {
                let done = delivered.entry(*id).or_default();
                let sent = budget.min(stream.data.len() - *done);
                *done += sent;
                budget -= sent;
                held += stream.data.len() - *done;
                if stream.fin && *done == stream.data.len() {
                    cursor.handle_stream_closed(*id);
                }
            }
            room.set(BUFFER.saturating_sub(held));
        }
    }
    let arrived = |(id, stream): &(&StreamId, &crate::support::Out)| {
        stream.fin && stream.reset.is_none() && delivered.get(*id) == Some(&stream.data.len())
    };
    sink.streams.iter().filter(arrived).count() * 100 / usize::try_from(GROUPS).expect("few")
}

/// Without a rule for it, half a path gave a quarter of the groups: each second one was given up just before its end.
#[test]
fn a_slow_path_is_used_for_groups_that_arrive_whole() {
    let seen = [35, 49, 60, 80, 95].map(|percent| (percent, whole_groups(percent)));
    assert!(seen.iter().all(|(percent, whole)| whole * 10 >= percent * 9), "{seen:?}");
}
