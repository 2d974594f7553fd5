//! The controller itself: which phase, which window. See the module's page for the why.

use super::base::Base;
use super::growth::{Growth, NARROW, grew, holds_back, in_use, is_full, is_narrow, is_slow, time};
use super::noise::{self, Noise};
use super::rival::{Cubic, Used};
use super::round::{Ack, Round, Summary};
use super::train::Train;
use std::time::{Duration, Instant};

/// First window in packets, as Chromium's QUIC has it: the pacer spreads them over a round trip.
pub(super) const INITIAL_PACKETS: u64 = 32;
/// First window at most, however long and fast the path.
const INITIAL_MOST: u64 = 4096;
/// Least window in packets (BBR's MinPipeCwnd).
const LEAST_PACKETS: u64 = 4;
/// A standing queue is half the base round trip, within these bounds: above what receivers add by delaying ACKs
/// (25 ms) on long paths, and small enough to be drained within a frame.
const QUEUE_LEAST: Duration = Duration::from_millis(15);
const QUEUE_MOST: Duration = Duration::from_millis(50);
/// A shorter base counts as that much. A receiver may add 25 ms before it acknowledges (RFC 9000 18.2, the default
/// `max_ack_delay`), and on a path of 1 ms a busy sender and receiver add as much again: a window has to last until the
/// ACK comes, and a round trip of 75 ms costs nobody live media.
const BASE_LEAST: Duration = Duration::from_millis(50);
/// Part of the path's own content that stays in flight while a queue drains, so that the base is seen.
const DRAIN: f64 = 0.9;
/// Most that one cut takes, unless the queue is [`Level::Heavy`] or overflows a narrow path: a rate measured in a bad
/// moment, or a base that jitter seldom shows, asks for too much.
const CUT: f64 = 0.5;
/// A queue of ours shrinks with the window: to this part at least, after a cut.
const FOLLOWS: f64 = 0.75;
/// Cuts in a row, one per round, that the queue may leave unanswered: what was on its way at the first still comes.
const FUTILE: u8 = 2;
/// Rounds in which the window fills the path before the base is looked at again.
const HOLD: u8 = 32;
/// Loss in one round that no random loss explains (the worst that must be carried is 20 %), and the least sample.
const EXCESS: f64 = 0.4;
const EXCESS_PACKETS: u64 = 64;
/// Loss that says, beside a standing queue, that the queue overflows.
const OVERFLOW: f64 = 0.2;
/// Reduction on excess loss and ECN marks, CUBIC's.
const BACK_OFF: f64 = 0.7;
/// Start-up ends after so many full rounds in which the rate has not grown by a quarter (BBR 5.3.1.2).
const STALLS: u8 = 3;
/// Pause before a shared queue is tested again; doubles while it stays shared.
const RETRY: Duration = Duration::from_secs(4);
const RETRY_MOST: Duration = Duration::from_secs(32);
/// Packets in flight, few as they may be, make a queue on a slow path that no window ends: two of a sender that had no
/// more, as many as the least window has of one that did. And how much of that is believed of a rate that the
/// application may have limited, or that was measured of a few packets.
const FEW: u64 = 2;
const FEW_MOST: Duration = Duration::from_millis(200);
const LEAST_MOST: Duration = Duration::from_millis(600);
/// Packets that quinn-proto's pacer sends at once.
const BURST: u64 = 10;
/// A path was freed when a round trip is this part of what the pacer remembers, shorter by so much, and carries so many
/// times as much under a window of so few packets.
const FREED: u32 = 4;
const FREED_BY: Duration = Duration::from_millis(100);
const FREED_RATE: f64 = 4.0;
const FREED_PACKETS: u64 = 8;
/// A smoothed round trip that is so many times too long is left to shrink by itself.
const STRETCHED: f64 = 1.5;
/// A queue whose shortest is at least this part of its longest is no queue: the path has become longer.
const LEVEL: f64 = 0.8;

/// Congestion control for live media: windows from what the path has shown, queues instead of losses as the sign.
#[derive(Debug, Clone)]
pub(super) struct Live {
    window: u64,
    mtu: u64,
    /// Bytes per second for which the first window lasts, up to [`INITIAL_MOST`] packets.
    first_rate: u64,
    base: Base,
    round: Round,
    phase: Phase,
    growth: Growth,
    noise: Noise,
    train: Train,
    /// By how much the window that quinn-proto sees is larger, for its pacer: 1, but for a while after a path was freed.
    stretch: f64,
    /// When the window was last lowered: what was sent before tells nothing new (RFC 9002 7.3.2).
    reduced: Instant,
    /// Rounds in which the window filled the path.
    held: u8,
    retry: Duration,
}

