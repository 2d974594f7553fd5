//! `moqt://host:port/a/b`: where a stream is, checked once (draft-18 3.1.1).

use crate::exit::{Exit, Failure};
use sluice_moqt::Namespace;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// Port of a URL that names none (draft-18 3.1.1).
const DEFAULT_PORT: u16 = 443;

/// Why a URL is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No `scheme://`.
    #[error("`{0}` has no scheme; write moqt://HOST:PORT/NAMESPACE")]
    NoScheme(String),
    /// A scheme other than `moqt` and `https`.
    #[error("scheme `{0}` is unknown; write moqt://HOST:PORT/NAMESPACE")]
    UnknownScheme(String),
    /// An empty host, or brackets that do not match.
    #[error("`{0}` has no usable host; write moqt://HOST:PORT/NAMESPACE")]
    BadHost(String),
    /// A port that is not 1 to 65535.
    #[error("port `{0}` is not a number from 1 to 65535")]
    BadPort(String),
    /// A percent escape that is none.
    #[error("path `{0}` has a broken percent escape")]
    BadEscape(String),
    /// A path that is no namespace.
    #[error("path `{path}` is no namespace: {reason}")]
    BadNamespace {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: sluice_moqt::name::NameError,
    },
}

/// What carries the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Raw QUIC.
    Moqt,
    /// WebTransport over HTTP/3.
    Https,
}

/// A stream's address: the host to dial and the namespace to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    namespace: Namespace,
    text: String,
}

impl StreamUrl {
    /// What carries the session.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address without brackets: the TLS server name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `host:port` as it goes into SETUP AUTHORITY, IPv6 addresses in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The path split at `/`, percent escapes decoded.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The addresses behind the host, in the resolver's order. Blocks.
    ///
    /// # Errors
    /// [`Exit::Name`] when the name does not resolve.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, self.port)]);
        }
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|e| {
            let message = format!("cannot resolve `{}`: {e}; check the name or use an address", self.host);
            Failure::new(Exit::Name, message)
        })?;
        let found: Vec<_> = found.collect();
        if found.is_empty() {
            return Err(Failure::new(Exit::Name, format!("`{}` has no address; check the name", self.host)));
        }
        Ok(found)
    }
}

impl FromStr for StreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::NoScheme(text.to_owned()))?;
        let scheme = match scheme {
            "moqt" => Scheme::Moqt,
            "https" => Scheme::Https,
            other => return Err(UrlError::UnknownScheme(other.to_owned())),
        };
        // The fragment stays with the client, the query is no part of the namespace (draft-18 3.1.1).
        let rest = rest.split(['#', '?']).next().unwrap_or(rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_authority(authority)?;
        Ok(Self { scheme, host, port, namespace: namespace_of(path)?, text: text.to_owned() })
    }
}

impl std::fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

fn split_authority(authority: &str) -> Result<(String, u16), UrlError> {
    let bad_host = || UrlError::BadHost(authority.to_owned());
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(bad_host)?;
        let port = if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(bad_host)?) };
        host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_host())?;
        (host, port)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() || host.contains(['@', ' ']) {
        return Err(bad_host());
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(text) => text.parse().ok().filter(|p| *p != 0).ok_or_else(|| UrlError::BadPort(text.to_owned()))?,
    };
    Ok((host.to_owned(), port))
}

fn namespace_of(path: &str) -> Result<Namespace, UrlError> {
    let mut fields = Vec::new();
    for segment in path.split('/').filter(|s| !s.is_empty()) {
        fields.push(unescape(segment).ok_or_else(|| UrlError::BadEscape(path.to_owned()))?.into());
    }
    Namespace::new(fields).map_err(|reason| UrlError::BadNamespace { path: path.to_owned(), reason })
}

/// Percent decoding as RFC 3986 2.1; `None` where two hex digits are missing.
fn unescape(segment: &str) -> Option<Vec<u8>> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(fields: &[&str]) -> Namespace {
        Namespace::new(fields.iter().map(|f| f.as_bytes().to_vec().into()).collect()).unwrap()
    }

    #[test]
    fn parses_what_users_write() {
        let cases: [(&str, &str, u16, &[&str]); 6] = [
            ("moqt://localhost:4443/live/match7", "localhost", 4443, &["live", "match7"]),
            ("moqt://127.0.0.1/demo", "127.0.0.1", 443, &["demo"]),
            ("moqt://[::1]:4440/a//b/", "::1", 4440, &["a", "b"]),
            ("moqt://host:1", "host", 1, &[]),
            ("moqt://host/a%20b%2Fc?token=x#f", "host", 443, &["a b/c"]),
            ("https://host/x", "host", 443, &["x"]),
        ];
        for (text, host, port, fields) in cases {
            let url: StreamUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(*url.namespace(), namespace(fields), "{text}");
            assert_eq!(url.to_string(), text);
        }
        assert_eq!("moqt://[::1]:7/".parse::<StreamUrl>().unwrap().authority(), "[::1]:7");
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("localhost:4443/live", "has no scheme"),
            ("rtmp://host/live", "scheme `rtmp` is unknown"),
            ("moqt:///live", "no usable host"),
            ("moqt://[::1/live", "no usable host"),
            ("moqt://user@host/live", "no usable host"),
            ("moqt://host:0/live", "port `0`"),
            ("moqt://host:99999/live", "port `99999`"),
            ("moqt://host/%zz", "broken percent escape"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<StreamUrl>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let deep = format!("moqt://host/{}", "a/".repeat(33));
        assert!(deep.parse::<StreamUrl>().unwrap_err().to_string().contains("33 fields"));
    }

    #[test]
    fn unresolvable_name_exits_3() {
        let url: StreamUrl = "moqt://name.invalid:1/x".parse().unwrap();
        assert_eq!(url.resolve().unwrap_err().exit(), Exit::Name);
        let url: StreamUrl = "moqt://[::1]:5/x".parse().unwrap();
        assert_eq!(url.resolve().unwrap(), vec!["[::1]:5".parse().unwrap()]);
    }
}
