//! The tracks of a node: one log each, its sources upstream, its readers downstream.

use sluice_moqt::message::{Params, TrackProperties};
use sluice_moqt::properties::TrackInfo;
use sluice_moqt::transport::SessionId;
use sluice_moqt::{Location, RequestId, TrackName};
use sluice_topology::PopId;
use sluice_track::{FetchRange, Log, SourceId};
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Pause before sources are looked for again after all were lost or refused.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Names a track in its table. The serial keeps what outlives a track from meeting the next one in its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TrackKey {
    slot: usize,
    serial: u64,
}

/// How far a track is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody upstream was asked yet, or nobody has it; held while a subscriber waits for a publisher.
    Idle,
    /// Asked upstream; the first answer is due by then.
    Pending(Instant),
    /// At least one source is established.
    Live,
    /// The last source is gone; log and readers stay until then.
    Orphaned(Instant),
}

/// Where objects come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its number in the log.
    pub(crate) id: SourceId,
    /// What it is.
    pub(crate) kind: SourceKind,
    /// Whether it answered.
    pub(crate) established: bool,
    /// Relays from the root to the source, the root first; empty for publishers.
    pub(crate) root_path: Vec<PopId>,
    /// It took over from a lost one and told no largest location: what it sends first says whether it goes on.
    pub(crate) is_unproven: bool,
    /// It is to take over from the subscription on this session, which ends once this one delivers.
    pub(crate) relieves: Option<SessionId>,
}

impl Source {
    /// A source that has not answered.
    pub(crate) const fn new(id: SourceId, kind: SourceKind) -> Self {
        Self { id, kind, established: false, root_path: Vec::new(), is_unproven: false, relieves: None }
    }
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A subscription on one of our sessions.
    Session(SessionId, RequestId),
    /// Inside this process.
    Local,
}

/// One subscription or fetch served from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Its session.
    pub(crate) session: SessionId,
    /// Its request.
    pub(crate) request: RequestId,
    /// Whether it takes bytes of unfinished objects.
    pub(crate) cut_through: bool,
    /// Whether it takes what is appended from now on; a fetch takes what was.
    pub(crate) is_live: bool,
}

/// A request that waits until the track is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its session.
    pub(crate) session: SessionId,
    /// Its request; a number of ours for [`Want::Publish`].
    pub(crate) request: RequestId,
    /// Given up then, where nobody has the track; `None`: not held without a publisher.
    pub(crate) rendezvous: Option<Instant>,
    /// What it wants.
    pub(crate) want: Want,
}

/// What a waiting request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Want {
    /// SUBSCRIBE.
    Subscribe(Box<Params>),
    /// TRACK_STATUS.
    Status,
    /// FETCH of this range.
    Fetch(FetchRange, Box<Params>),
    /// A SUBSCRIBE_TRACKS holder is to get a PUBLISH.
    Publish,
}

impl Want {
    /// The NEW_GROUP_REQUEST that came with it: "MUST include the NEW_GROUP_REQUEST when subscribing upstream"
    /// (draft-18 9.2.12).
    pub(crate) fn new_group_request(&self) -> Option<u64> {
        match self {
            Self::Subscribe(params) => params.new_group_request,
            Self::Status | Self::Fetch(..) | Self::Publish => None,
        }
    }
}

/// What the publisher says of the track.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta {
    /// As received, forwarded untouched.
    pub(crate) properties: TrackProperties,
    /// Read out of it.
    pub(crate) info: TrackInfo,
}

/// One track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) name: TrackName,
    pub(crate) log: Log,
    pub(crate) state: State,
    pub(crate) meta: Meta,
    pub(crate) sources: Vec<Source>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) waiting: Vec<Waiting>,
    pub(crate) upkeep: Upkeep,
}

/// What keeps a track, or ends it.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    /// Pulled without readers: an origin's window, or a local source.
    pub(crate) pinned: bool,
    /// Without readers since; the upstream subscription ends after the linger.
    pub(crate) unused_since: Option<Instant>,
    /// When to look for sources again after all were lost.
    pub(crate) retry_at: Option<Instant>,
    /// When sources were looked for last.
    pub(crate) tried_at: Option<Instant>,
    /// Sources that came by PUBLISH: peers know of the track while there is one.
    pub(crate) offered: Vec<SourceId>,
    /// What was fetched last: sources have no more of it.
    pub(crate) fetched: Option<FetchRange>,
    /// The root path that those downstream know of.
    pub(crate) told_path: Vec<PopId>,
    /// Origins were asked to tell of publishers.
    pub(crate) watching: bool,
    /// Peers that were asked in the present search and do not have the track.
    pub(crate) refused_by: BTreeSet<PopId>,
    /// A peer said that nobody has the track: until when that is believed, and while the directory says no more.
    pub(crate) absent: Option<(Instant, u64)>,
    /// NEW_GROUP_REQUEST sent upstream and not yet fulfilled: the value, and when.
    pub(crate) new_group: Option<(u64, Instant)>,
}

