//! Certificates that are the same in every run of a seed.
//!
//! Ed25519: its signatures have one length, and signing the same certificate with the same key gives the same
//! bytes. ECDSA's vary in length, and with them the sizes of handshake packets, so that no packet trace would repeat.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType, SerialNumber,
    date_time_ymd,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use sluice_net::Rng;
use sluice_net::tls::{Identity, Roots, TlsError};
use std::net::IpAddr;

/// RFC 8410 7: the PKCS #8 wrapping of a 32-byte Ed25519 key.
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Certificates cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A name does not fit into a certificate.
    #[error("cannot issue a certificate for {name:?}: {source}")]
    Issue {
        /// The name.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// Our own TLS side refuses what was made.
    #[error("cannot use the certificate of {name:?}: {source}")]
    Use {
        /// The name.
        name: String,
        /// Why.
        source: TlsError,
    },
}

/// A throw-away certificate authority.
#[derive(Debug)]
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    rng: Rng,
    serial: u64,
}

impl Authority {
    /// The authority of `seed`.
    pub(super) fn new(seed: u64) -> Result<Self, CertError> {
        let fail = |source| CertError::Issue { name: "the authority".to_owned(), source };
        let mut rng = Rng::from_seed(seed);
        let key = key(&mut rng).map_err(fail)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(fail)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serial_number = Some(SerialNumber::from(1));
        params.distinguished_name.push(DnType::CommonName, "sluice simulation");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let pem = params.self_signed(&key).map_err(fail)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem, rng, serial: 1 })
    }

    /// What trusts everything issued here.
    pub(super) fn roots(&self) -> Result<Roots, CertError> {
        Roots::from_pem(self.pem.as_bytes())
            .map_err(|source| CertError::Use { name: "the authority".to_owned(), source })
    }

    /// The certificate of a server of users.
    pub(super) fn server(&mut self, name: &str) -> Result<Identity, CertError> {
        let san = name.try_into().map_err(|source| CertError::Issue { name: name.to_owned(), source })?;
        self.issue(name, SanType::DnsName(san))
    }

    /// The certificate of a server of users that is reached by its address.
    pub(super) fn address(&mut self, ip: IpAddr) -> Result<Identity, CertError> {
        self.issue(&ip.to_string(), SanType::IpAddress(ip))
    }

    /// The trunk certificate of a PoP.
    pub(super) fn pop(&mut self, name: &str) -> Result<Identity, CertError> {
        let uri = format!("sluice:pop/{name}");
        let san = uri.try_into().map_err(|source| CertError::Issue { name: name.to_owned(), source })?;
        self.issue(name, SanType::URI(san))
    }

    fn issue(&mut self, name: &str, san: SanType) -> Result<Identity, CertError> {
        let fail = |source| CertError::Issue { name: name.to_owned(), source };
        self.serial += 1;
        let key = key(&mut self.rng).map_err(fail)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(fail)?;
        params.subject_alt_names = vec![san];
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).map_err(fail)?;
        Identity::from_pem(cert.pem().as_bytes(), key.serialize_pem().as_bytes())
            .map_err(|source| CertError::Use { name: name.to_owned(), source })
    }
}

/// The next key that `rng` gives.
fn key(rng: &mut Rng) -> Result<KeyPair, rcgen::Error> {
    let mut secret = [0; 32];
    rng.fill(&mut secret);
    let der = PrivatePkcs8KeyDer::from([&ED25519_PKCS8[..], &secret].concat());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_certificates() {
        let pem = |seed| {
            let mut authority = Authority::new(seed).unwrap();
            assert_eq!(authority.pop("ams").unwrap().pop().unwrap(), "ams");
            authority.server("viewer.test").unwrap();
            authority.pem
        };
        assert_eq!(pem(7), pem(7));
        assert_ne!(pem(7), pem(8));
    }
}
