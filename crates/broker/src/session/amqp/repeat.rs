//! A publish like the one before: recognized by its bytes, and not decoded again.
//!
//! Most publishers send one message after the other to the same exchange, with the same key and the same properties. All
//! frames but the body are then the same bytes, save the length of the body, and everything follows from them that followed
//! the last time, as long as the [route](RouteCache) holds.

use leveret_amqp_codec::{ChannelId, FRAME_END, FrameKind, Limits};
use leveret_queue_store::MessageParts;

use super::publish::SHARED_BODY_MIN;
use super::whole::Whole;
use crate::delivery_mode;
use crate::expiration;
use crate::vhost::{REPLY_TO, RouteCache};

/// Where the length of the body stands in a header frame: behind the frame's header, the class and the weight (AMQP 2.3.5
/// and 4.2.6.1).
const BODY_LEN_AT: usize = 7 + 4;
const BODY_LEN_SIZE: usize = 8;

/// How often in a row something may be remembered in vain before it is tried less and less often.
const VAIN_MAX: u8 = 6;

/// What is remembered of a publish.
#[derive(Debug, Default)]
pub(super) struct Repeat {
    channel: ChannelId,
    /// The frames up to the length of the body. Empty if nothing is remembered.
    before_len: Vec<u8>,
    /// The rest of them, and how the frame of the body begins.
    after_len: Vec<u8>,
    exchange: String,
    routing_key: String,
    properties: Vec<u8>,
    persistent: bool,
    priority: u8,
    expiration_ms: Option<u64>,
    /// Which of the route cache's latest answers is its.
    answer: u64,
    /// How often in a row something else came than what was remembered.
    vain: u8,
    /// How many messages are let pass before something is remembered again.
    pause: u8,
}

/// A publish that is like the one that is remembered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Again<'a> {
    pub(super) body: &'a [u8],
    /// How many bytes of the input it is.
    pub(super) size: usize,
}

impl Repeat {
    pub(super) fn channel(&self) -> ChannelId {
        self.channel
    }

    /// See [`RouteCache::latest`].
    pub(super) fn answer(&self) -> u64 {
        self.answer
    }

    /// What a message with this body consists of.
    #[inline]
    pub(super) fn parts<'a>(&'a self, body: &'a [u8]) -> MessageParts<'a> {
        MessageParts {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            properties: &self.properties,
            body,
            persistent: self.persistent,
            priority: self.priority,
            expiration_ms: self.expiration_ms,
        }
    }

