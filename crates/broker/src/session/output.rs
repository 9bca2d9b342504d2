//! What a session has to send.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::metadata::Ticket;

/// Bytes to be written, in order. Small things are copied into one buffer; large bodies stay where they are and are
/// written from there.
///
/// Where an answer has to wait until a change is on the disk, a barrier stands before it: what is behind a barrier is
/// not written before [`Output::release`] has taken it away.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    /// How much of `bytes` has been written.
    start: usize,
    /// Each is to be written before the byte of `bytes` at its position.
    large: Vec<(usize, Bytes)>,
    large_len: usize,
    /// How many bytes have been written since it was last cleared.
    written: u64,
    /// In their order, each with the number of bytes that come before it, counted as `written` is, and with a higher
    /// ticket than the one before.
    barriers: VecDeque<(u64, Ticket)>,
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

    /// Nothing is waiting to be written, and what comes next would not have to wait either.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.barriers.is_empty()
    }

    /// What is put out from now on is not written before this ticket is committed.
    pub(crate) fn hold_until(&mut self, ticket: Ticket) {
        let last = self.barriers.back().map_or(Ticket::NONE, |(_, last)| *last);
        if ticket <= last {
            return;
        }
        let at = self.end();
        match self.barriers.back_mut() {
            // Nothing stands between the two.
            Some((last_at, last)) if *last_at == at => *last = ticket,
            _ => self.barriers.push_back((at, ticket)),
        }
    }

    /// What the next barrier waits for.
    pub(crate) fn held_until(&self) -> Option<Ticket> {
        self.barriers.front().map(|(_, ticket)| *ticket)
    }

    /// Takes away the barriers that wait for nothing but this ticket and earlier ones.
    pub(crate) fn release(&mut self, committed: Ticket) {
        while self.held_until().is_some_and(|ticket| ticket <= committed) {
            self.barriers.pop_front();
        }
    }

    /// Forgets everything behind the first barrier, and all barriers.
    pub(crate) fn drop_held(&mut self) {
        let mut left = self.writable();
        self.barriers.clear();
        let mut from = self.start;
        for (index, (at, large)) in self.large.iter().enumerate() {
            let before = *at - from;
            if left < before {
                break;
            }
            left -= before;
            from = *at;
            if left < large.len() {
                self.bytes.truncate(from);
                self.large.truncate(index);
                left = 0;
                break;
            }
            left -= large.len();
        }
        self.bytes.truncate(from + left);
        let end = self.bytes.len();
        self.large.retain(|(at, _)| *at <= end);
        self.large_len = self.large.iter().map(|(_, large)| large.len()).sum();
    }

    /// How many bytes may be written.
    pub(crate) fn writable(&self) -> usize {
        match self.barriers.front() {
            None => self.len(),
            // It cannot be more than there is.
            Some((at, _)) => usize::try_from(at - self.written).unwrap_or(usize::MAX),
        }
    }

    /// Where the next byte will be, counted as `written` is.
    fn end(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// Forgets everything and keeps the memory for the next use.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.large.clear();
        self.large_len = 0;
        self.written = 0;
        self.barriers.clear();
    }

    /// Moves what waits in `other` behind what waits here.
    pub(crate) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            self.clear();
        }
        for (at, ticket) in other.barriers.drain(..) {
            let at = self.end() + (at - other.written);
            self.barriers.push_back((at, ticket));
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

    /// The next pieces that may be written, for a vectored write.
    pub(crate) fn slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        let mut left = self.writable();
        let mut add = |bytes: &'a [u8]| {
            let taken = bytes.len().min(left);
            if taken > 0 {
                slices.push(IoSlice::new(&bytes[..taken]));
                left -= taken;
            }
            slices.len() + 2 <= SLICES_MAX && left > 0
        };
        let mut from = self.start;
        for (at, large) in &self.large {
            if !add(&self.bytes[from..*at]) || !add(large) {
                return;
            }
            from = *at;
        }
        add(&self.bytes[from..]);
    }

    /// The bytes that may be written when there is nothing but small things, which saves the vector.
    pub(crate) fn as_single(&self) -> Option<&[u8]> {
        let end = self.start + self.writable();
        self.large.is_empty().then(|| &self.bytes[self.start..end])
    }

    /// Forgets the first `written` bytes.
    pub(crate) fn advance(&mut self, mut written: usize) {
        self.written += written as u64;
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

    /// `mixed` with a barrier after the first `at` of its five pieces.
    fn held(at: usize) -> (Output, Vec<u8>) {
        let mut output = Output::default();
        let mut before = Vec::new();
        for (n, piece) in [&b"ab"[..], b"LARGE", b"TWO", b"cd", b"END"]
            .iter()
            .enumerate()
        {
            if n == at {
                output.hold_until(Ticket(7));
            }
            if n < at {
                before.extend_from_slice(piece);
            }
            match n {
                0 | 3 => output.buffer().extend_from_slice(piece),
                _ => output.push_large(Bytes::from_static(piece)),
            }
        }
        (output, before)
    }

    #[test]
    fn nothing_behind_a_barrier_is_written_before_its_ticket_is_committed() {
        let (_, all) = mixed();
        for at in 0..5 {
            for step in 1..16 {
                let (mut output, before) = held(at);
                let mut written = Vec::new();
                while output.writable() > 0 {
                    let next = collect(&output);
                    let n = step.min(next.len());
                    written.extend_from_slice(&next[..n]);
                    output.advance(n);
                    output.release(Ticket(6));
                }
                assert_eq!(written, before, "{at} pieces in steps of {step}");
                assert!(!output.is_empty());
                assert_eq!(output.held_until(), Some(Ticket(7)));
                output.release(Ticket(7));
                while !output.is_empty() {
                    let next = collect(&output);
                    let n = step.min(next.len());
                    written.extend_from_slice(&next[..n]);
                    output.advance(n);
                }
                assert_eq!(written, all, "{at} pieces in steps of {step}");
            }
        }
    }

    #[test]
    fn what_is_held_can_be_dropped_and_the_rest_is_written() {
        for at in 0..5 {
            for written in 0..2 {
                let (mut output, before) = held(at);
                let written = written.min(before.len());
                output.advance(written);
                output.drop_held();
                assert_eq!(output.held_until(), None);
                assert_eq!(output.len(), before.len() - written, "{at} pieces");
                output.buffer().extend_from_slice(b"why");
                assert_eq!(collect(&output), [&before[written..], b"why"].concat());
            }
        }
    }

    #[test]
    fn barriers_move_with_what_they_hold() {
        let (mut waiting, first) = held(2);
        let (mut more, _) = held(3);
        let (_, all) = mixed();
        waiting.advance(1);
        waiting.append(&mut more);
        assert_eq!(collect(&waiting), first[1..]);
        waiting.release(Ticket(7));
        assert_eq!(collect(&waiting), [&all[1..], &all].concat());
    }

    #[test]
    fn a_barrier_with_nothing_behind_it_holds_what_comes() {
        let mut output = Output::default();
        output.hold_until(Ticket::NONE);
        assert!(output.is_empty());
        output.hold_until(Ticket(3));
        output.hold_until(Ticket(2));
        output.hold_until(Ticket(4));
        assert!(!output.is_empty());
        output.buffer().push(1);
        output.release(Ticket(3));
        assert_eq!(output.writable(), 0, "both have to be committed");
        output.release(Ticket(4));
        assert_eq!(output.writable(), 1);
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
