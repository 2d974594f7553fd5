//! Documents as others write them, and our own read back.

use super::*;
use crate::catalog::text::to_base64;
use crate::{ContainerKind, Options, Packager, fmp4, testpattern};

fn broadcast(container: ContainerKind) -> Broadcast {
    let mut demuxer = fmp4::Demuxer::new(fmp4::Limits::default());
    demuxer.push(&testpattern()).unwrap();
    let options = Options { first_group: 1, container };
    Packager::new(demuxer.tracks().unwrap(), options).unwrap().broadcast().clone()
}

fn init(rendition: &Rendition) -> String {
    let Container::Cmaf { init } = &rendition.container else { panic!("no init segment") };
    to_base64(init)
}

#[test]
fn both_catalogs_give_the_broadcast_back() {
    for container in [ContainerKind::Cmaf, ContainerKind::Legacy, ContainerKind::Loc] {
        let written = broadcast(container);
        let hang = Broadcast::from_hang(written.to_hang().as_bytes()).unwrap();
        let msf = Broadcast::from_msf(written.to_msf().as_bytes()).unwrap();
        assert_eq!(hang, msf);
        for (read, wrote) in hang.renditions.iter().zip(&written.renditions) {
            assert_eq!((&read.name, &read.container), (&wrote.name, &wrote.container));
            assert_eq!((&read.info.codec, &read.info.config), (&wrote.info.codec, &wrote.info.config));
            assert_eq!((read.info.format, read.info.bitrate), (wrote.info.format, wrote.info.bitrate));
        }
    }
}

#[test]
fn a_hang_catalog_of_moq_cli_is_understood() {
    // As moq-cli 0.14 writes it for `import fmp4`, with fields of other versions and applications added.
    let ours = broadcast(ContainerKind::Cmaf);
    let json = format!(
        r#"{{"video":{{"renditions":{{"0.m4s":{{"codec":"avc1.42c01f","description":"0142c01f","codedWidth":640,
        "codedHeight":360,"framerate":25.0,"container":{{"kind":"cmaf","init":"{}"}},"jitter":1200}}}},
        "display":{{"width":640,"height":360}},"rotation":0.0}},"audio":{{"renditions":{{"1.m4s":{{
        "codec":"mp4a.40.2","sampleRate":48000,"numberOfChannels":2,"bitrate":48270,
        "container":{{"kind":"cmaf","init":"{}"}}}}}}}},"clock":{{"wall":1}},"scte35":{{"a":[1]}}}}"#,
        init(&ours.renditions[0]),
        init(&ours.renditions[1]),
    );
    let read = Broadcast::from_hang(json.as_bytes()).unwrap();
    assert_eq!(read.renditions.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["0.m4s", "1.m4s"]);
    assert_eq!(read.renditions[0].framerate, Some(25.0));
    assert_eq!(read.renditions[0].info.timescale, 12_800);
    assert_eq!(read.renditions[1].info.bitrate, Some(48_270));
    // What the stream says of its channels beats what the catalog copied from an old sample entry.
    assert_eq!(read.renditions[1].info.format, Format::Audio { sample_rate: 48_000, channels: 1 });
}

#[test]
fn a_browser_publishes_hang_without_a_container() {
    let json = br#"{"video":{"renditions":{"hd":{"codec":"avc3.640028","codedWidth":1280,"codedHeight":720},
        "future":{"codec":"vp8","container":{"kind":"quic-media","x":1}}}},
        "audio":{"renditions":{"mic":{"codec":"opus","sampleRate":48000,"numberOfChannels":2,
        "container":{"kind":"loc"}}}}}"#;
    let read = Broadcast::from_hang(json).unwrap();
    let containers: Vec<_> = read.renditions.iter().map(|r| (r.name.as_str(), r.container.is_supported())).collect();
    assert_eq!(containers, [("future", false), ("hd", true), ("mic", true)]);
    let best: Vec<_> = read.best().renditions.into_iter().map(|r| (r.name, r.container)).collect();
    assert_eq!(best, [("hd".to_owned(), Container::Legacy), ("mic".to_owned(), Container::Loc)]);
}

#[test]
fn an_msf_catalog_of_the_draft_is_understood() {
    // draft-ietf-moq-msf-01, simulcast, with a role that is no media; then draft 00's spelling of init data.
    let json = br#"{"version":"draft-01","generatedAt":1746104606044,"tracks":[
        {"name":"sd","namespace":"a","packaging":"loc","isLive":true,"targetLatency":2000,"role":"video",
         "codec":"av01.0.08M.10.0.110.09","width":640,"height":360,"framerate":30,"bitrate":500000,"altGroup":1},
        {"name":"hd","packaging":"loc","isLive":true,"role":"video","codec":"av01.0.08M.10.0.110.09",
         "width":1920,"height":1080,"framerate":30,"bitrate":1500000,"altGroup":1},
        {"name":"cc","packaging":"eventtimeline","isLive":true,"role":"caption"},
        {"name":"audio","packaging":"loc","isLive":true,"codec":"opus","samplerate":48000,"channelConfig":"mono",
         "initData":"T3B1c0hlYWQ="}]}"#;
    let read = Broadcast::from_msf(json).unwrap();
    assert_eq!(read.renditions.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["sd", "hd", "audio"]);
    assert_eq!(read.renditions[2].info.config, "OpusHead");
    assert_eq!(read.renditions[2].info.format, Format::Audio { sample_rate: 48_000, channels: 1 });
    assert_eq!(read.best().renditions[0].name, "hd");
    assert!(Broadcast::from_msf(br#"{"version":1,"tracks":[]}"#).is_ok());
}

#[test]
fn what_cannot_be_understood_says_why() {
    let error = |result: Result<Broadcast, CatalogError>| result.unwrap_err().to_string();
    assert!(error(Broadcast::from_hang(b"{")).starts_with("catalog `catalog.json` is not understood: EOF"));
    let json =
        br#"{"audio":{"renditions":{"a":{"codec":"opus","sampleRate":1,"numberOfChannels":1,"description":"AU"}}}}"#;
    let cause = "catalog `catalog.json` is not understood: track `a`: `description` is not hexadecimal";
    assert_eq!(error(Broadcast::from_hang(json)), cause);
    assert_eq!(error(Broadcast::from_msf(br#"{"version":2}"#)), "catalog `catalog` is not understood: version 2");
    assert_eq!(Broadcast::from_msf(br#"{"deltaUpdate":[]}"#), Err(CatalogError::Delta));
    let many: Vec<_> = (0..=MAX_RENDITIONS).map(|n| format!(r#""v{n}":{{"codec":"vp8"}}"#)).collect();
    let json = format!(r#"{{"video":{{"renditions":{{{}}}}}}}"#, many.join(","));
    assert_eq!(Broadcast::from_hang(json.as_bytes()), Err(CatalogError::TooMany(65)));
}

#[test]
fn a_broken_init_segment_takes_only_its_own_track_out() {
    let json = br#"{"video":{"renditions":{"v":{"codec":"avc1.42c01f","container":{"kind":"cmaf","init":"AAAA"}},
        "w":{"codec":"vp8","container":{"kind":"cmaf"}}}}}"#;
    let read = Broadcast::from_hang(json).unwrap();
    let why = "init segment: `moov` is missing or cut".to_owned();
    assert_eq!(read.renditions[0].container, Container::Unsupported(why));
    assert!(read.best().renditions.is_empty());
    assert_eq!(read.to_hang(), r#"{"video":{"renditions":{}},"audio":{"renditions":{}}}"#);
}
