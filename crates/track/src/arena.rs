//! Where payload lives: blocks of up to 64 KiB that objects share, so that one append is one copy and no allocation.
//!
//! Received slices are packet sized and pin a whole receive buffer; frame-sized slices of arena blocks do neither.
//! Memory is counted in blocks: a block is *held* until the log has evicted every object in it, and *retained* from then
//! on until the transports have let go of the slices that they were given. Slices are shared: a block counts once,
//! whatever the number of readers that have bytes of it under way.

use bytes::{Bytes, BytesMut};
use slab::Slab;

/// Largest block, and largest contiguous piece of one object.
pub(crate) const BLOCK: usize = 64 << 10;
/// First block of a track; sizes double up to [`BLOCK`], so that an idle catalog costs little.
const FIRST_BLOCK: usize = 4 << 10;

/// A block, as objects name the one they lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockId(usize);

#[derive(Debug)]
struct Block {
    size: usize,
    users: usize,
    /// An empty slice of the block: tells whether there are others.
    witness: Bytes,
}

/// The blocks of one track.
#[derive(Debug)]
pub(crate) struct Arena {
    blocks: Slab<Block>,
    open: Option<Open>,
    next_size: usize,
    held: usize,
    retained: Retained,
}

/// Blocks that the log is done with and somebody else has slices of.
#[derive(Debug, Default)]
struct Retained {
    blocks: Vec<(Bytes, usize)>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    id: usize,
    rest: BytesMut,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        let retained = Retained { blocks: Vec::new(), bytes: 0 };
        Self { blocks: Slab::new(), open: None, next_size: FIRST_BLOCK, held: 0, retained }
    }

    /// Bytes of all blocks that hold something.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }

    /// Bytes of blocks that are not held any more and could not be given back to the allocator at the last
    /// [`Arena::settle`].
    pub(crate) const fn retained(&self) -> usize {
        self.retained.bytes
    }

    /// Gives back what nobody has slices of any more.
    pub(crate) fn settle(&mut self) {
        let Retained { blocks, bytes } = &mut self.retained;
        blocks.retain(|(witness, size)| {
            let kept = !witness.is_unique();
            *bytes -= if kept { 0 } else { *size };
            kept
        });
    }

    /// Bytes that [`Arena::carve`] would add to [`Arena::held`].
    pub(crate) fn growth(&self, len: usize) -> usize {
        match &self.open {
            Some(open) if open.rest.capacity() >= len => 0,
            Some(_) if len > BLOCK / 4 => len,
            Some(_) | None => self.next_size.max(len),
        }
    }

    /// An empty buffer with room for exactly `len` bytes, at most [`BLOCK`].
    pub(crate) fn carve(&mut self, len: usize) -> (BlockId, BytesMut) {
        debug_assert!(len <= BLOCK, "pieces are at most one block");
        let fits = self.open.as_ref().is_some_and(|open| open.rest.capacity() >= len);
        if !fits {
            // A large piece gets a block of its own: opening a new block for it would waste up to three quarters of
            // the open one.
            if len > BLOCK / 4 && self.open.is_some() {
                let (id, buffer) = self.block(len);
                return (BlockId(id), buffer);
            }
            self.reopen(len);
        }
        let Some(open) = &mut self.open else { unreachable!("reopened above") };
        let rest = open.rest.split_off(len);
        let buffer = std::mem::replace(&mut open.rest, rest);
        if let Some(block) = self.blocks.get_mut(open.id) {
            block.users += 1;
        }
        (BlockId(open.id), buffer)
    }

    /// One user of the block is gone.
    pub(crate) fn release(&mut self, id: BlockId) {
        let Some(block) = self.blocks.get_mut(id.0) else { return };
        block.users -= 1;
        let open = self.open.as_ref().is_some_and(|open| open.id == id.0);
        if block.users == 0 && !open {
            self.free(id.0);
        }
    }

    fn reopen(&mut self, len: usize) {
        if let Some(open) = self.open.take()
            && self.blocks.get(open.id).is_some_and(|block| block.users == 0)
        {
            self.free(open.id);
        }
        let (id, rest) = self.block(self.next_size.max(len));
        if let Some(block) = self.blocks.get_mut(id) {
            block.users = 0;
        }
        self.next_size = (self.next_size * 2).min(BLOCK);
        self.open = Some(Open { id, rest });
    }

    fn block(&mut self, size: usize) -> (usize, BytesMut) {
        let mut buffer = BytesMut::with_capacity(size);
        let size = buffer.capacity();
        self.held += size;
        // Splitting makes the buffer shared at once; otherwise its first reader would pay an allocation.
        let witness = buffer.split_off(size).freeze();
        (self.blocks.insert(Block { size, users: 1, witness }), buffer)
    }

    fn free(&mut self, id: usize) {
        let Block { size, witness, .. } = self.blocks.remove(id);
        self.held -= size;
        // The object that lay there may still be about to go: the next `settle` knows.
        self.retained.bytes += size;
        self.retained.blocks.push((witness, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    #[test]
    fn small_objects_share_a_block_and_free_it_together() {
        let mut arena = Arena::new();
        let (a, mut first) = arena.carve(100);
        let (b, mut second) = arena.carve(200);
        assert_eq!((a, arena.held()), (b, FIRST_BLOCK));
        first.put_bytes(1, 100);
        second.put_bytes(2, 200);
        assert_eq!((first.capacity(), second.capacity()), (100, 200));
        let (c, _) = arena.carve(FIRST_BLOCK);
        assert_ne!(a, c);
        assert_eq!(arena.held(), FIRST_BLOCK * 3);
        arena.release(a);
        assert_eq!(arena.held(), FIRST_BLOCK * 3);
        arena.release(b);
        assert_eq!(arena.held(), FIRST_BLOCK * 2);
    }

    #[test]
    fn large_pieces_get_their_own_block_and_growth_says_so() {
        let mut arena = Arena::new();
        let _ = arena.carve(10);
        assert_eq!(arena.growth(BLOCK), BLOCK);
        let (large, _) = arena.carve(BLOCK);
        assert_eq!(arena.held(), FIRST_BLOCK + BLOCK);
        assert_eq!(arena.growth(10), 0);
        arena.release(large);
        assert_eq!(arena.held(), FIRST_BLOCK);
    }

    #[test]
    fn a_block_is_retained_until_the_last_slice_is_gone() {
        let mut arena = Arena::new();
        let _ = arena.carve(1);
        // Beside the open block, large pieces have their own.
        let (a, mut buffer) = arena.carve(BLOCK);
        buffer.resize(BLOCK, 0);
        let slice = buffer.freeze();
        let others = [slice.slice(..1), slice.slice(9..)];
        drop(slice);
        arena.release(a);
        arena.settle();
        assert_eq!((arena.held(), arena.retained()), (FIRST_BLOCK, BLOCK));
        drop(others);
        assert_eq!(arena.retained(), BLOCK);
        arena.settle();
        assert_eq!(arena.retained(), 0);
    }

    #[test]
    fn the_open_block_stays_while_it_is_empty() {
        let mut arena = Arena::new();
        let (a, _) = arena.carve(10);
        arena.release(a);
        assert_eq!(arena.held(), FIRST_BLOCK);
        let _ = arena.carve(FIRST_BLOCK - 10);
        assert_eq!(arena.held(), FIRST_BLOCK);
    }
}
