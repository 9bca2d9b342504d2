//! Declaring, purging and deleting queues and exchanges.

use std::sync::Arc;

use lapin::ExchangeKind;
use lapin::options::{
    BasicCancelOptions, BasicRejectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use crate::broker::Broker;
use crate::client::{bind, counts, drain, hold, refused, send, string, table};
use crate::harness::{Outcome, checks};
use crate::inbox::Inbox;

checks![
    a_named_queue_is_declared_and_empty,
    a_server_names_queues_apart,
    an_exclusive_queue_goes_with_its_connection,
    an_auto_delete_queue_goes_with_its_last_consumer,
    queue_arguments_take_effect,
    declaring_the_same_again_changes_nothing,
    exchanges_of_every_type_are_declared_and_deleted,
    an_auto_delete_exchange_goes_with_its_last_binding,
    the_standard_exchanges_are_there,
    deleting_what_is_not_there_is_fine,
    purge_removes_ready_messages_and_counts_them,
    delete_counts_the_messages_that_go,
    delete_if_empty_spares_a_queue_with_messages,
    delete_if_unused_spares_a_queue_with_consumers,
    delete_if_unused_spares_an_exchange_with_bindings,
];

/// Passive declaration of an exchange.
const PASSIVE: ExchangeDeclareOptions = ExchangeDeclareOptions {
    passive: true,
    durable: false,
    auto_delete: false,
    internal: false,
    nowait: false,
};

async fn a_named_queue_is_declared_and_empty(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let name = broker.queue_name();
    let options = QueueDeclareOptions::durable();
    let queue = channel
        .queue_declare(name.clone(), options, FieldTable::default())
        .await?;
    assert_eq!(
        (queue.name(), queue.message_count(), queue.consumer_count()),
        (&name, 0, 0)
    );
    let _inbox = Inbox::of(&channel, &name).await?;
    assert_eq!(counts(&channel, &name).await?, (0, 1));
    Ok(())
}

async fn a_server_names_queues_apart(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let options = QueueDeclareOptions::exclusive();
    let first = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await?;
    let second = channel
        .queue_declare("".into(), options, FieldTable::default())
        .await?;
    assert!(
        first.name().as_str().starts_with("amq.gen-"),
        "{}",
        first.name()
    );
    assert_ne!(first.name(), second.name());
    Ok(())
}

async fn an_exclusive_queue_goes_with_its_connection(broker: Arc<Broker>) -> Outcome {
    let owner = broker.connect().await?;
    let channel = owner.create_channel().await?;
    let queue = broker
        .queue_with(
            &channel,
            QueueDeclareOptions::exclusive(),
            FieldTable::default(),
        )
        .await?;
    owner.close(200, "done".into()).await?;
    let outcome = counts(&broker.channel().await?, &queue).await;
    refused(outcome, 404, &["no queue", queue.as_str()]);
    Ok(())
}

async fn an_auto_delete_queue_goes_with_its_last_consumer(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let options = QueueDeclareOptions::default().auto_delete();
    let queue = broker
        .queue_with(&channel, options, FieldTable::default())
        .await?;
    let (first, second) = (
        Inbox::of(&channel, &queue).await?,
        Inbox::of(&channel, &queue).await?,
    );
    channel
        .basic_cancel(first.tag(), BasicCancelOptions::default())
        .await?;
    assert_eq!(counts(&channel, &queue).await?, (0, 1));
    channel
        .basic_cancel(second.tag(), BasicCancelOptions::default())
        .await?;
    refused(counts(&channel, &queue).await, 404, &[queue.as_str()]);
    Ok(())
}

async fn queue_arguments_take_effect(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let arguments = table([
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-message-ttl", AMQPValue::LongLongInt(60_000)),
        ("x-overflow", string("drop-head")),
    ]);
    let queue = broker
        .queue_with(&channel, QueueDeclareOptions::default(), arguments)
        .await?;
    send(&channel, &queue, ["1", "2", "3"]).await?;
    assert_eq!(
        drain(&channel, &queue).await?,
        ["2", "3"],
        "what a queue of two keeps"
    );
    Ok(())
}

async fn declaring_the_same_again_changes_nothing(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let options = QueueDeclareOptions::durable();
    let queue = broker
        .queue_with(
            &channel,
            options,
            table([("x-max-length", AMQPValue::LongInt(10))]),
        )
        .await?;
    send(&channel, &queue, ["kept"]).await?;
    // Integers of different width are equal.
    let arguments = table([("x-max-length", AMQPValue::ShortInt(10))]);
    let again = channel.queue_declare(queue, options, arguments).await?;
    assert_eq!(again.message_count(), 1);

    let durable = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let exchange = broker
        .exchange_with(
            &channel,
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await?;
    channel
        .exchange_declare(
            exchange,
            ExchangeKind::Topic,
            durable,
            FieldTable::default(),
        )
        .await
}

async fn exchanges_of_every_type_are_declared_and_deleted(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    for kind in [
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
    ] {
        let exchange = broker.exchange(&channel, kind.clone()).await?;
        channel
            .exchange_declare(
                exchange.clone(),
                kind.clone(),
                PASSIVE,
                FieldTable::default(),
            )
            .await?;
        channel
            .exchange_delete(exchange.clone(), ExchangeDeleteOptions::default())
            .await?;
        let other = broker.channel().await?;
        let outcome = other
            .exchange_declare(exchange.clone(), kind, PASSIVE, FieldTable::default())
            .await;
        refused(outcome, 404, &["no exchange", exchange.as_str()]);
    }
    Ok(())
}

async fn an_auto_delete_exchange_goes_with_its_last_binding(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let kind = ExchangeKind::Fanout;
    let options = ExchangeDeclareOptions {
        auto_delete: true,
        ..Default::default()
    };
    let exchange = broker
        .exchange_with(&channel, kind.clone(), options, FieldTable::default())
        .await?;
    let queue = broker.queue(&channel).await?;
    channel
        .exchange_declare(
            exchange.clone(),
            kind.clone(),
            PASSIVE,
            FieldTable::default(),
        )
        .await?;
    bind(&channel, &queue, &exchange, "").await?;
    channel
        .queue_unbind(queue, exchange.clone(), "".into(), FieldTable::default())
        .await?;
    let outcome = channel
        .exchange_declare(exchange.clone(), kind, PASSIVE, FieldTable::default())
        .await;
    refused(outcome, 404, &[exchange.as_str()]);
    Ok(())
}

async fn the_standard_exchanges_are_there(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    for name in [
        "amq.direct",
        "amq.fanout",
        "amq.topic",
        "amq.headers",
        "amq.match",
    ] {
        channel
            .exchange_declare(
                name.into(),
                ExchangeKind::Direct,
                PASSIVE,
                FieldTable::default(),
            )
            .await?;
    }
    Ok(())
}

async fn deleting_what_is_not_there_is_fine(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    assert_eq!(
        channel
            .queue_delete(broker.queue_name(), QueueDeleteOptions::default())
            .await?,
        0
    );
    channel
        .exchange_delete(broker.exchange_name(), ExchangeDeleteOptions::default())
        .await
}

async fn purge_removes_ready_messages_and_counts_them(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, ["1", "2", "3"]).await?;
    let held = hold(&channel, &queue).await?;
    assert_eq!(
        channel
            .queue_purge(queue.clone(), QueuePurgeOptions::default())
            .await?,
        2
    );
    held.reject(BasicRejectOptions { requeue: true }).await?;
    assert_eq!(
        drain(&channel, &queue).await?,
        ["1"],
        "what was not ready stays"
    );
    Ok(())
}

async fn delete_counts_the_messages_that_go(broker: Arc<Broker>) -> Outcome {
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, ["1", "2"]).await?;
    assert_eq!(
        channel
            .queue_delete(queue, QueueDeleteOptions::default())
            .await?,
        2
    );
    Ok(())
}

