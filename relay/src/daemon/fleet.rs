//! The shards of a relay as other threads reach them, whichever of them was started again after a panic.

use super::host::Command;
use sluice_net::{SendError, ShardHandle};
use sluice_node::{CONTROL_ALPN, MEDIA_ALPN};
use sluice_topology::PopId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The shards of one relay. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pop: PopId,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    handles: Vec<ShardHandle<Command>>,
    /// No shard is started again.
    over: bool,
}

impl Fleet {
    /// Joins `handles` to each other, every pair by the two legs of a trunk.
    ///
    /// # Errors
    /// A shard cannot be reached.
    pub(super) fn new(pop: PopId, handles: Vec<ShardHandle<Command>>) -> Result<Self, SendError> {
        for second in 0..handles.len() {
            (0..second).try_for_each(|first| join(&pop, &handles, first, second))?;
        }
        Ok(Self(Arc::new(Inner { pop, slots: Mutex::new(Slots { handles, over: false }) })))
    }

    /// The first shard as of now, where sources of the process are published. Once it says
    /// [`SendError::Gone`], ask again: another one may have taken its place, which knows of no source.
    #[must_use]
    pub fn first(&self) -> ShardHandle<Command> {
        self.slots().handles.first().expect("the type of `shards` in the configuration starts at 1").clone()
    }

    /// Whether the relay stops or has failed: no shard that is gone comes back.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.slots().over
    }

    /// Every shard as of now, by index.
    pub(super) fn handles(&self) -> Vec<ShardHandle<Command>> {
        self.slots().handles.clone()
    }

    /// Shard `index` was started again: the others are joined to it and told where its datagrams go.
    ///
    /// # Errors
    /// A shard cannot be reached.
    pub(super) fn replace(&self, index: u8, handle: ShardHandle<Command>) -> Result<(), SendError> {
        let mut slots = self.slots();
        if slots.over {
            // Nobody else will tell it.
            handle.stop(Duration::ZERO)?;
        }
        let at = usize::from(index);
        if let Some(slot) = slots.handles.get_mut(at) {
            *slot = handle.clone();
        }
        for (other, sibling) in slots.handles.iter().enumerate().filter(|(other, _)| *other != at) {
            let joined = join(&self.0.pop, &slots.handles, other.min(at), other.max(at));
            let introduced = joined.and_then(|()| sibling.introduce(index, handle.clone()));
            match introduced {
                // It has panicked, too, and will be joined when it is back.
                Ok(()) | Err(SendError::Gone) => {}
                Err(SendError::Full) => return Err(SendError::Full),
            }
        }
        Ok(())
    }

    /// No shard is started again from now on; returns those that run.
    pub(super) fn close(&self) -> Vec<ShardHandle<Command>> {
        let mut slots = self.slots();
        slots.over = true;
        slots.handles.clone()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Joins two shards by both legs of a trunk; the lower index is the client.
fn join(pop: &PopId, handles: &[ShardHandle<Command>], first: usize, second: usize) -> Result<(), SendError> {
    let (Some(client), Some(server)) = (handles.get(first), handles.get(second)) else { return Ok(()) };
    let names = [first, second].map(|index| pop.shard(u8::try_from(index).unwrap_or(u8::MAX)));
    for alpn in [CONTROL_ALPN, MEDIA_ALPN] {
        client.join(server, alpn, [names[0].as_str(), names[1].as_str()])?;
    }
    Ok(())
}
