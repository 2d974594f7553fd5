//! A relay's configuration: from flags, environment, file and defaults to one checked [`Config`].
//!
//! ```text
//! file (TOML) ┐
//! environment ┼─> RawConfig (texts + places) ──Checker──> Config, or Problems: all of them
//! flags       ┘
//! ```
//! Every key is declared once, in [`keys`].

mod check;
pub mod flags;
pub mod keys;
mod print;
mod problem;
mod raw;
mod reference;
pub mod value;

pub use print::Effective;
pub use problem::{Place, Problem, Problems, Wrong};
pub use reference::reference;
pub use value::{Argument, Bandwidth, HostPort, IngestMode, LoopbackAddr, Price, Publishers, Role, Switch};

use check::Checker;
use raw::RawConfig;
use sluice_moqt::Namespace;
use sluice_topology::PopId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a relay does, checked: there is no other way to one than [`Config::load`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The name of this PoP.
    pub pop: PopId,
    /// Its tier.
    pub role: Role,
    /// Threads that forward media.
    pub shards: value::Whole<1, 64>,
    /// Where the node key lies; this PoP's own folder.
    pub state_dir: PathBuf,
    /// The listener of clients.
    pub listen: Listen,
    /// Where the admin interface listens.
    pub admin: LoopbackAddr,
    /// Trunks, if there are any.
    pub trunk: Option<Trunk>,
    /// How publishers are taken in.
    pub ingest: Ingest,
    /// The limits.
    pub limits: Limits,
    /// Homes fixed by configuration.
    pub homes: Homes,
    /// How long a drain waits for viewers to leave.
    pub drain_grace: Duration,
    /// What `sluice origin-shim` publishes itself.
    pub feeds: Feeds,
}

/// What a process publishes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feeds {
    /// Sources, each namespace once.
    pub sources: Vec<Feed>,
    /// Where encoders push RTMP.
    pub rtmp: Option<SocketAddr>,
}

impl Feeds {
    /// Whether there is nothing to publish.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.rtmp.is_none()
    }
}

/// One `[[source]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Feed {
    /// Its namespace; never empty.
    pub namespace: Namespace,
    /// Where its media comes from.
    pub input: FeedInput,
}

/// Where a source's media comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedInput {
    /// A file, in real time.
    File {
        /// Which.
        path: PathBuf,
        /// Whether it starts over at its end.
        looped: Switch,
    },
    /// Standard input, as it comes.
    Stdin,
    /// The output of a program and its arguments, as it comes; at least one word.
    Command(Vec<String>),
}

/// The listener of clients.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listen {
    /// The UDP address.
    pub addr: SocketAddr,
    /// Its certificate.
    pub certificate: Certificate,
    /// Addresses at which clients reach it from outside.
    pub advertise: Vec<SocketAddr>,
}

/// Where the certificate of the client listener comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// PEM files.
    Files {
        /// The chain.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// [`crate::ca::dev_certs`]: for localhost only.
    Development,
}

/// Trunks to other relays.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Trunk {
    /// The UDP address where peers connect.
    pub addr: SocketAddr,
    /// Certificate of the private authority.
    pub ca: PathBuf,
    /// Our certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Origins, the preferred one first.
    pub origins: Vec<PopId>,
    /// Peers by configuration; each PoP once, never this one.
    pub peers: Vec<Peer>,
}

/// A relay at the other end of a trunk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Peer {
    /// Its name.
    pub pop: PopId,
    /// Where to dial it.
    pub addr: HostPort,
    /// What traffic to it costs.
    pub price: Price,
    /// Rate that the trunk may carry at most.
    pub cap: Option<Bandwidth>,
}

/// How publishers are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ingest {
    /// Several live publishers of one track.
    pub publishers: Publishers,
    /// When the home pulls.
    pub mode: IngestMode,
}

