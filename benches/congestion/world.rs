//! Runs flows beside each other through one bottleneck.

use super::host::{ALPN, Host, Role};
use super::net::{Net, Side, VirtualSocket, Watch};
use super::sink::Arrival;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};
use sluice_moqt::transport::Dial;
use sluice_net::tls::{ClientTls, Identity, Roots, ServerTls};
use sluice_net::{Clock, ManualClock, NodeKey, PortConfig, Shard, ShardConfig, TransportProfile};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When sources begin: after the handshakes.
pub(crate) const START: Duration = Duration::from_millis(500);
/// 2026-11-23.
const WALL: Duration = Duration::from_secs(1_795_392_000);

/// What a flow carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// 8 Mbit/s of video with sound.
    Live,
    /// All that goes.
    Greedy,
}

/// One connection through the bottleneck.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(crate) load: Load,
    pub(crate) profile: TransportProfile,
    /// When it connects.
    pub(crate) from: Duration,
}

/// The path over time: from when on, bit/s, lost part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) at: Duration,
    pub(crate) rate: u64,
    pub(crate) loss: f64,
}

/// What a receiver saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) bytes: Vec<(Duration, usize)>,
}

type Machine = Shard<VirtualSocket, Host>;

struct World {
    clock: ManualClock,
    net: Net,
    machines: Vec<Machine>,
}

/// Everything that one run needs.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) flows: Vec<Flow>,
    pub(crate) changes: Vec<Change>,
    /// Of the bottleneck, bytes.
    pub(crate) queue: usize,
    pub(crate) length: Duration,
    pub(crate) seed: u64,
}

/// Runs it.
pub(crate) fn run(setup: &Setup) -> anyhow::Result<(Vec<Seen>, Watch)> {
    let clock = ManualClock::new(WALL);
    let net = Net::new(&clock, setup.seed, setup.queue);
    let mut world = World { clock, net, machines: Vec::new() };
    let epoch = world.clock.now();
    for (index, flow) in setup.flows.iter().enumerate() {
        world.add(setup.seed, u8::try_from(index)?, flow)?;
    }
    let mut events: Vec<(Duration, Event)> =
        setup.changes.iter().map(|change| (change.at, Event::Path(*change))).collect();
    events.extend(setup.flows.iter().enumerate().map(|(index, flow)| (flow.from, Event::Dial(index))));
    events.sort_by_key(|(at, _)| *at);
    for (at, event) in events {
        world.run_until(epoch + at)?;
        world.happen(event);
    }
    world.run_until(epoch + setup.length)?;
    let watch = world.net.take_watch();
    Ok((world.machines.chunks_mut(2).map(take_seen).collect(), watch))
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Path(Change),
    Dial(usize),
}

fn sender_addr(index: u8) -> SocketAddr {
    ([10, 0, 0, index + 1], 4443).into()
}

fn take_seen(pair: &mut [Machine]) -> Seen {
    pair[1].with_app(|app, _| match &mut app.role {
        Role::Receiver { frames, bytes } => {
            Seen { arrivals: std::mem::take(&mut frames.arrivals), bytes: std::mem::take(bytes) }
        }
        Role::Live(_) | Role::Greedy { .. } => unreachable!("every second machine receives"),
    })
}

impl World {
    /// Two machines: the sender accepts, the receiver dials, as a viewer does.
    fn add(&mut self, seed: u64, index: u8, flow: &Flow) -> anyhow::Result<()> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let epoch = self.clock.now();
        let (identity, roots) = identity()?;
        let tls = ServerTls::open(&identity, &[ALPN], clock.clone())?;
        let socket = self.net.bind(sender_addr(index), Side::Sender);
        let app = match flow.load {
            Load::Live => Host::live(epoch, flow.from + START),
            Load::Greedy => Host::greedy(epoch),
        };
        self.machine(seed, index * 2, PortConfig::server(socket, tls, flow.profile.clone()), app)?;
        let tls = ClientTls::verified(&roots, ALPN, clock)?;
        let socket = self.net.bind(([10, 0, 1, index + 1], 5000).into(), Side::Receiver);
        self.machine(seed, index * 2 + 1, PortConfig::client(socket, tls, flow.profile.clone()), Host::receiver(epoch))
    }

    fn machine(&mut self, seed: u64, number: u8, port: PortConfig<VirtualSocket>, app: Host) -> anyhow::Result<()> {
        let key = NodeKey::from_bytes([number; 32]);
        let config = ShardConfig { seed: Some(seed * 100 + u64::from(number)), ..ShardConfig::single(key) };
        self.machines.push(Shard::new(config, vec![port], Arc::new(self.clock.clone()), app)?);
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Path(change) => self.net.set(change.rate, change.loss),
            Event::Dial(index) => {
                let remote = sender_addr(u8::try_from(index).unwrap_or(u8::MAX));
                let dial = Dial { token: 0, remote, alpn: ALPN.to_vec(), server_name: "localhost".to_owned() };
                self.machines[index * 2 + 1].with_app(|app, _| app.dial(dial));
            }
        }
    }

    fn run_until(&mut self, end: Instant) -> anyhow::Result<()> {
        loop {
            let now = self.clock.now();
            self.net.advance(now);
            for machine in &mut self.machines {
                machine.turn(Duration::ZERO)?;
            }
            let wakeups = self.machines.iter().filter_map(Machine::next_wakeup).chain(self.net.next());
            match wakeups.min().filter(|next| *next < end) {
                Some(next) => self.clock.advance_to(next),
                None => {
                    self.clock.advance_to(end);
                    return Ok(());
                }
            }
        }
    }
}

/// Ed25519, whose signatures have one length: packet sizes repeat.
fn identity() -> anyhow::Result<(Identity, Roots)> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    let certificate = params.self_signed(&key)?.pem();
    Ok((
        Identity::from_pem(certificate.as_bytes(), key.serialize_pem().as_bytes())?,
        Roots::from_pem(certificate.as_bytes())?,
    ))
}