async fn delete_if_empty_spares_a_queue_with_messages(broker: Arc<Broker>) -> Outcome {
    let if_empty = QueueDeleteOptions {
        if_empty: true,
        ..Default::default()
    };
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, ["precious"]).await?;
    refused(
        channel.queue_delete(queue.clone(), if_empty).await,
        406,
        &[queue.as_str(), "not empty"],
    );

    let channel = broker.channel().await?;
    assert_eq!(counts(&channel, &queue).await?, (1, 0));
    channel
        .queue_purge(queue.clone(), QueuePurgeOptions::default())
        .await?;
    channel.queue_delete(queue, if_empty).await?;
    Ok(())
}

async fn delete_if_unused_spares_a_queue_with_consumers(broker: Arc<Broker>) -> Outcome {
    let if_unused = QueueDeleteOptions {
        if_unused: true,
        ..Default::default()
    };
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    let inbox = Inbox::of(&channel, &queue).await?;
    let other = broker.channel().await?;
    refused(
        other.queue_delete(queue.clone(), if_unused).await,
        406,
        &[queue.as_str(), "in use"],
    );
    channel
        .basic_cancel(inbox.tag(), BasicCancelOptions::default())
        .await?;
    channel.queue_delete(queue, if_unused).await?;
    Ok(())
}

async fn delete_if_unused_spares_an_exchange_with_bindings(broker: Arc<Broker>) -> Outcome {
    let if_unused = ExchangeDeleteOptions {
        if_unused: true,
        ..Default::default()
    };
    let channel = broker.channel().await?;
    let queue = broker.queue(&channel).await?;
    let exchange = broker.exchange(&channel, ExchangeKind::Direct).await?;
    bind(&channel, &queue, &exchange, "key").await?;
    let outcome = channel.exchange_delete(exchange.clone(), if_unused).await;
    refused(outcome, 406, &[exchange.as_str(), "in use"]);

    let channel = broker.channel().await?;
    channel
        .queue_unbind(queue, exchange.clone(), "key".into(), FieldTable::default())
        .await?;
    channel.exchange_delete(exchange, if_unused).await
}
