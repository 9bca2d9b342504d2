//! Queues that go with their last consumer, and exchanges that go with their last binding.

mod support;

use leveret_amqp_codec::method::{exchange, queue};
use leveret_broker::Broker;
use support::{Wire, broker, short, until};

async fn with_queue(broker: &Broker) -> Wire {
    let mut wire = Wire::open(broker).await;
    wire.declare_queue(&queue::Declare {
        queue: short("q"),
        auto_delete: true,
        ..Default::default()
    })
    .await;
    wire
}

async fn declare_exchange(wire: &mut Wire, name: &str) {
    let declare = exchange::Declare {
        exchange: short(name),
        kind: short("direct"),
        auto_delete: true,
        ..Default::default()
    };
    wire.call(&declare, "exchange.declare-ok").await;
}

async fn has_exchange(wire: &mut Wire, name: &str) -> bool {
    let declare = exchange::Declare {
        exchange: short(name),
        passive: true,
        ..Default::default()
    };
    wire.send(&declare).await;
    let heard = wire.hear().await.unwrap();
    if heard.method().name() == "exchange.declare-ok" {
        return true;
    }
    assert_eq!(heard.into_closed().code, 404);
    wire.send(&leveret_amqp_codec::method::channel::CloseOk {})
        .await;
    wire.open_channel(wire.channel).await;
    false
}

async fn unbind(wire: &mut Wire, queue: &str, exchange: &str, key: &str) {
    let unbind = queue::Unbind {
        queue: short(queue),
        exchange: short(exchange),
        routing_key: short(key),
        ..Default::default()
    };
    wire.call(&unbind, "queue.unbind-ok").await;
}

#[tokio::test]
async fn a_queue_that_never_had_a_consumer_stays() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.publish("", "q", "m").await;
    assert_eq!(wire.drain("q").await, ["m"], "and getting is not consuming");
    wire.close().await;
    Wire::open(&broker).await.look("q").await;
}

#[tokio::test]
async fn a_queue_goes_with_its_last_consumer() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    let mut other = Wire::open(&broker).await;
    wire.consume("q").await;
    other.consume("q").await;
    wire.cancel("q").await;
    assert_eq!(wire.look("q").await.consumers, 1);
    other.cancel("q").await;
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn it_goes_when_the_consumers_channel_closes() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.consume("q").await;
    wire.close_channel().await;
    wire.open_channel(1).await;
    wire.expect_no_queue("q").await;
}

#[tokio::test]
async fn it_goes_when_the_consumers_connection_breaks_and_takes_what_was_unacknowledged_along() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.consume("q").await;
    wire.publish("", "q", "m").await;
    wire.delivery().await;
    drop(wire);
    until("the connection to go", || broker.connection_count() == 0).await;
    assert_eq!(broker.memory_used(), 0);
    Wire::open(&broker).await.expect_no_queue("q").await;
}

#[tokio::test]
async fn what_was_delivered_before_can_still_be_acknowledged() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.publish_all("q", 0..3).await;
    wire.consume("q").await;
    assert_eq!(wire.deliveries(3).await, ["0", "1", "2"]);
    wire.cancel("q").await;
    wire.expect_no_queue("other").await;
    assert_eq!(broker.memory_used(), 0);
    with_queue(&broker).await;
}

#[tokio::test]
async fn acknowledging_what_came_from_a_queue_that_is_gone_is_fine() {
    let broker = broker().await;
    let mut wire = with_queue(&broker).await;
    wire.publish_all("q", 0..3).await;
    wire.consume("q").await;
    wire.deliveries(3).await;
    wire.cancel("q").await;
    wire.ack(1).await;
    wire.nack(2, true).await;
    wire.nack(3, false).await;
    wire.quiet().await;
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn an_exchange_goes_with_its_last_binding_and_not_before_it_had_one() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    declare_exchange(&mut wire, "x").await;
    wire.bind("q", "x", "a").await;
    wire.bind("q", "x", "b").await;
    unbind(&mut wire, "q", "x", "a").await;
    assert!(has_exchange(&mut wire, "x").await);
    unbind(&mut wire, "q", "x", "b").await;
    assert!(!has_exchange(&mut wire, "x").await);

    declare_exchange(&mut wire, "unbound").await;
    unbind(&mut wire, "q", "unbound", "a").await;
    assert!(has_exchange(&mut wire, "unbound").await);
}

#[tokio::test]
async fn an_exchange_goes_when_the_queue_behind_it_does() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    declare_exchange(&mut wire, "x").await;
    wire.bind("q", "x", "").await;
    wire.delete("q").await;
    assert!(!has_exchange(&mut wire, "x").await);
}

#[tokio::test]
async fn exchanges_go_one_after_the_other_and_being_a_destination_saves_none() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    for name in ["a", "b", "c"] {
        declare_exchange(&mut wire, name).await;
    }
    wire.bind_exchange("b", "a", "k").await;
    wire.bind_exchange("c", "b", "k").await;
    wire.bind("q", "c", "k").await;
    wire.publish_mandatory("a", "k", "m").await;
    assert_eq!(wire.drain("q").await, ["m"]);
    wire.delete("q").await;
    for name in ["a", "b", "c"] {
        assert!(
            !has_exchange(&mut wire, name).await,
            "{name} is still there"
        );
    }
}

#[tokio::test]
async fn a_chain_of_thousands_of_exchanges_goes_in_one_sweep() {
    const EXCHANGES: usize = 10_000;
    let broker = broker().await;
    let client = broker.client().unwrap();
    let options = leveret_broker::ExchangeOptions {
        auto_delete: true,
        ..Default::default()
    };
    let kind = leveret_broker::ExchangeType::Fanout;
    for at in 0..EXCHANGES {
        client
            .declare_exchange(&format!("x{at}"), kind, options.clone())
            .await
            .unwrap();
        if at > 0 {
            client
                .bind_exchange(&format!("x{at}"), &format!("x{}", at - 1), "")
                .await
                .unwrap();
        }
    }
    client.declare_queue("q", Default::default()).await.unwrap();
    client
        .bind_queue("q", &format!("x{}", EXCHANGES - 1), "")
        .await
        .unwrap();
    client.delete_queue("q").await.unwrap();
    let mut wire = Wire::open(&broker).await;
    for at in [0, EXCHANGES / 2, EXCHANGES - 1] {
        assert!(!has_exchange(&mut wire, &format!("x{at}")).await);
    }
}
