//! Reading MP4: pieces of any size, plain files either way round, broken input.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use proptest::prelude::*;
use sluice_media::fmp4::{DemuxError, Demuxer, Limits};
use sluice_media::{Format, Frame, TrackInfo, testpattern};

fn read(bytes: &[u8], piece: usize) -> (Vec<TrackInfo>, Vec<Frame>, Option<DemuxError>) {
    let mut demuxer = Demuxer::new(Limits::default());
    let pushed = bytes.chunks(piece.max(1)).try_for_each(|piece| demuxer.push(piece));
    let error = pushed.and_then(|()| demuxer.finish()).err();
    let frames = std::iter::from_fn(|| demuxer.poll_frame()).collect();
    (demuxer.tracks().unwrap_or_default().to_vec(), frames, error)
}

/// One box.
fn boxed(code: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], code, body].concat()
}

/// Where a plain file has its `moov`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moov {
    Front,
    Back,
}

/// A plain file of one Opus track: three samples of 3, 1 and 2 bytes in two chunks.
fn plain_file(place: Moov) -> Vec<u8> {
    let be = |words: &[u32]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let ftyp = boxed(b"ftyp", b"isom\0\0\0\0isom");
    let moov = |data: u32| {
        let dops = boxed(b"dOps", &[0, 1, 1, 0x38, 0, 0, 0xBB, 0x80, 0, 0, 0]);
        let mut entry = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 0, 0xBB, 0x80, 0, 0];
        entry.extend(dops);
        let stsd = boxed(b"stsd", &[be(&[0, 1]), boxed(b"Opus", &entry)].concat());
        let stbl = [
            stsd,
            boxed(b"stts", &be(&[0, 1, 3, 960])),
            boxed(b"stsc", &be(&[0, 2, 1, 2, 1, 2, 1, 1])),
            boxed(b"stsz", &be(&[0, 0, 3, 3, 1, 2])),
            boxed(b"stco", &be(&[0, 2, data, data + 10])),
        ];
        let minf = boxed(b"minf", &boxed(b"stbl", &stbl.concat()));
        let hdlr = boxed(b"hdlr", &[be(&[0, 0]), b"soun".to_vec(), vec![0; 13]].concat());
        let mdhd = boxed(b"mdhd", &be(&[0, 0, 0, 48_000, 2880, 0x55C4_0000]));
        let mdia = boxed(b"mdia", &[mdhd, hdlr, minf].concat());
        let tkhd = boxed(b"tkhd", &[be(&[3, 0, 0, 7, 0, 2880]), vec![0; 60]].concat());
        let elst = boxed(b"elst", &be(&[0, 1, 60, 312, 0x0001_0000]));
        let trak = boxed(b"trak", &[tkhd, boxed(b"edts", &elst), mdia].concat());
        let mvhd = boxed(b"mvhd", &[be(&[0, 0, 0, 1000, 60, 0x0001_0000]), vec![0; 76]].concat());
        boxed(b"moov", &[mvhd, trak].concat())
    };
    let mdat = boxed(b"mdat", b"aaab......cc");
    let before = u32::try_from(ftyp.len()).unwrap();
    if place == Moov::Front {
        let len = u32::try_from(moov(0).len()).unwrap();
        [ftyp, moov(before + len + 8), mdat].concat()
    } else {
        [ftyp, mdat, moov(before + 8)].concat()
    }
}

#[test]
fn the_test_pattern_is_as_its_readme_says() {
    let (tracks, frames, error) = read(&testpattern(), usize::MAX);
    assert_eq!(error, None);
    assert_eq!(tracks[0].codec, "avc1.42c01f");
    assert_eq!(tracks[0].format, Format::Video { width: 640, height: 360 });
    assert_eq!(tracks[1].codec, "mp4a.40.2");
    assert_eq!(tracks[1].format, Format::Audio { sample_rate: 48_000, channels: 1 });
    assert!(testpattern().len() <= 150_000);
    for (track, count) in [(0, 120), (1, 225)] {
        let own: Vec<_> = frames.iter().filter(|f| f.track == track).collect();
        assert_eq!(own.len(), count);
        let end = own.iter().map(|f| f.dts + i64::from(f.duration)).max().unwrap();
        let tenths = end * 10 / i64::from(tracks[track].timescale);
        assert_eq!((own[0].dts, tenths, end * 10 % i64::from(tracks[track].timescale)), (0, 48, 0));
        assert!(own.iter().all(|f| f.pts == f.dts));
    }
    let keys: Vec<_> = frames.iter().filter(|f| f.track == 0 && f.keyframe).map(|f| f.dts / 512).collect();
    assert_eq!(keys, [0, 24, 48, 72, 96]);
}