/// A limit on everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Memory for media in logs and transports.
    pub memory_bytes: u64,
    /// Sessions at once.
    pub sessions: u64,
    /// Open requests of a session.
    pub requests_per_session: u64,
    /// Bytes kept of a track.
    pub window_bytes: u64,
    /// Age of the oldest group kept.
    pub window_age: Duration,
    /// Groups kept of a track.
    pub window_groups: u64,
    /// Groups by which a viewer may lag.
    pub viewer_max_lag_groups: u64,
    /// Age at which an object is not sent any more.
    pub delivery_timeout: Duration,
}

/// A namespace prefix with a fixed home.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Home {
    /// The prefix.
    pub prefix: Namespace,
    /// Its origin.
    pub origin: PopId,
}

/// Homes by prefix, each prefix once.
#[derive(Debug, Clone, Default)]
pub struct Homes(Vec<Home>);

impl Homes {
    /// Longest prefix first, so that the first match is the right one.
    fn new(mut homes: Vec<Home>) -> Self {
        homes.sort_by_key(|home| std::cmp::Reverse(home.prefix.fields().len()));
        Self(homes)
    }

    /// The home of `namespace`: that of the longest prefix.
    #[must_use]
    pub fn home_of(&self, namespace: &Namespace) -> Option<&PopId> {
        self.0.iter().find(|home| home.prefix.is_prefix_of(namespace)).map(|home| &home.origin)
    }

    /// All of them, the longest prefix first.
    #[must_use]
    pub fn as_slice(&self) -> &[Home] {
        &self.0
    }
}

/// Where a configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file: its path and text.
    pub file: Option<(PathBuf, String)>,
    /// The environment; only `SLUICE_...` matters.
    pub env: BTreeMap<String, String>,
    /// Flags that name keys.
    pub flags: flags::KeyFlags,
}

/// A checked configuration and what it was made of.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key's value with its source.
    pub effective: Effective,
}

impl Config {
    /// Reads and checks all sources.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: Sources) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let (path, text) = sources.file.unzip();
        let file = RawConfig::from_toml(text.as_deref().unwrap_or_default(), &mut problems);
        let env = RawConfig::from_texts(raw::texts_of_env(&sources.env), env_place, &mut problems);
        let flags = RawConfig::from_texts(sources.flags.into_texts(), flag_place, &mut problems);
        let raw = RawConfig::effective(flags, env, file);
        let folder = path.as_deref().and_then(Path::parent).unwrap_or_else(|| Path::new(""));
        let config = Checker::new(&raw, folder, &mut problems).config();
        let file = path.map(|p| p.display().to_string());
        match config.filter(|_| problems.is_empty()) {
            Some(config) => Ok(Loaded { config, effective: Effective { file, raw } }),
            None => Err(Problems::new(file, problems)),
        }
    }

    /// The files it names, by key.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files: Vec<(&'static str, &Path)> = Vec::new();
        if let Certificate::Files { cert, key } = &self.listen.certificate {
            files.extend([(keys::LISTEN_CERT.name, cert.as_path()), (keys::LISTEN_KEY.name, key)]);
        }
        if let Some(Trunk { ca, cert, key, .. }) = &self.trunk {
            let [ca_key, cert_key, key_key] = [keys::TRUNK_CA.name, keys::TRUNK_CERT.name, keys::TRUNK_KEY.name];
            files.extend([(ca_key, ca.as_path()), (cert_key, cert), (key_key, key)]);
        }
        for source in &self.feeds.sources {
            if let FeedInput::File { path, .. } = &source.input {
                files.push((keys::SOURCE_FILE.name, path));
            }
        }
        files
    }

    /// A configuration from the text of a file alone.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        let file = Some((PathBuf::from("config.toml"), text.to_owned()));
        Self::load(Sources { file, ..Sources::default() }).map(|loaded| loaded.config)
    }
}

fn env_place(name: &str) -> Place {
    Place::Env(keys::env_name(name))
}

fn flag_place(name: &str) -> Place {
    Place::Flag(format!("--{}", keys::flag_name(name)))
}

#[cfg(test)]
mod tests;
