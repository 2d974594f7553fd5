//! Publishers that vanish and return, readers that are slow (decisions 1.4, 1.8).

use crate::actors::{Known, Source, filter, ms, object, payload, secs, track};
use crate::world::{C, World, config};
use sluice_moqt::data::SubgroupFlags;
use sluice_moqt::error::{DoneCode, RequestCode, ResetCode};
use sluice_moqt::message::{Params, Timeouts};
use sluice_moqt::session::StreamEnd;
use sluice_moqt::{Filter, RequestId};

#[test]
fn a_publisher_that_returns_above_its_largest_goes_on() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    let out = w.group(source, 7);
    w.put(source, out, 7, 0..2);
    w.c(publisher).object(out, &object(2, 100), &payload(7, 2, 40));
    w.run();
    w.close(publisher);
    w.pass(secs(4));
    let again = w.client(node);
    w.publish_namespace(again, "live/a");
    w.pass(ms(300));
    let source = w.accept(again, Known::at(7, 4));
    w.put_group(source, 8, 2);
    assert_eq!(w.ended(viewer, request), None);
    let got = w.locations(viewer, request);
    assert_eq!(got, [(7, 0), (7, 1), (8, 0), (8, 1)]);
    w.pass(secs(30));
    assert_eq!(w.ended(viewer, request), None);
}

#[test]
fn a_publisher_that_returns_with_the_same_state_goes_on() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let source = w.publish(publisher, &track("video"), Known::default());
    let request = w.subscribe(viewer, &track("video"), Params::default());
    w.put_group(source, 7, 2);
    w.close(publisher);
    w.pass(secs(1));
    let again = w.client(node);
    let source = w.publish(again, &track("video"), Known::at(7, 1));
    w.put_group(source, 8, 1);
    assert_eq!(w.ended(viewer, request), None);
    assert_eq!(w.locations(viewer, request), [(7, 0), (7, 1), (8, 0)]);
}

#[test]
fn a_publisher_that_returns_below_its_largest_is_a_new_incarnation() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 7, 2);
    w.close(publisher);
    w.pass(secs(1));
    let again = w.client(node);
    let source = w.publish(again, &track("video"), Known::at(2, 0));
    assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded));
    let second = w.subscribe(viewer, &track("video"), filter(Filter::LargestObject));
    w.put_group(source, 3, 2);
    assert_eq!(w.locations(viewer, second), [(3, 0), (3, 1)]);
}

#[test]
fn a_publisher_that_starts_over_without_a_word_is_a_new_incarnation() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 2);
    w.put_group(source, 1, 2);
    w.close(publisher);
    w.pass(secs(1));
    let again = w.client(node);
    let source = w.publish(again, &track("video"), Known::default());
    w.run();
    assert_eq!(w.ended(viewer, request), None);
    let out = w.group(source, 0);
    w.c(again).object(out, &object(0, 100), &payload(9, 9, 100));
    w.run();
    assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded));
    assert_eq!(w.n(node).snapshot().metrics.tracks_malformed_total, 0);
    let second = w.subscribe(viewer, &track("video"), Params::default());
    assert_eq!(w.locations(viewer, second), [(0, 0)]);
}

#[test]
fn a_publisher_that_does_not_return_ends_the_track_after_the_linger() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, late) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    let out = w.group(source, 7);
    w.put(source, out, 7, 0..2);
    w.close(publisher);
    let waiting = w.subscribe(late, &track("video"), Params::default());
    w.pass(ms(9_900));
    assert_eq!(w.ended(viewer, request), None);
    assert_eq!(w.error(late, waiting), None);
    w.pass(ms(200));
    assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded));
    assert_eq!(w.error(late, waiting), Some(RequestCode::DoesNotExist));
    assert_eq!((w.n(node).snapshot().tracks, w.n(node).snapshot().log_bytes), (0, 0));
}

#[test]
fn a_track_that_ends_is_not_asked_for_again_without_a_reader() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 7, 2);
    w.done(source, DoneCode::TrackEnded);
    assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded));
    assert_eq!(w.locations(viewer, request), [(7, 0), (7, 1)]);
    w.pass(secs(5));
    assert_eq!(w.all_asked(publisher), []);
    let again = w.subscribe(viewer, &track("video"), Params::default());
    w.pass(ms(300));
    let source = w.accept(publisher, Known::at(7, 1));
    assert!(w.subscribed(viewer, again).is_some());
    w.done(source, DoneCode::TrackEnded);
    w.pass(secs(15));
    assert_eq!(w.all_asked(publisher), []);
    assert_eq!(w.n(node).snapshot().tracks, 0);
}

#[test]
fn a_viewer_that_never_reads_is_skipped_and_slows_nobody() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, stuck) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    let blocked = w.subscribe(stuck, &track("video"), Params::default());
    w.sink_to(stuck).room = 150;
    for group in 0..6 {
        w.put_group(source, group, 3);
        w.pass(ms(1_000));
    }
    let got = w.locations(viewer, request);
    assert_eq!(got.len(), 18);
    let media = w.n(node).snapshot().metrics.media;
    assert!(media.groups_skipped_total >= 3, "{media:?}");
    assert!(w.sink_to(stuck).streams.len() < 10);
    w.sink_to(stuck).room = usize::MAX;
    w.run();
    w.put_group(source, 6, 3);
    let got = w.locations(stuck, blocked);
    assert!(got.ends_with(&[(6, 0), (6, 1), (6, 2)]), "{got:?}");
    assert!(!got.contains(&(2, 0)), "{got:?}");
}

