//! What is read, and what is said about what cannot be.

use super::*;
use crate::model::{Capacity, Loss, Rate, Reorder, Way};
use proptest::prelude::*;

const WHOLE: &str = r#"
name = "trunk-flap"
description = "A flap"
seed = 7
duration = "30s"
engines = ["sim", "proxy"]

[node.origin]
[node.edge]
[node.camera]
role = "publisher"
rate = "8M"
group = "2s"
audio = "off"
[node.viewers]
count = 10
ramp = "1s"

[[link]]
between = ["camera", "origin"]
[[link]]
between = ["origin", "edge"]
delay = "25ms"
jitter = "3ms"
reorder = "allow"
loss = { ge = { p = "1%", r = "25%" } }
rate = "50M"
queue = "64KiB"
up.loss = 0.02
up.drop = "2-7"
down.mtu = 1350
[[link]]
between = ["edge", "viewers"]

[[at]]
t = "5s"
do = "down"
link = "origin-edge"
for = "200ms"
every = "10s"

[[at]]
t = "12s"
do = "set"
link = "origin-edge"
rate = "6M"
for = "2s"

[[at]]
t = "20s"
do = "clock"
node = "edge"
by = "-1h"

[expect]
groups_lost = 0
resume_p99 = "1 RTT + 300ms"
[expect.viewers]
video_groups = "99%"
[expect.origin-edge]
settle = "2s"
queue_p99 = "300ms"
"#;

fn read(text: &str) -> Scenario {
    Scenario::parse("test.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn wrong(text: &str) -> String {
    Scenario::parse("t.toml", text).unwrap_err().to_string()
}

/// A scenario of a relay with more text after it; its own lines are 1 to 10.
fn with(more: &str) -> String {
    let base = "name = 'x'\ndescription = 'y'\nduration = '10s'\n[node.origin]\n[node.edge]\n[node.camera]\n\
        role = 'publisher'\n[node.viewers]\n[[link]]\nbetween = ['origin', 'edge']\n";
    format!("{base}[[link]]\nbetween = ['camera', 'origin']\n[[link]]\nbetween = ['edge', 'viewers']\n{more}")
}

#[test]
fn a_whole_scenario_is_read() {
    let scenario = read(WHOLE);
    assert_eq!((scenario.seed, scenario.duration), (7, Duration::from_secs(30)));
    assert_eq!(scenario.engines, BTreeSet::from([Engine::Sim, Engine::Proxy]));
    let names: Vec<_> = scenario.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["origin", "edge", "camera", "viewers"]);
    let Role::Publisher(workload) = &scenario.nodes[2].role else { panic!("no publisher") };
    assert_eq!((workload.rate, workload.fps, workload.frames_per_group(), workload.audio), (8_000_000, 25, 50, None));
    let Role::Viewers(viewers) = &scenario.nodes[3].role else { panic!("no viewers") };
    assert_eq!((viewers.count, viewers.watch, viewers.joins(5)), (10, NodeId(2), Duration::from_millis(500)));
}

#[test]
fn directions_differ_where_they_are_told_to() {
    let scenario = read(WHOLE);
    let link = &scenario.links[1];
    assert_eq!(link.name, "origin-edge");
    let (down, up) = (&link.ways.down, &link.ways.up);
    assert!(
        matches!(down.loss, Loss::GilbertElliott(_))
            && matches!(up.loss, Loss::Random(share) if (share.get() - 0.02).abs() < 1e-9)
    );
    assert_eq!((down.mtu, up.mtu), (Some(1350), None));
    assert_eq!((down.delay, up.jitter.reorder), (up.delay, Reorder::Allow));
    assert_eq!(down.bottleneck, up.bottleneck);
    assert_eq!([1, 2, 7, 8].map(|number| up.drop.contains(number)), [false, true, true, false]);
    assert!(!down.drop.contains(2));
    assert!(scenario.links[0].ways == Ways::default());
}

