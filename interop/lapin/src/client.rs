//! What checks often ask of a client, in few words.

use std::fmt::Debug;
use std::ops::Range;

use lapin::message::Delivery;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ErrorKind, Result};

use crate::harness::SOON;

/// A channel with confirms on `connection`.
pub(crate) async fn confirming(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

/// The bodies as text.
pub(crate) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries
        .iter()
        .map(|delivery| text(&delivery.data))
        .collect()
}

/// A body as text.
pub(crate) fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// The texts of the numbers in `range`.
pub(crate) fn numbers(range: Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// What `future` comes to.
///
/// # Panics
///
/// When it takes too long.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(SOON, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {SOON:?} for {what}"),
    }
}

/// Publishes one message and waits for its confirm.
pub(crate) async fn publish(
    channel: &Channel,
    exchange: &ShortString,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) -> Result<Confirmation> {
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(exchange.clone(), key.into(), options, body, properties)
        .await?
        .await
}

/// Publishes each of `bodies` to `queue`, then waits for the confirms of all.
///
/// # Panics
///
/// When one of them is not an ack.
pub(crate) async fn send<B: AsRef<[u8]>>(
    channel: &Channel,
    queue: &ShortString,
    bodies: impl IntoIterator<Item = B>,
) -> Result<()> {
    let mut confirms = Vec::new();
    for body in bodies {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let publish =
            channel.basic_publish("".into(), queue.clone(), options, body.as_ref(), properties);
        confirms.push(publish.await?);
    }
    for confirm in confirms {
        let confirmation = confirm.await?;
        assert!(
            confirmation.is_ack(),
            "the confirm is an ack: {confirmation:?}"
        );
    }
    Ok(())
}

/// Gets one message and keeps it unacknowledged.
///
/// # Panics
///
/// When the queue is empty.
pub(crate) async fn hold(channel: &Channel, queue: &ShortString) -> Result<Delivery> {
    let message = channel
        .basic_get(queue.clone(), BasicGetOptions::default())
        .await?;
    Ok(message.expect("the queue has a message").delivery)
}

/// Gets every ready message with automatic acknowledgement; the bodies in order.
pub(crate) async fn drain(channel: &Channel, queue: &ShortString) -> Result<Vec<String>> {
    let mut bodies = Vec::new();
    while let Some(message) = channel
        .basic_get(queue.clone(), BasicGetOptions { no_ack: true })
        .await?
    {
        bodies.push(text(&message.data));
    }
    Ok(bodies)
}

/// Declares `queue` passively: its numbers of ready messages and of consumers.
pub(crate) async fn counts(channel: &Channel, queue: &ShortString) -> Result<(u32, u32)> {
    let options = QueueDeclareOptions::default().passive();
    let declared = channel
        .queue_declare(queue.clone(), options, FieldTable::default())
        .await?;
    Ok((declared.message_count(), declared.consumer_count()))
}

/// Binds `queue` to `exchange` without arguments.
pub(crate) async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
) -> Result<()> {
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            key.into(),
            options,
            FieldTable::default(),
        )
        .await
}

/// A table of these entries.
pub(crate) fn table<'a>(entries: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

/// A string as a table value.
pub(crate) fn string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Panics unless the broker has closed the channel or the connection, with `code` and a text that contains each of `words`.
#[track_caller]
pub(crate) fn refused<T: Debug>(outcome: Result<T>, code: u16, words: &[&str]) {
    let error = outcome.expect_err("the broker refuses");
    let ErrorKind::ProtocolError(error) = error.kind() else {
        panic!("not an error of the protocol: {error:?}");
    };
    let text = error.get_message().as_str();
    assert_eq!(error.get_id(), code, "reply code of {text}");
    for word in words {
        assert!(text.contains(word), "the error mentions '{word}': {text}");
    }
}
