//! Certificates: the private authority of the trunks (`sluice ca`), and development certificates.
//!
//! A relay is who its trunk certificate says: the URI SAN `sluice:pop/NAME`. All keys are P-256, key files have mode 0600.
//! Time is an argument.

mod cli;
mod dev;

pub use cli::{Cli, run};
pub use dev::{DevFiles, dev_certs, dev_trunk_certs};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use sluice_topology::PopId;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Validity of an authority.
const CA_DAYS: u32 = 3650;
/// Certificates are valid from a little earlier on, for machines whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
/// The name of the trunk authority. It is fixed, so that [`issue`] needs only the key to speak for it.
const TRUNK_CA_NAME: &str = "Sluice trunk CA";

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// Nothing is ever overwritten: the old key may be in use.
    #[error("{} exists and is not overwritten: remove it first, or name another folder with --dir", .0.display())]
    Exists(PathBuf),
    /// The folder has no authority.
    #[error("{} has no authority (ca.pem and ca.key): make one with `sluice ca init`", .0.display())]
    NoAuthority(PathBuf),
    /// A certificate file that is not one.
    #[error("{} is no PEM certificate", .0.display())]
    NotACertificate(PathBuf),
    /// `ca.key` did not sign `ca.pem`.
    #[error("ca.key and ca.pem in {} do not belong together", .0.display())]
    Mismatch(PathBuf),
    /// A file could not be read or written.
    #[error("cannot {verb} {}", .path.display())]
    Io {
        /// What was attempted.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A key or certificate could not be made or read.
    #[error("certificate")]
    Certificate(#[from] rcgen::Error),
}

/// A certificate and its private key, as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate (PEM).
    pub cert: PathBuf,
    /// The private key (PEM), readable by its owner only.
    pub key: PathBuf,
}

impl Files {
    fn named(dir: &Path, name: &str) -> Self {
        Self { cert: dir.join(format!("{name}.pem")), key: dir.join(format!("{name}.key")) }
    }
}

/// Makes a new private authority for trunks in `dir`: `ca.pem` and `ca.key`.
///
/// # Errors
/// One is there already, or files cannot be written.
pub fn init(dir: &Path, now: SystemTime) -> Result<Files, CaError> {
    let files = Files::named(dir, "ca");
    refuse_existing(&files)?;
    let key = KeyPair::generate()?;
    let cert = ca_params(TRUNK_CA_NAME, now).self_signed(&key)?;
    write_pair(&files, &cert.pem(), &key)?;
    Ok(files)
}

/// Issues a trunk certificate for `pop` by the authority in `dir`, valid for `days`: `POP.pem` and `POP.key`.
///
/// # Errors
/// No authority in `dir`, files of that name are there already, or files cannot be read or written.
pub fn issue(dir: &Path, pop: &PopId, days: u32, now: SystemTime) -> Result<Files, CaError> {
    let files = Files::named(dir, pop.as_str());
    refuse_existing(&files)?;
    let authority = Authority::open(dir, TRUNK_CA_NAME, now)?;
    authority.sign(&files, trunk_params(pop, days, now)?, now)?;
    Ok(files)
}

/// The SHA-256 fingerprint of a certificate in lower-case hex, as browsers and `--fingerprint` options take it.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The first certificate of a PEM file.
///
/// # Errors
/// The file cannot be read or holds none.
pub fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, CaError> {
    let text = read(path)?;
    CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| CaError::NotACertificate(path.to_owned()))
}

/// Whether `leaf` is a server certificate that `authority` signed and that is valid at `at`.
fn is_valid(leaf: &CertificateDer<'_>, authority: &CertificateDer<'_>, at: SystemTime) -> bool {
    let check = || {
        let anchor = webpki::anchor_from_trusted_cert(authority)?;
        let time = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
        let algorithms: [&dyn rustls_pki_types::SignatureVerificationAlgorithm; 1] =
            [webpki::aws_lc_rs::ECDSA_P256_SHA256];
        let usage = webpki::KeyUsage::server_auth();
        let (leaf, anchors) = (webpki::EndEntityCert::try_from(leaf)?, [anchor]);
        leaf.verify_for_usage(&algorithms, &anchors, &[], time, usage, None, None).map(drop)
    };
    let verdict: Result<(), webpki::Error> = check();
    verdict.is_ok()
}

/// An authority whose key we hold.
struct Authority {
    dir: PathBuf,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn open(dir: &Path, name: &str, now: SystemTime) -> Result<Self, CaError> {
        let files = Files::named(dir, "ca");
        if !files.cert.exists() || !files.key.exists() {
            return Err(CaError::NoAuthority(dir.to_owned()));
        }
        let key = KeyPair::from_pem(&read(&files.key)?)?;
        let certificate = read_certificate(&files.cert)?;
        Ok(Self { dir: dir.to_owned(), certificate, issuer: Issuer::new(ca_params(name, now), key) })
    }

    /// Signs `params` with a new key, and writes both once they verify.
    fn sign(&self, files: &Files, params: CertificateParams, now: SystemTime) -> Result<(), CaError> {
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        if !is_valid(cert.der(), &self.certificate, now) {
            return Err(CaError::Mismatch(self.dir.clone()));
        }
        write_pair(files, &cert.pem(), &key)
    }
}

fn ca_params(name: &str, now: SystemTime) -> CertificateParams {
    let mut params = dated(CA_DAYS, now);
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, days: u32, now: SystemTime) -> CertificateParams {
    let mut params = dated(days, now);
    params.distinguished_name = common_name(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

/// Both ends of a trunk dial, so its certificates serve both ways.
fn trunk_params(pop: &PopId, days: u32, now: SystemTime) -> Result<CertificateParams, CaError> {
    let mut params = leaf_params(pop.as_str(), days, now);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    params.subject_alt_names = vec![SanType::URI(format!("sluice:pop/{pop}").try_into()?)];
    Ok(params)
}

fn dated(days: u32, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = (now + DAY * days).into();
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    dn.push(DnType::CommonName, name);
    dn
}

fn refuse_existing(files: &Files) -> Result<(), CaError> {
    match [&files.cert, &files.key].into_iter().find(|path| path.exists()) {
        Some(path) => Err(CaError::Exists(path.clone())),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<String, CaError> {
    fs::read_to_string(path).map_err(io_error("read", path))
}

/// The key first: a certificate without its key would look whole to whoever lists the folder.
fn write_pair(files: &Files, cert_pem: &str, key: &KeyPair) -> Result<(), CaError> {
    if let Some(dir) = files.key.parent() {
        fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    }
    write_new(&files.key, &key.serialize_pem(), 0o600)?;
    write_new(&files.cert, cert_pem, 0o644)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CaError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(io_error("write", path))
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaError {
    move |source| CaError::Io { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
