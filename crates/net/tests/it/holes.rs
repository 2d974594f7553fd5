//! Packets that do not arrive: during handshakes, and for so long that the path was gone.

use crate::support::app::{Act, Seen, TestApp};
use crate::support::certs::Authority;
use crate::support::world::{VirtualShard, World};
use crate::virtual_time::{ALPN, CLIENT, SECOND, SERVER, bytes, connected, pair, server_port};
use sluice_moqt::transport::{CloseReason, Dir, SessionId};
use sluice_net::tls::{ClientTls, Roots};
use sluice_net::{NodeKey, PortConfig, ShardConfig, TransportProfile};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Of the server, with a key that a later one has, too.
fn config(seed: u64) -> ShardConfig {
    ShardConfig { seed: Some(seed), ..ShardConfig::single(NodeKey::from_bytes([9; 32])) }
}

/// Shard 0 serves, shard 1 is about to dial and trusts `roots`.
fn dialling(authority: &Authority, roots: &Roots) -> World {
    dialling_as(authority, roots, TransportProfile::client())
}

fn dialling_as(authority: &Authority, roots: &Roots, profile: TransportProfile) -> World {
    dialling_between(authority, roots, TransportProfile::viewer(), profile)
}

fn dialling_between(
    authority: &Authority,
    roots: &Roots,
    server: TransportProfile,
    profile: TransportProfile,
) -> World {
    let mut world = World::new();
    let port = server_port(&world, authority, server);
    world.add_with(config(1), port, TestApp::default());
    let tls = ClientTls::verified(roots, ALPN, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind(CLIENT), tls, profile);
    world.add(1, port, TestApp::default());
    world.with(1, |app| app.dial(7, SERVER.parse().unwrap(), ALPN, "localhost"));
    world
}

#[test]
fn a_handshake_that_takes_long_gets_a_rival() {
    let authority = Authority::new();
    let mut world = dialling(&authority, &authority.roots());
    // The first packet and two probes at 300 ms: the next would follow at 900 ms.
    world.net.lose(3);
    assert!(world.run_until(SECOND * 6 / 10, connected), "{:?}", world.app(1).seen);
    assert_eq!(world.shards[1].stats().handshake.dialled, 2);
    world.run_for(10 * SECOND);
    for shard in &world.shards {
        assert_eq!(
            (shard.app().seen.len(), shard.connections(), shard.draining()),
            (1, 1, 0),
            "{:?}",
            shard.app().seen
        );
    }
    assert_eq!(world.app(1).peer().unwrap().token, Some(7));
    assert_eq!(world.shards[1].stats().handshake.failed, 0);
}

#[test]
fn a_flight_that_was_lost_goes_again_when_the_client_asks_again() {
    let authority = Authority::new();
    let mut world = dialling(&authority, &authority.roots());
    world.run_for(3 * MS);
    world.net.go_dark();
    world.run_for(10 * MS);
    world.net.come_back();
    // The client asks again at 300 ms; the server would by itself after a second.
    assert!(world.run_until(SECOND * 35 / 100, connected), "{:?}", world.app(1).seen);
    assert_eq!(world.shards[1].stats().handshake.dialled, 1);
}

#[test]
fn a_handshake_whose_end_was_lost_long_ago_ends_when_the_path_is_back() {
    let authority = Authority::new();
    let mut world = dialling(&authority, &authority.roots());
    world.run_for(8 * MS);
    world.net.go_dark();
    world.run_for(SECOND);
    assert_eq!((world.app(0).seen.len(), world.app(1).seen.len()), (0, 1));
    world.net.come_back();
    assert!(world.run_until(SECOND / 4, connected), "{:?}", world.app(0).seen);
}

/// Each repeat doubles the timeout of the next: another dial is sooner through.
#[test]
fn whoever_is_not_heard_to_have_the_end_of_the_handshake_is_given_up() {
    let authority = Authority::new();
    let mut world = dialling(&authority, &authority.roots());
    world.run_for(8 * MS);
    world.net.go_dark();
    world.run_for(SECOND * 13 / 10);
    assert_eq!(world.app(1).closed(), Some(&CloseReason::TimedOut));
    world.net.come_back();
    world.with(1, |app| app.dial(8, SERVER.parse().unwrap(), ALPN, "localhost"));
    assert!(world.run_until(SECOND / 10, connected));
    world.run_for(20 * SECOND);
    assert_eq!((world.shards[0].connections(), world.shards[1].connections()), (1, 1));
}

