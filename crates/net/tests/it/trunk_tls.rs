//! Trunk connections: both sides prove a PoP name, and each wrong certificate is told apart.

use crate::support::app::TestApp;
use crate::support::certs::Authority;
use crate::support::world::World;
use sluice_moqt::transport::CloseReason;
use sluice_net::tls::{ClientTls, Identity, Roots, ServerTls, TlsError};
use sluice_net::{PortConfig, TransportProfile};
use std::time::Duration;

const ALPN: &[u8] = b"sluice-trunk/1";
const SERVER: &str = "10.0.0.1:4444";

/// `dialler` dials `acceptor` under `name`; each trusts its own roots.
fn meet(dialler: (&Identity, &Roots), acceptor: (&Identity, &Roots), name: &str) -> World {
    let mut world = World::new();
    let tls = ServerTls::trunk(acceptor.0, acceptor.1, &[ALPN], world.clock()).unwrap();
    let port = PortConfig::server(world.net.bind(SERVER), tls, TransportProfile::trunk());
    world.add(1, port, TestApp::default());
    let tls = ClientTls::trunk(dialler.0, dialler.1, ALPN, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind("10.0.0.2:4444"), tls, TransportProfile::trunk());
    world.add(1, port, TestApp::default());
    world.with(1, |app| app.dial(1, SERVER.parse().unwrap(), ALPN, name));
    world.run_for(Duration::from_secs(1));
    world
}

/// What the dialler is told, whether its handshake failed or the acceptor threw it out right after.
fn refusal(world: &World) -> String {
    let app = world.app(1);
    match app.dial_failed().or_else(|| app.closed()) {
        Some(CloseReason::Transport(text)) => text.clone(),
        other => panic!("{other:?}, {:?}", app.seen),
    }
}

#[test]
fn both_sides_learn_the_name_of_the_other() {
    let authority = Authority::new();
    let roots = authority.roots();
    let world = meet((&authority.pop("ams1"), &roots), (&authority.pop("fra1"), &roots), "fra1");
    assert_eq!(world.app(0).peer().unwrap().pop.as_deref(), Some("ams1"));
    assert_eq!(world.app(1).peer().unwrap().pop.as_deref(), Some("fra1"));
    assert_eq!(world.app(1).closed(), None);
}

#[test]
fn an_idle_trunk_stands() {
    let authority = Authority::new();
    let roots = authority.roots();
    let mut world = meet((&authority.pop("ams1"), &roots), (&authority.pop("fra1"), &roots), "fra1");
    // Nothing is said by either app; the idle timeout is 10 s.
    world.run_for(Duration::from_secs(120));
    assert_eq!((world.app(0).closed(), world.app(1).closed()), (None, None));
    assert_eq!((world.shards[0].connections(), world.shards[1].connections()), (1, 1));
}

#[test]
fn another_pop_than_the_one_dialled_is_refused() {
    let authority = Authority::new();
    let roots = authority.roots();
    let world = meet((&authority.pop("ams1"), &roots), (&authority.pop("lon1"), &roots), "fra1");
    let text = refusal(&world);
    assert!(text.contains("peer's certificate is for another name") && text.contains("sluice:pop/lon1"), "{text}");
    assert!(text.contains("fra1"), "{text}");
    assert!(world.app(0).seen.is_empty());
}

#[test]
fn expired_certificates_are_refused_on_either_side() {
    let authority = Authority::new();
    let roots = authority.roots();
    let world = meet((&authority.pop("ams1"), &roots), (&authority.expired_pop("fra1"), &roots), "fra1");
    assert!(refusal(&world).starts_with("peer's certificate is expired or not yet valid"), "{}", refusal(&world));
    let world = meet((&authority.expired_pop("ams1"), &roots), (&authority.pop("fra1"), &roots), "fra1");
    assert_eq!(refusal(&world), "peer refuses us: our certificate is expired or not yet valid");
    assert!(world.app(0).seen.is_empty());
    assert_eq!(world.shards[0].stats().handshake.peers_refused, 1, "the acceptor counts and says it");
}

#[test]
fn certificates_of_another_authority_are_refused_on_either_side() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (our_roots, their_roots) = (ours.roots(), theirs.roots());
    let world = meet((&ours.pop("ams1"), &our_roots), (&theirs.pop("fra1"), &our_roots), "fra1");
    assert!(refusal(&world).starts_with("peer's certificate is from an unknown issuer"), "{}", refusal(&world));
    let world = meet((&ours.pop("ams1"), &their_roots), (&theirs.pop("fra1"), &their_roots), "fra1");
    assert_eq!(refusal(&world), "peer refuses us: our certificate is from an unknown issuer");
}

#[test]
fn certificates_that_name_no_pop_are_refused() {
    let authority = Authority::new();
    let roots = authority.roots();
    let user = authority.server("fra1");
    assert!(matches!(user.pop(), Err(TlsError::NoPopName)));
    let clock = World::new().clock();
    let refused = ServerTls::trunk(&user, &roots, &[ALPN], clock.clone());
    assert!(matches!(refused, Err(TlsError::NoPopName)), "{refused:?}");
    // A server of users at a trunk's address.
    let mut world = World::new();
    let tls = ServerTls::open(&user, &[ALPN], clock.clone()).unwrap();
    world.add(1, PortConfig::server(world.net.bind(SERVER), tls, TransportProfile::viewer()), TestApp::default());
    let tls = ClientTls::trunk(&authority.pop("ams1"), &roots, ALPN, clock).unwrap();
    let port = PortConfig::client(world.net.bind("10.0.0.2:4444"), tls, TransportProfile::trunk());
    world.add(1, port, TestApp::default());
    world.with(1, |app| app.dial(1, SERVER.parse().unwrap(), ALPN, "fra1"));
    world.run_for(Duration::from_secs(1));
    assert!(refusal(&world).starts_with("peer's certificate names no PoP"), "{}", refusal(&world));
}

#[test]
fn a_client_without_certificate_or_protocol_is_refused() {
    let authority = Authority::new();
    let roots = authority.roots();
    let mut world = World::new();
    let tls = ServerTls::trunk(&authority.pop("fra1"), &roots, &[ALPN], world.clock()).unwrap();
    let port = PortConfig::server(world.net.bind(SERVER), tls, TransportProfile::trunk());
    world.add(1, port, TestApp::default());
    let insecure = |alpn: &[u8]| ClientTls::insecure(alpn, world.clock()).unwrap();
    let port = PortConfig::client(world.net.bind("10.0.0.2:4444"), insecure(ALPN), TransportProfile::client())
        .with_client(insecure(b"other/1"), TransportProfile::client());
    world.add(1, port, TestApp::default());
    world.with(1, |app| {
        app.dial(1, SERVER.parse().unwrap(), ALPN, "fra1");
        app.dial(2, SERVER.parse().unwrap(), b"other/1", "fra1");
    });
    world.run_for(Duration::from_secs(1));
    let seen = format!("{:?}", world.app(1).seen);
    assert!(seen.contains("our certificate is missing"), "{seen}");
    assert!(seen.contains("no common application protocol"), "{seen}");
    assert!(world.app(0).seen.is_empty());
}

#[test]
fn unreadable_pem_is_named() {
    let error = Identity::from_pem(b"nonsense", b"nonsense").unwrap_err();
    assert_eq!(error.to_string(), "certificate holds no certificate");
    assert!(Roots::from_pem(b"").unwrap_err().to_string().starts_with("CA holds no certificate"));
}
