//! An origin with two edges, and the authority that they trust.

use super::relay::{Relay, Setup};
use super::scene::Scene;
use sluice_net::{Clock as _, SystemClock};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A machine that is busy with other tests must not look like viewers that cannot keep up.
const PATIENCE: &str = "[limits]\nviewer_max_lag = 30";

/// A private authority in the folder `NAME` of a scene.
#[derive(Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one.
    pub(crate) fn new(scene: &Scene, name: &str) -> Self {
        let folder = scene.path(name);
        sluice_relay::ca::init(&folder, wall_clock()).unwrap();
        Self { folder }
    }

    /// Its own certificate, and a new certificate and key of `pop`: what a relay needs for trunks.
    pub(crate) fn issue(&self, pop: &str) -> [PathBuf; 3] {
        self.issue_at(pop, wall_clock())
    }

    /// The same, issued 30 days ago for a day.
    pub(crate) fn issue_expired(&self, pop: &str) -> [PathBuf; 3] {
        self.issue_at(pop, wall_clock() - Duration::from_secs(30 * 86_400))
    }

    /// Its certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn issue_at(&self, pop: &str, at: SystemTime) -> [PathBuf; 3] {
        let files = sluice_relay::ca::issue(&self.folder, &pop.parse().unwrap(), 1, at).unwrap();
        [self.certificate(), files.cert, files.key]
    }
}

/// Edges `ea` and `eb` with trunks to the origin `o1`.
#[derive(Debug)]
pub(crate) struct Backbone {
    /// The origin.
    pub(crate) origin: Relay,
    /// One edge.
    pub(crate) a: Relay,
    /// The other.
    pub(crate) b: Relay,
    /// Who may join.
    pub(crate) authority: Authority,
}

impl Backbone {
    /// Starts the three relays and waits for their trunks.
    pub(crate) fn start(scene: &Scene, shards: u8) -> Self {
        let authority = Authority::new(scene, "ca");
        let setup = |pop| Setup { shards, trunk: Some(authority.issue(pop)), more: PATIENCE, ..Setup::alone(pop) };
        let origin = Relay::start(scene, Setup { role: "origin", ..setup("o1") });
        let at = Some(("o1", origin.at.trunk.unwrap()));
        let edge = |pop| Relay::start(scene, Setup { origin: at, ..setup(pop) });
        let (a, b) = (edge("ea"), edge("eb"));
        for edge in [&a, &b] {
            edge.wait_trunk("o1");
            origin.wait_trunk(edge.setup.pop);
        }
        Self { origin, a, b, authority }
    }
}

/// The calendar, for the dates of certificates.
fn wall_clock() -> SystemTime {
    UNIX_EPOCH + SystemClock.unix_time()
}