/// What cannot be read yet, or was not written by the peer, has not started the idle timer anew.
#[test]
fn a_packet_that_cannot_be_read_brings_no_end_nearer() {
    let authority = Authority::new();
    let idle_timeout = 4 * SECOND;
    let server = TransportProfile { idle_timeout, ..TransportProfile::viewer() };
    let client = TransportProfile { idle_timeout, keep_alive: None, ..TransportProfile::client() };
    let mut world = dialling_between(&authority, &authority.roots(), server, client);
    world.run_for(8 * MS);
    // The end of the handshake, and what follows it.
    world.net.lose(2);
    world.run_for(2 * MS);
    world.net.lose_long();
    let client = world.app(1).session().unwrap();
    for _ in 0..12 {
        world.with(1, |app| app.act(client, Act::Open { dir: Dir::Bi, data: bytes(10) }));
        world.run_for(SECOND / 10);
    }
    // The early ring for the last of these reaches further than the idle timer.
    assert_eq!((world.shards[0].stats().handshake.failed, world.shards[0].connections()), (0, 1));
}

/// The client's only sample is then the wait for the server's second flight, and its own is not said again for seconds.
#[test]
fn a_round_trip_that_lost_packets_had_does_not_keep_the_end_of_the_handshake_back() {
    let authority = Authority::new();
    // An early ring reaches as far as most of the idle timeout.
    let (idle_timeout, keep_alive) = (10 * SECOND, Some(3 * SECOND));
    let profile = TransportProfile { idle_timeout, keep_alive, ..TransportProfile::client() };
    let mut world = dialling_as(&authority, &authority.roots(), profile);
    world.run_for(3 * MS);
    world.net.go_dark();
    world.run_for(SECOND);
    world.net.come_back();
    // The server says the first part of its flight again at 1,005 ms, and the rest 10 ms later when it is answered.
    world.run_for(14 * MS);
    world.net.go_dark();
    world.run_for(13 * MS);
    assert_eq!((world.app(0).seen.len(), world.app(1).seen.len()), (0, 1), "the end of the handshake was lost");
    world.net.come_back();
    assert!(world.run_until(SECOND / 2, connected), "{:?}", world.app(0).seen);
}

#[test]
fn a_dial_into_a_hole_fails_once() {
    let authority = Authority::new();
    let mut world = dialling(&authority, &authority.roots());
    world.net.go_dark();
    world.run_for(10 * SECOND);
    assert_eq!(world.app(1).seen, [Seen::DialFailed(7, CloseReason::TimedOut)]);
    assert_eq!((world.shards[1].connections(), world.shards[1].draining()), (0, 0));
    let handshakes = world.shards[1].stats().handshake;
    assert_eq!(handshakes.failed, 1);
    assert!((2..=5).contains(&handshakes.dialled), "{handshakes:?}");
}

#[test]
fn what_one_attempt_cannot_have_no_other_gets() {
    let mut world = dialling(&Authority::new(), &Authority::new().roots());
    // Of the first two attempts both are under way when the server shows its certificate.
    world.net.go_dark();
    world.run_for(SECOND * 8 / 10);
    world.net.come_back();
    world.run_for(5 * SECOND);
    let [Seen::DialFailed(7, CloseReason::Transport(_))] = &world.app(1).seen[..] else {
        panic!("{:?}", world.app(1).seen)
    };
    assert_eq!((world.shards[1].connections(), world.shards[1].draining()), (0, 0));
}

