//! Track aliases of what we receive (draft-18 10.1).

use crate::types::{RequestId, TrackAlias};
use std::collections::{HashMap, VecDeque};

/// How many aliases of ended subscriptions are remembered, to discard their late streams quietly.
const MAX_RETIRED: usize = 256;

/// The peer's aliases.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    bound: HashMap<TrackAlias, RequestId>,
    retired: VecDeque<TrackAlias>,
}

/// What an alias names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// A subscription.
    Subscription(RequestId),
    /// One that ended: its objects are unwanted.
    Retired,
    /// Nothing yet.
    Unknown,
}

impl Aliases {
    pub(super) fn lookup(&self, alias: TrackAlias) -> Named {
        match self.bound.get(&alias) {
            Some(request) => Named::Subscription(*request),
            None if self.retired.contains(&alias) => Named::Retired,
            None => Named::Unknown,
        }
    }

    pub(super) fn bind(&mut self, alias: TrackAlias, request: RequestId) {
        self.retired.retain(|other| *other != alias);
        self.bound.insert(alias, request);
    }

    /// Ends an alias, if it still names `request`.
    pub(super) fn retire(&mut self, alias: TrackAlias, request: RequestId) {
        if self.bound.get(&alias) != Some(&request) {
            return;
        }
        self.bound.remove(&alias);
        if self.retired.len() >= MAX_RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back(alias);
    }
}
