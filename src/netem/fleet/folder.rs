//! The files of a run: configurations, certificates, logs, times. Gone with it, unless they are to be kept.

use anyhow::Context as _;
use sluice_net::{Clock as _, SystemClock};
use sluice_relay::ca;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

/// A folder of one run.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

/// What a relay needs for trunks.
#[derive(Debug)]
pub(super) struct TrunkFiles {
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

impl Folder {
    /// Makes `keep`, or a folder that goes away, and an authority for the relays in it.
    pub(super) fn new(name: &str, keep: Option<&Path>) -> anyhow::Result<Self> {
        let unique = format!("sluice-netem-{}-{name}", std::process::id());
        let (path, kept) = match keep {
            Some(keep) => (keep.join(name), Kept::Yes),
            None => (std::env::temp_dir().join(unique), Kept::No),
        };
        // What an earlier run left would be read as this one's.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("making the folder {}", path.display()))?;
        let folder = Self { path, kept };
        ca::init(&folder.path("ca"), UNIX_EPOCH + SystemClock.unix_time())?;
        Ok(folder)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// What a file holds so far; nothing where there is none.
    pub(super) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// What a program has said on standard error.
    pub(super) fn log(&self, name: &str) -> String {
        self.read(&format!("{name}.log"))
    }

    /// This program, with its output in files.
    pub(super) fn sluice(&self, name: &str) -> anyhow::Result<Command> {
        let program = std::env::current_exe().context("finding this program")?;
        let file = |ending: &str| {
            let path = self.path(&format!("{name}.{ending}"));
            File::create(&path).with_context(|| format!("making {}", path.display()))
        };
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(file("out")?).stderr(file("log")?).current_dir(&self.path);
        // What whoever runs the scenario has set is not the scenario's.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("SLUICE_")) {
            command.env_remove(key);
        }
        Ok(command)
    }

    /// A certificate for a relay, made at its first start.
    pub(super) fn trunk_files(&self, name: &str) -> anyhow::Result<TrunkFiles> {
        let authority = self.path("ca");
        let ca = authority.join("ca.pem");
        let (cert, key) = (authority.join(format!("{name}.pem")), authority.join(format!("{name}.key")));
        if cert.exists() {
            return Ok(TrunkFiles { ca, cert, key });
        }
        let pop = name.parse().with_context(|| format!("naming {name}"))?;
        let files = ca::issue(&authority, &pop, 1, UNIX_EPOCH + SystemClock.unix_time())?;
        Ok(TrunkFiles { ca, cert: files.cert, key: files.key })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.kept == Kept::No {
            // Nobody is left to tell.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_that_starts_again_keeps_its_certificate_and_the_folder_goes() {
        let folder = Folder::new("restart", None).unwrap();
        let cert = |files: TrunkFiles| fs::read(files.cert).unwrap();
        let first = cert(folder.trunk_files("edge").unwrap());
        assert_eq!(cert(folder.trunk_files("edge").unwrap()), first);
        let path = folder.path("");
        drop(folder);
        assert!(!path.exists());
    }
}
