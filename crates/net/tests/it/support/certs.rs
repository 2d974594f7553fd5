//! A throw-away certificate authority. Ed25519, whose signatures have one length: ECDSA's vary, and with them
//! the sizes of handshake packets, so that no packet trace would repeat.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType, date_time_ymd};
use sluice_net::tls::{Identity, Roots};
use std::time::Duration;

/// 2026-11-23: within the validity of everything that is issued here, unless said otherwise.
pub(crate) const NOW_UNIX: Duration = Duration::from_secs(1_795_392_000);

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).unwrap()
    }

    pub(crate) fn server(&self, name: &str) -> Identity {
        self.issue(vec![SanType::DnsName(name.try_into().unwrap())], 2030)
    }

    pub(crate) fn pop(&self, name: &str) -> Identity {
        self.issue(vec![pop_san(name)], 2030)
    }

    pub(crate) fn expired_pop(&self, name: &str) -> Identity {
        self.issue(vec![pop_san(name)], 2024)
    }

    fn issue(&self, names: Vec<SanType>, until_year: i32) -> Identity {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until_year, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }
}

fn pop_san(name: &str) -> SanType {
    SanType::URI(format!("sluice:pop/{name}").try_into().unwrap())
}
