//! What the clients of the relay case say: a viewer's one subscription, a publisher's one namespace.

use crate::support::edge;
use crate::support::protocol::{Join, Run, Traffic};
use sluice_moqt::message::{FetchKind, Params, Setup};
use sluice_moqt::session::{AcceptedPaths, Config, Event, Limits, Session};
use sluice_moqt::transport::Side;
use sluice_moqt::{Draft, Filter};
use std::time::{Duration, Instant};

/// How long a subscription may wait for the namespace to get around.
const RENDEZVOUS: Duration = Duration::from_secs(5);

/// A session that subscribes to the track.
pub(super) fn viewer(now: Instant, run: Run) -> anyhow::Result<Session> {
    let mut session = session(now);
    let forward = match run.traffic {
        Traffic::Active => None,
        Traffic::Idle => Some(false),
    };
    let filter = match run.join {
        Join::NextGroup => Filter::NextGroupStart,
        Join::Warm => Filter::LargestObject,
    };
    // Relays of a chain tell each other of a namespace in their own time.
    let rendezvous_timeout = (run.shape.relays > 1).then_some(RENDEZVOUS);
    let params = Params { filter: Some(filter), forward, rendezvous_timeout, ..Params::default() };
    let joining = session.subscribe(edge::track()?, params)?;
    if run.join == Join::Warm {
        session.fetch(FetchKind::RelativeJoining { joining, start: 0 }, Params::default())?;
    }
    Ok(session)
}

/// A session that announces the namespace.
pub(super) fn publisher(now: Instant) -> anyhow::Result<Session> {
    let mut session = session(now);
    session.publish_namespace(edge::namespace()?, Params::default())?;
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