#[test]
fn media_flows_again_soon_after_a_hole_in_the_path() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let session = world.app(0).session().unwrap();
    world.with(0, |app| app.act(session, Act::Open { dir: Dir::Uni, data: bytes(1000) }));
    world.run_for(SECOND / 10);
    world.net.go_dark();
    world.with(0, |app| app.act(session, Act::Open { dir: Dir::Uni, data: bytes(2000) }));
    // Probe timeouts double: one fires after 0.7 s, the next would after 1.5 s.
    world.run_for(SECOND * 8 / 10);
    assert_eq!(world.app(1).fins().len(), 1);
    world.net.come_back();
    assert!(world.run_until(SECOND / 5, |shards| shards[1].app().fins().len() == 2));
}

/// Frames of 16 Mbit/s, each on a stream of its own.
fn send_frames(world: &mut World, shard: usize, session: SessionId, frames: usize) {
    for _ in 0..frames {
        world.with(shard, |app| app.act(session, Act::Open { dir: Dir::Uni, data: bytes(40_000) }));
        world.run_for(20 * MS);
    }
}

fn received(shards: &[VirtualShard]) -> usize {
    shards[1].app().fins().len()
}

#[test]
fn a_window_full_of_lost_packets_does_not_keep_media_back() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let session = world.app(0).session().unwrap();
    send_frames(&mut world, 0, session, 100);
    world.net.go_dark();
    send_frames(&mut world, 0, session, 100);
    let before = received(&world.shards);
    world.net.come_back();
    assert!(world.run_until(SECOND / 5, |shards| received(shards) > before));
    // A round trip that contains the hole would slow down whatever follows.
    let sent = 200;
    assert!(world.run_until(SECOND * 2, |shards| received(shards) == sent), "{}", received(&world.shards));
    let rtt = world.app(0).stats.last().unwrap().rtt;
    assert!(rtt < 30 * MS, "{rtt:?}");
}

/// Pings tell that the peer is there, and not what it has got: the next probe would come a quarter of a second later.
#[test]
fn an_answer_that_was_lost_goes_again_soon_though_the_peer_is_heard() {
    let mut world = pair(1, TestApp::default(), TestApp::default());
    let (server, client) = (world.app(0).session().unwrap(), world.app(1).session().unwrap());
    world.with(1, |app| app.act(client, Act::Open { dir: Dir::Uni, data: bytes(100) }));
    world.run_for(SECOND / 10);
    world.net.mute(SERVER);
    world.with(0, |app| app.act(server, Act::Open { dir: Dir::Uni, data: bytes(1000) }));
    world.run_for(600 * MS);
    world.net.unmute();
    assert!(world.run_until(SECOND / 8, |shards| !shards[1].app().fins().is_empty()));
}

/// Long after the last request only the peer's questions tell that it is there.
#[test]
fn media_that_was_lost_goes_again_soon_though_the_peer_is_heard() {
    for frames in [60, 100, 150, 220, 300] {
        let mut world = pair(1, TestApp::default(), TestApp::default());
        let session = world.app(0).session().unwrap();
        send_frames(&mut world, 0, session, 150);
        world.net.mute(SERVER);
        send_frames(&mut world, 0, session, frames);
        let before = received(&world.shards);
        world.net.unmute();
        assert!(world.run_until(SECOND * 30 / 100, |shards| received(shards) > before), "after {frames} frames");
    }
}

/// The relay began anew and knows nothing, the publisher only writes, and a full window lets no question pass.
#[test]
fn a_publisher_learns_soon_that_its_relay_has_begun_anew() {
    for away in [8, 10, 12, 14, 18, 25, 40] {
        let authority = Authority::new();
        let mut world = dialling(&authority, &authority.roots());
        assert!(world.run_until(SECOND, connected));
        let client = world.app(1).session().unwrap();
        send_frames(&mut world, 1, client, 50);
        world.net.go_dark();
        send_frames(&mut world, 1, client, away * 5);
        let port = server_port(&world, &authority, TransportProfile::viewer());
        let clock = world.clock();
        world.shards[0] = sluice_net::Shard::new(config(2), vec![port], clock, TestApp::default()).unwrap();
        world.net.come_back();
        assert!(world.run_until(SECOND / 8, |shards| shards[1].app().closed().is_some()), "after {away} x 0.1 s");
        assert_eq!(world.app(1).closed(), Some(&CloseReason::Reset));
    }
}
