//! The loop over a network of virtual time: handshakes, streams, datagrams, limits, timeouts and restarts.

use crate::support::app::{Act, Seen, TestApp};
use crate::support::certs::Authority;
use crate::support::world::{VirtualShard, World};
use bytes::Bytes;
use sluice_moqt::transport::{CloseReason, Dir, Output, SessionId, Side, StreamId};
use sluice_net::tls::{ClientTls, ServerTls};
use sluice_net::{Admission, NodeKey, PortConfig, ShardConfig, TransportProfile};
use std::time::Duration;

pub(crate) const ALPN: &[u8] = b"moqt-18";
pub(crate) const SERVER: &str = "10.0.0.1:4443";
pub(crate) const CLIENT: &str = "10.0.0.2:5000";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn server_port(
    world: &World,
    authority: &Authority,
    profile: TransportProfile,
) -> PortConfig<crate::support::world::VirtualSocket> {
    let tls = ServerTls::open(&authority.server("localhost"), &[ALPN], world.clock()).unwrap();
    PortConfig::server(world.net.bind(SERVER), tls, profile)
}

/// Shard 0 serves, shard 1 has dialled; both are connected.
pub(crate) fn pair(seed: u64, server: TestApp, client: TestApp) -> World {
    pair_with(seed, TransportProfile::viewer(), server, client)
}

fn pair_with(seed: u64, profile: TransportProfile, server: TestApp, client: TestApp) -> World {
    let authority = Authority::new();
    let mut world = World::new();
    let port = server_port(&world, &authority, profile);
    world.add(seed, port, server);
    let tls = ClientTls::verified(&authority.roots(), ALPN, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind(CLIENT), tls, TransportProfile::client());
    world.add(seed, port, client);
    world.with(1, |app| app.dial(7, SERVER.parse().unwrap(), ALPN, "localhost"));
    assert!(world.run_until(SECOND, connected), "{:?} {:?}", world.app(0).seen, world.app(1).seen);
    world
}

pub(crate) fn connected(shards: &[VirtualShard]) -> bool {
    shards.iter().all(|shard| shard.app().session().is_some())
}

pub(crate) fn bytes(len: usize) -> Bytes {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}

#[test]
fn a_handshake_tells_both_apps_who_is_there() {
    let world = pair(1, TestApp::echo(), TestApp::default());
    let (server, client) = (world.app(0).peer().unwrap(), world.app(1).peer().unwrap());
    assert_eq!((server.side, client.side), (Side::Server, Side::Client));
    assert_eq!((&server.alpn[..], &client.alpn[..]), (ALPN, ALPN));
    assert_eq!((server.token, client.token), (None, Some(7)));
    assert_eq!(server.remote, CLIENT.parse().unwrap());
    assert_eq!(client.remote, SERVER.parse().unwrap());
    assert_eq!((&server.pop, &client.pop), (&None, &None));
    assert_eq!(world.shards[0].stats().handshake.completed, 1);
    assert_eq!(world.shards[1].stats().handshake.dialled, 1);
}

#[test]
fn streams_and_datagrams_come_back_whole() {
    let mut world = pair(1, TestApp::echo(), TestApp::default());
    let session = world.app(1).session().unwrap();
    let data = bytes(300_000);
    world.with(1, |app| {
        app.act(session, Act::Open { dir: Dir::Bi, data: data.clone() });
        app.act(session, Act::Datagram(Bytes::from_static(b"ping")));
    });
    let done = |shards: &[VirtualShard]| {
        let seen = &shards[1].app().seen;
        seen.iter().any(|seen| matches!(seen, Seen::Fin(..)))
            && seen.iter().any(|seen| matches!(seen, Seen::Datagram(..)))
    };
    assert!(world.run_until(5 * SECOND, done));
    assert_eq!(world.app(1).fins(), [&data.to_vec()]);
    assert!(world.app(1).seen.contains(&Seen::Datagram(session, Bytes::from_static(b"ping"))));
    world.run_for(SECOND);
    assert!(world.app(1).seen.contains(&Seen::Acked(session, StreamId(0))));
}

