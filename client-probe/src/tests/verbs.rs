//! The verbs themselves, from the parsed command line to files and reports, in virtual time.

use super::scripted::Scripted;
use super::station::{Memory, Station, target, wall};
use super::wire::{Door, Wire};
use crate::cli::{Cli, Verb};
use crate::core::{Broadcast, Client};
use crate::exit::{Exit, exit_of};
use crate::host::{Command, Driver, Host};
use crate::manifest::{Manifest, compare};
use crate::report::Report;
use crate::verbs::load::Loading;
use crate::verbs::ping::Pinging;
use crate::verbs::publish::Publishing;
use crate::verbs::watch::Watching;
use clap::Parser as _;
use serde_json::Value;
use sluice_media::fmp4::{Demuxer, Limits};
use sluice_moqt::message::RequestOk;
use sluice_moqt::session::Event;
use sluice_net::Rng;
use std::path::{Path, PathBuf};
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn verb(line: &str) -> Verb {
    Cli::try_parse_from(line.split_whitespace()).unwrap().verb
}

fn host<D: Driver>(driver: D, out: &Memory) -> Host<D> {
    let client = Client::new(Rng::from_seed(1), Some(Broadcast::new(super::station::namespace())));
    Host::new(client, driver, wall(), Report::to(Box::new(out.clone())))
}