#[derive(Debug, Clone)]
enum Phase {
    /// Doubling until the path shows a limit.
    Startup { rate: u64, stalls: u8 },
    /// The window is large enough, or opens carefully.
    Steady,
    /// The window was cut because of a standing queue.
    Draining(Drain),
    /// Others keep the queue standing.
    Sharing(Sharing),
}

#[derive(Debug, Clone)]
struct Drain {
    /// Window to go back to if the queue turns out to be someone else's, as far as it fitted the path.
    before: u64,
    /// At the last cut.
    queue: Duration,
    /// Cuts without an answer that are left.
    left: u8,
    /// Where a queue that was shared before is tested again.
    cubic: Option<Cubic>,
}

#[derive(Debug, Clone)]
struct Sharing {
    cubic: Cubic,
    retry_at: Instant,
    /// Longest queue seen: a loss counts while the queue is at least half as long.
    peak: Duration,
    /// Shortest queue seen.
    trough: Duration,
}

impl Sharing {
    fn new(view: &View, cubic: Cubic, pause: Duration) -> Self {
        Self { cubic, retry_at: view.now + pause, peak: view.queue, trough: view.queue }
    }
}

impl Live {
    pub(super) fn new(now: Instant, mtu: u64, first_rate: u64) -> Self {
        Self {
            window: INITIAL_PACKETS * mtu,
            mtu,
            first_rate,
            base: Base::new(now),
            round: Round::new(now),
            phase: Phase::Startup { rate: 0, stalls: 0 },
            growth: Growth::new(),
            noise: Noise::new(now),
            train: Train::default(),
            stretch: 1.0,
            reduced: now,
            held: 0,
            retry: RETRY,
        }
    }

    pub(super) fn window(&self) -> u64 {
        scaled(self.window, self.stretch)
    }

