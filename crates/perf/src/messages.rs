//! Publishes that are encoded once and sent again and again.

use std::ops::Range;

use leveret_amqp_codec::method::basic;
use leveret_amqp_codec::{
    FRAME_HEADER_SIZE, Properties, RawProperties, ShortStr, write_body, write_content_header,
    write_method,
};

use crate::connection::CHANNEL;
use crate::error::Error;
use crate::plan::Route;
use crate::stamp::Stamp;

/// How many bytes are sent at once. More makes a system call no cheaper by the byte and leaves the processor's nearest
/// cache; less makes calls count.
const BATCH_SIZE: usize = 64 * 1024;

/// The most memory that the messages of one producer may take.
const SIZE_MAX: usize = 256 * 1024 * 1024;

/// The class of basic.publish, which its content header repeats.
const BASIC: u16 = 60;

/// The delivery mode of a message that a durable queue keeps on disk.
const PERSISTENT: u8 = 2;

/// All messages that one producer sends, in a ring: every key with every size, in turn. Only the stamps change.
#[derive(Debug)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    next: usize,
}

/// One message in the ring.
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where its frames begin.
    start: usize,
    /// Where its body begins.
    body: usize,
    /// Where its frames end.
    end: usize,
    /// Which of the route's keys it has.
    key: u32,
}

/// How the messages of a producer look.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// The lengths of bodies, in turn.
    pub(crate) sizes: Vec<usize>,
    pub(crate) persistent: bool,
    pub(crate) run: u32,
    pub(crate) producer: u32,
    pub(crate) frame_size_max: u32,
}

impl Messages {
    /// Encodes the messages of a route.
    ///
    /// # Errors
    ///
    /// When a name is too long, or all keys together with all sizes take too much memory.
    pub(crate) fn new(route: &Route, look: &Look) -> Result<Self, Error> {
        let properties = Properties {
            delivery_mode: look.persistent.then_some(PERSISTENT),
            ..Properties::default()
        };
        let properties = properties.to_bytes();
        let stamp = Stamp {
            run: look.run,
            producer: look.producer,
            sequence: 0,
            sent_ns: 0,
        };
        let mut body = stamp.to_bytes().to_vec();
        let mut ring = Self {
            bytes: Vec::new(),
            slots: Vec::new(),
            next: 0,
        };
        let round = route.keys.len() * look.sizes.len();
        // Whole rounds, so that the ring may start over anywhere, and at least one full batch.
        while ring.bytes.len() < BATCH_SIZE {
            for index in 0..round {
                let key = index % route.keys.len();
                body.resize(look.sizes[index % look.sizes.len()], b'.');
                let start = ring.bytes.len();
                let publish = basic::Publish {
                    exchange: ShortStr::new(&route.exchange)?,
                    routing_key: ShortStr::new(&route.keys[key])?,
                    ..basic::Publish::default()
                };
                let raw = RawProperties::from_validated_bytes(&properties);
                write_method(&mut ring.bytes, CHANNEL, &publish);
                write_content_header(&mut ring.bytes, CHANNEL, BASIC, body.len() as u64, raw);
                let body_start = ring.bytes.len() + FRAME_HEADER_SIZE;
                write_body(&mut ring.bytes, CHANNEL, &body, look.frame_size_max);
                ring.slots.push(Slot {
                    start,
                    body: body_start,
                    end: ring.bytes.len(),
                    key: u32::try_from(key).unwrap_or(u32::MAX),
                });
                if ring.bytes.len() > SIZE_MAX {
                    let text = "all keys with all sizes take more than 256 MiB: use fewer --keys";
                    return Err(Error::Options(text.to_owned()));
                }
            }
        }
        Ok(ring)
    }

    /// Stamps the next messages, at most `max` of them and at most 64 KiB if they are several, and calls `each` with the
    /// key of each in order. Returns where their bytes are and how many they are: 0 only if `max` is.
    pub(crate) fn take(
        &mut self,
        first_sequence: u64,
        max: u64,
        sent_ns: u64,
        mut each: impl FnMut(u64, u32),
    ) -> (Range<usize>, u64) {
        if self.next == self.slots.len() {
            self.next = 0;
        }
        let start = self.slots[self.next].start;
        let mut end = start;
        let mut sequence = first_sequence;
        for slot in &self.slots[self.next..] {
            let fits = slot.end - start <= BATCH_SIZE || sequence == first_sequence;
            if sequence - first_sequence == max || !fits {
                break;
            }
            Stamp::renew(&mut self.bytes[slot.body..slot.end], sequence, sent_ns);
            each(sequence, slot.key);
            sequence += 1;
            end = slot.end;
        }
        let count = sequence - first_sequence;
        self.next += usize::try_from(count).unwrap_or_default();
        (start..end, count)
    }

