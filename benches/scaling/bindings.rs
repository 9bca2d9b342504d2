//! Topic bindings: what a match among them takes, and how much memory each one holds.

use foldhash::fast::RandomState;
use leveret_benches::{Patterns, Scale, Stopwatch};
use leveret_broker::{Broker, Client, QueueOptions};
use leveret_topic_trie::TopicTrie;

use crate::memory::Growth;

/// Every power of ten up to a million, or two of them.
fn sizes(scale: Scale) -> &'static [usize] {
    let full: &[usize] = &[100, 1_000, 10_000, 100_000, 1_000_000];
    scale.pick(full, &full[..2])
}

/// Prints the time of a match in the trie, as an exchange has it, for keys of which every other matches.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn report_matching(scale: Scale) {
    println!(
        "\n| patterns | ns CPU a match | patterns found by a key | bytes a key |\n|---|---|---|---|"
    );
    for &size in sizes(scale) {
        let patterns = Patterns::new(size);
        let mut trie = TopicTrie::with_hasher(RandomState::default());
        for (pattern, value) in &patterns.pairs {
            trie.insert(pattern, *value);
        }
        let keys = &patterns.keys;
        let rounds = scale.pick(20, 1);
        let stopwatch = Stopwatch::start();
        let mut found = 0;
        for key in keys.iter().cycle().take(keys.len() * rounds) {
            trie.for_each_match(key, |_| found += 1);
        }
        let matches = keys.len() * rounds;
        println!(
            "| {size} | {:.0} | {:.2} | {} |",
            stopwatch.elapsed().cpu_ns_each(matches),
            found as f64 / matches as f64,
            keys.iter().map(String::len).sum::<usize>() / keys.len()
        );
    }
}

/// Prints how the process grows with bindings of one queue to a topic exchange.
pub(crate) fn report_memory(scale: Scale) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there are threads and sockets");
    runtime
        .block_on(bind(sizes(scale)))
        .expect("a binding to what exists is not refused");
}

#[expect(clippy::print_stdout, reason = "this is the result")]
async fn bind(sizes: &[usize]) -> Result<(), leveret_broker::Error> {
    let broker = Broker::builder().start().await?;
    let client: Client = broker.client()?;
    client.declare_queue("q", QueueOptions::default()).await?;
    let patterns = Patterns::new(sizes.last().copied().unwrap_or_default());
    let mut growth = Growth::start();
    let mut bound = 0;
    for &size in sizes {
        for (pattern, _) in &patterns.pairs[bound..size] {
            client.bind_queue("q", "amq.topic", pattern).await?;
        }
        bound = size;
        growth.note(size);
    }
    growth.report("bindings");
    let bytes: usize = patterns.pairs.iter().map(|(key, _)| key.len()).sum();
    println!("a binding key has {} bytes", bytes / patterns.pairs.len());
    Ok(())
}
