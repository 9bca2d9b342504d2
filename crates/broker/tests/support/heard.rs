//! What a client has heard, taken out of the buffer it came in.

use leveret_amqp_codec::{Limits, Method};
use leveret_broker::Properties;

/// A method, with the content that came after it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) channel: u16,
    pub(super) payload: Vec<u8>,
    pub(super) content: Option<(Properties, Vec<u8>)>,
}

impl Heard {
    pub(crate) fn method(&self) -> Method<'_> {
        Method::decode(&self.payload, &Limits::default()).expect("it was decoded when it came")
    }

    /// The message of a basic.deliver, basic.get-ok or basic.return.
    #[track_caller]
    pub(crate) fn into_delivered(self) -> Delivered {
        let mut delivered = Delivered::default();
        match self.method() {
            Method::BasicDeliver(deliver) => {
                delivered.consumer_tag = deliver.consumer_tag.as_str().to_owned();
                delivered.tag = deliver.delivery_tag;
                delivered.redelivered = deliver.redelivered;
                delivered.exchange = deliver.exchange.as_str().to_owned();
                delivered.routing_key = deliver.routing_key.as_str().to_owned();
            }
            Method::BasicGetOk(ok) => {
                delivered.tag = ok.delivery_tag;
                delivered.redelivered = ok.redelivered;
                delivered.exchange = ok.exchange.as_str().to_owned();
                delivered.routing_key = ok.routing_key.as_str().to_owned();
                delivered.remaining = ok.message_count;
            }
            Method::BasicReturn(returned) => {
                assert_eq!(
                    (returned.reply_code, &*returned.reply_text),
                    (312, "NO_ROUTE")
                );
                delivered.exchange = returned.exchange.as_str().to_owned();
                delivered.routing_key = returned.routing_key.as_str().to_owned();
            }
            other => panic!("no message: {other:?}"),
        }
        let (properties, body) = self.content.expect("a message has a content");
        Delivered {
            properties,
            body,
            ..delivered
        }
    }

    /// What a connection.close or channel.close says.
    #[track_caller]
    pub(crate) fn into_closed(self) -> Closed {
        let (code, text, class_id, method_id) = match self.method() {
            Method::ConnectionClose(close) => {
                assert_eq!(self.channel, 0);
                (
                    close.reply_code,
                    close.reply_text,
                    close.class_id,
                    close.method_id,
                )
            }
            Method::ChannelClose(close) => (
                close.reply_code,
                close.reply_text,
                close.class_id,
                close.method_id,
            ),
            other => panic!("nothing is closed: {other:?}"),
        };
        Closed {
            code,
            text: text.as_str().to_owned(),
            method: (class_id, method_id),
        }
    }
}

/// A message that was delivered, got or returned; what its method has no field for is left empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) consumer_tag: String,
    pub(crate) tag: u64,
    pub(crate) redelivered: bool,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) remaining: u32,
    pub(crate) properties: Properties,
    pub(crate) body: Vec<u8>,
}

impl Delivered {
    /// The body, which tests make of text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// Why a channel or connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) text: String,
    /// The class and method to blame.
    pub(crate) method: (u16, u16),
}

/// A publisher confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Ack { tag: u64, multiple: bool },
    Nack { tag: u64, multiple: bool },
}

/// What queue.declare-ok says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) messages: u32,
    pub(crate) consumers: u32,
}
