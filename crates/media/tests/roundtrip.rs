//! From a file to objects and back: nothing lost, order and time kept.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use sluice_media::fmp4::{Demuxer, Limits, Muxer};
use sluice_media::{
    Broadcast, ContainerKind, Event, Frame, Interleaver, Looper, Object, Options, Packager, Received, TrackInfo,
    Unpackager, stamp_micros, testpattern,
};
use std::time::{Duration, Instant};

const ALL: [ContainerKind; 3] = [ContainerKind::Cmaf, ContainerKind::Legacy, ContainerKind::Loc];

fn demux(bytes: &[u8]) -> (Vec<TrackInfo>, Vec<Frame>) {
    let mut demuxer = Demuxer::new(Limits::default());
    demuxer.push(bytes).unwrap();
    demuxer.finish().unwrap();
    let tracks = demuxer.tracks().unwrap().to_vec();
    let mut merger = Interleaver::new(&tracks, Duration::from_secs(60));
    std::iter::from_fn(|| demuxer.poll_frame()).for_each(|frame| merger.push(frame));
    merger.finish();
    let frames = std::iter::from_fn(|| merger.poll_frame()).collect();
    (tracks, frames)
}

fn package(tracks: &[TrackInfo], frames: &[Frame], container: ContainerKind) -> (Broadcast, Vec<Event>) {
    let mut packager = Packager::new(tracks, Options { first_group: 1000, container }).unwrap();
    for frame in frames {
        packager.push(frame.clone(), None).unwrap();
    }
    packager.finish();
    let broadcast = Broadcast::from_msf(packager.broadcast().to_msf().as_bytes()).unwrap();
    (broadcast, std::iter::from_fn(|| packager.poll_event()).collect())
}

/// A pure crate's tests have no other instant to start from.
#[expect(clippy::disallowed_methods, reason = "a base for differences")]
fn start() -> Instant {
    Instant::now()
}

fn received(object: Object, start: Instant) -> Received {
    let arrived = start + object.decode_time;
    let Object { track, group, object, properties, payload, .. } = object;
    Received { track, group, object, properties, payload, arrived }
}

fn unpack(broadcast: &Broadcast, events: impl IntoIterator<Item = Event>) -> (Vec<TrackInfo>, Vec<Frame>) {
    let mut unpackager = Unpackager::new(broadcast).unwrap();
    let start = start();
    for event in events {
        match event {
            Event::Object(object) => unpackager.push(received(object, start)).unwrap(),
            Event::EndOfGroup { track, group, .. } => unpackager.end_group(track, group).unwrap(),
        }
    }
    unpackager.finish().unwrap();
    let tracks = unpackager.tracks().unwrap().to_vec();
    (tracks, std::iter::from_fn(|| unpackager.poll_frame()).collect())
}

fn mux(tracks: &[TrackInfo], frames: &[Frame]) -> Vec<u8> {
    let mut muxer = Muxer::new(tracks).unwrap();
    frames.iter().for_each(|frame| muxer.push(frame.clone()).unwrap());
    muxer.finish().unwrap();
    std::iter::from_fn(|| muxer.poll_bytes()).flatten().collect()
}

/// Track, decode and presentation time in microseconds, keyframe, bytes: what a container without durations keeps.
fn essence(tracks: &[TrackInfo], frames: &[Frame]) -> Vec<(usize, i64, i64, bool, usize)> {
    let micros = |f: &Frame, ticks: i64| {
        let scale = i64::from(tracks[f.track].timescale);
        (ticks * 1_000_000 + scale / 2) / scale
    };
    frames.iter().map(|f| (f.track, micros(f, f.dts), micros(f, f.pts), f.keyframe, f.data.len())).collect()
}

fn objects(events: &[Event]) -> impl Iterator<Item = &Object> {
    events.iter().filter_map(|event| match event {
        Event::Object(object) => Some(object),
        Event::EndOfGroup { .. } => None,
    })
}

#[test]
fn every_container_brings_the_frames_back() {
    let (tracks, frames) = demux(&testpattern());
    for container in ALL {
        let (broadcast, events) = package(&tracks, &frames, container);
        let (read_tracks, read_frames) = unpack(&broadcast, events);
        assert_eq!(essence(&read_tracks, &read_frames), essence(&tracks, &frames), "{container:?}");
        let (again_tracks, again_frames) = demux(&mux(&read_tracks, &read_frames));
        assert_eq!(essence(&again_tracks, &again_frames), essence(&tracks, &frames), "{container:?}");
        assert!(again_frames.iter().zip(&frames).all(|(a, b)| a.data == b.data));
    }
}

/// Presentation times of one track in seconds.
fn seconds(tracks: &[TrackInfo], frames: &[Frame], track: usize) -> Vec<f64> {
    frames.iter().filter(|f| f.track == track).map(|f| f.pts as f64 / f64::from(tracks[track].timescale)).collect()
}