    pub(super) fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.window = self.window.max(self.least());
    }

    pub(super) fn on_ack(&mut self, ack: &Ack) {
        if self.is_starting() {
            self.train.on_ack(ack.sent, ack.bytes);
        }
        // The packets of a batch left together, and an ACK frame names many: they tell one round trip.
        if self.round.has_sample_of(ack.sent) {
            return self.round.on_more(ack);
        }
        let rtt = ack.now.saturating_duration_since(ack.sent);
        if self.base.get().is_none() {
            let first = scaled(self.first_rate, rtt.as_secs_f64()).min(INITIAL_MOST * self.mtu);
            self.window = self.window.max(first);
        }
        self.base.on_sample(rtt);
        self.noise.on_sample(rtt);
        self.round.on_ack(ack);
    }

    /// `sent`: the newest of the lost packets.
    pub(super) fn on_lost(&mut self, sent: Instant, bytes: u64) {
        self.round.on_lost(sent, bytes);
    }

    pub(super) const fn on_mark(&mut self) {
        self.round.on_mark();
    }

    /// Nothing came through for several probe timeouts: whatever was known of the path is void (RFC 9002 7.6).
    pub(super) fn on_blackout(&mut self, now: Instant) {
        *self =
            Self { base: self.base.clone(), noise: self.noise.clone(), ..Self::new(now, self.mtu, self.first_rate) };
    }

    /// All packets of one ACK frame are counted.
    pub(super) fn end_batch(&mut self, now: Instant, in_flight: u64) {
        self.noise.end_batch();
        self.heed_train(now);
        let Some(round) = self.round.end_batch(now, in_flight) else { return };
        let Some(base) = self.base.get() else { return };
        let view = View::new(now, base, round, self.mtu, self.noise.level(now));
        self.on_round(&view);
        // What a shared queue hides is not forgotten.
        if matches!(self.phase, Phase::Sharing(_)) {
            self.base.keep(now);
        } else {
            self.base.age(now);
        }
        self.window = self.window.max(self.least());
    }

    /// A start into a narrow path ends as soon as its first packets are heard of: the rest of the window would be lost.
    fn heed_train(&mut self, now: Instant) {
        if !self.is_starting() {
            return;
        }
        let Some((rate, base)) = self.train.end_batch(now, self.mtu).zip(self.base.get()) else { return };
        let most = scaled(rate, (base.max(BASE_LEAST) + FEW_MOST).as_secs_f64()).max(self.least());
        if time(self.mtu, rate) >= NARROW && self.window > most {
            self.window = most;
            self.growth = Growth::from_proof(most, rate);
            self.reduced = now;
            self.phase = Phase::Steady;
        }
    }

    const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Startup { .. })
    }

    fn on_round(&mut self, view: &View) {
        let freed = self.is_freed(view);
        if freed {
            self.growth = Growth::new();
            self.phase = Phase::Startup { rate: 0, stalls: 0 };
        }
        if freed || self.stretch > 1.0 {
            let remembered = view.round.smoothed.div_duration_f64(view.round.least_rtt.max(BASE_LEAST));
            self.stretch = if remembered > STRETCHED { remembered } else { 1.0 };
        }
        match self.phase.clone() {
            Phase::Startup { rate, stalls } => self.start_up(view, rate, stalls),
            Phase::Steady => self.go_on(view),
            Phase::Draining(drain) => self.check(view, drain),
            Phase::Sharing(sharing) => self.share(view, sharing),
        }
    }

    fn start_up(&mut self, view: &View, rate: u64, stalls: u8) {
        let round = &view.round;
        let used = holds_back(self.window, round);
        // A handshake's few packets, acknowledged late, are no queue of ours.
        let queued = view.stands() && (round.peak_flight >= INITIAL_PACKETS * self.mtu || self.overflows(view));
        if self.is_bad(view) || queued || (used && view.fills()) {
            self.phase = Phase::Steady;
            return self.go_on(view);
        }
        if !used {
            return;
        }
        let stalled = is_full(round) && !grew(rate, round.rate, 1.25);
        let stalls = if stalled { stalls + 1 } else { 0 };
        if stalls >= STALLS {
            self.window = self.window.min(2 * view.content(1.0));
            self.phase = Phase::Steady;
            return;
        }
        self.window *= 2;
        self.phase = Phase::Startup { rate: rate.max(round.rate), stalls };
    }

    fn go_on(&mut self, view: &View) {
        if view.stands() {
            return self.cut(view, Drain { before: self.window, queue: view.queue, left: FUTILE, cubic: None });
        }
        // A full path that drops is shared or shallow: loss is congestion there, whatever its cause.
        if self.is_bad(view) || (view.fills() && self.drops(view)) {
            self.reduced = view.now;
            self.window = scaled(self.window, BACK_OFF);
            self.growth = Growth::new();
            return;
        }
        if view.fills() && view.is_foreign() {
            // As it was known to be: on as before.
            let cubic = Cubic::new(view.now, to_f64(self.window));
            self.phase = Phase::Sharing(Sharing::new(view, cubic, self.retry));
            return;
        }
        if view.fills() {
            self.held += 1;
            if self.held >= HOLD {
                self.cut(view, Drain { before: self.window, queue: view.queue, left: FUTILE, cubic: None });
            }
            return;
        }
        self.window = self.growth.next(self.window, &view.round, self.mtu);
    }

    /// Cuts the window to what the path itself holds at the rate that came through; `drain` says what went before.
    fn cut(&mut self, view: &View, drain: Drain) {
        self.growth = Growth::new();
        self.held = 0;
        let used = self.window.min(view.round.peak_flight);
        // On a narrow path what overflows is ours, and half of it would overflow again.
        let certain = view.level == Level::Heavy || (self.overflows(view) && is_slow(&view.round, self.mtu));
        let least = if certain { 0 } else { scaled(used, CUT) };
        self.window = self.window.min(view.content(DRAIN).max(least)).max(self.least());
        // Whoever's the queue is: a window of which so much is lost is too large.
        let before = if self.overflows(view) { self.window } else { drain.before };
        self.reduced = view.now;
        self.phase = Phase::Draining(Drain { before, ..drain });
    }

    /// A round after a cut: the queue is gone, shrinks, or was not ours.
    fn check(&mut self, view: &View, drain: Drain) {
        let follows = view.queue <= drain.queue.mul_f64(FOLLOWS);
        if follows && !view.lingers() {
            self.retry = RETRY;
            self.phase = Phase::Steady;
            return;
        }
        let left = if follows { drain.left } else { drain.left.saturating_sub(1) };
        if left > 0 {
            return self.cut(view, Drain { queue: view.queue, left, ..drain });
        }
        self.noise.tolerate(view.now, drain.queue.min(view.queue));
        self.window = drain.before;
        self.reduced = view.now;
        if !view.lingers() {
            self.phase = Phase::Steady;
            return;
        }
        let cubic = drain.cubic.unwrap_or_else(|| Cubic::new(view.now, to_f64(self.window)));
        self.phase = Phase::Sharing(Sharing::new(view, cubic, self.retry));
        self.retry = (self.retry * 2).min(RETRY_MOST);
    }

    fn share(&mut self, view: &View, mut sharing: Sharing) {
        if !view.lingers() {
            self.phase = Phase::Steady;
            return;
        }
        sharing.peak = sharing.peak.max(view.queue);
        sharing.trough = sharing.trough.min(view.queue);
        if view.now >= sharing.retry_at && is_full(&view.round) {
            if sharing.trough >= sharing.peak.mul_f64(LEVEL) {
                self.base.replace(view.now, view.round.least_rtt);
                self.phase = Phase::Steady;
                return;
            }
            // No change of the path is being followed, so that one cut must do.
            let cubic = Some(sharing.cubic);
            return self.cut(view, Drain { before: self.window, queue: view.queue, left: 1, cubic });
        }
        let congested = view.round.marked || (self.drops(view) && view.queue >= sharing.peak / 2);
        if congested {
            self.reduced = view.now;
            sharing.cubic.on_loss(view.now);
        } else {
            let used = if in_use(self.window, &view.round) { Used::Fully } else { Used::Partly };
            sharing.cubic.on_round(view.now, to_f64(self.mtu), used);
        }
        self.window = scaled(1, sharing.cubic.window());
        self.phase = Phase::Sharing(sharing);
    }

    /// A path that was next to nothing is wide again. quinn-proto's pacer spreads the window over a smoothed round trip
    /// that remembers the queue for dozens of samples: a few packets a second, unless it sees a larger window.
    fn is_freed(&self, view: &View) -> bool {
        let Summary { least_rtt, smoothed, rate, carried, .. } = view.round;
        self.window <= FREED_PACKETS * self.mtu
            && smoothed > least_rtt * FREED
            && smoothed - least_rtt > FREED_BY
            && carried > 0
            && grew(carried, rate, FREED_RATE)
    }

    fn is_bad(&self, view: &View) -> bool {
        let round = &view.round;
        round.marked || (self.drops(view) && round.loss > EXCESS && round.seen >= EXCESS_PACKETS * self.mtu)
    }

    /// Of what was sent since the last reduction, something was lost.
    fn drops(&self, view: &View) -> bool {
        view.round.newest_lost.is_some_and(|sent| sent > self.reduced)
    }

    /// Beside a standing queue: it is full.
    fn overflows(&self, view: &View) -> bool {
        self.drops(view) && view.round.loss > OVERFLOW
    }

    const fn least(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }
}

