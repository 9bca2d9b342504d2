//! Rights that somebody outside of the broker has to be asked for, for clients in the process.

mod support;

use std::time::Duration;

use leveret_broker::{
    Broker, Client, ConsumeOptions, Error, ExchangeOptions, ExchangeType, Publish, QueueOptions,
    VirtualClock,
};
use support::backend::Backend;
use support::{beside, pass, until};

async fn client(backend: &Backend, broker: &Broker) -> Client {
    let ann = backend.identity("ann");
    broker.client_for(&ann, "/").await.unwrap()
}

/// A client, and a queue that somebody else has declared.
async fn with_queue() -> (Backend, Broker, Client) {
    let backend = Backend::new();
    let broker = backend.broker().await;
    let operator = broker.client().unwrap();
    let declared = operator.declare_queue("q", QueueOptions::default());
    declared.await.unwrap();
    let client = client(&backend, &broker).await;
    (backend, broker, client)
}

/// Everything that waits in a queue.
async fn bodies(broker: &Broker, queue: &str) -> Vec<String> {
    let messages = broker.client().unwrap().browse(queue, usize::MAX).await;
    let messages = messages.unwrap();
    let bodies = messages.iter().map(|message| message.body().to_vec());
    bodies
        .map(|body| String::from_utf8(body).unwrap())
        .collect()
}

#[tokio::test]
async fn a_client_waits_for_the_answers_that_it_needs() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    let client = client(&backend, &broker).await;
    assert_eq!(backend.asked(), ["vhost /"]);
    let named = client
        .declare_queue("", QueueOptions::default())
        .await
        .unwrap();
    assert_eq!(backend.asked(), [format!("configure queue {}", named.name)]);
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("q", "amq.topic", "k").await.unwrap();
    let published = Publish::to_exchange("amq.topic", "k", b"m");
    client.publish(published).await.unwrap();
    let wanted = [
        "configure queue q",
        "write queue q",
        "read exchange amq.topic",
        "read topic k of amq.topic",
        "write exchange amq.topic",
        "write topic k of amq.topic",
    ];
    assert_eq!(backend.asked(), wanted);
    let mut consumer = client
        .consume("q", ConsumeOptions::default())
        .await
        .unwrap();
    consumer.recv().await.unwrap().ack();
    assert_eq!(client.purge_queue("q").await.unwrap(), 0);
    assert_eq!(backend.asked(), ["read queue q"], "once");
}

#[tokio::test]
async fn a_virtual_host_that_is_refused_gives_no_client() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    backend.refuse(["vhost /"]);
    let refused = broker.client_for(&backend.identity("ann"), "/").await;
    let refused = refused.unwrap_err();
    assert!(refused.is_not_allowed());
    assert_eq!(
        refused.to_string(),
        "access to vhost '/' refused for user 'ann'"
    );
    assert_eq!(broker.connections().await.len(), 0);
}

/// Nobody awaits the publishes, and what comes behind them waits for them all the same.
#[tokio::test]
async fn publishes_that_wait_keep_their_place() {
    let backend = Backend::new();
    let broker = backend.broker().await;
    let client = client(&backend, &broker).await;
    client
        .declare_queue("q", QueueOptions::default())
        .await
        .unwrap();
    client.bind_queue("q", "amq.topic", "#").await.unwrap();
    client
        .publish(Publish::to_queue("q", b"known"))
        .await
        .unwrap();
    backend.hold();
    for n in 0..5 {
        let (key, body) = (format!("k{n}"), format!("asked {n}"));
        drop(client.publish(Publish::to_exchange("amq.topic", &key, body.as_bytes())));
        // It is known that this may be published, but not yet its turn.
        let body = format!("known {n}");
        drop(client.publish(Publish::to_queue("q", body.as_bytes())));
    }
    backend.until_asked().await;
    assert_eq!(bodies(&broker, "q").await, ["known"]);
    // The exchange, and a key each. The right to look at a queue comes behind them.
    backend.release(7);
    let info = client.queue_info("q").await.unwrap();
    assert_eq!(info.ready, 11);
    let wanted = (0..5).flat_map(|n| [format!("asked {n}"), format!("known {n}")]);
    let wanted: Vec<_> = std::iter::once("known".to_owned()).chain(wanted).collect();
    assert_eq!(bodies(&broker, "q").await, wanted);
}

