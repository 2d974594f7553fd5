//! MSF's `catalog` (draft-ietf-moq-msf-01, CMAF packaging as in draft-ietf-moq-cmsf): a list of tracks.

use super::text::{from_base64, to_base64};
use super::{Broadcast, CatalogError, Container, Listed, MSF_TRACK, Rendition, described};
use crate::frame::{Format, Kind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Root {
    /// Draft 00 wrote the number 1, draft 01 its own name; other numbers are formats of the future.
    version: serde_json::Value,
    #[serde(default)]
    tracks: Vec<Track>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    init_data_list: Vec<InitData>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InitData {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Track {
    name: String,
    packaging: String,
    is_live: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    render_group: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bitrate: Option<u64>,
    /// Draft 00: in place of `init_ref`.
    #[serde(skip_serializing_if = "Option::is_none")]
    init_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_ref: Option<String>,
    #[serde(flatten)]
    video: VideoFields,
    #[serde(flatten)]
    audio: AudioFields,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct VideoFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    framerate: Option<f64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AudioFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    samplerate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_config: Option<String>,
}

pub(super) fn read(json: &[u8]) -> Result<Broadcast, CatalogError> {
    let fail = |cause: String| CatalogError::Json { track: MSF_TRACK, cause };
    // A delta has no `version`; tell it apart from a document that is something else altogether.
    let value: serde_json::Value = serde_json::from_slice(json).map_err(|e| fail(e.to_string()))?;
    if value.get("deltaUpdate").is_some() {
        return Err(CatalogError::Delta);
    }
    let root: Root = serde_json::from_value(value).map_err(|e| fail(e.to_string()))?;
    if root.version.as_f64().is_some_and(|version| (version - 1.0).abs() > f64::EPSILON) {
        return Err(fail(format!("version {}", root.version)));
    }
    let mut broadcast = Broadcast::default();
    for track in root.tracks {
        let Some(kind) = track.kind() else { continue };
        let inline = |id: &str| root.init_data_list.iter().find(|d| d.id == id && d.kind == "inline");
        let init = track.init_ref.as_deref().and_then(inline).map(|d| d.data.as_str());
        let init = match init.or(track.init_data.as_deref()).map(from_base64) {
            Some(None) => return Err(fail(format!("track `{}`: init data is not base64", track.name))),
            Some(Some(init)) => Some(Bytes::from(init)),
            None => None,
        };
        broadcast.renditions.push(rendition(track, kind, init));
    }
    broadcast.renditions.sort_by_key(|r| r.info.kind());
    Ok(broadcast)
}

impl Track {
    /// Tracks of other roles (captions, timelines, catalogs of catalogs) are no media for us.
    fn kind(&self) -> Option<Kind> {
        match self.role.as_deref() {
            Some("video") => Some(Kind::Video),
            Some("audio") => Some(Kind::Audio),
            Some(_) => None,
            None if self.video.width.is_some() => Some(Kind::Video),
            None => self.audio.samplerate.map(|_| Kind::Audio),
        }
    }
}

fn rendition(track: Track, kind: Kind, init: Option<Bytes>) -> Rendition {
    let format = match kind {
        Kind::Video => Format::Video { width: track.video.width.unwrap_or(0), height: track.video.height.unwrap_or(0) },
        Kind::Audio => Format::Audio {
            sample_rate: track.audio.samplerate.unwrap_or(48_000),
            channels: match track.audio.channel_config.as_deref() {
                Some("mono") => 1,
                Some(count) => count.parse().unwrap_or(2),
                None => 2,
            },
        },
    };
    let (container, config) = match track.packaging.as_str() {
        "cmaf" => (Listed::Cmaf(init), None),
        "loc" => (Listed::Loc, init),
        // No packaging of the draft: moq-dev's publishers announce hang's container so.
        "legacy" => (Listed::Legacy, init),
        other => (Listed::Other(other.to_owned()), None),
    };
    let info = described(track.codec.unwrap_or_default(), format, config.unwrap_or_default(), track.bitrate);
    Rendition::listed(track.name, info, container, track.video.framerate)
}

pub(super) fn write(broadcast: &Broadcast) -> String {
    let mut root = Root { version: "draft-01".into(), tracks: Vec::new(), init_data_list: Vec::new() };
    for rendition in &broadcast.renditions {
        let config = Some(&rendition.info.config).filter(|c| !c.is_empty());
        let (packaging, init) = match &rendition.container {
            Container::Legacy => ("legacy", config),
            Container::Loc => ("loc", config),
            Container::Cmaf { init } => ("cmaf", Some(init)),
            Container::Unsupported(_) => continue,
        };
        let init_ref = init.map(|init| {
            let id = format!("init{}", root.init_data_list.len());
            let data = to_base64(init);
            root.init_data_list.push(InitData { id: id.clone(), kind: "inline".to_owned(), data });
            id
        });
        root.tracks.push(track(rendition, packaging, init_ref));
    }
    serde_json::to_string(&root).expect("strings, numbers and lists always serialise")
}

fn track(rendition: &Rendition, packaging: &str, init_ref: Option<String>) -> Track {
    let mut track = Track {
        name: rendition.name.clone(),
        packaging: packaging.to_owned(),
        is_live: true,
        render_group: Some(1),
        codec: Some(rendition.info.codec.clone()),
        bitrate: rendition.info.bitrate,
        init_ref,
        ..Track::default()
    };
    match rendition.info.format {
        Format::Video { width, height } => {
            let known = |pixels| Some(pixels).filter(|p| *p > 0);
            track.role = Some("video".to_owned());
            track.video = VideoFields { width: known(width), height: known(height), framerate: rendition.framerate };
        }
        Format::Audio { sample_rate, channels } => {
            track.role = Some("audio".to_owned());
            track.audio = AudioFields { samplerate: Some(sample_rate), channel_config: Some(channels.to_string()) };
        }
    }
    track
}