impl Track {
    /// Largest location known.
    pub(crate) const fn largest(&self) -> Option<Location> {
        self.log.largest()
    }

    /// The established source with the shortest root path: what we are downstream of.
    pub(crate) fn root_path(&self) -> &[PopId] {
        self.sources
            .iter()
            .filter(|s| s.established)
            .map(|s| s.root_path.as_slice())
            .min_by_key(|path| path.len())
            .unwrap_or_default()
    }

    /// When to look for sources, now that somebody asks: those of an ended track are looked for only then.
    pub(crate) fn retry_for_asker(&self, now: Instant) -> Option<Instant> {
        let is_over = matches!(self.state, State::Orphaned(_)) && self.log.ended() && self.sources.is_empty();
        let earliest = self.upkeep.tried_at.map_or(now, |tried| now.max(tried + RETRY_PAUSE));
        self.upkeep.retry_at.or_else(|| is_over.then_some(earliest))
    }

    /// Whether anybody needs the track now.
    pub(crate) fn is_wanted(&self) -> bool {
        let is_pulled = self.upkeep.pinned && self.state != State::Idle;
        is_pulled || !self.readers.is_empty() || !self.waiting.is_empty()
    }

    /// Removes a source.
    pub(crate) fn take_source(&mut self, now: Instant, id: SourceId) -> Option<Source> {
        let at = self.sources.iter().position(|s| s.id == id)?;
        self.log.remove_source(now, id);
        Some(self.sources.remove(at))
    }
}

/// All tracks of a node.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    slots: slab::Slab<(u64, Track)>,
    by_name: HashMap<TrackName, TrackKey>,
    next_serial: u64,
    next_source: u64,
}

impl Tracks {
    /// The track of that name, if known.
    pub(crate) fn find(&self, name: &TrackName) -> Option<TrackKey> {
        self.by_name.get(name).copied()
    }

    /// The track of that name, created where it is not known.
    pub(crate) fn find_or_create(&mut self, name: &TrackName, limits: sluice_track::Limits) -> TrackKey {
        if let Some(key) = self.find(name) {
            return key;
        }
        let track = Track {
            name: name.clone(),
            log: Log::new(limits, TrackInfo::DEFAULT_PRIORITY),
            state: State::Idle,
            meta: Meta::default(),
            sources: Vec::new(),
            readers: Vec::new(),
            waiting: Vec::new(),
            upkeep: Upkeep::default(),
        };
        self.next_serial += 1;
        let serial = self.next_serial;
        let key = TrackKey { slot: self.slots.insert((serial, track)), serial };
        self.by_name.insert(name.clone(), key);
        key
    }

    /// Access by key.
    pub(crate) fn get(&self, key: TrackKey) -> Option<&Track> {
        self.slots.get(key.slot).filter(|(serial, _)| *serial == key.serial).map(|(_, track)| track)
    }

    /// Access by key.
    pub(crate) fn get_mut(&mut self, key: TrackKey) -> Option<&mut Track> {
        self.slots.get_mut(key.slot).filter(|(serial, _)| *serial == key.serial).map(|(_, track)| track)
    }

    /// Forgets a track.
    pub(crate) fn remove(&mut self, key: TrackKey) -> Option<Track> {
        self.get(key)?;
        let (_, track) = self.slots.remove(key.slot);
        self.by_name.remove(&track.name);
        Some(track)
    }

    /// Every track, in the order of keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TrackKey, &Track)> {
        self.slots.iter().map(|(slot, (serial, track))| (TrackKey { slot, serial: *serial }, track))
    }

    /// Every log, in the order of keys.
    pub(crate) fn logs_mut(&mut self) -> impl Iterator<Item = &mut Log> {
        self.slots.iter_mut().map(|(_, (_, track))| &mut track.log)
    }

    /// Keys of the tracks that match, collected, since the caller changes the table.
    pub(crate) fn keys_where(&self, matches: impl Fn(&Track) -> bool) -> Vec<TrackKey> {
        self.iter().filter(|(_, track)| matches(track)).map(|(key, _)| key).collect()
    }

    /// A source number never used before.
    pub(crate) fn allocate_source(&mut self) -> SourceId {
        self.next_source += 1;
        SourceId(self.next_source)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
