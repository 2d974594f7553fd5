//! From frames to published objects: packaging, catalogs, stamps and the publisher's manifest.

use crate::core::{Broadcast, Client, Outgoing};
use crate::manifest::{Flags, Position, Record, Via};
use crate::sidefile::SideFile;
use crate::times::Times;
use anyhow::Context as _;
use bytes::Bytes;
use sluice_media::catalog::{HANG_TRACK, MSF_TRACK};
use sluice_media::{ContainerKind, Event, Frame, Options, PRIORITY_CATALOG, Packager, TrackInfo};
use sluice_moqt::message::TrackProperties;
use sluice_moqt::types::ObjectStatus;
use std::time::{Duration, Instant};

/// What has been published so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// Objects, catalogs included.
    pub(crate) objects: u64,
    /// Payload bytes.
    pub(crate) bytes: u64,
    /// Groups that are complete.
    pub(crate) groups: u64,
}

/// Publishes the frames of one source.
#[derive(Debug)]
pub(crate) struct Studio {
    packager: Packager,
    tracks: Vec<TrackInfo>,
    names: Vec<Bytes>,
    files: Files,
    published: Published,
}

/// What is written about published objects.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// One line per object.
    pub(crate) manifest: Option<SideFile>,
    /// One line per object with its time.
    pub(crate) times: Option<Times>,
}

impl Studio {
    /// Adds the tracks and publishes the catalogs. Group ids start at the wall clock in milliseconds, so that a
    /// publisher that returns stands above its past (decisions 1.8).
    ///
    /// # Errors
    /// The tracks cannot be packaged.
    pub(crate) fn open(
        (now, unix): (Instant, Duration),
        client: &mut Client,
        tracks: &[TrackInfo],
        files: Files,
    ) -> anyhow::Result<Self> {
        let first_group = u64::try_from(unix.as_millis()).unwrap_or(0);
        let packager = Packager::new(tracks, Options { first_group, container: ContainerKind::default() })?;
        let names: Vec<Bytes> =
            packager.broadcast().renditions.iter().map(|r| Bytes::from(r.name.clone().into_bytes())).collect();
        let catalogs = [
            (HANG_TRACK, Bytes::from(packager.broadcast().to_hang())),
            (MSF_TRACK, Bytes::from(packager.broadcast().to_msf())),
        ];
        let mut studio = Self { packager, tracks: tracks.to_vec(), names, files, published: Published::default() };
        if let Some(broadcast) = client.broadcast_mut() {
            studio.add_tracks(broadcast)?;
        }
        for (name, payload) in catalogs {
            let name = Bytes::from_static(name.as_bytes());
            let properties = Bytes::new();
            let object = Outgoing { group: first_group, object: 0, priority: PRIORITY_CATALOG, properties, payload };
            studio.publish(now, client, &name, &object)?;
            client.end_group(now, &name, first_group)?;
        }
        Ok(studio)
    }

    fn add_tracks(&self, broadcast: &mut Broadcast) -> anyhow::Result<()> {
        let catalogs = [HANG_TRACK, MSF_TRACK].map(|name| Bytes::from_static(name.as_bytes()));
        for name in catalogs.into_iter().chain(self.names.iter().cloned()) {
            broadcast.add_track(name, TrackProperties::default()).context("naming the tracks")?;
        }
        Ok(())
    }

    /// The track that a frame belongs to.
    pub(crate) fn track(&self, frame: &Frame) -> Option<&TrackInfo> {
        self.tracks.get(frame.track)
    }

    /// Publishes one frame; `stamp` is the wall clock where objects are to carry it.
    ///
    /// # Errors
    /// The frame cannot be packaged or exceeds a limit.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        client: &mut Client,
        frame: Frame,
        stamp: Option<Duration>,
    ) -> anyhow::Result<()> {
        let stamp = stamp.and_then(|unix| u64::try_from(unix.as_micros()).ok());
        self.packager.push(frame, stamp)?;
        self.drain(now, client)
    }

    /// Publishes what is left and ends the broadcast.
    ///
    /// # Errors
    /// As [`Studio::push`].
    pub(crate) fn finish(&mut self, now: Instant, client: &mut Client) -> anyhow::Result<()> {
        self.packager.finish();
        self.drain(now, client)?;
        client.end_broadcast(now);
        Ok(())
    }

    /// Closes the files.
    ///
    /// # Errors
    /// One could not be written.
    pub(crate) fn close(&mut self) -> anyhow::Result<()> {
        let Files { manifest, times } = std::mem::take(&mut self.files);
        let manifest = manifest.map_or(Ok(()), SideFile::finish);
        times.map_or(Ok(()), Times::finish)?;
        manifest
    }

    pub(crate) const fn published(&self) -> Published {
        self.published
    }

    fn drain(&mut self, now: Instant, client: &mut Client) -> anyhow::Result<()> {
        while let Some(event) = self.packager.poll_event() {
            match event {
                Event::Object(object) => {
                    let Some(name) = self.names.get(object.track).cloned() else { continue };
                    let outgoing = Outgoing {
                        group: object.group,
                        object: object.object,
                        priority: object.priority,
                        properties: object.properties,
                        payload: object.payload,
                    };
                    self.publish(now, client, &name, &outgoing)?;
                }
                Event::EndOfGroup { track, group, .. } => {
                    let Some(name) = self.names.get(track) else { continue };
                    client.end_group(now, name, group)?;
                    self.published.groups += 1;
                }
            }
        }
        Ok(())
    }

    fn publish(&mut self, now: Instant, client: &mut Client, name: &Bytes, object: &Outgoing) -> anyhow::Result<()> {
        client.publish(now, name, object).context("publishing an object")?;
        self.published.objects += 1;
        self.published.bytes += u64::try_from(object.payload.len()).unwrap_or(0);
        if let Some(times) = &mut self.files.times {
            let body = (object.payload.len(), &object.properties[..]);
            times.published(now, name, (object.group, object.object), body);
        }
        if let Some(manifest) = &mut self.files.manifest {
            let at = Position { group: object.group, subgroup: Some(0), object: object.object };
            let flags = Flags { via: Via::Subgroup, status: ObjectStatus::Normal };
            manifest.line(Record::new(name, at, (&object.payload, &object.properties), flags));
        }
        Ok(())
    }
}
