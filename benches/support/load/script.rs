//! What the clients of the relay case say: a viewer's one subscription, a publisher's one namespace.

use crate::support::protocol::Traffic;
use crate::support::relay;
use sluice_moqt::message::{Params, Setup};
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session};
use sluice_moqt::transport::Side;
use sluice_moqt::{Draft, Filter};
use std::time::Instant;

/// A session that subscribes to the track from the next group on.
pub(super) fn viewer(now: Instant, traffic: Traffic) -> anyhow::Result<Session> {
    let mut session = session(now);
    let forward = match traffic {
        Traffic::Active => None,
        Traffic::Idle => Some(false),
    };
    let params = Params { filter: Some(Filter::NextGroupStart), forward, ..Params::default() };
    session.subscribe(relay::track()?, params)?;
    Ok(session)
}

/// A session that announces the namespace.
pub(super) fn publisher(now: Instant) -> anyhow::Result<Session> {
    let mut session = session(now);
    session.publish_namespace(relay::namespace()?, Params::default())?;
    Ok(session)
}

/// Whether the script cannot go on after `event`.
pub(super) const fn is_fatal(event: &Event) -> bool {
    matches!(event, Event::Error { .. } | Event::Closed { .. } | Event::PublishDone { .. } | Event::Goaway(_))
}

fn session(now: Instant) -> Session {
    let config = Config {
        side: Side::Client,
        draft: Draft::V18,
        setup: Setup { path: Some("/".to_owned()), ..Setup::default() },
        limits: Limits::default(),
        paths: AcceptedPaths::default(),
    };
    Session::new(now, config)
}