#[test]
fn a_generated_network_is_seen_from_the_device() {
    let scenario = read(&with("profile = 'lte'\n[expect]\ngaps = 9\n"));
    let network = scenario.links[2].generated.expect("it has a profile");
    assert_eq!((network.profile.name(), network.uplink), ("lte", Way::Reverse), "viewers hang at its second end");
    let program = |way, seed, link| network.program(way, (seed, link), scenario.duration);
    assert_eq!(program(Way::Forward, 7, 2), program(Way::Forward, 7, 2));
    assert_ne!(program(Way::Forward, 7, 2), program(Way::Forward, 7, 3));
    assert_ne!(program(Way::Forward, 7, 2), program(Way::Reverse, 7, 2));
    assert_eq!(scenario.course(LinkId(2), Way::Reverse, 7), Some(program(Way::Reverse, 7, 2)));
    assert_eq!(scenario.links[2].ways.down.delay.get(), Duration::from_millis(25));
    let text = wrong(&with("profile = 'lte'\nup.loss = '1%'\n"));
    assert!(text.contains("the profile `lte` says everything about the link: remove `up`"), "{text}");
    let text = wrong(&with("profile = 'gprs'\n"));
    assert!(text.contains("expected `lte`, `umts`, `starlink`, `wifi` or `conference`"), "{text}");
    let set = "profile = 'wifi'\n[[at]]\nt = '1s'\ndo = 'set'\nlink = 'edge-viewers'\nrate = '1M'\n";
    let text = wrong(&with(set));
    assert!(text.contains("the link is a `wifi`, whose conditions change by themselves"), "{text}");
}

#[test]
fn a_links_course_is_what_its_events_set() {
    let scenario = read(WHOLE);
    let course = scenario.course(LinkId(1), Way::Forward, 7).expect("it is set");
    let rate = |step: &Step| match &step.change {
        Change::Set(config) => (step.at.get().as_secs(), config.bottleneck.as_ref().map(|of| of.capacity.clone())),
        Change::State(_) => panic!("a link that is cut has no other conditions for that"),
    };
    let megabits = |rate| Some(Capacity::Rate(Rate::megabits(rate)));
    let rates: Vec<_> = course.steps().iter().map(rate).collect();
    assert_eq!(rates, [(12, megabits(6)), (14, megabits(50))]);
    assert_eq!(scenario.course(LinkId(0), Way::Forward, 7), None);
}

#[test]
fn events_repeat_and_undo_themselves() {
    let scenario = read(WHOLE);
    let told: Vec<_> = scenario.events.iter().map(|e| format!("{:?} {}", e.at, e.label)).collect();
    let expected = [
        "5s down origin-edge",
        "5.2s up origin-edge",
        "12s set origin-edge",
        "14s restore origin-edge",
        "15s down origin-edge",
        "15.2s up origin-edge",
        "20s clock edge",
        "25s down origin-edge",
        "25.2s up origin-edge",
    ];
    assert_eq!(told, expected);
    let Action::Set(_, restored) = &scenario.events[3].action else { panic!("no set") };
    assert_eq!(**restored, scenario.links[1].ways);
    assert_eq!(scenario.events[6].action, Action::Clock(NodeId(1), Jump::Back(Duration::from_secs(3600))));
}

#[test]
fn a_partition_is_the_links_that_it_cuts() {
    let text = with("[[at]]\nt = '2s'\ndo = 'partition'\nnodes = ['edge', 'viewers']\nfor = '1s'\n");
    let scenario = read(&text);
    let [cut, healed] = &scenario.events[..] else { panic!("{:?}", scenario.events) };
    assert_eq!((&cut.action, &healed.action), (&Action::Down(vec![LinkId(0)]), &Action::Up(vec![LinkId(0)])));
    assert_eq!(cut.label, "partition edge, viewers");
}

#[test]
fn expectations_know_whose_they_are() {
    let scenario = read(WHOLE);
    let told: Vec<_> = scenario.expectations.iter().map(|e| (e.scope, e.figure, e.quantity.to_string())).collect();
    let viewers = Scope::Node(NodeId(3));
    assert!(told.contains(&(Scope::All, Figure::GroupsLost, "0".to_owned())), "{told:?}");
    assert!(told.contains(&(Scope::All, Figure::ResumeP99, "1 RTT + 300ms".to_owned())), "{told:?}");
    assert!(told.contains(&(viewers, Figure::VideoGroups, "99 %".to_owned())), "{told:?}");
    let queue = scenario.expectations.iter().find(|e| e.figure == Figure::QueueP99).unwrap();
    assert_eq!((queue.scope, queue.settle), (Scope::Link(LinkId(1)), Duration::from_secs(2)));
}

