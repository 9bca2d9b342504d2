//! What stands at the beginning of each body.

/// Which message of which producer of which run this is, and when it was sent.
///
/// It fills the first [`Stamp::SIZE`] bytes of a body, all numbers in big-endian order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    /// Tells the messages of this run from those that were in a queue already.
    pub(crate) run: u32,
    /// The index of the producer.
    pub(crate) producer: u32,
    /// Counted by the producer from 0 over all that it publishes, whichever queue it is for.
    pub(crate) sequence: u64,
    /// When it was handed to the system, in nanoseconds of the run's clock.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    /// The length in bytes, and so the shortest body.
    pub(crate) const SIZE: usize = 24;

    /// Where [`sequence`](Self::sequence) begins, which with the time behind it is all that differs between the
    /// messages of one producer.
    const SEQUENCE_AT: usize = 8;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.run.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.producer.to_be_bytes());
        Self::renew(&mut bytes, self.sequence, self.sent_ns);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let [r0, r1, r2, r3, p0, p1, p2, p3, rest @ ..] = *bytes;
        let [s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..] = rest;
        Self {
            run: u32::from_be_bytes([r0, r1, r2, r3]),
            producer: u32::from_be_bytes([p0, p1, p2, p3]),
            sequence: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            sent_ns: u64::from_be_bytes(rest),
        }
    }

    /// Makes the stamp at the beginning of `body` that of another message of the same producer.
    ///
    /// # Panics
    ///
    /// When `body` is shorter than a stamp.
    pub(crate) fn renew(body: &mut [u8], sequence: u64, sent_ns: u64) {
        let (sequence_bytes, sent_bytes) = body[Self::SEQUENCE_AT..Self::SIZE].split_at_mut(8);
        sequence_bytes.copy_from_slice(&sequence.to_be_bytes());
        sent_bytes.copy_from_slice(&sent_ns.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_wire() {
        let stamp = Stamp {
            run: 0xA1B2_C3D4,
            producer: 7,
            sequence: u64::MAX - 1,
            sent_ns: 1 << 40,
        };
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), stamp);
    }

    #[test]
    fn renewing_keeps_run_and_producer_and_what_follows() {
        let stamp = Stamp {
            run: 1,
            producer: 2,
            sequence: 3,
            sent_ns: 4,
        };
        let mut body = [stamp.to_bytes().as_slice(), b"and more"].concat();
        Stamp::renew(&mut body, 30, 40);
        let renewed = Stamp::from_bytes(body.first_chunk().unwrap());
        assert_eq!(
            renewed,
            Stamp {
                sequence: 30,
                sent_ns: 40,
                ..stamp
            }
        );
        assert_eq!(&body[Stamp::SIZE..], b"and more");
    }
}
