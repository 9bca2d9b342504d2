//! What the broker refuses, with which code, and how much of the connection it takes down.

use std::sync::Arc;

use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicRejectOptions,
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, ExchangeKind};

use crate::broker::Broker;
use crate::client::{bind, confirming, counts, publish, refused, send, table};
use crate::harness::{Outcome, checks};
use crate::inbox::Inbox;

checks![
    publishing_to_an_unknown_exchange_closes_only_the_channel,
    an_unknown_queue_is_not_found,
    an_exclusive_queue_is_locked_for_other_connections,
    a_queue_with_an_exclusive_consumer_takes_no_other,
    a_conflicting_declare_of_a_queue_fails_its_precondition,
    a_conflicting_declare_of_an_exchange_fails_its_precondition,
    a_delivery_is_settled_only_once,
    reserved_names_are_refused,
    an_unknown_exchange_type_closes_the_connection,
    a_consumer_tag_in_use_closes_the_connection,
];

async fn publishing_to_an_unknown_exchange_closes_only_the_channel(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let (bystander, channel) = (
        confirming(&connection).await?,
        confirming(&connection).await?,
    );
    let name = broker.exchange_name();
    let outcome = publish(&channel, &name, "key", b"lost", BasicProperties::default()).await;
    refused(outcome, 404, &["NOT_FOUND - no exchange", name.as_str()]);
    assert!(!channel.status().connected());
    broker.queue(&bystander).await?;
    broker.queue(&connection.create_channel().await?).await?;
    Ok(())
}

async fn an_unknown_queue_is_not_found(broker: Arc<Broker>) -> Outcome {
    let words = ["NOT_FOUND - no queue", &broker.queue_name().to_string()];
    let queue = words[1].into();
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    refused(Inbox::of(&channel, &queue).await.map(drop), 404, &words);
    let channel = connection.create_channel().await?;
    refused(
        channel
            .basic_get(queue.clone(), BasicGetOptions::default())
            .await,
        404,
        &words,
    );
    let channel = connection.create_channel().await?;
    refused(
        channel
            .queue_purge(queue.clone(), QueuePurgeOptions::default())
            .await,
        404,
        &words,
    );
    let channel = connection.create_channel().await?;
    refused(counts(&channel, &queue).await, 404, &words);
    let channel = connection.create_channel().await?;
    refused(
        bind(&channel, &queue, &"amq.direct".into(), "key").await,
        404,
        &words,
    );
    Ok(())
}

async fn an_exclusive_queue_is_locked_for_other_connections(broker: Arc<Broker>) -> Outcome {
    let owner = broker.channel().await?;
    let exclusive = QueueDeclareOptions::exclusive();
    let queue = broker
        .queue_with(&owner, exclusive, FieldTable::default())
        .await?;
    let words = ["RESOURCE_LOCKED", queue.as_str()];
    let stranger = broker.connect().await?;
    let channel = stranger.create_channel().await?;
    refused(Inbox::of(&channel, &queue).await.map(drop), 405, &words);
    let channel = stranger.create_channel().await?;
    refused(
        channel
            .basic_get(queue.clone(), BasicGetOptions::default())
            .await,
        405,
        &words,
    );
    let channel = stranger.create_channel().await?;
    refused(
        channel
            .queue_delete(queue.clone(), QueueDeleteOptions::default())
            .await,
        405,
        &words,
    );
    let channel = stranger.create_channel().await?;
    refused(
        channel
            .queue_declare(queue.clone(), exclusive, FieldTable::default())
            .await,
        405,
        &words,
    );
    let channel = stranger.create_channel().await?;
    refused(counts(&channel, &queue).await, 405, &words);
    Ok(())
}

async fn a_queue_with_an_exclusive_consumer_takes_no_other(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    let exclusive = BasicConsumeOptions {
        exclusive: true,
        ..Default::default()
    };
    let _inbox = Inbox::with(&channel, &queue, exclusive).await?;
    let other = broker.channel().await?;
    let outcome = Inbox::of(&other, &queue).await.map(drop);
    refused(
        outcome,
        403,
        &["ACCESS_REFUSED", queue.as_str(), "in exclusive use"],
    );
    Ok(())
}

async fn a_conflicting_declare_of_a_queue_fails_its_precondition(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let options = QueueDeclareOptions::default();
    let arguments = table([("x-message-ttl", AMQPValue::LongInt(1000))]);
    let queue = broker
        .queue_with(
            &connection.create_channel().await?,
            options,
            arguments.clone(),
        )
        .await?;
    let conflicts = [
        (
            "'durable'",
            QueueDeclareOptions::durable(),
            arguments.clone(),
        ),
        ("'auto_delete'", options.auto_delete(), arguments),
        ("'x-message-ttl'", options, FieldTable::default()),
    ];
    for (argument, options, arguments) in conflicts {
        let channel = connection.create_channel().await?;
        let outcome = channel
            .queue_declare(queue.clone(), options, arguments)
            .await;
        refused(
            outcome,
            406,
            &["PRECONDITION_FAILED - inequivalent arg", argument],
        );
    }
    Ok(())
}