#[test]
fn paths_follow_the_delays() {
    let scenario = read(WHOLE);
    let viewers = scenario.find_node("viewers").unwrap();
    let (route, round_trip) = scenario.path(viewers).unwrap();
    assert_eq!((route.delay, round_trip), (Duration::from_millis(25), Duration::from_millis(50)));
    let names: Vec<_> = route.nodes.iter().map(|id| scenario.node(*id).name.as_str()).collect();
    assert_eq!(names, ["camera", "origin", "edge", "viewers"]);
    assert_eq!(route.links, [LinkId(0), LinkId(1), LinkId(2)]);
    assert_eq!(scenario.distances(), [(NodeId(0), 0), (NodeId(1), 1)].into());
}

#[test]
fn everything_wrong_is_said_at_once_with_its_line() {
    let text = r#"name = "Flap"
seed = -1
duration = "0s"
engine = ["sim"]
[node.origin]
colour = "red"
[node.edge]
count = 5
[node.camera]
role = "publischer"
[node.viewers]
count = 0
watch = "camra"
[[link]]
between = ["origin", "edeg"]
dealy = "5ms"
loss = 3
[[link]]
between = ["origin"]
queue = "50ms"
down.rate = "4 furlongs"
[[at]]
t = "5s"
do = "donw"
[[at]]
do = "kill"
node = "nobody"
[expect]
groups_lots = 0
resume_p99 = "soon"
[expect.edg]
gaps = 0
"#;
    let expected = r#"t.toml:1: `name` = "Flap" is not allowed: expected a name of 1 to 32 of a-z, 0-9 and `-`, starting with a letter
t.toml:1: the scenario has no `description`: expected a text
t.toml:2: `seed` = -1 is not allowed: expected a whole number from 0 on
t.toml:3: `duration` = "0s" is not allowed: expected a time above 0 and up to 24h, such as `30s`
t.toml:4: unknown key `engine` in the scenario, did you mean `engines`?
t.toml:6: unknown key `colour` in [node.origin]
t.toml:8: unknown key `count` in [node.edge]
t.toml:10: `role` = "publischer" is not allowed: expected `origin`, `edge`, `relay`, `publisher` or `viewers`
t.toml:12: `count` = 0 is not allowed: expected a number of viewers, 1 to 20000
t.toml:13: there is no publisher `camra`
t.toml:15: there is no node `edeg`, did you mean `edge`?
t.toml:16: unknown key `dealy` in this [[link]], did you mean `delay`?
t.toml:17: `loss` = 3 is not allowed: expected a share such as `3%`, or `{ ge = { p = "1%", r = "25%" } }` for bursts
t.toml:19: a link has two ends, this one has 1
t.toml:20: a `queue` needs something to wait for: add `rate` or `trace`
t.toml:21: `rate` = "4 furlongs" is not allowed: expected bits per second above 0, such as `10k`, `8M` or `1.5G`
t.toml:24: `do` = "donw" is not allowed: expected `down`, `up`, `partition`, `heal`, `set`, `rebind`, `kill`, `restart`, `stop`, `cont` or `clock`
t.toml:25: this [[at]] has no `t`: expected a time such as `200ms`, `1.5s` or `2m`
t.toml:27: there is no node `nobody`
t.toml:29: unknown key `groups_lots` in [expect], did you mean `groups_lost`?
t.toml:30: `resume_p99` = "soon" is not allowed: expected a time such as `500ms`, `2.5 RTT` or `1 RTT + 300ms`
t.toml:31: there is no node or link `edg`, did you mean `edge`?"#;
    assert_eq!(wrong(text), expected);
}

