//! What is due when. Equal times keep the order in which they were scheduled: that is what makes a seed replay.

use super::wire::{Ack, ConnId, Parcel};
use crate::plan::NodeId;
use sluice_netem::model::Token;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Something that is due.
#[derive(Debug)]
pub(super) enum Due {
    /// The plan's event of that number.
    Act(usize),
    /// A node's process starts as planned.
    Start(NodeId),
    /// A process wanted to be called, where it is still that life of its node.
    Timer(NodeId, u32),
    /// A process that was asked to leave has had its time.
    GraceOver(NodeId, u32),
    /// A parcel comes out of its link, unless that was cut.
    Arrive(Parcel, Token),
    /// A receiver that reads slowly has come to the parcel.
    Read(Parcel),
    /// A lost parcel is sent again.
    Resend(Parcel),
    /// A parcel was acknowledged.
    Acked(Ack),
    /// An end of a connection may have heard nothing for too long.
    Idle(ConnId, usize),
    /// An end of a connection may have to keep it alive.
    Ping(ConnId, usize),
    /// A dial has taken too long.
    DialOver(ConnId),
    /// The invariants are to be looked at.
    Look,
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    order: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Everything that is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    heap: BinaryHeap<Entry>,
    next: u64,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Duration, due: Due) {
        let order = self.next;
        self.next += 1;
        self.heap.push(Entry { at, order, due });
    }

    /// The next one that is due by `until`.
    pub(super) fn pop(&mut self, until: Duration) -> Option<(Duration, Due)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.due))
    }
}
