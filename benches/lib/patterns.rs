//! Topic patterns and keys as applications use them, the same in every run.

use std::iter;

/// How many keys there are, enough for most of a trie to be visited.
const KEYS: usize = 10_000;

/// Different words at each place of a pattern, so that two patterns often begin alike but seldom are.
const WORDS: u64 = 200;

/// Numbers that look random and are the same in every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn words(&mut self) -> [String; 4] {
        ["city", "shop", "goods", "event"].map(|kind| format!("{kind}{}", self.below(WORDS)))
    }

    fn key(&mut self) -> String {
        self.words().join(".")
    }

    /// A pattern of the kinds that applications use: most know exactly what they want, some leave a word open, and a few
    /// want everything of a kind.
    fn pattern(&mut self) -> String {
        let [a, b, c, d] = self.words();
        match self.below(100) {
            0..40 => format!("{a}.{b}.{c}.{d}"),
            40..65 => format!("{a}.{b}.*.{d}"),
            65..85 => format!("{a}.{b}.{c}.#"),
            85..95 => format!("*.{b}.{c}.{d}"),
            95..98 => format!("{a}.{b}.#"),
            _ => format!("#.{c}.{d}"),
        }
    }

    /// A key that `pattern` matches.
    fn key_for(&mut self, pattern: &str) -> String {
        let words = pattern.split('.').map(|word| match word {
            "*" | "#" => format!("any{}", self.below(WORDS)),
            word => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(".")
    }
}

/// Patterns with their values, and keys of which every other is matched by one of the patterns at least.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// Each pattern with its number.
    pub pairs: Vec<(String, u32)>,
    /// Ten thousand keys.
    pub keys: Vec<String>,
}

impl Patterns {
    /// As many patterns.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let mut numbers = Numbers(7);
        let pairs: Vec<_> = iter::repeat_with(|| numbers.pattern())
            .take(size)
            .zip(0..)
            .collect();
        let keys = (0..KEYS).map(|index| match index % 2 {
            0 => numbers.key(),
            _ => {
                let chosen = numbers.below(size as u64) as usize;
                numbers.key_for(&pairs[chosen].0)
            }
        });
        let keys = keys.collect();
        Self { pairs, keys }
    }
}
