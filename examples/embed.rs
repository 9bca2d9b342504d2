//! A broker inside this program: an exchange routes what is published to a queue, and a consumer receives it.
//!
//! Run it with `cargo run -p leveret-examples --example embed`. It prints where clients in other programs could connect
//! and the two readings that match the queue's pattern, and ends.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use leveret_broker::{
    Broker, ConsumeOptions, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without a listener the broker would serve this process only. Port 0 has the system choose one.
    let broker = Broker::builder().amqp(([127, 0, 0, 1], 0)).start().await?;
    let addresses = broker.amqp_addresses();
    println!("clients of any language may come to {addresses:?}");

    let client = broker.client()?;
    client
        .declare_exchange("readings", ExchangeType::Topic, ExchangeOptions::default())
        .await?;
    let kitchen = client.declare_queue("", QueueOptions::default()).await?; // The broker finds a name.
    client
        .bind_queue(&kitchen.name, "readings", "kitchen.*")
        .await?;

    let readings = [
        ("kitchen.temperature", "21"),
        ("kitchen.humidity", "40"),
        ("cellar.humidity", "70"),
    ];
    for (routing_key, value) in readings {
        let publish = Publish {
            properties: Some(Properties {
                content_type: Some("text/plain".into()),
                ..Properties::default()
            }),
            mandatory: true,
            ..Publish::to_exchange("readings", routing_key, value.as_bytes())
        };
        match client.publish(publish).await {
            Ok(()) => {}
            // Nobody listens to the cellar. A mandatory message that no queue takes is handed back.
            Err(error) if error.is_unroutable() => {
                let message = error
                    .into_message()
                    .ok_or("an unroutable message comes back")?;
                assert_eq!(message.routing_key(), "cellar.humidity");
            }
            Err(error) => return Err(error.into()),
        }
    }

    let mut consumer = client
        .consume(&kitchen.name, ConsumeOptions::default())
        .await?;
    for (routing_key, value) in &readings[..2] {
        let delivery = consumer.recv().await.ok_or("the queue was deleted")?;
        println!("{routing_key} is {value}");
        assert_eq!(delivery.routing_key(), *routing_key);
        assert_eq!(delivery.body(), value.as_bytes());
        // Dropped instead of acknowledged, it would go back to its place in the queue.
        delivery.ack();
    }
    assert_eq!(client.queue_info(&kitchen.name).await?.unacked, 0);

    broker.shutdown().await;
    Ok(())
}