#[test]
fn the_same_seed_replays_the_same_packets() {
    let run = |seed| {
        let mut world = pair(seed, TestApp::echo(), TestApp::default());
        let session = world.app(1).session().unwrap();
        world.with(1, |app| app.act(session, Act::Open { dir: Dir::Bi, data: bytes(200_000) }));
        world.run_for(3 * SECOND);
        assert_eq!(world.app(1).fins().len(), 1);
        world.net.trace()
    };
    let first = run(1);
    assert!(first.len() > 100, "{}", first.len());
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
}

#[test]
fn a_blocked_write_goes_on_when_the_transport_has_room() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let session = world.app(0).session().unwrap();
    let data = bytes(4 << 20);
    world.with(0, |app| app.act(session, Act::Open { dir: Dir::Uni, data: data.clone() }));
    let done = |shards: &[VirtualShard]| !shards[1].app().fins().is_empty();
    assert!(world.run_until(60 * SECOND, done));
    assert_eq!(world.app(1).fins(), [&data.to_vec()]);
    // The send window starts at 16 KiB, so this took many turns.
    assert!(world.app(0).blocked > 4 && world.app(0).writable > 4);
    let batch = world.shards[0].stats().udp;
    assert!(batch.tx_datagrams > 3 * batch.tx_batches, "{batch:?}");
    assert!(world.app(0).stats.iter().any(|stats| stats.cwnd > 12_000 && stats.rtt >= Duration::from_millis(10)));
}

/// A path that has become slower has a transport full of what was written before.
#[test]
fn what_is_urgent_passes_a_transport_that_is_full_of_the_rest() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let session = world.app(0).session().unwrap();
    world.with(0, |app| app.act(session, Act::Open { dir: Dir::Uni, data: bytes(16 << 20) }));
    world.run_for(SECOND / 20);
    let blocked = world.app(0).blocked;
    assert!(blocked > 0);
    world.with(0, |app| app.act(session, Act::Open { dir: Dir::Uni, data: bytes(1_000) }));
    world.with(0, |app| app.act(session, Act::Urgent(bytes(2_000))));
    assert!(world.run_until(SECOND / 20, |shards| !shards[1].app().fins().is_empty()));
    assert_eq!(world.app(1).fins()[0].len(), 2_000);
    // Only little can be urgent.
    let before = world.app(0).blocked;
    world.with(0, |app| app.act(session, Act::Urgent(bytes(100_000))));
    world.run_for(SECOND / 1_000);
    assert!(world.app(0).blocked > before);
}

#[test]
fn stream_credit_comes_back_and_can_be_raised() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let (server, client) = (world.app(0).session().unwrap(), world.app(1).session().unwrap());
    // 40 streams through a limit of 8 at a time.
    world.with(1, |app| (0..40).for_each(|_| app.act(client, Act::Open { dir: Dir::Uni, data: bytes(10) })));
    assert!(world.run_until(10 * SECOND, |shards| shards[0].app().fins().len() == 40));
    assert!(world.app(1).seen.contains(&Seen::Available(client, Dir::Uni)));
    world.with(0, |app| app.output(Output::StreamLimit { session: server, dir: Dir::Uni, count: 100 }));
    world.run_for(SECOND);
    let before = world.app(1).seen.iter().filter(|seen| matches!(seen, Seen::Available(..))).count();
    world.with(1, |app| (0..90).for_each(|_| app.act(client, Act::Open { dir: Dir::Uni, data: bytes(10) })));
    assert!(world.run_until(10 * SECOND, |shards| shards[0].app().fins().len() == 130));
    let after = world.app(1).seen.iter().filter(|seen| matches!(seen, Seen::Available(..))).count();
    assert_eq!(before, after, "90 streams fit the raised limit at once");
}

