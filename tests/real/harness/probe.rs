//! `sluice client-probe`, as the tests use it.

use super::process::Process;
use super::relay::Relay;
use super::scene::Scene;
use std::time::Duration;

/// The stream that tests publish where the name does not matter.
const STREAM: &str = "live/match";
/// A manifest is compared within this time.
const DIFF: Duration = Duration::from_secs(20);

/// The address of the tests' stream at `relay`.
pub(crate) fn url(relay: &Relay) -> String {
    format!("moqt://{}/{STREAM}", relay.at.user)
}

/// Publishes the test pattern at `relay`, with the manifest `NAME.txt`.
pub(crate) fn publish(scene: &Scene, name: &str, relay: &Relay, more: &[&str]) -> Process {
    let (url, manifest) = (url(relay), scene.arg(&format!("{name}.txt")));
    let line = ["client-probe", "publish", &url, "--insecure", "--format", "jsonl", "--manifest", &manifest];
    scene.sluice(name, &[&line[..], more].concat())
}

/// Watches at `relay`, with the manifest `NAME.txt` and the output `NAME.mp4`; reports every second.
pub(crate) fn watch(scene: &Scene, name: &str, relay: &Relay, more: &[&str]) -> Process {
    watch_on(scene, name, &url(relay), more)
}

/// The same at an address.
pub(crate) fn watch_on(scene: &Scene, name: &str, url: &str, more: &[&str]) -> Process {
    let (manifest, output) = (scene.arg(&format!("{name}.txt")), scene.arg(&format!("{name}.mp4")));
    let line = ["client-probe", "watch", url, "--insecure", "--format", "jsonl", "--manifest", &manifest];
    scene.sluice(name, &[&line[..], &["--output", &output], more].concat())
}

/// Many viewers at `relay`.
pub(crate) fn load(scene: &Scene, name: &str, relay: &Relay, more: &[&str]) -> Process {
    let url = url(relay);
    let line = ["client-probe", "load", &url, "--insecure", "--format", "json", "--ramp", "500ms"];
    scene.sluice(name, &[&line[..], more].concat())
}

/// The comparison of two manifests, which must be the same from the receiver's join on.
pub(crate) fn diff(scene: &Scene, published: &str, received: &str) -> serde_json::Value {
    let files = [published, received].map(|name| scene.arg(&format!("{name}.txt")));
    let name = format!("diff-{published}-{received}");
    let line = ["client-probe", "diff", &files[0], &files[1], "--format", "json"];
    let comparison = scene.run(&name, &line, DIFF).json();
    assert_eq!(comparison["same"], true, "{published} against {received}: {comparison}");
    comparison
}
