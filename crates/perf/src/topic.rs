//! Patterns and keys for topic exchanges, with the answer which pattern matches which key.

use std::collections::HashMap;

use crate::tally::mix;

/// How many different words there are at each level. With 200 there are 1.6 billion keys, so that 100,000 patterns overlap
/// a little and no more.
const WORDS_A_LEVEL: u64 = 200;

/// How many words a key has.
const LEVELS: usize = 4;

/// How a pattern is made of a key. In percent, how many of the patterns are of this shape: mostly exact, as
/// subscriptions are, and a few that are expensive to match.
const SHAPES: [(Shape, u64); 6] = [
    (Shape::Exact, 40),
    (Shape::ThirdFree, 25),
    (Shape::LastFree, 20),
    (Shape::FirstFree, 10),
    (Shape::TwoFixed, 3),
    (Shape::EndFixed, 2),
];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    /// `a.b.c.d`
    Exact,
    /// `a.b.*.d`
    ThirdFree,
    /// `a.b.c.#`
    LastFree,
    /// `*.b.c.d`
    FirstFree,
    /// `a.b.#`
    TwoFixed,
    /// `#.c.d`
    EndFixed,
}

impl Shape {
    /// The pattern of this shape that matches a key. It is the only one: a key of four words is matched by a pattern of
    /// this shape exactly when this gives that pattern.
    fn pattern(self, [a, b, c, d]: [u64; LEVELS]) -> String {
        match self {
            Self::Exact => format!("a{a}.b{b}.c{c}.d{d}"),
            Self::ThirdFree => format!("a{a}.b{b}.*.d{d}"),
            Self::LastFree => format!("a{a}.b{b}.c{c}.#"),
            Self::FirstFree => format!("*.b{b}.c{c}.d{d}"),
            Self::TwoFixed => format!("a{a}.b{b}.#"),
            Self::EndFixed => format!("#.c{c}.d{d}"),
        }
    }
}

/// Bindings of a topic exchange, and keys that each match at least one of them.
#[derive(Debug)]
pub(crate) struct Topics {
    /// The patterns, in the order in which the queues take turns in having them.
    pub(crate) patterns: Vec<String>,
    /// The keys to publish with.
    pub(crate) keys: Vec<String>,
    /// For each key the queues that are to get its messages, in ascending order and each once.
    pub(crate) hits: Vec<Vec<u32>>,
}

impl Topics {
    /// Makes up patterns, the first for queue 0, the next for queue 1 and so on in turn, and keys. The same numbers give
    /// the same topics, always.
    pub(crate) fn new(patterns: usize, queues: u32, keys: usize) -> Self {
        let mut random = Random(0);
        let drawn: Vec<(Shape, [u64; LEVELS])> = (0..patterns)
            .map(|_| (random.shape(), random.key()))
            .collect();
        let patterns: Vec<String> = drawn
            .iter()
            .map(|(shape, key)| shape.pattern(*key))
            .collect();
        let mut queues_of: HashMap<&str, Vec<u32>> = HashMap::new();
        for (pattern, queue) in patterns.iter().zip((0..queues).cycle()) {
            queues_of.entry(pattern).or_default().push(queue);
        }

        let mut texts = Vec::with_capacity(keys);
        let mut hits = Vec::with_capacity(keys);
        for _ in 0..keys {
            let (shape, basis) = drawn[random.below_len(drawn.len())];
            let key = random.vary(shape, basis);
            texts.push(Shape::Exact.pattern(key));
            let mut queues: Vec<u32> = SHAPES
                .iter()
                .filter_map(|(shape, _)| queues_of.get(shape.pattern(key).as_str()))
                .flatten()
                .copied()
                .collect();
            queues.sort_unstable();
            queues.dedup();
            hits.push(queues);
        }
        Self {
            patterns,
            keys: texts,
            hits,
        }
    }
}

/// SplitMix64: all that is asked of it is to be the same each time.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 += 1;
        mix(self.0) % end
    }

    fn below_len(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or_default()
    }

    fn key(&mut self) -> [u64; LEVELS] {
        std::array::from_fn(|_| self.below(WORDS_A_LEVEL))
    }

    fn shape(&mut self) -> Shape {
        let mut draw = self.below(100);
        for (shape, percent) in SHAPES {
            if draw < percent {
                return shape;
            }
            draw -= percent;
        }
        Shape::Exact
    }

    /// A key that the pattern of this shape and basis matches: words that it leaves free are drawn anew.
    fn vary(&mut self, shape: Shape, [a, b, c, d]: [u64; LEVELS]) -> [u64; LEVELS] {
        let [w, x, y, z] = self.key();
        match shape {
            Shape::Exact => [a, b, c, d],
            Shape::ThirdFree => [a, b, y, d],
            Shape::LastFree => [a, b, c, z],
            Shape::FirstFree => [w, b, c, d],
            Shape::TwoFixed => [a, b, y, z],
            Shape::EndFixed => [w, x, c, d],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// AMQP's rules for topics, word by word.
    fn matches(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (["#", rest @ ..], _) => {
                matches(rest, key) || matches!(key, [_, tail @ ..] if matches(pattern, tail))
            }
            (["*", rest @ ..], [_, tail @ ..]) => matches(rest, tail),
            ([word, rest @ ..], [first, tail @ ..]) => word == first && matches(rest, tail),
            _ => false,
        }
    }

    #[test]
    fn hits_are_those_of_the_rules_of_amqp() {
        const QUEUES: u32 = 10;
        let topics = Topics::new(2_000, QUEUES, 500);
        let mut several = 0;
        for (key, hits) in topics.keys.iter().zip(&topics.hits) {
            let words: Vec<&str> = key.split('.').collect();
            let mut wanted: Vec<u32> = topics
                .patterns
                .iter()
                .zip((0..QUEUES).cycle())
                .filter(|(pattern, _)| matches(&pattern.split('.').collect::<Vec<_>>(), &words))
                .map(|(_, queue)| queue)
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            assert_eq!(*hits, wanted, "{key}");
            assert!(!hits.is_empty(), "{key} goes nowhere");
            several += usize::from(hits.len() > 1);
        }
        assert!(several > 0, "no key that matches for two queues");
    }

    #[test]
    fn they_are_the_same_each_time() {
        let (one, other) = (Topics::new(50, 3, 20), Topics::new(50, 3, 20));
        assert_eq!((one.patterns, one.keys), (other.patterns, other.keys));
    }

    #[test]
    fn shares_of_shapes_add_up() {
        assert_eq!(SHAPES.iter().map(|(_, percent)| percent).sum::<u64>(), 100);
    }
}
