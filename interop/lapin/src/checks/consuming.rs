//! Consumers, prefetch, basic.get and cancellation.

use std::sync::Arc;

use lapin::BasicProperties;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions,
    BasicQosOptions, QueueDeleteOptions,
};

use crate::broker::Broker;
use crate::client::{bodies, confirming, counts, drain, hold, numbers, send, text};
use crate::harness::{Outcome, checks};
use crate::inbox::Inbox;

checks![
    ten_thousand_messages_keep_their_order,
    prefetch_limits_what_is_unacknowledged,
    acknowledged_messages_are_gone_and_the_others_are_not,
    a_consumer_without_acknowledgement_empties_the_queue,
    consumers_take_turns,
    get_tells_how_many_are_left,
    a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has,
    deleting_the_queue_cancels_its_consumers,
    channels_of_one_connection_do_not_disturb_each_other,
];

const MULTIPLE: BasicAckOptions = BasicAckOptions { multiple: true };
const NO_ACK: BasicConsumeOptions = BasicConsumeOptions {
    no_local: false,
    no_ack: true,
    exclusive: false,
    nowait: false,
};

async fn ten_thousand_messages_keep_their_order(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let (publisher, consumer) = (
        connection.create_channel().await?,
        connection.create_channel().await?,
    );
    let queue = broker.queue(&publisher).await?;
    consumer.basic_qos(250, BasicQosOptions::default()).await?;
    let mut inbox = Inbox::of(&consumer, &queue).await?;
    let destination = queue.clone();
    let publishing = tokio::spawn(async move {
        for body in numbers(0..10_000) {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            publisher
                .basic_publish(
                    "".into(),
                    destination.clone(),
                    options,
                    body.as_bytes(),
                    properties,
                )
                .await?;
        }
        Ok::<_, lapin::Error>(publisher)
    });
    for hundred in 0..100 {
        let deliveries = inbox.take(100).await?;
        assert_eq!(
            bodies(&deliveries),
            numbers(hundred * 100..(hundred + 1) * 100)
        );
        deliveries[99].ack(MULTIPLE).await?;
    }
    // Kept to the end: a channel closes when the last handle to it goes.
    let _publisher = publishing.await.expect("the publisher does not panic")?;
    assert_eq!(counts(&consumer, &queue).await?, (0, 1));
    Ok(())
}

async fn prefetch_limits_what_is_unacknowledged(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    channel.basic_qos(3, BasicQosOptions::default()).await?;
    send(&channel, &queue, numbers(0..10)).await?;
    let mut inbox = Inbox::of(&channel, &queue).await?;
    let mut deliveries = inbox.take(3).await?;
    inbox.stays_empty().await;
    deliveries[0].ack(BasicAckOptions::default()).await?;
    deliveries.extend(inbox.take(1).await?);
    inbox.stays_empty().await;
    deliveries[3].ack(MULTIPLE).await?;
    deliveries.extend(inbox.take(3).await?);
    inbox.stays_empty().await;
    assert_eq!(bodies(&deliveries), numbers(0..7));
    Ok(())
}

async fn acknowledged_messages_are_gone_and_the_others_are_not(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let channel = confirming(&connection).await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..6)).await?;
    let deliveries = Inbox::of(&channel, &queue).await?.take(6).await?;
    deliveries[4].ack(BasicAckOptions::default()).await?;
    deliveries[2].ack(MULTIPLE).await?;
    connection.close(200, "done".into()).await?;
    assert_eq!(
        drain(&broker.channel().await?, &queue).await?,
        ["3", "5"],
        "what nobody acknowledged"
    );
    Ok(())
}

async fn a_consumer_without_acknowledgement_empties_the_queue(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..50)).await?;
    channel.basic_qos(1, BasicQosOptions::default()).await?; // does not apply to it
    let mut inbox = Inbox::with(&channel, &queue, NO_ACK).await?;
    inbox.take(50).await?;
    inbox.stays_empty().await;
    channel.close(200, "done".into()).await?;
    assert_eq!(counts(&broker.channel().await?, &queue).await?, (0, 0));
    Ok(())
}

