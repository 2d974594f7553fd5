//! Sample entries: the box of `stsd` that names the codec and configures its decoder.

use super::boxes::{self, Child};
use super::error::MuxError;
use crate::frame::{Format, TrackInfo};
use bytes::Bytes;
use mp4_atom::{Decode as _, Encode as _, Esds};
use std::fmt::Write as _;

/// Bytes of a VisualSampleEntry before its child boxes (ISO 14496-12 12.1.3).
const VISUAL_LEN: usize = 78;
/// Bytes of an AudioSampleEntry before its child boxes (ISO 14496-12 12.2.3).
const AUDIO_LEN: usize = 28;
/// Magic of an OpusHead (RFC 7845 5.1), the form in which catalogs carry Opus configuration.
const OPUS_HEAD: &[u8] = b"OpusHead";

/// What a sample entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) codec: String,
    pub(crate) config: Bytes,
    pub(crate) format: Format,
    pub(crate) bitrate: Option<u64>,
}

/// Reads the entry; `None` for codecs that nothing here can name.
pub(crate) fn parse(entry: Child<'_>) -> Option<Entry> {
    let code = &entry.code.0;
    match code {
        b"avc1" | b"avc3" | b"hvc1" | b"hev1" | b"av01" | b"vp09" | b"vp08" => parse_visual(entry),
        b"mp4a" | b"Opus" | b"fLaC" | b"ac-3" | b"ec-3" => parse_audio(entry),
        _ => None,
    }
}

fn parse_visual(entry: Child<'_>) -> Option<Entry> {
    let (head, boxes) = entry.body.split_at_checked(VISUAL_LEN)?;
    let width = u32::from(be16(head, 24)?);
    let height = u32::from(be16(head, 26)?);
    let (kind, name): (&[u8; 4], _) = match &entry.code.0 {
        b"avc1" | b"avc3" => (b"avcC", avc_codec as fn(&str, &[u8]) -> Option<String>),
        b"hvc1" | b"hev1" => (b"hvcC", hevc_codec as _),
        b"av01" => (b"av1C", av1_codec as _),
        b"vp09" => (b"vpcC", vp9_codec as _),
        _ => (b"vpcC", vp8_codec as _),
    };
    let config = boxes::find(boxes, &[kind])?;
    let codec = name(std::str::from_utf8(&entry.code.0).ok()?, config)?;
    Some(Entry {
        codec,
        config: Bytes::copy_from_slice(config),
        format: Format::Video { width, height },
        bitrate: bitrate(boxes),
    })
}

fn parse_audio(entry: Child<'_>) -> Option<Entry> {
    // QuickTime versions 1 and 2 put 16 and 36 more bytes before the child boxes.
    let skip = match be16(entry.body, 8)? {
        0 => AUDIO_LEN,
        1 => AUDIO_LEN + 16,
        _ => AUDIO_LEN + 36,
    };
    let (head, boxes) = entry.body.split_at_checked(skip)?;
    let mut channels = u32::from(be16(head, 16)?);
    let mut sample_rate = u32::from(be16(head, 24)?);
    let mut rate = bitrate(boxes);
    let (codec, config) = match &entry.code.0 {
        b"mp4a" => {
            let esds = boxes::children(boxes).find(|c| c.code.0 == *b"esds")?.whole;
            let decoder = Esds::decode(&mut &*esds).ok()?.es_desc.dec_config;
            rate = rate.or_else(|| Some(u64::from(decoder.avg_bitrate)).filter(|r| *r > 0));
            match (decoder.object_type_indication, decoder.dec_specific) {
                (0x40, Some(specific)) => {
                    // Old writers put 2 channels into the entry whatever the stream has.
                    channels = aac_channels(specific.chan_conf).unwrap_or(channels);
                    (format!("mp4a.40.{}", specific.profile), specific.raw.into())
                }
                (0x69 | 0x6B, _) => ("mp3".to_owned(), Bytes::new()),
                _ => return None,
            }
        }
        b"Opus" => {
            let dops = boxes::find(boxes, &[b"dOps"])?;
            (channels, sample_rate) = (u32::from(*dops.get(1)?), 48_000);
            ("opus".to_owned(), opus_head(dops)?)
        }
        b"fLaC" => ("flac".to_owned(), flac_stream(boxes::find(boxes, &[b"dfLa"])?)?),
        b"ac-3" => ("ac-3".to_owned(), Bytes::new()),
        _ => ("ec-3".to_owned(), Bytes::new()),
    };
    let format = Format::Audio { sample_rate, channels };
    Some(Entry { codec, config, format, bitrate: rate })
}

