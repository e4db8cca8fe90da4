//! The order of launches: randomised ABBA blocks, so that a drift of the machine falls on both sides alike.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Left or right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// `sides[0]`.
    Left,
    /// `sides[1]`.
    Right,
}

impl Which {
    /// 0 or 1.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The other side.
    pub fn other(self) -> Which {
        match self {
            Which::Left => Which::Right,
            Which::Right => Which::Left,
        }
    }
}

/// The four launches of each block. Orders are drawn in pairs, so that each of the two begins as often as the other.
pub fn blocks(count: u32, seed: u64) -> Vec<[Which; 4]> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut first = Which::Left;
    (0..count)
        .map(|block| {
            first = if block % 2 == 1 {
                first.other()
            } else if random.random() {
                Which::Left
            } else {
                Which::Right
            };
            [first, first.other(), first.other(), first]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_balanced_and_follow_from_the_seed() {
        let orders = blocks(10, 7);
        assert_eq!(orders, blocks(10, 7));
        assert!((0..20).any(|seed| blocks(10, seed) != orders));
        for [a, b, c, d] in &orders {
            assert_eq!((a, b), (d, c));
            assert_ne!(a, b);
        }
        assert_eq!(orders.iter().filter(|order| order[0] == Which::Left).count(), 5);
    }
}
