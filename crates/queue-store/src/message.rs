//! One message: what it says, in one allocation.

mod small;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use small::MessageLayout;
use small::SmallLayout;

/// A message, cheap to clone: a copy is one reference count, however many queues hold one.
///
/// It never changes. What belongs to a queue rather than to the message (its place, its deadline,
/// how often it came back) is kept by the queue.
///
/// A message made by [`Message::new`] is one allocation of 8 bytes and what it says, 16 if it
/// expires. One made by [`Message::with_shared_body`] leaves the body where it is and keeps that
/// whole buffer alive.
#[derive(Clone)]
pub struct Message(Repr);

// Sixteen bytes, since every queue that holds the message has one of these: the tag of the enum
// lies where the pointer of the first variant cannot be null.
#[derive(Clone)]
enum Repr {
    Small(Arc<[u8]>),
    Large(Arc<LargeMessage>),
}

/// What most messages are, before it is called a [`Message`]: one allocation.
///
/// Its two words stay in the processor's registers until they are put where the message waits, while those of a [`Message`], which
/// may be something else, go through memory: they are written one by one and read as one piece, for which a processor waits until
/// all that was written before is in its cache, the body among it.
#[derive(Clone)]
pub struct SmallMessage(Arc<[u8]>);

/// What a [`Message`] is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessageParts<'a> {
    /// The exchange it was published to. Beyond 255 bytes, which AMQP cannot express, it costs more
    /// memory.
    pub exchange: &'a str,
    /// Its routing key, with the same limit.
    pub routing_key: &'a str,
    /// Its properties, as the protocol encodes them. Opaque to the queue.
    pub properties: &'a [u8],
    /// Its body.
    pub body: &'a [u8],
    /// Whether it asked to survive a restart.
    pub persistent: bool,
    /// Its priority.
    pub priority: u8,
    /// How long it may wait in a queue, in milliseconds.
    pub expiration_ms: Option<u64>,
}

/// What a [`Message`] says, its names as the bytes of texts: to prove again that they are text would cost more than all the
/// rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageContents<'a> {
    /// See [`Message::exchange_bytes`].
    pub exchange: &'a [u8],
    /// See [`Message::routing_key_bytes`].
    pub routing_key: &'a [u8],
    /// See [`Message::properties`].
    pub properties: &'a [u8],
    /// See [`Message::body`].
    pub body: &'a [u8],
}

/// A message whose parts do not fit the small layout, or whose body is shared.
struct LargeMessage {
    persistent: bool,
    priority: u8,
    expiration_ms: Option<u64>,
    exchange_len: usize,
    routing_key_len: usize,
    /// Exchange, routing key and properties, one after the other.
    head: Box<[u8]>,
    body: Bytes,
}

/// How long a message is, in two ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lens {
    /// Of its body alone.
    pub(crate) body: u64,
    /// Of all that it holds of memory.
    pub(crate) held: u64,
}

/// What an `Arc` puts before its contents: two counters.
const ARC_HEADER_LEN: usize = 2 * size_of::<usize>();

impl Message {
    /// Makes a message of its parts, copying them.
    ///
    /// `scratch` is where it is put together, so that the message itself is allocated once and at
    /// its exact size. What `scratch` holds is lost; its memory is used again by the next call.
    #[must_use]
    #[inline]
    pub fn new(parts: &MessageParts<'_>, scratch: &mut Vec<u8>) -> Self {
        match SmallMessage::new(parts, scratch) {
            Some(message) => message.into(),
            None => Self::with_shared_body(parts, Bytes::copy_from_slice(parts.body)),
        }
    }

    /// Makes a message of what is written down of it, as [`new`](Self::new) does of its parts; `None` if that does not fit the
    /// small layout. The names in it must be text.
    #[inline]
    pub(crate) fn of_layout<const N: usize>(
        layout: &MessageLayout<'_, N>,
        scratch: &mut Vec<u8>,
    ) -> Option<Self> {
        small::put_together(layout, scratch).map(|bytes| Self(Repr::Small(bytes)))
    }

    /// Makes a message whose body stays where it is: a slice of the buffer it was read into, say.
    /// The body among the parts is ignored.
    ///
    /// For large bodies: the copy that is saved has to be worth two more allocations, and the rest
    /// of the buffer stays in memory as long as the message does.
    #[must_use]
    pub fn with_shared_body(parts: &MessageParts<'_>, body: Bytes) -> Self {
        let (exchange, routing_key) = (parts.exchange.as_bytes(), parts.routing_key.as_bytes());
        Self(Repr::Large(Arc::new(LargeMessage {
            persistent: parts.persistent,
            priority: parts.priority,
            expiration_ms: parts.expiration_ms,
            exchange_len: exchange.len(),
            routing_key_len: routing_key.len(),
            head: [exchange, routing_key, parts.properties]
                .concat()
                .into_boxed_slice(),
            body,
        })))
    }