    /// Takes a publish like the one that is remembered, all there, if that is what comes next.
    #[inline]
    pub(super) fn find<'a>(&mut self, input: &'a [u8], limits: &Limits) -> Option<Again<'a>> {
        if self.before_len.is_empty() {
            return None;
        }
        let again = self.matched(input, limits);
        if again.is_some() {
            self.vain = 0;
        }
        again
    }

    fn matched<'a>(&self, input: &'a [u8], limits: &Limits) -> Option<Again<'a>> {
        let rest = input.strip_prefix(self.before_len.as_slice())?;
        let (announced, rest) = rest.split_first_chunk::<BODY_LEN_SIZE>()?;
        let rest = rest.strip_prefix(self.after_len.as_slice())?;
        let (frame_len, rest) = rest.split_first_chunk::<4>()?;
        let frame_len = u32::from_be_bytes(*frame_len);
        let announced = u64::from_be_bytes(*announced);
        // A message without a body has no frame for it, and one of several frames is looked at frame by frame.
        let is_one_frame = announced == u64::from(frame_len) && frame_len > 0;
        if !is_one_frame || frame_len > limits.frame_size_max || announced > limits.body_size_max {
            return None;
        }
        let (body, rest) = rest.split_at_checked(frame_len as usize)?;
        (rest.first() == Some(&FRAME_END) && body.len() < SHARED_BODY_MIN).then(|| Again {
            body,
            size: input.len() - rest.len() + 1,
        })
    }

    /// Remembers a publish that has just been routed, by the `cache`'s answer for this generation, if the next can be like
    /// it.
    pub(super) fn remember(&mut self, whole: &Whole<'_>, cache: &mut RouteCache, generation: u64) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let (exchange, routing_key) = (&whole.publish.exchange, &whole.publish.routing_key);
        if self.is_like(whole) && cache.latest(generation, self.answer).is_some() {
            // It was looked at once more for another reason.
            return;
        }
        let is_new = self.before_len.is_empty()
            && cache
                .answer(generation, exchange, routing_key)
                .is_some_and(|answer| self.learn(whole, answer));
        if !is_new {
            // Another than was remembered, or one like which there is none.
            self.before_len.clear();
            self.vain = (self.vain + 1).min(VAIN_MAX);
            self.pause = (1 << self.vain) - 1;
        }
    }

    fn is_like(&self, whole: &Whole<'_>) -> bool {
        let (header_start, header_end) = whole.header.split_at(BODY_LEN_AT);
        self.channel == whole.channel
            && self.before_len.strip_prefix(whole.method) == Some(header_start)
            && self.after_len.starts_with(&header_end[BODY_LEN_SIZE..])
    }

    /// Remembers it if nothing has to be looked at for each message: headers, where there may be further keys, or who the
    /// client is.
    fn learn(&mut self, whole: &Whole<'_>, answer: u64) -> bool {
        let peek = whole.properties.peek();
        let is_plain = peek.headers.is_none()
            && peek.user_id.is_none()
            && peek.reply_to.is_none_or(|reply_to| *reply_to != *REPLY_TO)
            && !whole.publish.immediate
            && !whole.body.is_empty();
        let (true, Ok(expiration_ms), Ok(persistent)) = (
            is_plain,
            expiration::of(&peek),
            delivery_mode::is_persistent(&peek),
        ) else {
            return false;
        };
        let (header_start, header_end) = whole.header.split_at(BODY_LEN_AT);
        self.before_len.extend_from_slice(whole.method);
        self.before_len.extend_from_slice(header_start);
        self.after_len.clear();
        self.after_len
            .extend_from_slice(&header_end[BODY_LEN_SIZE..]);
        self.after_len.push(FrameKind::Body.octet());
        self.after_len
            .extend_from_slice(&whole.channel.0.to_be_bytes());
        self.channel = whole.channel;
        whole
            .publish
            .exchange
            .as_str()
            .clone_into(&mut self.exchange);
        whole
            .publish
            .routing_key
            .as_str()
            .clone_into(&mut self.routing_key);
        self.properties.clear();
        self.properties
            .extend_from_slice(whole.properties.as_bytes());
        self.persistent = persistent;
        self.priority = peek.priority.unwrap_or(0);
        self.expiration_ms = expiration_ms;
        self.answer = answer;
        true
    }
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::{
        EncodeMethod, Properties, ShortStr, method::basic, write_body, write_content_header,
        write_method,
    };

    use super::*;

    const CHANNEL: ChannelId = ChannelId(3);
    const ANSWER: u64 = 7;

    fn plain() -> Properties {
        Properties {
            content_type: Some("text/plain".to_owned()),
            delivery_mode: Some(2),
            priority: Some(4),
            expiration: Some("60000".to_owned()),
            reply_to: Some("answers".to_owned()),
            ..Properties::default()
        }
    }

    fn frames(properties: &Properties, body: &[u8]) -> Vec<u8> {
        let publish = basic::Publish {
            exchange: ShortStr::from_static("logs"),
            routing_key: ShortStr::from_static("kern.warning"),
            ..basic::Publish::default()
        };
        let mut out = Vec::new();
        write_method(&mut out, CHANNEL, &publish);
        let class = basic::Publish::CLASS_ID;
        let properties = properties.to_bytes();
        let properties = leveret_amqp_codec::RawProperties::from_validated_bytes(&properties);
        write_content_header(&mut out, CHANNEL, class, body.len() as u64, properties);
        write_body(&mut out, CHANNEL, body, 131_072);
        out
    }

    fn learnt(properties: &Properties, body: &[u8]) -> Repeat {
        let input = frames(properties, body);
        let whole = Whole::decode(&input, &Limits::default()).unwrap();
        let mut repeat = Repeat::default();
        repeat.learn(&whole, ANSWER);
        repeat
    }

    #[test]
    fn what_is_in_vain_is_tried_less_and_less_often() {
        let input = frames(&plain(), b"body");
        let whole = Whole::decode(&input, &Limits::default()).unwrap();
        // Nothing that this publisher sends has an answer that could be remembered.
        let mut cache = RouteCache::default();
        let mut repeat = Repeat::default();
        let mut tried_at = Vec::new();
        for number in 0..300 {
            let may_try = repeat.pause == 0;
            repeat.remember(&whole, &mut cache, 1);
            if may_try {
                tried_at.push(number);
            }
        }
        assert_eq!(tried_at, [0, 2, 6, 14, 30, 62, 126, 190, 254]);

        // What was remembered and is not sent again is in vain, too, and what comes again is not.
        let mut repeat = learnt(&plain(), b"first");
        repeat.vain = 3;
        repeat.remember(&whole, &mut cache, 1);
        assert_eq!((repeat.vain, repeat.pause), (4, 15));
        assert_eq!(repeat.find(&input, &Limits::default()), None);
        let mut repeat = learnt(&plain(), b"first");
        repeat.vain = 3;
        assert!(repeat.find(&input, &Limits::default()).is_some());
        assert_eq!(repeat.vain, 0);
    }

    #[test]
    fn what_differs_in_its_body_alone_is_found() {
        let mut repeat = learnt(&plain(), b"first");
        for len in [1, 5, 255, 256, SHARED_BODY_MIN - 1] {
            let body = vec![b'b'; len];
            let frames = frames(&plain(), &body);
            let input = [&frames[..], b"what follows"].concat();
            let again = repeat.find(&input, &Limits::default()).unwrap();
            assert_eq!((again.body, again.size), (&body[..], frames.len()));
            let parts = repeat.parts(again.body);
            assert_eq!(
                (parts.exchange, parts.routing_key),
                ("logs", "kern.warning")
            );
            assert_eq!(parts.properties, plain().to_bytes());
            assert!(parts.persistent);
            assert_eq!((parts.priority, parts.expiration_ms), (4, Some(60_000)));
            assert_eq!((repeat.channel(), repeat.answer()), (CHANNEL, ANSWER));
        }
    }

    #[test]
    fn nothing_else_is_found() {
        let mut repeat = learnt(&plain(), b"first");
        let input = frames(&plain(), b"other");
        let body_at = input.len() - 1 - b"other".len();
        for at in 0..input.len() {
            assert_eq!(repeat.find(&input[..at], &Limits::default()), None, "{at}");
            let mut changed = input.clone();
            changed[at] ^= 1;
            let is_in_body = (body_at..input.len() - 1).contains(&at);
            let found = repeat.find(&changed, &Limits::default()).is_some();
            assert_eq!(found, is_in_body, "{at}");
        }
        // Beyond a limit, without a frame for the body, and in several.
        let few = |frame_size_max, body_size_max| Limits {
            frame_size_max,
            body_size_max,
            ..Limits::default()
        };
        assert_eq!(repeat.find(&input, &few(4, 5)), None);
        assert_eq!(repeat.find(&input, &few(5, 4)), None);
        assert!(repeat.find(&input, &few(5, 5)).is_some());
        let empty = [frames(&plain(), b""), vec![3, 0, 3, 0, 0, 0, 0, FRAME_END]].concat();
        assert_eq!(repeat.find(&empty, &Limits::default()), None);
        let large = frames(&plain(), &vec![b'b'; SHARED_BODY_MIN]);
        assert_eq!(repeat.find(&large, &Limits::default()), None);
    }

    #[test]
    fn what_is_looked_at_for_each_message_is_not_remembered() {
        let with_headers = Properties {
            headers: Some([("CC", "a")].into_iter().collect()),
            ..Properties::default()
        };
        let of_user = Properties {
            user_id: Some("guest".to_owned()),
            ..Properties::default()
        };
        let request = Properties {
            reply_to: Some(REPLY_TO.to_owned()),
            ..Properties::default()
        };
        for properties in [with_headers, of_user, request] {
            let mut repeat = learnt(&properties, b"body");
            let input = frames(&properties, b"body");
            assert_eq!(repeat.find(&input, &Limits::default()), None);
        }
        let mut repeat = learnt(&plain(), b"");
        assert_eq!(
            repeat.find(&frames(&plain(), b"body"), &Limits::default()),
            None
        );
    }
}
