use super::*;
use crate::config::LoopbackAddr;
use crate::config::value::Value as _;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_relay_is_ready_once_every_shard_has_published_and_until_it_drains() {
    let rig = Rig::new(2);
    assert_eq!(rig.get("/livez").await.status, 200);
    let reply = rig.get("/readyz").await;
    assert_eq!((reply.status, reply.detail()), (503, "0 of 2 shards have started".to_owned()));

    rig.publish(0, |_| {});
    rig.publish(1, |_| {});
    assert_eq!(rig.get("/readyz").await.status, 200);

    let drain = rig.state.drain_requests();
    assert!(!*drain.borrow());
    let reply = rig.request("POST", "/v1/drain", "").await;
    assert_eq!((reply.status, reply.json()["grace_seconds"].as_f64()), (202, Some(30.0)));
    assert!(*drain.borrow());
    assert_eq!(rig.get("/readyz").await.detail(), "draining");
    assert_eq!(rig.get("/v1/status").await.json()["draining"], true);
}

#[tokio::test]
async fn a_shard_that_stops_publishing_ends_liveness() {
    let rig = Rig::new(1);
    rig.publish(0, |_| {});
    rig.advance(STALE_AFTER);
    assert_eq!(rig.get("/livez").await.status, 200);
    rig.advance(Duration::from_millis(1));
    let reply = rig.get("/livez").await;
    assert_eq!((reply.status, reply.detail()), (503, "1 shards are stuck".to_owned()));
}

#[tokio::test]
async fn metrics_are_summed_over_shards_and_trunks_are_labelled() {
    let rig = Rig::new(2);
    rig.publish(0, |s| {
        s.node.sessions = 3;
        s.node.metrics.media.dropped_behind_total = 5;
        s.node.trunks.push(trunk("ams-origin", Some(Duration::from_millis(12))));
    });
    rig.publish(1, |s| {
        s.node.sessions = 4;
        s.net.udp.tx_bytes = 1_000;
        s.node.trunks.push(trunk("lon1", None));
    });
    let text = rig.get("/metrics").await.body;
    for line in [
        "# TYPE sluice_sessions gauge",
        "sluice_sessions 7",
        "sluice_udp_sent_bytes_total 1000",
        "sluice_dropped_total{step=\"select\",reason=\"behind\"} 5",
        "sluice_trunk_sent_bytes_total{peer=\"ams-origin\"} 700",
        "sluice_trunk_rtt_seconds{peer=\"ams-origin\"} 0.012",
        "sluice_trunk_suspect{peer=\"lon1\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("sluice_trunk_rtt_seconds{peer=\"lon1\"}"), "an unknown round trip has no value");
    let dropped = text.lines().filter(|l| l.starts_with("# TYPE sluice_dropped_total")).count();
    assert_eq!(dropped, 1, "the type stands once per name");
}