#[test]
fn reset_and_stop_reach_the_other_side_with_their_codes() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let (server, client) = (world.app(0).session().unwrap(), world.app(1).session().unwrap());
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Bi, data: bytes(10) }));
    world.run_for(SECOND);
    let stream = StreamId(0);
    world.with(0, |app| {
        app.act(server, Act::Write { stream, data: bytes(5), fin: false });
        app.act(server, Act::Reset { stream, code: 0x11 });
    });
    world.run_for(SECOND);
    assert!(world.app(1).seen.contains(&Seen::Reset(client, stream, 0x11)));
    // A long stream that the receiver does not want.
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Uni, data: bytes(8 << 20) }));
    world.run_for(SECOND / 20);
    world.with(0, |app| app.act(server, Act::Stop { stream: StreamId(2), code: 0x22 }));
    world.run_for(2 * SECOND);
    assert!(world.app(1).seen.contains(&Seen::Stopped(client, StreamId(2), 0x22)));
    // The wrong half of a stream is closed, not a panic.
    world.with(0, |app| {
        app.act(server, Act::Write { stream: StreamId(2), data: bytes(1), fin: true });
        app.act(server, Act::Stop { stream: StreamId(3), code: 1 });
    });
    world.run_for(SECOND);
    assert_eq!(world.shards[0].connections(), 1);
}

#[test]
fn a_close_carries_its_code_and_reason() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let (server, client) = (world.app(0).session().unwrap(), world.app(1).session().unwrap());
    world.with(0, |app| app.output(Output::Close { session: server, code: 0x3, reason: "no entry".into() }));
    world.run_for(SECOND);
    let reason = CloseReason::Peer { code: 0x3, reason: "no entry".into() };
    assert!(world.app(1).seen.contains(&Seen::Closed(client, reason)));
    assert!(world.app(0).seen.contains(&Seen::Closed(server, CloseReason::Local)));
    assert_eq!((world.shards[0].connections(), world.shards[1].connections()), (0, 0));
    // Effects for a session that is gone are counted, not obeyed.
    world.with(0, |app| app.output(Output::Wake(server)));
    world.run_for(SECOND);
    assert_eq!(world.shards[0].stats().drop.stale_effect, 1);
}

#[test]
fn silence_ends_a_connection_on_both_sides() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    world.net.go_dark();
    world.run_for(31 * SECOND);
    assert_eq!(world.app(0).closed(), Some(&CloseReason::TimedOut));
    assert_eq!(world.app(1).closed(), Some(&CloseReason::TimedOut));
}

#[test]
fn a_dial_into_the_dark_fails_within_the_handshake_timeout() {
    let authority = Authority::new();
    let mut world = World::new();
    let tls = ClientTls::verified(&authority.roots(), ALPN, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind(CLIENT), tls, TransportProfile::client());
    world.add(1, port, TestApp::default());
    world.with(0, |app| {
        app.dial(1, SERVER.parse().unwrap(), ALPN, "localhost");
        app.dial(2, SERVER.parse().unwrap(), b"unknown/1", "localhost");
        app.dial(3, "[2001:db8::1]:1".parse().unwrap(), ALPN, "localhost");
    });
    assert!(world.run_until(6 * SECOND, |shards| shards[0].app().seen.len() == 3));
    let failed: Vec<_> = world.app(0).seen.iter().map(|seen| format!("{seen:?}")).collect();
    assert!(failed[0].contains("no port of this shard dials unknown/1"), "{failed:?}");
    assert!(failed[1].contains("no port of this shard dials moqt-18 to [2001:db8::1]:1"), "{failed:?}");
    assert_eq!(world.app(0).seen[2], Seen::DialFailed(1, CloseReason::TimedOut));
}

#[test]
fn a_restart_with_the_same_key_resets_old_connections() {
    let authority = Authority::new();
    let mut world = World::new();
    let key = NodeKey::from_bytes([9; 32]);
    let config = |seed| ShardConfig { seed: Some(seed), ..ShardConfig::single(key.clone()) };
    let port = server_port(&world, &authority, TransportProfile::viewer());
    world.add_with(config(1), port, TestApp::default());
    let tls = ClientTls::verified(&authority.roots(), ALPN, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind(CLIENT), tls, TransportProfile::client());
    world.add(1, port, TestApp::default());
    world.with(1, |app| app.dial(1, SERVER.parse().unwrap(), ALPN, "localhost"));
    assert!(world.run_until(SECOND, connected));
    let client = world.app(1).session().unwrap();

    let port = server_port(&world, &authority, TransportProfile::viewer());
    let clock = world.clock();
    world.shards[0] = sluice_net::Shard::new(config(2), vec![port], clock, TestApp::default()).unwrap();
    let data = bytes(1000);
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Uni, data }));
    assert!(world.run_until(SECOND / 10, |shards| shards[1].app().closed().is_some()));
    assert_eq!(world.app(1).closed(), Some(&CloseReason::Reset));
}

