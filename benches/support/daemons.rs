//! The relay's daemon in full: one of one or more shards, or a chain of them joined by trunks.
//!
//! ```text
//! relays 1: publisher -> edge-1 -> viewers
//! relays 2: publisher -> edge-1 -> origin -> viewers
//! relays 3: publisher -> edge-1 -> origin -> edge-2 -> viewers
//! ```

use crate::support::clock;
use crate::support::protocol::{Hello, Link, Shape};
use crate::support::sender::{Meter, Stage};
use anyhow::{Context as _, bail};
use sluice_net::{Clock, SystemClock};
use sluice_relay::Config;
use sluice_relay::ca::{DevFiles, dev_certs, dev_trunk_certs};
use sluice_relay::daemon::Daemon;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where certificates and node keys lie.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/sluice-bench");
/// How long trunks may take to come up.
const PATIENCE_NS: u64 = 10_000_000_000;
const POLL: Duration = Duration::from_millis(50);

/// Serves until the parent goes away.
pub(crate) fn serve(stage: &Stage) -> anyhow::Result<()> {
    let files = Files::make()?;
    let chain = Chain::start(stage.run.shape, &files)?;
    chain.await_trunks()?;
    let addresses = (chain.viewers()?, chain.publisher()?);
    let certificate = std::fs::read_to_string(&files.user.ca).context("reading the authority's certificate")?;
    let hello = Hello { address: addresses.0, publish: addresses.1, certificate, epoch_ns: stage.schedule.epoch_ns };
    stage.announce(&hello, Meter { links: Box::new(move || chain.links()) })?;
    // The daemons live in the meter, whose thread ends the process.
    loop {
        std::thread::park();
    }
}

struct Files {
    folder: PathBuf,
    user: DevFiles,
}

impl Files {
    fn make() -> anyhow::Result<Self> {
        let folder = PathBuf::from(FOLDER);
        let user = dev_certs(&folder, now())?;
        Ok(Self { folder, user })
    }

    /// The configuration of `pop`, which dials the trunk at `origin` if there is one.
    fn config(&self, pop: Pop, shape: Shape, origin: Option<SocketAddr>) -> anyhow::Result<Config> {
        let path = |path: &Path| path.display().to_string();
        let mut text = format!(
            "pop = {name:?}\nrole = {role:?}\nshards = {shards}\nstate_dir = {state:?}\n\
             [listen]\naddr = \"127.0.0.1:0\"\ncert = {cert:?}\nkey = {key:?}\n",
            name = pop.name(),
            role = pop.role(),
            shards = shape.shards,
            state = path(&self.folder.join(pop.name())),
            cert = path(&self.user.leaf.cert),
            key = path(&self.user.leaf.key),
        );
        if shape.relays > 1 {
            let trunk = dev_trunk_certs(&self.folder, &pop.name().parse()?, now())?;
            let (cert, key) = (path(&trunk.leaf.cert), path(&trunk.leaf.key));
            let ca = path(&trunk.ca);
            text += &format!(
                "[trunk]\naddr = \"127.0.0.1:0\"\nca = {ca:?}\ncert = {cert:?}\nkey = {key:?}\norigins = [\"origin\"]\n"
            );
        }
        if let Some(addr) = origin {
            text += &format!("[[peer]]\npop = \"origin\"\naddr = \"{addr}\"\n");
        }
        Config::from_toml(&text).map_err(|problems| anyhow::anyhow!("configuring {}: {problems}", pop.name()))
    }
}

fn now() -> std::time::SystemTime {
    std::time::UNIX_EPOCH + SystemClock.unix_time()
}

/// The places of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pop {
    First,
    Origin,
    Last,
}

impl Pop {
    const fn name(self) -> &'static str {
        match self {
            Self::First => "edge-1",
            Self::Origin => "origin",
            Self::Last => "edge-2",
        }
    }

    const fn role(self) -> &'static str {
        match self {
            Self::First | Self::Last => "edge",
            Self::Origin => "origin",
        }
    }
}

/// Running daemons, in the order of the path.
struct Chain(BTreeMap<Pop, Daemon>);

impl Chain {
    fn start(shape: Shape, files: &Files) -> anyhow::Result<Self> {
        let order: &[Pop] = match shape.relays {
            1 => &[Pop::First],
            2 => &[Pop::Origin, Pop::First],
            3 => &[Pop::Origin, Pop::First, Pop::Last],
            other => bail!("a chain has 1 to 3 relays, not {other}"),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut chain = BTreeMap::new();
        let mut origin = None;
        for &pop in order {
            let daemon = Daemon::start(&files.config(pop, shape, origin)?, &clock)?;
            if pop == Pop::Origin {
                origin = daemon.addresses().trunk;
            }
            chain.insert(pop, daemon);
        }
        Ok(Self(chain))
    }

    fn await_trunks(&self) -> anyhow::Result<()> {
        let deadline = clock::wall_ns() + PATIENCE_NS;
        while self.0.len() > 1 && !self.trunks_stand() {
            if clock::wall_ns() > deadline {
                bail!("the trunks do not come up");
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Every edge has its trunk.
    fn trunks_stand(&self) -> bool {
        self.0.iter().filter(|(pop, _)| **pop != Pop::Origin).all(|(_, daemon)| {
            let shards = daemon.state().snapshots();
            shards.iter().flat_map(|shard| &shard.node.trunks).any(|trunk| trunk.control_up && trunk.media_up)
        })
    }

    fn publisher(&self) -> anyhow::Result<SocketAddr> {
        self.0.first_key_value().map(|(_, daemon)| daemon.addresses().user).context("no relay")
    }

    fn viewers(&self) -> anyhow::Result<SocketAddr> {
        self.0.last_key_value().map(|(_, daemon)| daemon.addresses().user).context("no relay")
    }

    /// What left on every trunk that carries media.
    fn links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        for (pop, daemon) in &self.0 {
            for trunk in daemon.state().snapshots().iter().flat_map(|shard| &shard.node.trunks) {
                let (carried, sent, udp) =
                    (trunk.bytes.carried_total, trunk.bytes.sent_total, trunk.bytes.udp_sent_total);
                if carried > 0 {
                    links.push(Link { name: format!("{} -> {}", pop.name(), trunk.peer), carried, sent, udp });
                }
            }
        }
        links
    }
}
