//! A message as bytes.

use super::wire::{Malformed, Reader, put_varint};
use crate::{Message, MessageParts};

/// The message asked to survive a restart.
const PERSISTENT: u8 = 1;
/// The time it may wait follows.
const EXPIRES: u8 = 2;

/// Appends a message: flags, priority, the lengths of its four parts, how long it may wait if that
/// is bounded, and the parts.
pub(super) fn put_message(out: &mut Vec<u8>, message: &Message) {
    let (exchange, routing_key) = (message.exchange_bytes(), message.routing_key_bytes());
    let (properties, body) = (message.properties(), message.body());
    // Enough for all the numbers, so that the buffer grows at most once.
    out.reserve(64 + exchange.len() + routing_key.len() + properties.len() + body.len());
    let expiration_ms = message.expiration_ms();
    let persistent = if message.is_persistent() {
        PERSISTENT
    } else {
        0
    };
    let expires = if expiration_ms.is_some() { EXPIRES } else { 0 };
    out.extend_from_slice(&[persistent | expires, message.priority()]);
    put_varint(out, exchange.len() as u64);
    put_varint(out, routing_key.len() as u64);
    put_varint(out, properties.len() as u64);
    put_varint(out, body.len() as u64);
    if let Some(expiration_ms) = expiration_ms {
        put_varint(out, expiration_ms);
    }
    out.extend_from_slice(exchange);
    out.extend_from_slice(routing_key);
    out.extend_from_slice(properties);
    out.extend_from_slice(body);
}

/// Takes a message off the front.
pub(super) fn take_parts<'a>(reader: &mut Reader<'a>) -> Result<MessageParts<'a>, Malformed> {
    let [flags, priority] = reader.array()?;
    if flags & !(PERSISTENT | EXPIRES) != 0 {
        return Err(Malformed);
    }
    let exchange_len = reader.number()?;
    let routing_key_len = reader.number()?;
    let properties_len = reader.number()?;
    let body_len = reader.number()?;
    let expiration_ms = match flags & EXPIRES {
        0 => None,
        _ => Some(reader.varint()?),
    };
    Ok(MessageParts {
        exchange: reader.text(exchange_len)?,
        routing_key: reader.text(routing_key_len)?,
        properties: reader.bytes(properties_len)?,
        body: reader.bytes(body_len)?,
        persistent: flags & PERSISTENT != 0,
        priority,
        expiration_ms,
    })
}

/// Makes the message that stands at the front.
pub(super) fn take_message(
    reader: &mut Reader<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Message, Malformed> {
    Ok(Message::new(&take_parts(reader)?, scratch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> MessageParts<'static> {
        MessageParts {
            exchange: "ex",
            routing_key: "a.b",
            properties: &[9, 8],
            body: b"body",
            persistent: true,
            priority: 7,
            expiration_ms: Some(300),
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let mut out = Vec::new();
        put_message(&mut out, &Message::new(&parts(), &mut Vec::new()));
        let mut want = vec![3, 7, 2, 3, 2, 4, 0xac, 2];
        want.extend_from_slice(b"exa.b\x09\x08body");
        assert_eq!(out, want);
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "x".repeat(70_000);
        for parts in [
            parts(),
            MessageParts::default(),
            MessageParts {
                routing_key: &long,
                properties: long.as_bytes(),
                expiration_ms: None,
                ..parts()
            },
        ] {
            let message = Message::new(&parts, &mut Vec::new());
            let mut out = Vec::new();
            put_message(&mut out, &message);
            let mut reader = Reader::new(&out);
            assert_eq!(take_message(&mut reader, &mut Vec::new()), Ok(message));
            assert!(reader.is_empty());
            for cut in 0..out.len().min(100) {
                assert!(take_parts(&mut Reader::new(&out[..cut])).is_err(), "{cut}");
            }
        }
    }
}
