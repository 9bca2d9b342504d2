//! How long does it take to match a key, and to add and remove a pattern, among a thousand and a hundred thousand of
//! them? How much memory does a pattern take? And what would a list of patterns take that is searched from end to end?

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use leveret_benches::{Patterns, resident_bytes};
use leveret_topic_trie::fuzzing::naive::NaiveTrie;
use leveret_topic_trie::{Syntax, TopicTrie};

/// A broker with a few customers, and one with very many.
const SIZES: [usize; 2] = [1_000, 100_000];

fn trie_of(workload: &Patterns) -> TopicTrie<u32> {
    let pairs = workload.pairs.iter();
    pairs.map(|(pattern, value)| (pattern, *value)).collect()
}

fn list_of(workload: &Patterns) -> NaiveTrie<u32> {
    NaiveTrie::from_pairs(Syntax::AMQP, workload.pairs.clone())
}

/// Asserts that trie and list find the same, for as many keys as the list manages in a moment.
fn check(workload: &Patterns, trie: &TopicTrie<u32>, list: &NaiveTrie<u32>) {
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
        let workload = Patterns::new(size);
        let (trie, list) = (trie_of(&workload), list_of(&workload));
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
        let workload = Patterns::new(size);
        group
            .throughput(Throughput::Elements(size as u64))
            .sample_size(20);
        group.bench_function(BenchmarkId::new("trie", size), |b| {
            b.iter_with_large_drop(|| {
                let trie = trie_of(&workload);
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
        let workload = Patterns::new(size);
        let full = trie_of(&workload);
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
        let workload = Patterns::new(size);
        let (mut trie, mut list) = (trie_of(&workload), list_of(&workload));
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

/// Prints how much the process grows with a trie, large enough for that to be exact.
#[expect(clippy::print_stdout, reason = "this is the result")]
fn report_memory(_: &mut Criterion) {
    let workload = Patterns::new(1_000_000);
    let before = resident_bytes();
    let trie = trie_of(&workload);
    let bytes = resident_bytes().saturating_sub(before) / trie.len();
    println!("trie/memory: {bytes} bytes a pattern, its value of four bytes included");
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
