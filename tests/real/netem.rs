//! `sluice netem` with real processes: a scenario over proxies, a proxy in front of a relay, and what is refused.

use crate::harness::{Relay, Scene, Setup, publish};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// A run of a few seconds, with its start and its end.
const RUN: Duration = Duration::from_secs(60);

/// A backbone of two relays whose trunk takes 40 ms, and whose edge is stopped for a second.
const STOPPED: &str = r#"
name = "stopped"
description = "The edge gets no processor time for a second"
seed = 7
duration = "8s"
engines = ["proxy"]
[node.origin]
[node.edge]
[node.camera]
role = "publisher"
rate = "1M"
[node.viewers]
count = 3
[[link]]
between = ["camera", "origin"]
[[link]]
between = ["origin", "edge"]
delay = "40ms"
[[link]]
between = ["edge", "viewers"]
[[at]]
t = "3s"
do = "stop"
node = "edge"
for = "1s"
[expect]
joined = "100%"
resume_p99 = "3s"
reconnects = 0
lateness_p99 = "100ms"
[expect.viewers]
latency_p50 = "1s"
"#;

#[test]
fn a_scenario_over_proxies_shows_its_fault() {
    let scene = Scene::new("netem-proxy");
    let file = scene.write("stopped.toml", STOPPED).display().to_string();
    let (timeline, keep) = (scene.arg("timeline.svg"), scene.arg("kept"));
    let line = ["netem", "run", &file, "--engine", "proxy", "--format", "json", "--timeline", &timeline];
    let mut run = scene.sluice("netem", &[&line[..], &["--keep", &keep]].concat());
    let code = run.end(RUN);
    assert_eq!(code, 0, "{}\n{}", run.out(), run.log());
    let reports = run.json();
    let report = &reports[0];
    assert_eq!(report["outcome"], "passed", "{report}");
    let viewers = &report["viewers"][0];
    assert_eq!((viewers["joined"].as_u64(), viewers["viewers"].as_u64()), (Some(3), Some(3)));
    let latency = viewers["latency_seconds"]["p50"].as_f64().unwrap();
    assert!(latency >= 0.04, "the trunk alone takes 40 ms: {latency}");
    let resume = viewers["resume_seconds"]["p50"].as_f64().unwrap();
    assert!(resume >= 0.8, "it was stopped for a second: {resume}");
    let events: Vec<&str> = report["events"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert_eq!(events, ["stop edge", "cont edge"]);
    let trunk = &report["links"].as_array().unwrap().iter().find(|link| link["link"] == "origin-edge").unwrap();
    assert!(trunk["down"]["delivered"]["bytes"].as_u64() > Some(500_000), "{trunk}");
    let svg = std::fs::read_to_string(timeline).unwrap();
    assert!(svg.contains("stop edge") && svg.contains("class=\"gap\""));
}

#[test]
fn a_proxy_delays_what_a_viewer_gets() {
    let scene = Scene::new("netem-forward");
    let relay = Relay::start(&scene, Setup::alone("alone"));
    let mut publisher = publish(&scene, "published", &relay, &["--stamp"]);
    publisher.wait_report("objects", 0.0, SOON);
    let to = relay.at.user.to_string();
    let line = ["netem", "proxy", "--listen", "127.0.0.1:0", "--to", &to, "--down-delay", "150ms", "--format", "json"];
    let mut proxy = scene.sluice("proxy", &line);
    // Its first line says where it listens.
    let at = crate::harness::until("the proxy to listen", SOON, || {
        proxy.log().split_once(" -> ").map(|(at, _)| at.to_owned())
    });
    let url = format!("moqt://{at}/live/match");
    let line = ["client-probe", "load", &url, "--insecure", "--viewers", "2", "--for", "3s", "--format", "json"];
    let viewers = scene.run("load", &line, SOON).json();
    let latency = viewers["latency_seconds"]["p50"].as_f64().unwrap();
    assert!(latency >= 0.15, "{viewers}");
    proxy.signal("INT");
    proxy.end_well(SOON);
    let summary: Value = proxy.json();
    assert!(summary["down"]["delivered"]["packets"].as_u64() > Some(50), "{summary}");
    assert_eq!(summary["down"]["dropped"]["loss"], 0);
}

#[test]
fn what_cannot_be_run_is_refused_with_a_reason() {
    let scene = Scene::new("netem-refused");
    let broken = scene.write("broken.toml", "name = 'broken'\nduration = '5s'\n[node.orgin]\n").display().to_string();
    let clock = STOPPED
        .replace("do = \"stop\"\nnode = \"edge\"\nfor = \"1s\"", "do = \"clock\"\nnode = \"edge\"\nby = \"+1h\"");
    let clock = scene.write("clock.toml", clock).display().to_string();
    let whole = scene.write("whole.toml", STOPPED).display().to_string();
    let cases = [
        ("broken", vec!["netem", "run", &broken], 2, "broken.toml:3: [node.orgin] has no `role`"),
        ("missing", vec!["netem", "run", "/nowhere/x.toml"], 2, "cannot read /nowhere/x.toml"),
        ("clock", vec!["netem", "run", &clock, "--engine", "proxy"], 78, "happens in virtual time only"),
        ("engine", vec!["netem", "run", &whole, "--engine", "sim"], 78, "is not meant for the sim engine"),
        ("taken", vec!["netem", "proxy", "--to", "127.0.0.1:0"], 2, "port 0 is nobody's"),
    ];
    for (name, line, code, text) in cases {
        let mut process = scene.sluice(name, &line);
        assert_eq!(process.end(SOON), code, "{name}: {}", process.log());
        assert!(process.log().contains(text), "{name}: {}", process.log());
    }
    let mut check = scene.sluice("check", &["netem", "run", "--check", &whole]);
    check.end_well(SOON);
}

#[test]
fn an_interrupted_run_leaves_no_process() {
    let scene = Scene::new("netem-interrupted");
    let long = STOPPED.replace("duration = \"8s\"", "duration = \"120s\"");
    let file = scene.write("long.toml", long).display().to_string();
    let keep = scene.arg("kept");
    let mut run = scene.sluice("netem", &["netem", "run", &file, "--engine", "proxy", "--keep", &keep]);
    let times = scene.path("kept/stopped/viewers-1.times");
    crate::harness::until("viewers that get something", SOON, || {
        assert!(run.is_running(), "{}", run.log());
        std::fs::read_to_string(&times).ok().filter(|text| text.contains("arrived"))
    });
    run.signal("INT");
    assert_eq!(run.end(SOON), 1, "{}", run.log());
    // Every process of the run has the kept folder in its command line or is its child.
    let folder = scene.arg("kept");
    let left = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&folder)
    });
    assert_eq!(left.count(), 0);
}
