//! Comparing what was published with what arrived.

use super::{Entry, Manifest};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

/// Differences that a [`Diff`] spells out; all are counted.
const EXAMPLES_MAX: usize = 20;

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Whether nothing differs.
    pub same: bool,
    /// Objects of the published side within the compared range.
    pub objects_compared: u64,
    /// Published objects that never arrived.
    pub missing: u64,
    /// Objects that arrived but were never published.
    pub extra: u64,
    /// Objects that arrived with other bytes, properties or another subgroup.
    pub changed: u64,
    /// Objects that arrived after a later one of their subgroup, or twice.
    pub disordered: u64,
    /// Per track.
    pub tracks: Vec<TrackDiff>,
    /// The first differences in words.
    pub examples: Vec<Difference>,
}

/// One track's part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TrackDiff {
    /// Escaped name.
    pub track: String,
    /// First location that arrived: the comparison starts there.
    pub joined_group: u64,
    /// See `joined_group`.
    pub joined_object: u64,
    /// Groups of which something arrived.
    pub groups: u64,
    /// Published objects within the compared range.
    pub objects_compared: u64,
    /// Published objects beyond the receiver's end.
    pub tail_ignored: u64,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What.
    pub kind: Kind,
    /// Escaped name.
    pub track: String,
    /// Group.
    pub group: u64,
    /// Object.
    pub object: u64,
    /// Line number in the file where it shows.
    pub line: usize,
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Published, not received.
    Missing,
    /// Received, not published.
    Extra,
    /// Another payload.
    Payload,
    /// Other properties.
    Properties,
    /// Another subgroup or forwarding preference.
    Subgroup,
    /// Received after a later object of its subgroup.
    OutOfOrder,
    /// Received twice.
    Duplicate,
}

impl Kind {
    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "never published",
            Self::Payload => "other payload",
            Self::Properties => "other properties",
            Self::Subgroup => "other subgroup",
            Self::OutOfOrder => "out of order",
            Self::Duplicate => "received twice",
        }
    }
}

/// Compares `published` with `received`, track by track, from the first location received on.
///
/// What was published after the receiver's end is no difference: later groups than its last, the rest of a
/// subgroup in its last group, and the rest of subgroups that it marks as open.
#[must_use]
pub fn compare(published: &Manifest, received: &Manifest) -> Diff {
    let mut diff = Diff::default();
    diff.check_order(received);
    let sides = (by_track(published), by_track(received));
    for (name, entries) in &sides.1 {
        let theirs = sides.0.get(name).map_or(&[][..], Vec::as_slice);
        diff.check_track(name, theirs, &Received::new(name, entries, received));
    }
    diff.objects_compared = diff.tracks.iter().map(|t| t.objects_compared).sum();
    let different = diff.missing + diff.extra + diff.changed + diff.disordered;
    // Nothing received proves nothing.
    diff.same = different == 0 && diff.objects_compared > 0;
    diff
}

impl Diff {
    fn check_order(&mut self, received: &Manifest) {
        let mut last: HashMap<(usize, u64, Option<u64>), u64> = HashMap::new();
        for entry in &received.entries {
            let key = (entry.track, entry.group, entry.subgroup);
            let Some(before) = last.insert(key, entry.object) else {
                continue;
            };
            // Datagrams have no order among each other.
            let ordered = entry.subgroup.is_none() || entry.object >= before;
            if !ordered {
                last.insert(key, before);
                self.note(Kind::OutOfOrder, received.tracks.get(entry.track), entry);
            }
        }
    }

