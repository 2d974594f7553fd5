//! TLS for users (certificate and ALPN) and for trunks (both sides prove a PoP name), on aws-lc-rs alone.
//!
//! 0-RTT is off in both directions: a replayed first flight could publish. Session tickets are off too, so every
//! connection presents its certificate and expiry takes effect at once.

mod trunk;

use crate::clock::Clock;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{CipherSuite, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;
use trunk::PopVerifier;

pub use trunk::pop_name;

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Not PEM, or not what was expected in it.
    #[error("{what} is not readable PEM: {source}")]
    Pem {
        /// Which input.
        what: &'static str,
        /// The parser's words.
        source: pem::Error,
    },
    /// A PEM file without any certificate.
    #[error("{0} holds no certificate")]
    NoCertificate(&'static str),
    /// The trunk certificate names no PoP.
    #[error("trunk certificate has no URI name sluice:pop/NAME")]
    NoPopName,
    /// rustls refuses the combination, for instance a key that does not fit the certificate.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A certificate chain, leaf first, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads PEM text.
    ///
    /// # Errors
    /// Not PEM, or empty.
    pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(cert, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem { what: "key", source })?;
        Ok(Self { chain, key })
    }

    /// The PoP that the leaf names.
    ///
    /// # Errors
    /// It names none.
    pub fn pop(&self) -> Result<String, TlsError> {
        self.chain.first().and_then(pop_name).ok_or(TlsError::NoPopName)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// Certificates that are trusted as issuers.
#[derive(Debug, Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads one or more PEM certificates.
    ///
    /// # Errors
    /// Not PEM, empty, or not usable as issuers.
    pub fn from_pem(ca: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for cert in certificates(ca, "CA")? {
            store.add(cert)?;
        }
        Ok(Self(Arc::new(store)))
    }
}

fn certificates(text: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certs = certs.map_err(|source| TlsError::Pem { what, source })?;
    if certs.is_empty() {
        return Err(TlsError::NoCertificate(what));
    }
    Ok(certs)
}

/// What the other side of a connection has proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Nothing that names a PoP, whatever its certificate says.
    Users,
    /// A PoP name, by a certificate of our CA.
    Pops,
}

/// How a listening port proves itself and whom it admits.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<rustls::ServerConfig>,
    pub(crate) peers: Peers,
}

impl ServerTls {
    /// Anybody may connect; `alpns` in order of our preference.
    ///
    /// # Errors
    /// The identity cannot be used.
    pub fn open(identity: &Identity, alpns: &[&[u8]], clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let builder = rustls::ServerConfig::builder_with_details(provider(), Arc::new(WallTime(clock)))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth();
        let config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
        Ok(Self::finish(config, alpns, Peers::Users))
    }

    /// Only holders of a certificate from `roots` that names a PoP may connect.
    ///
    /// # Errors
    /// The identity cannot be used or names no PoP.
    pub fn trunk(identity: &Identity, roots: &Roots, alpns: &[&[u8]], clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        identity.pop()?;
        let builder = rustls::ServerConfig::builder_with_details(provider(), Arc::new(WallTime(clock)))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(PopVerifier::new(roots.0.clone())));
        let config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
        Ok(Self::finish(config, alpns, Peers::Pops))
    }

    fn finish(mut config: rustls::ServerConfig, alpns: &[&[u8]], peers: Peers) -> Self {
        config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.ignore_client_order = true;
        Self { config: Arc::new(config), peers }
    }

    pub(crate) fn quic(&self) -> Arc<QuicServerConfig> {
        Arc::new(self.config.clone().try_into().expect("our provider always holds AES-128-GCM, QUIC's initial suite"))
    }
}

/// How a dialling port checks whom it reached, for one ALPN.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<rustls::ClientConfig>,
    alpn: Vec<u8>,
    pub(crate) peers: Peers,
}

impl ClientTls {
    /// The server must present a certificate from `roots` for the name dialled.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub fn verified(roots: &Roots, alpn: &[u8], clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let builder = rustls::ClientConfig::builder_with_details(provider(), Arc::new(WallTime(clock)))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots.0.clone());
        Ok(Self::finish(builder.with_no_client_auth(), alpn, Peers::Users))
    }

    /// Any certificate will do: for tools against test servers, when the user says so.
    ///
    /// # Errors
    /// rustls refuses the configuration.
    pub fn insecure(alpn: &[u8], clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let builder = rustls::ClientConfig::builder_with_details(provider(), Arc::new(WallTime(clock)))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())));
        Ok(Self::finish(builder.with_no_client_auth(), alpn, Peers::Users))
    }

    /// The server's certificate must come from `roots` and carry the PoP name that was dialled; ours is shown.
    ///
    /// # Errors
    /// The identity cannot be used or names no PoP.
    pub fn trunk(identity: &Identity, roots: &Roots, alpn: &[u8], clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        identity.pop()?;
        let config = rustls::ClientConfig::builder_with_details(provider(), Arc::new(WallTime(clock)))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PopVerifier::new(roots.0.clone())))
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
        Ok(Self::finish(config, alpn, Peers::Pops))
    }

    fn finish(mut config: rustls::ClientConfig, alpn: &[u8], peers: Peers) -> Self {
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        Self { config: Arc::new(config), alpn: alpn.to_vec(), peers }
    }

    /// The protocol that this dials.
    #[must_use]
    pub fn alpn(&self) -> &[u8] {
        &self.alpn
    }

    pub(crate) fn quic(&self) -> Arc<QuicClientConfig> {
        Arc::new(self.config.clone().try_into().expect("our provider always holds AES-128-GCM, QUIC's initial suite"))
    }
}

/// AES-128-GCM first: 174 ns per packet against 816 ns for ChaCha20, and servers insist on their own order.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// What a TLS alert says about a certificate: `ours` when the peer sent it, the peer's when we did.
pub(crate) fn alert_meaning(code: u64) -> Option<&'static str> {
    // RFC 8446 6.2, as QUIC carries it: 0x100 + alert (RFC 9001 4.8).
    match code.checked_sub(0x100)? {
        42 => Some("certificate is for another name"),
        45 => Some("certificate is expired or not yet valid"),
        46 => Some("certificate is not acceptable"),
        48 => Some("certificate is from an unknown issuer"),
        49 => Some("certificate names no PoP (URI name sluice:pop/NAME)"),
        51 => Some("certificate has a bad signature"),
        116 => Some("certificate is missing"),
        120 => Some("no common application protocol"),
        _ => None,
    }
}

#[derive(Debug)]
struct WallTime(Arc<dyn Clock>);

impl TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.unix_time()))
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
