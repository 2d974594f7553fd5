//! Figures of runs that are known to the object.

use super::*;
use crate::scenario::{Engine, LinkId, NodeId, Scenario};
use std::time::Duration;

const TEXT: &str = r#"
name = "test"
description = "A test"
duration = "20s"
[node.origin]
[node.edge]
[node.camera]
role = "publisher"
fps = 10
audio = "off"
[node.viewers]
count = 2
[[link]]
between = ["camera", "origin"]
[[link]]
between = ["origin", "edge"]
delay = "50ms"
[[link]]
between = ["edge", "viewers"]
"#;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn scenario(more: &str) -> Scenario {
    Scenario::parse("test.toml", &format!("{TEXT}{more}")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// 20 s of ten frames a second, a group a second.
fn published() -> Vec<Published> {
    let object = |n: u64| Published {
        at: ms(n * 100),
        media: Media::Video,
        group: n / 10,
        object: u32::try_from(n % 10).unwrap(),
    };
    (0..200).map(object).collect()
}

/// What arrives of it, where `delay` says when.
fn viewing(index: u32, delay: impl Fn(u64) -> Option<u64>) -> Viewing {
    let arrival = |(n, published): (u64, Published)| {
        let at = published.at + ms(delay(n)?);
        let Published { at: sent, media, group, object } = published;
        Some(Arrival { at, sent, media, group, object, bytes: 1000 })
    };
    let mut arrivals: Vec<Arrival> = (0..).zip(published()).filter_map(arrival).collect();
    arrivals.sort_by_key(|arrival| arrival.at);
    Viewing { node: NodeId(3), index, dialled: Duration::ZERO, left: ms(20_000), reconnects: 0, arrivals }
}

fn evidence(viewers: Vec<Viewing>, happened: Vec<Happened>) -> Evidence {
    let sample = |at, memory| NodeSample { at: ms(at), memory, held: memory / 100 };
    Evidence {
        engine: Engine::Proxy,
        seed: 7,
        ended: ms(20_000),
        wall: ms(21_000),
        published: [(NodeId(2), published())].into(),
        viewers,
        links: vec![LinkEvidence {
            link: LinkId(1),
            down: crate::model::Counters::default(),
            up: crate::model::Counters::default(),
            queue: (0..200).map(|n| QueueSample { at: ms(n * 100), waits: ms(n) }).collect(),
        }],
        nodes: vec![NodeEvidence {
            node: NodeId(1),
            samples: vec![sample(0, 1000), sample(5000, 1100), sample(19_000, 1500)],
            restarts: 0,
            trunks_lost: 1,
            route_changes: 2,
        }],
        happened,
        lateness: Some(Punctuality { late: Quantiles { p50: 0.0, p99: 0.0005, max: 0.002 }, is_real_time: true }),
        trace_hash: None,
    }
}

fn verdict<'a>(report: &'a Report, figure: &str) -> &'a Verdict {
    report.verdicts.iter().find(|verdict| verdict.figure == figure).unwrap()
}

#[test]
fn a_run_without_a_fault_passes() {
    let expect = "[expect]\ngroups_lost = 0\nvideo_groups = '100%'\ngaps = 0\njoined = '100%'\n\
        added_latency_p99 = '0.2 RTT'\nlatency_p50 = '70ms'\njoin_p99 = '1 RTT'\nreconnects = 0\n";
    let viewers = vec![viewing(0, |_| Some(60)), viewing(1, |_| Some(65))];
    let report = Report::new(&scenario(expect), &evidence(viewers, Vec::new()));
    assert_eq!(report.outcome, Outcome::Passed, "{report}");
    // Groups 1 to 16: the first was under way at the join, the last three had not the time to be lost.
    assert_eq!((report.viewers[0].groups_expected, report.viewers[0].joined), (32, 2));
    let added = verdict(&report, "added_latency_p99");
    assert!((added.value.unwrap() - 0.015).abs() < 1e-9 && (added.limit - 0.02).abs() < 1e-9, "{added:?}");
}

