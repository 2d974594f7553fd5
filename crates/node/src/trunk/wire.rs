//! Messages of the trunk's control connection, ALPN [`CONTROL_ALPN`].
//!
//! Each side opens one unidirectional stream and writes messages to it: what it watches, [`Message::Hello`], and in answer
//! to the peer's greeting everything that the peer is to know, up to [`Message::Synced`]; probes travel as datagrams of
//! the same encoding, so that a lost one is not repaired behind our back. A message is type (vi64),
//! length (vi64), body. Unknown types are skipped, so that a newer peer may say more.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sluice_moqt::{Namespace, TrackName, varint};
use sluice_topology::PopId;

/// ALPN of the control connection; the number is the version of everything below.
pub const CONTROL_ALPN: &[u8] = b"sluice-trunk-control/1";
/// ALPN of the media connection: MoQ Transport in the dialect [`sluice_moqt::Draft::Trunk1`].
pub const MEDIA_ALPN: &[u8] = b"sluice-trunk/1";
/// Longest message body.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// One control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Who speaks; answered with everything that the peer is to know.
    Hello(Hello),
    /// A namespace is to be had at the sender.
    NsUp {
        /// Which.
        namespace: Namespace,
        /// The relay whose user publishes it.
        relay: PopId,
        /// When that relay announced it, unix milliseconds.
        epoch: u64,
    },
    /// It no longer is.
    NsDown {
        /// Which.
        namespace: Namespace,
        /// The relay that had it.
        relay: PopId,
    },
    /// A track was offered by PUBLISH at the sender.
    TrackUp {
        /// Which.
        track: TrackName,
    },
    /// It no longer is.
    TrackDown {
        /// Which.
        track: TrackName,
    },
    /// Between shards: tracks can be asked of this peer through the sender.
    PeerUp {
        /// The peer.
        pop: PopId,
    },
    /// Between shards: no longer.
    PeerDown {
        /// The peer.
        pop: PopId,
    },
    /// Tell me of every namespace below this prefix.
    Watch {
        /// The prefix.
        prefix: Namespace,
    },
    /// No longer.
    Unwatch {
        /// The prefix.
        prefix: Namespace,
    },
    /// The root path of a track carried to you has changed.
    TrackPath {
        /// Which.
        track: TrackName,
        /// PoPs from the root to the sender.
        root_path: Vec<PopId>,
    },
    /// Everything that the sender had to tell at first was told: what it did not mention is gone.
    Synced,
    /// No new joins, please: the sender is going away.
    Drain,
    /// Datagram: answer with the same number.
    Ping {
        /// Sequence number.
        seq: u64,
    },
    /// Datagram: the answer.
    Pong {
        /// Sequence number of the ping.
        seq: u64,
    },
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The PoP; must be the one that the certificate names.
    pub(crate) pop: PopId,
    /// Changes with every process: unix milliseconds of its start.
    pub(crate) instance: u64,
    /// The sender homes namespaces.
    pub(crate) is_origin: bool,
}

/// Why a control stream cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// A body larger than [`MAX_BODY_BYTES`].
    #[error("control message {kind:#x} has {len} bytes, the limit is {MAX_BODY_BYTES}")]
    TooLong {
        /// Message type.
        kind: u64,
        /// Announced length.
        len: u64,
    },
    /// A body that does not parse.
    #[error("control message {kind:#x}: {what}")]
    Malformed {
        /// Message type.
        kind: u64,
        /// Which field.
        what: &'static str,
    },
}

const HELLO: u64 = 0x01;
const NS_UP: u64 = 0x02;
const NS_DOWN: u64 = 0x03;
const TRACK_UP: u64 = 0x04;
const WATCH: u64 = 0x05;
const UNWATCH: u64 = 0x06;
const TRACK_PATH: u64 = 0x07;
const DRAIN: u64 = 0x08;
const SYNCED: u64 = 0x09;
const TRACK_DOWN: u64 = 0x0A;
const PEER_UP: u64 = 0x0B;
const PEER_DOWN: u64 = 0x0C;
const PING: u64 = 0x10;
const PONG: u64 = 0x11;

