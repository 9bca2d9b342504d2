//! How long does it take to match a key, and to add and remove a pattern, among a thousand and a hundred thousand of
//! them? How much memory does a pattern take? And what would a list of patterns take that is searched from end to end?

use std::hint::black_box;
use std::{fs, iter};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leveret_topic_trie::fuzzing::naive::NaiveTrie;
use leveret_topic_trie::{Syntax, TopicTrie};

/// A broker with a few customers, and one with very many.
const SIZES: [usize; 2] = [1_000, 100_000];

/// The keys that a bench goes through, enough for most of the trie to be visited.
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
struct Workload {
    pairs: Vec<(String, u32)>,
    keys: Vec<String>,
}

impl Workload {
    fn new(size: usize) -> Self {
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

    fn trie(&self) -> TopicTrie<u32> {
        self.pairs
            .iter()
            .map(|(pattern, value)| (pattern, *value))
            .collect()
    }

    fn list(&self) -> NaiveTrie<u32> {
        NaiveTrie::from_pairs(Syntax::AMQP, self.pairs.clone())
    }
}

/// Asserts that trie and list find the same, for as many keys as the list manages in a moment.
fn check(workload: &Workload, trie: &TopicTrie<u32>, list: &NaiveTrie<u32>) {
    let looked_at = 1_000_000 / workload.pairs.len();
    for key in workload.keys.iter().take(looked_at) {
        let mut found: Vec<_> = trie.matches(key).collect();
        let mut expected: Vec<_> = list.matches(key).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{key}");
    }
}

fn match_key(c: &mut Criterion) {
    let mut group = c.benchmark_group("trie/match");
    for size in SIZES {
        let workload = Workload::new(size);
        let (trie, list) = (workload.trie(), workload.list());
        check(&workload, &trie, &list);
        let mut keys = workload.keys.iter().cycle();
        group
            .sample_size(100)
            .bench_function(BenchmarkId::new("trie", size), |b| {
                b.iter(|| {
                    let mut found = 0;
                    trie.for_each_match(keys.next().expect("a cycle"), |_| found += 1);
                    found
                });
            });
        group
            .sample_size(10)
            .bench_function(BenchmarkId::new("list", size), |b| {
                b.iter(|| list.matches(keys.next().expect("a cycle")).count());
            });
    }
    group.finish();
}

fn match_many_hashes(c: &mut Criterion) {
    let pattern = format!("{}#", "#.a.".repeat(62));
    let key = vec!["a"; 127].join(".");
    let trie = TopicTrie::from([(pattern, 0), (format!("{}#.b", "#.a.".repeat(61)), 1)]);
    assert_eq!(trie.matches(&key).collect::<Vec<_>>(), [&0]);
    c.bench_function("trie/match/sixty hashes, key of 127 words", |b| {
        b.iter(|| trie.for_each_match(black_box(&key), |value| _ = black_box(value)));
    });
}

fn insert_all(c: &mut Criterion) {
    let mut group = c.benchmark_group("trie/insert all");
    for size in SIZES {
        let workload = Workload::new(size);
        group
            .throughput(Throughput::Elements(size as u64))
            .sample_size(20);
        group.bench_function(BenchmarkId::new("trie", size), |b| {
            b.iter_with_large_drop(|| {
                let trie = workload.trie();
                assert_eq!(trie.len(), size);
                trie
            });
        });
    }
    group.finish();
}

fn remove_all(c: &mut Criterion) {
    let mut group = c.benchmark_group("trie/remove all");
    for size in SIZES {
        let workload = Workload::new(size);
        let full = workload.trie();
        group
            .throughput(Throughput::Elements(size as u64))
            .sample_size(20);
        group.bench_function(BenchmarkId::new("trie", size), |b| {
            let empty = |mut trie: TopicTrie<u32>| {
                for (pattern, value) in &workload.pairs {
                    trie.remove(pattern, value);
                }
                assert!(trie.is_empty());
                trie
            };
            b.iter_batched(|| full.clone(), empty, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn replace_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("trie/remove one and insert it again");
    for size in SIZES {
        let workload = Workload::new(size);
        let (mut trie, mut list) = (workload.trie(), workload.list());
        let mut pairs = workload.pairs.iter().cycle();
        group
            .sample_size(100)
            .bench_function(BenchmarkId::new("trie", size), |b| {
                b.iter(|| {
                    let (pattern, value) = pairs.next().expect("a cycle");
                    assert!(trie.remove(pattern, value) && trie.insert(pattern, *value));
                });
            });
        group
            .sample_size(10)
            .bench_function(BenchmarkId::new("list", size), |b| {
                b.iter(|| {
                    let (pattern, value) = pairs.next().expect("a cycle");
                    assert!(list.remove(pattern, value) && list.insert(pattern, *value));
                });
            });
        assert_eq!(trie.len(), size);
    }
    group.finish();
}

/// Prints how much the process grows with a trie, large enough for that to be exact. Linux only, with pages of 4 KiB.
#[expect(clippy::print_stdout, reason = "this is the result")]
fn report_memory(_: &mut Criterion) {
    let resident = || -> Option<usize> {
        let pages = fs::read_to_string("/proc/self/statm").ok()?;
        Some(pages.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
    };
    let workload = Workload::new(1_000_000);
    let before = resident();
    let trie = workload.trie();
    if let (Some(before), Some(after)) = (before, resident()) {
        let bytes = after.saturating_sub(before) / trie.len();
        println!("trie/memory: {bytes} bytes a pattern, its value of four bytes included");
    }
}

criterion_group!(
    benches,
    report_memory,
    match_key,
    match_many_hashes,
    insert_all,
    remove_all,
    replace_one
);
criterion_main!(benches);
