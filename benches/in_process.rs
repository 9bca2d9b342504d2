//! How many messages a second go from a publisher to a consumer of the same process, on one thread?
//!
//! Publisher and consumer share the thread and tokio's `current_thread` runtime; nothing runs beside them. Each row is a
//! way of taking turns. The last column is what counts: it does not depend on what else the machine does, except that
//! two busy threads of one core slow each other down.

use leveret_benches::{Elapsed, Scale, Stopwatch};
use leveret_broker::{Broker, Client, ConsumeOptions, Consumer, Publish, QueueOptions};

/// A message of ordinary size for events and small jobs.
const BODY: [u8; 100] = [42; 100];

/// The same load several times over: the spread is part of the answer.
const ROUNDS: usize = 5;

const QUEUE: &str = "q";

/// A way of taking turns.
struct Case {
    name: &'static str,
    /// Deliveries are settled by being handed over.
    no_ack: bool,
    /// So many are published, then so many are received. A thousand do not fill the consumer's window.
    batch: usize,
}

const CASES: [Case; 4] = [
    Case {
        name: "auto-ack, a thousand at a time",
        no_ack: true,
        batch: 1_000,
    },
    Case {
        name: "auto-ack, one at a time",
        no_ack: true,
        batch: 1,
    },
    Case {
        name: "acknowledged, a thousand at a time",
        no_ack: false,
        batch: 1_000,
    },
    Case {
        name: "acknowledged, one at a time",
        no_ack: false,
        batch: 1,
    },
];

#[expect(clippy::print_stdout, reason = "this is the result")]
fn main() {
    let messages = Scale::from_args().pick(2_000_000, 2_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there are threads and sockets");
    println!("| way | messages | M/s, best | M per CPU-second, each round | ns CPU each, best |");
    println!("|---|---|---|---|---|");
    for case in &CASES {
        let rounds = runtime.block_on(run(case, messages));
        let cpu_ns: Vec<_> = rounds.iter().map(|it| it.cpu_ns_each(messages)).collect();
        let wall_ns = rounds.iter().map(|it| it.wall_ns_each(messages));
        let per_cpu: Vec<_> = cpu_ns.iter().map(|ns| format!("{:.2}", 1e3 / ns)).collect();
        println!(
            "| {} | {messages} | {:.2} | {} | {:.0} |",
            case.name,
            1e3 / wall_ns.fold(f64::INFINITY, f64::min),
            per_cpu.join(" "),
            cpu_ns.iter().copied().fold(f64::INFINITY, f64::min),
        );
    }
}

async fn run(case: &Case, messages: usize) -> Vec<Elapsed> {
    let (_broker, client, mut consumer) =
        start(case).await.expect("an empty broker refuses nothing");
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let stopwatch = Stopwatch::start();
        for _ in 0..messages / case.batch {
            for _ in 0..case.batch {
                drop(client.publish(Publish::to_queue(QUEUE, &BODY)));
            }
            for _ in 0..case.batch {
                let delivery = consumer.recv().await.expect("it was published");
                assert_eq!(delivery.body().len(), BODY.len());
                if !case.no_ack {
                    delivery.ack();
                }
            }
        }
        rounds.push(stopwatch.elapsed());
    }
    let info = client
        .queue_info(QUEUE)
        .await
        .expect("the queue is still there");
    assert_eq!((info.ready, info.unacked), (0, 0), "nothing is left over");
    rounds
}

async fn start(case: &Case) -> Result<(Broker, Client, Consumer), leveret_broker::Error> {
    let broker = Broker::builder().start().await?;
    let client = broker.client()?;
    client.declare_queue(QUEUE, QueueOptions::default()).await?;
    let options = ConsumeOptions {
        no_ack: case.no_ack,
        ..ConsumeOptions::default()
    };
    let consumer = client.consume(QUEUE, options).await?;
    Ok((broker, client, consumer))
}