/// The last line of a report.
fn last_json(out: &Memory) -> Value {
    let text = String::from_utf8(out.bytes()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sluice-client-probe-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn read_manifest(path: &Path) -> Manifest {
    Manifest::read(&std::fs::read(path).unwrap()[..]).unwrap()
}

fn watching(line: &str) -> Watching {
    let Verb::Watch(args) = verb(line) else { panic!("{line}") };
    Watching::new(args, target()).unwrap()
}

#[test]
fn watch_writes_a_decodable_file_a_manifest_and_a_summary() {
    let (folder, out) = (folder("watch"), Memory::default());
    let path = folder.display();
    let line =
        format!("p watch moqt://h/live/demo --for 4s --output {path}/o.mp4 --manifest {path}/m.txt --format json");
    let mut world = Wire::new(host(watching(&line), &out), Station::new(None).host());
    world.run(ms(4100));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    let summary = last_json(&out);
    assert_eq!(summary["objects_lost"], 0);
    let latency = summary["latency_seconds"]["p50"].as_f64().unwrap();
    assert!((0.01..0.1).contains(&latency) && summary["join_seconds"].as_f64().unwrap() < 0.3, "{summary}");

    world.b.handle_command(world.now, Command::Interrupt);
    let published = Manifest::read(&world.b.driver().manifest.bytes()[..]).unwrap();
    let diff = compare(&published, &read_manifest(&folder.join("m.txt")));
    assert!(diff.same, "{diff:?}");

    let mut demuxer = Demuxer::new(Limits::default());
    demuxer.push(&std::fs::read(folder.join("o.mp4")).unwrap()).unwrap();
    demuxer.finish().unwrap();
    let first = demuxer.poll_frame().unwrap();
    assert!(first.keyframe);
    assert!(std::iter::from_fn(|| demuxer.poll_frame()).count() > 100);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn watch_goes_on_with_a_publisher_that_was_killed_and_started_again() {
    let (folder, out) = (folder("takeover"), Memory::default());
    let line = format!("p watch moqt://h/live/demo --for 12s --output {}/o.mp4 --format json", folder.display());
    let mut world = Wire::new(host(watching(&line), &out), Station::new(None).host());
    world.run(ms(5300));
    world.cut();
    world.door = Door::Shut;
    world.run(ms(2000));
    // The first one lived for longer than the second one will.
    world.b = Station::new(None).host();
    world.door = Door::Open;
    world.run(ms(4800));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    let summary = last_json(&out);
    assert_eq!((summary["publisher_changes"].as_u64(), summary["groups_skipped"].as_u64()), (Some(1), Some(0)));
    assert_eq!(summary["objects_lost"], 0);

    let mut demuxer = Demuxer::new(Limits::default());
    demuxer.push(&std::fs::read(folder.join("o.mp4")).unwrap()).unwrap();
    demuxer.finish().unwrap();
    let scale = f64::from(demuxer.tracks().unwrap()[0].timescale);
    let times: Vec<f64> = std::iter::from_fn(|| demuxer.poll_frame())
        .filter(|frame| frame.track == 0)
        .map(|frame| frame.dts as f64 / scale)
        .collect();
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.1).collect();
    assert!(gaps.len() == 1 && (2.0..3.0).contains(&gaps[0]), "{gaps:?}");
    assert!(times.len() as f64 > 9.0 * FRAMES_PER_SECOND && times.is_sorted_by(|a, b| a < b), "{} frames", times.len());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn watch_gives_up_with_the_code_of_what_is_wrong() {
    let line = "p watch moqt://h/live/demo --timeout 2s";
    let mut world = Wire::new(host(watching(line), &Memory::default()), Station::new(None).host());
    world.door = Door::Shut;
    world.run(ms(2100));
    assert_eq!(exit_of(&world.a.take_outcome().unwrap().unwrap_err()), Exit::Unreachable);

    let empty = Client::new(Rng::from_seed(1), None);
    let mut world = Wire::new(host(watching(line), &Memory::default()), empty);
    world.run(ms(2100));
    assert!(world.a.take_outcome().unwrap().is_err());

    let late = Station::new(None).begin_after(ms(60_000));
    let mut world = Wire::new(host(watching(line), &Memory::default()), late.host());
    world.run(ms(2100));
    assert_eq!(exit_of(&world.a.take_outcome().unwrap().unwrap_err()), Exit::NoSuchStream);
}

#[test]
fn watch_without_a_time_ends_with_the_stream_and_an_interrupt_ends_it_at_once() {
    let out = Memory::default();
    let line = "p watch moqt://h/live/demo --format json";
    let mut world = Wire::new(host(watching(line), &out), Station::new(Some(ms(1500))).host());
    world.run(ms(2500));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);

    let mut world = Wire::new(host(watching(line), &out), Station::new(None).host());
    world.run(ms(1000));
    world.a.handle_command(world.now, Command::Interrupt);
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    assert!(last_json(&out)["objects_received"].as_u64().unwrap() > 20);
    world.run(ms(100));
    assert_eq!(world.closes, [0]);
}

#[test]
fn load_counts_every_viewer() {
    let out = Memory::default();
    let Verb::Load(args) = verb("p load moqt://h/live/demo --viewers 50 --for 4s --ramp 1s --format jsonl") else {
        panic!("parsed as another verb")
    };
    let mut world = Wire::new(host(Loading::new(args, target()).unwrap(), &out), Station::new(None).host());
    world.run(ms(4100));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    let summary = last_json(&out);
    assert_eq!((summary["viewers"].as_u64(), summary["joined"].as_u64()), (Some(50), Some(50)));
    assert_eq!((summary["objects_lost"].as_u64(), summary["groups_skipped"].as_u64()), (Some(0), Some(0)));
    assert!(summary["objects_received"].as_u64().unwrap() > 50 * 100, "{summary}");
    assert_eq!(summary["latency_kind"], "absolute");
    assert!(summary["join_seconds"]["p99"].as_f64().unwrap() < 0.3 && summary["bytes_received"].as_u64().unwrap() > 0);
    assert_eq!(world.dials.len(), 50);
}

#[test]
fn load_without_any_stream_fails() {
    let Verb::Load(args) = verb("p load moqt://h/live/demo --viewers 3 --for 1s") else { panic!("another verb") };
    let late = Station::new(None).begin_after(ms(60_000));
    let mut world = Wire::new(host(Loading::new(args, target()).unwrap(), &Memory::default()), late.host());
    world.run(ms(1100));
    assert_eq!(exit_of(&world.a.take_outcome().unwrap().unwrap_err()), Exit::NoSuchStream);
}

#[test]
fn ping_reports_each_answer_and_a_summary() {
    let out = Memory::default();
    let Verb::Ping(args) = verb("p ping moqt://h --count 5 --interval 100ms") else { panic!("another verb") };
    let mut world = Wire::new(host(Pinging::new(args, target()), &out), Client::new(Rng::from_seed(1), None));
    world.run(ms(1000));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    let text = String::from_utf8(out.bytes()).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("seq=")).count(), 5, "{text}");
    assert!(text.contains("5 probes, 5 answered, 0.0 % unanswered"), "{text}");
    assert!(text.contains("rtt min/mean/max 20.00/20.00/20.00 ms, jitter 0.00 ms"), "{text}");
}

fn publishing(line: &str) -> Publishing {
    let Verb::Publish(args) = verb(line) else { panic!("{line}") };
    Publishing::new(args, target()).unwrap()
}