async fn consumers_take_turns(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    let (mut first, mut second) = (
        Inbox::of(&channel, &queue).await?,
        Inbox::of(&channel, &queue).await?,
    );
    send(&channel, &queue, numbers(0..10)).await?;
    let mut all = bodies(&first.take(5).await?);
    all.extend(bodies(&second.take(5).await?));
    all.sort();
    assert_eq!(all, numbers(0..10));
    Ok(())
}

async fn get_tells_how_many_are_left(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, ["0", "1"]).await?;
    let message = channel
        .basic_get(queue.clone(), BasicGetOptions::default())
        .await?
        .expect("a message");
    assert_eq!(
        (
            message.message_count,
            message.redelivered,
            &message.routing_key
        ),
        (1, false, &queue)
    );
    message.ack(BasicAckOptions::default()).await?;
    let message = channel
        .basic_get(queue.clone(), BasicGetOptions { no_ack: true })
        .await?
        .expect("a message");
    assert_eq!(
        (
            message.message_count,
            message.delivery_tag,
            text(&message.data)
        ),
        (0, 2, "1".to_owned())
    );
    assert_eq!(
        channel.basic_get(queue, BasicGetOptions::default()).await?,
        None
    );
    Ok(())
}

async fn a_cancelled_consumer_gets_nothing_more_and_keeps_what_it_has(
    broker: Arc<Broker>,
) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, ["0"]).await?;
    let mut inbox = Inbox::of(&channel, &queue).await?;
    let deliveries = inbox.take(1).await?;
    channel
        .basic_cancel(inbox.tag(), BasicCancelOptions::default())
        .await?;
    send(&channel, &queue, ["1", "2"]).await?;
    inbox.ended().await?;
    channel
        .basic_ack(deliveries[0].delivery_tag, BasicAckOptions::default())
        .await?;
    assert_eq!(counts(&channel, &queue).await?, (2, 0));
    Ok(())
}

async fn deleting_the_queue_cancels_its_consumers(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    let mut inbox = Inbox::of(&channel, &queue).await?;
    broker
        .channel()
        .await?
        .queue_delete(queue, QueueDeleteOptions::default())
        .await?;
    inbox.ended().await?;
    broker.queue(&channel).await?; // the channel is still open
    Ok(())
}

async fn channels_of_one_connection_do_not_disturb_each_other(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let channels = [
        confirming(&connection).await?,
        confirming(&connection).await?,
    ];
    let queues = [
        broker.queue(&channels[0]).await?,
        broker.queue(&channels[1]).await?,
    ];
    let (one, two) = ("1".repeat(10_000), "2".repeat(10_000));
    let (sent_by_two, sent_by_one) = tokio::join!(
        send(&channels[1], &queues[0], vec![&one; 100]),
        send(&channels[0], &queues[1], vec![&two; 100]),
    );
    sent_by_two.and(sent_by_one)?;
    for (index, body) in [one, two].into_iter().enumerate() {
        let deliveries = Inbox::of(&channels[index], &queues[index])
            .await?
            .take(100)
            .await?;
        assert!(
            bodies(&deliveries).iter().all(|got| *got == body),
            "every body of channel {index}"
        );
        let tags: Vec<_> = deliveries
            .iter()
            .map(|delivery| delivery.delivery_tag)
            .collect();
        assert_eq!(tags, Vec::from_iter(1..=100));
        channels[index].basic_ack(50, MULTIPLE).await?;
    }
    channels[0].close(200, "done".into()).await?;
    assert_eq!(
        counts(&channels[1], &queues[0]).await?.0,
        50,
        "requeued by the closed channel"
    );
    assert!(hold(&channels[1], &queues[0]).await?.redelivered);
    Ok(())
}