#[test]
fn what_comes_too_late_is_lost() {
    let expect = "[expect]\ngroups_lost = 1\nvideo_groups = '94%'\n";
    // One frame of group 5 never comes; one of group 7 comes 3.2 s after its group's end, one of group 8 after 2.8 s.
    let late = |n| match n {
        53 => None,
        75 => Some(3_200 + 400),
        85 => Some(2_800 + 400),
        _ => Some(60),
    };
    let report = Report::new(&scenario(expect), &evidence(vec![viewing(0, late)], Vec::new()));
    let lost = verdict(&report, "groups_lost");
    assert_eq!((lost.value, lost.passed, lost.seen.as_str()), (Some(2.0), false, "2"));
    let share = verdict(&report, "video_groups");
    assert_eq!((share.seen.as_str(), share.passed), ("87.50 %", false));
    assert_eq!(report.outcome, Outcome::Failed);
}

#[test]
fn pauses_are_counted_from_the_fault() {
    let more = "[[at]]\nt = '5s'\ndo = 'down'\nlink = 'origin-edge'\nfor = '2s'\n\
        [expect]\nresume_p99 = '2s'\nheal = '200ms'\ngaps = 1\ngap_max = '2100ms'\nrecovery = '1s'\n";
    // Nothing sent from 4.95 s to 7 s comes; what comes first was sent 100 ms after the repair.
    let cut = |n: u64| (!(50..=70).contains(&n)).then_some(60);
    let happened =
        vec![Happened { event: 0, at: ms(5000), failed: None }, Happened { event: 1, at: ms(7000), failed: None }];
    let report = Report::new(&scenario(more), &evidence(vec![viewing(0, cut)], happened));
    let value = |figure| (verdict(&report, figure).value.unwrap() * 1e3).round();
    // From 4.96 s to 7.16 s, less a frame of 100 ms.
    assert_eq!(
        (value("resume_p99"), value("heal"), value("gap_max"), value("gaps") / 1e3),
        (2100.0, 160.0, 2200.0, 1.0)
    );
    assert!(value("recovery") < 1.0);
    let gap = report.viewers[0].each[0].gaps[0];
    assert!((gap.start_seconds - 4.96).abs() < 1e-9 && (gap.seconds - 2.2).abs() < 1e-9);
}

#[test]
fn changes_are_measured_from_their_time() {
    let more = "[expect]\nsince = '10s'\nlatency_change = '5% or 1ms'\nmemory_change = '5%'\nleft_over = 3\n\
        memory_max = '1KiB'\ntrunks_lost = 0\nroute_changes = 2\n";
    let slower = |n: u64| Some(if n < 100 { 60 } else { 64 });
    let report = Report::new(&scenario(more), &evidence(vec![viewing(0, slower)], Vec::new()));
    let change = verdict(&report, "latency_change");
    assert_eq!((change.seen.as_str(), change.passed), ("4.0 ms", false));
    assert!((change.limit - 0.003).abs() < 1e-9);
    let memory = verdict(&report, "memory_change");
    assert_eq!((memory.value, memory.passed), (Some(400.0), false));
    assert!((memory.limit - 55.0).abs() < 1e-9);
    assert_eq!(verdict(&report, "left_over").value, Some(4.0));
    assert!(!verdict(&report, "memory_max").passed && !verdict(&report, "trunks_lost").passed);
    assert!(verdict(&report, "route_changes").passed);
}

#[test]
fn latency_before_a_change_counts_from_when_all_have_joined() {
    let ramp = "[node.crowd]\nrole = 'viewers'\ncount = 9\nramp = '6s'\n[[link]]\nbetween = ['edge', 'crowd']\n";
    let expect = "[expect.viewers]\nsince = '10s'\nlatency_change = '5% or 1ms'\n";
    // Joins are work, too: slowest while they go on, fastest until the change.
    let slower = |n: u64| Some(if n < 60 { 70 } else { 60 + n / 100 * 5 });
    let steady = scenario(&format!("{ramp}[expect]\n{expect}"));
    let report = Report::new(&steady, &evidence(vec![viewing(0, slower)], Vec::new()));
    assert_eq!(verdict(&report, "latency_change").seen, "5.0 ms");
}

#[test]
fn queues_are_given_time_to_settle() {
    let more = "[[at]]\nt = '10s'\ndo = 'set'\nlink = 'origin-edge'\nrate = '6M'\n\
        [expect.origin-edge]\nsince = '2s'\nsettle = '8s'\nqueue_p99 = '100ms'\n";
    let happened = vec![Happened { event: 0, at: ms(10_000), failed: None }];
    let report = Report::new(&scenario(more), &evidence(vec![viewing(0, |_| Some(60))], happened));
    // Samples from 2 s to 10 s and from 18 s on: the 99th percentile of 100 is 198 ms.
    assert_eq!(verdict(&report, "queue_p99").seen, "198.0 ms");
}