#[test]
fn plain_files_are_read_whichever_end_the_moov_is_at() {
    for place in [Moov::Front, Moov::Back] {
        for piece in [1, 7, 4096] {
            let (tracks, frames, error) = read(&plain_file(place), piece);
            assert_eq!(error, None);
            assert_eq!((tracks[0].id, tracks[0].codec.as_str(), tracks[0].shift), (7, "opus", -312));
            assert_eq!(tracks[0].config, &b"OpusHead\x01\x01\x38\x01\x80\xBB\0\0\0\0\0"[..]);
            let data: Vec<_> = frames.iter().map(|f| (f.dts, f.duration, f.data.as_ref())).collect();
            assert_eq!(data, [(-312, 960, &b"aaa"[..]), (648, 960, b"b"), (1608, 960, b"cc")]);
        }
    }
}

#[test]
fn broken_input_is_told_with_place_and_cure() {
    let pattern = testpattern();
    let error = |bytes: &[u8]| read(bytes, 1000).2.unwrap().to_string();
    assert!(error(b"G@\x11\x10\0B\xF0%\0\x01\xC1\0\0").starts_with("not an MP4: byte 0 starts no box; ffmpeg: add"));
    assert!(error(&pattern[..500]).starts_with("no `moov` in the first 500 bytes; ffmpeg: add"));
    let cut = error(&pattern[..100_000]);
    assert!(cut.starts_with("the input ends at byte 100000, ") && cut.ends_with("the last frames are lost"), "{cut}");
    let moof = pattern.windows(4).position(|w| w == b"moof").unwrap() - 4;
    let headless = [&pattern[..28], &pattern[moof..]].concat();
    assert!(error(&headless).contains("`moof` at byte 28 comes before `moov`"));
    let again = [&pattern[..], &pattern[moof..]].concat();
    assert!(error(&again).contains("does not advance past"), "{}", error(&again));
    let mut skipped = plain_file(Moov::Front);
    let at = skipped.windows(4).position(|w| w == b"Opus").unwrap();
    skipped[at..at + 4].copy_from_slice(b"zzzz");
    assert_eq!(error(&skipped), "`moov` has no usable audio or video track (left out: codec zzzz)");
}

#[test]
fn a_box_longer_than_its_fragment_hides_nothing() {
    for (code, place) in [(b"mfhd", "moof"), (b"tfhd", "traf")] {
        let mut bytes = testpattern().to_vec();
        let at = bytes.windows(4).rposition(|window| window == code).unwrap();
        bytes[at - 4..at].copy_from_slice(&[0x7f; 4]);
        let error = read(&bytes, 4096).2.unwrap().to_string();
        assert!(error.contains(place) && error.contains("is longer than it"), "{error}");
    }
}

#[test]
fn limits_hold() {
    let limits = Limits { box_bytes: 500, ..Limits::default() };
    let mut demuxer = Demuxer::new(limits);
    let error = demuxer.push(&testpattern()).unwrap_err();
    assert!(matches!(error, DemuxError::TooLarge { limit: 500, .. }), "{error}");
    let mut demuxer = Demuxer::new(Limits { held_bytes: 20, ..Limits::default() });
    let error = demuxer.push(&plain_file(Moov::Back)).unwrap_err();
    assert!(matches!(error, DemuxError::TooLarge { limit: 20, .. }), "{error}");
    let mut demuxer = Demuxer::new(Limits { samples: 2, ..Limits::default() });
    let error = demuxer.push(&plain_file(Moov::Front)).unwrap_err();
    assert!(error.to_string().contains("3 samples, the limit is 2"), "{error}");
    let mut demuxer = Demuxer::new(Limits { tracks: 1, ..Limits::default() });
    assert!(matches!(demuxer.push(&testpattern()), Err(DemuxError::TooLarge { unit: "tracks", .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_of_any_size_give_the_same_frames(sizes in prop::collection::vec(1usize..30_000, 1..40)) {
        let pattern = testpattern();
        let mut demuxer = Demuxer::new(Limits::default());
        let mut rest = &pattern[..];
        for size in sizes.into_iter().cycle() {
            let (piece, tail) = rest.split_at(size.min(rest.len()));
            demuxer.push(piece).unwrap();
            rest = tail;
            if rest.is_empty() {
                break;
            }
        }
        demuxer.finish().unwrap();
        let frames: Vec<_> = std::iter::from_fn(|| demuxer.poll_frame()).collect();
        prop_assert_eq!(frames, read(&pattern, usize::MAX).1);
    }

    #[test]
    fn damage_never_panics(
        damage in prop::collection::vec((0usize..3000, any::<u8>()), 1..12),
        place in prop::sample::select(vec![Moov::Front, Moov::Back]),
        piece in 1usize..5000,
    ) {
        // The boxes are in the first bytes; damage to coded frames cannot be seen here.
        let mut bytes = testpattern()[..40_000].to_vec();
        let mut plain = plain_file(place);
        for (at, value) in damage {
            bytes[at] = value;
            let len = plain.len();
            plain[at % len] = value;
        }
        let _ = read(&bytes, piece);
        let _ = read(&plain, piece);
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400), piece in 1usize..50) {
        let _ = read(&bytes, piece);
        let _ = read(&boxed(b"moov", &bytes), piece);
        let _ = read(&[plain_file(Moov::Front), boxed(b"moof", &boxed(b"traf", &bytes))].concat(), piece);
    }
}
