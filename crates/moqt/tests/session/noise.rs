//! Random input never panics, and what ends a session is a code that says whose fault it was.

use crate::harness::{Lone, config, done, encode, fetch, goaway, joining, publish, standalone, subscribe, update};
use bytes::Bytes;
use proptest::prelude::*;
use sluice_moqt::Message;
use sluice_moqt::error::SessionCode;
use sluice_moqt::message::{Params, Setup};
use sluice_moqt::session::{Event, Session};
use sluice_moqt::transport::{Side, StreamEvent, StreamId};
use std::time::Duration;

#[derive(Debug, Clone)]
enum Step {
    Stream(u64, StreamEvent),
    Datagram(Vec<u8>),
    Pass(u64),
    Transmit,
    Answer(u64),
}

fn valid_piece() -> impl Strategy<Value = Vec<u8>> {
    (0..8_usize, 0..4_u64).prop_map(|(which, n)| {
        encode(&match which {
            0 => subscribe(2 * n, "x"),
            1 => publish(2 * n, "y", n),
            2 => fetch(2 * n, standalone("x")),
            3 => fetch(2 * n, joining(n)),
            4 => update(2 * n),
            5 => Message::Goaway(goaway(Some(1))),
            6 => Message::PublishDone(done(Some(n))),
            _ => Message::Setup(Setup::default()),
        })
    })
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => valid_piece(),
        1 => valid_piece().prop_flat_map(|bytes| (0..=bytes.len()).prop_map(move |cut| bytes[..cut].to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        // The beginnings of subgroup and fetch streams.
        2 => (0x10_u8..0x16, 0..4_u8).prop_map(|(kind, alias)| vec![kind, alias, 0, 0, 0, 1, b'x']),
        1 => (0..4_u8).prop_map(|id| vec![5, id, 0x1F, 0, 0, 0, 0, 1, b'x']),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        8 => (piece(), prop::bool::weighted(0.2)).prop_map(|(data, fin)| StreamEvent::Data { data: data.into(), fin }),
        1 => (0..8_u64).prop_map(|code| StreamEvent::Reset { code }),
        1 => (0..8_u64).prop_map(|code| StreamEvent::Stopped { code }),
        1 => Just(StreamEvent::Writable),
        1 => Just(StreamEvent::Acked),
    ];
    prop_oneof![
        8 => (0..24_u64, event).prop_map(|(stream, event)| Step::Stream(stream, event)),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Datagram),
        1 => (0..3_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Transmit),
        2 => (0..8_u64).prop_map(Step::Answer),
    ]
}

/// Answers, changes and ends request `id` in every way at once; all but one must be ignored.
fn answer(session: &mut Session, id: u64) {
    let request = sluice_moqt::RequestId(id);
    session.accept_subscribe(request, crate::harness::subscribe_ok(id));
    session.accept_fetch(request, crate::harness::fetch_ok(id));
    session.accept(request, crate::harness::ok());
    session.accept_update(request, sluice_moqt::RequestId(id + 2), crate::harness::ok());
    let _ = session.update(request, Params::default());
    let _ = session.subscribe(crate::harness::track("y"), Params::default());
    if id > 5 {
        session.publish_done(request, done(Some(0)));
        session.fetch_done(request);
    }
}

fn apply(lone: &mut Lone, step: Step) {
    match step {
        Step::Stream(stream, event) => lone.session.handle_stream(lone.now, StreamId(stream), event),
        Step::Datagram(data) => lone.session.handle_datagram(lone.now, Bytes::from(data)),
        Step::Pass(ms) => lone.pass(Duration::from_millis(ms)),
        Step::Transmit => lone.session.transmit(&mut lone.sink),
        Step::Answer(id) => answer(&mut lone.session, id),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_input_never_panics_and_ends_in_a_proper_code(
        side in prop_oneof![Just(Side::Client), Just(Side::Server)],
        ready in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut lone = if ready { Lone::ready(side) } else { Lone::fresh(config(side)) };
        let mut closed = false;
        for step in steps {
            apply(&mut lone, step);
            while let Some(event) = lone.session.poll_event() {
                prop_assert!(!closed, "nothing follows Closed, got {event:?}");
                if let Event::Closed { code, .. } = event {
                    closed = true;
                    prop_assert!(!matches!(code, SessionCode::Unknown(_) | SessionCode::NoError | SessionCode::InternalError));
                }
            }
            prop_assert!(!closed || (lone.session.poll_timeout().is_none() && !lone.session.wants_transmit()));
        }
    }
}
