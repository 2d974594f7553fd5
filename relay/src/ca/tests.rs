use super::*;
use rustls_pki_types::ServerName;

const NOW: Duration = Duration::from_secs(1_800_000_000);

#[test]
fn a_trunk_certificate_verifies_both_ways_and_names_its_pop() {
    let dir = Folder::new("issue");
    let ca = init(dir.path(), now()).unwrap();
    let leaf = issue(dir.path(), &pop("fra1"), 90, now()).unwrap();
    let (authority, certificate) = (read_certificate(&ca.cert).unwrap(), read_certificate(&leaf.cert).unwrap());

    assert_eq!(leaf, Files { cert: dir.path().join("fra1.pem"), key: dir.path().join("fra1.key") });
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        verify(&certificate, &authority, now(), usage).unwrap();
    }
    let parsed = webpki::EndEntityCert::try_from(&certificate).unwrap();
    assert_eq!(parsed.valid_uri_names().collect::<Vec<_>>(), ["sluice:pop/fra1"]);
    assert!(is_valid(&certificate, &authority, now() + DAY * 89));
    assert!(!is_valid(&certificate, &authority, now() + DAY * 91), "expires");
    assert!(!is_valid(&certificate, &authority, now() - DAY), "not valid yet");
}

#[test]
fn another_authority_of_the_same_name_does_not_verify_it() {
    let (ours, theirs) = (Folder::new("ours"), Folder::new("theirs"));
    init(ours.path(), now()).unwrap();
    let other = init(theirs.path(), now()).unwrap();
    let leaf = issue(ours.path(), &pop("fra1"), 90, now()).unwrap();
    let (leaf, other) = (read_certificate(&leaf.cert).unwrap(), read_certificate(&other.cert).unwrap());
    assert!(!is_valid(&leaf, &other, now()));

    fs::copy(theirs.path().join("ca.key"), ours.path().join("ca.key")).unwrap();
    let error = issue(ours.path(), &pop("lon1"), 90, now()).unwrap_err();
    assert!(matches!(error, CaError::Mismatch(_)), "{error}");
    assert!(!ours.path().join("lon1.pem").exists(), "nothing is left behind");
}

#[test]
fn nothing_is_overwritten_and_a_missing_authority_is_explained() {
    let dir = Folder::new("refuse");
    let error = issue(dir.path(), &pop("fra1"), 90, now()).unwrap_err().to_string();
    assert!(error.ends_with("has no authority (ca.pem and ca.key): make one with `sluice ca init`"), "{error}");
    init(dir.path(), now()).unwrap();
    issue(dir.path(), &pop("fra1"), 90, now()).unwrap();

    let before = fs::read(dir.path().join("ca.key")).unwrap();
    for error in [init(dir.path(), now()).unwrap_err(), issue(dir.path(), &pop("fra1"), 90, now()).unwrap_err()] {
        assert!(error.to_string().contains("exists and is not overwritten"), "{error}");
    }
    assert_eq!(fs::read(dir.path().join("ca.key")).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = Folder::new("mode");
    let ca = init(dir.path(), now()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&ca.key), 0o600);
}

#[test]
fn a_development_certificate_serves_localhost_and_is_kept_until_it_gets_old() {
    let dir = Folder::new("dev");
    let first = dev_certs(dir.path(), now()).unwrap();
    let certificate = read_certificate(&first.leaf.cert).unwrap();
    let parsed = webpki::EndEntityCert::try_from(&certificate).unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        parsed.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).unwrap();
    }
    assert!(
        !is_valid(&certificate, &read_certificate(&first.ca).unwrap(), now() + DAY * 14),
        "browsers want < 14 days"
    );

    assert_eq!(dev_certs(dir.path(), now() + DAY * 9).unwrap(), first);
    let kept = read_certificate(&first.leaf.cert).unwrap();
    assert_eq!(fingerprint(&kept), fingerprint(&certificate), "young enough");
    dev_certs(dir.path(), now() + DAY * 11).unwrap();
    let renewed = read_certificate(&first.leaf.cert).unwrap();
    assert_ne!(fingerprint(&renewed), fingerprint(&certificate), "renewed before it expires");
    assert!(is_valid(&renewed, &read_certificate(&first.ca).unwrap(), now() + DAY * 23), "by the same authority");
}

#[test]
fn a_broken_development_folder_mends_itself() {
    let dir = Folder::new("broken");
    let files = dev_trunk_certs(dir.path(), &pop("fra1"), now()).unwrap();
    fs::write(&files.ca, "no certificate").unwrap();
    fs::remove_file(&files.leaf.key).unwrap();
    let files = dev_trunk_certs(dir.path(), &pop("fra1"), now()).unwrap();
    let (leaf, ca) = (read_certificate(&files.leaf.cert).unwrap(), read_certificate(&files.ca).unwrap());
    assert!(files.leaf.key.exists());
    verify(&leaf, &ca, now(), webpki::KeyUsage::client_auth()).unwrap();
}

#[test]
fn fingerprints_are_sha256_in_hex() {
    let empty = CertificateDer::from(Vec::new());
    assert_eq!(fingerprint(&empty), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

fn verify(
    leaf: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
    at: SystemTime,
    usage: webpki::KeyUsage,
) -> Result<(), webpki::Error> {
    let anchors = [webpki::anchor_from_trusted_cert(ca)?];
    let time = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
    let algorithms = [webpki::aws_lc_rs::ECDSA_P256_SHA256];
    let leaf = webpki::EndEntityCert::try_from(leaf)?;
    leaf.verify_for_usage(&algorithms, &anchors, &[], time, usage, None, None).map(drop)
}

fn now() -> SystemTime {
    UNIX_EPOCH + NOW
}

fn pop(name: &str) -> PopId {
    name.parse().unwrap()
}

/// A folder of this test alone, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-ca-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
