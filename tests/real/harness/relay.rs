//! Relays as child processes.

use super::metrics::{Metrics, http_get};
use super::process::Process;
use super::scene::{Scene, until};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A relay is up within this time, on a machine that is busy with other tests.
const UP: Duration = Duration::from_secs(20);

/// What a relay's configuration says.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Its name.
    pub(crate) pop: &'static str,
    /// `edge` or `origin`.
    pub(crate) role: &'static str,
    /// Its threads.
    pub(crate) shards: u8,
    /// Its authority's certificate, its own, and the key; without them it has no trunks.
    pub(crate) trunk: Option<[PathBuf; 3]>,
    /// Its origin and where that listens.
    pub(crate) origin: Option<(&'static str, SocketAddr)>,
    /// Further lines of the file.
    pub(crate) more: &'static str,
}

impl Setup {
    /// An edge on its own.
    pub(crate) const fn alone(pop: &'static str) -> Self {
        Self { pop, role: "edge", shards: 1, trunk: None, origin: None, more: "" }
    }

    /// The file, with ports that the system picks where none are given.
    pub(crate) fn toml(&self, scene: &Scene, addresses: Option<&Addresses>) -> String {
        let any = || SocketAddr::from(([127, 0, 0, 1], 0));
        let at = |addr: Option<SocketAddr>| addr.unwrap_or_else(any);
        let (pop, role, shards, state) = (self.pop, self.role, self.shards, scene.arg("state"));
        let mut text = format!("pop = \"{pop}\"\nrole = \"{role}\"\nshards = {shards}\nstate_dir = \"{state}\"\n");
        let mut line = |text_of_line: std::fmt::Arguments<'_>| writeln!(text, "{text_of_line}").unwrap();
        line(format_args!("[listen]\naddr = \"{}\"", at(addresses.map(|a| a.user))));
        line(format_args!("[admin]\naddr = \"{}\"", at(addresses.map(|a| a.admin))));
        if let Some([ca, cert, key]) = &self.trunk {
            let (ca, cert, key) = (ca.display(), cert.display(), key.display());
            line(format_args!("[trunk]\naddr = \"{}\"", at(addresses.and_then(|a| a.trunk))));
            line(format_args!("ca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\""));
        }
        if let Some((origin, addr)) = self.origin {
            line(format_args!("origins = [\"{origin}\"]\n[[peer]]\npop = \"{origin}\"\naddr = \"{addr}\""));
        }
        line(format_args!("{}", self.more));
        text
    }
}

/// Where a relay listens.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// For users.
    pub(crate) user: SocketAddr,
    /// For HTTP.
    pub(crate) admin: SocketAddr,
    /// For other relays.
    pub(crate) trunk: Option<SocketAddr>,
}

impl Addresses {
    /// What the line "relay ready" of a log in JSON says.
    fn of_log(log: &str) -> Option<Self> {
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let ready = lines.rfind(|line| line["message"] == "relay ready")?;
        let addr = |key: &str| ready[key].as_str().map(|text| text.parse().unwrap());
        Some(Self { user: addr("listen")?, admin: addr("admin")?, trunk: addr("trunk") })
    }
}

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    /// What it was started with.
    pub(crate) setup: Setup,
    /// Where it listens.
    pub(crate) at: Addresses,
    /// Its process.
    pub(crate) process: Process,
    starts: u32,
}

impl Relay {
    /// Starts a relay and waits until it is ready.
    pub(crate) fn start(scene: &Scene, setup: Setup) -> Self {
        let (process, at) = launch(scene, &setup, None, 1);
        Self { setup, at, process, starts: 1 }
    }

    /// Kills it and starts it again at the same addresses.
    pub(crate) fn restart(&mut self, scene: &Scene) {
        self.process.kill();
        self.starts += 1;
        (self.process, self.at) = launch(scene, &self.setup, Some(&self.at), self.starts);
    }

    /// The metrics, as they are.
    pub(crate) fn metrics(&self) -> Metrics {
        let (status, text) = http_get(self.at.admin, "/metrics").unwrap();
        assert_eq!(status, 200, "{text}");
        Metrics::parse(&text)
    }

    /// Waits until the metrics satisfy `condition`.
    pub(crate) fn wait(&self, what: &str, within: Duration, mut condition: impl FnMut(&Metrics) -> bool) -> Metrics {
        let what = format!("{what} of {}", self.setup.pop);
        until(&what, within, || Some(self.metrics()).filter(&mut condition))
    }

    /// Waits until both connections of the trunk to `peer` stand.
    pub(crate) fn wait_trunk(&self, peer: &str) {
        self.wait(&format!("the trunk to {peer}"), UP, |metrics| {
            metrics.trunk(peer, "control_up") > 0.0 && metrics.trunk(peer, "media_up") > 0.0
        });
    }

    /// Waits until it has appended `objects` to its logs.
    pub(crate) fn wait_objects(&self, objects: f64) {
        let what = format!("{objects} objects in the logs");
        self.wait(&what, UP, |metrics| metrics.get("sluice_appended_objects_total") >= objects);
    }
}

fn launch(scene: &Scene, setup: &Setup, addresses: Option<&Addresses>, start: u32) -> (Process, Addresses) {
    let name = format!("{}-{start}", setup.pop);
    scene.write(&format!("{name}.toml"), setup.toml(scene, addresses));
    let config = scene.arg(&format!("{name}.toml"));
    let mut process = scene.sluice(&name, &["relay", "--config", &config, "--log-format", "json"]);
    let at = until(&format!("the readiness of {name}"), UP, || {
        assert!(process.is_running(), "{name} ended: {}", process.log());
        Addresses::of_log(&process.log())
    });
    until(&format!("/readyz of {name}"), UP, || {
        http_get(at.admin, "/readyz").ok().filter(|(status, _)| *status == 200)
    });
    (process, at)
}
