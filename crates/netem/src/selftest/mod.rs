//! What an engine is worth on this machine: packets through links of known conditions, judged by those who send and
//! receive them.
//!
//! [`measure`] runs four trials over links that an engine makes: a delay, a loss, a rate, and a load. How packets get to
//! such a link is the engine's business; [`Stream::between`] sends and receives them where it gives two sockets.
//! [`proxy`] does all of it for the proxy over loopback:
//!
//! ```no_run
//! for check in sluice_netem::selftest::proxy()?.checks() {
//!     println!("{check}");
//! }
//! # Ok::<(), sluice_netem::selftest::SelfTestError>(())
//! ```

mod stream;
mod verdict;

pub use stream::{Arrival, Stream, Traffic};
pub use verdict::Check;

use crate::lateness::Lateness;
use crate::model::{Capacity, Direction, Loss, Queue, Rate, Ratio, Span};
use crate::proxy::{Config, Handle, Proxy, ProxyError};
use serde::Serialize;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The delay of all links that are measured.
const DELAY: Duration = Duration::from_millis(50);
/// Share lost on the link whose losses are counted.
const LOSS_PERCENT: u8 = 5;
/// Rate of the link whose rate is measured, in bit/s.
const RATE: u64 = 50_000_000;

/// Single packets, 1,000 a second, as an application with a clock sends them.
const TICKS: Stream = Stream { packets: 3000, payload: 200, every: Duration::from_millis(1), burst: 1 };
/// Enough packets for a share of 5 % to be known to 0.15 %.
const MANY: Stream = Stream { packets: 20_000, payload: 200, every: Duration::from_millis(1), burst: 10 };
/// 67 Mbit/s into [`RATE`].
const GREEDY: Stream = Stream { packets: 14_000, payload: 1172, every: Duration::from_millis(1), burst: 7 };
/// A little more than 1 Gbit/s of 1,200 bytes: 106 a millisecond.
const GIGABIT: Stream = Stream { packets: 212_000, payload: 1172, every: Duration::from_micros(500), burst: 53 };

/// What an engine is worth on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SelfTest {
    /// Which engine.
    pub engine: String,
    /// What a delay of 50 ms is.
    pub delay: DelayError,
    /// What a loss of 5 % is.
    pub loss: LossShare,
    /// What 50 Mbit/s are, in bit/s.
    pub rate: f64,
    /// What a link carries.
    pub throughput: Throughput,
}

/// By how much a packet is later than its delay says, the way through the kernel included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DelayError {
    /// Of half of the packets at most this, in microseconds.
    pub p50_us: f64,
    /// Of 99 % of them.
    pub p99_us: f64,
    /// Of all of them.
    pub max_us: f64,
    /// What the engine itself says.
    pub lateness: Lateness,
}

/// Packets that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LossShare {
    /// The share that was asked for.
    pub expected: f64,
    /// The share that was lost.
    pub measured: f64,
    /// Standard deviation of such a share over as many packets.
    pub sigma: f64,
}

/// What a link carries.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Throughput {
    /// What was offered, in bit/s.
    pub offered: f64,
    /// What arrived.
    pub delivered: f64,
    /// Share of a core that the engine took.
    pub core: f64,
    /// What the engine itself says of its lateness.
    pub lateness: Lateness,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    /// No proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// A socket failed.
    #[error("sending and receiving over loopback: {0}")]
    Io(#[from] io::Error),
    /// A trial gave no packets to judge by.
    #[error("nothing arrived over a link with {0}")]
    Nothing(&'static str),
}

/// A stream over a link, and what the engine says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What was sent and what arrived.
    pub traffic: Traffic,
    /// How late the engine was.
    pub lateness: Lateness,
    /// CPU time of the engine meanwhile.
    pub cpu: Duration,
}

