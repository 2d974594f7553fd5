//! One node as a shard hosts it, with a door for drains and sources.

use crate::admin::{MAX_TRACKS, Publisher, Snapshot, TrackStatus};
use bytes::Bytes;
use sluice_moqt::message::TrackProperties;
use sluice_moqt::transport::{
    App, CloseReason, Dir, Output, PathStats, Peer, SessionId, StreamEvent, StreamId, StreamSink,
};
use sluice_moqt::{Namespace, TrackName};
use sluice_net::{Hosted, Stats};
use sluice_node::{EndReason, Incident, LocalObject, LocalTrack, MemoryLevel, Node};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A track of a source inside this process, as its owner numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub u64);

/// What other threads may ask of a shard's node.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ask users to leave within this time; take no new ones.
    Drain(Duration),
    /// Offer a namespace whose tracks are written by sources.
    Offer(Namespace),
    /// Withdraw it.
    Withdraw(Namespace),
    /// Open a track.
    Open {
        /// Its number from here on.
        source: SourceId,
        /// Its name.
        name: TrackName,
        /// Its properties.
        properties: TrackProperties,
    },
    /// Append an object to a track.
    Object(SourceId, LocalObject),
    /// End the open group of a track, so that its readers need not wait for the next one.
    EndGroup(SourceId),
    /// Give up the open group of a track: what it lacks is unknown.
    AbandonGroup(SourceId),
    /// End a track.
    End(SourceId, EndReason),
    /// Panic.
    #[cfg(test)]
    Panic,
}

/// A node in its shard.
#[derive(Debug)]
pub(super) struct Host {
    node: Node,
    sources: BTreeMap<SourceId, LocalTrack>,
}

impl Host {
    pub(super) const fn new(node: Node) -> Self {
        Self { node, sources: BTreeMap::new() }
    }

    /// Publishes what the admin side shows.
    pub(super) fn publish(&self, at: Instant, net: Stats, publisher: &Publisher) {
        let tracks = self.node.list_tracks(MAX_TRACKS).into_iter().map(|track| TrackStatus {
            track: track.name.to_string(),
            viewers: track.viewers,
            largest_group: track.largest.map(|largest| largest.group),
            log_bytes: track.log_bytes,
        });
        publisher.publish(Snapshot { at, node: self.node.snapshot(), net, tracks: tracks.collect() });
    }

    /// Whether a drain has nothing left to wait for.
    pub(super) const fn is_drained(&self) -> bool {
        self.node.is_drained()
    }

    fn open(&mut self, now: Instant, source: SourceId, name: &TrackName, properties: TrackProperties) {
        match self.node.publish_local(now, name, properties, None) {
            Ok(track) => {
                self.sources.insert(source, track);
            }
            Err(error) => tracing::error!(%error, "cannot open a source's track"),
        }
    }

    fn write(&mut self, now: Instant, source: SourceId, object: &LocalObject) {
        let Some(track) = self.sources.get_mut(&source) else { return };
        if let Err(error) = self.node.write_local(now, track, object) {
            tracing::error!(%error, "a source's track ends");
            self.end(now, source, EndReason::Lost);
        }
    }

    fn end(&mut self, now: Instant, source: SourceId, why: EndReason) {
        if let Some(track) = self.sources.remove(&source) {
            self.node.end_local(now, track, why);
        }
    }
}

/// The words for the person at 3 a.m.; names of tracks only above DEBUG where something is wrong with them.
fn log_incident(incident: &Incident) {
    match incident {
        Incident::MalformedTrack { track, reason } => {
            tracing::warn!(%track, reason, "a publisher broke the object model; the track was ended");
        }
        Incident::TrunkUp(pop) => tracing::info!(%pop, "trunk up"),
        Incident::TrunkDown { pop, reason } => {
            tracing::warn!(%pop, reason = cause(reason), "no connection to a trunk peer; trying again");
        }
        Incident::PeerSuspect(pop) => tracing::warn!(%pop, "trunk peer is silent; no new joins there"),
        Incident::PeerTrusted(pop) => tracing::info!(%pop, "trunk peer is trusted again"),
        Incident::Memory { level, used, cap } => {
            let (used_bytes, cap_bytes) = (used, cap);
            match level {
                MemoryLevel::Ample => tracing::info!(used_bytes, cap_bytes, "memory for media is ample again"),
                MemoryLevel::Draining => tracing::warn!(
                    used_bytes,
                    cap_bytes,
                    "memory for media is short: old groups are dropped before their time; see `limits.memory`"
                ),
                MemoryLevel::Refusing => tracing::error!(
                    used_bytes,
                    cap_bytes,
                    "memory for media is all but used: new subscriptions are refused; see `limits.memory`"
                ),
            }
        }
        Incident::TrackOrphaned(track) => tracing::debug!(%track, "the last publisher is gone; waiting for one"),
        other => tracing::info!(?other, "incident"),
    }
}

