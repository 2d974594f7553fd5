//! Commands on their way to a shard whose queue may be full: in order, waiting a little, then giving up whole groups.

use sluice_media::PRIORITY_CATALOG;
use sluice_net::SendError;
use sluice_relay::daemon::{Command, SourceId};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Pause before a full queue is tried again: a shard empties it once per turn, which takes 2 ms.
const RETRY: Duration = Duration::from_millis(2);
/// A queue that stays full for this long belongs to a shard in trouble: what waits is given up.
const PATIENCE: Duration = Duration::from_millis(500);

/// The shard has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard has ended")]
pub(crate) struct Gone;

/// Holds what a full queue did not take.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    waiting: VecDeque<Command>,
    full_since: Option<Instant>,
    /// Groups that have lost an object; the rest of them is of no use.
    broken: BTreeMap<SourceId, u64>,
    dropped: u64,
}

impl Outlet {
    /// Queues `command`.
    pub(crate) fn push(&mut self, command: Command) {
        match &command {
            Command::Object(source, object) if self.broken.get(source) == Some(&object.location.group) => {
                self.dropped += 1;
                return;
            }
            Command::Object(source, _) | Command::End(source, _) => drop(self.broken.remove(source)),
            // The broken group was abandoned, which is another end than this.
            Command::EndGroup(source) if self.broken.contains_key(source) => return,
            Command::EndGroup(_)
            | Command::AbandonGroup(_)
            | Command::Open { .. }
            | Command::Offer(_)
            | Command::Withdraw(_)
            | Command::Drain(_) => {}
        }
        self.waiting.push_back(command);
    }

    /// Sends what waits; says when to try again if something is left.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        mut send: impl FnMut(Command) -> Result<(), SendError>,
    ) -> Result<Option<Instant>, Gone> {
        while let Some(command) = self.waiting.front() {
            match send(command.clone()) {
                Ok(()) => {
                    self.full_since = None;
                    self.waiting.pop_front();
                }
                Err(SendError::Gone) => return Err(Gone),
                Err(SendError::Full) => {
                    let since = *self.full_since.get_or_insert(now);
                    if now.saturating_duration_since(since) >= PATIENCE {
                        self.give_up();
                        self.full_since = Some(now);
                    }
                    return Ok(Some(now + RETRY));
                }
            }
        }
        Ok(None)
    }

    /// Objects dropped because the shard was behind.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Drops the waiting objects and the rest of their groups. Catalogs are kept: nothing would bring them again.
    fn give_up(&mut self) {
        let before = self.dropped;
        for command in std::mem::take(&mut self.waiting) {
            if let Command::Object(source, object) = &command
                && object.priority.is_none_or(|priority| priority > PRIORITY_CATALOG)
            {
                self.dropped += 1;
                let group = object.location.group;
                if self.broken.insert(*source, group) != Some(group) {
                    self.waiting.push_back(Command::AbandonGroup(*source));
                }
            } else if !matches!(&command, Command::EndGroup(source) if self.broken.contains_key(source)) {
                self.waiting.push_back(command);
            }
        }
        let objects = self.dropped - before;
        if objects > 0 {
            tracing::warn!(objects, "the shard is behind; groups of a source were given up");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sluice_moqt::Location;
    use sluice_net::{Clock as _, ManualClock};
    use sluice_node::LocalObject;

    fn object(group: u64, object: u64) -> Command {
        let location = Location { group, object };
        let local = LocalObject { location, priority: Some(128), properties: Bytes::new(), payload: Bytes::new() };
        Command::Object(SourceId(7), local)
    }

    fn told(command: &Command) -> String {
        if let Command::Object(_, object) = command {
            return format!("{}.{}", object.location.group, object.location.object);
        }
        let text = format!("{command:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }

    /// A queue with room for `room` commands.
    fn pump(outlet: &mut Outlet, now: Instant, mut room: usize) -> (Vec<String>, Option<Instant>) {
        let mut sent = Vec::new();
        let again = outlet.pump(now, |command| {
            room = room.checked_sub(1).ok_or(SendError::Full)?;
            sent.push(told(&command));
            Ok(())
        });
        (sent, again.unwrap())
    }

    #[test]
    fn a_queue_that_is_full_for_a_moment_costs_nothing() {
        let now = ManualClock::new(Duration::ZERO).now();
        let mut outlet = Outlet::default();
        (0..3).for_each(|n| outlet.push(object(1, n)));
        assert_eq!(pump(&mut outlet, now, 1), (vec!["1.0".to_owned()], Some(now + RETRY)));
        outlet.push(Command::EndGroup(SourceId(7)));
        assert_eq!(pump(&mut outlet, now + RETRY, 9), (["1.1", "1.2", "EndGroup"].map(String::from).to_vec(), None));
        assert_eq!(outlet.dropped(), 0);
    }

    #[test]
    fn a_queue_that_stays_full_costs_the_group_and_the_next_one_is_whole() {
        let now = ManualClock::new(Duration::ZERO).now();
        let mut outlet = Outlet::default();
        outlet.push(object(1, 4));
        pump(&mut outlet, now, 0);
        outlet.push(object(1, 5));
        pump(&mut outlet, now + PATIENCE, 0);
        for command in [object(1, 6), Command::EndGroup(SourceId(7)), object(2, 0), object(2, 1)] {
            outlet.push(command);
        }
        let (sent, again) = pump(&mut outlet, now + PATIENCE + RETRY, 9);
        assert_eq!((sent.join(" ").as_str(), again), ("AbandonGroup 2.0 2.1", None));
        assert_eq!(outlet.dropped(), 3);
    }

    #[test]
    fn a_shard_that_has_ended_is_told() {
        let mut outlet = Outlet::default();
        outlet.push(object(1, 0));
        assert_eq!(outlet.pump(ManualClock::new(Duration::ZERO).now(), |_| Err(SendError::Gone)), Err(Gone));
    }
}
