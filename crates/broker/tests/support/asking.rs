//! What a client asks for, and hears the answer to.

use leveret_amqp_codec::method::{basic, channel, confirm, connection, exchange, queue};
use leveret_amqp_codec::{Method, RawTable};
use leveret_broker::Table;

use super::heard::{Declared, Delivered};
use super::short;
use super::wire::Wire;

/// Declaring a queue without any options.
pub(crate) fn declare(name: &str) -> queue::Declare<'_> {
    queue::Declare {
        queue: short(name),
        ..queue::Declare::default()
    }
}

impl Wire {
    /// Declares a queue without any options.
    pub(crate) async fn declare(&mut self, name: &str) -> Declared {
        self.declare_queue(&declare(name)).await
    }

    /// What channel 1 is closed with, which is that access was refused. It is opened again.
    pub(crate) async fn refused(&mut self) -> String {
        let closed = self.expect_channel_closed().await;
        assert_eq!(closed.code, 403);
        self.open_channel(1).await;
        closed.text
    }

    pub(crate) async fn declare_with(&mut self, name: &str, arguments: &Table) -> Declared {
        let arguments = arguments.to_bytes();
        let declare = queue::Declare {
            queue: short(name),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..queue::Declare::default()
        };
        self.declare_queue(&declare).await
    }

    pub(crate) async fn declare_queue(&mut self, declare: &queue::Declare<'_>) -> Declared {
        let heard = self.call(declare, "queue.declare-ok").await;
        let Method::QueueDeclareOk(ok) = heard.method() else {
            unreachable!("its name was looked at")
        };
        Declared {
            name: ok.queue.as_str().to_owned(),
            messages: ok.message_count,
            consumers: ok.consumer_count,
        }
    }

    /// How many messages are ready in a queue.
    pub(crate) async fn count(&mut self, name: &str) -> u32 {
        self.look(name).await.messages
    }

