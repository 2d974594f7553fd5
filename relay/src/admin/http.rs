//! The resources.

use super::problem::Problem;
use super::{Snapshot, State, TrackStatus, metrics};
use axum::extract::{Request, State as Shared};
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Tracks in one answer where the request does not say.
const TRACKS_DEFAULT: usize = 100;

/// The resources of `state`.
pub(super) fn router(state: State) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render_metrics))
        .route("/v1/status", get(status))
        .route("/v1/sessions", get(sessions))
        .route("/v1/trunks", get(trunks))
        .route("/v1/tracks", get(tracks))
        .route("/v1/drain", post(drain))
        .fallback(|uri: Uri| async move { Problem::new(StatusCode::NOT_FOUND, format!("nothing at {}", uri.path())) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
        })
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Keeps pages in a browser of this machine out: they cannot choose `Host` (DNS rebinding) nor leave out `Origin`.
async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check_caller(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    // Connections are few (see `server`), so nobody keeps one.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn check_caller(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::ORIGIN) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "requests of web pages are not served"));
    }
    let Some(host) = headers.get(header::HOST) else {
        return Ok(());
    };
    let host = host.to_str().unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if name == "localhost" || address.is_ok_and(|ip| ip.is_loopback()) {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, format!("{name:?} is not a name of the loopback interface")))
    }
}

async fn livez(Shared(state): Shared<State>) -> Result<&'static str, Problem> {
    match state.stuck(&state.snapshots()) {
        0 => Ok("ok\n"),
        stuck => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{stuck} shards are stuck"))),
    }
}

async fn readyz(Shared(state): Shared<State>) -> Result<&'static str, Problem> {
    match state.unready() {
        None => Ok("ok\n"),
        Some(reason) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)),
    }
}

async fn render_metrics(Shared(state): Shared<State>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, metrics::render(&state)).into_response()
}

#[derive(Debug, Serialize)]
struct Status {
    pop: String,
    role: &'static str,
    version: &'static str,
    uptime_seconds: f64,
    shards: usize,
    draining: bool,
    /// Why clients should not be sent here; absent if they should.
    #[serde(skip_serializing_if = "Option::is_none")]
    unready: Option<String>,
}

async fn status(Shared(state): Shared<State>) -> Json<Status> {
    let identity = &state.inner.identity;
    Json(Status {
        pop: identity.pop.to_string(),
        role: identity.role,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: state.uptime().as_secs_f64(),
        shards: state.inner.slots.len(),
        draining: state.is_draining(),
        unready: state.unready(),
    })
}

#[derive(Debug, Serialize)]
struct Sessions {
    sessions: usize,
    viewers: usize,
    upstreams: usize,
    sessions_total: u64,
    sessions_violated_total: u64,
}

async fn sessions(Shared(state): Shared<State>) -> Json<Sessions> {
    let snapshots = state.snapshots();
    let sum = |read: fn(&Snapshot) -> usize| snapshots.iter().map(|s| read(s)).sum();
    let total = |read: fn(&Snapshot) -> u64| snapshots.iter().map(|s| read(s)).sum();
    Json(Sessions {
        sessions: sum(|s| s.node.sessions),
        viewers: sum(|s| s.node.viewers),
        upstreams: sum(|s| s.node.upstreams),
        sessions_total: total(|s| s.node.metrics.sessions_total),
        sessions_violated_total: total(|s| s.node.metrics.sessions_violated_total),
    })
}

#[derive(Debug, Serialize)]
struct Trunk {
    peer: String,
    state: &'static str,
    rtt_seconds: Option<f64>,
    sent_bytes_total: u64,
    carried_bytes_total: u64,
    received_bytes_total: u64,
    lost_packets_total: u64,
}

async fn trunks(Shared(state): Shared<State>) -> Json<Vec<Trunk>> {
    let snapshots = state.snapshots();
    Json(State::trunks(&snapshots).iter().map(trunk).collect())
}

fn trunk(metrics: &sluice_node::TrunkMetrics) -> Trunk {
    let state = match (metrics.control_up, metrics.media_up, metrics.suspect) {
        (true, true, false) => "up",
        (true, true, true) => "suspect",
        (true, false, _) => "control only",
        (false, true, _) => "media only",
        (false, false, _) => "down",
    };
    Trunk {
        peer: metrics.peer.to_string(),
        state,
        rtt_seconds: metrics.rtt.map(|rtt| rtt.as_secs_f64()),
        sent_bytes_total: metrics.bytes.sent_total,
        carried_bytes_total: metrics.bytes.carried_total,
        received_bytes_total: metrics.bytes.received_total,
        lost_packets_total: metrics.lost_packets_total,
    }
}

#[derive(Debug, Serialize)]
struct Tracks {
    /// All of the process, listed or not.
    total: usize,
    tracks: Vec<TrackStatus>,
}

/// `?limit=N` tracks by name; a track that several shards carry is listed once.
async fn tracks(Shared(state): Shared<State>, uri: Uri) -> Result<Json<Tracks>, Problem> {
    let limit = match uri.query().and_then(|query| query.strip_prefix("limit=")) {
        Some(text) => text
            .parse()
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, format!("limit={text:?} is not a number of tracks")))?,
        None => TRACKS_DEFAULT,
    };
    let snapshots = state.snapshots();
    let mut tracks = merge(&snapshots);
    tracks.truncate(limit);
    Ok(Json(Tracks { total: snapshots.iter().map(|s| s.node.tracks).sum(), tracks }))
}

fn merge(snapshots: &[Arc<Snapshot>]) -> Vec<TrackStatus> {
    let mut all: Vec<TrackStatus> = snapshots.iter().flat_map(|s| s.tracks.iter().cloned()).collect();
    all.sort_by(|a, b| a.track.cmp(&b.track));
    all.dedup_by(|later, kept| {
        let same = later.track == kept.track;
        if same {
            kept.viewers += later.viewers;
            kept.log_bytes += later.log_bytes;
            kept.largest_group = kept.largest_group.max(later.largest_group);
        }
        same
    });
    all
}

#[derive(Debug, Serialize)]
struct Draining {
    draining: bool,
    grace_seconds: f64,
}

/// Starts a drain; asking again changes nothing.
async fn drain(Shared(state): Shared<State>) -> (StatusCode, Json<Draining>) {
    tracing::info!("drain requested over the admin interface");
    state.request_drain();
    let grace_seconds = state.inner.identity.drain_grace.as_secs_f64();
    (StatusCode::ACCEPTED, Json(Draining { draining: true, grace_seconds }))
}
