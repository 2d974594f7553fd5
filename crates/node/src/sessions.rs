//! The sessions of a node: found by id in one step, gone through in a fixed order.

use crate::node::Hosted;
use slab::Slab;
use sluice_moqt::transport::SessionId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The hosted connections. Every object looks each of its viewers up, and an ordered map of hundreds of them costs
/// several cold cache lines where this costs two; slots are handed out the same way in every run.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    index: HashMap<SessionId, usize, BuildHasherDefault<IdHasher>>,
    slots: Slab<(SessionId, Hosted)>,
}

impl Sessions {
    /// What is hosted under `id`.
    pub(crate) fn get(&self, id: SessionId) -> Option<&Hosted> {
        self.slots.get(*self.index.get(&id)?).map(|(_, hosted)| hosted)
    }

    /// What is hosted under `id`.
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Hosted> {
        self.slots.get_mut(*self.index.get(&id)?).map(|(_, hosted)| hosted)
    }

    /// Takes a connection in; the host never uses an id twice.
    pub(crate) fn insert(&mut self, id: SessionId, hosted: Hosted) {
        let slot = self.slots.insert((id, hosted));
        if let Some(old) = self.index.insert(id, slot) {
            self.slots.remove(old);
        }
    }

    /// Lets a connection go.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Hosted> {
        let slot = self.index.remove(&id)?;
        Some(self.slots.remove(slot).1)
    }

    /// All of them, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionId, &Hosted)> {
        self.slots.iter().map(|(_, (id, hosted))| (*id, hosted))
    }

    /// All of them, by slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SessionId, &mut Hosted)> {
        self.slots.iter_mut().map(|(_, (id, hosted))| (*id, hosted))
    }
}

/// One multiplication: the host, not the peer, chooses the ids.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // 2^64 / golden ratio; the map takes its buckets from the low bits and its tags from the high ones.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(26);
    }
}
