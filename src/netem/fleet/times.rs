//! What `client-probe --times` has written, as evidence.

use sluice_netem::result::{Arrival, Media, Published, Viewing};
use sluice_netem::scenario::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads times as those of a run that began at a time of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// Unix time of the start.
    pub(super) start: Duration,
}

impl Reader {
    /// The lines of a publisher.
    pub(super) fn published(self, text: &str) -> Vec<Published> {
        let line = |line: &str| {
            let [what, track, group, object, _, at] = columns(line)?;
            let published = Published {
                at: self.time(at)?,
                media: media(track)?,
                group: group.parse().ok()?,
                object: object.parse().ok()?,
            };
            (what == "published").then_some(published)
        };
        text.lines().filter_map(line).collect()
    }

    /// The lines of a process of viewers, which ended at `ended`.
    pub(super) fn viewings(self, text: &str, node: NodeId, ended: Duration) -> Vec<Viewing> {
        let mut viewings: BTreeMap<u32, Viewing> = BTreeMap::new();
        for line in text.lines() {
            // The last line of a process that was killed may be cut off.
            let _ = self.line(line, (node, ended), &mut viewings);
        }
        let in_time = |mut viewing: Viewing| {
            // A viewer that joins gets the newest object first and hands it on last, behind those that it fetches.
            viewing.arrivals.sort_by_key(|arrival| arrival.at);
            viewing
        };
        viewings.into_values().map(in_time).collect()
    }

    fn line(self, line: &str, (node, ended): (NodeId, Duration), viewings: &mut BTreeMap<u32, Viewing>) -> Option<()> {
        let (what, rest) = line.split_once(' ')?;
        let (viewer, rest) = rest.split_once(' ')?;
        let index = viewer.parse().ok()?;
        let new = |dialled| Viewing { node, index, dialled, left: ended, reconnects: 0, arrivals: Vec::new() };
        match what {
            "dialled" => {
                viewings.insert(index, new(self.time(rest)?));
            }
            "arrived" => {
                let arrival = self.arrival(rest)?;
                viewings.get_mut(&index)?.arrivals.extend(arrival);
            }
            "down" => viewings.get_mut(&index)?.reconnects += 1,
            "left" => viewings.get_mut(&index)?.left = self.time(rest)?.min(ended),
            _ => {}
        }
        Some(())
    }

    /// `None` where the line is broken, `Some(None)` for objects of no interest.
    fn arrival(self, rest: &str) -> Option<Option<Arrival>> {
        let [track, group, object, bytes, at, sent] = columns(rest)?;
        let Some(media) = media(track).filter(|_| sent != "-") else { return Some(None) };
        Some(Some(Arrival {
            at: self.time(at)?,
            sent: self.time(sent)?,
            media,
            group: group.parse().ok()?,
            object: object.parse().ok()?,
            bytes: bytes.parse().ok()?,
        }))
    }

    /// What lies before the start counts as the start.
    fn time(self, micros: &str) -> Option<Duration> {
        micros.parse().ok().map(|micros| Duration::from_micros(micros).saturating_sub(self.start))
    }
}

fn columns<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut words = line.split(' ');
    let columns = std::array::from_fn(|_| words.next().unwrap_or_default());
    (words.next().is_none() && columns.last().is_some_and(|last| !last.is_empty())).then_some(columns)
}

/// Tracks are named by what they are; catalogs are neither.
fn media(track: &str) -> Option<Media> {
    if track.starts_with("video") {
        Some(Media::Video)
    } else if track.starts_with("audio") {
        Some(Media::Audio)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_evidence() {
        let reader = Reader { start: Duration::from_secs(100) };
        let published =
            reader.published("# sluice-times 1\npublished video0 7 3 900 100000040\npublished x.2ejson 1 0 3 5\n");
        let at = Duration::from_micros(40);
        assert_eq!(published, [Published { at, media: Media::Video, group: 7, object: 3 }]);
        let text = "# sluice-times 1\ndialled 4 100500000\narrived 4 audio1 7 3 20 101000000 100900000\n\
            arrived 4 catalog 1 0 20 101000000 -\ndown 4 102000000\nleft 4 103000000\ndialled 5 10090";
        let viewings = reader.viewings(text, NodeId(2), Duration::from_secs(9));
        assert_eq!(viewings.len(), 2);
        let first = &viewings[0];
        assert_eq!((first.index, first.reconnects, first.arrivals.len()), (4, 1, 1));
        assert_eq!((first.dialled, first.left), (Duration::from_millis(500), Duration::from_secs(3)));
        let arrival = first.arrivals[0];
        assert_eq!(arrival.at - arrival.sent, Duration::from_millis(100));
        assert_eq!(viewings[1].left, Duration::from_secs(9));
    }

    #[test]
    fn what_was_handed_on_late_counts_when_it_arrived() {
        let reader = Reader { start: Duration::ZERO };
        let text = "dialled 0 0\narrived 0 video0 7 0 20 300 5\narrived 0 video0 7 1 20 400 6\narrived 0 video0 7 2 20 100 7\n";
        let viewings = reader.viewings(text, NodeId(0), Duration::from_secs(1));
        let order: Vec<u32> = viewings[0].arrivals.iter().map(|arrival| arrival.object).collect();
        assert_eq!(order, [2, 0, 1]);
    }

    #[test]
    fn broken_lines_are_left_out() {
        let reader = Reader { start: Duration::ZERO };
        let text = "dialled 0 5\narrived 0 video0 7 3\narrived 0 video0 7 3 x 5 5\narrived 9 video0 7 3 1 5 5\narri";
        let viewings = reader.viewings(text, NodeId(0), Duration::from_secs(1));
        assert_eq!(viewings[0].arrivals, []);
        assert_eq!(reader.published("published video0 7 3 1\npublished\n"), []);
    }
}
