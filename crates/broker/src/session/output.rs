//! What a session has to send.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes to be written, in order. Small things are copied into one buffer; large bodies stay where they are and are
/// written from there.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` has been written.
    start: usize,
    /// Each is to be written before the byte of `bytes` at its position.
    large: Vec<(usize, Bytes)>,
    large_len: usize,
}

/// How many pieces one vectored write names at most; the kernel takes 1024.
const SLICES_MAX: usize = 64;

impl Output {
    /// Where small things are encoded to.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends bytes without copying them.
    pub(crate) fn push_large(&mut self, bytes: Bytes) {
        self.large_len += bytes.len();
        self.large.push((self.bytes.len(), bytes));
    }

    /// How much is waiting to be written.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start + self.large_len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything and keeps the memory for the next use.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.large.clear();
        self.large_len = 0;
    }

    /// Moves what waits in `other` behind what waits here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            self.clear();
        }
        let shift = self.bytes.len();
        let start = other.start;
        self.bytes.extend_from_slice(&other.bytes[start..]);
        self.large.extend(
            other
                .large
                .drain(..)
                .map(|(at, bytes)| (at - start + shift, bytes)),
        );
        self.large_len += other.large_len;
        other.clear();
    }

    /// The next pieces to write, for a vectored write.
    pub(crate) fn slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        let mut from = self.start;
        for (at, large) in &self.large {
            if slices.len() + 2 > SLICES_MAX {
                return;
            }
            if *at > from {
                slices.push(IoSlice::new(&self.bytes[from..*at]));
                from = *at;
            }
            slices.push(IoSlice::new(large));
        }
        if from < self.bytes.len() {
            slices.push(IoSlice::new(&self.bytes[from..]));
        }
    }

    /// The bytes to write when there is nothing but small things, which saves the vector.
    pub(crate) fn as_single(&self) -> Option<&[u8]> {
        self.large.is_empty().then(|| &self.bytes[self.start..])
    }

    /// Forgets the first `written` bytes.
    pub(crate) fn advance(&mut self, mut written: usize) {
        let mut done = 0;
        for (at, large) in &mut self.large {
            let before = (*at - self.start).min(written);
            self.start += before;
            written -= before;
            if self.start < *at || written == 0 && !large.is_empty() {
                break;
            }
            let from_large = large.len().min(written);
            large.advance(from_large);
            self.large_len -= from_large;
            written -= from_large;
            if !large.is_empty() {
                break;
            }
            done += 1;
        }
        self.large.drain(..done);
        let limit = self.large.first().map_or(self.bytes.len(), |(at, _)| *at);
        self.start = (self.start + written).min(limit);
        if self.is_empty() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed() -> (Output, Vec<u8>) {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"ab");
        output.push_large(Bytes::from_static(b"LARGE"));
        output.push_large(Bytes::from_static(b"TWO"));
        output.buffer().extend_from_slice(b"cd");
        output.push_large(Bytes::from_static(b"END"));
        (output, b"abLARGETWOcdEND".to_vec())
    }

    fn collect(output: &Output) -> Vec<u8> {
        let mut slices = Vec::new();
        output.slices(&mut slices);
        slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    #[test]
    fn pieces_come_out_in_order_however_they_are_written() {
        for step in 1..16 {
            let (mut output, want) = mixed();
            let mut written = Vec::new();
            while !output.is_empty() {
                let next = collect(&output);
                assert_eq!(next.len(), output.len());
                let n = step.min(next.len());
                written.extend_from_slice(&next[..n]);
                output.advance(n);
            }
            assert_eq!(written, want, "in steps of {step}");
        }
    }

    #[test]
    fn what_could_not_be_written_is_kept_behind_what_waited_before() {
        let (mut waiting, want) = mixed();
        let (mut more, _) = mixed();
        waiting.advance(3);
        more.advance(1);
        waiting.append(&mut more);
        assert_eq!(collect(&waiting), [&want[3..], &want[1..]].concat());
        assert!(more.is_empty());
    }
}
