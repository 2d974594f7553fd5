//! A shard as the daemon has it, with one port on the loopback address.

use crate::support::counted::Counted;
use crate::support::protocol::AckMode;
use crate::support::sender::Stage;
use anyhow::Context as _;
use sluice_moqt::transport::App;
use sluice_net::tls::{Identity, ServerTls};
use sluice_net::{Clock, NodeKey, PortConfig, Shard, ShardConfig, SystemClock, TransportProfile, UdpSocket};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Hosts `app` for ever.
pub(crate) fn serve<A: App>(stage: &Stage, app: A) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (certificate, key) = stage.identity.pem();
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes())?;
    let tls = ServerTls::open(&identity, &[stage.run.case.alpn()], Arc::clone(&clock))?;
    // The socket's warnings are about sysctls that matter to receivers of video, not of acknowledgements.
    let (socket, _) = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let port = PortConfig::server(socket, tls, profile(stage.run.ack_mode));
    let config = ShardConfig::single(NodeKey::generate());
    let mut shard = Shard::new(config, vec![port], clock, Counted::new(app))?;
    let address = shard.local_addrs().first().copied().context("a shard without a port")?;
    stage.announce_one(address)?;
    shard.run().context("running the shard")
}

/// A viewer's transport, for receivers that acknowledge as `mode` says.
fn profile(mode: AckMode) -> TransportProfile {
    let profile = TransportProfile::viewer();
    match mode {
        // quinn-proto on the load side would obey ACK_FREQUENCY; the receivers that this mode stands for cannot.
        AckMode::Per2 => TransportProfile { ack_every: None, ..profile },
        AckMode::Frame | AckMode::Per10 => profile,
    }
}