async fn a_conflicting_declare_of_an_exchange_fails_its_precondition(
    broker: Arc<Broker>,
) -> Outcome {
    let connection = broker.connect().await?;
    let exchange = broker
        .exchange(&connection.create_channel().await?, ExchangeKind::Direct)
        .await?;
    let options = ExchangeDeclareOptions::default();
    let conflicts = [
        ("'type'", ExchangeKind::Fanout, options),
        (
            "'durable'",
            ExchangeKind::Direct,
            ExchangeDeclareOptions {
                durable: true,
                ..options
            },
        ),
        (
            "'internal'",
            ExchangeKind::Direct,
            ExchangeDeclareOptions {
                internal: true,
                ..options
            },
        ),
    ];
    for (argument, kind, options) in conflicts {
        let channel = connection.create_channel().await?;
        let outcome = channel
            .exchange_declare(exchange.clone(), kind, options, FieldTable::default())
            .await;
        refused(
            outcome,
            406,
            &["PRECONDITION_FAILED - inequivalent arg", argument],
        );
    }
    Ok(())
}

async fn a_delivery_is_settled_only_once(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    for again in ["ack", "nack", "reject"] {
        let channel = confirming(&connection).await?;
        let queue = broker.queue(&channel).await?;
        send(&channel, &queue, ["x"]).await?;
        let mut inbox = Inbox::of(&channel, &queue).await?;
        let tag = inbox.take(1).await?[0].delivery_tag;
        channel.basic_ack(tag, BasicAckOptions::default()).await?;
        match again {
            "ack" => channel.basic_ack(tag, BasicAckOptions::default()).await?,
            "nack" => channel.basic_nack(tag, BasicNackOptions::default()).await?,
            _ => {
                channel
                    .basic_reject(tag, BasicRejectOptions::default())
                    .await?
            }
        }
        // None of the three is answered; the consumer is told why its channel ends.
        refused(
            inbox.ended().await,
            406,
            &["PRECONDITION_FAILED - unknown delivery tag 1"],
        );
    }
    Ok(())
}

async fn reserved_names_are_refused(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let prefix = "reserved prefix 'amq.*'";

    let channel = connection.create_channel().await?;
    let queue = broker.queue(&channel).await?;
    let options = QueueDeclareOptions::default();
    let outcome = channel
        .queue_declare("amq.interop".into(), options, FieldTable::default())
        .await;
    refused(outcome, 403, &["ACCESS_REFUSED - queue name", prefix]);

    let channel = connection.create_channel().await?;
    let (kind, options) = (ExchangeKind::Direct, ExchangeDeclareOptions::default());
    let outcome = channel
        .exchange_declare("amq.interop".into(), kind, options, FieldTable::default())
        .await;
    refused(outcome, 403, &["ACCESS_REFUSED - exchange name", prefix]);

    let channel = connection.create_channel().await?;
    let outcome = channel
        .exchange_delete("amq.direct".into(), ExchangeDeleteOptions::default())
        .await;
    refused(outcome, 403, &["ACCESS_REFUSED"]);

    let channel = connection.create_channel().await?;
    refused(
        bind(&channel, &queue, &"".into(), "key").await,
        403,
        &["ACCESS_REFUSED", "default exchange"],
    );
    Ok(())
}

async fn an_unknown_exchange_type_closes_the_connection(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    let (kind, options) = (
        ExchangeKind::Custom("zorp".to_owned()),
        ExchangeDeclareOptions::default(),
    );
    let outcome = channel
        .exchange_declare(broker.exchange_name(), kind, options, FieldTable::default())
        .await;
    refused(
        outcome,
        503,
        &["COMMAND_INVALID - unknown exchange type 'zorp'"],
    );
    assert!(!connection.status().connected());
    Ok(())
}

async fn a_consumer_tag_in_use_closes_the_connection(broker: Arc<Broker>) -> Outcome {
    let connection = broker.connect().await?;
    let channel = connection.create_channel().await?;
    let queue = broker.queue(&channel).await?;
    let options = BasicConsumeOptions::default();
    let consume = || {
        channel.basic_consume(
            queue.clone(),
            "twice".into(),
            options,
            FieldTable::default(),
        )
    };
    let _first = consume().await?;
    refused(
        consume().await,
        530,
        &["NOT_ALLOWED - attempt to reuse consumer tag 'twice'"],
    );
    assert!(!connection.status().connected());
    Ok(())
}