/// ISO 14496-3 table 1.19; 0 means that the stream itself says it.
fn aac_channels(configuration: u8) -> Option<u32> {
    match configuration {
        1..=6 => Some(configuration.into()),
        7 | 12 | 14 => Some(8),
        11 => Some(7),
        _ => None,
    }
}

fn bitrate(boxes: &[u8]) -> Option<u64> {
    let btrt = boxes::find(boxes, &[b"btrt"])?;
    let average = u32::from_be_bytes(*btrt.get(8..)?.first_chunk()?);
    Some(u64::from(average)).filter(|rate| *rate > 0)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn avc_codec(name: &str, avcc: &[u8]) -> Option<String> {
    let [_, profile, constraints, level, ..] = avcc else { return None };
    Some(format!("{name}.{profile:02x}{constraints:02x}{level:02x}"))
}

/// ISO 14496-15 annex E.3: profile, reversed compatibility flags, tier and level, constraint bytes.
fn hevc_codec(name: &str, hvcc: &[u8]) -> Option<String> {
    let [_, profile, c0, c1, c2, c3, constraints @ ..] = hvcc else { return None };
    let level = *constraints.get(6)?;
    let constraints = constraints.get(..6)?;
    let space = ["", "A", "B", "C"].get(usize::from(profile >> 6))?;
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = u32::from_be_bytes([*c0, *c1, *c2, *c3]).reverse_bits();
    let mut codec = format!("{name}.{space}{}.{compatibility:X}.{tier}{level}", profile & 0x1F);
    let used = constraints.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        write!(codec, ".{byte:X}").ok()?;
    }
    Some(codec)
}

fn av1_codec(_: &str, av1c: &[u8]) -> Option<String> {
    let [_, profile_level, flags, ..] = av1c else { return None };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    Some(format!("av01.{}.{:02}{tier}.{depth:02}", profile_level >> 5, profile_level & 0x1F))
}

/// `vpcC` is a full box: version and flags come first.
fn vp9_codec(_: &str, vpcc: &[u8]) -> Option<String> {
    let [_, _, _, _, profile, level, depth, ..] = vpcc else { return None };
    Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4))
}

#[expect(clippy::unnecessary_wraps, reason = "one of a table of functions of this signature")]
fn vp8_codec(_: &str, _: &[u8]) -> Option<String> {
    Some("vp8".to_owned())
}

/// `dOps` as OpusHead: the same fields, little endian and with version 1 (RFC 7845 5.1).
fn opus_head(dops: &[u8]) -> Option<Bytes> {
    let (_, fields) = dops.split_first()?;
    Some(Bytes::from([OPUS_HEAD, &[1], &swap_opus(fields)?].concat()))
}

/// The other way round.
fn dops(opus_head: &[u8]) -> Option<Vec<u8>> {
    let fields = opus_head.strip_prefix(OPUS_HEAD)?.get(1..)?;
    Some([&[0][..], &swap_opus(fields)?].concat())
}

/// Channels, then pre-skip (2), rate (4) and gain (2) with their byte order swapped, then the mapping.
fn swap_opus(fields: &[u8]) -> Option<Vec<u8>> {
    let (head, mapping) = fields.split_at_checked(9)?;
    let mut out = head.to_vec();
    for range in [1..3, 3..7, 7..9] {
        out.get_mut(range)?.reverse();
    }
    out.extend_from_slice(mapping);
    Some(out)
}

