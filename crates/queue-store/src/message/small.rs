//! What most messages are in memory: everything that one says, in one piece of bytes.
//!
//! In this order: flags (1 byte), priority (1), length of the exchange (1), length of the routing key (1), length of the
//! properties (4), the expiration if flagged (8), exchange, routing key, properties, body.

use std::ops::Range;
use std::sync::Arc;

use super::MessageContents;

pub(super) const PREFIX_LEN: usize = 8;
pub(super) const EXPIRATION_LEN: usize = 8;
const PERSISTENT: u8 = 1;
const EXPIRES: u8 = 2;

/// A message as it is written down, its contents in `N` pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLayout<'a, const N: usize = 2> {
    pub(crate) persistent: bool,
    pub(crate) priority: u8,
    pub(crate) expiration_ms: Option<u64>,
    /// The lengths of exchange, routing key, properties and body.
    pub(crate) lens: [usize; 4],
    /// These four, one after the other, in so many pieces.
    pub(crate) contents: [&'a [u8]; N],
}

/// Puts a message together, if its names and properties fit. `scratch` is where that happens.
#[inline]
pub(super) fn put_together<const N: usize>(
    layout: &MessageLayout<'_, N>,
    scratch: &mut Vec<u8>,
) -> Option<Arc<[u8]>> {
    let [exchange_len, routing_key_len, properties_len, _] = layout.lens;
    let exchange_len = u8::try_from(exchange_len).ok()?;
    let routing_key_len = u8::try_from(routing_key_len).ok()?;
    let [p0, p1, p2, p3] = u32::try_from(properties_len).ok()?.to_ne_bytes();
    let persistent = if layout.persistent { PERSISTENT } else { 0 };
    let expires = if layout.expiration_ms.is_some() {
        EXPIRES
    } else {
        0
    };
    scratch.clear();
    scratch.extend_from_slice(&[
        persistent | expires,
        layout.priority,
        exchange_len,
        routing_key_len,
        p0,
        p1,
        p2,
        p3,
    ]);
    if let Some(expiration_ms) = layout.expiration_ms {
        scratch.extend_from_slice(&expiration_ms.to_ne_bytes());
    }
    for contents in layout.contents {
        scratch.extend_from_slice(contents);
    }
    Some(Arc::from(scratch.as_slice()))
}

pub(super) fn is_persistent(bytes: &[u8]) -> bool {
    bytes[0] & PERSISTENT != 0
}

pub(super) fn priority(bytes: &[u8]) -> u8 {
    bytes[1]
}

pub(super) fn expiration_ms(bytes: &[u8]) -> Option<u64> {
    if bytes[0] & EXPIRES == 0 {
        return None;
    }
    let ms = bytes[PREFIX_LEN..].first_chunk()?;
    Some(u64::from_ne_bytes(*ms))
}

/// Where things are in such a piece of bytes.
pub(super) struct SmallLayout {
    pub(super) names_start: usize,
    pub(super) exchange_len: usize,
    pub(super) routing_key_len: usize,
    pub(super) properties_len: usize,
}

impl SmallLayout {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let Some(&[flags, _, exchange_len, routing_key_len, p0, p1, p2, p3]) =
            bytes.first_chunk::<PREFIX_LEN>()
        else {
            unreachable!("a small message starts with its prefix");
        };
        let expiration_len = if flags & EXPIRES == 0 {
            0
        } else {
            EXPIRATION_LEN
        };
        Self {
            names_start: PREFIX_LEN + expiration_len,
            exchange_len: usize::from(exchange_len),
            routing_key_len: usize::from(routing_key_len),
            // Lossless: it was the length of a slice in memory.
            properties_len: u32::from_ne_bytes([p0, p1, p2, p3]) as usize,
        }
    }

    /// Everything in these bytes, which they are the layout of.
    #[inline]
    pub(super) fn contents<'a>(&self, bytes: &'a [u8]) -> MessageContents<'a> {
        let (exchange, rest) = bytes[self.names_start..].split_at(self.exchange_len);
        let (routing_key, rest) = rest.split_at(self.routing_key_len);
        let (properties, body) = rest.split_at(self.properties_len);
        MessageContents {
            exchange,
            routing_key,
            properties,
            body,
        }
    }

    pub(super) fn exchange(&self) -> Range<usize> {
        self.names_start..self.names_start + self.exchange_len
    }

    pub(super) fn routing_key(&self) -> Range<usize> {
        let start = self.exchange().end;
        start..start + self.routing_key_len
    }

    pub(super) fn properties(&self) -> Range<usize> {
        let start = self.routing_key().end;
        start..start + self.properties_len
    }

    pub(super) fn body_start(&self) -> usize {
        self.properties().end
    }
}
