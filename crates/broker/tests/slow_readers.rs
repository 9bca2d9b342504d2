//! Clients that read late, and get everything all the same.

mod support;

use leveret_broker::{Broker, Client, Publish, QueueOptions};
use support::{Greeting, Wire, broker};

/// How many messages one burst has. They are there at once, so that a connection takes more than the socket has room for.
const BURST: usize = 100;

/// Sends bursts to a client that reads only afterwards. True when they were more than socket and window take.
async fn read_after(broker: &Broker, client: &Client, bursts: usize) -> bool {
    let mut wire = Wire::dial_narrow(broker).await;
    Greeting::default().shake_hands(&mut wire).await;
    wire.consume_no_ack("q").await;
    let mut sent = 0;
    for _ in 0..bursts {
        for _ in 0..BURST {
            let body = format!("{sent:01000}");
            drop(client.publish(Publish::to_queue("q", body.as_bytes())));
            sent += 1;
        }
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }
    let kept = usize::try_from(client.purge_queue("q").await.unwrap()).unwrap();
    let bodies = wire.deliveries(sent - kept).await;
    for (n, body) in bodies.iter().enumerate() {
        assert_eq!(body.parse::<usize>().unwrap(), n);
    }
    wire.close().await;
    kept > 0
}

/// Whatever the socket had room for: a connection must come back by itself to deliveries that it has taken and could not
/// write, because nothing else reminds it when nothing new comes.
#[tokio::test]
async fn what_did_not_fit_the_socket_follows_though_nothing_new_comes() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    let mut bursts = 1;
    while !read_after(&broker, &client, bursts).await {
        bursts += 1;
    }
}
