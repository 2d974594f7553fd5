//! What goes in wrong comes out as one clear line and an exit code, and everybody else goes on.

use crate::harness::{Authority, Process, Relay, Scene, Setup, diff, publish, url, watch, watch_on};
use std::fs::File;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Exit codes: wrong arguments or configuration, and a failure without a code of its own.
const USAGE: i32 = 2;
const FAILED: i32 = 1;
/// Bytes of a full track name, at most (draft-18 2.4.1).
const NAME_BYTES_MAX: usize = 4096;
/// The longest track name of a published stream.
const LONGEST_TRACK: &str = "catalog.json";

#[test]
fn every_mistake_in_a_configuration_is_told_at_once() {
    let scene = Scene::new("configuration");
    let text = "pop = \"fra1\"\nshards = 0\n[listen]\nadr = \"[::]:4443\"\n[trunk]\norigns = [\"a\"]\n";
    let file = scene.write("fra1.toml", text).display().to_string();
    for line in [&["relay", "--config", &file][..], &["relay", "check-config", &file]] {
        let mut relay = scene.run("relay", line, SOON);
        assert_eq!(relay.end(SOON), USAGE);
        let log = relay.log();
        for expected in [
            format!("{file}:2: `shards` = \"0\" is not allowed: expected a whole number, 1 to 64"),
            format!("{file}:4: unknown key `listen.adr`, did you mean `addr`?"),
            format!("{file}:6: unknown key `trunk.origns`, did you mean `origins`?"),
        ] {
            assert!(log.contains(&expected), "{expected:?} is not in {log}");
        }
    }
}

#[test]
fn a_taken_port_is_named_and_its_owner_goes_on() {
    let scene = Scene::new("taken-ports");
    let authority = Authority::new(&scene, "ca");
    let first = Relay::start(&scene, Setup { trunk: Some(authority.issue("first")), ..Setup::alone("first") });
    let trunk = authority.issue("second").map(|file| file.display().to_string());
    let trunk = ["trunk.ca", "trunk.cert", "trunk.key"].into_iter().zip(trunk);
    let taken =
        [("listen.addr", first.at.user), ("admin.addr", first.at.admin), ("trunk.addr", first.at.trunk.unwrap())];
    for (key, addr) in taken {
        let addr = addr.to_string();
        let free = |other| (other, if other == key { addr.clone() } else { "127.0.0.1:0".to_owned() });
        let ports = ["listen.addr", "admin.addr", "trunk.addr"].map(free);
        let others = [("pop", "second".to_owned()), ("state.dir", scene.arg("state"))];
        let keys = ports.into_iter().chain(others).chain(trunk.clone());
        let flags: Vec<_> = keys.map(|(key, value)| format!("--{}={value}", key.replace('.', "-"))).collect();
        let line: Vec<_> = ["relay"].into_iter().chain(flags.iter().map(String::as_str)).collect();
        let mut second = scene.run("second", &line, SOON);
        assert_eq!(second.end(SOON), USAGE, "{key}: {}", second.log());
        let errors = second.log().lines().filter(|line| line.contains(&addr) && line.contains("in use")).count();
        assert_eq!(errors, 1, "{key}: {}", second.log());
        assert!(second.log().contains(key), "{key}: {}", second.log());
    }
    let url = format!("moqt://{}", first.at.user);
    scene.run("ping", &["client-probe", "ping", &url, "--insecure", "-c", "1"], SOON).end_well(SOON);
}