#[test]
fn a_late_engine_spoils_the_run() {
    let mut late = evidence(vec![viewing(0, |_| Some(60))], Vec::new());
    let quantiles = Quantiles { p50: 0.0, p99: 0.0015, max: 0.01 };
    late.lateness = Some(Punctuality { late: quantiles, is_real_time: true });
    let report = Report::new(&scenario("[expect]\ngaps = 0\n"), &late);
    assert_eq!((report.outcome, report.validity.valid), (Outcome::Invalid, false));
    assert!(report.validity.reasons[0].contains("1.50 ms late (limit 1.00 ms)"), "{report}");
    assert_eq!(report.validity.real_time, Some(true));
    let told = Report::new(&scenario("[expect]\nlateness_p99 = '2ms'\n"), &late);
    assert_eq!(told.outcome, Outcome::Passed);
    late.lateness = Some(Punctuality { late: quantiles, is_real_time: false });
    let report = Report::new(&scenario("[expect]\ngaps = 0\n"), &late);
    assert!(report.validity.reasons[0].contains("not permitted real-time priority"), "{report}");
}

#[test]
fn events_that_did_not_happen_spoil_the_run() {
    let scenario = scenario("[[at]]\nt = '5s'\ndo = 'kill'\nnode = 'edge'\n[expect]\ngaps = 0\n");
    let viewers = || vec![viewing(0, |_| Some(60))];
    let report = Report::new(&scenario, &evidence(viewers(), Vec::new()));
    assert_eq!(report.validity.reasons, ["1 events did not happen"]);
    let failed = vec![Happened { event: 0, at: ms(5000), failed: Some("refused".to_owned()) }];
    let report = Report::new(&scenario, &evidence(viewers(), failed));
    assert_eq!(report.validity.reasons, ["`kill edge` could not be done: refused"]);
}

#[test]
fn what_was_not_measured_is_not_passed() {
    let report = Report::new(
        &scenario("[expect]\naudio_groups = '99%'\nresume_p99 = '1s'\n"),
        &evidence(vec![viewing(0, |_| Some(60))], Vec::new()),
    );
    for verdict in &report.verdicts {
        assert_eq!((verdict.seen.as_str(), verdict.value, verdict.passed), ("not measured", None, false));
    }
}

#[test]
fn viewers_that_never_get_anything_lose_what_they_should_have_got() {
    let scenario = scenario("[expect]\njoined = '100%'\ngroups_lost = 0\n");
    let report = Report::new(&scenario, &evidence(vec![viewing(0, |_| Some(60)), viewing(1, |_| None)], Vec::new()));
    assert_eq!(verdict(&report, "joined").seen, "50.00 %");
    assert_eq!(verdict(&report, "groups_lost").value, Some(17.0));
    assert_eq!(report.viewers[0].each[1].join_seconds, None);
}

#[test]
fn reports_read_well_and_as_json() {
    let scenario = scenario("[expect]\ngroups_lost = 0\nlatency_p99 = '10ms'\n");
    let report = Report::new(&scenario, &evidence(vec![viewing(0, |_| Some(60))], Vec::new()));
    let expected = "test in proxy, seed 7: FAILED (20 s in 21.0 s)
  ok   all groups_lost                  <= 0             seen 0
  MISS all latency_p99                  <= 10ms          seen 60.0 ms
  viewers: 1 of 1 joined, 0 of 16 groups lost, latency p50 60.0 ms, p99 60.0 ms";
    assert_eq!(report.to_string(), expected);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((json["scenario"].as_str(), json["outcome"].as_str()), (Some("test"), Some("failed")));
    assert_eq!(json["verdicts"][1]["passed"], false);
    assert_eq!(json["links"][0]["down"]["offered"]["packets"], 0);
    let row = "| test | proxy | 7 | FAILED | groups_lost 0 (wanted <= 0); latency_p99 60.0 ms (wanted <= 10ms) **missed** | \
        60.0 / 60.0 ms | 0 of 16 | 0.50 ms |";
    assert_eq!(markdown_row(&report), row);
}