/// `dfLa` as FLAC's own stream header, as WebCodecs wants it.
fn flac_stream(dfla: &[u8]) -> Option<Bytes> {
    Some(Bytes::from([b"fLaC", dfla.get(4..)?].concat()))
}

/// The sample entry box of a track: as read, or built from codec and configuration.
pub(crate) fn build(track: &TrackInfo) -> Result<Bytes, MuxError> {
    if !track.sample_entry.is_empty() {
        return Ok(track.sample_entry.clone());
    }
    let fail = |cause| MuxError::Codec { codec: track.codec.clone(), cause };
    let mut out = Vec::new();
    match track.format {
        Format::Video { width, height } => {
            let code: &[u8; 4] = track.codec.as_bytes().first_chunk().ok_or_else(|| fail("unknown codec"))?;
            let config: &[u8; 4] = match code {
                b"avc1" | b"avc3" => b"avcC",
                b"hvc1" | b"hev1" => b"hvcC",
                b"av01" => b"av1C",
                b"vp09" => b"vpcC",
                _ => return Err(fail("no sample entry is known for it")),
            };
            if track.config.is_empty() {
                return Err(fail("its decoder configuration is unknown"));
            }
            let size = (u16::try_from(width), u16::try_from(height));
            let (Ok(width), Ok(height)) = size else { return Err(fail("the picture is too large")) };
            boxes::write(&mut out, code, |out| {
                write_visual(out, width, height);
                boxes::write(out, config, |out| out.extend_from_slice(&track.config));
            });
        }
        Format::Audio { sample_rate, channels } => {
            let channels = u16::try_from(channels).map_err(|_| fail("too many channels"))?;
            let (code, config) = audio_config(track).map_err(fail)?;
            boxes::write(&mut out, code, |out| {
                write_audio(out, channels, sample_rate);
                out.extend_from_slice(&config);
            });
        }
    }
    Ok(out.into())
}

fn audio_config(track: &TrackInfo) -> Result<(&'static [u8; 4], Vec<u8>), &'static str> {
    let mut config = Vec::new();
    let code: &[u8; 4] = match track.codec.as_str() {
        "opus" => {
            let Format::Audio { channels, .. } = track.format else { return Err("not audio") };
            // Mono and stereo need no header on the wire: 48 kHz, no gain, family 0.
            let plain = [0, u8::try_from(channels).unwrap_or(2), 0, 0, 0, 0, 0xBB, 0x80, 0, 0, 0];
            let body = dops(&track.config).unwrap_or_else(|| plain.to_vec());
            boxes::write(&mut config, b"dOps", |out| out.extend_from_slice(&body));
            b"Opus"
        }
        "flac" => {
            let blocks = track.config.strip_prefix(b"fLaC").ok_or("its stream header is unknown")?;
            boxes::write(&mut config, b"dfLa", |out| out.extend_from_slice(&[&[0; 4], blocks].concat()));
            b"fLaC"
        }
        codec if codec.starts_with("mp4a.40") => {
            if track.config.is_empty() {
                return Err("its AudioSpecificConfig is unknown");
            }
            esds(&track.config, track.bitrate).encode(&mut config).map_err(|_| "its AudioSpecificConfig is broken")?;
            b"mp4a"
        }
        _ => return Err("no sample entry is known for it"),
    };
    Ok((code, config))
}

fn esds(config: &[u8], bitrate: Option<u64>) -> Esds {
    use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor};
    let rate = u32::try_from(bitrate.unwrap_or_default()).unwrap_or_default();
    let first = u16::from_be_bytes([config.first().copied().unwrap_or(0), config.get(1).copied().unwrap_or(0)]);
    let [_, low] = (first >> 7).to_be_bytes();
    let [profile, _] = (first >> 3).to_be_bytes();
    let [_, channels] = (first >> 3).to_be_bytes();
    let specific =
        DecoderSpecific { profile, freq_index: low & 0x0F, chan_conf: channels & 0x0F, raw: config.to_vec() };
    Esds {
        es_desc: EsDescriptor {
            es_id: 1,
            dec_config: DecoderConfig {
                object_type_indication: 0x40,
                stream_type: 5,
                max_bitrate: rate,
                avg_bitrate: rate,
                dec_specific: Some(specific),
                ..Default::default()
            },
            ..Default::default()
        },
    }
}

