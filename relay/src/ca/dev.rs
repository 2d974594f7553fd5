//! Development certificates: made when needed, renewed when old, for this machine only.

use super::{
    Authority, CaError, DAY, Files, ca_params, io_error, is_valid, leaf_params, read_certificate, trunk_params,
    write_pair,
};
use rcgen::{CertificateParams, KeyPair, SanType};
use sluice_topology::PopId;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Browsers take a certificate by its fingerprint only if it is valid for less than 14 days.
const LEAF_DAYS: u32 = 13;
/// Renewed when fewer days are left: a process started today outlives its demo.
const RENEW_DAYS: u32 = 3;
const CA_NAME: &str = "Sluice development CA";

/// A development certificate with its authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevFiles {
    /// The authority's certificate, for `--ca`.
    pub ca: PathBuf,
    /// The certificate and its key.
    pub leaf: Files,
}

/// The development certificate for localhost, 127.0.0.1 and ::1 below `dir`, made or renewed as needed.
///
/// # Errors
/// Files cannot be read or written.
pub fn dev_certs(dir: &Path, now: SystemTime) -> Result<DevFiles, CaError> {
    ensure(dir, "localhost", now, || {
        let mut params = leaf_params("localhost", LEAF_DAYS, now);
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        Ok(params)
    })
}

/// The development trunk certificate of `pop` below `dir`, by the same rules.
///
/// # Errors
/// As [`dev_certs`].
pub fn dev_trunk_certs(dir: &Path, pop: &PopId, now: SystemTime) -> Result<DevFiles, CaError> {
    ensure(dir, &format!("trunk-{pop}"), now, || trunk_params(pop, LEAF_DAYS, now))
}

fn ensure(
    dir: &Path,
    name: &str,
    now: SystemTime,
    params: impl Fn() -> Result<CertificateParams, CaError>,
) -> Result<DevFiles, CaError> {
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    // Two programs may start at once in one folder; the lock ends with the file handle.
    let lock_path = dir.join("lock");
    let lock = File::create(&lock_path).map_err(io_error("create", &lock_path))?;
    lock.lock().map_err(io_error("lock", &lock_path))?;

    let (ca, leaf) = (Files::named(dir, "ca"), Files::named(dir, name));
    let soon = now + DAY * RENEW_DAYS;
    if !is_ours(&ca, &leaf, soon) {
        remove(&leaf)?;
        let signed = Authority::open(dir, CA_NAME, now).and_then(|a| a.sign(&leaf, params()?, now));
        // A development authority that is missing, broken or expired is replaced: nobody else trusts it.
        if signed.is_err() {
            remove(&leaf)?;
            new_authority(dir, &ca, now)?.sign(&leaf, params()?, now)?;
        }
    }
    Ok(DevFiles { ca: ca.cert, leaf })
}

/// Whether the leaf is whole and valid at `at`.
fn is_ours(ca: &Files, leaf: &Files, at: SystemTime) -> bool {
    let (Ok(authority), Ok(certificate)) = (read_certificate(&ca.cert), read_certificate(&leaf.cert)) else {
        return false;
    };
    leaf.key.exists() && is_valid(&certificate, &authority, at)
}

fn new_authority(dir: &Path, ca: &Files, now: SystemTime) -> Result<Authority, CaError> {
    remove(ca)?;
    let key = KeyPair::generate()?;
    let cert = ca_params(CA_NAME, now).self_signed(&key)?;
    write_pair(ca, &cert.pem(), &key)?;
    Authority::open(dir, CA_NAME, now)
}

fn remove(files: &Files) -> Result<(), CaError> {
    for path in [&files.cert, &files.key] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("remove", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