#[test]
fn the_output_goes_on_with_a_publisher_that_was_killed_and_started_again() {
    const PAUSE: Duration = Duration::from_secs(3);
    let (tracks, frames) = demux(&testpattern());
    for (container, first_group) in ALL.into_iter().zip([500_000, 1010, 3]) {
        let (broadcast, events) = package(&tracks, &frames, container);
        let mut again = Packager::new(&tracks, Options { first_group, container }).unwrap();
        frames.iter().for_each(|frame| again.push(frame.clone(), None).unwrap());
        again.finish();

        let mut unpackager = Unpackager::new(&broadcast).unwrap();
        let start = start();
        // Killed in the middle of its fourth group: nothing says that this one has ended.
        let killed = events.into_iter().take(3 * (24 + 45 + 2) + 30);
        let mut last = Duration::ZERO;
        for event in killed {
            match event {
                Event::Object(object) => {
                    last = last.max(object.decode_time);
                    unpackager.push(received(object, start)).unwrap();
                }
                Event::EndOfGroup { track, group, .. } => unpackager.end_group(track, group).unwrap(),
            }
        }
        if first_group < 1000 {
            (0..tracks.len()).for_each(|track| unpackager.restart(track).unwrap());
        }
        while let Some(event) = again.poll_event() {
            match event {
                Event::Object(object) => unpackager.push(received(object, start + last + PAUSE)).unwrap(),
                Event::EndOfGroup { track, group, .. } => unpackager.end_group(track, group).unwrap(),
            }
        }
        unpackager.finish().unwrap();
        assert_eq!((unpackager.takeovers(), unpackager.lost_groups() <= 2), (1, true), "{container:?}");
        let read: Vec<Frame> = std::iter::from_fn(|| unpackager.poll_frame()).collect();
        let read_tracks = unpackager.tracks().unwrap().to_vec();
        for track in 0..tracks.len() {
            let whole = frames.iter().filter(|f| f.track == track).count();
            let mut times = seconds(&read_tracks, &read, track);
            assert!(times.len() > whole + whole / 2, "{container:?}: {} of track {track}", times.len());
            // What began last is the second publisher's, every frame of it.
            let second = times.split_off(times.len() - whole);
            let reached = times.iter().copied().fold(0.0, f64::max);
            let pause = second.iter().copied().fold(f64::MAX, f64::min) - reached;
            assert!((2.9..3.2).contains(&pause), "{container:?}: track {track} pauses for {pause} s");
        }
        demux(&mux(&read_tracks, &read));
    }
}

#[test]
fn groups_run_from_keyframe_to_keyframe_and_sound_follows() {
    let (tracks, frames) = demux(&testpattern());
    let (_, events) = package(&tracks, &frames, ContainerKind::Cmaf);
    for track in [0, 1] {
        let groups: Vec<_> = objects(&events).filter(|o| o.track == track && o.object == 0).map(|o| o.group).collect();
        assert_eq!(groups, [1000, 1001, 1002, 1003, 1004]);
        let ends: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::EndOfGroup { track: t, objects, .. } if *t == track => Some(*objects),
                Event::EndOfGroup { .. } | Event::Object(_) => None,
            })
            .collect();
        assert_eq!(ends, if track == 0 { [24; 5] } else { [45; 5] });
    }
    assert!(objects(&events).all(|o| o.properties.is_empty()));
    let last = objects(&events).last().unwrap();
    assert!(last.decode_time > Duration::from_millis(4750) && last.decode_time < Duration::from_millis(4800));
}

#[test]
fn a_looped_file_goes_on_in_time_and_group_ids() {
    let (tracks, frames) = demux(&testpattern());
    let mut looper = Looper::new(&tracks);
    let mut long = Vec::new();
    for _ in 0..3 {
        long.extend(frames.iter().map(|f| looper.push(f.clone())));
        looper.restart();
    }
    let (broadcast, events) = package(&tracks, &long, ContainerKind::Cmaf);
    let groups: Vec<_> = objects(&events).filter(|o| o.track == 0 && o.object == 0).map(|o| o.group).collect();
    assert_eq!(groups, (1000..1015).collect::<Vec<_>>());
    let (_, read) = unpack(&broadcast, events);
    for (track, duration) in [(0, 512), (1, 1024)] {
        let own: Vec<_> = read.iter().filter(|f| f.track == track).collect();
        assert!(own.windows(2).all(|w| w[1].dts - w[0].dts == duration), "track {track} has a seam");
    }
}