/// A viewer of two tracks; `priority`: the publisher's for the second one.
fn two_tracks(priority: Option<u8>) -> (World, C, [(Source, RequestId); 2]) {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let first = w.live(publisher, viewer, &track("video"));
    let request = w.subscribe(viewer, &track("other"), Params::default());
    let other = Source { priority, ..w.accept(publisher, Known::default()) };
    (w, viewer, [first, (other, request)])
}

#[test]
fn tracks_of_a_viewer_that_gets_half_of_them_take_turns() {
    let (mut w, viewer, [(video, first), (other, second)]) = two_tracks(None);
    w.sink_to(viewer).room = 0;
    for group in 0..20 {
        w.put_group(video, group, 3);
        w.put_group(other, group, 3);
        // A group is 300 bytes and a little; as windows do, room comes in small parts.
        for _ in 0..7 {
            w.sink_to(viewer).room += 50;
            w.run();
        }
    }
    let got = [first, second].map(|request| w.locations(viewer, request).len());
    assert!(got.iter().all(|got| *got >= 15), "{got:?}");
}

/// "the object with the lower Publisher Priority number is sent first" where the subscriber's are equal (draft-18 7.2).
#[test]
fn sound_goes_before_pictures_where_there_is_room_for_one_of_them() {
    let (mut w, viewer, [(video, first), (sound, second)]) = two_tracks(Some(64));
    w.sink_to(viewer).room = 0;
    for group in 0..20 {
        w.put_group(video, group, 6);
        w.put_group(sound, group, 2);
        // Sound needs 220 bytes of a group, pictures three times as much.
        for _ in 0..7 {
            w.sink_to(viewer).room += 50;
            w.run();
        }
    }
    let got = [first, second].map(|request| w.locations(viewer, request).len());
    assert!(got[1] == 40 && got[0] > 10, "{got:?}");
}

#[test]
fn sound_is_urgent_where_pictures_have_filled_the_transport() {
    let (mut w, viewer, [(video, first), (sound, second)]) = two_tracks(Some(64));
    w.sink_to(viewer).room = 150;
    w.sink_to(viewer).reserve = 300;
    w.put_group(video, 0, 3);
    w.put_group(sound, 0, 2);
    let got = [first, second].map(|request| w.locations(viewer, request).len());
    assert_eq!(got, [1, 2], "pictures have no share of what is beyond");
}

#[test]
fn an_object_that_is_too_late_is_left_out() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, stuck) = (w.client(node), w.client(node), w.client(node));
    let (source, _) = w.live(publisher, viewer, &track("video"));
    let timeouts = Timeouts { object: Some(ms(200)), subgroup: None };
    let request = w.subscribe(stuck, &track("video"), Params { timeouts, ..Params::default() });
    w.sink_to(stuck).room = 50;
    let out = w.group(source, 0);
    w.put(source, out, 0, 0..3);
    w.pass(ms(500));
    w.sink_to(stuck).room = usize::MAX;
    w.run();
    assert_eq!(w.locations(stuck, request), []);
    let end = w.c(stuck).streams.first().and_then(|stream| stream.end);
    assert_eq!(end, Some(StreamEnd::Reset(ResetCode::DeliveryTimeout.code())));
    assert!(w.n(node).snapshot().metrics.media.dropped_timeout_total > 0);
}

#[test]
fn stream_limits_of_a_viewer_hold_streams_back_and_no_more() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    // The control stream and one more.
    w.sink_to(viewer).limit = [2, u64::MAX];
    let first = w.subgroup(source, (0, 0), SubgroupFlags::FIRST_OBJECT);
    let second = w.subgroup(source, (0, 1), SubgroupFlags::FIRST_OBJECT);
    w.put(source, first, 0, 0..1);
    w.put(source, second, 0, 1..2);
    assert_eq!(w.locations(viewer, request), [(0, 0)]);
    w.c(publisher).fin(first);
    w.run();
    assert_eq!(w.locations(viewer, request), [(0, 0), (0, 1)]);
}

#[test]
fn a_publisher_that_answers_only_to_end_is_not_asked_again_and_again() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer) = (w.client(node), w.client(node));
    w.publish_namespace(publisher, "live/a");
    w.subscribe(viewer, &track("video"), Params::default());
    let before = w.visits;
    let mut asked = 0;
    for _ in 0..200 {
        for (request, _) in w.all_asked(publisher) {
            asked += 1;
            let source = w.accept_request(publisher, request, Known::default());
            w.done(source, DoneCode::InternalError);
        }
        w.pass(ms(10));
    }
    assert!((2..=9).contains(&asked), "{asked} times in 2 s");
    assert!(w.visits - before < 100, "{} visits", w.visits - before);
}

#[test]
fn a_track_whose_only_source_has_not_answered_is_an_orphan() {
    let mut w = World::new();
    let node = w.node(config("e1"));
    let (publisher, viewer, silent) = (w.client(node), w.client(node), w.client(node));
    let (source, request) = w.live(publisher, viewer, &track("video"));
    w.put_group(source, 0, 1);
    w.publish_namespace(silent, "live/a");
    w.asked(silent);
    w.close(publisher);
    w.pass(secs(11));
    assert_eq!(w.ended(viewer, request), Some(DoneCode::TrackEnded));
    assert_eq!(w.n(node).snapshot().tracks, 0);
}