/// Why a connection ended, in words.
fn cause(reason: &CloseReason) -> &str {
    match reason {
        CloseReason::Peer { reason, .. } if !reason.is_empty() => reason,
        CloseReason::Peer { .. } => "the peer closed it",
        CloseReason::Local => "closed here",
        CloseReason::TimedOut => "no answer",
        CloseReason::Reset => "the peer has restarted",
        CloseReason::Transport(text) => text,
    }
}

impl Hosted for Host {
    type Command = Command;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Drain(grace) => self.node.drain(now, grace),
            Command::Offer(namespace) => self.node.offer_local(now, &namespace),
            Command::Withdraw(namespace) => self.node.withdraw_local(&namespace),
            Command::Open { source, name, properties } => self.open(now, source, &name, properties),
            Command::Object(source, object) => self.write(now, source, &object),
            Command::EndGroup(source) => {
                let ended = self.sources.get_mut(&source).map(|track| self.node.end_local_group(now, track));
                if let Some(Err(error)) = ended {
                    tracing::error!(%error, "a source's track ends");
                    self.end(now, source, EndReason::Lost);
                }
            }
            Command::AbandonGroup(source) => {
                if let Some(track) = self.sources.get_mut(&source) {
                    self.node.abandon_local_group(now, track);
                }
            }
            Command::End(source, why) => self.end(now, source, why),
            #[cfg(test)]
            Command::Panic => panic!("on purpose"),
        }
    }
}

impl App for Host {
    fn handle_connected(&mut self, now: Instant, session: SessionId, peer: Peer) {
        if let Some(pop) = &peer.pop {
            tracing::debug!(%pop, alpn = %String::from_utf8_lossy(&peer.alpn), "trunk connection up");
        } else {
            tracing::debug!(session = session.0, "session up");
        }
        self.node.handle_connected(now, session, peer);
    }

    fn handle_dial_failed(&mut self, now: Instant, token: u64, reason: CloseReason) {
        tracing::debug!(token, ?reason, "cannot reach a trunk peer");
        self.node.handle_dial_failed(now, token, reason);
    }

    fn handle_stream(&mut self, now: Instant, session: SessionId, stream: StreamId, event: StreamEvent) {
        self.node.handle_stream(now, session, stream, event);
    }

    fn handle_streams_available(&mut self, now: Instant, session: SessionId, dir: Dir) {
        self.node.handle_streams_available(now, session, dir);
    }

    fn handle_datagram(&mut self, now: Instant, session: SessionId, data: Bytes) {
        self.node.handle_datagram(now, session, data);
    }

    fn handle_closed(&mut self, now: Instant, session: SessionId, reason: CloseReason) {
        tracing::debug!(session = session.0, ?reason, "connection closed");
        self.node.handle_closed(now, session, reason);
    }

    fn handle_stats(&mut self, now: Instant, session: SessionId, stats: PathStats) {
        self.node.handle_stats(now, session, stats);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
    }

    fn select(&mut self, now: Instant, session: SessionId, sink: &mut dyn StreamSink) {
        self.node.select(now, session, sink);
    }

    fn poll_output(&mut self) -> Option<Output> {
        while let Some(incident) = self.node.poll_incident() {
            log_incident(&incident);
        }
        let output = self.node.poll_output();
        if let Some(Output::Close { session, code, reason }) = &output {
            tracing::info!(session = session.0, code, reason, "closing a connection");
        }
        output
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.node.poll_timeout()
    }
}
