//! One socket of the load side with its quinn-proto endpoint.

use crate::support::socket::{Inbox, Socket};
use crate::support::tls::SERVER_NAME;
use anyhow::Context as _;
use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionEvent, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig,
    EndpointEvent, Transmit,
};
use quinn_udp::RecvMeta;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Room for one batch of received trains.
const PACKETS_BYTES: usize = 4 << 20;

/// A socket, its endpoint, and which viewer each of its connections is.
pub(super) struct Port {
    socket: Socket,
    remote: SocketAddr,
    endpoint: Endpoint,
    /// Viewer by connection handle: handles are slab keys, dense from 0.
    viewers: Vec<usize>,
    out: Vec<u8>,
    packets: BytesMut,
}

impl Port {
    /// A port that talks to `remote` only.
    pub(super) fn bind(remote: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::bind()?;
        socket.connect(remote)?;
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let (out, packets) = (Vec::with_capacity(65_536), BytesMut::with_capacity(PACKETS_BYTES));
        Ok(Self { socket, remote, endpoint, viewers: Vec::new(), out, packets })
    }

    pub(super) const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Opens the connection of `viewer`.
    pub(super) fn dial(
        &mut self,
        now: Instant,
        config: ClientConfig,
        viewer: usize,
    ) -> anyhow::Result<(ConnectionHandle, Connection)> {
        let (handle, connection) = self.endpoint.connect(now, config, self.remote, SERVER_NAME).context("dialling")?;
        self.viewers.resize(self.viewers.len().max(handle.0 + 1), usize::MAX);
        self.viewers[handle.0] = viewer;
        Ok((handle, connection))
    }

    /// Receives a batch; returns the trains in it.
    pub(super) fn receive(&self, inbox: &mut Inbox) -> anyhow::Result<usize> {
        self.socket.receive(inbox).context("receiving")
    }

    /// Splits a train into packets and hands each to `deliver` with the viewer it is for.
    pub(super) fn split(
        &mut self,
        now: Instant,
        meta: &RecvMeta,
        train: &[u8],
        mut deliver: impl FnMut(&mut Self, usize, ConnectionEvent) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        // Reclaims its one block once every packet of earlier trains was read, so trains cost no allocation.
        self.packets.reserve(train.len());
        self.packets.extend_from_slice(train);
        let mut train = self.packets.split();
        while !train.is_empty() {
            let packet = train.split_to(meta.stride.min(train.len()));
            self.out.clear();
            match self.endpoint.handle(now, meta.addr, meta.dst_ip, ecn, packet, &mut self.out) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    let viewer = self.viewers[handle.0];
                    deliver(self, viewer, event)?;
                }
                Some(DatagramEvent::Response(transmit)) => self.send(&transmit)?,
                // No server configuration: the endpoint offers no incoming connections.
                Some(DatagramEvent::NewConnection(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Passes on what a connection says to its endpoint, and the answer back.
    pub(super) fn endpoint_event(&mut self, handle: ConnectionHandle, event: EndpointEvent) -> Option<ConnectionEvent> {
        self.endpoint.handle_event(handle, event)
    }

    /// Sends the next datagram of `connection`; false where it has none.
    pub(super) fn transmit(&mut self, now: Instant, connection: &mut Connection) -> anyhow::Result<bool> {
        self.out.clear();
        let Some(transmit) = connection.poll_transmit(now, 1, &mut self.out) else { return Ok(false) };
        self.send(&transmit)?;
        Ok(true)
    }

    fn send(&self, transmit: &Transmit) -> anyhow::Result<()> {
        match self.socket.answer(&self.out[..transmit.size]) {
            // An MTU probe beyond the interface's limit: lost, as discovery expects.
            Err(error) if quinn_udp::is_msg_size_err(&error) => Ok(()),
            // An ICMP error of an earlier datagram: the sender is gone, and the parent ends this process next.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            done => done.context("sending"),
        }
    }
}
