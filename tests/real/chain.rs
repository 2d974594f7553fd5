//! Publisher -> edge -> trunk -> origin -> trunk -> edge -> viewers, as separate processes.

use crate::harness::{Backbone, Ffmpeg, Metrics, Process, Relay, Scene, diff, load, publish, watch};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// Watchers of each edge.
const WATCHERS: u32 = 4;
/// Viewers of each edge.
const VIEWERS: f64 = 20.0;
/// Objects of the test pattern per second, pictures and sound.
const OBJECTS_PER_SECOND: f64 = 70.0;
/// Pictures, sound, and the catalog in two formats.
const TRACKS: f64 = 4.0;
/// First-sent bytes per byte carried, at most (the goal for a trunk).
const COPIES_MAX: f64 = 1.005;
/// At least this: bytes that are appended and not yet sent are few.
const COPIES_MIN: f64 = 0.9;

#[test]
fn everybody_gets_the_same_and_trunks_carry_it_once() {
    let scene = Scene::new("chain");
    chain(&scene, 1);
}

#[test]
fn two_shards_make_no_difference() {
    let scene = Scene::new("chain-of-two-shards");
    chain(&scene, 2);
}

fn chain(scene: &Scene, shards: u8) {
    let backbone = Backbone::start(scene, shards);
    let mut publisher = publish(scene, "published", &backbone.a, &[]);
    publisher.wait_report("objects", 0.0, SOON);

    let mut watchers = join(scene, &backbone);
    let mut loads = [("load-a", &backbone.a), ("load-b", &backbone.b)]
        .map(|(name, edge)| load(scene, name, edge, &["--viewers", "20", "--for", "6s"]));
    for edge in [&backbone.a, &backbone.b] {
        // Two tracks and no catalog, which is read once.
        edge.wait("the viewers", SOON, |metrics| metrics.get("sluice_viewers") >= 2.0 * VIEWERS);
    }
    for (name, watcher) in &mut watchers {
        watcher.end_well(SOON);
        let summary = watcher.json();
        assert_eq!(
            (summary["objects_lost"].as_u64(), summary["groups_skipped"].as_u64()),
            (Some(0), Some(0)),
            "{name}"
        );
    }
    for load in &mut loads {
        load.end_well(SOON);
        let summary = load.json();
        assert_eq!(summary["joined"].as_f64(), Some(VIEWERS), "{summary}");
        assert_eq!(summary["objects_lost"], 0, "{summary}");
    }
    // One subscription per track for all viewers of all shards.
    let metrics = backbone.b.metrics();
    let retries = metrics.get("sluice_upstream_retries_total");
    let subscriptions = metrics.get("sluice_upstream_subscribes_total") - retries;
    assert!((subscriptions - TRACKS).abs() < 0.5, "{subscriptions} subscriptions");
    publisher.signal("INT");
    publisher.end_well(SOON);
    check_trunks(&backbone);
    let ffmpeg = Ffmpeg::find();
    for (name, _) in &watchers {
        let comparison = diff(scene, "published", name);
        assert!(comparison["objects_compared"].as_f64() > Some(3.0 * OBJECTS_PER_SECOND), "{name}: {comparison}");
        if let Some(ffmpeg) = &ffmpeg {
            assert!(ffmpeg.pictures(&scene.path(&format!("{name}.mp4"))) >= 50, "{name}");
        }
    }
}

/// Watchers at both edges, each joining when some more of the stream has passed: at any point of a group.
fn join(scene: &Scene, backbone: &Backbone) -> Vec<(String, Process)> {
    let mut watchers = Vec::new();
    for index in 0..WATCHERS {
        let passed = backbone.origin.metrics().get("sluice_appended_objects_total");
        backbone.origin.wait_objects(passed + f64::from(7 * index));
        for (edge, relay) in [("a", &backbone.a), ("b", &backbone.b)] {
            let name = format!("watch-{edge}{index}");
            let process = watch(scene, &name, relay, &["--for", "6s"]);
            watchers.push((name, process));
        }
    }
    watchers
}

/// One copy on each trunk.
fn check_trunks(backbone: &Backbone) {
    let Backbone { origin, a, b, .. } = backbone;
    let sent = |from: &Relay, to| from.metrics().trunk(to, "sent_bytes_total");
    for (from, to) in [(a, origin), (origin, b)] {
        let (from_pop, to_pop) = (from.setup.pop, to.setup.pop);
        let received = |metrics: &Metrics| metrics.trunk(from_pop, "received_bytes_total");
        // Headers of streams are sent and not kept; and the two readings are not of one instant.
        to.wait("the end of what was sent to it, once", SOON, |metrics| {
            (0.99..=COPIES_MAX).contains(&(received(metrics) / sent(from, to_pop)))
        });
        let copies = sent(from, to_pop) / from.metrics().trunk(to_pop, "carried_bytes_total");
        assert!((COPIES_MIN..=COPIES_MAX).contains(&copies), "{copies} copies from {from_pop} to {to_pop}");
    }
    // The stream goes up once; what its own edge has, that edge serves.
    assert!(sent(origin, "ea") < 0.01 * sent(a, "o1"));
}