#[test]
fn sound_alone_is_grouped_by_the_second() {
    let (tracks, frames) = demux(&testpattern());
    let sound: Vec<_> = frames.into_iter().filter(|f| f.track == 1).map(|f| Frame { track: 0, ..f }).collect();
    let (_, events) = package(&tracks[1..], &sound, ContainerKind::Legacy);
    let sizes: Vec<_> =
        objects(&events).filter(|o| o.object == 0).map(|o| (o.group, o.decode_time.as_secs())).collect();
    assert_eq!(sizes, [(1000, 0), (1001, 1), (1002, 2), (1003, 3), (1004, 4)]);
}

#[test]
fn watching_starts_with_a_whole_group_of_video_and_its_sound() {
    let (tracks, frames) = demux(&testpattern());
    let (broadcast, events) = package(&tracks, &frames, ContainerKind::Cmaf);
    // Joined in the middle of group 1001, whose first objects are therefore missing.
    let late = events.into_iter().skip(100).collect::<Vec<_>>();
    let first = objects(&late).next().unwrap();
    assert!(first.group == 1001 && first.object > 0);
    let (_, read) = unpack(&broadcast, late);
    let video = read.iter().find(|f| f.track == 0).unwrap();
    assert!(video.keyframe && video.dts == 2 * 24 * 512);
    let sound = read.iter().find(|f| f.track == 1).unwrap();
    let starts = sound.dts as f64 / 48_000.0;
    assert!((1.89..=1.921).contains(&starts), "{starts}");
}

#[test]
fn a_gap_stays_a_gap() {
    let (tracks, frames) = demux(&testpattern());
    let (broadcast, events) = package(&tracks, &frames, ContainerKind::Legacy);
    let lossy = events.into_iter().filter(|event| match event {
        Event::Object(o) => o.group != 1002 && !(o.group == 1001 && o.object > 10),
        Event::EndOfGroup { group, .. } => *group != 1002,
    });
    let (read_tracks, read) = unpack(&broadcast, lossy);
    let (_, again) = demux(&mux(&read_tracks, &read));
    let video: Vec<_> = again.iter().filter(|f| f.track == 0).collect();
    let gaps: Vec<_> = video.windows(2).filter(|w| w[1].dts - w[0].dts > 60_000).collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0][0].dts, gaps[0][1].dts), (34 * 40_000, 72 * 40_000));
    assert_eq!(gaps[0][0].duration, 40_000, "the last picture before a gap keeps its own duration");
}

#[test]
fn the_stamp_travels_as_an_object_property() {
    let (tracks, frames) = demux(&testpattern());
    for container in ALL {
        let mut packager = Packager::new(&tracks, Options { first_group: 7, container }).unwrap();
        packager.push(frames[0].clone(), Some(1_763_930_000_123_456)).unwrap();
        let Some(Event::Object(object)) = packager.poll_event() else { panic!("one object") };
        assert_eq!(stamp_micros(&object.properties), Some(1_763_930_000_123_456));
        packager.push(frames[1].clone(), None).unwrap();
        let Some(Event::Object(object)) = packager.poll_event() else { panic!("one object") };
        assert_eq!(stamp_micros(&object.properties), None);
    }
}

/// Pictures shown in another order than decoded: I P B B, with the edit list that such files have.
fn reordered() -> (Vec<TrackInfo>, Vec<Frame>) {
    let (mut tracks, frames) = demux(&testpattern());
    tracks.truncate(1);
    tracks[0].codec = "avc1.4d401f".to_owned();
    tracks[0].shift = -1024;
    let frames = frames.into_iter().filter(|f| f.track == 0).zip(0i64..).map(|(frame, n)| {
        let at = n % 24;
        let pts = match (at < 20, at % 4) {
            (true, 1) => n + 2,
            (true, 2 | 3) => n - 1,
            (true | false, _) => n,
        };
        Frame { dts: (n - 2) * 512, pts: pts * 512, ..frame }
    });
    (tracks, frames.collect())
}

#[test]
fn decode_times_of_reordered_pictures_are_kept_or_worked_out() {
    let (tracks, frames) = reordered();
    for container in ALL {
        let (broadcast, events) = package(&tracks, &frames, container);
        let (read_tracks, read) = unpack(&broadcast, events);
        assert_eq!(read.len(), frames.len());
        assert!(read.iter().all(|f| f.dts >= 0 && f.dts <= f.pts), "{container:?}");
        assert!(read.windows(2).all(|w| w[0].dts < w[1].dts), "{container:?}");
        let scale = i64::from(read_tracks[0].timescale);
        let shown = |frames: &[Frame], scale: i64| -> Vec<i64> {
            frames.iter().map(|f| (f.pts - frames[0].pts) * 25 / scale).collect()
        };
        assert_eq!(shown(&read, scale), shown(&frames, 12_800), "{container:?}");
    }
}

