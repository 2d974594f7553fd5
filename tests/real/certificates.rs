//! Who may be a relay of the backbone: everybody else is refused with one clear line, and the others go on.

use crate::harness::{Authority, Backbone, Relay, Scene, Setup, diff, publish, until, watch};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// Exit code: certificate, name or protocol of TLS.
const TLS: i32 = 5;

#[test]
fn a_relay_without_a_right_certificate_gets_no_trunk() {
    let scene = Scene::new("certificates");
    let backbone = Backbone::start(&scene, 1);
    let mut publisher = publish(&scene, "published", &backbone.a, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let mut watcher = watch(&scene, "watcher", &backbone.b, &["--for", "8s"]);
    watcher.wait_report("objects_received", 0.0, SOON);

    let stranger = Authority::new(&scene, "stranger");
    // Trusts the backbone's authority, is not trusted by it.
    let [_, cert, key] = stranger.issue("wrong-ca");
    refused(&scene, &backbone, "wrong-ca", [backbone.authority.certificate(), cert, key], "unknown issuer");
    // The other way round: it trusts another authority.
    let [_, cert, key] = backbone.authority.issue("mistrusts");
    refused(&scene, &backbone, "mistrusts", [stranger.certificate(), cert, key], "issuer");
    refused(&scene, &backbone, "expired", backbone.authority.issue_expired("expired"), "expired");
    // Its peer is not the origin that it is configured to dial.
    let setup = Setup { trunk: Some(backbone.authority.issue("misled")), ..Setup::alone("misled") };
    let origin = Some(("o9", backbone.origin.at.trunk.unwrap()));
    expect_refusal(&scene, "o9", Setup { origin, ..setup }, "o9");

    watcher.end_well(SOON);
    publisher.signal("INT");
    publisher.end_well(SOON);
    diff(&scene, "published", "watcher");
    for edge in [&backbone.a, &backbone.b] {
        edge.wait_trunk("o1");
    }
}

#[test]
fn a_relay_under_another_name_does_not_start() {
    let scene = Scene::new("misnamed");
    let authority = Authority::new(&scene, "ca");
    let setup = Setup { trunk: Some(authority.issue("other")), ..Setup::alone("edge") };
    let config = scene.write("edge.toml", setup.toml(&scene, None)).display().to_string();
    let mut relay = scene.run("edge", &["relay", "--config", &config, "--log", "error"], SOON);
    assert_eq!(relay.end(SOON), TLS, "{}", relay.log());
    let log = relay.log();
    assert!(log.contains("is the certificate of \"other\", this PoP is edge: run `sluice ca issue edge`"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}

/// An edge with this certificate says why it has no trunk to the origin.
fn refused(scene: &Scene, backbone: &Backbone, pop: &'static str, trunk: [std::path::PathBuf; 3], reason: &str) {
    let origin = Some(("o1", backbone.origin.at.trunk.unwrap()));
    expect_refusal(scene, "o1", Setup { trunk: Some(trunk), origin, ..Setup::alone(pop) }, reason);
    assert!(backbone.origin.metrics().trunk(pop, "control_up") < 1.0, "{pop}");
}

fn expect_refusal(scene: &Scene, peer: &str, setup: Setup, reason: &str) {
    let pop = setup.pop;
    let relay = Relay::start(scene, setup);
    let what = format!("a line that says why {pop} has no trunk to {peer}");
    let warning = until(&what, SOON, || {
        let log = relay.process.log();
        log.lines().find(|line| line.contains("WARN") && line.contains("trunk peer")).map(str::to_owned)
    });
    assert!(warning.contains(reason), "{pop}: {warning}");
    assert!(relay.metrics().trunk(peer, "control_up") < 1.0, "{pop}");
    let lines = relay.process.log().lines().filter(|line| line.contains("WARN") && line.contains("trunk peer")).count();
    assert!(lines <= 2, "{pop} says it again and again: {}", relay.process.log());
}
