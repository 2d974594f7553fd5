//! From frames to commands: the tracks of one namespace, with their catalogs.

use bytes::Bytes;
use sluice_media::catalog::{HANG_TRACK, MAX_RENDITIONS, MSF_TRACK};
use sluice_media::{ContainerKind, Event, Frame, Object, Options, PRIORITY_CATALOG, PackageError, Packager, TrackInfo};
use sluice_moqt::message::TrackProperties;
use sluice_moqt::name::NameError;
use sluice_moqt::{Location, Namespace, TrackName};
use sluice_node::{EndReason, LocalObject};
use sluice_relay::daemon::{Command, SourceId};

/// Why a programme cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgrammeError {
    /// The media cannot be packaged.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A track's full name is too long.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// What makes a programme follow the ones before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Id of the first group: above all that were published under these names (decisions 1.8).
    pub(crate) group: u64,
    /// Number of the first track; the others follow.
    pub(crate) source: u64,
}

/// One run of a source: its tracks from opening to end.
#[derive(Debug)]
pub(crate) struct Programme {
    namespace: Namespace,
    packager: Packager,
    first: u64,
    media: usize,
    last_group: u64,
}

/// Tracks that carry catalogs; they stand before the media tracks.
const CATALOGS: u64 = 2;
/// Numbers to set aside for the tracks of one programme.
pub(crate) const SOURCES_MAX: u64 = CATALOGS + MAX_RENDITIONS as u64;

impl Programme {
    /// Opens the tracks, publishes their catalogs and offers the namespace.
    pub(crate) fn open(
        namespace: &Namespace,
        tracks: &[TrackInfo],
        start: Start,
        out: &mut impl FnMut(Command),
    ) -> Result<Self, ProgrammeError> {
        let packager =
            Packager::new(tracks, Options { first_group: start.group, container: ContainerKind::default() })?;
        let broadcast = packager.broadcast();
        let catalogs = [(HANG_TRACK, broadcast.to_hang()), (MSF_TRACK, broadcast.to_msf())];
        let names = catalogs.iter().map(|(name, _)| *name).chain(broadcast.renditions.iter().map(|r| r.name.as_str()));
        let names: Vec<TrackName> = names
            .map(|name| TrackName::new(namespace.clone(), Bytes::copy_from_slice(name.as_bytes())))
            .collect::<Result<_, _>>()?;
        let media = broadcast.renditions.len();
        for (source, name) in (start.source..).map(SourceId).zip(names) {
            out(Command::Open { source, name, properties: TrackProperties::default() });
        }
        for (source, (_, text)) in (start.source..).map(SourceId).zip(catalogs) {
            let location = Location { group: start.group, object: 0 };
            let (properties, payload) = (Bytes::new(), Bytes::from(text));
            out(Command::Object(
                source,
                LocalObject { location, priority: Some(PRIORITY_CATALOG), properties, payload },
            ));
            out(Command::EndGroup(source));
        }
        out(Command::Offer(namespace.clone()));
        let namespace = namespace.clone();
        Ok(Self { namespace, packager, first: start.source, media, last_group: start.group })
    }

    /// Publishes one frame, with the wall clock where objects are to carry it.
    pub(crate) fn push(
        &mut self,
        frame: Frame,
        stamp_micros: Option<u64>,
        out: &mut impl FnMut(Command),
    ) -> Result<(), PackageError> {
        self.packager.push(frame, stamp_micros)?;
        self.drain(out);
        Ok(())
    }

    /// The input has ended: what was published of the last groups is all of them.
    pub(crate) fn finish(mut self, why: EndReason, out: &mut impl FnMut(Command)) {
        self.packager.finish();
        self.drain(out);
        self.end(why, out);
    }

    /// The input broke off and may come back: subscribers stay.
    pub(crate) fn lose(self, out: &mut impl FnMut(Command)) {
        self.end(EndReason::Lost, out);
    }

    /// The newest group so far.
    pub(crate) const fn last_group(&self) -> u64 {
        self.last_group
    }

    fn end(self, why: EndReason, out: &mut impl FnMut(Command)) {
        for number in 0..CATALOGS.saturating_add(self.media as u64) {
            out(Command::End(SourceId(self.first.saturating_add(number)), why));
        }
        if why == EndReason::Ended {
            out(Command::Withdraw(self.namespace));
        }
    }

    fn drain(&mut self, out: &mut impl FnMut(Command)) {
        while let Some(event) = self.packager.poll_event() {
            out(match event {
                Event::Object(object) => self.object(object),
                Event::EndOfGroup { track, .. } => Command::EndGroup(self.source(track)),
            });
        }
    }

    fn object(&mut self, object: Object) -> Command {
        self.last_group = self.last_group.max(object.group);
        let local = LocalObject {
            location: Location { group: object.group, object: object.object },
            priority: Some(object.priority),
            properties: object.properties,
            payload: object.payload,
        };
        Command::Object(self.source(object.track), local)
    }

    const fn source(&self, track: usize) -> SourceId {
        SourceId(self.first.saturating_add(CATALOGS).saturating_add(track as u64))
    }
}
