//! What a relay reads from disk at start: certificates and its node key.

use super::StartError;
use crate::ca;
use crate::config::{Certificate, Config, Trunk};
use sluice_net::NodeKey;
use sluice_net::tls::{Identity, Roots};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

const NODE_KEY_FILE: &str = "node.key";

pub(super) fn read(path: &Path, key: &'static str) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|source| StartError::Read { path: path.to_owned(), key, source })
}

/// The certificate shown to users.
pub(super) fn user_identity(config: &Config, now: SystemTime) -> Result<Identity, StartError> {
    let (cert, key) = match &config.listen.certificate {
        Certificate::Files { cert, key } => (cert.clone(), key.clone()),
        Certificate::Development => {
            let files = ca::dev_certs(&config.state_dir, now)?;
            (files.leaf.cert, files.leaf.key)
        }
    };
    let identity = Identity::from_pem(&read(&cert, "listen.cert")?, &read(&key, "listen.key")?);
    identity.map_err(|source| StartError::Certificate { path: cert, source })
}

/// The certificate shown to peers, and whom to trust.
pub(super) fn trunk_identity(trunk: &Trunk, config: &Config) -> Result<(Identity, Roots), StartError> {
    let bad = |path: &Path, source| StartError::Certificate { path: path.to_owned(), source };
    let identity = Identity::from_pem(&read(&trunk.cert, "trunk.cert")?, &read(&trunk.key, "trunk.key")?)
        .map_err(|source| bad(&trunk.cert, source))?;
    let roots = Roots::from_pem(&read(&trunk.ca, "trunk.ca")?).map_err(|source| bad(&trunk.ca, source))?;
    let named = identity.pop().map_err(|source| bad(&trunk.cert, source))?;
    if named != config.pop.as_str() {
        return Err(StartError::Misnamed { path: trunk.cert.clone(), named, pop: config.pop.clone() });
    }
    Ok((identity, roots))
}

/// The key behind stateless resets and connection ids: the same after a restart, so that peers of the process before
/// learn at once that it is gone.
pub(super) fn node_key(state_dir: &Path) -> Result<NodeKey, StartError> {
    let path = state_dir.join(NODE_KEY_FILE);
    let fail = |source| StartError::NodeKey { path: path.clone(), source };
    fs::create_dir_all(state_dir).map_err(fail)?;
    let key = NodeKey::generate();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            file.write_all(key.as_bytes()).map_err(fail)?;
            return Ok(key);
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(fail(error)),
    }
    let bytes = fs::read(&path).map_err(fail)?;
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| {
        let what = "the file does not hold 32 bytes; remove it and a new one is made";
        fail(std::io::Error::new(std::io::ErrorKind::InvalidData, what))
    })?;
    Ok(NodeKey::from_bytes(bytes))
}