impl Message {
    /// Appends the message to `out`.
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        let kind = self.encode_body(&mut body);
        varint::encode(kind, out);
        varint::encode(body.len() as u64, out);
        out.put_slice(&body);
    }

    fn encode_body(&self, body: &mut BytesMut) -> u64 {
        match self {
            Self::Hello(hello) => {
                put_text(hello.pop.as_str(), body);
                varint::encode(hello.instance, body);
                varint::encode(u64::from(hello.is_origin), body);
                HELLO
            }
            Self::NsUp { namespace, relay, epoch } => {
                put_namespace(namespace, body);
                put_text(relay.as_str(), body);
                varint::encode(*epoch, body);
                NS_UP
            }
            Self::NsDown { namespace, relay } => {
                put_namespace(namespace, body);
                put_text(relay.as_str(), body);
                NS_DOWN
            }
            Self::TrackUp { track } => {
                put_track(track, body);
                TRACK_UP
            }
            Self::TrackDown { track } => {
                put_track(track, body);
                TRACK_DOWN
            }
            Self::PeerUp { pop } => {
                put_text(pop.as_str(), body);
                PEER_UP
            }
            Self::PeerDown { pop } => {
                put_text(pop.as_str(), body);
                PEER_DOWN
            }
            Self::Watch { prefix } => {
                put_namespace(prefix, body);
                WATCH
            }
            Self::Unwatch { prefix } => {
                put_namespace(prefix, body);
                UNWATCH
            }
            Self::TrackPath { track, root_path } => {
                put_track(track, body);
                varint::encode(root_path.len() as u64, body);
                root_path.iter().for_each(|pop| put_text(pop.as_str(), body));
                TRACK_PATH
            }
            Self::Synced => SYNCED,
            Self::Drain => DRAIN,
            Self::Ping { seq } => {
                varint::encode(*seq, body);
                PING
            }
            Self::Pong { seq } => {
                varint::encode(*seq, body);
                PONG
            }
        }
    }

    /// Takes one message off the front of `input`; `None` where it is not whole, and for an unknown type, which is
    /// skipped and reported as `Some(None)`.
    pub(crate) fn decode(input: &mut BytesMut) -> Result<Option<Option<Self>>, WireError> {
        let mut head: &[u8] = input;
        let (Ok(kind), Ok(len)) = (varint::decode(&mut head), varint::decode(&mut head)) else { return Ok(None) };
        let body_len = match usize::try_from(len) {
            Ok(n) if n <= MAX_BODY_BYTES => n,
            Ok(_) | Err(_) => return Err(WireError::TooLong { kind, len }),
        };
        if head.len() < body_len {
            return Ok(None);
        }
        let head_len = input.len() - head.len();
        input.advance(head_len);
        let mut body = input.split_to(body_len).freeze();
        Self::decode_body(kind, &mut body).map(Some).map_err(|what| WireError::Malformed { kind, what })
    }

    fn decode_body(kind: u64, body: &mut Bytes) -> Result<Option<Self>, &'static str> {
        Ok(Some(match kind {
            HELLO => Self::Hello(Hello {
                pop: get_pop(body)?,
                instance: get_int(body, "instance")?,
                is_origin: get_int(body, "role")? != 0,
            }),
            NS_UP => {
                Self::NsUp { namespace: get_namespace(body)?, relay: get_pop(body)?, epoch: get_int(body, "epoch")? }
            }
            NS_DOWN => Self::NsDown { namespace: get_namespace(body)?, relay: get_pop(body)? },
            TRACK_UP => Self::TrackUp { track: get_track(body)? },
            TRACK_DOWN => Self::TrackDown { track: get_track(body)? },
            PEER_UP => Self::PeerUp { pop: get_pop(body)? },
            PEER_DOWN => Self::PeerDown { pop: get_pop(body)? },
            WATCH => Self::Watch { prefix: get_namespace(body)? },
            UNWATCH => Self::Unwatch { prefix: get_namespace(body)? },
            TRACK_PATH => Self::TrackPath { track: get_track(body)?, root_path: get_path(body)? },
            SYNCED => Self::Synced,
            DRAIN => Self::Drain,
            PING => Self::Ping { seq: get_int(body, "sequence")? },
            PONG => Self::Pong { seq: get_int(body, "sequence")? },
            _ => return Ok(None),
        }))
    }
}

fn put_bytes(bytes: &[u8], out: &mut BytesMut) {
    varint::encode(bytes.len() as u64, out);
    out.put_slice(bytes);
}

fn put_text(text: &str, out: &mut BytesMut) {
    put_bytes(text.as_bytes(), out);
}

fn put_namespace(namespace: &Namespace, out: &mut BytesMut) {
    varint::encode(namespace.fields().len() as u64, out);
    namespace.fields().iter().for_each(|field| put_bytes(field, out));
}

fn put_track(track: &TrackName, out: &mut BytesMut) {
    put_namespace(track.namespace(), out);
    put_bytes(track.name(), out);
}