#[test]
fn publish_plays_in_real_time_from_the_moment_its_namespace_is_taken() {
    let (folder, out) = (folder("publish"), Memory::default());
    let line = format!("p publish moqt://h/live/demo --for 3s --format json --manifest {}/m.txt", folder.display());
    let mut world = Wire::new(host(publishing(&line), &out), Scripted::default());
    world.run(ms(1000));
    let offer = world.b.take().into_iter().find_map(|event| match event {
        Event::PublishNamespace { request, .. } => Some(request),
        _ => None,
    });
    world.b.tell(|session| session.accept(offer.expect("offered"), RequestOk::default()));
    world.run(ms(2200));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    let summary = last_json(&out);
    let manifest = read_manifest(&folder.join("m.txt"));
    assert_eq!(summary["objects"].as_u64(), Some(manifest.entries.len() as u64));
    assert!((1.9..2.1).contains(&media_seconds(&manifest)), "{} s", media_seconds(&manifest));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Length of the first video track at the test pattern's rate.
fn media_seconds(manifest: &Manifest) -> f64 {
    let track = manifest.tracks.iter().position(|name| name.starts_with("video")).unwrap();
    manifest.entries.iter().filter(|entry| entry.track == track).count() as f64 / FRAMES_PER_SECOND
}

/// Of the test pattern.
const FRAMES_PER_SECOND: f64 = 25.0;

#[test]
fn publish_takes_stdin_as_it_comes() {
    let out = Memory::default();
    let line = "p publish moqt://h/live/demo --input - --format json";
    let mut world = Wire::new(host(publishing(line), &out), Scripted::default());
    world.run(ms(10));
    for piece in sluice_media::testpattern().chunks(5000) {
        world.a.handle_command(world.now, Command::Input(bytes::Bytes::copy_from_slice(piece)));
    }
    world.a.handle_command(world.now, Command::InputEnd);
    world.run(ms(100));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    assert!(last_json(&out)["objects"].as_u64().unwrap() > 10);

    let mut world = Wire::new(host(publishing(line), &Memory::default()), Scripted::default());
    world.run(ms(10));
    world.a.handle_command(world.now, Command::Input(bytes::Bytes::from_static(b"no mp4, not even close to it")));
    assert!(world.a.take_outcome().unwrap().is_err());
}

#[test]
fn what_a_program_writes_after_an_interrupt_is_not_published() {
    let out = Memory::default();
    let line = "p publish moqt://h/live/demo --input - --format json";
    let mut world = Wire::new(host(publishing(line), &out), Scripted::default());
    world.run(ms(10));
    let pattern = sluice_media::testpattern();
    let (before, after) = pattern.split_at(pattern.len() / 2);
    world.a.handle_command(world.now, Command::Input(bytes::Bytes::copy_from_slice(before)));
    world.a.handle_command(world.now, Command::Interrupt);
    world.a.handle_command(world.now, Command::Input(bytes::Bytes::copy_from_slice(after)));
    world.run(ms(100));
    assert_eq!(world.a.take_outcome().unwrap().unwrap(), Exit::Ok);
    assert!(last_json(&out)["objects"].as_u64().unwrap() > 10);
}

#[test]
fn viewers_that_stay_a_while_leave_and_their_times_are_written() {
    let file = std::env::temp_dir().join(format!("sluice-times-{}", std::process::id()));
    let line = format!("p load moqt://h/live/demo --viewers 4 --for 3s --ramp 1s --stay 1s --times {}", file.display());
    let Verb::Load(args) = verb(&line) else { panic!("another verb") };
    let mut world =
        Wire::new(host(Loading::new(args, target()).unwrap(), &Memory::default()), Station::new(None).host());
    world.run(ms(3100));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let times = |what: &str, viewer: usize| -> Vec<u64> {
        let prefix = format!("{what} {viewer} ");
        let column = if what == "arrived" { 6 } else { 2 };
        let lines = text.lines().filter(|line| line.starts_with(&prefix));
        lines.map(|line| line.split(' ').nth(column).unwrap().parse().unwrap()).collect()
    };
    for viewer in 0..4 {
        let (dialled, left) = (times("dialled", viewer)[0], times("left", viewer)[0]);
        assert!((1_000_000..1_010_000).contains(&(left - dialled)), "{viewer}: {}", left - dialled);
        let arrived = times("arrived", viewer);
        assert!(arrived.len() > 20 && arrived.is_sorted() && arrived.iter().all(|at| *at <= left), "{viewer}");
    }
}
