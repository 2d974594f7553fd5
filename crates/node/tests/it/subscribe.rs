//! SUBSCRIBE: who is asked, when it is answered, what passes (draft-18 5.1, 8.4).

use crate::actors::{Known, filter, ms, secs, track};
use crate::world::{World, config};
use sluice_moqt::error::RequestCode;
use sluice_moqt::message::Params;
use sluice_moqt::{Filter, Location};

fn rendezvous(time: std::time::Duration) -> Params {
    Params { rendezvous_timeout: Some(time), ..Params::default() }
}

#[test]
fn an_unknown_track_does_not_exist() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let viewer = w.client(node);
    let request = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
    let zero = w.subscribe(viewer, &track("video"), rendezvous(ms(0)));
    assert_eq!(w.error(viewer, zero), Some(RequestCode::DoesNotExist));
}

#[test]
fn rendezvous_is_held_and_then_served() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (viewer, publisher) = (w.client(node), w.client(node));
    let request = w.subscribe(viewer, &track("video"), rendezvous(secs(5)));
    w.pass(secs(3));
    assert_eq!((w.error(viewer, request), w.subscribed(viewer, request)), (None, None));
    w.publish_namespace(publisher, "live/a");
    let source = w.accept(publisher, Known::default());
    assert!(w.subscribed(viewer, request).is_some());
    w.put_group(source, 0, 3);
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1), (0, 2)]);
    w.pass(secs(5));
    assert_eq!(w.error(viewer, request), None);
}

#[test]
fn rendezvous_without_a_publisher_times_out() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let viewer = w.client(node);
    let request = w.subscribe(viewer, &track("video"), rendezvous(secs(5)));
    w.pass(ms(4_999));
    assert_eq!(w.error(viewer, request), None);
    w.pass(ms(1));
    assert_eq!(w.error(viewer, request), Some(RequestCode::Timeout));
}

#[test]
fn rendezvous_runs_out_while_an_orphan_waits_for_its_publisher() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, late) = (w.client(node), w.client(node), w.client(node));
    w.live(publisher, viewer, &track("video"));
    w.close(publisher);
    let request = w.subscribe(late, &track("video"), rendezvous(secs(2)));
    w.pass(secs(3));
    assert_eq!(w.error(late, request), Some(RequestCode::Timeout));
}

#[test]
fn one_subscribe_upstream_for_all_who_wait_and_all_who_come() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let publisher = w.client(node);
    w.publish_namespace(publisher, "live/a");
    let viewers: Vec<_> = (0..20).map(|_| w.client(node)).collect();
    let requests: Vec<_> = viewers.iter().map(|v| w.subscribe(*v, &track("video"), Params::default())).collect();
    // draft-18 8.4: "MUST have an `Established` upstream subscription before sending SUBSCRIBE_OK".
    assert!(viewers.iter().zip(&requests).all(|(v, r)| w.subscribed(*v, *r).is_none()));
    let (upstream, params) = w.asked(publisher);
    assert_eq!((params.forward, params.filter), (Some(true), Some(Filter::LargestObject)));
    let source = w.accept_request(publisher, upstream, Known::default());
    assert!(viewers.iter().zip(&requests).all(|(v, r)| w.subscribed(*v, *r).is_some()));
    let late = w.client(node);
    let request = w.subscribe(late, &track("video"), Params::default());
    assert!(w.subscribed(late, request).is_some());
    assert!(w.all_asked(publisher).is_empty());
    w.put_group(source, 4, 2);
    assert_eq!(w.locations(late, request), [(4, 0), (4, 1)]);
    assert!(viewers.iter().zip(&requests).all(|(v, r)| w.locations(*v, *r) == [(4, 0), (4, 1)]));
}

#[test]
fn an_upstream_that_refuses_is_heard_downstream() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    let (upstream, _) = w.asked(publisher);
    let error = sluice_moqt::message::RequestError {
        code: RequestCode::DoesNotExist,
        retry: None,
        reason: String::new(),
        redirect: None,
    };
    w.c(publisher).protocol.reject(upstream, error);
    w.run();
    assert_eq!(w.error(viewer, request), Some(RequestCode::DoesNotExist));
}

