//! SEND: from a frame to the batch for the queues (behaviour reference, sections 20.3 to 20.6).

use std::sync::Arc;

use bytes::Bytes;
use leveret_amqp_codec::{Peek, RawProperties, ReplyCode};
use leveret_queue_store::{Message, MessageParts, Time};
use leveret_stomp_codec::Frame;

use super::destination::Destination;
use super::problem::Problem;
use super::{Session, headers};
use crate::error::Refusal;
use crate::expiration;
use crate::session::Output;
use crate::vhost::{REPLY_TO, Route};

/// From this size on a body stays where it was read instead of being copied. It keeps the read buffer alive, which is
/// at most a few times as large.
const SHARED_BODY_MIN: usize = 64 * 1024;

/// What a SEND in a transaction says, of which nothing is looked at before the COMMIT.
#[derive(Debug)]
pub(super) struct HeldSend {
    pub(super) exchange: Box<str>,
    pub(super) routing_key: Box<str>,
    pub(super) properties: Vec<u8>,
    pub(super) body: Bytes,
    pub(super) receipt: Option<Box<str>>,
}

impl HeldSend {
    /// What it counts for against the memory limit.
    pub(super) fn size_bytes(&self) -> usize {
        let texts = self.exchange.len() + self.routing_key.len() + self.properties.len();
        size_of::<Self>() + texts + self.body.len()
    }
}

/// A message that knows its way.
#[derive(Debug)]
pub(super) struct RoutedSend {
    pub(super) route: Arc<Route>,
    pub(super) message: Message,
    pub(super) receipt: Option<Box<str>>,
}

