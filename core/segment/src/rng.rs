//! `Rng`: a small seeded generator, passed as an argument: there is no ambient randomness in the core. The
//! engine makes file ids with it (`file_id`); `recall::sample` draws rows.

use crate::ids::{FileId, mix64};

/// SplitMix64 (Steele, Lea, Flood, 2014): tiny state, any seed is good. Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The same seed gives the same sequence on every machine.
    pub fn new(seed: u64) -> Self {
        Rng { state: seed }
    }

    /// 64 uniform bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix64(self.state)
    }

    /// Uniform in `0..bound` (multiply-shift; bias below 2⁻³² for bounds below 2³²).
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "the range 0..0 has no value");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `[0, 1)`, 24 bits.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1 << 24) as f32
    }

    /// A fresh identity (UUID version 4). It reveals neither the state nor other identities: ids of points are hashed
    /// with it.
    pub fn file_id(&mut self) -> FileId {
        let bits = u128::from(self.one_way()) << 64 | u128::from(self.one_way());
        FileId(bits & !(0xF000 << 64) & !(0xC << 60) | 0x4000 << 64 | 0x8 << 60)
    }

    /// 64 bits from which the state cannot be computed: Davies–Meyer over four rounds of `mix64`.
    fn one_way(&mut self) -> u64 {
        let state = self.next_u64();
        (1..=4).fold(state, |mixed, round| mix64(mixed ^ round)) ^ state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_ids_are_version_4_uuids() {
        let text = Rng::new(7).file_id().to_string();
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
    }

    #[test]
    fn below_stays_below_and_reaches_the_ends() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[rng.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