#[test]
fn parameter_sets_within_the_stream_configure_the_output() {
    // What a browser publishes: avc3, start codes, no description in the catalog.
    let (tracks, frames) = demux(&testpattern());
    let annex_b = |data: &[u8]| {
        let mut out = Vec::new();
        let mut rest = data;
        while let Some((len, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
            out.extend_from_slice(&[0, 0, 0, 1]);
            out.extend_from_slice(unit);
            rest = tail;
        }
        out
    };
    let config = &tracks[0].config;
    let sps_len = usize::from(u16::from_be_bytes([config[6], config[7]]));
    let (sps, pps) = (&config[8..8 + sps_len], &config[8 + sps_len + 3..]);
    let mut packager =
        Packager::new(&tracks[..1], Options { first_group: 1, container: ContainerKind::Legacy }).unwrap();
    for frame in frames.iter().filter(|f| f.track == 0).take(30) {
        let mut data = Vec::new();
        if frame.keyframe {
            [sps, pps].iter().for_each(|set| data.extend([&[0, 0, 0, 1], *set].concat()));
        }
        data.extend(annex_b(&frame.data));
        packager.push(Frame { data: data.into(), ..frame.clone() }, None).unwrap();
    }
    let mut broadcast = packager.broadcast().clone();
    broadcast.renditions[0].info.codec = "avc3.42c01f".to_owned();
    let broadcast =
        Broadcast::from_hang(broadcast.to_hang().replace("\"description\"", "\"unknown\"").as_bytes()).unwrap();
    assert!(Unpackager::new(&broadcast).unwrap().tracks().is_none());
    let events: Vec<_> = std::iter::from_fn(|| packager.poll_event()).collect();
    let (read_tracks, read) = unpack(&broadcast, events);
    assert_eq!(read_tracks[0].config[..8 + sps_len], config[..8 + sps_len]);
    let (again_tracks, again) = demux(&mux(&read_tracks, &read));
    assert_eq!((again_tracks[0].codec.as_str(), again.len()), ("avc3.42c01f", 30));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn arrival_order_across_groups_and_tracks_does_not_matter(seed in prop::collection::vec(any::<u16>(), 400)) {
        let (tracks, frames) = demux(&testpattern());
        let (broadcast, events) = package(&tracks, &frames, ContainerKind::Cmaf);
        // Each stream (one group of one track) keeps its own order; streams of neighbouring groups interleave freely.
        let mut keyed: Vec<_> = events.into_iter().zip(seed.into_iter().cycle()).map(|(event, jitter)| {
            let (group, track) = match &event {
                Event::Object(o) => (o.group, o.track),
                Event::EndOfGroup { group, track, .. } => (*group, *track),
            };
            ((group - 1000) * 1000 + u64::from(jitter) % 1500, group, track, event)
        }).collect();
        let mut streams = std::collections::BTreeMap::<_, Vec<u64>>::new();
        keyed.iter().for_each(|(at, group, track, _)| streams.entry((*group, *track)).or_default().push(*at));
        streams.values_mut().for_each(|times| { times.sort_unstable(); times.reverse(); });
        for (at, group, track, _) in &mut keyed {
            *at = streams.get_mut(&(*group, *track)).unwrap().pop().unwrap();
        }
        keyed.sort_by_key(|(at, ..)| *at);
        // The first group must be the first seen from its start, as it is for anyone who joins.
        let first = keyed.iter().position(|(_, group, ..)| *group == 1000).unwrap();
        keyed.swap(0, first);
        let (read_tracks, read) = unpack(&broadcast, keyed.into_iter().map(|(.., event)| event));
        prop_assert_eq!(essence(&read_tracks, &read), essence(&tracks, &frames));
    }

    #[test]
    fn damaged_objects_never_panic(
        container in 0usize..3,
        damage in prop::collection::vec((0usize..40, 0usize..140, any::<u8>()), 1..20),
    ) {
        let (tracks, frames) = demux(&testpattern());
        let (broadcast, events) = package(&tracks, &frames[..60], ALL[container]);
        let mut unpackager = Unpackager::new(&broadcast).unwrap();
        let start = start();
        for (index, object) in objects(&events).enumerate() {
            let mut payload = object.payload.to_vec();
            for (_, at, value) in damage.iter().filter(|(target, ..)| *target == index) {
                let at = at % payload.len();
                payload[at] = *value;
            }
            let damaged = Object { payload: payload.into(), ..object.clone() };
            let _ = unpackager.push(received(damaged, start));
        }
        let _ = unpackager.finish();
        let mut muxer = Muxer::new(unpackager.tracks().unwrap()).unwrap();
        while let Some(frame) = unpackager.poll_frame() {
            let _ = muxer.push(frame);
        }
        let _ = muxer.finish();
    }
}