/// The client is dropped, and what it has published is not.
#[tokio::test]
async fn publishes_that_nobody_waits_for_are_made() {
    let (backend, broker, client) = with_queue().await;
    backend.hold();
    drop(client.publish(Publish::to_queue("q", b"m")));
    drop(client);
    backend.until_asked().await;
    backend.release(1);
    until("the message", || {
        broker
            .queues("/")
            .unwrap()
            .iter()
            .any(|queue| queue.ready == 1)
    })
    .await;
}

#[tokio::test]
async fn what_waits_is_limited() {
    let (backend, _broker, client) = with_queue().await;
    backend.hold();
    let confirms: Vec<_> = (0..1024)
        .map(|_| client.publish(Publish::to_queue("q", b"m")))
        .collect();
    let refused = client
        .publish(Publish::to_queue("q", b"m"))
        .await
        .unwrap_err();
    let text = "too many messages wait until it is known whether they may be published";
    assert_eq!(refused.to_string(), text);
    backend.release_all();
    for confirm in confirms {
        confirm.await.unwrap();
    }
    // In bytes, however few they are.
    backend.hold();
    let large = vec![0; 9 * 1024 * 1024];
    let publish = || client.publish(Publish::to_exchange("amq.direct", "q", &large));
    let first = publish();
    assert_eq!(publish().await.unwrap_err().to_string(), text);
    backend.release_all();
    first.await.unwrap();
}

#[tokio::test]
async fn refusals_are_those_that_accounts_give() {
    let backend = Backend::new();
    backend.answer_late();
    let broker = backend.broker().await;
    let client = client(&backend, &broker).await;
    backend.rule(|question| match question {
        "write exchange amq.fanout" => Err(leveret_broker::Unavailable::new("gone")),
        _ => Ok(false),
    });
    let words = |error: Error| {
        assert!(error.is_access_refused());
        error.to_string()
    };
    let refused = client.declare_queue("q", QueueOptions::default()).await;
    assert_eq!(
        words(refused.unwrap_err()),
        "access to queue 'q' in vhost '/' refused for user 'ann'"
    );
    for exchange in ["amq.topic", "amq.fanout"] {
        let refused = client.publish(Publish::to_exchange(exchange, "k", b"m"));
        assert_eq!(
            words(refused.await.unwrap_err()),
            format!("access to exchange '{exchange}' in vhost '/' refused for user 'ann'")
        );
    }
    let exchange = client.declare_exchange("x", ExchangeType::Direct, ExchangeOptions::default());
    assert!(exchange.await.unwrap_err().is_access_refused());
}

#[tokio::test]
async fn clones_ask_at_the_same_time_and_get_what_they_asked_for() {
    let backend = Backend::new();
    backend.answer_late();
    let builder = Broker::builder().verdict_ttl(Duration::ZERO);
    let broker = backend.broker_with(builder).await;
    let client = client(&backend, &broker).await;
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let client = client.clone();
            beside(async move {
                let named = client.declare_queue("", QueueOptions::default()).await?;
                let queue = format!("q{n}");
                client
                    .declare_queue(&queue, QueueOptions::default())
                    .await?;
                client.bind_queue(&queue, "amq.topic", &queue).await?;
                let published = Publish::to_exchange("amq.topic", &queue, queue.as_bytes());
                client.publish(published).await?;
                let delivery = client.get(&queue).await?.expect("it was published");
                assert_eq!(delivery.message().body(), queue.as_bytes());
                delivery.ack();
                Ok::<_, Error>(named.name)
            })
        })
        .collect();
    let mut names = Vec::new();
    for task in tasks {
        names.push(task.await.unwrap().unwrap());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 20, "each queue has its own name");
}

#[tokio::test]
async fn a_call_that_is_dropped_has_done_nothing() {
    let (backend, clock) = (Backend::new(), VirtualClock::new());
    let builder = Broker::builder().virtual_clock(clock.clone());
    let broker = backend.broker_with(builder).await;
    let client = client(&backend, &broker).await;
    backend.hold();
    tokio::select! {
        biased;
        _ = client.declare_queue("q", QueueOptions::default()) => panic!("nobody has answered"),
        () = backend.until_asked() => {}
    }
    assert_eq!(backend.waiting(), 0);
    assert_eq!(broker.queues("/").unwrap().len(), 0);
    // Others have their turn.
    let declared = beside({
        let client = client.clone();
        async move { client.declare_queue("r", QueueOptions::default()).await }
    });
    backend.until_asked().await;
    pass(&broker, &clock, 15_000).await;
    let refused = declared.await.unwrap().unwrap_err();
    assert!(refused.is_access_refused(), "no answer in time");
}