/// Judges an engine by what `trial` sees of streams over links of given conditions, which takes about ten seconds.
///
/// # Errors
/// A trial fails, or nothing arrives.
pub fn measure<E: From<SelfTestError>>(
    engine: &str,
    mut trial: impl FnMut(Direction, Stream) -> Result<Trial, E>,
) -> Result<SelfTest, E> {
    let wire = Direction::delayed(Span::saturating(DELAY));
    let loss = Loss::Random(Ratio::percent(LOSS_PERCENT));
    let queue = Queue::Time(Span::from_millis(50));
    let ticks = trial(wire.clone(), TICKS)?;
    let many = trial(wire.clone().with_loss(loss), MANY)?;
    let greedy = trial(wire.clone().with_bottleneck(Capacity::Rate(Rate::clamped(RATE)), queue), GREEDY)?;
    let gigabit = trial(wire, GIGABIT)?;
    Ok(SelfTest {
        engine: engine.to_owned(),
        delay: ticks.delay().ok_or(SelfTestError::Nothing("a delay of 50 ms"))?,
        loss: many.loss(loss),
        rate: greedy.traffic.rate().ok_or(SelfTestError::Nothing("a rate of 50 Mbit/s"))?,
        throughput: gigabit.throughput().ok_or(SelfTestError::Nothing("1 Gbit/s"))?,
    })
}

/// Measures the proxy over loopback, which takes about ten seconds.
///
/// # Errors
/// No proxy can be had, or nothing arrives.
pub fn proxy() -> Result<SelfTest, SelfTestError> {
    measure("proxy", proxy_trial)
}

fn proxy_trial(conditions: Direction, stream: Stream) -> Result<Trial, SelfTestError> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sender, receiver) = (UdpSocket::bind(anywhere)?, UdpSocket::bind(anywhere)?);
    let config = Config { seed: 1, ..Config::new(conditions, Direction::default()) };
    let proxy = Proxy::bind(anywhere, receiver.local_addr()?, config)?;
    let (to, handle) = (proxy.local_addr(), proxy.handle());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| proxy.run());
        let stop = Stop(&handle);
        let before = handle.report().proxy.cpu_us;
        let traffic = stream.between(&sender, to, receiver);
        let report = handle.report();
        drop(stop);
        running.join().map_err(|_| io::Error::other("the proxy panicked"))??;
        let cpu = Duration::from_micros(report.proxy.cpu_us.saturating_sub(before));
        Ok(Trial { traffic: traffic?, lateness: report.lateness, cpu })
    })
}

/// Lets the proxy's thread end whatever happens to the trial.
struct Stop<'a>(&'a Handle);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Trial {
    fn delay(&self) -> Option<DelayError> {
        let error = |arrival: &Arrival| micros(arrival.received.saturating_sub(arrival.sent)) - micros(DELAY);
        let mut errors: Vec<f64> = self.traffic.arrivals.iter().map(error).collect();
        errors.sort_unstable_by(f64::total_cmp);
        let at =
            |percent: usize| errors.get((errors.len() * percent / 100).min(errors.len().saturating_sub(1))).copied();
        Some(DelayError { p50_us: at(50)?, p99_us: at(99)?, max_us: at(100)?, lateness: self.lateness })
    }

    fn loss(&self, loss: Loss) -> LossShare {
        let (expected, packets) = (loss.mean(), f64::from(self.traffic.stream.packets));
        let sigma = (expected * (1.0 - expected) * loss.correlation() / packets).sqrt();
        LossShare { expected, measured: 1.0 - self.traffic.share(), sigma }
    }

    fn throughput(&self) -> Option<Throughput> {
        let offered = self.traffic.offered();
        // What arrives later than it was sent arrives closer together, which is no higher throughput.
        let delivered = self.traffic.rate()?.min(offered * self.traffic.share());
        // Packets are sent for most of the time, and the engine rests for the remainder.
        let core = self.cpu.as_secs_f64() / self.traffic.sending.as_secs_f64();
        Some(Throughput { offered, delivered, core, lateness: self.lateness })
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests;
