//! The picture is whole, bounded and safe, whatever the run.

use super::*;
use crate::model::Counters;
use crate::result::{Arrival, Evidence, Happened, LinkEvidence, Media, Published, Report, Viewing};
use crate::scenario::{Engine, LinkId, NodeId};
use std::time::Duration;

const TEXT: &str = r#"
name = "test"
description = "Less < more & \"so on\""
duration = "20s"
[node.origin]
[node.edge]
[node.camera]
role = "publisher"
[node.viewers]
count = 2
[[link]]
between = ["camera", "origin"]
[[link]]
between = ["origin", "edge"]
delay = "50ms"
[[link]]
between = ["edge", "viewers"]
[[at]]
t = "5s"
do = "down"
link = "origin-edge"
for = "2s"
[[at]]
t = "12s"
do = "stop"
node = "edge"
for = "1s"
[expect]
gaps = 0
"#;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn evidence(viewers: u32) -> Evidence {
    let arrival = |n: u64| {
        let (sent, late) = (ms(n * 40), if n.is_multiple_of(7) { 90 } else { 60 });
        let object = u32::try_from(n % 25).unwrap();
        let away = (5_000..7_000).contains(&(n * 40)) || (12_000..13_000).contains(&(n * 40));
        (!away).then(|| Arrival { at: sent + ms(late), sent, media: Media::Video, group: n / 25, object, bytes: 9 })
    };
    let viewing = |index| Viewing {
        node: NodeId(3),
        index,
        dialled: Duration::ZERO,
        left: ms(20_000),
        reconnects: 0,
        arrivals: (0..500).filter_map(arrival).collect(),
    };
    let published = |n: u64| Published {
        at: ms(n * 40),
        media: Media::Video,
        group: n / 25,
        object: u32::try_from(n % 25).unwrap(),
    };
    let happened = [(0, 5_000), (1, 7_000), (2, 12_000), (3, 13_000)];
    Evidence {
        engine: Engine::Sim,
        seed: 1,
        ended: ms(20_000),
        wall: ms(100),
        published: [(NodeId(2), (0..500).map(published).collect())].into(),
        viewers: (0..viewers).map(viewing).collect(),
        links: vec![LinkEvidence {
            link: LinkId(1),
            down: Counters::default(),
            up: Counters::default(),
            queue: Vec::new(),
        }],
        nodes: Vec::new(),
        happened: happened.map(|(event, at)| Happened { event, at: ms(at), failed: None }).into(),
        lateness: None,
        trace_hash: Some(7),
    }
}

fn draw(viewers: u32) -> String {
    let scenario = Scenario::parse("t.toml", TEXT).unwrap_or_else(|problems| panic!("{problems}"));
    let evidence = evidence(viewers);
    svg(&scenario, &evidence, &Report::new(&scenario, &evidence))
}

#[test]
fn delivery_gaps_and_events_are_drawn() {
    let svg = draw(2);
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    let count = |part: &str| svg.matches(part).count();
    assert_eq!(count("class=\"density\""), 2, "a row per viewer");
    assert_eq!(count("class=\"gap\""), 4, "two gaps each");
    assert_eq!(count("class=\"event\""), 4);
    assert_eq!(count("class=\"away\""), 2, "a link and a process");
    for label in ["down origin-edge", "up origin-edge", "stop edge", "cont edge", "viewers 0", "viewers 1", "latency"] {
        assert!(svg.contains(&format!(">{label}</text>")), "{label}");
    }
    assert!(svg.contains("all gaps: &lt;= 0, seen 4"));
    assert!(svg.contains("prefers-color-scheme:dark"));
}

#[test]
fn text_is_escaped() {
    let svg = draw(1);
    assert!(svg.contains("Less &lt; more &amp; &quot;so on&quot;"));
    assert!(!svg.contains("< more"));
}

#[test]
fn many_viewers_make_bands_and_the_size_is_bounded() {
    let svg = draw(400);
    assert_eq!(svg.matches("class=\"density\"").count(), ROWS_MAX);
    assert!(svg.contains(">viewers 0-9</text>") && svg.contains(">viewers 390-399</text>"));
    assert!(svg.len() < 400_000, "{}", svg.len());
}

#[test]
fn nothing_at_all_is_still_a_picture() {
    let svg = draw(0);
    assert!(svg.contains("</svg>") && !svg.contains("NaN"));
}
