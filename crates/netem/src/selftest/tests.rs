//! Figures and verdicts from traffic that is made up: time is virtual, the link is the model itself.

use super::*;
use crate::model::{Key, Link, Verdict, Way, packet_bytes};

/// An engine without lateness: it asks the model and adds `extra` to each delay.
fn ideal(conditions: Direction, stream: Stream, extra: Duration) -> Trial {
    let mut link = Link::new(Key::new(1, 0, Way::Forward), conditions);
    let bytes = packet_bytes(stream.payload, &SocketAddr::from(([127, 0, 0, 1], 1)));
    let mut arrivals = Vec::new();
    for number in 0..stream.packets {
        let sent = stream.every * (number / stream.burst);
        if let Verdict::Deliver { at, .. } = link.offer(sent, bytes) {
            arrivals.push(Arrival { number, sent, received: at + extra });
        }
    }
    let sending = stream.every * (stream.packets / stream.burst);
    let traffic = Traffic { stream, packet_bytes: bytes, sending, arrivals };
    Trial { traffic, lateness: Lateness::default(), cpu: sending / 4 }
}

fn measured(extra: Duration) -> SelfTest {
    measure::<SelfTestError>("ideal", |conditions, stream| Ok(ideal(conditions, stream, extra))).unwrap()
}

#[test]
fn the_model_itself_passes() {
    let test = measured(Duration::from_micros(60));
    assert!(test.is_good(), "{:#?}", test.checks());
    assert!((test.delay.p50_us - 60.0).abs() < 0.1 && (test.rate / 50e6 - 1.0).abs() < 0.002, "{test:?}");
    assert!((test.throughput.core - 0.25).abs() < 1e-9);
}

#[test]
fn each_bound_is_judged_by_itself() {
    let good = measured(Duration::ZERO);
    let mut late = good.clone();
    late.delay.p50_us = -201.0;
    let mut uneven = good.clone();
    uneven.delay.p99_us = 1001.0;
    let mut lossy = good.clone();
    lossy.loss.measured = 0.055;
    let slow = SelfTest { rate: 49.4e6, ..good.clone() };
    let mut thin = good.clone();
    thin.throughput.delivered = 0.9e9;
    let mut costly = good;
    costly.throughput.core = 0.41;
    for (number, test) in [late, uneven, lossy, slow, thin, costly].iter().enumerate() {
        let missed: Vec<_> = test.checks().iter().map(|check| !check.is_met).collect();
        assert_eq!(missed, (0..6).map(|check| check == number).collect::<Vec<_>>());
        assert!(!test.is_good() && test.checks()[number].to_string().starts_with("MISSED"));
    }
}

#[test]
fn a_link_that_swallows_everything_is_an_error() {
    let nothing = |conditions, stream| {
        let mut trial = ideal(conditions, stream, Duration::ZERO);
        trial.traffic.arrivals.clear();
        Ok::<_, SelfTestError>(trial)
    };
    let error = measure("nothing", nothing).unwrap_err().to_string();
    assert_eq!(error, "nothing arrived over a link with a delay of 50 ms");
}
