//! Messages never change; what the broker has to say of one makes another.

use leveret_queue_store::{Message, MessageParts};

/// The same message with other properties, and with a time to live that need not be the one they tell.
pub(super) fn rebuilt(message: &Message, properties: &[u8], expiration_ms: Option<u64>) -> Message {
    let parts = MessageParts {
        exchange: message.exchange(),
        routing_key: message.routing_key(),
        properties,
        body: message.body(),
        persistent: message.is_persistent(),
        priority: message.priority(),
        expiration_ms,
    };
    match message.shared_body() {
        Some(body) => Message::with_shared_body(&parts, body.clone()),
        None => Message::new(&parts, &mut Vec::new()),
    }
}