/// A finished round and what it means.
struct View {
    now: Instant,
    base: Duration,
    /// Wait of the luckiest packet.
    queue: Duration,
    level: Level,
    /// The wait that turned out to be someone else's.
    foreign: Duration,
    round: Summary,
}

/// How much of a queue there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// None, as far as jitter lets one see.
    Clear,
    /// More than a sender under pressure should add, and than ours leaves behind after a cut.
    Lingers,
    /// It has to go.
    Stands,
    /// Twice that: nothing but a queue is so long.
    Heavy,
}

impl View {
    fn new(now: Instant, base: Duration, round: Summary, mtu: u64, noise: noise::Level) -> Self {
        let few = if is_narrow(&round, mtu) {
            time(LEAST_PACKETS * mtu, round.rate).min(LEAST_MOST)
        } else {
            time(FEW * mtu, round.rate).min(FEW_MOST)
        };
        let base = base.max(BASE_LEAST).max(few);
        let queue = round.least_rtt.saturating_sub(base);
        // The pacer sends bursts, which at low rates queue behind themselves.
        let burst = time(BURST * mtu, round.rate).min(QUEUE_LEAST);
        let bound = (base / 2).clamp(QUEUE_LEAST, QUEUE_MOST);
        let stands = (bound + burst + noise.jitter).max(noise.foreign);
        let level = if queue > stands * 2 {
            Level::Heavy
        } else if queue > stands {
            Level::Stands
        } else if queue > bound / 2 + burst + noise.jitter {
            Level::Lingers
        } else {
            Level::Clear
        };
        Self { now, base, queue, level, foreign: noise.foreign, round }
    }

    fn stands(&self) -> bool {
        self.level >= Level::Stands
    }

    fn lingers(&self) -> bool {
        self.level >= Level::Lingers
    }

    /// We alone could have filled the path.
    fn fills(&self) -> bool {
        self.lingers() && is_full(&self.round)
    }

    /// Others have kept such a queue standing not long ago.
    fn is_foreign(&self) -> bool {
        self.queue <= self.foreign
    }

    /// Bytes that the empty path holds at the rate of this round, times `gain`.
    fn content(&self, gain: f64) -> u64 {
        scaled(self.round.rate, gain * self.base.as_secs_f64())
    }
}

const fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive; float casts saturate, and fractions of a byte do not matter"
)]
const fn scaled(bytes: u64, factor: f64) -> u64 {
    (to_f64(bytes) * factor) as u64
}
