//! The only part that meets the outside: a shard on its own thread, signals, and stdin.

use crate::cli::Common;
use crate::core::{Client, Target};
use crate::exit::{Exit, Failure};
use crate::host::{Command, Driver, Host, Wall};
use crate::report::Report;
use crate::url::{Scheme, StreamUrl};
use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use sluice_net::clock::{Clock, SystemClock};
use sluice_net::task::Thread;
use sluice_net::tls::{ClientTls, Roots};
use sluice_net::{
    Hosted, NodeKey, PortConfig, SendError, Shard, ShardConfig, ShardHandle, TransportProfile, UdpSocket,
};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How long closing connections may take.
const GOODBYE: Duration = Duration::from_millis(300);
/// Longest time between two looks at whether the verb is over.
const LOOK: Duration = Duration::from_millis(100);
/// After this much silence the peer is asked for a sign of life. A watcher sends nothing by itself, so a relay that was
/// restarted could not tell it so.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Silence that counts as a lost connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Stdin is read in pieces of this size.
const STDIN_BYTES: usize = 64 * 1024;
/// Pause while the shard's queue is full: backpressure on stdin.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// Where the system keeps the certificate authorities that it trusts.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whether stdin belongs to the verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// It is the stream to publish.
    Media,
    /// It is left alone.
    Unused,
}

/// Finds the addresses behind a URL.
///
/// # Errors
/// [`Exit::Name`], or [`Exit::Protocol`] for what is not served.
pub(crate) fn target(url: &StreamUrl) -> Result<Target, Failure> {
    if url.scheme() == Scheme::Https {
        let message = format!("{url}: WebTransport is not spoken here yet; write moqt:// for raw QUIC");
        return Err(Failure::new(Exit::Protocol, message));
    }
    let none = || Failure::new(Exit::Name, format!("`{}` has no address; check the name", url.host()));
    Target::new(url, url.resolve()?).ok_or_else(none)
}

/// Runs `driver` to its end.
///
/// # Errors
/// What the driver says, or no socket, thread or certificate to be had.
pub(crate) fn run<D>(common: &Common, target: &Target, client: Client, driver: D, stdin: Stdin) -> anyhow::Result<Exit>
where
    D: Driver + Send + 'static,
{
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let port = port(common, target, &clock)?;
    let wall = Wall { at: clock.now(), unix: clock.unix_time() };
    let host = Host::new(client, driver, wall, Report::stdout());
    let config = ShardConfig { handshake_timeout: common.timeout.get(), ..ShardConfig::single(NodeKey::generate()) };
    let mut shard = Shard::new(config, vec![port], clock, host)?;
    let handle = shard.handle();
    let (over, mut outcome) = oneshot::channel();
    let thread = Thread::spawn("client-probe", move || {
        // The receiver goes away only after this.
        let _ = over.send(turn_to_the_end(&mut shard));
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(supervise(&handle, &mut outcome, stdin));
    // A read of stdin that nobody ends must not keep the process.
    runtime.shutdown_background();
    drop(thread);
    result
}

fn turn_to_the_end<D: Driver>(shard: &mut Shard<UdpSocket, Host<D>>) -> anyhow::Result<Exit> {
    loop {
        shard.turn(LOOK).context("waiting for the network")?;
        if let Some(outcome) = shard.with_app(|host, _| host.take_outcome()) {
            if shard.handle().stop(GOODBYE).is_ok() {
                shard.run().context("closing")?;
            }
            return outcome;
        }
    }
}

/// Hands signals and stdin to the shard until the verb is over.
async fn supervise(
    handle: &ShardHandle<Command>,
    outcome: &mut oneshot::Receiver<anyhow::Result<Exit>>,
    stdin: Stdin,
) -> anyhow::Result<Exit> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut reading = stdin == Stdin::Media;
    let mut input = tokio::io::stdin();
    loop {
        let mut piece = BytesMut::with_capacity(STDIN_BYTES);
        tokio::select! {
            result = &mut *outcome => return result.context("the network thread ended early")?,
            _ = interrupt.recv() => send(handle, Command::Interrupt).await,
            _ = terminate.recv() => send(handle, Command::Interrupt).await,
            read = input.read_buf(&mut piece), if reading => {
                reading = read.context("reading stdin")? > 0;
                let piece: Bytes = piece.freeze();
                send(handle, if reading { Command::Input(piece) } else { Command::InputEnd }).await;
            }
        }
    }
}

/// Waits until the shard takes the command; a shard that has ended needs none.
async fn send(handle: &ShardHandle<Command>, command: Command) {
    while handle.send(command.clone()) == Err(SendError::Full) {
        tokio::time::sleep(QUEUE_PAUSE).await;
    }
}

impl<D: Driver> Hosted for Host<D> {
    type Command = Command;

    fn handle_command(&mut self, now: Instant, command: Command) {
        Self::handle_command(self, now, command);
    }
}

fn port(common: &Common, target: &Target, clock: &Arc<dyn Clock>) -> anyhow::Result<PortConfig<UdpSocket>> {
    let any: SocketAddr =
        if target.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let (socket, warnings) = UdpSocket::bind(any).with_context(|| format!("opening a UDP socket on {any}"))?;
    for warning in warnings {
        tracing::debug!(%warning, "small socket buffer");
    }
    let alpn = crate::core::ALPN;
    let tls = if common.insecure {
        ClientTls::insecure(alpn, Arc::clone(clock))?
    } else {
        ClientTls::verified(&roots(common.ca.as_deref())?, alpn, Arc::clone(clock))?
    };
    let profile =
        TransportProfile { keep_alive: Some(KEEP_ALIVE), idle_timeout: IDLE_TIMEOUT, ..TransportProfile::client() };
    Ok(PortConfig::client(socket, tls, profile))
}

/// The authority named by the user, else the system's.
fn roots(ca: Option<&Path>) -> anyhow::Result<Roots> {
    let read = |path: &Path| {
        let failed = |e: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("--ca {}: {e}", path.display()));
        let text = std::fs::read(path).map_err(|e| failed(&e))?;
        Ok(Roots::from_pem(&text).map_err(|e| failed(&e))?)
    };
    if let Some(path) = ca {
        return read(path);
    }
    let found = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
    let missing = || {
        let message = "this system has no list of trusted authorities; name one by --ca";
        Failure::new(Exit::MissingCapability, message)
    };
    read(found.ok_or_else(missing)?)
}