    pub(crate) async fn look(&mut self, name: &str) -> Declared {
        self.declare_queue(&queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        })
        .await
    }

    /// As [`Wire::look`], on a channel that was closed and answered.
    pub(crate) async fn look_after_reopening(&mut self, name: &str) -> Declared {
        self.open_channel(self.channel).await;
        self.look(name).await
    }

    /// Asks for a queue that is not there; the channel that this costs is opened anew.
    pub(crate) async fn expect_no_queue(&mut self, name: &str) {
        let declare = queue::Declare {
            queue: short(name),
            passive: true,
            ..queue::Declare::default()
        };
        self.send(&declare).await;
        let closed = self.expect_channel_closed().await;
        assert_eq!(closed.code, 404);
        assert_eq!(
            closed.text,
            format!("NOT_FOUND - no queue '{name}' in vhost '/'")
        );
        self.open_channel(self.channel).await;
    }

    pub(crate) async fn declare_exchange(&mut self, name: &str, kind: &str) {
        self.declare_exchange_with(name, kind, &Table::default())
            .await;
    }

    pub(crate) async fn declare_exchange_with(
        &mut self,
        name: &str,
        kind: &str,
        arguments: &Table,
    ) {
        let arguments = arguments.to_bytes();
        let declare = exchange::Declare {
            exchange: short(name),
            kind: short(kind),
            arguments: RawTable::from_validated_bytes(&arguments),
            ..exchange::Declare::default()
        };
        self.call(&declare, "exchange.declare-ok").await;
    }

    pub(crate) async fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) {
        self.bind_with(queue, exchange, routing_key, &Table::default())
            .await;
    }

    pub(crate) async fn bind_with(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: &Table,
    ) {
        let arguments = arguments.to_bytes();
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(routing_key),
            no_wait: false,
            arguments: RawTable::from_validated_bytes(&arguments),
        };
        self.call(&bind, "queue.bind-ok").await;
    }

    pub(crate) async fn bind_exchange(
        &mut self,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) {
        let bind = exchange::Bind {
            destination: short(destination),
            source: short(source),
            routing_key: short(routing_key),
            ..exchange::Bind::default()
        };
        self.call(&bind, "exchange.bind-ok").await;
    }

    pub(crate) async fn delete(&mut self, name: &str) {
        let delete = queue::Delete {
            queue: short(name),
            ..queue::Delete::default()
        };
        self.call(&delete, "queue.delete-ok").await;
    }

    /// Starts a consumer that has to acknowledge; its tag is the queue's name.
    pub(crate) async fn consume(&mut self, queue: &str) {
        self.consume_with(&basic::Consume {
            queue: short(queue),
            consumer_tag: short(queue),
            ..basic::Consume::default()
        })
        .await;
    }

    pub(crate) async fn consume_no_ack(&mut self, queue: &str) {
        self.consume_with(&basic::Consume {
            queue: short(queue),
            consumer_tag: short(queue),
            no_ack: true,
            ..basic::Consume::default()
        })
        .await;
    }

    /// Starts a consumer and returns its tag.
    pub(crate) async fn consume_with(&mut self, consume: &basic::Consume<'_>) -> String {
        let heard = self.call(consume, "basic.consume-ok").await;
        let Method::BasicConsumeOk(ok) = heard.method() else {
            unreachable!("its name was looked at")
        };
        ok.consumer_tag.as_str().to_owned()
    }

    pub(crate) async fn cancel(&mut self, consumer_tag: &str) {
        let cancel = basic::Cancel {
            consumer_tag: short(consumer_tag),
            no_wait: false,
        };
        self.call(&cancel, "basic.cancel-ok").await;
    }

    pub(crate) async fn prefetch(&mut self, prefetch_count: u16, global: bool) {
        self.call(
            &basic::Qos {
                prefetch_size: 0,
                prefetch_count,
                global,
            },
            "basic.qos-ok",
        )
        .await;
    }

    /// Takes a message, to be acknowledged, if there is one.
    pub(crate) async fn get(&mut self, queue: &str) -> Option<Delivered> {
        self.send(&basic::Get {
            queue: short(queue),
            no_ack: false,
        })
        .await;
        let heard = self.hear().await.expect("an answer comes");
        match heard.method() {
            Method::BasicGetEmpty(_) => None,
            _ => Some(heard.into_delivered()),
        }
    }

    /// Takes everything that is in a queue, as texts.
    pub(crate) async fn drain(&mut self, queue: &str) -> Vec<String> {
        let mut texts = Vec::new();
        while let Some(delivered) = self.get(queue).await {
            self.ack(delivered.tag).await;
            texts.push(delivered.text().to_owned());
        }
        texts
    }

    pub(crate) async fn ack(&mut self, delivery_tag: u64) {
        self.send(&basic::Ack {
            delivery_tag,
            multiple: false,
        })
        .await;
    }

    pub(crate) async fn ack_up_to(&mut self, delivery_tag: u64) {
        self.send(&basic::Ack {
            delivery_tag,
            multiple: true,
        })
        .await;
    }

    pub(crate) async fn nack(&mut self, delivery_tag: u64, requeue: bool) {
        self.send(&basic::Nack {
            delivery_tag,
            multiple: false,
            requeue,
        })
        .await;
    }

    pub(crate) async fn select_confirms(&mut self) {
        self.call(&confirm::Select { no_wait: false }, "confirm.select-ok")
            .await;
    }

    pub(crate) async fn close_channel(&mut self) {
        let close = channel::Close {
            reply_code: 200,
            reply_text: short("bye"),
            class_id: 0,
            method_id: 0,
        };
        self.call(&close, "channel.close-ok").await;
    }

    /// Says goodbye and hears that it was heard; the socket is still open.
    pub(crate) async fn say_goodbye(&mut self) {
        let close = connection::Close {
            reply_code: 200,
            reply_text: short("bye"),
            class_id: 0,
            method_id: 0,
        };
        self.send_on(0, &close).await;
        self.expect_on(0, "connection.close-ok").await;
    }

    /// Says goodbye, and closes the socket as a client does.
    pub(crate) async fn close(mut self) {
        self.say_goodbye().await;
        self.send_end().await;
        self.expect_end().await;
    }
}