fn get_int(body: &mut Bytes, what: &'static str) -> Result<u64, &'static str> {
    varint::decode(body).map_err(|_| what)
}

fn get_bytes(body: &mut Bytes, what: &'static str) -> Result<Bytes, &'static str> {
    let len = usize::try_from(get_int(body, what)?).map_err(|_| what)?;
    if len > body.len() { Err(what) } else { Ok(body.split_to(len)) }
}

fn get_pop(body: &mut Bytes) -> Result<PopId, &'static str> {
    let bytes = get_bytes(body, "PoP name")?;
    std::str::from_utf8(&bytes).ok().and_then(|s| s.parse().ok()).ok_or("PoP name")
}

fn get_namespace(body: &mut Bytes) -> Result<Namespace, &'static str> {
    let count = get_int(body, "namespace")?;
    if count > sluice_moqt::name::MAX_NAMESPACE_FIELDS as u64 {
        return Err("namespace");
    }
    let fields = (0..count).map(|_| get_bytes(body, "namespace")).collect::<Result<Vec<_>, _>>()?;
    // Fields are slices of the received message; a copy of its own keeps the directory from pinning the buffer.
    let fields = fields.iter().map(|field| Bytes::copy_from_slice(field)).collect();
    Namespace::new(fields).map_err(|_| "namespace")
}

fn get_track(body: &mut Bytes) -> Result<TrackName, &'static str> {
    let namespace = get_namespace(body)?;
    let name = Bytes::copy_from_slice(&get_bytes(body, "track name")?);
    TrackName::new(namespace, name).map_err(|_| "track name")
}

fn get_path(body: &mut Bytes) -> Result<Vec<PopId>, &'static str> {
    let count = get_int(body, "root path")?;
    if count > super::MAX_PATH_POPS as u64 {
        return Err("root path");
    }
    (0..count).map(|_| get_pop(body)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop(s: &str) -> PopId {
        s.parse().expect("legal")
    }

    fn samples() -> Vec<Message> {
        let ns = Namespace::from_path("live/match7").expect("legal");
        let track = TrackName::new(ns.clone(), Bytes::from_static(b"video")).expect("legal");
        vec![
            Message::Hello(Hello { pop: pop("fra1"), instance: 1_790_000_000_000, is_origin: true }),
            Message::NsUp { namespace: ns.clone(), relay: pop("fra1"), epoch: 7 },
            Message::NsDown { namespace: ns.clone(), relay: pop("fra1") },
            Message::TrackUp { track: track.clone() },
            Message::TrackDown { track: track.clone() },
            Message::PeerUp { pop: pop("ams") },
            Message::PeerDown { pop: pop("ams") },
            Message::Watch { prefix: Namespace::default() },
            Message::Unwatch { prefix: ns },
            Message::TrackPath { track, root_path: vec![pop("ams"), pop("fra1")] },
            Message::Synced,
            Message::Drain,
            Message::Ping { seq: 5 },
            Message::Pong { seq: 5 },
        ]
    }

    #[test]
    fn every_message_round_trips_at_any_split() {
        let mut wire = BytesMut::new();
        samples().iter().for_each(|m| m.encode(&mut wire));
        let mut input = BytesMut::new();
        let mut got = Vec::new();
        for byte in wire.iter() {
            input.put_u8(*byte);
            while let Some(message) = Message::decode(&mut input).expect("legal") {
                got.push(message.expect("known"));
            }
        }
        assert_eq!(got, samples());
    }

    #[test]
    fn unknown_types_are_skipped() {
        let mut wire = BytesMut::from(&[0x7F, 0x03, 1, 2, 3][..]);
        Message::Drain.encode(&mut wire);
        assert_eq!(Message::decode(&mut wire), Ok(Some(None)));
        assert_eq!(Message::decode(&mut wire), Ok(Some(Some(Message::Drain))));
        assert_eq!(Message::decode(&mut wire), Ok(None));
    }

    #[test]
    fn lengths_over_the_limit_are_refused_before_they_are_buffered() {
        let mut wire = BytesMut::new();
        varint::encode(HELLO, &mut wire);
        varint::encode(1 << 40, &mut wire);
        assert_eq!(Message::decode(&mut wire), Err(WireError::TooLong { kind: HELLO, len: 1 << 40 }));
    }

    #[test]
    fn bodies_that_end_early_are_refused() {
        let mut wire = BytesMut::from(&[0x02, 0x01, 0x05][..]);
        assert!(Message::decode(&mut wire).is_err());
    }
}
