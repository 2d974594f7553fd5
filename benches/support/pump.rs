//! A node with one publisher and some viewers in memory: no QUIC, no clock, nothing but the node's own work.

use crate::support::{clock, edge};
use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use sluice_moqt::data::{ObjectHeader, SubgroupEncoder, SubgroupFlags, SubgroupHeader, SubgroupId};
use sluice_moqt::message::{Params, RequestOk, Setup, SubscribeOk, TrackProperties};
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session};
use sluice_moqt::transport::{
    App as _, DatagramError, Dir, Output, Peer, SessionId, Side, SinkError, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::types::{ObjectStatus, TrackAlias};
use sluice_moqt::{Draft, Filter};
use sluice_node::{Node, USER_ALPN};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

/// Objects of a group.
const GROUP: u64 = 30;
/// A group's stream at the publisher: far from those of its control messages.
const FIRST_GROUP_STREAM: u64 = 4_002;

/// The node and its clients; the publisher is the first.
pub(crate) struct Pump {
    now: Instant,
    node: Node,
    clients: Vec<Client>,
    alias: TrackAlias,
    payload: Bytes,
    group: Option<(StreamId, SubgroupEncoder)>,
    next: u64,
}

impl Pump {
    /// Joins everybody.
    pub(crate) fn start(viewers: u64, payload: usize) -> anyhow::Result<Self> {
        let now = clock::now();
        let mut pump = Self {
            now,
            node: Node::new(now, edge::config(sluice_track::Forwarding::Whole)?),
            clients: Vec::new(),
            alias: TrackAlias(0),
            payload: vec![0x5a; payload].into(),
            group: None,
            next: 0,
        };
        pump.connect().publish_namespace(edge::namespace()?, Params::default())?;
        pump.settle();
        for _ in 0..viewers {
            let params = Params { filter: Some(Filter::NextGroupStart), ..Params::default() };
            pump.connect().subscribe(edge::track()?, params)?;
            pump.settle();
        }
        ensure!(pump.clients.iter().skip(1).all(|viewer| viewer.served), "not every subscription was accepted");
        Ok(pump)
    }

    fn connect(&mut self) -> &mut Session {
        let id = SessionId(self.clients.len() as u64 + 1);
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer { side: Side::Server, alpn: USER_ALPN.to_vec(), pop: None, remote, token: None };
        self.node.handle_connected(self.now, id, peer);
        self.clients.push(Client::new(self.now, id));
        let client = self.clients.last_mut().expect("one was just added");
        &mut client.session
    }

    /// Sends the publisher's next object through the node to every viewer; returns the bytes written to viewers.
    pub(crate) fn forward(&mut self) -> anyhow::Result<u64> {
        let id = self.next % GROUP;
        let mut bytes = BytesMut::new();
        if id == 0 {
            if let Some((done, _)) = self.group.take() {
                self.publish(done, Bytes::new(), End::Fin);
            }
            let header = SubgroupHeader {
                alias: self.alias,
                group: self.next / GROUP,
                subgroup: SubgroupId::Zero,
                priority: Some(128),
                flags: SubgroupFlags::END_OF_GROUP | SubgroupFlags::FIRST_OBJECT,
            };
            header.encode(&mut bytes);
            let stream = StreamId(FIRST_GROUP_STREAM + self.next / GROUP * 4);
            self.group = Some((stream, SubgroupEncoder::new(&header)));
        }
        let (stream, encoder) = self.group.as_mut().context("no group is open")?;
        let stream = *stream;
        encoder.encode(&object(id, self.payload.len()), &mut bytes)?;
        self.next += 1;
        self.publish(stream, bytes.freeze(), End::Open);
        self.publish(stream, self.payload.clone(), End::Open);
        Ok(self.carry_out())
    }

    fn publish(&mut self, stream: StreamId, data: Bytes, end: End) {
        let event = StreamEvent::Data { data, fin: end == End::Fin };
        self.node.handle_stream(self.now, SessionId(1), stream, event);
    }

    /// Carries control messages to and fro until everybody is silent.
    fn settle(&mut self) {
        loop {
            let mut spoken = self.carry_out();
            for client in &mut self.clients {
                if let Some(alias) = client.listen(self.now) {
                    self.alias = alias;
                }
                for (stream, data) in client.talk() {
                    spoken += data.len() as u64;
                    self.node.handle_stream(self.now, client.id, stream, StreamEvent::Data { data, fin: false });
                }
            }
            if spoken == 0 {
                return;
            }
        }
    }

    /// Visits whom the node wakes; returns the bytes that it wrote.
    fn carry_out(&mut self) -> u64 {
        let mut written = 0;
        while let Some(output) = self.node.poll_output() {
            let Output::Wake(id) = output else { continue };
            let index = usize::try_from(id.0 - 1).unwrap_or(usize::MAX);
            let Some(client) = self.clients.get_mut(index) else { continue };
            let before = client.from_node.bytes;
            self.node.select(self.now, id, &mut client.from_node);
            written += client.from_node.bytes - before;
            if client.served {
                // Media: a network would carry it away.
                client.from_node.said.clear();
            }
        }
        written
    }
}

/// Whether a stream ends with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Fin,
}

