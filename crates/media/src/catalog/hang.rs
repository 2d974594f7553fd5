//! hang's `catalog.json`: maps of renditions under `video` and `audio`, field names after WebCodecs.

use super::text::{from_base64, from_hex, to_base64, to_hex};
use super::{Broadcast, CatalogError, Container, HANG_TRACK, Listed, Rendition, described};
use crate::frame::Format;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Root {
    video: Section<Video>,
    audio: Section<Audio>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Section<T> {
    #[serde(default = "BTreeMap::new")]
    renditions: BTreeMap<String, T>,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self { renditions: BTreeMap::new() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Video {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coded_width: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coded_height: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    framerate: Option<f64>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Audio {
    sample_rate: u32,
    number_of_channels: u32,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Serialize, Deserialize)]
struct Common {
    codec: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bitrate: Option<u64>,
    #[serde(default)]
    container: Wire,
}

/// The container object; a missing one means legacy.
#[derive(Debug, Serialize, Deserialize)]
struct Wire {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<String>,
}

impl Default for Wire {
    fn default() -> Self {
        Self { kind: "legacy".to_owned(), init: None }
    }
}

pub(super) fn read(json: &[u8]) -> Result<Broadcast, CatalogError> {
    let fail = |cause: String| CatalogError::Json { track: HANG_TRACK, cause };
    let root: Root = serde_json::from_slice(json).map_err(|e| fail(e.to_string()))?;
    let video = root.video.renditions.into_iter().map(|(name, video)| {
        let format = Format::Video { width: video.coded_width.unwrap_or(0), height: video.coded_height.unwrap_or(0) };
        (name, format, video.framerate, video.common)
    });
    let audio = root.audio.renditions.into_iter().map(|(name, audio)| {
        let format = Format::Audio { sample_rate: audio.sample_rate, channels: audio.number_of_channels };
        (name, format, None, audio.common)
    });
    let renditions = video.chain(audio).map(|(name, format, framerate, common)| {
        let config = match common.description.as_deref().map(from_hex) {
            Some(None) => return Err(fail(format!("track `{name}`: `description` is not hexadecimal"))),
            Some(Some(config)) => Bytes::from(config),
            None => Bytes::new(),
        };
        let container = match common.container.kind.as_str() {
            "legacy" => Listed::Legacy,
            "loc" => Listed::Loc,
            "cmaf" => Listed::Cmaf(common.container.init.as_deref().and_then(from_base64).map(Bytes::from)),
            other => Listed::Other(other.to_owned()),
        };
        let info = described(common.codec, format, config, common.bitrate);
        Ok(Rendition::listed(name, info, container, framerate))
    });
    Ok(Broadcast { renditions: renditions.collect::<Result<_, _>>()? })
}

pub(super) fn write(broadcast: &Broadcast) -> String {
    let mut root = Root::default();
    for rendition in &broadcast.renditions {
        let Some(common) = common(rendition) else { continue };
        let name = rendition.name.clone();
        match rendition.info.format {
            Format::Video { width, height } => {
                let known = |pixels| Some(pixels).filter(|p| *p > 0);
                let (coded_width, coded_height) = (known(width), known(height));
                let video = Video { coded_width, coded_height, framerate: rendition.framerate, common };
                root.video.renditions.insert(name, video);
            }
            Format::Audio { sample_rate, channels } => {
                let audio = Audio { sample_rate, number_of_channels: channels, common };
                root.audio.renditions.insert(name, audio);
            }
        }
    }
    serde_json::to_string(&root).expect("strings, numbers and maps with string keys always serialise")
}

/// `None` for containers that we do not write.
fn common(rendition: &Rendition) -> Option<Common> {
    let (kind, init) = match &rendition.container {
        Container::Legacy => ("legacy", None),
        Container::Loc => ("loc", None),
        Container::Cmaf { init } => ("cmaf", Some(to_base64(init))),
        Container::Unsupported(_) => return None,
    };
    let info = &rendition.info;
    Some(Common {
        codec: info.codec.clone(),
        description: Some(&info.config).filter(|c| !c.is_empty()).map(|c| to_hex(c)),
        bitrate: info.bitrate,
        container: Wire { kind: kind.to_owned(), init },
    })
}
