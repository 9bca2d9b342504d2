//! A message as bytes.

use super::wire::{Malformed, Numbers, Reader};
use crate::message::MessageLayout;
use crate::{Message, MessageParts};

/// The message asked to survive a restart.
const PERSISTENT: u8 = 1;
/// The time it may wait follows.
const EXPIRES: u8 = 2;

/// Appends what `head` has, and a message: flags, priority, the lengths of its four parts, how long it may wait if that is
/// bounded, and the parts.
pub(super) fn put_message(out: &mut Vec<u8>, mut head: Numbers, message: &Message) {
    let MessageLayout {
        persistent,
        priority,
        expiration_ms,
        lens,
        contents,
    } = message.layout();
    let persistent = if persistent { PERSISTENT } else { 0 };
    let expires = if expiration_ms.is_some() { EXPIRES } else { 0 };
    head.push(persistent | expires);
    head.push(priority);
    for len in lens {
        head.varint(len as u64);
    }
    if let Some(expiration_ms) = expiration_ms {
        head.varint(expiration_ms);
    }
    let head = head.as_bytes();
    let [first, rest] = contents;
    // So that the buffer grows at most once.
    out.reserve(head.len() + first.len() + rest.len());
    out.extend_from_slice(head);
    out.extend_from_slice(first);
    out.extend_from_slice(rest);
}

/// Takes off the front what stands before the parts of a message, and the parts.
fn take_layout<'a>(reader: &mut Reader<'a>) -> Result<MessageLayout<'a>, Malformed> {
    let [flags, priority] = reader.array()?;
    if flags & !(PERSISTENT | EXPIRES) != 0 {
        return Err(Malformed);
    }
    let mut lens = [0; 4];
    let mut sum = 0_usize;
    for len in &mut lens {
        *len = reader.number()?;
        sum = sum.checked_add(*len).ok_or(Malformed)?;
    }
    let expiration_ms = match flags & EXPIRES {
        0 => None,
        _ => Some(reader.varint()?),
    };
    let contents = reader.bytes(sum)?;
    let [exchange_len, routing_key_len, ..] = lens;
    let names = contents.get(..exchange_len + routing_key_len);
    // That all of it is ASCII is found out sooner than that it is text, and nearly always so.
    if !names.is_some_and(<[u8]>::is_ascii) {
        let mut names = Reader::new(contents);
        names.text(exchange_len)?;
        names.text(routing_key_len)?;
    }
    Ok(MessageLayout {
        persistent: flags & PERSISTENT != 0,
        priority,
        expiration_ms,
        lens,
        contents: [contents, &[]],
    })
}

/// Takes a message off the front.
pub(super) fn take_parts<'a>(reader: &mut Reader<'a>) -> Result<MessageParts<'a>, Malformed> {
    let MessageLayout {
        persistent,
        priority,
        expiration_ms,
        lens: [exchange_len, routing_key_len, properties_len, body_len],
        contents: [contents, _],
    } = take_layout(reader)?;
    let mut reader = Reader::new(contents);
    Ok(MessageParts {
        exchange: reader.text(exchange_len)?,
        routing_key: reader.text(routing_key_len)?,
        properties: reader.bytes(properties_len)?,
        body: reader.bytes(body_len)?,
        persistent,
        priority,
        expiration_ms,
    })
}

/// Makes the message that stands at the front.
pub(super) fn take_message(
    reader: &mut Reader<'_>,
    scratch: &mut Vec<u8>,
) -> Result<Message, Malformed> {
    let start = *reader;
    let layout = take_layout(reader)?;
    match Message::of_layout(&layout, scratch) {
        Some(message) => Ok(message),
        None => Ok(Message::new(&take_parts(&mut { start })?, scratch)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

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
        put_message(
            &mut out,
            Numbers::new(),
            &Message::new(&parts(), &mut Vec::new()),
        );
        let mut want = vec![3, 7, 2, 3, 2, 4, 0xac, 2];
        want.extend_from_slice(b"exa.b\x09\x08body");
        assert_eq!(out, want);
    }

    #[test]
    fn names_that_are_no_text_are_malformed() {
        for names in [&b"\xffxa.b"[..], b"exa.\xff", "e\u{e9}.b".as_bytes()] {
            let mut bytes = vec![0, 0, 2, 3, 0, 0];
            bytes.extend_from_slice(names);
            // A character that lies across both names is in neither of them.
            assert_eq!(bytes.len(), 6 + 5);
            let taken = take_message(&mut Reader::new(&bytes), &mut Vec::new());
            assert_eq!(taken, Err(Malformed), "{names:?}");
        }
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
            put_message(&mut out, Numbers::new(), &message);
            let body = Bytes::copy_from_slice(parts.body);
            let shared = Message::with_shared_body(&parts, body);
            let mut the_same = Vec::new();
            put_message(&mut the_same, Numbers::new(), &shared);
            assert_eq!(out, the_same);
            let mut reader = Reader::new(&out);
            assert_eq!(take_message(&mut reader, &mut Vec::new()), Ok(message));
            assert!(reader.is_empty());
            for cut in 0..out.len().min(100) {
                assert!(take_parts(&mut Reader::new(&out[..cut])).is_err(), "{cut}");
            }
        }
    }
}