/// An object of `bytes` payload.
pub(crate) const fn object(id: u64, bytes: usize) -> ObjectHeader {
    let properties = Bytes::new();
    ObjectHeader { id, properties, payload_len: bytes as u64, status: ObjectStatus::Normal }
}

/// A publisher or viewer: its end of the MoQ session, and both directions of its connection.
struct Client {
    id: SessionId,
    session: Session,
    to_node: Pipe,
    from_node: Pipe,
    /// Its subscription was accepted: what comes from here on is media.
    served: bool,
}

impl Client {
    fn new(now: Instant, id: SessionId) -> Self {
        let config = Config {
            side: Side::Client,
            draft: Draft::V18,
            setup: Setup { path: Some("/".to_owned()), ..Setup::default() },
            limits: Limits::default(),
            paths: AcceptedPaths::default(),
        };
        let session = Session::new(now, config);
        Self { id, session, to_node: Pipe::new(Side::Client), from_node: Pipe::new(Side::Server), served: false }
    }

    /// Hears what the node said; a publisher accepts a subscription and returns its alias.
    #[expect(clippy::wildcard_enum_match_arm, reason = "clients of a bench have no use for the rest")]
    fn listen(&mut self, now: Instant) -> Option<TrackAlias> {
        for (stream, data) in std::mem::take(&mut self.from_node.said) {
            self.session.handle_stream(now, stream, StreamEvent::Data { data, fin: false });
        }
        let mut begun = None;
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Subscribe { request, .. } => {
                    let alias = self.session.allocate_alias();
                    let (params, properties) = (Params::default(), TrackProperties::default());
                    self.session.accept_subscribe(request, SubscribeOk { alias, params, properties });
                    begun = Some(alias);
                }
                Event::Update { request, update, .. } => {
                    self.session.accept_update(request, update, RequestOk::default());
                }
                Event::SubscribeOk { .. } => self.served = true,
                _ => {}
            }
        }
        begun
    }

    fn talk(&mut self) -> Vec<(StreamId, Bytes)> {
        if self.session.wants_transmit() {
            self.session.transmit(&mut self.to_node);
        }
        std::mem::take(&mut self.to_node.said)
    }
}

/// One direction of a connection without limits.
struct Pipe {
    /// The next stream of each kind, as RFC 9000 2.1 numbers them.
    uni: u64,
    bi: u64,
    said: Vec<(StreamId, Bytes)>,
    bytes: u64,
}

impl Pipe {
    const fn new(side: Side) -> Self {
        let (uni, bi) = match side {
            Side::Client => (2, 0),
            Side::Server => (3, 1),
        };
        Self { uni, bi, said: Vec::new(), bytes: 0 }
    }
}

impl StreamSink for Pipe {
    fn open(&mut self, dir: Dir) -> Option<StreamId> {
        let next = match dir {
            Dir::Uni => &mut self.uni,
            Dir::Bi => &mut self.bi,
        };
        *next += 4;
        Some(StreamId(*next - 4))
    }

    fn write(&mut self, stream: StreamId, chunks: &mut [Bytes]) -> Result<usize, SinkError> {
        let mut taken = 0;
        for chunk in chunks {
            taken += chunk.len();
            self.said.push((stream, std::mem::take(chunk)));
        }
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn finish(&mut self, _: StreamId) {}
    fn reset(&mut self, _: StreamId, _: u64) {}
    fn stop(&mut self, _: StreamId, _: u64) {}
    fn set_priority(&mut self, _: StreamId, _: i32) {}

    fn send_datagram(&mut self, _: Bytes) -> Result<(), DatagramError> {
        Err(DatagramError::Unsupported)
    }

    fn max_datagram_size(&self) -> Option<usize> {
        None
    }
}
