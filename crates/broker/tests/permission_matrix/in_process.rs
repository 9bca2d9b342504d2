//! Operations of a program that embeds the broker and acts for a user.

use leveret_broker::{
    Client, ConsumeOptions, Error, ExchangeOptions, ExchangeType, Publish, QueueOptions,
};

use crate::operation::Operation::{self, *};

/// Tries an operation.
pub(crate) async fn attempt(client: &Client, operation: Operation) -> Result<(), Error> {
    let exchange = |alternate: Option<&str>| {
        let options = ExchangeOptions {
            alternate_exchange: alternate.map(str::to_owned),
            ..ExchangeOptions::default()
        };
        client.declare_exchange("x", ExchangeType::Direct, options)
    };
    let queue = |dead_letters: Option<&str>| {
        let options = QueueOptions {
            durable: true,
            dead_letter_exchange: dead_letters.map(str::to_owned),
            ..QueueOptions::default()
        };
        client.declare_queue("q", options)
    };
    match operation {
        DeclareExchange => exchange(None).await,
        DeclareExchangeWithAlternate => exchange(Some("ae")).await,
        DeleteExchange => client.delete_exchange("x").await,
        DeclareQueue => queue(None).await.map(drop),
        DeclareQueueWithDeadLetters => queue(Some("dlx")).await.map(drop),
        DeleteQueue => client.delete_queue("q").await.map(drop),
        BindQueue => client.bind_queue("q", "x", "k").await,
        UnbindQueue => client.unbind_queue("q", "x", "bound").await,
        BindExchange => client.bind_exchange("y", "x", "k").await,
        UnbindExchange => client.unbind_exchange("y", "x", "bound").await,
        PublishToExchange => client.publish(Publish::to_exchange("x", "k", b"m")).await,
        PublishToDefault => client.publish(Publish::to_queue("q", b"m")).await,
        PublishToTopic => {
            client
                .publish(Publish::to_exchange("amq.topic", "k", b"m"))
                .await
        }
        Get => client.get("q").await.map(drop),
        Consume => client
            .consume("q", ConsumeOptions::default())
            .await
            .map(drop),
        Purge => client.purge_queue("q").await.map(drop),
        DeclareExchangePassively
        | DeclareQueuePassively
        | SendToQueue
        | SubscribeToQueue
        | SubscribeToTopic
        | SendForReply => unreachable!("there is no {operation:?} in the process"),
    }
}
