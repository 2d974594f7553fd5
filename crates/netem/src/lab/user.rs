//! A user namespace for those who are not root: within it they may make network namespaces and interfaces.

use super::sys;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, capabilities};
use std::ffi::CStr;
use std::io;
use std::process::Command;

/// What making namespaces and interfaces takes.
const NEEDED: [CapabilitySet; 2] = [CapabilitySet::SYS_ADMIN, CapabilitySet::NET_ADMIN];

/// Whether the process may make network namespaces as it is.
#[must_use]
pub fn is_privileged() -> bool {
    capabilities(None).is_ok_and(|sets| NEEDED.iter().all(|needed| sets.effective.contains(*needed)))
}

/// Makes the process able to run a lab: does nothing where it is, and else moves it into a user namespace of its own,
/// in which it is root and outside of which it has the rights that it had.
///
/// To be called before any thread is started: the kernel refuses it to a process with several.
///
/// # Errors
///
/// `EINVAL` with several threads; `EPERM` or `ENOSPC` where user namespaces are switched off.
pub fn enter_user_namespace() -> io::Result<()> {
    if is_privileged() {
        return Ok(());
    }
    Identity::current().take_root()
}

/// Has `command` start in a user namespace of its own unless this process may make network namespaces as it is.
///
/// For a process that has threads already, such as a test: it starts itself again.
pub fn start_in_user_namespace(command: &mut Command) {
    if is_privileged() {
        return;
    }
    let identity = Identity::current();
    sys::before_exec(command, move || identity.take_root());
}

/// Who the process is outside, as the kernel wants it mapped to root inside.
#[derive(Debug)]
struct Identity {
    users: Vec<u8>,
    groups: Vec<u8>,
}

impl Identity {
    fn current() -> Self {
        let map = |id: u32| format!("0 {id} 1").into_bytes();
        Self { users: map(geteuid().as_raw()), groups: map(getegid().as_raw()) }
    }

    /// Allocates nothing, since it runs between fork and exec too.
    fn take_root(&self) -> io::Result<()> {
        sys::unshare_user()?;
        // Without it an unprivileged process may not map its group: it could shed a group that denies.
        put(c"/proc/self/setgroups", b"deny")?;
        put(c"/proc/self/gid_map", &self.groups)?;
        put(c"/proc/self/uid_map", &self.users)
    }
}

fn put(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel takes such a map in one write or refuses it.
    write(&file, bytes)?;
    Ok(())
}

/// Whether a user namespace can be made and a network namespace in it, tried by a process of its own.
pub(super) fn probe() -> io::Result<()> {
    let identity = Identity::current();
    let mut command = Command::new("true");
    // Some systems let everybody make a user namespace and give no rights in it.
    sys::before_exec(&mut command, move || identity.take_root().and_then(|()| sys::unshare_network()));
    command.status().map(drop)
}