#[test]
fn a_client_may_change_its_address() {
    let mut world = pair(1, TestApp::echo(), TestApp::default());
    let client = world.app(1).session().unwrap();
    world.net.rebind(CLIENT, "10.9.9.9:6000");
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Bi, data: bytes(50_000) }));
    assert!(world.run_until(5 * SECOND, |shards| !shards[1].app().fins().is_empty()));
    assert_eq!(world.app(1).fins(), [&bytes(50_000).to_vec()]);
    assert_eq!(world.app(0).closed(), None);
}

#[test]
fn a_batch_that_the_kernel_puts_off_is_sent_later() {
    let mut world = pair(1, TestApp::echo(), TestApp::default());
    let client = world.app(1).session().unwrap();
    world.net.refuse_sends(20);
    let lost_before = world.shards[1].stats().drop.send_error;
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Bi, data: bytes(100_000) }));
    // Simulated sockets have no readiness, so the world turns the shards until the batch leaves.
    for _ in 0..30 {
        world.run_for(Duration::from_millis(1));
    }
    assert!(world.run_until(5 * SECOND, |shards| !shards[1].app().fins().is_empty()));
    assert!(world.shards[1].stats().udp.tx_blocked >= 1);
    assert_eq!(world.shards[1].stats().drop.send_error, lost_before);
}

#[test]
fn path_mtu_probes_that_are_too_long_do_no_harm() {
    let authority = Authority::new();
    let mut world = World::new();
    world.net.set_max_datagram(1300);
    let port = server_port(&world, &authority, TransportProfile::viewer());
    world.add(1, port, TestApp::echo());
    let tls = ClientTls::verified(&authority.roots(), ALPN, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind(CLIENT), tls, TransportProfile::client());
    world.add(1, port, TestApp::default());
    world.with(1, |app| app.dial(1, SERVER.parse().unwrap(), ALPN, "localhost"));
    assert!(world.run_until(SECOND, connected));
    let client = world.app(1).session().unwrap();
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Bi, data: bytes(500_000) }));
    assert!(world.run_until(10 * SECOND, |shards| !shards[1].app().fins().is_empty()));
    assert!(world.shards[1].stats().drop.too_long > 0);
    assert_eq!(world.shards[1].stats().drop.send_error, 0);
}

/// Sixty frames of 8,000 bytes from the server at 30 a second, and meanwhile `small` datagrams per frame from the client
/// that are no larger than an ACK.
fn show(world: &mut World, small: u32) -> SessionId {
    let (server, client) = (world.app(0).session().unwrap(), world.app(1).session().unwrap());
    for frame in 0..60 {
        world.with(0, |app| app.act(server, Act::Open { dir: Dir::Uni, data: bytes(8_000 + frame) }));
        for _ in 0..small {
            world.run_for(Duration::from_millis(33) / (small + 1));
            world.with(1, |app| app.act(client, Act::Open { dir: Dir::Uni, data: bytes(1) }));
        }
        world.run_for(Duration::from_millis(33) / (small + 1));
    }
    assert_eq!(world.app(1).fins().len(), 60);
    client
}

#[test]
fn where_a_frame_brings_many_acks_they_wait_for_the_next_visit() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let client = show(&mut world, 4);
    let stats = world.shards[0].stats();
    assert!(stats.turn.held > 200, "{stats:?}");
    // The client's requests on the same connection are larger, and do not wait: one round trip, 10 ms.
    let data = bytes(100);
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Bi, data }));
    assert!(world.run_until(Duration::from_millis(6), |shards| shards[0].app().fins().iter().any(|f| f.len() == 100)));
}

