//! Publishes orders for consumers in other languages.
//!
//! `leveret-interop-orders EXCHANGE... COUNT` publishes COUNT orders to each EXCHANGE of the broker at
//! `AMQP_URL`. The body of order `n` is its number, its routing key `order.REGION.STATE`; headers and properties say
//! the same in the types that AMQP has for it. The program ends with status 0 once every order is confirmed.

use std::error::Error;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// Orders come from these in turn.
const REGIONS: [&str; 2] = ["eu", "us"];

/// Of an odd length that has no divisor in common with the number of regions, so that every pair occurs.
const STATES: [&str; 3] = ["created", "paid", "shipped"];

/// The broker that is asked when `AMQP_URL` does not say.
const DEFAULT_URL: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [exchanges @ .., count] = arguments.as_slice() else {
        return Err("usage: leveret-interop-orders EXCHANGE... COUNT".into());
    };
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| DEFAULT_URL.into());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    publish_orders(&channel, exchanges, count.parse()?).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Publishes each order to each of the exchanges, then waits for the confirms.
///
/// # Errors
///
/// What lapin says, or that an order was refused.
async fn publish_orders(
    channel: &Channel,
    exchanges: &[String],
    count: u16,
) -> Result<(), Box<dyn Error>> {
    let mut confirms = Vec::new();
    for number in 0..count {
        let region = REGIONS[usize::from(number) % REGIONS.len()];
        let state = STATES[usize::from(number) % STATES.len()];
        for exchange in exchanges {
            let confirm = channel
                .basic_publish(
                    exchange.as_str().into(),
                    format!("order.{region}.{state}").into(),
                    BasicPublishOptions::default(),
                    number.to_string().as_bytes(),
                    properties(number, region, state),
                )
                .await?;
            confirms.push(confirm);
        }
    }
    for confirm in confirms {
        if !confirm.await?.is_ack() {
            return Err("an order was refused".into());
        }
    }
    Ok(())
}

/// What an order says beside its body: one header of each type that clients in other languages turn into another.
fn properties(number: u16, region: &str, state: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("region".into(), AMQPValue::LongString(region.into()));
    headers.insert("state".into(), AMQPValue::LongString(state.into()));
    headers.insert("number".into(), AMQPValue::LongInt(number.into()));
    headers.insert(
        "cents".into(),
        AMQPValue::LongLongInt(i64::from(number) << 33),
    );
    headers.insert(
        "express".into(),
        AMQPValue::Boolean(number.is_multiple_of(2)),
    );
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_delivery_mode(2)
        .with_message_id(format!("order-{number}").into())
        .with_headers(headers)
}
