//! One self-signed identity per run, and both ends' TLS: AES-128-GCM only, as the floor has it.

use anyhow::Context as _;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

/// The name that the certificate is for.
pub(crate) const SERVER_NAME: &str = "localhost";

/// The sender's certificate and key.
#[derive(Debug)]
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl Identity {
    /// Makes a fresh identity.
    pub(crate) fn generate() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()]).context("making a certificate")?;
        Ok(Self {
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
            certificate: made.cert.into(),
            key: made.signing_key.serialize_der().into(),
        })
    }

    /// Certificate and key as PEM text.
    pub(crate) fn pem(&self) -> (&str, &str) {
        (&self.certificate_pem, &self.key_pem)
    }

    /// The sender's end.
    pub(crate) fn server(&self, alpn: &[u8]) -> anyhow::Result<Arc<QuicServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)?;
        tls.alpn_protocols = vec![alpn.to_vec()];
        Ok(Arc::new(tls.try_into()?))
    }
}

/// The load side's end: trusts `certificate` (PEM) only.
pub(crate) fn client(certificate: &str, alpn: &[u8]) -> anyhow::Result<Arc<QuicClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).context("reading a certificate")?;
    roots.add(certificate).context("trusting the sender's certificate")?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(tls.try_into()?))
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}
