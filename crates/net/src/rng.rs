//! Seedable random numbers for jitter, sampling and schedules.
//!
//! xoshiro256++ seeded by splitmix64 (both public domain, by Blackman and Vigna): 20 lines that replay from one
//! `u64`, which neither `rand`'s thread generator nor a library's default does. Not for secrets: those come from
//! [`crate::keys::NodeKey`].

use std::time::Duration;

/// A generator; equal seeds give equal sequences on every platform.
#[derive(Debug, Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    /// A generator that replays from `seed`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| splitmix64(&mut state)))
    }

    /// A generator seeded by the operating system.
    #[must_use]
    pub fn from_entropy() -> Self {
        Self::from_seed(u64::from_le_bytes(crate::keys::entropy()))
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let out = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        out
    }

    /// A number below `bound`; 0 for a bound of 0. Bias is below 2^-32 for bounds below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(u64::MAX)
    }

    /// `base` moved by at most `percent` per cent in either direction.
    pub fn jitter(&mut self, base: Duration, percent: u8) -> Duration {
        let span = base * u32::from(percent.min(100)) / 100;
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX / 2);
        base - span + Duration::from_nanos(self.below(nanos.saturating_mul(2).saturating_add(1)))
    }

    /// Fills `out`.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers() {
        let (mut a, mut b, mut c) = (Rng::from_seed(7), Rng::from_seed(7), Rng::from_seed(8));
        assert_eq!(a.next_u64(), b.next_u64());
        assert_ne!(a.next_u64(), c.next_u64());
        assert!((0..1000).all(|_| a.below(10) < 10));
        assert_eq!(a.below(0), 0);
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let mut rng = Rng::from_seed(1);
        let base = Duration::from_millis(100);
        for _ in 0..1000 {
            let d = rng.jitter(base, 20);
            assert!(d >= Duration::from_millis(80) && d <= Duration::from_millis(120), "{d:?}");
        }
    }
}
