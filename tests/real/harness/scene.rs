//! One test's stage: its folder, its clock, and what is said about it.

use super::Process;
use sluice_net::{Clock as _, SystemClock};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);
/// What is shown of each log of a failed test.
const TAIL_LINES: usize = 20;
/// And of each of its lines.
const LINE_CHARS: usize = 300;

/// A test's folder and clock. Made first, so that it outlives the processes in it.
#[derive(Debug)]
pub(crate) struct Scene {
    name: &'static str,
    folder: PathBuf,
    started: Instant,
}

impl Scene {
    /// An empty folder of its own for the test `name`.
    pub(crate) fn new(name: &'static str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        // A process of the same id may have left one.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self { name, folder, started: SystemClock.now() }
    }

    /// The path of `file` in the test's folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The same as text, for command lines.
    pub(crate) fn arg(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// Writes `text` to `file`.
    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Starts the program under test; `name` names its logs.
    pub(crate) fn sluice(&self, name: &str, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        Process::start(self, name, command.args(arguments))
    }

    /// Runs the program under test to its end.
    pub(crate) fn run(&self, name: &str, arguments: &[&str], within: Duration) -> Process {
        let mut process = self.sluice(name, arguments);
        process.end(within);
        process
    }

    fn show_logs(&self) {
        let mut logs: Vec<_> = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| path.extension().is_some_and(|e| e == "log" || e == "out"));
        logs.sort();
        for log in logs {
            let bytes = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<String> = text.lines().map(|line| line.chars().take(LINE_CHARS).collect()).collect();
            let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            if !tail.is_empty() {
                say(&format!("--- {}: {}\n{}", self.name, log.display(), tail.join("\n")));
            }
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let seconds = (SystemClock.now() - self.started).as_secs_f64();
        if thread::panicking() {
            self.show_logs();
            say(&format!("{}: failed after {seconds:.1} s; its files are in {}", self.name, self.folder.display()));
        } else {
            let _ = fs::remove_dir_all(&self.folder);
            say(&format!("{}: {seconds:.1} s", self.name));
        }
    }
}

/// Looks until there is something to return, and fails when there is nothing `within` the deadline.
pub(crate) fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = SystemClock.now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(SystemClock.now() < deadline, "not within {} s: {what}", within.as_secs_f64());
        thread::sleep(POLL);
    }
}

/// Says why a part of a test is left out, or fails where `SLUICE_REQUIRE` has one of `names`.
pub(crate) fn skip(reason: &str, names: &[&str]) {
    let required = env::var("SLUICE_REQUIRE").unwrap_or_default();
    let required = required.split(',').map(str::trim).find(|name| names.contains(name));
    assert!(required.is_none(), "{reason}, and SLUICE_REQUIRE names {}", required.unwrap_or_default());
    say(&format!("SKIPPED: {reason}"));
}

/// The program `name` in a folder of PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Past the capture of the test runner, which hides what passing tests print.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
