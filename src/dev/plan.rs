//! The system as configurations: names, ports, certificates.

use super::Listen;
use anyhow::Context as _;
use sluice_relay::Config;
use sluice_relay::ca::{DevFiles, dev_certs, dev_trunk_certs};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Everything that dev writes lies here.
const FOLDER: &str = ".sluice-dev";
/// Distances from the port of the first edge: 4440 and 4441, 9443, and 1935 where encoders push without being told a
/// port.
const ORIGIN_BELOW: u16 = 3;
const TRUNK_BELOW: u16 = 2;
const ADMIN_ABOVE: u16 = 5000;
const RTMP_BELOW: u16 = 2508;

/// One relay of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pop {
    pub(super) name: String,
    pub(super) user: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Where it takes trunks; edges dial and may have any port.
    trunk: SocketAddr,
}

/// The whole system; the origin stands first.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    listen: SocketAddr,
    pub(super) pops: Vec<Pop>,
    folder: PathBuf,
}

impl Plan {
    pub(super) fn new(listen: Listen, edges: u16) -> Self {
        let Listen(addr) = listen;
        let loopback = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let pop = |name: String, port: u16, trunk: u16| Pop {
            name,
            user: SocketAddr::new(addr.ip(), port),
            admin: loopback(port + ADMIN_ABOVE),
            trunk: loopback(trunk),
        };
        let origin = pop("origin".to_owned(), addr.port() - ORIGIN_BELOW, addr.port() - TRUNK_BELOW);
        let edges = (0..edges).map(|n| pop(format!("edge-{}", n + 1), addr.port() + n, 0));
        Self { listen: addr, pops: std::iter::once(origin).chain(edges).collect(), folder: PathBuf::from(FOLDER) }
    }

    /// The configuration of each relay, with its certificates made.
    pub(super) fn configs(&self, now: SystemTime) -> anyhow::Result<Vec<Config>> {
        let user = dev_certs(&self.folder, now)?;
        self.pops.iter().map(|pop| self.config(pop, &user, now)).collect()
    }

    /// The edges, the first one first.
    pub(super) fn edges(&self) -> &[Pop] {
        self.pops.get(1..).unwrap_or_default()
    }

    /// Where encoders push.
    pub(super) const fn rtmp(&self) -> SocketAddr {
        SocketAddr::new(self.listen.ip(), self.listen.port() - RTMP_BELOW)
    }

    /// The host that clients on this machine use.
    pub(super) fn host(&self) -> String {
        match self.listen.ip() {
            ip if ip.is_unspecified() => "localhost".to_owned(),
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        }
    }

    /// The authority that clients trust; `None` where the certificate does not name the address.
    pub(super) fn authority(&self) -> Option<PathBuf> {
        let ip = self.listen.ip();
        let named = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        (ip.is_unspecified() || named.contains(&ip)).then(|| self.folder.join("ca.pem"))
    }

    fn config(&self, pop: &Pop, user: &DevFiles, now: SystemTime) -> anyhow::Result<Config> {
        let id = pop.name.parse().with_context(|| format!("naming {}", pop.name))?;
        let trunk = dev_trunk_certs(&self.folder, &id, now)?;
        let text = self.text(pop, user, &trunk);
        Config::from_toml(&text).map_err(|problems| anyhow::anyhow!("configuring {}: {problems}", pop.name))
    }

    fn text(&self, pop: &Pop, user: &DevFiles, trunk: &DevFiles) -> String {
        let path = |path: &Path| path.display().to_string();
        let origin = self.pops.first().filter(|origin| *origin != pop);
        let role = if origin.is_some() { "edge" } else { "origin" };
        let peer = origin.map_or_else(String::new, |origin| {
            format!("[[peer]]\npop = {:?}\naddr = \"{}\"\n", origin.name, origin.trunk)
        });
        format!(
            "pop = {name:?}\nrole = {role:?}\nstate_dir = {state:?}\n\
             [listen]\naddr = \"{user_addr}\"\ncert = {cert:?}\nkey = {key:?}\n\
             [admin]\naddr = \"{admin}\"\n\
             [trunk]\naddr = \"{trunk_addr}\"\nca = {ca:?}\ncert = {trunk_cert:?}\nkey = {trunk_key:?}\n\
             origins = [\"origin\"]\n{peer}",
            name = pop.name,
            state = path(&self.folder.join("state")),
            user_addr = pop.user,
            cert = path(&user.leaf.cert),
            key = path(&user.leaf.key),
            admin = pop.admin,
            trunk_addr = pop.trunk,
            ca = path(&trunk.ca),
            trunk_cert = path(&trunk.leaf.cert),
            trunk_key = path(&trunk.leaf.key),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> DevFiles {
        let leaf = sluice_relay::ca::Files { cert: format!("{name}.pem").into(), key: format!("{name}.key").into() };
        DevFiles { ca: "ca.pem".into(), leaf }
    }

    #[test]
    fn each_relay_has_ports_of_its_own_and_edges_know_the_origin() {
        let plan = Plan::new(Listen::default(), 3);
        let told: Vec<_> = plan.pops.iter().map(|p| format!("{} {} {}", p.name, p.user, p.admin)).collect();
        let expected = [
            "origin 127.0.0.1:4440 127.0.0.1:9440",
            "edge-1 127.0.0.1:4443 127.0.0.1:9443",
            "edge-2 127.0.0.1:4444 127.0.0.1:9444",
            "edge-3 127.0.0.1:4445 127.0.0.1:9445",
        ];
        assert_eq!(told, expected);
        assert_eq!(plan.rtmp(), "127.0.0.1:1935".parse().unwrap());
        for pop in &plan.pops {
            let config = Config::from_toml(&plan.text(pop, &files("user"), &files("trunk"))).unwrap();
            let peers: Vec<_> = config.trunk.unwrap().peers.iter().map(|p| format!("{} {}", p.pop, p.addr)).collect();
            let expected = if pop.name == "origin" { vec![] } else { vec!["origin 127.0.0.1:4441".to_owned()] };
            assert_eq!(peers, expected);
        }
    }

    #[test]
    fn clients_trust_the_authority_where_the_certificate_names_the_host() {
        let plan = |listen: &str| Plan::new(listen.parse().unwrap(), 1);
        assert_eq!(plan("::").host(), "localhost");
        assert_eq!(plan("::1").host(), "[::1]");
        assert!(plan("0.0.0.0").authority().is_some());
        assert_eq!(plan("192.0.2.1").authority(), None);
    }
}