fn write_visual(out: &mut Vec<u8>, width: u16, height: u16) {
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&1u16.to_be_bytes()); // data reference
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(&width.to_be_bytes());
    out.extend_from_slice(&height.to_be_bytes());
    out.extend_from_slice(&0x0048_0000u32.to_be_bytes()); // 72 dpi
    out.extend_from_slice(&0x0048_0000u32.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&1u16.to_be_bytes()); // frames per sample
    out.extend_from_slice(&[0; 32]); // compressor name
    out.extend_from_slice(&0x0018u16.to_be_bytes()); // depth
    out.extend_from_slice(&(-1i16).to_be_bytes());
}

fn write_audio(out: &mut Vec<u8>, channels: u16, sample_rate: u32) {
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&1u16.to_be_bytes()); // data reference
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&channels.to_be_bytes());
    out.extend_from_slice(&16u16.to_be_bytes()); // bits per sample
    out.extend_from_slice(&[0; 4]);
    // 16.16 fixed point: rates above 65,535 Hz do not fit and stand in the configuration only.
    let rate = u16::try_from(sample_rate).unwrap_or(0);
    out.extend_from_slice(&(u32::from(rate) << 16).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(codec: &str, config: &'static [u8]) -> TrackInfo {
        TrackInfo {
            id: 1,
            codec: codec.to_owned(),
            timescale: 48_000,
            format: Format::Audio { sample_rate: 48_000, channels: 2 },
            config: Bytes::from_static(config),
            sample_entry: Bytes::new(),
            shift: 0,
            bitrate: None,
        }
    }

    fn round_trip(track: &TrackInfo) -> Entry {
        let built = build(track).unwrap();
        parse(boxes::children(&built).next().unwrap()).unwrap()
    }

    #[test]
    fn built_audio_entries_read_back_as_they_were() {
        for track in [
            audio("mp4a.40.2", &[0x11, 0x90]),
            audio("mp4a.40.5", &[0x2B, 0x11, 0x88, 0x00]),
            audio("opus", b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0"),
            audio("flac", b"fLaC\x80\0\0\x22abc"),
        ] {
            let entry = round_trip(&track);
            assert_eq!((entry.codec, entry.config, entry.format), (track.codec, track.config, track.format));
        }
    }

    #[test]
    fn built_video_entries_read_back_as_they_were() {
        let configs: [(&str, &[u8]); 4] = [
            ("avc1.42c01e", &[1, 0x42, 0xC0, 0x1E, 0xFF, 0xE0, 0]),
            ("hvc1.1.6.L93.B0", &[1, 1, 0x60, 0, 0, 0, 0xB0, 0, 0, 0, 0, 0, 93, 0xF0, 0]),
            ("av01.0.08M.10", &[0x81, 0x08, 0x40, 0]),
            ("vp09.00.10.08", &[1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0]),
        ];
        for (codec, config) in configs {
            let mut track = audio(codec, config);
            track.format = Format::Video { width: 640, height: 360 };
            let entry = round_trip(&track);
            assert_eq!((entry.codec.as_str(), entry.format), (codec, track.format));
            assert_eq!(entry.config, config);
        }
    }

    #[test]
    fn what_cannot_be_written_says_why() {
        let error = build(&audio("mp4a.40.2", b"")).unwrap_err();
        assert_eq!(error.to_string(), "codec `mp4a.40.2` cannot be written as MP4: its AudioSpecificConfig is unknown");
        assert!(build(&audio("speex", b"")).is_err());
    }
}
