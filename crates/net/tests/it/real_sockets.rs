//! The loop over the kernel's sockets: one thread per shard, every wait with a deadline.

use crate::support::app::{Act, Order, Seen, TestApp};
use crate::support::certs::Authority;
use bytes::Bytes;
use sluice_moqt::transport::Dir;
use sluice_net::task::Thread;
use sluice_net::tls::{ClientTls, ServerTls};
use sluice_net::{
    Clock, NodeKey, PortConfig, Shard, ShardConfig, ShardHandle, Stats, SystemClock, TransportProfile, UdpSocket,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const ALPN: &[u8] = b"moqt-18";
const DEADLINE: Duration = Duration::from_secs(4);

/// A shard on its own thread, stopped when dropped.
struct Running {
    handle: ShardHandle<Order>,
    seen: Receiver<Seen>,
    addr: SocketAddr,
    thread: Option<Thread<Stats>>,
}

impl Running {
    fn start(shard: Shard<UdpSocket, TestApp>, seen: Receiver<Seen>) -> Self {
        let (handle, addr) = (shard.handle(), shard.local_addrs()[0]);
        let mut shard = shard;
        let thread = Thread::spawn("shard", move || {
            shard.run().unwrap();
            shard.stats()
        });
        Self { handle, seen, addr, thread: Some(thread.unwrap()) }
    }

    fn order(&self, order: impl FnOnce(&mut TestApp) + Send + 'static) {
        self.handle.send(Box::new(order)).unwrap();
    }

    fn wait_for<R>(&self, mut wanted: impl FnMut(Seen) -> Option<R>) -> R {
        loop {
            let seen = self.seen.recv_timeout(DEADLINE).expect("nothing more happened within the deadline");
            if let Some(found) = wanted(seen) {
                return found;
            }
        }
    }

    fn stop(mut self) -> Stats {
        self.handle.stop(Duration::ZERO).unwrap();
        self.thread.take().unwrap().join()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.handle.stop(Duration::ZERO);
    }
}

fn reporting(mut app: TestApp) -> (TestApp, Receiver<Seen>) {
    let (report, seen) = sync_channel(4096);
    app.report = Some(report);
    (app, seen)
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn bind(addr: &str) -> UdpSocket {
    UdpSocket::bind(addr.parse().unwrap()).unwrap().0
}

fn server(
    authority: &Authority,
    socket: UdpSocket,
    config: ShardConfig,
) -> (Shard<UdpSocket, TestApp>, Receiver<Seen>) {
    let tls = ServerTls::open(&authority.server("localhost"), &[ALPN], clock()).unwrap();
    let port = PortConfig::server(socket, tls, TransportProfile::viewer());
    let (app, seen) = reporting(TestApp::echo());
    (Shard::new(config, vec![port], clock(), app).unwrap(), seen)
}

fn client(authority: &Authority) -> Running {
    let tls = ClientTls::verified(&authority.roots(), ALPN, clock()).unwrap();
    let port = PortConfig::client(bind("127.0.0.1:0"), tls, TransportProfile::client());
    let (app, seen) = reporting(TestApp::default());
    let shard = Shard::new(ShardConfig::single(NodeKey::generate()), vec![port], clock(), app).unwrap();
    Running::start(shard, seen)
}

fn dial(client: &Running, port: u16) -> sluice_moqt::transport::SessionId {
    client.order(move |app| app.dial(1, SocketAddr::from(([127, 0, 0, 1], port)), ALPN, "localhost"));
    client.wait_for(|seen| match seen {
        Seen::Connected(session, _) => Some(session),
        other => panic!("{other:?}"),
    })
}

#[test]
fn an_echo_comes_back_over_loopback_and_the_shards_stop() {
    let authority = Authority::new();
    let (shard, seen) = server(&authority, bind("[::]:0"), ShardConfig::single(NodeKey::generate()));
    let server = Running::start(shard, seen);
    let client = client(&authority);
    let session = dial(&client, server.addr.port());
    let data: Bytes = (0..1_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let sent = data.clone();
    client.order(move |app| app.act(session, Act::Open { dir: Dir::Bi, data: sent }));
    let echoed = client.wait_for(|seen| if let Seen::Fin(_, _, data) = seen { Some(data) } else { None });
    assert_eq!(echoed, data);
    let stats = client.stop();
    assert!(stats.udp.tx_batches > 0 && stats.udp.tx_datagrams >= 1_000_000 / 1452, "{stats:?}");
    // The client's goodbye reaches the server.
    server.wait_for(|seen| matches!(seen, Seen::Closed(..)).then_some(()));
    assert_eq!(server.stop().handshake.completed, 1);
}

#[test]
fn a_stopping_shard_takes_no_new_connections_and_waits_for_the_old_ones() {
    let authority = Authority::new();
    let (shard, seen) = server(&authority, bind("127.0.0.1:0"), ShardConfig::single(NodeKey::generate()));
    let server = Running::start(shard, seen);
    let client = client(&authority);
    let session = dial(&client, server.addr.port());
    server.handle.stop(Duration::from_secs(60)).unwrap();
    // An order behind the stop: once it is carried out, so is the stop.
    let (done, stopping) = sync_channel(1);
    server.order(move |_| done.send(()).unwrap());
    stopping.recv_timeout(DEADLINE).unwrap();
    let port = server.addr.port();
    client.order(move |app| app.dial(2, SocketAddr::from(([127, 0, 0, 1], port)), ALPN, "localhost"));
    client.wait_for(|seen| if let Seen::DialFailed(2, _) = seen { Some(()) } else { None });
    client.order(move |app| {
        let reason = "done".to_owned();
        app.output(sluice_moqt::transport::Output::Close { session, code: 0, reason });
    });
    let mut server = server;
    assert_eq!(server.thread.take().unwrap().join().handshake.refused, 1);
}

#[test]
fn packets_that_reach_the_wrong_shard_are_passed_on() {
    let authority = Authority::new();
    let key = NodeKey::generate();
    let first = bind("127.0.0.1:0");
    let addr = sluice_net::Socket::local_addr(&first).to_string();
    let config = |index| ShardConfig { index, shards: 2, ..ShardConfig::single(key.clone()) };
    let (mut one, one_seen) = server(&authority, first, config(0));
    let (mut two, two_seen) = server(&authority, bind(&addr), config(1));
    let siblings = vec![one.handle(), two.handle()];
    one.set_siblings(siblings.clone());
    two.set_siblings(siblings);
    let (one, two) = (Running::start(one, one_seen), Running::start(two, two_seen));
    // The kernel picks a shard anew for every address that the client moves to.
    let rebinder = Rebinder::start(one.addr);
    let client = client(&authority);
    let session = dial(&client, rebinder.addr.port());
    for round in 0..100_u32 {
        // RFC 9000 9: no migration before the handshake is confirmed, which the first echo shows.
        if round > 0 {
            rebinder.rebind();
        }
        let data = Bytes::from(round.to_be_bytes().to_vec());
        let sent = data.clone();
        client.order(move |app| app.act(session, Act::Open { dir: Dir::Bi, data: sent }));
        let echoed = client.wait_for(|seen| match seen {
            Seen::Fin(_, _, data) => Some(data),
            Seen::Closed(_, reason) => panic!("round {round}: {reason:?}"),
            Seen::Acked(..) | Seen::Available(..) => None,
            other => panic!("round {round}: {other:?}"),
        });
        assert_eq!(echoed, data);
    }
    drop(rebinder);
    client.stop();
    let stats = [one.stop(), two.stop()];
    assert_eq!(stats[0].handshake.completed + stats[1].handshake.completed, 1, "{stats:?}");
    // Both sockets got some of the 100 addresses; what came to the wrong one arrived as a command.
    assert!(stats[0].udp.rx_datagrams > 20 && stats[1].udp.rx_datagrams > 20, "{stats:?}");
    assert!(stats[0].turn.commands.max(stats[1].turn.commands) > 20, "{stats:?}");
}

#[test]
fn a_panic_ends_its_shard_and_the_third_within_a_minute_all() {
    let started = std::cell::Cell::new(0);
    let start = |panics| {
        started.set(panics + 1);
        let app = TestApp::default();
        let config = ShardConfig::single(NodeKey::generate());
        let shard = Shard::<UdpSocket, _>::new(config, Vec::new(), clock(), app);
        if let Ok(shard) = &shard {
            shard.handle().send(Box::new(|_| panic!("on purpose"))).unwrap();
        }
        shard
    };
    let ended = sluice_net::supervise(&SystemClock, start, Shard::run);
    assert!(matches!(ended, Err(sluice_net::supervise::Ending::GaveUp)), "{ended:?}");
    assert_eq!(started.get(), 3);
}

/// A NAT on loopback that gives its client a new outer address when told to.
struct Rebinder {
    addr: SocketAddr,
    orders: std::sync::mpsc::SyncSender<bool>,
    _thread: Thread<()>,
}

impl Rebinder {
    fn start(server: SocketAddr) -> Self {
        let inner = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        inner.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let addr = inner.local_addr().unwrap();
        let (orders, inbox) = sync_channel::<bool>(1);
        let thread = Thread::spawn("nat", move || forward(&inner, server, &inbox)).unwrap();
        Self { addr, orders, _thread: thread }
    }

    fn rebind(&self) {
        self.orders.send(true).unwrap();
    }
}

impl Drop for Rebinder {
    fn drop(&mut self) {
        // The thread ends at this order, and the handle's drop waits for it.
        let _ = self.orders.send(false);
    }
}

fn forward(inner: &std::net::UdpSocket, server: SocketAddr, inbox: &Receiver<bool>) {
    let outer = || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        socket
    };
    let (mut outside, mut client, mut buffer) = (outer(), None, [0; 2048]);
    loop {
        match inbox.try_recv() {
            Ok(true) => outside = outer(),
            Ok(false) => return,
            Err(_) => {}
        }
        while let Ok((len, from)) = inner.recv_from(&mut buffer) {
            client = Some(from);
            outside.send_to(&buffer[..len], server).unwrap();
        }
        while let (Ok((len, _)), Some(client)) = (outside.recv_from(&mut buffer), client) {
            inner.send_to(&buffer[..len], client).unwrap();
        }
    }
}