    /// All that it says at once, for one look at where things are in it.
    #[must_use]
    #[inline]
    pub fn contents(&self) -> MessageContents<'_> {
        match &self.0 {
            Repr::Small(bytes) => SmallLayout::of(bytes).contents(bytes),
            Repr::Large(large) => {
                let (exchange, rest) = large.head.split_at(large.exchange_len);
                let (routing_key, properties) = rest.split_at(large.routing_key_len);
                MessageContents {
                    exchange,
                    routing_key,
                    properties,
                    body: &large.body,
                }
            }
        }
    }

    /// The exchange it was published to.
    #[must_use]
    pub fn exchange(&self) -> &str {
        as_text(self.exchange_bytes())
    }

    /// The bytes of [`exchange`](Self::exchange), without the cost of proving again that they are
    /// text.
    #[must_use]
    pub fn exchange_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Small(bytes) => &bytes[SmallLayout::of(bytes).exchange()],
            Repr::Large(large) => &large.head[..large.exchange_len],
        }
    }

    /// Its routing key.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        as_text(self.routing_key_bytes())
    }

    /// The bytes of [`routing_key`](Self::routing_key), without the cost of proving again that they
    /// are text.
    #[must_use]
    pub fn routing_key_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Small(bytes) => &bytes[SmallLayout::of(bytes).routing_key()],
            Repr::Large(large) => &large.head[large.exchange_len..][..large.routing_key_len],
        }
    }

    /// Its properties, as they were given.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        match &self.0 {
            Repr::Small(bytes) => &bytes[SmallLayout::of(bytes).properties()],
            Repr::Large(large) => &large.head[large.exchange_len + large.routing_key_len..],
        }
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.0 {
            Repr::Small(bytes) => &bytes[SmallLayout::of(bytes).body_start()..],
            Repr::Large(large) => &large.body,
        }
    }

    /// Its body as a buffer that can be kept without copying, if it is one: see
    /// [`with_shared_body`](Self::with_shared_body).
    #[must_use]
    pub fn shared_body(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Small(_) => None,
            Repr::Large(large) => Some(&large.body),
        }
    }

    /// Whether it asked to survive a restart.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        match &self.0 {
            Repr::Small(bytes) => small::is_persistent(bytes),
            Repr::Large(large) => large.persistent,
        }
    }

    /// Its priority.
    #[must_use]
    pub fn priority(&self) -> u8 {
        match &self.0 {
            Repr::Small(bytes) => small::priority(bytes),
            Repr::Large(large) => large.priority,
        }
    }

    /// How long it may wait in a queue, in milliseconds.
    #[must_use]
    pub fn expiration_ms(&self) -> Option<u64> {
        match &self.0 {
            Repr::Small(bytes) => small::expiration_ms(bytes),
            Repr::Large(large) => large.expiration_ms,
        }
    }

    /// The length of its body.
    #[must_use]
    pub fn body_len(&self) -> usize {
        match &self.0 {
            Repr::Small(bytes) => bytes.len() - SmallLayout::of(bytes).body_start(),
            Repr::Large(large) => large.body.len(),
        }
    }

    /// [`body_len`](Self::body_len) and [`size_bytes`](Self::size_bytes), by one look at it: queues sum up both.
    #[inline]
    pub(crate) fn lens(&self) -> Lens {
        let (body, held) = match &self.0 {
            Repr::Small(bytes) => (
                bytes.len() - SmallLayout::of(bytes).body_start(),
                bytes.len(),
            ),
            Repr::Large(large) => {
                let body = large.body.len();
                (body, size_of::<LargeMessage>() + large.head.len() + body)
            }
        };
        Lens {
            body: body as u64,
            held: (ARC_HEADER_LEN + held) as u64,
        }
    }

    /// Whether the other is a clone of this one, or this of that.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Repr::Small(one), Repr::Small(other)) => Arc::ptr_eq(one, other),
            (Repr::Large(one), Repr::Large(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Where it is in memory. Two that [are the same](Self::is_same) are at the same place, and no
    /// two others while both exist.
    pub(crate) fn address(&self) -> usize {
        match &self.0 {
            Repr::Small(bytes) => Arc::as_ptr(bytes).addr(),
            Repr::Large(large) => Arc::as_ptr(large).addr(),
        }
    }

    /// Whether only one queue has it, which has just said that it is to be [kept](crate::Effect::Store). This costs a look
    /// at memory that is at hand; nothing is wrong if somebody drops or clones it meanwhile.
    pub(crate) fn is_of_one_queue(&self) -> bool {
        let clones = match &self.0 {
            Repr::Small(bytes) => Arc::strong_count(bytes),
            Repr::Large(large) => Arc::strong_count(large),
        };
        // Its place in the queue and the effect. One that has been published to several is on its way to the others, or in
        // them; who appends without a queue may have but one.
        clones == 2
    }

    /// How it is written down.
    #[inline]
    pub(crate) fn layout(&self) -> MessageLayout<'_> {
        match &self.0 {
            Repr::Small(bytes) => {
                let layout = SmallLayout::of(bytes);
                MessageLayout {
                    persistent: self.is_persistent(),
                    priority: self.priority(),
                    expiration_ms: self.expiration_ms(),
                    lens: [
                        layout.exchange_len,
                        layout.routing_key_len,
                        layout.properties_len,
                        bytes.len() - layout.body_start(),
                    ],
                    contents: [&bytes[layout.names_start..], &[]],
                }
            }
            Repr::Large(large) => MessageLayout {
                persistent: large.persistent,
                priority: large.priority,
                expiration_ms: large.expiration_ms,
                lens: [
                    large.exchange_len,
                    large.routing_key_len,
                    large.head.len() - large.exchange_len - large.routing_key_len,
                    large.body.len(),
                ],
                contents: [&large.head, &large.body],
            },
        }
    }

    /// The memory it holds, once for all its clones: everything it says and how that is kept. Of a
    /// shared buffer only the body counts.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let contents = match &self.0 {
            Repr::Small(bytes) => bytes.len(),
            Repr::Large(large) => size_of::<LargeMessage>() + large.head.len() + large.body.len(),
        };
        ARC_HEADER_LEN + contents
    }
}