#[test]
fn an_upstream_that_is_silent_times_out() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.pass(secs(11));
    assert_eq!(w.error(viewer, request), Some(RequestCode::Timeout));
    let (upstream, _) = w.asked(publisher);
    assert!(w.cancelled(publisher, upstream));
}

#[test]
fn filters_are_exact() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 3);
    w.put_group(source, 1, 3);
    let out = w.group(source, 2);
    w.put(source, out, 2, 0..2);
    let start = Location::new(1, 1);
    let cases = [
        (Filter::LargestObject, vec![(2, 2), (2, 3), (3, 0)]),
        (Filter::NextGroupStart, vec![(3, 0)]),
        (Filter::AbsoluteStart { start }, vec![(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3), (3, 0)]),
        (Filter::AbsoluteRange { start, end_group: 2 }, vec![(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3)]),
        (Filter::AbsoluteStart { start: Location::new(3, 0) }, vec![(3, 0)]),
    ];
    let asked: Vec<_> = cases
        .iter()
        .map(|(wanted, _)| {
            let client = w.client(node);
            (client, w.subscribe(client, &track("video"), filter(*wanted)))
        })
        .collect();
    w.put(source, out, 2, 2..4);
    w.c(source.client).fin(out);
    w.put_group(source, 3, 1);
    w.pass(secs(2));
    for ((client, request), (wanted, expected)) in asked.into_iter().zip(cases) {
        let mut got = w.locations(client, request);
        got.sort_unstable();
        assert_eq!(got, expected, "{wanted:?}");
        let largest = w.subscribed(client, request).and_then(|ok| ok.params.largest);
        assert_eq!(largest, Some(Location::new(2, 1)));
    }
}

#[test]
fn a_range_that_is_over_is_refused_and_leaves_nothing() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 5, 1);
    w.put_group(source, 6, 1);
    w.c(viewer).protocol.cancel(request, sluice_moqt::error::ResetCode::Cancelled);
    w.run();
    let past = Filter::AbsoluteRange { start: Location::new(1, 0), end_group: 2 };
    let request = w.subscribe(viewer, &track("video"), filter(past));
    assert_eq!(w.error(viewer, request), Some(RequestCode::InvalidRange));
    w.pass(secs(11));
    assert_eq!(w.n(node).snapshot().tracks, 0);
}

#[test]
fn a_late_joiner_on_a_warm_track_gets_the_whole_newest_group() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, late) = (w.client(node), w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 3);
    let out = w.group(source, 1);
    w.put(source, out, 1, 0..2);
    let request = w.subscribe(late, &track("video"), filter(Filter::LargestObject));
    let fetch = w.join(late, request);
    w.put(source, out, 1, 2..4);
    assert_eq!(w.locations(late, fetch), [(1, 0), (1, 1)]);
    assert_eq!(w.locations(late, request), [(1, 2), (1, 3)]);
    assert!(w.all_asked(publisher).is_empty());
}

#[test]
fn the_last_reader_gone_ends_the_upstream_after_the_linger() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    w.close(viewer);
    w.pass(secs(9));
    assert!(!w.cancelled(publisher, source.request));
    w.pass(secs(2));
    assert!(w.cancelled(publisher, source.request));
    assert_eq!((w.n(node).snapshot().tracks, w.n(node).snapshot().upstreams), (0, 0));
}

#[test]
fn a_reader_within_the_linger_keeps_the_upstream() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, next) = (w.client(node), w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    w.close(viewer);
    w.pass(secs(9));
    let request = w.subscribe(next, &track("video"), Params::default());
    assert!(w.subscribed(next, request).is_some());
    w.pass(secs(20));
    assert!(!w.cancelled(publisher, source.request));
    assert!(w.all_asked(publisher).is_empty());
}
