//! Pipes between shards: the same sessions, events and back-pressure as over QUIC.

use crate::support::app::{Act, Seen, TestApp};
use crate::support::certs::Authority;
use crate::support::world::{VirtualShard, World};
use bytes::Bytes;
use sluice_moqt::transport::{CloseReason, Dir, Output, SessionId, Side, StreamId};
use sluice_net::tls::ClientTls;
use sluice_net::{PortConfig, TransportProfile};
use std::time::Duration;

const ALPN: &[u8] = b"sluice-trunk/1";
const SECOND: Duration = Duration::from_secs(1);

/// Two shards of one process, joined.
fn joined(first: TestApp, second: TestApp) -> (World, SessionId, SessionId) {
    let roots = Authority::new().roots();
    let mut world = World::new();
    for (addr, app) in [("10.0.0.1:1", first), ("10.0.0.1:2", second)] {
        let tls = ClientTls::verified(&roots, b"moqt-18", world.clock()).unwrap();
        let port = PortConfig::client(world.net.bind(addr), tls, TransportProfile::client());
        world.add(1, port, app);
    }
    world.shards[0].handle().join(&world.shards[1].handle(), ALPN, ["fra1#0", "fra1#1"]).unwrap();
    assert!(world.run_until(SECOND, |shards| shards.iter().all(|shard| shard.app().session().is_some())));
    let sessions = [0, 1].map(|shard| world.app(shard).session().unwrap());
    (world, sessions[0], sessions[1])
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}

#[test]
fn both_apps_see_the_other_as_a_pop() {
    let (world, ..) = joined(TestApp::default(), TestApp::default());
    let (first, second) = (world.app(0).peer().unwrap(), world.app(1).peer().unwrap());
    assert_eq!((first.side, second.side), (Side::Client, Side::Server));
    assert_eq!((first.pop.as_deref(), second.pop.as_deref()), (Some("fra1#1"), Some("fra1#0")));
    assert_eq!(first.alpn, ALPN);
}

#[test]
fn streams_and_datagrams_pass_in_both_directions() {
    let (mut world, client, server) = joined(TestApp::default(), TestApp::echo());
    world.with(0, |app| {
        app.act(client, Act::Open { dir: Dir::Bi, data: bytes(1000) });
        app.act(client, Act::Open { dir: Dir::Uni, data: bytes(10) });
        app.act(client, Act::Datagram(bytes(1300)));
    });
    world.with(1, |app| app.act(server, Act::Open { dir: Dir::Uni, data: bytes(20) }));
    world.run_for(SECOND);
    let seen = &world.app(0).seen;
    for wanted in [
        Seen::Fin(client, StreamId(0), bytes(1000).to_vec()),
        Seen::Fin(client, StreamId(3), bytes(20).to_vec()),
        Seen::Acked(client, StreamId(2)),
        Seen::Datagram(client, bytes(1300)),
    ] {
        assert!(seen.contains(&wanted), "{wanted:?} in {seen:?}");
    }
    assert!(world.app(1).seen.contains(&Seen::Fin(server, StreamId(2), bytes(10).to_vec())));
}

#[test]
fn more_than_the_window_waits_in_the_log_until_the_other_side_has_read() {
    let (mut world, client, _) = joined(TestApp::default(), TestApp::default());
    let data = bytes(20 << 20);
    world.with(0, |app| app.act(client, Act::Open { dir: Dir::Uni, data: data.clone() }));
    assert!(world.run_until(SECOND, |shards: &[VirtualShard]| !shards[1].app().fins().is_empty()));
    assert!(world.app(1).fins()[0] == &data.to_vec());
    assert!(world.app(0).blocked >= 4 && world.app(0).writable >= 4, "{}", world.app(0).blocked);
}

#[test]
fn more_frames_than_the_queue_holds_are_not_lost() {
    let (mut world, client, _) = joined(TestApp::default(), TestApp::default());
    world.with(0, |app| (0..5000).for_each(|_| app.act(client, Act::Open { dir: Dir::Uni, data: bytes(3) })));
    assert!(world.run_until(SECOND, |shards: &[VirtualShard]| shards[1].app().fins().len() == 5000));
    world.with(0, |app| (0..5000).for_each(|_| app.act(client, Act::Datagram(bytes(1)))));
    let datagrams =
        |shard: &VirtualShard| shard.app().seen.iter().filter(|seen| matches!(seen, Seen::Datagram(..))).count();
    assert!(world.run_until(SECOND, |shards: &[VirtualShard]| datagrams(&shards[1]) == 5000));
}

#[test]
fn reset_and_stop_carry_their_codes() {
    let (mut world, client, server) = joined(TestApp::default(), TestApp::default());
    world.with(0, |app| {
        app.act(client, Act::Open { dir: Dir::Uni, data: bytes(10) });
        app.act(client, Act::Write { stream: StreamId(2), data: bytes(1), fin: false });
        app.act(client, Act::Open { dir: Dir::Uni, data: bytes(30 << 20) });
    });
    // Nothing may be written after the end.
    world.run_until(SECOND / 1000, |shards: &[VirtualShard]| shards[0].app().blocked > 0);
    world.with(1, |app| app.act(server, Act::Stop { stream: StreamId(6), code: 7 }));
    world.run_for(SECOND);
    assert!(world.app(0).seen.contains(&Seen::Stopped(client, StreamId(6), 7)));
    assert_eq!(world.app(1).fins(), [&bytes(10).to_vec()]);
    world.with(1, |app| {
        app.act(server, Act::Open { dir: Dir::Bi, data: bytes(1) });
    });
    world.run_for(SECOND);
    world.with(0, |app| {
        app.act(client, Act::Write { stream: StreamId(1), data: bytes(5), fin: false });
        app.act(client, Act::Reset { stream: StreamId(1), code: 9 });
    });
    world.run_for(SECOND);
    assert!(world.app(1).seen.contains(&Seen::Reset(server, StreamId(1), 9)));
}

#[test]
fn a_closed_pipe_says_why_and_a_dead_shard_is_noticed() {
    let (mut world, client, server) = joined(TestApp::default(), TestApp::default());
    world.with(0, |app| app.output(Output::Close { session: client, code: 4, reason: "bye".into() }));
    world.run_for(SECOND);
    assert_eq!(world.app(0).closed(), Some(&CloseReason::Local));
    let reason = CloseReason::Peer { code: 4, reason: "bye".into() };
    assert!(world.app(1).seen.contains(&Seen::Closed(server, reason)));

    let (mut world, ..) = joined(TestApp::default(), TestApp::default());
    drop(world.shards.remove(1));
    world.shards[0].turn(Duration::ZERO).unwrap();
    assert_eq!(world.app(0).closed(), Some(&CloseReason::Reset));
}
