//! A paid order goes to the inventory and to shipping; a worker fails once, and an order that cannot be processed is
//! put aside.
//!
//! Run it with `cargo run -p leveret-examples --example work_queue`. It prints what the inventory's worker has done
//! in the end: three of four orders, one of them at the second attempt. The fourth is among the dead letters.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use leveret_broker::{Broker, Client, ConsumeOptions, ExchangeType, Publish, QueueOptions, Value};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

async fn declare(client: &Client) -> Result {
    let (topic, options) = (ExchangeType::Topic, Default::default());
    client.declare_exchange("orders", topic, options).await?;
    let durable = QueueOptions {
        durable: true,
        ..Default::default()
    };
    // What a worker refuses goes through the default exchange to the queue of this name.
    let inventory = QueueOptions {
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("put aside".into()),
        ..durable.clone()
    };
    client.declare_queue("put aside", durable.clone()).await?;
    client.declare_queue("inventory", inventory).await?;
    client.declare_queue("shipping", durable).await?;
    client.bind_queue("inventory", "orders", "paid.*").await?;
    client.bind_queue("shipping", "orders", "paid.box").await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let broker = Broker::builder().start().await?;
    let client = broker.client()?;
    declare(&client).await?;

    // The payment service. Once the confirm is there, the order is in both queues.
    for order in ["a book", "a lamp", "minus three chairs", "a table"] {
        let message = Publish::to_exchange("orders", "paid.box", order.as_bytes());
        client.publish(message).await?;
    }

    // The inventory's worker takes an order when it has settled the one before; others could help.
    let options = ConsumeOptions {
        prefetch: 1,
        ..Default::default()
    };
    let mut orders = client.consume("inventory", options).await?;
    let mut done = Vec::new();
    while done.len() < 3 {
        let delivery = orders.recv().await.ok_or("the queue was deleted")?;
        let order = String::from_utf8(delivery.body().to_vec())?;
        match (order.as_str(), delivery.redelivered()) {
            // A passing trouble: back to its old place, so that it is the next one again.
            ("a lamp", false) => delivery.nack(true),
            // Trying again would not help: somebody must look at it.
            ("minus three chairs", _) => delivery.reject(false),
            (_, again) => {
                delivery.ack();
                done.push(if again { order + " (again)" } else { order });
            }
        }
    }
    println!("done: {done:?}");
    assert_eq!(done, ["a book", "a lamp (again)", "a table"]);

    let dead = client.get("put aside").await?.ok_or("the order is lost")?;
    let headers = dead.properties().headers.unwrap_or_default();
    let reason = headers.get("x-first-death-reason");
    assert_eq!(reason.and_then(Value::as_str), Some("rejected"));
    dead.ack();

    let shipping = client.queue_info("shipping").await?;
    assert_eq!(shipping.ready, 4, "shipping has not begun yet");
    broker.shutdown().await;
    Ok(())
}