#[tokio::test]
async fn v1_shows_sessions_trunks_and_a_bounded_list_of_tracks() {
    let rig = Rig::new(2);
    rig.publish(0, |s| {
        s.node.viewers = 2;
        s.node.tracks = 2;
        s.tracks = vec![track("live--video", 2, Some(9)), track("live--audio", 1, None)];
        s.node.trunks.push(trunk("lon1", None));
    });
    rig.publish(1, |s| {
        s.node.viewers = 5;
        s.node.tracks = 1;
        s.tracks = vec![track("live--video", 5, Some(8))];
        s.node.trunks.push(trunk("ams-origin", None));
    });
    assert_eq!(rig.get("/v1/sessions").await.json()["viewers"], 7);
    let trunks = rig.get("/v1/trunks").await.json();
    assert_eq!((&trunks[0]["peer"], &trunks[1]["peer"]), (&"ams-origin".into(), &"lon1".into()));
    assert_eq!(trunks[0]["state"], "up");

    let all = rig.get("/v1/tracks").await.json();
    assert_eq!(all["tracks"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!((&all["tracks"][1]["viewers"], &all["tracks"][1]["largest_group"]), (&7.into(), &9.into()));
    let one = rig.get("/v1/tracks?limit=1").await.json();
    assert_eq!((one["tracks"].as_array().map(Vec::len), &one["total"]), (Some(1), &3.into()));
    assert_eq!(rig.get("/v1/tracks?limit=x").await.status, 400);
}

#[tokio::test]
async fn refusals_are_problem_json() {
    let rig = Rig::new(1);
    let reply = rig.get("/v2").await;
    assert_eq!((reply.status, reply.detail()), (404, "nothing at /v2".to_owned()));
    assert!(reply.head.contains("application/problem+json"), "{}", reply.head);
    let reply = rig.get("/v1/drain").await;
    assert_eq!((reply.status, reply.detail()), (405, "/v1/drain does not take GET".to_owned()));
    assert!(!rig.state.is_draining());
}

#[tokio::test]
async fn pages_in_a_browser_of_this_machine_are_kept_out() {
    let rig = Rig::new(1);
    assert_eq!(rig.request("POST", "/v1/drain", "Origin: https://evil.example\r\n").await.status, 403);
    assert_eq!(rig.request_host("GET", "/v1/tracks", "rebound.example:9090").await.status, 421);
    assert_eq!(rig.request_host("GET", "/livez", "[::1]:9090").await.status, 200);
    assert!(!rig.state.is_draining());
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let rig = Rig::new(1);
    let first = Server::bind(loopback(0), rig.state.clone()).await.unwrap();
    let error = Server::bind(loopback(first.local_addr().port()), rig.state.clone()).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on TCP 127.0.0.1:"), "{error}");
    assert!(error.ends_with("choose another with --admin-addr"), "{error}");
}

#[test]
fn names_follow_the_rules() {
    for metric in METRICS {
        let (name, counter) = (metric.name, metric.kind == Kind::Counter);
        assert!(name.starts_with("sluice_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), counter, "{name}");
        assert!(metric.help.ends_with('.'), "{name}");
    }
    let mut names: Vec<_> = METRICS.iter().map(|m| m.name).collect();
    names.dedup();
    let runs = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), runs, "metrics of one name stand side by side");
}

#[test]
fn the_metrics_page_is_current() {
    crate::tests::assert_page("docs/metrics.md", &reference());
}

/// A state with a clock that stands still, and its publishers.
struct Rig {
    state: State,
    publishers: Vec<Publisher>,
    clock: Arc<Mutex<Instant>>,
}

impl Rig {
    #[expect(clippy::disallowed_methods, reason = "an `Instant` can be had no other way; the clock stands still")]
    fn new(shards: usize) -> Self {
        let clock = Arc::new(Mutex::new(Instant::now()));
        let reader = Arc::clone(&clock);
        let identity = Identity { pop: "fra1".parse().unwrap(), role: "edge", drain_grace: Duration::from_secs(30) };
        let (state, publishers) = State::new(identity, shards, move || *reader.lock().unwrap());
        Self { state, publishers, clock }
    }

    fn advance(&self, by: Duration) {
        *self.clock.lock().unwrap() += by;
    }

    fn publish(&self, shard: usize, fill: impl FnOnce(&mut Snapshot)) {
        let at = *self.clock.lock().unwrap();
        let mut snapshot =
            Snapshot { at, node: sluice_node::Snapshot::default(), net: sluice_net::Stats::default(), tracks: vec![] };
        fill(&mut snapshot);
        self.publishers[shard].publish(snapshot);
    }

    async fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "").await
    }

    async fn request(&self, method: &str, path: &str, headers: &str) -> Reply {
        self.exchange(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")).await
    }

    async fn request_host(&self, method: &str, path: &str, host: &str) -> Reply {
        self.exchange(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    /// One request over a real connection; the server runs for as long as it takes.
    async fn exchange(&self, request: String) -> Reply {
        let server = Server::bind(loopback(0), self.state.clone()).await.unwrap();
        let addr = server.local_addr();
        let client = async move {
            let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut text = String::new();
            // The server closes after every answer; a deadline tells where it does not.
            let read = stream.read_to_string(&mut text);
            tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
            Reply::parse(&text)
        };
        tokio::select! {
            reply = client => reply,
            ended = server.serve(std::future::pending()) => panic!("server ended: {ended:?}"),
        }
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

fn loopback(port: u16) -> LoopbackAddr {
    LoopbackAddr::parse(&format!("127.0.0.1:{port}")).unwrap()
}

fn trunk(peer: &str, rtt: Option<Duration>) -> TrunkMetrics {
    TrunkMetrics {
        peer: peer.parse().unwrap(),
        control_up: true,
        media_up: true,
        suspect: false,
        rtt,
        bytes: sluice_node::LinkBytes { sent_total: 700, carried_total: 700, ..Default::default() },
        lost_packets_total: 0,
    }
}

fn track(name: &str, viewers: usize, largest_group: Option<u64>) -> TrackStatus {
    TrackStatus { track: name.to_owned(), viewers, largest_group, log_bytes: 10 }
}

#[tokio::test]
async fn what_two_shards_say_of_one_trunk_is_one_series() {
    let rig = Rig::new(2);
    for (shard, sent) in [(0, 5), (1, 7)] {
        rig.publish(shard, |s| {
            let mut trunk = trunk("ams-origin", None);
            trunk.bytes.sent_total = sent;
            s.node.trunks.push(trunk);
        });
    }
    let text = rig.get("/metrics").await.body;
    let series = text.lines().filter(|line| line.starts_with("sluice_trunk_sent_bytes_total{"));
    assert_eq!(series.collect::<Vec<_>>(), ["sluice_trunk_sent_bytes_total{peer=\"ams-origin\"} 12"]);
}