impl Session {
    pub(super) fn send(
        &mut self,
        now: Time,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<(), Problem> {
        if frame.headers.contains("message-id") {
            return Err(Problem::new(
                "Invalid header",
                "'message-id' is not allowed on 'SEND'.\n",
            ));
        }
        let text = destination_of(frame, "SEND")?;
        let destination = Destination::parse(text)?;
        let Some((exchange, routing_key)) = destination.address() else {
            return Err(not_for(text, "SEND"));
        };
        // Before anything else, as in RabbitMQ: also when the message itself is refused, or waits for a COMMIT.
        if let Destination::Queue(name) = &destination {
            self.know_queue(now, name, frame, out)?;
        }
        let mut properties = headers::properties(frame)?;
        if let Some(address) = &properties.reply_to
            && !address.is_empty()
            && let Destination::TempQueue(name) = Destination::parse_reply_to(address)?
        {
            let queue = self.reply_queue(now, &name, out)?;
            properties.reply_to = Some(queue.to_string());
        }
        let bytes = properties.to_bytes();
        let properties = RawProperties::from_validated_bytes(&bytes);
        let receipt = frame.header("receipt").map(Into::into);
        let Some(transaction) = frame.header("transaction") else {
            let mut send = self.route(exchange, routing_key, properties, &frame.body)?;
            send.receipt = receipt;
            self.publish(now, send, out);
            return Ok(());
        };
        let is_small = frame.body.len() < SHARED_BODY_MIN;
        let send = HeldSend {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            body: match is_small {
                true => Bytes::copy_from_slice(&frame.body),
                false => frame.body.clone(),
            },
            properties: bytes,
            receipt,
        };
        let services = &self.core.shared.services;
        self.transactions
            .add_send(transaction, send, services, &self.core.outbox)
    }

    /// Checks a message that was held for a COMMIT, and finds its way.
    pub(super) fn route_held(&mut self, send: &HeldSend) -> Result<RoutedSend, Problem> {
        let properties = RawProperties::from_validated_bytes(&send.properties);
        self.route(&send.exchange, &send.routing_key, properties, &send.body)
    }

    /// Checks what AMQP checks of a publish, and finds its way.
    fn route(
        &mut self,
        exchange: &str,
        routing_key: &str,
        properties: RawProperties<'_>,
        body: &Bytes,
    ) -> Result<RoutedSend, Problem> {
        let vhost = self.vhost()?;
        let peek = properties.peek();
        let cache = &mut self.publisher.cache;
        let routed = vhost.route(
            &self.core.caller,
            cache,
            exchange,
            routing_key,
            properties,
            peek.headers,
        );
        // The order of AMQP's publish: what is wrong with further keys comes last.
        if let Err(refusal) = &routed
            && refusal.code != ReplyCode::PreconditionFailed
        {
            return Err(refusal.clone().into());
        }
        check_reply_to(&peek)?;
        self.core.caller.check_user_id(peek.user_id.as_deref())?;
        let expiration_ms = expiration::of(&peek)?;
        let route = routed?;
        let mut parts = MessageParts {
            exchange,
            routing_key,
            properties: properties.as_bytes(),
            body: &[],
            persistent: peek.delivery_mode == Some(2),
            priority: peek.priority.unwrap_or(0),
            expiration_ms,
        };
        let message = if body.len() < SHARED_BODY_MIN {
            parts.body = body;
            Message::new(&parts, &mut self.publisher.scratch)
        } else {
            Message::with_shared_body(&parts, body.clone())
        };
        Ok(RoutedSend {
            route,
            message,
            receipt: None,
        })
    }

    /// Adds a message to the batch. Nobody is told of one that reaches no queue.
    pub(super) fn publish(&mut self, now: Time, send: RoutedSend, out: &mut Output) {
        let RoutedSend {
            route,
            message,
            receipt,
        } = send;
        if self.subscriptions.owe_acks_to(&route.queues) {
            // A queue has room for a message, and a consumer for it, once it knows what was acknowledged before.
            self.publisher.also_safe_at = self.flush(now, out);
        }
        self.publisher.published.add_one();
        let ticket = self.publisher.promise(receipt.as_deref());
        if let Some(vhost) = &self.core.vhost {
            if !route.captures.is_empty() {
                let safe_at = vhost.capture(now, &route, &message);
                self.publisher.also_safe_at = self.publisher.also_safe_at.max(safe_at);
            } else if route.queues.is_empty() && route.passes.is_none() {
                vhost.note_unroutable(now, &message);
            }
        }
        if !route.queues.is_empty() || route.passes.is_some() {
            self.publisher.batch.push(&route, message, ticket);
        }
        self.publisher.cache.put_back(route);
    }

    /// Whether the next frame publishes, and an alarm stops this session from doing so.
    pub(super) fn must_block(&mut self, input: &[u8]) -> bool {
        let alarms = &self.core.shared.services.alarms;
        if !alarms.is_any_raised() {
            return false;
        }
        let skipped = input
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n' | b'\0'));
        let start = skipped.count();
        if !input[start..].starts_with(b"SEND") {
            return false;
        }
        self.core.blocked = alarms.wait_until_released(&self.core.outbox);
        self.core.blocked
    }
}

/// The `destination` header of a frame that must have one.
pub(super) fn destination_of<'a>(frame: &'a Frame, command: &str) -> Result<&'a str, Problem> {
    frame.header("destination").ok_or_else(|| {
        Problem::new(
            "Missing destination",
            format!("\"{command}\" must include a 'destination' header\n"),
        )
    })
}

/// A destination that exists, but not for this command.
pub(super) fn not_for(destination: &str, command: &str) -> Problem {
    Problem::new(
        "Invalid destination",
        format!("'{destination}' is not a valid destination for '{command}'\n"),
    )
}

/// Direct replies go to channels of AMQP; a session that wants an answer names a temporary queue.
fn check_reply_to(peek: &Peek<'_>) -> Result<(), Refusal> {
    match peek.reply_to {
        Some(address) if *address == *REPLY_TO => Err(Refusal::precondition_failed(
            "fast reply consumer does not exist",
        )),
        _ => Ok(()),
    }
}
