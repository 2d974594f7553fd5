//! `[node.NAME]`: relays, publishers, viewers.

use super::NodeId;
use super::document::Section;
use super::value::{self, Kind};
use std::time::Duration;

/// One taking part; viewers of one kind are one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// A relay that homes namespaces.
    Origin,
    /// A relay that terminates users, or only passes on.
    Edge,
    /// A client that publishes one stream.
    Publisher(Workload),
    /// Clients that watch one stream.
    Viewers(Viewers),
}

impl Role {
    /// Whether it is a relay.
    #[must_use]
    pub const fn is_relay(&self) -> bool {
        matches!(self, Self::Origin | Self::Edge)
    }
}

/// What a publisher sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Video, in bits per second.
    pub rate: u64,
    /// Video frames per second, each an object.
    pub fps: u32,
    /// Time from keyframe to keyframe.
    pub group: Duration,
    /// Audio, in bits per second; `None`: no audio.
    pub audio: Option<u64>,
}

impl Workload {
    /// Time between two frames of video.
    #[must_use]
    pub fn frame(&self) -> Duration {
        Duration::from_secs(1) / self.fps.max(1)
    }

    /// Frames of a group of video.
    #[must_use]
    pub fn frames_per_group(&self) -> u32 {
        let frames = self.group.as_nanos() / self.frame().as_nanos().max(1);
        u32::try_from(frames).unwrap_or(u32::MAX).max(1)
    }
}

/// Clients that watch one stream, each with a connection and a link of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewers {
    /// How many there are in the whole run.
    pub count: u32,
    /// Whose stream.
    pub watch: NodeId,
    /// When the first one joins.
    pub join: Duration,
    /// Over how long a time they join, evenly.
    pub ramp: Duration,
    /// How long each one stays; `None`: to the end. With `ramp` it makes churn.
    pub stay: Option<Duration>,
}

impl Viewers {
    /// When viewer number `index` joins.
    #[must_use]
    pub fn joins(&self, index: u32) -> Duration {
        self.join + self.ramp * index / self.count.max(1)
    }
}

/// Names of roles; a node that is named like a role has it.
const ROLES: [&str; 5] = ["origin", "edge", "relay", "publisher", "viewers"];
const ROLE: Kind<&'static str> = Kind {
    allowed: "`origin`, `edge`, `relay`, `publisher` or `viewers`",
    parse: |text| ROLES.into_iter().find(|role| *role == text),
};
const STREAM: Kind<String> = Kind { allowed: "the name of a publisher", parse: |text| Some(text.to_owned()) };
const AUDIO: Kind<Option<u64>> = Kind {
    allowed: "bits per second such as `128k`, or `off`",
    parse: |text| {
        if text == "off" { Some(None) } else { text.parse::<crate::model::Rate>().ok().map(|r| Some(r.bits())) }
    },
};

const RATE: u64 = 2_000_000;
const AUDIO_RATE: u64 = 128_000;
const FPS: u32 = 25;
const GROUP: Duration = Duration::from_secs(1);

/// Reads all nodes; what is wrong is noted in their sections.
pub(super) fn read(sections: &mut [(String, Section<'_>)]) -> Vec<Node> {
    let roles: Vec<_> = sections.iter_mut().map(|(name, section)| role(name, section)).collect();
    let publishers: Vec<(String, NodeId)> = (sections.iter().zip(&roles).enumerate())
        .filter(|(_, (_, role))| **role == Some("publisher"))
        .map(|(at, ((name, _), _))| (name.clone(), NodeId(at)))
        .collect();
    let nodes = sections.iter_mut().zip(roles).map(|((name, section), role)| {
        let role = match role {
            Some("origin") => Role::Origin,
            Some("publisher") => Role::Publisher(workload(section)),
            Some("viewers") => Role::Viewers(viewers(section, &publishers)),
            // A relay by either name; without a legal role a problem is noted.
            Some(_) | None => Role::Edge,
        };
        Node { name: name.clone(), role }
    });
    nodes.collect()
}

fn role(name: &str, section: &mut Section<'_>) -> Option<&'static str> {
    if !value::is_name(name) {
        section.conflict("", format!("{} is no name: expected {}", section.title, value::NAME.allowed));
    }
    let named = ROLES.into_iter().find(|role| *role == name);
    match named {
        Some(_) if !section.has("role") => {
            let _ = section.value("role");
            named
        }
        Some(_) | None => section.required("role", &ROLE),
    }
}

fn workload(section: &mut Section<'_>) -> Workload {
    let workload = Workload {
        rate: section.read("rate", &value::RATE).map_or(RATE, crate::model::Rate::bits),
        fps: section.read("fps", &value::FPS).unwrap_or(FPS),
        group: section.read("group", &value::SPAN).unwrap_or(GROUP),
        audio: section.read("audio", &AUDIO).unwrap_or(Some(AUDIO_RATE)),
    };
    if workload.group < workload.frame() {
        section.conflict("group", format!("`group` is shorter than a frame at {} fps", workload.fps));
    }
    workload
}

fn viewers(section: &mut Section<'_>, publishers: &[(String, NodeId)]) -> Viewers {
    let watch = section.read("watch", &STREAM);
    let found = match (&watch, publishers) {
        (Some(name), _) => publishers.iter().find(|(publisher, _)| publisher == name).map(|(_, id)| *id),
        (None, [(_, only)]) => Some(*only),
        (None, _) => None,
    };
    match (&watch, found) {
        (Some(name), None) => {
            section.unknown_name("watch", "publisher", name, publishers.iter().map(|(name, _)| name.as_str()));
        }
        (None, None) if publishers.is_empty() => {
            section.conflict("", format!("{} have nothing to watch: add a node of role `publisher`", section.title));
        }
        (None, None) => section.missing("watch", "the name of a publisher, since there are several"),
        (Some(_) | None, Some(_)) => {}
    }
    Viewers {
        count: section.read("count", &value::COUNT).unwrap_or(1),
        watch: found.unwrap_or(NodeId(0)),
        join: section.read("join", &value::TIME).unwrap_or_default(),
        ramp: section.read("ramp", &value::TIME).unwrap_or_default(),
        stay: section.read("stay", &value::SPAN),
    }
}
