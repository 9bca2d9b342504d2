//! Publisher confirms and returned messages.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::AMQPValue;
use lapin::{BasicProperties, Confirmation};

use crate::broker::Broker;
use crate::client::{counts, drain, publish, send, string, table};
use crate::harness::{Outcome, checks};

checks![
    every_publish_of_a_burst_is_confirmed,
    an_unroutable_mandatory_message_returns_before_its_confirm,
    a_routed_mandatory_message_is_not_returned,
    an_unroutable_message_is_confirmed_and_forgotten,
    a_full_queue_that_rejects_publishes_says_nack,
    a_rolled_back_transaction_publishes_nothing,
];

const MANDATORY: BasicPublishOptions = BasicPublishOptions {
    mandatory: true,
    immediate: false,
};

async fn every_publish_of_a_burst_is_confirmed(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker
        .queue_with(&channel, QueueDeclareOptions::durable(), Default::default())
        .await?;
    let mut confirms = Vec::new();
    for number in 0..1000_u32 {
        let mode = if number % 2 == 0 { 1 } else { 2 }; // transient and persistent in turn
        let properties = BasicProperties::default().with_delivery_mode(mode);
        let publish = channel.basic_publish(
            "".into(),
            queue.clone(),
            Default::default(),
            b"x",
            properties,
        );
        confirms.push(publish.await?);
    }
    for confirm in confirms {
        assert_eq!(confirm.await?, Confirmation::Ack(None));
    }
    assert_eq!(counts(&channel, &queue).await?, (1000, 0));
    Ok(())
}

async fn an_unroutable_mandatory_message_returns_before_its_confirm(
    broker: Arc<Broker>,
) -> Outcome {
    let channel = broker.channel().await?;
    let name = broker.queue_name();
    let properties = BasicProperties::default().with_message_id("m1".into());
    let publish =
        channel.basic_publish("".into(), name.clone(), MANDATORY, b"come back", properties);
    // lapin puts into the confirm what has been returned by then.
    let Confirmation::Ack(Some(returned)) = publish.await?.await? else {
        panic!("an ack with a returned message expected");
    };
    assert_eq!(
        (returned.reply_code, returned.reply_text.as_str()),
        (312, "NO_ROUTE")
    );
    assert_eq!(
        (returned.exchange.as_str(), &returned.routing_key),
        ("", &name)
    );
    assert_eq!(
        returned
            .properties
            .message_id()
            .as_ref()
            .map(|id| id.as_str()),
        Some("m1")
    );
    assert_eq!(returned.data, b"come back");
    Ok(())
}

async fn a_routed_mandatory_message_is_not_returned(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    let publish = channel.basic_publish(
        "".into(),
        queue.clone(),
        MANDATORY,
        b"stay",
        BasicProperties::default(),
    );
    assert_eq!(publish.await?.await?, Confirmation::Ack(None));
    assert_eq!(drain(&channel, &queue).await?, ["stay"]);
    Ok(())
}

async fn an_unroutable_message_is_confirmed_and_forgotten(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let name = broker.queue_name();
    let confirmation = publish(
        &channel,
        &"".into(),
        name.as_str(),
        b"nobody",
        BasicProperties::default(),
    )
    .await?;
    assert_eq!(confirmation, Confirmation::Ack(None));
    Ok(())
}

async fn a_full_queue_that_rejects_publishes_says_nack(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", string("reject-publish")),
    ]);
    let queue = broker
        .queue_with(&channel, QueueDeclareOptions::default(), arguments)
        .await?;
    send(&channel, &queue, ["fits"]).await?;
    let confirmation = publish(
        &channel,
        &"".into(),
        queue.as_str(),
        b"does not",
        BasicProperties::default(),
    )
    .await?;
    assert_eq!(confirmation, Confirmation::Nack(None));
    assert_eq!(drain(&channel, &queue).await?, ["fits"]);
    Ok(())
}

async fn a_rolled_back_transaction_publishes_nothing(broker: Arc<Broker>) -> Outcome {
    let channel = broker.connect().await?.create_channel().await?;
    let queue = broker.queue(&channel).await?;
    channel.tx_select().await?;
    let properties = BasicProperties::default();
    publish(
        &channel,
        &"".into(),
        queue.as_str(),
        b"undone",
        properties.clone(),
    )
    .await?;
    channel.tx_rollback().await?;
    publish(&channel, &"".into(), queue.as_str(), b"done", properties).await?;
    assert_eq!(counts(&channel, &queue).await?, (0, 0), "before the commit");
    channel.tx_commit().await?;
    assert_eq!(drain(&channel, &queue).await?, ["done"]);
    Ok(())
}
