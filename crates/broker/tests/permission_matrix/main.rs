//! Every operation of every protocol, with every combination of rights to the names that it is about.
//!
//! What each operation takes stands in one table, which is that of the behaviour reference (section 18.2); what STOMP's
//! destinations do is put together of it (section 20.3). Each trial has a connection of its own. It makes no difference
//! whether accounts say what the user may do, or somebody outside of the broker who takes his time.
#![cfg(feature = "stomp")]

mod amqp;
mod in_process;
mod operation;
mod stomp;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod world;

use leveret_broker::{Client, ExchangeOptions, ExchangeType, QueueOptions};
use operation::Grant;
use operation::Operation::{self, *};
use operation::Right::{Configure, Read, Write};
use world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Amqp,
    AmqpOverWebSocket,
    Stomp,
    StompOverWebSocket,
    InProcess,
}

impl Protocol {
    fn has(self, operation: Operation) -> bool {
        match self {
            Self::Amqp | Self::AmqpOverWebSocket => !matches!(
                operation,
                SendToQueue | SubscribeToQueue | SubscribeToTopic | SendForReply
            ),
            Self::InProcess => {
                let passive = matches!(operation, DeclareExchangePassively | DeclareQueuePassively);
                Self::Amqp.has(operation) && !passive
            }
            Self::Stomp | Self::StompOverWebSocket => matches!(
                operation,
                PublishToExchange
                    | PublishToDefault
                    | PublishToTopic
                    | Consume
                    | SendToQueue
                    | SubscribeToQueue
                    | SubscribeToTopic
                    | SendForReply
            ),
        }
    }

    /// Tries an operation as ann; the text is that of the refusal.
    async fn attempt(self, world: &World, operation: Operation) -> Result<(), String> {
        let broker = &world.broker;
        match self {
            Self::Amqp => amqp::attempt(amqp::connect(broker).await, operation).await,
            Self::AmqpOverWebSocket => {
                amqp::attempt(amqp::connect_by_websocket(broker).await, operation).await
            }
            Self::Stomp => stomp::tell(broker, &stomp::frame(operation)).await,
            Self::StompOverWebSocket => {
                stomp::tell_by_websocket(broker, &stomp::frame(operation)).await
            }
            Self::InProcess => {
                let client = broker.client_for(&world.ann(), "/").await.unwrap();
                let attempt = in_process::attempt(&client, operation).await;
                attempt.map_err(|error| error.to_string())
            }
        }
    }
}

/// Exchanges `x`, `y`, `ae` and `dlx`, queue `q`, bindings between them; but for what is to be made.
async fn set_the_scene(client: &Client, makes: Option<&str>) {
    for name in ["x", "y", "ae", "dlx"] {
        client.delete_exchange(name).await.unwrap();
        if makes != Some(name) {
            let options = ExchangeOptions::default();
            let declared = client.declare_exchange(name, ExchangeType::Direct, options);
            declared.await.unwrap();
        }
    }
    client.delete_queue("q").await.unwrap();
    if makes == Some("q") {
        return;
    }
    // As STOMP declares it.
    let options = QueueOptions {
        durable: true,
        ..QueueOptions::default()
    };
    client.declare_queue("q", options).await.unwrap();
    if makes.is_none() {
        client.bind_queue("q", "x", "bound").await.unwrap();
        client.bind_exchange("y", "x", "bound").await.unwrap();
    }
}

async fn check_all(protocol: Protocol) {
    check_in(World::with_accounts().await, protocol).await;
    check_in(World::with_backend().await, protocol).await;
}

async fn check_in(world: World, protocol: Protocol) {
    let operator = world.broker.client().unwrap();
    for &operation in Operation::ALL {
        if !protocol.has(operation) {
            continue;
        }
        let names = operation.names();
        let all: Vec<Grant> = names
            .iter()
            .flat_map(|name| [Configure, Write, Read].map(|right| (right, *name)))
            .collect();
        for chosen in 0..1_u32 << all.len() {
            let grants: Vec<Grant> = all
                .iter()
                .enumerate()
                .filter(|(at, _)| chosen & (1 << at) != 0)
                .map(|(_, grant)| *grant)
                .collect();
            set_the_scene(&operator, operation.makes()).await;
            world.permit(&grants);
            let missing = operation
                .needs()
                .into_iter()
                .find(|grant| !grants.contains(grant));
            let outcome = protocol.attempt(&world, operation).await;
            let context = format!("{operation:?} over {protocol:?} with {grants:?} of {world:?}");
            match (missing, outcome) {
                (None, Ok(())) => {}
                (Some((_, name)), Err(text)) => {
                    // RabbitMQ 3 names the thing and not the right.
                    assert!(text.contains(&format!(" '{name}")), "{context}: {text}");
                    let refused = "in vhost '/' refused for user 'ann'";
                    assert!(text.contains(refused), "{context}: {text}");
                }
                (missing, outcome) => panic!("{context}: {outcome:?}, and {missing:?} is missing"),
            }
        }
    }
}

#[tokio::test]
async fn amqp() {
    check_all(Protocol::Amqp).await;
}

#[tokio::test]
async fn amqp_over_websocket() {
    check_all(Protocol::AmqpOverWebSocket).await;
}

#[tokio::test]
async fn stomp() {
    check_all(Protocol::Stomp).await;
}

#[tokio::test]
async fn stomp_over_websocket() {
    check_all(Protocol::StompOverWebSocket).await;
}

#[tokio::test]
async fn in_process_for_a_user() {
    check_all(Protocol::InProcess).await;
}
