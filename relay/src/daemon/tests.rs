//! Starting and stopping, and what is said when that fails.

use super::{Command, Daemon, StartError};
use crate::Config;
use sluice_moqt::Namespace;
use sluice_net::{Clock, SystemClock};
use std::sync::Arc;
use std::time::Duration;

fn config(dir: &std::path::Path, listen: &str) -> Config {
    let text = format!("pop = \"test\"\nstate_dir = {dir:?}\n[listen]\naddr = \"{listen}\"\n");
    Config::from_toml(&text).expect("legal")
}

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("sluice-daemon-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

#[test]
fn a_relay_starts_and_stops_on_a_port_of_its_own() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let dir = scratch("start");
    let daemon = Daemon::start(&config(&dir, "127.0.0.1:0"), &clock).expect("starts");
    assert_ne!(daemon.addresses().user.port(), 0);
    assert!(!daemon.has_failed());
    daemon.stop(Duration::ZERO);
    assert_eq!(std::fs::read(dir.join("test/node.key")).expect("written").len(), 32);
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let dir = scratch("taken");
    let first = Daemon::start(&config(&dir, "127.0.0.1:0"), &clock).expect("starts");
    let taken = first.addresses().user.to_string();
    let error = Daemon::start(&config(&dir, &taken), &clock).expect_err("taken");
    assert!(matches!(error, StartError::Bind { key: "listen.addr", .. }), "{error}");
    assert!(error.to_string().contains(&taken), "{error}");
}

#[test]
fn a_shard_that_panics_is_started_again_and_the_others_go_on() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let dir = scratch("panic");
    let text = format!("pop = \"test\"\nshards = 2\nstate_dir = {dir:?}\n[listen]\naddr = \"127.0.0.1:0\"\n");
    let daemon = Daemon::start(&Config::from_toml(&text).expect("legal"), &clock).expect("starts");
    let turns = |daemon: &Daemon| -> Vec<u64> {
        let snapshots = daemon.state().snapshots();
        snapshots.iter().map(|snapshot| snapshot.net.turn.turns).collect()
    };
    wait("both shards", || turns(&daemon).iter().filter(|turns| **turns > 2).count() == 2);
    let before = turns(&daemon);
    for panics in 1..=2 {
        let [first, second]: [_; 2] = daemon.fleet().handles().try_into().expect("two shards");
        second.send(Command::Panic).expect("it runs");
        wait("the panic", || daemon.state().panics() == panics && second.send(Command::Offer(space())).is_err());
        // The old shard's door is shut, the new one's is open; the neighbour's never closed.
        wait("the new shard", || daemon.fleet().handles()[1].send(Command::Offer(space())).is_ok());
        first.send(Command::Offer(space())).expect("the other shard goes on");
        assert!(!daemon.has_failed());
    }
    wait("news of both", || turns(&daemon).len() == 2 && turns(&daemon)[0] > before[0]);
    // The third within a minute ends it.
    daemon.fleet().handles()[1].send(Command::Panic).expect("it runs");
    wait("the end", || daemon.has_failed());
    assert!(daemon.fleet().is_over());
    daemon.stop(Duration::ZERO);
    let _ = std::fs::remove_dir_all(dir);
}

fn space() -> Namespace {
    Namespace::from_path("live/a").expect("short")
}

/// Until `is` holds, which has to come about.
fn wait(what: &str, is: impl Fn() -> bool) {
    let clock = SystemClock;
    let patience = clock.now() + Duration::from_secs(20);
    while !is() {
        assert!(clock.now() < patience, "{what} did not come");
        std::thread::yield_now();
    }
}
