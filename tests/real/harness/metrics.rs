//! A reading of `/metrics`.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// All series of one scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    series: BTreeMap<String, f64>,
}

impl Metrics {
    /// Reads the text format of Prometheus, in which no series stands twice.
    pub(crate) fn parse(text: &str) -> Self {
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(series.insert(name.to_owned(), value).is_none(), "{name} stands twice");
        }
        Self { series }
    }

    /// A series without labels; 0 where there is none.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.series.get(name).copied().unwrap_or_default()
    }

    /// `sluice_trunk_NAME` of the trunk to `peer`; 0 where there is none.
    pub(crate) fn trunk(&self, peer: &str, name: &str) -> f64 {
        self.get(&format!("sluice_trunk_{name}{{peer=\"{peer}\"}}"))
    }
}

/// The status and the body of `GET path`.
pub(super) fn http_get(addr: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, HTTP_TIMEOUT)?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}
