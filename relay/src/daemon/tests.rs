//! Starting and stopping, and what is said when that fails.

use super::{Daemon, StartError};
use crate::Config;
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