#[test]
fn the_one_ack_of_a_frame_does_not_wait() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    show(&mut world, 0);
    let stats = world.shards[0].stats();
    assert!(stats.turn.held < 10, "{stats:?}");
    // It is answered where it is read: only writes, timers and requests take a visit.
    assert!(stats.turn.visits < 100, "{stats:?}");
}

#[test]
fn who_only_reads_is_told_of_the_path() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    show(&mut world, 0);
    // Two seconds, a report every 100 ms.
    let reports = world.app(1).stats.len();
    assert!((15..=21).contains(&reports), "{reports}");
}

#[test]
fn idle_shards_sleep() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    world.run_for(5 * SECOND);
    let before = world.shards[0].stats().turn;
    world.run_for(10 * SECOND);
    let after = world.shards[0].stats().turn;
    // Once per wheel horizon of 4 s, on either side.
    assert!(after.turns - before.turns < 12, "{before:?} {after:?}");
}

#[test]
fn under_load_a_new_client_has_to_prove_its_address_first() {
    let authority = Authority::new();
    let mut world = World::new();
    let admission = Admission { retry_above: 0, ..Admission::default() };
    let config = ShardConfig { seed: Some(1), admission, ..ShardConfig::single(NodeKey::from_bytes([1; 32])) };
    let port = server_port(&world, &authority, TransportProfile::viewer());
    world.add_with(config, port, TestApp::default());
    let tls = ClientTls::verified(&authority.roots(), ALPN, world.clock()).unwrap();
    world.add(1, PortConfig::client(world.net.bind(CLIENT), tls, TransportProfile::client()), TestApp::default());
    world.with(1, |app| app.dial(1, SERVER.parse().unwrap(), ALPN, "localhost"));
    assert!(world.run_until(SECOND, connected));
    let handshakes = world.shards[0].stats().handshake;
    assert_eq!((handshakes.retried, handshakes.admitted, handshakes.completed), (1, 1, 1));
}

#[test]
fn beyond_its_connections_a_shard_refuses() {
    let authority = Authority::new();
    let mut world = World::new();
    let admission = Admission { connections: 0, ..Admission::default() };
    let config = ShardConfig { admission, ..ShardConfig::single(NodeKey::generate()) };
    let port = server_port(&world, &authority, TransportProfile::viewer());
    world.add_with(config, port, TestApp::default());
    let tls = ClientTls::verified(&authority.roots(), ALPN, world.clock()).unwrap();
    world.add(1, PortConfig::client(world.net.bind(CLIENT), tls, TransportProfile::client()), TestApp::default());
    world.with(1, |app| app.dial(1, SERVER.parse().unwrap(), ALPN, "localhost"));
    world.run_for(SECOND);
    let Some(CloseReason::Transport(text)) = world.app(1).dial_failed() else { panic!("{:?}", world.app(1).seen) };
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn connections_leave_nothing_behind() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    for round in 0..20 {
        world.with(1, |app| app.dial(round, SERVER.parse().unwrap(), ALPN, "localhost"));
        world.run_for(SECOND / 10);
    }
    assert_eq!(world.shards[0].connections(), 21);
    let sessions: Vec<_> = world.app(1).seen.iter().filter_map(Seen::connected).collect();
    world.with(1, |app| {
        for session in sessions {
            app.output(Output::Close { session, code: 0, reason: String::new() });
        }
    });
    world.run_for(5 * SECOND);
    assert_eq!((world.shards[0].connections(), world.shards[1].connections()), (0, 0));
    assert_eq!((world.shards[0].draining(), world.shards[1].draining()), (0, 0));
    assert_eq!(world.shards[0].next_wakeup(), None);
}

#[test]
fn packets_that_overtake_each_other_are_not_taken_for_lost() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    world.net.scatter(Duration::from_millis(3));
    // Whoever dialled is told often how its path does.
    let session = world.app(1).session().unwrap();
    world.with(1, |app| app.act(session, Act::Open { dir: Dir::Uni, data: bytes(1 << 20) }));
    assert!(world.run_until(10 * SECOND, |shards| !shards[0].app().fins().is_empty()));
    let lost = world.app(1).stats.iter().map(|stats| stats.lost_packets).max().unwrap();
    assert!(lost < 40, "{lost} of 800 packets, and none is");
}
