//! The allocator of the benches: mimalloc, counting what an application allocates while it is being called.
//!
//! quinn-proto allocates for every frame; that is not ours to count. So the counter runs only inside a [`Scope`],
//! which the hosts of the benches open around calls into an application and pause around calls back into QUIC.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

static PER_OBJECT: AtomicU64 = AtomicU64::new(0);

/// Allocations inside application calls so far, those of calls that opened a stream apart.
pub(crate) fn per_object() -> u64 {
    PER_OBJECT.load(Ordering::Relaxed)
}

/// Runs `call` with the counter on; returns its result and the allocations.
pub(crate) fn counted<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    let outer = COUNTING.replace(true);
    let result = call();
    COUNTING.set(outer);
    (result, COUNT.get() - before)
}

/// Runs `call` with the counter off.
pub(crate) fn uncounted<T>(call: impl FnOnce() -> T) -> T {
    let outer = COUNTING.replace(false);
    let result = call();
    COUNTING.set(outer);
    result
}

/// Adds `count` to what [`per_object`] tells.
pub(crate) fn record(count: u64) {
    if count > 0 {
        PER_OBJECT.fetch_add(count, Ordering::Relaxed);
    }
}

/// mimalloc, with a counter in front that costs one thread-local read where it is off.
#[derive(Debug)]
pub(crate) struct Counting;

#[expect(unsafe_code, reason = "no crate counts in scopes over an allocator of choice")]
// SAFETY: every method forwards its arguments unchanged to mimalloc and returns what it returns; the counter is a
// const-initialised thread-local without destructor, so reading it neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: `block` came from MiMalloc with `layout`, since all methods forward there.
        unsafe { MiMalloc.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

fn count() {
    if COUNTING.get() {
        COUNT.set(COUNT.get() + 1);
    }
}
