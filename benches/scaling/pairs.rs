//! Producers and consumers on queues that have nothing to do with each other: they share no lock that would make them
//! wait, so a message takes as much processor time with four pairs as with one.

use std::sync::Arc;
use std::sync::Barrier;
use std::thread;

use leveret_benches::{Elapsed, Scale, Stopwatch};
use leveret_broker::{Broker, Client, ConsumeOptions, Consumer, Publish, QueueOptions};

/// Messages between two turns of a pair; they do not fill the consumer's window.
const BATCH: usize = 100;

const BODY: [u8; 100] = [42; 100];

/// Prints messages a second, and a CPU-second, for one, two and four pairs, each pair a thread.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn report(scale: Scale) {
    let messages = scale.pick(3_000_000, 3_000);
    println!("\n| pairs | M/s | M per CPU-second | ns CPU each |\n|---|---|---|---|");
    for pairs in [1, 2, 4] {
        let all = run(pairs, messages);
        let wall = all.iter().map(|elapsed| elapsed.wall).max();
        let wall = wall.expect("there is a pair").as_secs_f64();
        let cpu: f64 = all.iter().map(|elapsed| elapsed.cpu.as_secs_f64()).sum();
        let total = (pairs * messages) as f64;
        println!(
            "| {pairs} | {:.2} | {:.2} | {:.0} |",
            total / wall / 1e6,
            total / cpu / 1e6,
            cpu * 1e9 / total
        );
    }
}

fn run(pairs: usize, messages: usize) -> Vec<Elapsed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there are threads and sockets");
    let broker = runtime.block_on(Broker::builder().start());
    let broker = broker.expect("nothing stands in its way");
    let together = Arc::new(Barrier::new(pairs));
    let threads: Vec<_> = (0..pairs)
        .map(|pair| {
            let (client, consumer) = runtime
                .block_on(start(&broker, &name(pair)))
                .expect("an empty broker refuses nothing");
            let together = Arc::clone(&together);
            thread::Builder::new().spawn(move || {
                together.wait();
                work(&client, consumer, &name(pair), messages)
            })
        })
        .collect();
    let elapsed = threads.into_iter().map(|thread| {
        let thread = thread.expect("the machine has threads");
        thread.join().expect("no pair panics")
    });
    elapsed.collect()
}

fn name(pair: usize) -> String {
    format!("q{pair}")
}

async fn start(broker: &Broker, queue: &str) -> Result<(Client, Consumer), leveret_broker::Error> {
    let client = broker.client()?;
    client.declare_queue(queue, QueueOptions::default()).await?;
    let options = ConsumeOptions {
        no_ack: true,
        ..ConsumeOptions::default()
    };
    let consumer = client.consume(queue, options).await?;
    Ok((client, consumer))
}

fn work(client: &Client, mut consumer: Consumer, queue: &str, messages: usize) -> Elapsed {
    let stopwatch = Stopwatch::start();
    for _ in 0..messages / BATCH {
        for _ in 0..BATCH {
            drop(client.publish(Publish::to_queue(queue, &BODY)));
        }
        for _ in 0..BATCH {
            assert!(consumer.try_recv().is_some(), "it was published");
        }
    }
    stopwatch.elapsed()
}