impl SmallMessage {
    /// Makes a message of its parts as [`Message::new`] does; `None` if it needs another form: names of more than 255 bytes,
    /// properties of more than 4 GiB.
    #[must_use]
    #[inline(always)]
    pub fn new(parts: &MessageParts<'_>, scratch: &mut Vec<u8>) -> Option<Self> {
        let layout = MessageLayout {
            persistent: parts.persistent,
            priority: parts.priority,
            expiration_ms: parts.expiration_ms,
            lens: [
                parts.exchange.len(),
                parts.routing_key.len(),
                parts.properties.len(),
                parts.body.len(),
            ],
            contents: [
                parts.exchange.as_bytes(),
                parts.routing_key.as_bytes(),
                parts.properties,
                parts.body,
            ],
        };
        small::put_together(&layout, scratch).map(Self)
    }
}

impl From<SmallMessage> for Message {
    #[inline]
    fn from(small: SmallMessage) -> Self {
        Self(Repr::Small(small.0))
    }
}

impl fmt::Debug for SmallMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Message::from(self.clone()).fmt(f)
    }
}

fn as_text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("names come in as text and are never changed")
}

/// Messages are equal when they say the same, however each of them is kept.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.exchange_bytes() == other.exchange_bytes()
            && self.routing_key_bytes() == other.routing_key_bytes()
            && self.properties() == other.properties()
            && self.body() == other.body()
            && self.is_persistent() == other.is_persistent()
            && self.priority() == other.priority()
            && self.expiration_ms() == other.expiration_ms()
    }
}

impl Eq for Message {}

