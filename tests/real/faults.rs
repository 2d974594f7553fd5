//! Programs that die, hang or leave in the middle of a live stream.

use crate::harness::{Backbone, Ffmpeg, Process, Relay, Scene, Setup, diff, load, publish, until, watch};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

#[test]
fn viewers_go_on_when_a_killed_publisher_is_back() {
    let scene = Scene::new("killed-publisher");
    let backbone = Backbone::start(&scene, 1);
    let mut publisher = publish(&scene, "before", &backbone.a, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let mut watchers = [("watch-a", &backbone.a), ("watch-b", &backbone.b)]
        .map(|(name, edge)| (name, watch(&scene, name, edge, &["--for", "60s"])));
    for (_, watcher) in &mut watchers {
        watcher.wait_report("objects_received", 0.0, SOON);
    }
    // Wherever it stands: a group has a second, and this is between two pictures of it.
    publisher.kill();
    let seen = watchers.each_ref().map(|(_, watcher)| last(watcher, "objects_received"));
    let mut publisher = publish(&scene, "after", &backbone.a, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let ffmpeg = Ffmpeg::find();
    for ((name, watcher), seen) in watchers.iter_mut().zip(seen) {
        watcher.wait_report("objects_received", seen + 150.0, SOON);
        watcher.signal("INT");
        watcher.end_well(SOON);
        let summary = watcher.json();
        assert_eq!(summary["reconnects"], 0, "{name}: its session has nothing to do with the publisher's");
        assert_eq!(summary["publisher_changes"], 1, "{name}: {summary}");
        // The groups that began and did not end are one per track; the jump of their ids is none.
        assert!(summary["groups_skipped"].as_u64() <= Some(4), "{name}: {summary}");
        assert!(watcher.log().contains("another publisher took over after"), "{name}");
        if let Some(ffmpeg) = &ffmpeg {
            // 150 objects are two seconds of pictures and sound, all of them the second publisher's.
            assert!(ffmpeg.pictures(&scene.path(&format!("{name}.mp4"))) >= 50, "{name}");
        }
    }
}

#[test]
fn relays_come_back_at_their_addresses() {
    let scene = Scene::new("restarted-relays");
    let mut backbone = Backbone::start(&scene, 1);
    let mut publisher = publish(&scene, "published", &backbone.a, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let mut watcher = watch(&scene, "watcher", &backbone.b, &["--for", "120s"]);
    watcher.wait_report("objects_received", 0.0, SOON);

    backbone.b.restart(&scene);
    let seen = last(&watcher, "objects_received");
    watcher.wait_report("objects_received", seen + 100.0, SOON);

    backbone.origin.restart(&scene);
    backbone.b.wait_trunk("o1");
    let seen = last(&watcher, "objects_received");
    watcher.wait_report("objects_received", seen + 100.0, SOON);

    backbone.a.restart(&scene);
    let (seen, published) = (last(&watcher, "objects_received"), last(&publisher, "objects"));
    publisher.wait_report("objects", published + 100.0, SOON);
    watcher.wait_report("objects_received", seen + 100.0, SOON);
    watcher.signal("INT");
    watcher.end_well(SOON);
    assert!(watcher.json()["reconnects"].as_u64() >= Some(1));
}

#[test]
fn a_viewer_that_never_reads_disturbs_nobody() {
    let scene = Scene::new("stopped-viewer");
    let relay = Relay::start(&scene, Setup::alone("relay"));
    let mut publisher = publish(&scene, "published", &relay, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let mut stopped = watch(&scene, "stopped", &relay, &["--for", "120s"]);
    stopped.wait_report("objects_received", 0.0, SOON);
    stopped.signal("STOP");
    let mut watcher = watch(&scene, "watcher", &relay, &["--for", "5s"]);
    watcher.end_well(SOON);
    publisher.signal("INT");
    publisher.end_well(SOON);
    diff(&scene, "published", "watcher");
    assert_eq!(watcher.json()["objects_lost"], 0);
    // Nothing is heard of it: its session ends by the idle timeout.
    relay.wait("the end of the stopped viewer's session", SOON, |metrics| metrics.get("sluice_sessions") == 0.0);
}

#[test]
fn a_drain_under_load_ends_well_and_in_time() {
    let scene = Scene::new("drain");
    let mut relay = Relay::start(&scene, Setup { more: "[drain]\ngrace = \"2s\"", ..Setup::alone("relay") });
    let mut publisher = publish(&scene, "published", &relay, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let _viewers = load(&scene, "load", &relay, &["--viewers", "20", "--for", "60s"]);
    relay.wait("the viewers", SOON, |metrics| metrics.get("sluice_viewers") >= 40.0);
    relay.process.signal("TERM");
    relay.process.end_well(Duration::from_secs(10));
    let log = relay.process.log();
    assert!(log.contains("\"message\":\"draining\",\"grace_seconds\":2.0"), "{log}");
}

#[test]
fn an_interrupt_does_not_wait_for_viewers() {
    let scene = Scene::new("interrupt");
    let mut relay = Relay::start(&scene, Setup::alone("relay"));
    let mut publisher = publish(&scene, "published", &relay, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    relay.process.signal("INT");
    relay.process.end_well(Duration::from_secs(5));
}

/// The newest number that a process has reported as `key`.
fn last(process: &Process, key: &str) -> f64 {
    until(&format!("a report with {key}"), SOON, || {
        let out = process.out();
        let reports = out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        reports.rev().find_map(|report| report[key].as_f64())
    })
}