#[test]
fn events_that_contradict_each_other_are_refused() {
    let cases = [
        ("t = '1s'\ndo = 'up'\nlink = 'origin-edge'", "the link `origin-edge` is up"),
        ("t = '1s'\ndo = 'cont'\nnode = 'edge'", "the node `edge` is up"),
        ("t = '11s'\ndo = 'kill'\nnode = 'edge'", "the event comes after the end at 10s"),
        ("t = '1s'\ndo = 'set'\nlink = 'origin-edge'", "this `set` changes nothing"),
        ("t = '1s'\ndo = 'up'\nlink = 'origin-edge'\nfor = '1s'", "`up` is not undone by time"),
        ("t = '1s'\ndo = 'down'\nlink = 'origin-edge'\nfor = '2s'\nevery = '1s'", "reaches into the next `every`"),
        ("t = '1s'\ndo = 'clock'\nnode = 'edge'\nby = '5s'", "with its sign"),
        ("t = '1s'\ndo = 'partition'\nnodes = ['camera', 'origin', 'edge', 'viewers']", "nothing is cut"),
        ("t = '1s'\ndo = 'down'\nlink = 'origin-edge'\nrate = '4M'", "unknown key `rate`"),
    ];
    for (event, expected) in cases {
        let text = wrong(&with(&format!("[[at]]\n{event}\n")));
        assert!(text.contains(expected), "{event}: {text}");
    }
    let twice =
        |first: &str, second: &str| wrong(&with(&format!("[[at]]\nt = '1s'\n{first}\n[[at]]\nt = '2s'\n{second}\n")));
    let down = "do = 'down'\nlink = 'origin-edge'";
    assert!(
        twice(down, down)
            .contains("t.toml:19: `down origin-edge` at 2s cannot be: the link `origin-edge` is down since line 15")
    );
    let text = twice("do = 'kill'\nnode = 'edge'", "do = 'stop'\nnode = 'edge'");
    assert!(text.contains("the node `edge` is dead since line 15"), "{text}");
}

#[test]
fn a_killed_node_may_be_started_and_a_running_one_restarted() {
    let event = |t: u32, what: &str| format!("[[at]]\nt = '{t}s'\ndo = '{what}'\nnode = 'edge'\n");
    let all = ["restart", "stop", "cont", "kill", "restart"].iter().zip(1..).map(|(what, t)| event(t, what));
    assert_eq!(read(&with(&all.collect::<String>())).events.len(), 5);
}

#[test]
fn whoever_cannot_be_reached_is_named() {
    let base = "name = 'x'\ndescription = 'y'\nduration = '10s'\n[node.origin]\n[node.edge]\n[node.camera]\n\
        role = 'publisher'\n[node.viewers]\n[[link]]\nbetween = ['camera', 'origin']\n";
    let text = wrong(base);
    assert!(text.contains("no links lead from `edge` to an origin"), "{text}");
    assert!(text.contains("no links lead from `camera` to `viewers`"), "{text}");
    let text = wrong("name = 'x'\ndescription = 'y'\nduration = '10s'\n[node.edge]\n");
    assert!(text.contains("no node is an origin"), "{text}");
    let twice = with("[[link]]\nname = 'second'\nbetween = ['origin', 'viewers']\n");
    assert!(wrong(&twice).contains("`viewers` has a link already"));
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let text = wrong("name = 'x'\nduration = = 5\n");
    assert!(text.starts_with("t.toml:2: not TOML: "), "{text}");
}

#[test]
fn every_scenario_of_the_library_is_right() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let scenario =
            Scenario::parse(&path.display().to_string(), &text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(path.file_stem().unwrap().to_str(), Some(scenario.name.as_str()));
        assert!(!scenario.expectations.is_empty(), "{} expects nothing", scenario.name);
        names.insert(scenario.name);
    }
    assert!(names.len() >= 25, "{names:?}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "(?s).{0,300}") {
        let _ = Scenario::parse("x", &text);
    }

    #[test]
    fn any_line_may_be_missing_or_broken(line in 0_usize..70, junk in "[ -~]{0,20}") {
        let mut lines: Vec<&str> = WHOLE.lines().collect();
        let at = line % lines.len();
        lines[at] = &junk;
        let text = lines.join("\n");
        if let Err(problems) = Scenario::parse("x", &text) {
            prop_assert!(problems.list().iter().all(|problem| (1..=lines.len()).contains(&problem.line)));
        }
    }
}

#[test]
fn the_table_of_figures_in_the_docs_is_current() {
    let mut table = "| key | | what |\n| --- | --- | --- |\n".to_owned();
    for spec in &FIGURES {
        let bound = match spec.bound {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        };
        table += &format!("| `{}` | {bound} | {} |\n", spec.key, spec.about);
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/netem.md")).unwrap();
    assert!(page.contains(&table), "put this between the marks of docs/netem.md:\n{table}");
}
