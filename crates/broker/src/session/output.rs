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
    /// The message that is being put out, if what is put out are messages.
    #[cfg(feature = "stomp")]
    message: Option<Message>,
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

    /// Begins a WebSocket message, whose payload is what is put out until [`Output::end_message`]. At a barrier it ends and
    /// another begins, so that what is taken back is whole messages.
    #[cfg(feature = "stomp")]
    pub(crate) fn begin_message(&mut self, opcode: u8) {
        debug_assert!(self.message.is_none(), "messages do not nest");
        self.message = Some(Message {
            opcode,
            at: self.bytes.len(),
            large: self.large.len(),
            large_len: self.large_len,
        });
        self.bytes.extend_from_slice(&[0; HEADER_ROOM]);
    }

    /// Completes a message, or takes it back if there is nothing in it.
    #[cfg(feature = "stomp")]
    pub(crate) fn end_message(&mut self) {
        let Some(start) = self.message.take() else {
            return;
        };
        let payload_start = start.at + HEADER_ROOM;
        let payload_len = self.bytes.len() - payload_start + (self.large_len - start.large_len);
        if payload_len == 0 {
            self.bytes.truncate(start.at);
            return;
        }
        let mut header = MessageHeader::new(start.opcode);
        let header = header.encode(payload_len);
        // Mostly the header has the size that was left for it, and nothing moves.
        self.bytes
            .splice(start.at..payload_start, header.iter().copied());
        for (at, _) in &mut self.large[start.large..] {
            *at = *at + header.len() - HEADER_ROOM;
        }
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
        #[cfg(feature = "stomp")]
        let opcode = self.message.as_ref().map(|message| message.opcode);
        #[cfg(feature = "stomp")]
        self.end_message();
        let at = self.end();
        match self.barriers.back_mut() {
            // Nothing stands between the two.
            Some((last_at, last)) if *last_at == at => *last = ticket,
            _ => self.barriers.push_back((at, ticket)),
        }
        #[cfg(feature = "stomp")]
        if let Some(opcode) = opcode {
            self.begin_message(opcode);
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

/// How much is left for the header of a message: that of one with 126 to 65,535 bytes, as most are.
#[cfg(feature = "stomp")]
const HEADER_ROOM: usize = 4;

/// A WebSocket message that is being put out.
#[cfg(feature = "stomp")]
#[derive(Debug)]
struct Message {
    opcode: u8,
    /// Where its header will be.
    at: usize,
    /// What was there before it.
    large: usize,
    large_len: usize,
}

/// The bytes before the payload of an unmasked message in one frame (RFC 6455, section 5.2).
#[cfg(feature = "stomp")]
struct MessageHeader {
    bytes: [u8; 10],
}

#[cfg(feature = "stomp")]
impl MessageHeader {
    fn new(opcode: u8) -> Self {
        const FINAL: u8 = 0x80;
        let mut bytes = [0; 10];
        bytes[0] = FINAL | opcode;
        Self { bytes }
    }

    /// The length is written in as few bytes as it takes.
    fn encode(&mut self, payload_len: usize) -> &[u8] {
        if let Ok(len @ ..=125) = u8::try_from(payload_len) {
            self.bytes[1] = len;
            return &self.bytes[..2];
        }
        if let Ok(len) = u16::try_from(payload_len) {
            self.bytes[1] = 126;
            self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
            return &self.bytes[..4];
        }
        self.bytes[1] = 127;
        self.bytes[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        &self.bytes
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
    #[cfg(feature = "stomp")]
    fn messages_have_the_shortest_header_and_large_pieces_stay_in_place() {
        for (small, large, header) in [
            (0, 0, &[0x81, 1][..]),
            (124, 0, &[0x81, 125]),
            (125, 0, &[0x81, 126, 0, 126]),
            (65_534, 0, &[0x81, 126, 255, 255]),
            (65_535, 0, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (10, 65_525, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (10, 20, &[0x81, 31]),
        ] {
            let (mut output, before) = mixed();
            output.begin_message(1);
            output.buffer().extend(std::iter::repeat_n(b's', small));
            output.push_large(Bytes::from(vec![b'l'; large]));
            output.buffer().push(b'e');
            output.end_message();
            let written = collect(&output);
            assert_eq!(&written[..before.len()], before);
            let message = &written[before.len()..];
            assert_eq!(&message[..header.len()], header);
            let payload = [vec![b's'; small], vec![b'l'; large], vec![b'e']].concat();
            assert_eq!(message[header.len()..], payload);
        }
    }

    #[test]
    #[cfg(feature = "stomp")]
    fn a_message_without_payload_is_none() {
        let mut output = Output::default();
        output.begin_message(2);
        output.end_message();
        assert!(output.is_empty());
    }

    #[test]
    #[cfg(feature = "stomp")]
    fn a_barrier_divides_a_message() {
        let mut output = Output::default();
        output.begin_message(2);
        output.buffer().extend_from_slice(b"ab");
        output.hold_until(Ticket(1));
        output.buffer().extend_from_slice(b"cde");
        output.end_message();
        assert_eq!(collect(&output), [0x82, 2, b'a', b'b']);
        output.drop_held();
        output.begin_message(2);
        output.buffer().push(b'f');
        output.end_message();
        assert_eq!(collect(&output), [0x82, 2, b'a', b'b', 0x82, 1, b'f']);
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