/// Names and lengths; the contents of a message do not belong in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("properties_len", &self.properties().len())
            .field("body_len", &self.body_len())
            .field("persistent", &self.is_persistent())
            .field("priority", &self.priority())
            .field("expiration_ms", &self.expiration_ms())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::small::{EXPIRATION_LEN, PREFIX_LEN};
    use super::*;

    fn parts() -> MessageParts<'static> {
        MessageParts {
            exchange: "ex",
            routing_key: "a.b",
            properties: &[1, 2, 3],
            body: b"body",
            persistent: true,
            priority: 7,
            expiration_ms: Some(u64::MAX),
        }
    }

    #[track_caller]
    fn check(message: &Message, parts: &MessageParts<'_>) {
        assert_eq!(message.exchange(), parts.exchange);
        assert_eq!(message.routing_key(), parts.routing_key);
        assert_eq!(message.properties(), parts.properties);
        assert_eq!(message.body(), parts.body);
        assert_eq!(message.body_len(), parts.body.len());
        assert_eq!(message.is_persistent(), parts.persistent);
        assert_eq!(message.priority(), parts.priority);
        assert_eq!(message.expiration_ms(), parts.expiration_ms);
    }

    #[track_caller]
    fn check_both_kinds(parts: &MessageParts<'_>) {
        let small = Message::new(parts, &mut Vec::new());
        let large = Message::with_shared_body(parts, Bytes::copy_from_slice(parts.body));
        check(&small, parts);
        check(&large, parts);
        assert_eq!(small, large);
    }

    #[test]
    fn parts_come_back_as_given() {
        check_both_kinds(&parts());
        check_both_kinds(&MessageParts::default());
        check_both_kinds(&MessageParts {
            expiration_ms: None,
            ..parts()
        });
        check_both_kinds(&MessageParts {
            persistent: false,
            expiration_ms: Some(0),
            ..parts()
        });
    }

    #[test]
    fn a_clone_is_the_same_and_an_equal_one_is_not() {
        let small = Message::new(&parts(), &mut Vec::new());
        let large = Message::with_shared_body(&parts(), Bytes::from_static(b"body"));
        for message in [&small, &large] {
            assert!(message.is_same(&message.clone()));
            assert_eq!(message.address(), message.clone().address());
        }
        assert!(!small.is_same(&large));
        assert!(!small.is_same(&Message::new(&parts(), &mut Vec::new())));
    }

    #[test]
    fn names_may_be_as_long_as_the_protocols_allow_and_longer() {
        for len in [255, 256, 70_000] {
            let name = "é".repeat(len / 2) + if len % 2 == 1 { "x" } else { "" };
            check_both_kinds(&MessageParts {
                exchange: &name,
                ..parts()
            });
            check_both_kinds(&MessageParts {
                routing_key: &name,
                ..parts()
            });
            check_both_kinds(&MessageParts {
                properties: name.as_bytes(),
                ..parts()
            });
        }
    }

    #[test]
    fn scratch_is_used_again_and_leaves_no_trace() {
        let mut scratch = b"left over".to_vec();
        check(&Message::new(&parts(), &mut scratch), &parts());
        let plain = MessageParts {
            body: b"next",
            ..MessageParts::default()
        };
        check(&Message::new(&plain, &mut scratch), &plain);
    }

    #[test]
    fn a_shared_body_is_not_copied() {
        let buffer = Bytes::from_static(b"a frame with a body in it");
        let message = Message::with_shared_body(&parts(), buffer.slice(15..19));
        assert_eq!(message.body(), b"body");
        assert_eq!(message.body().as_ptr(), buffer[15..].as_ptr());
        assert_eq!(message.shared_body().map(Bytes::len), Some(4));
        assert!(
            Message::new(&parts(), &mut Vec::new())
                .shared_body()
                .is_none()
        );
    }

    #[test]
    fn every_part_makes_a_difference_to_equality() {
        let message = Message::new(&parts(), &mut Vec::new());
        let others = [
            MessageParts {
                exchange: "other",
                ..parts()
            },
            MessageParts {
                routing_key: "other",
                ..parts()
            },
            MessageParts {
                properties: b"other",
                ..parts()
            },
            MessageParts {
                body: b"other",
                ..parts()
            },
            MessageParts {
                persistent: false,
                ..parts()
            },
            MessageParts {
                priority: 0,
                ..parts()
            },
            MessageParts {
                expiration_ms: None,
                ..parts()
            },
        ];
        for other in others {
            assert_ne!(message, Message::new(&other, &mut Vec::new()), "{other:?}");
        }
    }

    #[test]
    fn a_handle_is_sixteen_bytes() {
        assert_eq!(size_of::<Message>(), 16);
    }

    #[test]
    fn size_counts_everything_said_and_the_headers() {
        let said = "ex".len() + "a.b".len() + 3 + "body".len();
        let small = Message::new(&parts(), &mut Vec::new());
        assert_eq!(
            small.size_bytes(),
            said + ARC_HEADER_LEN + PREFIX_LEN + EXPIRATION_LEN
        );
        let large = Message::with_shared_body(&parts(), Bytes::from_static(b"body"));
        assert_eq!(
            large.size_bytes(),
            said + ARC_HEADER_LEN + size_of::<LargeMessage>()
        );
    }
}