    /// The bytes that [`take`](Self::take) spoke of.
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leveret_amqp_codec::{Frame, Limits, Method};

    use super::*;
    use crate::plan::Targets;

    fn messages(keys: &[&str], sizes: &[usize], frame_size_max: u32) -> Messages {
        let route = Route {
            exchange: "x".to_owned(),
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            targets: Targets::ByKey(Arc::new(Vec::new())),
        };
        let look = Look {
            sizes: sizes.to_vec(),
            persistent: true,
            run: 1,
            producer: 2,
            frame_size_max,
        };
        Messages::new(&route, &look).unwrap()
    }

    /// Key, length of the body and sequence number of each message.
    fn read(mut bytes: &[u8]) -> Vec<(String, usize, u64)> {
        let mut found = Vec::new();
        let mut body = Vec::new();
        let (mut key, mut announced) = (String::new(), 0);
        while let Some((frame, size)) = Frame::decode(bytes, &Limits::default()).unwrap() {
            bytes = &bytes[size..];
            match frame {
                Frame::Method(_, Method::BasicPublish(publish)) => {
                    key = publish.routing_key.to_string();
                }
                Frame::Header(_, header) => {
                    assert_eq!(header.properties.delivery_mode(), Some(2));
                    announced = header.body_size as usize;
                    body.clear();
                }
                Frame::Body(_, part) => {
                    body.extend_from_slice(part);
                    if body.len() == announced {
                        let stamp = Stamp::from_bytes(body.first_chunk().unwrap());
                        assert_eq!((stamp.run, stamp.producer, stamp.sent_ns), (1, 2, 77));
                        found.push((key.clone(), announced, stamp.sequence));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bytes, b"");
        found
    }

    fn take(messages: &mut Messages, first: u64, max: u64) -> Vec<(String, usize, u64)> {
        let mut told = Vec::new();
        let (range, count) = messages.take(first, max, 77, |sequence, _| told.push(sequence));
        let found = read(messages.bytes(range));
        assert_eq!(found.len() as u64, count);
        assert_eq!(told, (first..first + count).collect::<Vec<_>>());
        found
    }

    #[test]
    fn keys_and_sizes_take_turns() {
        let mut messages = messages(&["a", "b"], &[24, 50], 4_096);
        let got = take(&mut messages, 10, 5);
        let wanted = [("a", 24), ("b", 50), ("a", 24), ("b", 50), ("a", 24)];
        for (index, (key, size)) in wanted.into_iter().enumerate() {
            assert_eq!(got[index], (key.to_owned(), size, 10 + index as u64));
        }
    }

    #[test]
    fn the_ring_starts_over_without_a_seam() {
        let mut messages = messages(&["a", "b", "c"], &[9_000], 131_072);
        let mut sequence = 0;
        let mut keys = Vec::new();
        while keys.len() < 100 {
            let got = take(&mut messages, sequence, 5);
            assert!(!got.is_empty());
            sequence += got.len() as u64;
            keys.extend(got.into_iter().map(|(key, _, _)| key));
        }
        let wanted = ["a", "b", "c"].into_iter().cycle();
        assert!(keys.iter().zip(wanted).all(|(key, wanted)| key == wanted));
    }

    #[test]
    fn a_batch_is_bounded_but_has_at_least_one() {
        let mut small = messages(&["a"], &[100], 131_072);
        let (range, count) = small.take(0, u64::MAX, 77, |_, _| ());
        assert!(range.len() <= BATCH_SIZE && count > 100);
        let mut large = messages(&["a"], &[1_000_000], 131_072);
        assert_eq!(
            take(&mut large, 3, u64::MAX),
            [("a".to_owned(), 1_000_000, 3)]
        );
        assert_eq!(large.take(0, 0, 77, |_, _| ()).1, 0);
    }

    #[test]
    fn too_much_memory_is_refused() {
        let keys: Vec<String> = (0..300).map(|key| key.to_string()).collect();
        let route = Route {
            exchange: String::new(),
            keys,
            targets: Targets::All(1),
        };
        let look = Look {
            sizes: vec![1 << 20],
            persistent: false,
            run: 0,
            producer: 0,
            frame_size_max: 131_072,
        };
        assert!(matches!(
            Messages::new(&route, &look),
            Err(Error::Options(_))
        ));
    }
}
