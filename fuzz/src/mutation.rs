//! Inputs made of others: what libFuzzer does, without its eyes, for the short run of every test.

/// A generator whose every number follows from its seed.
#[derive(Clone, Copy, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 1).map_or(0, |number| number.checked_rem(bound).unwrap_or(0))
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

/// Bytes that protocols and grammars treat as special.
const TELLING: [u8; 24] = *b"\0\x01\x04\x05\x08\x7f\x80\xff\n\r \"#'(),-=[\\]{}";

/// The longest input made.
const MOST: usize = 4096;

/// One of `seeds`, changed in one to eight places.
pub fn mutate(seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut made = seeds.get(chance.below(seeds.len())).cloned().unwrap_or_default();
    for _ in 0..=chance.below(8) {
        let at = chance.below(made.len() + 1);
        match chance.below(8) {
            0 if at < made.len() => made[at] ^= 1 << chance.below(8),
            1 if at < made.len() => made[at] = TELLING[chance.below(TELLING.len())],
            2 => made.insert(at, chance.byte()),
            3 => made.insert(at, TELLING[chance.below(TELLING.len())]),
            4 => {
                let end = (at + chance.below(16)).min(made.len());
                made.drain(at..end);
            }
            5 => {
                let end = (at + chance.below(32)).min(made.len());
                let copied = made[at..end].to_vec();
                let to = chance.below(made.len() + 1);
                made.splice(to..to, copied);
            }
            6 => {
                let other = seeds.get(chance.below(seeds.len())).map_or(&[][..], Vec::as_slice);
                let from = chance.below(other.len() + 1);
                made.splice(at.., other[from..].iter().copied());
            }
            _ => made.truncate(at),
        }
    }
    made.truncate(MOST);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_inputs_again_and_another_seed_others() {
        let seeds = [b"select 1".to_vec(), b"begin; commit".to_vec()];
        let made = |seed| {
            let mut chance = Chance::new(seed);
            (0..50).map(|_| mutate(&seeds, &mut chance)).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        assert!(made(3).iter().any(|input| !seeds.contains(input)));
    }

    #[test]
    fn nothing_is_made_of_nothing_without_a_fault() {
        let mut chance = Chance::new(7);
        assert!((0..1000).all(|_| mutate(&[], &mut chance).len() <= MOST));
    }
}
