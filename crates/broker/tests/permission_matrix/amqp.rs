//! Operations in AMQP.

use leveret_amqp_codec::RawTable;
use leveret_amqp_codec::method::{basic, exchange, queue};
use leveret_broker::{Broker, Table};

use crate::operation::Operation::{self, *};
use crate::support::{Greeting, Wire, short, table, websocket};

fn greeting() -> Greeting {
    Greeting {
        response: b"\0ann\0secret".to_vec(),
        ..Greeting::default()
    }
}

/// A connection of ann's.
pub(crate) async fn connect(broker: &Broker) -> Wire {
    greeting().open_channel(broker).await
}

/// The same within a WebSocket.
pub(crate) async fn connect_by_websocket(broker: &Broker) -> Wire {
    let mut wire = Wire::on(websocket::amqp_tunnel(broker).await);
    greeting().shake_hands(&mut wire).await;
    wire
}

/// Tries an operation; the text is that of the refusal.
pub(crate) async fn attempt(mut wire: Wire, operation: Operation) -> Result<(), String> {
    let alternate = table([("alternate-exchange", "ae".into())]);
    let dead_letters = table([("x-dead-letter-exchange", "dlx".into())]);
    match operation {
        DeclareExchange => declare_exchange(&mut wire, &Table::default(), false).await,
        DeclareExchangeWithAlternate => declare_exchange(&mut wire, &alternate, false).await,
        DeclareExchangePassively => declare_exchange(&mut wire, &Table::default(), true).await,
        DeleteExchange => {
            wire.send(&exchange::Delete {
                exchange: short("x"),
                ..Default::default()
            })
            .await;
        }
        DeclareQueue => declare_queue(&mut wire, &Table::default(), false).await,
        DeclareQueueWithDeadLetters => declare_queue(&mut wire, &dead_letters, false).await,
        DeclareQueuePassively => declare_queue(&mut wire, &Table::default(), true).await,
        DeleteQueue => {
            wire.send(&queue::Delete {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        BindQueue => bind_queue(&mut wire, "x", "k").await,
        UnbindQueue => {
            wire.send(&queue::Unbind {
                queue: short("q"),
                exchange: short("x"),
                routing_key: short("bound"),
                ..Default::default()
            })
            .await;
        }
        BindExchange => {
            wire.send(&exchange::Bind {
                destination: short("y"),
                source: short("x"),
                routing_key: short("k"),
                ..Default::default()
            })
            .await;
        }
        UnbindExchange => {
            wire.send(&exchange::Unbind {
                destination: short("y"),
                source: short("x"),
                routing_key: short("bound"),
                ..Default::default()
            })
            .await;
        }
        PublishToExchange => wire.publish("x", "k", b"m").await,
        PublishToDefault => wire.publish("", "q", b"m").await,
        PublishToTopic => wire.publish("amq.topic", "k", b"m").await,
        Get => {
            wire.send(&basic::Get {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        Consume => {
            wire.send(&basic::Consume {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        Purge => {
            wire.send(&queue::Purge {
                queue: short("q"),
                ..Default::default()
            })
            .await;
        }
        SendToQueue | SubscribeToQueue | SubscribeToTopic | SendForReply => {
            unreachable!("AMQP has no such thing")
        }
    }
    answer(&mut wire).await
}

/// Whether the channel is still there once all has been done.
pub(crate) async fn answer(wire: &mut Wire) -> Result<(), String> {
    wire.send(&basic::Qos::default()).await;
    loop {
        let heard = wire.hear().await.expect("an answer comes");
        match heard.method().name() {
            "basic.qos-ok" => return Ok(()),
            "channel.close" => {
                let closed = heard.into_closed();
                assert_eq!(closed.code, 403, "{}", closed.text);
                return Err(closed.text);
            }
            _ => {}
        }
    }
}

async fn declare_exchange(wire: &mut Wire, arguments: &Table, passive: bool) {
    let arguments = arguments.to_bytes();
    wire.send(&exchange::Declare {
        exchange: short("x"),
        kind: short("direct"),
        passive,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
}

async fn declare_queue(wire: &mut Wire, arguments: &Table, passive: bool) {
    let arguments = arguments.to_bytes();
    wire.send(&queue::Declare {
        queue: short("q"),
        durable: true,
        passive,
        arguments: RawTable::from_validated_bytes(&arguments),
        ..Default::default()
    })
    .await;
}

pub(crate) async fn bind_queue(wire: &mut Wire, source: &str, key: &str) {
    wire.send(&queue::Bind {
        queue: short("q"),
        exchange: short(source),
        routing_key: short(key),
        ..Default::default()
    })
    .await;
}