#[test]
fn input_that_is_no_media_ends_a_publisher_and_nobody_else() {
    let scene = Scene::new("broken-input");
    let relay = Relay::start(&scene, Setup::alone("relay"));
    let mut publisher = publish(&scene, "published", &relay, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let mut watcher = watch(&scene, "watcher", &relay, &["--for", "4s"]);

    let whole = sluice_media_bytes();
    // No box at all; a box that ends in the middle; a moof whose first box has no end.
    let mut lying = whole.clone();
    let moof = lying.windows(4).position(|window| window == b"moof").unwrap();
    lying[moof + 4..moof + 8].copy_from_slice(&[0xff; 4]);
    let inputs = [("nonsense", b"this is no mp4 at all".to_vec()), ("cut", whole[..60_000].to_vec()), ("lying", lying)];
    for (name, bytes) in inputs {
        let input = File::open(scene.write(&format!("{name}.mp4"), bytes)).unwrap();
        let address = format!("moqt://{}/{name}", relay.at.user);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(["client-probe", "publish", &address, "--insecure", "--input", "-"]).stdin(input);
        let mut broken = Process::start(&scene, name, &mut command);
        assert_ne!(broken.end(SOON), 0, "{name}: {}", broken.log());
        assert_eq!(broken.log().lines().count(), 1, "{name}: {}", broken.log());
    }

    watcher.end_well(SOON);
    publisher.signal("INT");
    publisher.end_well(SOON);
    diff(&scene, "published", "watcher");
}

#[test]
fn a_full_disk_cuts_the_output_and_nothing_else() {
    let scene = Scene::new("full-disk");
    let relay = Relay::start(&scene, Setup::alone("relay"));
    let mut publisher = publish(&scene, "published", &relay, &[]);
    publisher.wait_report("objects", 0.0, SOON);
    let manifest = scene.arg("watcher.txt");
    let address = url(&relay);
    let line = ["client-probe", "watch", &address, "--insecure", "--for", "3s", "--manifest", &manifest];
    let mut watcher = scene.run("watcher", &[&line[..], &["--output", "/dev/full"]].concat(), SOON);
    assert_eq!(watcher.end(SOON), FAILED, "{}", watcher.log());
    let log = watcher.log();
    assert!(log.contains("cannot write /dev/full: No space left on device"), "{log}");
    assert!(log.lines().count() <= 2, "once when it happens, once at the end: {log}");
    publisher.signal("INT");
    publisher.end_well(SOON);
    let comparison = diff(&scene, "published", "watcher");
    assert!(comparison["objects_compared"].as_u64() > Some(100), "{comparison}");
}

#[test]
fn names_work_up_to_their_limit_and_are_refused_beyond() {
    let scene = Scene::new("names");
    let relay = Relay::start(&scene, Setup::alone("relay"));
    // As long as it can be with its tracks, and as deep.
    let longest = "n".repeat(NAME_BYTES_MAX - LONGEST_TRACK.len());
    let deepest = vec!["d"; 32].join("/");
    for (name, path) in [("longest", &longest), ("deepest", &deepest)] {
        let address = format!("moqt://{}/{path}", relay.at.user);
        let line = ["client-probe", "publish", &address, "--insecure", "--format", "jsonl"];
        let mut publisher = scene.sluice(&format!("{name}-publisher"), &line);
        publisher.wait_report("objects", 0.0, SOON);
        let mut watcher = watch_on(&scene, name, &address, &["--for", "2s"]);
        watcher.end_well(SOON);
        assert_eq!(watcher.json()["objects_lost"], 0, "{name}");
    }
    let (too_long, too_deep) = ("n".repeat(NAME_BYTES_MAX + 1), vec!["d"; 33].join("/"));
    for (name, path, expected) in [("too-long", too_long, "4097 bytes"), ("too-deep", too_deep, "33 fields")] {
        let address = format!("moqt://{}/{path}", relay.at.user);
        for verb in ["publish", "watch"] {
            let mut refused = scene.run(name, &["client-probe", verb, &address, "--insecure"], SOON);
            assert_eq!(refused.end(SOON), USAGE, "{verb} {name}: {}", refused.log());
            assert!(refused.log().contains(expected), "{verb} {name}: {}", refused.log());
        }
    }
}

/// The test pattern: a fragmented MP4.
fn sluice_media_bytes() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/testpattern.mp4");
    std::fs::read(path).unwrap()
}
