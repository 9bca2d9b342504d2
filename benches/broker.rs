//! How long does a message take through a whole broker, from a publisher to its consumers in the same process: settled
//! or not, to one queue and to two hundred? Sockets and frames are not in it.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leveret_broker::{Broker, Client, ConsumeOptions, Consumer, Publish, QueueOptions};
use tokio::runtime::Runtime;

/// A message of ordinary size for events and small jobs.
const BODY: [u8; 100] = [42; 100];

/// Messages that wait for their consumer in one iteration; fewer than fill its window of 512 KiB.
const BATCH: usize = 1_000;

/// A broker with as many queues, all bound to `amq.fanout`, each with a consumer. The runtime is the broker's: it must
/// outlive it, and has nothing to do while messages stay in the process.
struct Rig {
    runtime: Runtime,
    _broker: Broker,
    client: Client,
    consumers: Vec<Consumer>,
}

impl Rig {
    fn new(queues: usize, no_ack: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("there are threads and sockets");
        let (broker, client, consumers) = runtime
            .block_on(Self::start(queues, no_ack))
            .expect("an empty broker refuses nothing");
        Self {
            runtime,
            _broker: broker,
            client,
            consumers,
        }
    }

    async fn start(
        queues: usize,
        no_ack: bool,
    ) -> Result<(Broker, Client, Vec<Consumer>), leveret_broker::Error> {
        let broker = Broker::builder().start().await?;
        let client = broker.client()?;
        let mut consumers = Vec::new();
        for at in 0..queues {
            let name = format!("q{at}");
            client.declare_queue(&name, QueueOptions::default()).await?;
            client.bind_queue(&name, "amq.fanout", "").await?;
            let options = ConsumeOptions {
                no_ack,
                ..ConsumeOptions::default()
            };
            consumers.push(client.consume(&name, options).await?);
        }
        Ok((broker, client, consumers))
    }

    /// Everything that was published has been received and settled.
    fn check_empty(&self) {
        for at in 0..self.consumers.len() {
            let info = self
                .runtime
                .block_on(self.client.queue_info(&format!("q{at}")))
                .expect("the queue is there");
            assert_eq!((info.ready, info.unacked, info.consumers), (0, 0, 1));
        }
    }
}

/// Takes the message that must be there.
fn receive(consumer: &mut Consumer, no_ack: bool) {
    let delivery = consumer.try_recv().expect("it was published");
    assert_eq!(delivery.body(), BODY);
    if !no_ack {
        delivery.ack();
    }
}

/// One message at a time to a consumer that waits, and a thousand at a time to one that comes later.
fn publish_and_consume(c: &mut Criterion) {
    let mut group = c.benchmark_group("broker/in process");
    for (name, no_ack) in [("no ack", true), ("ack", false)] {
        let mut rig = Rig::new(1, no_ack);
        let publish = Publish::to_queue("q0", &BODY);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("publish, consume, {name}"), |b| {
            b.iter(|| {
                drop(rig.client.publish(publish.clone()));
                receive(&mut rig.consumers[0], no_ack);
            });
        });
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(format!("publish 1000, consume 1000, {name}"), |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    drop(rig.client.publish(publish.clone()));
                }
                for _ in 0..BATCH {
                    receive(&mut rig.consumers[0], no_ack);
                }
            });
        });
        rig.check_empty();
    }
    group.finish();
}

/// One message to every queue of a fanout exchange; the time is for all of them.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("broker/fan-out");
    for queues in [1, 10, 200] {
        for (name, no_ack) in [("no ack", true), ("ack", false)] {
            let mut rig = Rig::new(queues, no_ack);
            let publish = Publish::to_exchange("amq.fanout", "", &BODY);
            group.throughput(Throughput::Elements(queues as u64));
            group.bench_function(format!("to {queues} queues, {name}"), |b| {
                b.iter(|| {
                    drop(rig.client.publish(publish.clone()));
                    for consumer in &mut rig.consumers {
                        receive(consumer, no_ack);
                    }
                });
            });
            rig.check_empty();
        }
    }
    group.finish();
}

criterion_group!(benches, publish_and_consume, fan_out);
criterion_main!(benches);
