//! The node key and what is derived from it.
//!
//! After a restart the same key must give the same reset tokens and accept the same connection ids, or every
//! peer waits out its idle timeout (30 s) instead of being reset within one round trip.

use aws_lc_rs::{hkdf, hmac, rand};
use std::fmt;

/// 32 secret bytes kept in the state directory; everything else is derived by HKDF-SHA256 with its own label.
#[derive(Clone)]
pub struct NodeKey([u8; 32]);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl NodeKey {
    /// The key that a file held.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh key from the operating system.
    #[must_use]
    pub fn generate() -> Self {
        Self(entropy())
    }

    /// The bytes, for writing them to the state directory.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Signs stateless reset tokens (RFC 9000 10.3.2).
    pub(crate) fn reset_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive("sluice reset"))
    }

    /// Signs connection ids.
    pub(crate) fn cid_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive("sluice cid"))
    }

    /// Seals Retry tokens (RFC 9000 8.1.2).
    pub(crate) fn token_key(&self) -> hkdf::Prk {
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"sluice token").extract(&self.derive("sluice token"))
    }

    fn derive(&self, label: &str) -> [u8; 32] {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"sluice node key").extract(&self.0);
        let info = [label.as_bytes()];
        let mut out = [0; 32];
        prk.expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .expect("one hash length of output is always within HKDF's limit");
        out
    }
}

/// Bytes from the operating system's generator.
pub(crate) fn entropy<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    rand::fill(&mut out).expect("the operating system's random generator works once the process runs");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_are_stable_and_distinct() {
        let key = NodeKey::from_bytes([7; 32]);
        assert_eq!(key.derive("sluice cid"), NodeKey::from_bytes([7; 32]).derive("sluice cid"));
        assert_ne!(key.derive("sluice cid"), key.derive("sluice reset"));
        assert_eq!(format!("{key:?}"), "NodeKey(..)");
    }
}
