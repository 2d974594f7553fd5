//! The `moov`: which tracks there are, and where the samples of a plain file lie.

use super::boxes::{self, Child};
use super::entry;
use super::error::MuxError;
use crate::frame::{Format, Kind, TrackInfo, rescale};
use bytes::Bytes;
use mp4_atom::{Decode as _, Dinf, Dref, Ftyp, Hdlr, Mdhd, Mvhd, Smhd, Stco, Stsc, Stsz, Stts, Tkhd, Trex, Url, Vmhd};

/// Defaults of a track's samples in fragments (`trex`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) flags: u32,
}

/// One usable `trak`.
#[derive(Debug, Clone)]
pub(crate) struct Trak {
    pub(crate) info: TrackInfo,
    pub(crate) defaults: Defaults,
    /// Body of `stbl`, for files that are not fragmented.
    pub(crate) samples: Bytes,
}

/// What a `moov` says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moov {
    pub(crate) traks: Vec<Trak>,
    /// Tracks that are left out: sample entry or handler.
    pub(crate) skipped: Vec<String>,
}

/// Reads the body of a `moov`; the error names the broken box.
pub(crate) fn parse(moov: &[u8]) -> Result<Moov, String> {
    let mvhd = child(moov, b"mvhd")?;
    let movie = Mvhd::decode(&mut &*mvhd.whole).map_err(|e| format!("mvhd: {e}"))?;
    let mut found = Moov::default();
    for trak in boxes::children(moov).filter(|c| c.code.0 == *b"trak") {
        match parse_trak(trak.body, movie.timescale)? {
            Ok(mut trak) => {
                trak.defaults = defaults(moov, trak.info.id);
                found.traks.push(trak);
            }
            Err(skipped) => found.skipped.push(skipped),
        }
    }
    Ok(found)
}

/// The first track of `kind` in an init segment.
pub(crate) fn trak_of_segment(segment: &[u8], kind: Kind) -> Result<Trak, String> {
    let moov = parse(child(segment, b"moov")?.body)?;
    let track = moov.traks.into_iter().find(|t| t.info.kind() == kind);
    track.ok_or_else(|| format!("no usable {kind:?} track").to_lowercase())
}

/// The inner error is the name of a track that is of no use here.
fn parse_trak(trak: &[u8], movie_timescale: u32) -> Result<Result<Trak, String>, String> {
    let tkhd = Tkhd::decode(&mut &*child(trak, b"tkhd")?.whole).map_err(|e| format!("tkhd: {e}"))?;
    let mdia = child(trak, b"mdia")?.body;
    let mdhd = Mdhd::decode(&mut &*child(mdia, b"mdhd")?.whole).map_err(|e| format!("mdhd: {e}"))?;
    let handler = child(mdia, b"hdlr")?.body.get(8..12).unwrap_or_default();
    if handler != b"vide" && handler != b"soun" {
        return Ok(Err(format!("handler {}", handler.escape_ascii())));
    }
    if tkhd.track_id == 0 || mdhd.timescale == 0 {
        return Err("trak: track id or timescale is 0".to_owned());
    }
    let stbl = child(child(mdia, b"minf")?.body, b"stbl")?.body;
    let stsd = child(stbl, b"stsd")?.body;
    let Some(sample_entry) = boxes::children(stsd.get(8..).unwrap_or_default()).next() else {
        return Err("stsd: no sample entry".to_owned());
    };
    let Some(entry) = entry::parse(sample_entry) else {
        return Ok(Err(format!("codec {}", sample_entry.code)));
    };
    let info = TrackInfo {
        id: tkhd.track_id,
        codec: entry.codec,
        timescale: mdhd.timescale,
        format: with_rate(entry.format, mdhd.timescale),
        config: entry.config,
        sample_entry: Bytes::copy_from_slice(sample_entry.whole),
        shift: edit_shift(trak, movie_timescale, mdhd.timescale)?,
        bitrate: entry.bitrate,
    };
    Ok(Ok(Trak { info, defaults: Defaults::default(), samples: Bytes::copy_from_slice(stbl) }))
}

/// The 16-bit rate of a sample entry is 0 where the true one does not fit; audio then runs in its own timescale.
fn with_rate(format: Format, timescale: u32) -> Format {
    match format {
        Format::Audio { sample_rate: 0, channels } => Format::Audio { sample_rate: timescale, channels },
        Format::Audio { .. } | Format::Video { .. } => format,
    }
}

fn child<'a>(body: &'a [u8], code: &[u8; 4]) -> Result<Child<'a>, String> {
    boxes::children(body)
        .find(|c| c.code.0 == *code)
        .ok_or_else(|| format!("`{}` is missing or cut", code.escape_ascii()))
}

