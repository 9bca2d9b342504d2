//! Queues: how much memory one holds that is empty, and one with a consumer.

use leveret_benches::Scale;
use leveret_broker::{Broker, ConsumeOptions, QueueOptions};

use crate::memory::Growth;

/// Prints how the process grows with queues, by themselves and with a consumer in this process each.
pub(crate) fn report(scale: Scale) {
    let full: &[usize] = &[1_000, 10_000, 100_000, 1_000_000];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there are threads and sockets");
    runtime
        .block_on(declare(
            scale.pick(full, &full[..1]),
            scale.pick(100_000, 1_000),
        ))
        .expect("a queue that does not exist is not refused");
}

async fn declare(sizes: &[usize], consumers: usize) -> Result<(), leveret_broker::Error> {
    let broker = Broker::builder().start().await?;
    let client = broker.client()?;
    let mut growth = Growth::start();
    let mut declared = 0;
    for &size in sizes {
        for number in declared..size {
            let name = name(number);
            client.declare_queue(&name, QueueOptions::default()).await?;
        }
        declared = size;
        growth.note(size);
    }
    growth.report("queues");

    let mut growth = Growth::start();
    let mut all = Vec::with_capacity(consumers);
    for part in 1..=2 {
        for number in all.len()..consumers * part / 2 {
            let options = ConsumeOptions::default();
            all.push(client.consume(&name(number), options).await?);
        }
        growth.note(all.len());
    }
    growth.report("consumers");
    Ok(())
}

/// Eleven bytes, which each queue keeps.
fn name(number: usize) -> String {
    format!("work{number:07}")
}