    fn check_track(&mut self, name: &str, published: &[&Entry], received: &Received<'_>) {
        let mut track = TrackDiff {
            track: name.to_owned(),
            joined_group: received.first.0,
            joined_object: received.first.1,
            groups: received.groups,
            ..TrackDiff::default()
        };
        let name = Some(name.to_owned());
        let mut theirs = published.iter().skip_while(|e| location(e) < received.first).peekable();
        let mut previous = None;
        for ours in received.entries {
            if previous == Some(location(ours)) {
                self.note(Kind::Duplicate, name.as_ref(), ours);
                continue;
            }
            previous = Some(location(ours));
            while let Some(missing) = theirs.next_if(|e| location(e) < location(ours)) {
                self.absent(missing, received, &mut track);
            }
            match theirs.next_if(|e| location(e) == location(ours)) {
                Some(same) => {
                    track.objects_compared += 1;
                    self.check_object(same, ours, name.as_ref());
                }
                None => self.note(Kind::Extra, name.as_ref(), ours),
            }
        }
        for missing in theirs {
            self.absent(missing, received, &mut track);
        }
        self.tracks.push(track);
    }

    fn absent(&mut self, published: &Entry, received: &Received<'_>, track: &mut TrackDiff) {
        if received.ends_before(published) {
            track.tail_ignored += 1;
        } else {
            track.objects_compared += 1;
            self.note(Kind::Missing, Some(&track.track), published);
        }
    }

    fn check_object(&mut self, published: &Entry, received: &Entry, name: Option<&String>) {
        if (published.length, published.payload) != (received.length, received.payload) {
            self.note(Kind::Payload, name, received);
        } else if published.properties != received.properties {
            self.note(Kind::Properties, name, received);
        } else if published.subgroup != received.subgroup {
            self.note(Kind::Subgroup, name, received);
        }
    }

    fn note(&mut self, kind: Kind, name: Option<&String>, at: &Entry) {
        let count = match kind {
            Kind::Missing => &mut self.missing,
            Kind::Extra => &mut self.extra,
            Kind::Payload | Kind::Properties | Kind::Subgroup => &mut self.changed,
            Kind::OutOfOrder | Kind::Duplicate => &mut self.disordered,
        };
        *count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let track = name.cloned().unwrap_or_default();
            self.examples.push(Difference { kind, track, group: at.group, object: at.object, line: at.line });
        }
    }
}

/// The received half of one track, by location.
struct Received<'a> {
    entries: &'a [&'a Entry],
    first: (u64, u64),
    last_group: u64,
    groups: u64,
    /// Last object of each subgroup.
    ends: HashMap<(u64, Option<u64>), u64>,
    open: Vec<(u64, u64)>,
}

impl<'a> Received<'a> {
    fn new(name: &str, entries: &'a [&'a Entry], manifest: &Manifest) -> Self {
        let mut ends = HashMap::new();
        let mut groups = 0;
        let mut group = None;
        for entry in entries {
            ends.insert((entry.group, entry.subgroup), entry.object);
            groups += u64::from(group.replace(entry.group) != Some(entry.group));
        }
        Self {
            entries,
            first: entries.first().map_or((0, 0), |e| location(e)),
            last_group: group.unwrap_or(0),
            groups,
            ends,
            open: manifest.open.iter().filter(|(t, _, _)| t == name).map(|(_, g, s)| (*g, *s)).collect(),
        }
    }

    fn ends_before(&self, published: &Entry) -> bool {
        let end = self.ends.get(&(published.group, published.subgroup));
        let after_end = end.is_none_or(|end| published.object > *end);
        match published.group.cmp(&self.last_group) {
            Ordering::Greater => true,
            Ordering::Equal => after_end,
            Ordering::Less => {
                let open = published.subgroup.is_some_and(|s| self.open.contains(&(published.group, s)));
                open && after_end
            }
        }
    }
}

/// Entries of each track by location; equal ones keep the order of their lines.
fn by_track(manifest: &Manifest) -> BTreeMap<String, Vec<&Entry>> {
    let mut tracks = vec![Vec::new(); manifest.tracks.len()];
    for entry in &manifest.entries {
        if let Some(track) = tracks.get_mut(entry.track) {
            track.push(entry);
        }
    }
    for track in &mut tracks {
        track.sort_by_key(|e| location(e));
    }
    manifest.tracks.iter().cloned().zip(tracks).filter(|(_, entries)| !entries.is_empty()).collect()
}

const fn location(entry: &Entry) -> (u64, u64) {
    (entry.group, entry.object)
}

#[cfg(test)]
mod tests;
