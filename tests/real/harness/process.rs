//! A child process that does not outlive its test.

use super::scene::{Scene, until};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running or ended program. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to `NAME.out` and `NAME.log` of the scene.
    pub(crate) fn start(scene: &Scene, name: &str, command: &mut Command) -> Self {
        let (log, out) = (scene.path(&format!("{name}.log")), scene.path(&format!("{name}.out")));
        command.stdout(File::create(&out).unwrap());
        Self::spawn(name, command, log, out)
    }

    /// Starts `command`, whose standard output is the input of another program.
    pub(crate) fn start_piped(scene: &Scene, name: &str, command: &mut Command) -> (Self, Stdio) {
        let (log, out) = (scene.path(&format!("{name}.log")), scene.path(&format!("{name}.out")));
        let mut process = Self::spawn(name, command.stdout(Stdio::piped()), log, out);
        let pipe = process.child.stdout.take().unwrap();
        (process, pipe.into())
    }

    fn spawn(name: &str, command: &mut Command, log: PathBuf, out: PathBuf) -> Self {
        let spawned = command.stderr(File::create(&log).unwrap()).spawn();
        let child = spawned.unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        Self { child, name: name.to_owned(), log, out }
    }

    /// What it has said on standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What it has written to standard output.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// The last line on standard output, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let out = self.out();
        let line = out.lines().last().unwrap_or_else(|| panic!("{} has written nothing", self.name));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error} in {line}", self.name))
    }

    /// Waits until a report in JSON lines says more than `least` of `key`.
    pub(crate) fn wait_report(&mut self, key: &str, least: f64, within: Duration) {
        let what = format!("more than {least} {key} reported by {}", self.name);
        until(&what, within, || {
            assert!(self.is_running(), "{} ended: {}", self.name, self.log());
            // The last line may be half written.
            let reports = self.out();
            let mut reports = reports.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            reports.any(|report| report[key].as_f64() > Some(least)).then_some(())
        });
    }

    /// Sends a signal by its short name, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let line = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{}: {line}", self.name);
    }

    /// Kills it, as the out-of-memory killer would.
    pub(crate) fn kill(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end, which is its exit code.
    pub(crate) fn end(&mut self, within: Duration) -> i32 {
        let what = format!("the end of {}", self.name);
        let status: ExitStatus = until(&what, within, || self.child.try_wait().unwrap());
        status.code().unwrap_or_else(|| panic!("{}: {status}", self.name))
    }

    /// Waits for its end after a signal that may have killed it.
    pub(crate) fn wait(&mut self, within: Duration) {
        until(&format!("the end of {}", self.name), within, || self.child.try_wait().unwrap());
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn end_well(&mut self, within: Duration) {
        let code = self.end(within);
        assert_eq!(code, 0, "{}: {}", self.name, self.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