/// Ticks to add to media time: empty edits delay the track, the first real one says which media time is 0.
/// Later edits (cuts within the media) are not followed: nothing that produces live media writes them.
fn edit_shift(trak: &[u8], movie_timescale: u32, timescale: u32) -> Result<i64, String> {
    let Some(edts) = boxes::find(trak, &[b"edts"]) else { return Ok(0) };
    let Some(elst) = boxes::children(edts).find(|c| c.code.0 == *b"elst") else { return Ok(0) };
    let elst = mp4_atom::Elst::decode(&mut &*elst.whole).map_err(|e| format!("elst: {e}"))?;
    let mut delay = 0i64;
    for edit in elst.entries {
        match edit.media_time {
            None => {
                let empty = i64::try_from(edit.segment_duration).unwrap_or(i64::MAX);
                delay = delay.saturating_add(rescale(empty, movie_timescale, timescale));
            }
            Some(start) => {
                return Ok(delay.saturating_sub(i64::try_from(start).unwrap_or(i64::MAX)));
            }
        }
    }
    Ok(delay)
}

fn defaults(moov: &[u8], track: u32) -> Defaults {
    let Some(mvex) = boxes::find(moov, &[b"mvex"]) else { return Defaults::default() };
    boxes::children(mvex)
        .filter(|c| c.code.0 == *b"trex")
        .filter_map(|c| Trex::decode(&mut &*c.whole).ok())
        .find(|trex| trex.track_id == track)
        .map_or_else(Defaults::default, |trex| Defaults {
            duration: trex.default_sample_duration,
            size: trex.default_sample_size,
            flags: trex.default_sample_flags,
        })
}

/// An init segment (`ftyp`, `moov`) for `tracks`; ids are written as the tracks have them.
pub(crate) fn write(tracks: &[TrackInfo]) -> Result<Bytes, MuxError> {
    if tracks.is_empty() {
        return Err(MuxError::NoTracks);
    }
    let entries = tracks.iter().map(entry::build).collect::<Result<Vec<_>, _>>()?;
    let mut out = Vec::new();
    let ftyp = Ftyp {
        major_brand: b"iso6".into(),
        minor_version: 0,
        compatible_brands: vec![b"iso6".into(), b"cmfc".into(), b"mp41".into()],
    };
    put(&ftyp, &mut out);
    let next_track_id = tracks.iter().map(|t| t.id).max().unwrap_or(0).saturating_add(1);
    boxes::write(&mut out, b"moov", |out| {
        put(&Mvhd { timescale: 1000, rate: 1.into(), volume: 1.into(), next_track_id, ..Default::default() }, out);
        for (track, entry) in tracks.iter().zip(&entries) {
            boxes::write(out, b"trak", |out| write_trak(track, entry, out));
        }
        boxes::write(out, b"mvex", |out| {
            for track in tracks {
                put(&Trex { track_id: track.id, default_sample_description_index: 1, ..Default::default() }, out);
            }
        });
    });
    Ok(out.into())
}

fn write_trak(track: &TrackInfo, entry: &[u8], out: &mut Vec<u8>) {
    let (handler, name, width, height, volume) = match track.format {
        Format::Video { width, height } => (b"vide", "video", width, height, 0),
        Format::Audio { .. } => (b"soun", "audio", 0, 0, 1),
    };
    let fixed = |pixels| u16::try_from(pixels).unwrap_or(0).into();
    let tkhd = Tkhd {
        track_id: track.id,
        enabled: true,
        in_movie: true,
        volume: volume.into(),
        width: fixed(width),
        height: fixed(height),
        ..Default::default()
    };
    put(&tkhd, out);
    boxes::write(out, b"mdia", |out| {
        put(&Mdhd { timescale: track.timescale, language: "und".to_owned(), ..Default::default() }, out);
        put(&Hdlr { handler: handler.into(), name: name.to_owned() }, out);
        boxes::write(out, b"minf", |out| {
            match track.format {
                Format::Video { .. } => put(&Vmhd::default(), out),
                Format::Audio { .. } => put(&Smhd::default(), out),
            }
            put(&Dinf { dref: Dref { entries: vec![Url::default().into()] } }, out);
            boxes::write(out, b"stbl", |out| {
                boxes::write(out, b"stsd", |out| {
                    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]); // version, flags, one entry
                    out.extend_from_slice(entry);
                });
                put(&Stts::default(), out);
                put(&Stsc::default(), out);
                put(&Stsz::default(), out);
                put(&Stco::default(), out);
            });
        });
    });
}

/// Encoding into memory fails only for values outside their field, and all of these are constants or checked.
pub(crate) fn put(atom: &impl mp4_atom::Encode, out: &mut Vec<u8>) {
    let start = out.len();
    if atom.encode(out).is_err() {
        debug_assert!(false, "an atom of ours does not encode");
        out.truncate(start);
    }
}
