//! How does our trie compare with those that MQTT brokers use, and with looking at one pattern after the other?
//!
//! No other crate knows `*` and `#` as AMQP means them, so the patterns are those that say the same in MQTT: `+` for one
//! word, `#` at the end only. Keys that a peer wants parsed are parsed before the clock starts. Among 100,000 patterns
//! mqtt_topic_tree 0.1.3 panics (an index out of bounds in `get_subscriptions`), so it is asked among a thousand only.

#[path = "../lib/patterns.rs"]
#[expect(unreachable_pub, reason = "there it is a library's")]
mod patterns;

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use leveret_topic_trie::fuzzing::naive::NaiveTrie;
use leveret_topic_trie::{Syntax, TopicTrie};
use mqtt_topic_engine::{QoS as EngineQoS, TopicPath, TopicPatternPath, TopicRouter};
use mqtt_topic_tree::{QoS as TreeQoS, TopicFilter, TopicName, TopicTree};
use patterns::Patterns;

/// A broker with a few customers, and one with many.
const SIZES: [usize; 2] = [1_000, 100_000];

/// Keys of one iteration.
const KEYS: usize = 1_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// Patterns and keys in MQTT's syntax, without those that have `#` elsewhere than at the end.
fn workload(size: usize) -> Patterns {
    let Patterns { mut pairs, keys } = Patterns::new(size);
    pairs.retain(|(pattern, _)| !pattern.contains("#."));
    for (pattern, _) in &mut pairs {
        *pattern = pattern.replace('.', "/").replace('*', "+");
    }
    let keys = keys.iter().take(KEYS).map(|key| key.replace('.', "/"));
    Patterns {
        pairs,
        keys: keys.collect(),
    }
}

fn ours(workload: &Patterns) -> TopicTrie<u32> {
    let mut trie = TopicTrie::with_syntax(Syntax::MQTT);
    for (pattern, value) in &workload.pairs {
        trie.insert(pattern, *value);
    }
    trie
}

fn engine(workload: &Patterns) -> TopicRouter<u32> {
    let mut router = TopicRouter::new();
    for (pattern, value) in &workload.pairs {
        let pattern = TopicPatternPath::new_from_string(pattern.as_str(), Default::default());
        router.add_subscription(
            pattern.expect("a valid pattern"),
            EngineQoS::AtMostOnce,
            *value,
        );
    }
    router
}

fn tree(workload: &Patterns) -> TopicTree {
    let mut tree = TopicTree::default();
    for (pattern, value) in &workload.pairs {
        let filter = TopicFilter::try_from(pattern.clone()).expect("a valid filter");
        tree.add_subscription(filter, (*value).into(), TreeQoS::Level0);
    }
    tree
}

fn match_keys(c: &mut Criterion) {
    for size in SIZES {
        let workload = workload(size);
        let list = NaiveTrie::from_pairs(Syntax::MQTT, workload.pairs.clone());
        // The list takes its time: a tenth of the keys say enough about it.
        let few = &workload.keys[..KEYS / 10];
        let found_by_list =
            |keys: &[String]| -> usize { keys.iter().map(|key| list.matches(key).count()).sum() };
        let expected = found_by_list(&workload.keys);
        let mut group = c.benchmark_group(format!("trie/match among {size}"));

        group.throughput(Throughput::Elements(KEYS as u64));
        let trie = ours(&workload);
        group.bench_function("leveret", |b| {
            b.iter(|| {
                let mut found = 0;
                for key in &workload.keys {
                    trie.for_each_match(black_box(key), |_| found += 1);
                }
                assert_eq!(found, expected);
            });
        });

        let router = engine(&workload);
        let paths: Vec<_> = workload
            .keys
            .iter()
            .map(|key| TopicPath::new(key.as_str()).expect("a valid topic"))
            .collect();
        group.bench_function("mqtt-topic-engine", |b| {
            b.iter(|| {
                let found: usize = paths
                    .iter()
                    .map(|path| router.get_subscribers(black_box(path)).len())
                    .sum();
                assert_eq!(found, expected);
            });
        });

        if size == SIZES[0] {
            match_in_tree(&mut group, &workload, expected);
        }

        group
            .throughput(Throughput::Elements(few.len() as u64))
            .sample_size(10);
        group.bench_function("one after the other", |b| {
            b.iter(|| black_box(found_by_list(few)));
        });
        group.finish();
    }
}

fn match_in_tree(group: &mut Group<'_>, workload: &Patterns, expected: usize) {
    let tree = tree(workload);
    let names: Vec<_> = workload
        .keys
        .iter()
        .map(|key| TopicName::try_from(key.clone()).expect("a valid topic"))
        .collect();
    group.bench_function("mqtt_topic_tree", |b| {
        b.iter(|| {
            let found: usize = names
                .iter()
                .map(|name| tree.get_subscriptions(black_box(name)).len())
                .sum();
            assert_eq!(found, expected);
        });
    });
}

/// Builds the whole; what the peers want parsed is parsed within the time, as it is for each subscription.
fn insert(c: &mut Criterion) {
    let mut group = c.benchmark_group("trie/insert all");
    for size in SIZES {
        let workload = workload(size);
        group
            .throughput(Throughput::Elements(workload.pairs.len() as u64))
            .sample_size(10);
        group.bench_function(BenchmarkId::new("leveret", size), |b| {
            b.iter_with_large_drop(|| ours(&workload));
        });
        group.bench_function(BenchmarkId::new("mqtt-topic-engine", size), |b| {
            b.iter_with_large_drop(|| engine(&workload));
        });
        group.bench_function(BenchmarkId::new("mqtt_topic_tree", size), |b| {
            b.iter_with_large_drop(|| tree(&workload));
        });
    }
    group.finish();
}

criterion_group!(benches, match_keys, insert);
criterion_main!(benches);
