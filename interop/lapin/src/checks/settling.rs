//! Reject, nack, requeue and recover.

use std::sync::Arc;

use lapin::options::{
    BasicAckOptions, BasicNackOptions, BasicRecoverOptions, BasicRejectOptions, QueueDeclareOptions,
};
use lapin::types::AMQPValue;

use crate::broker::Broker;
use crate::client::{bodies, confirming, counts, drain, hold, numbers, send, string, table};
use crate::harness::{Outcome, checks};
use crate::inbox::Inbox;

checks![
    a_requeued_message_keeps_its_place,
    nack_of_several_requeues_them_in_order,
    a_message_rejected_without_requeue_is_gone,
    a_rejected_message_is_dead_lettered,
    a_closed_channel_gives_its_messages_back_in_order,
    recover_redelivers_what_is_unacknowledged,
];

const REQUEUE: BasicRejectOptions = BasicRejectOptions { requeue: true };
const DISCARD: BasicRejectOptions = BasicRejectOptions { requeue: false };

async fn a_requeued_message_keeps_its_place(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..5)).await?;
    let zero = hold(&channel, &queue).await?;
    let one = hold(&channel, &queue).await?;
    let two = hold(&channel, &queue).await?;
    one.reject(REQUEUE).await?;
    zero.nack(BasicNackOptions {
        multiple: false,
        requeue: true,
    })
    .await?;
    two.reject(REQUEUE).await?;
    let deliveries = Inbox::of(&channel, &queue).await?.take(5).await?;
    assert_eq!(bodies(&deliveries), numbers(0..5));
    let redelivered: Vec<_> = deliveries
        .iter()
        .map(|delivery| delivery.redelivered)
        .collect();
    assert_eq!(redelivered, [true, true, true, false, false]);
    Ok(())
}

async fn nack_of_several_requeues_them_in_order(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..4)).await?;
    hold(&channel, &queue).await?;
    let one = hold(&channel, &queue).await?;
    let two = hold(&channel, &queue).await?;
    one.nack(BasicNackOptions {
        multiple: true,
        requeue: true,
    })
    .await?;
    assert_eq!(drain(&channel, &queue).await?, ["0", "1", "3"]);
    two.ack(BasicAckOptions::default()).await?;
    Ok(())
}

async fn a_message_rejected_without_requeue_is_gone(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..4)).await?;
    let zero = hold(&channel, &queue).await?;
    hold(&channel, &queue).await?;
    let two = hold(&channel, &queue).await?;
    zero.reject(DISCARD).await?;
    two.nack(BasicNackOptions {
        multiple: true,
        requeue: false,
    })
    .await?;
    assert_eq!(drain(&channel, &queue).await?, ["3"]);
    channel.close(200, "done".into()).await?;
    assert_eq!(counts(&broker.channel().await?, &queue).await?, (0, 0));
    Ok(())
}

async fn a_rejected_message_is_dead_lettered(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let grave = broker.queue(&channel).await?;
    let arguments = table([
        ("x-dead-letter-exchange", string("")),
        ("x-dead-letter-routing-key", string(grave.as_str())),
    ]);
    let queue = broker
        .queue_with(&channel, QueueDeclareOptions::default(), arguments)
        .await?;
    send(&channel, &queue, ["unwanted"]).await?;
    hold(&channel, &queue).await?.reject(DISCARD).await?;

    let deliveries = Inbox::of(&channel, &grave).await?.take(1).await?;
    assert_eq!(
        (deliveries[0].redelivered, deliveries[0].data.as_slice()),
        (false, b"unwanted".as_slice())
    );
    let headers = deliveries[0]
        .properties
        .headers()
        .clone()
        .unwrap_or_default();
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else {
        panic!("no x-death array in {headers:?}");
    };
    let [AMQPValue::FieldTable(death)] = deaths.as_slice() else {
        panic!("one death expected, got {deaths:?}");
    };
    assert_eq!(death.inner().get("queue"), Some(&string(queue.as_str())));
    assert_eq!(death.inner().get("reason"), Some(&string("rejected")));
    assert_eq!(death.inner().get("count"), Some(&AMQPValue::LongLongInt(1)));
    Ok(())
}

async fn a_closed_channel_gives_its_messages_back_in_order(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..4)).await?;
    let deliveries = Inbox::of(&channel, &queue).await?.take(4).await?;
    deliveries[1].ack(BasicAckOptions::default()).await?;
    channel.close(200, "done".into()).await?;
    assert_eq!(
        drain(&connection.create_channel().await?, &queue).await?,
        ["0", "2", "3"]
    );
    Ok(())
}

async fn recover_redelivers_what_is_unacknowledged(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, ["0", "1"]).await?;
    let mut inbox = Inbox::of(&channel, &queue).await?;
    assert!(
        inbox
            .take(2)
            .await?
            .iter()
            .all(|delivery| !delivery.redelivered)
    );
    channel
        .basic_recover(BasicRecoverOptions { requeue: true })
        .await?;
    let again = inbox.take(2).await?;
    assert_eq!(bodies(&again), ["0", "1"]);
    assert!(again.iter().all(|delivery| delivery.redelivered));
    Ok(())
}
