//! The whole broker within one process, on one thread; and its memory of routes.

use leveret_broker::sans_io::{Peer, Routes};
use leveret_broker::{Broker, Client, ConsumeOptions, Consumer, Publish, QueueOptions};

use crate::{Case, measured};

pub(crate) const CASES: &[Case] = &[
    Case::new("broker/route, the same again", || routes(1)),
    Case::new("broker/route, one of 1000", || routes(1_000)),
    Case::new("broker/publish and consume, auto-ack", || {
        in_process(true, "", 1)
    }),
    Case::new("broker/publish, consume, ack", || in_process(false, "", 1)),
    Case::new("broker/publish to 200 queues and consume, each", || {
        in_process(true, "amq.fanout", 200)
    }),
];

const MESSAGES: usize = 1_000;

/// Keys that have been looked up before, as a publisher with so many different ones meets them.
fn routes(keys: usize) -> usize {
    let mut routes: Routes = Peer::new(usize::MAX).routes();
    let keys: Vec<_> = (0..keys).map(|n| format!("shop.berlin.order{n}")).collect();
    let mut look_up = |times: usize| {
        let keys = keys.iter().cycle().take(times);
        keys.map(|key| routes.find("amq.topic", key)).sum::<usize>()
    };
    look_up(MESSAGES);
    assert_eq!(measured(|| look_up(MESSAGES)), 0, "nobody is bound");
    MESSAGES
}

fn in_process(no_ack: bool, exchange: &str, queues: usize) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there are threads and sockets");
    let (_broker, client, mut consumers) = runtime
        .block_on(start(no_ack, queues))
        .expect("an empty broker refuses nothing");
    let publish = Publish::to_exchange(exchange, "q0", &[42; 100]);
    let mut pass = |times: usize| {
        for _ in 0..times {
            drop(client.publish(publish.clone()));
        }
        for consumer in &mut consumers {
            for _ in 0..times {
                let delivery = consumer.try_recv().expect("it was published");
                if !no_ack {
                    delivery.ack();
                }
            }
        }
    };
    // Enough for every list to have found its size.
    let times = MESSAGES / queues;
    pass(times);
    measured(|| pass(times));
    for consumer in &mut consumers {
        assert!(consumer.try_recv().is_none(), "all has been received");
    }
    times * queues
}

async fn start(
    no_ack: bool,
    queues: usize,
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
