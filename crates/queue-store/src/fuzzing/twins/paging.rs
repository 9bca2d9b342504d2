//! What happens to the queue alone, and must make no difference: messages leave memory, their pages are put in order, and
//! all of it is lost and made again of what is on disk.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use super::Twins;
use crate::fuzzing::operation::Operation;
use crate::{PageId, PagedMessage, PagedOut, Queue, Rebuilt, RequeueOrder, Time};

impl Twins {
    pub(super) fn page_out(&mut self, pages: u8) {
        for _ in 0..pages {
            let page = self.disk.new_page();
            let resident = self.resident();
            let Some(out) = self.queue.page_out(page) else {
                return;
            };
            self.keep(page, out, resident);
        }
    }

    /// Memory is very short.
    pub(super) fn page_out_any(&mut self, pages: u8, least: usize) {
        for _ in 0..pages {
            let page = self.disk.new_page();
            let resident = self.resident();
            let Some(out) = self.queue.page_out_any(page, least) else {
                let ready = self.queue.resident_len() - self.queue.unacked_len();
                let may_stay = self.model.options.requeue == RequeueOrder::Returns
                    || !self.model.unacked.is_empty();
                assert!(ready == 0 || least > 0 || may_stay, "{ready} are left");
                return;
            };
            self.keep(page, out, resident);
        }
    }

    fn resident(&self) -> (usize, u64) {
        (self.queue.resident_len(), self.queue.resident_bytes())
    }

    /// Writes what has left memory, where there was so much before.
    fn keep(&mut self, page: PageId, out: PagedOut, before: (usize, u64)) {
        let after = self.resident();
        let left = before.0 - after.0;
        if let PagedOut::New(messages) = out {
            let bytes = messages
                .iter()
                .map(|paged| paged.message.size_bytes() as u64);
            assert_eq!(messages.len(), left);
            assert_eq!(bytes.sum::<u64>(), before.1 - after.1);
            let max_priority = self.model.options.max_priority;
            self.disk.write(page, max_priority, messages);
        }
        assert!(left > 0);
    }

    /// Makes one page of several, as long as there are any.
    pub(super) fn join(&mut self, at_least: usize) {
        while let Some(pages) = self.queue.to_join(at_least) {
            assert!(pages.len() >= 2);
            let resident = self.resident();
            let parts = pages.iter().map(|page| self.disk.read(*page).collect());
            let parts = parts.collect();
            let page = self.disk.new_page();
            let messages = self.queue.join(page, at_least, parts, &mut self.effects);
            let max_priority = self.model.options.max_priority;
            if !messages.is_empty() {
                self.disk.write(page, max_priority, messages);
            }
            assert_eq!(self.resident(), resident);
            self.absorb();
        }
    }

    /// Gives a page to what is older than some of the newest, and again until nothing needs one.
    pub(super) fn rehome(&mut self, below: u8, limit: usize) {
        let next = self.disk.next_number().get();
        let below = next.saturating_sub(u64::from(below) / 4);
        let below = NonZeroU64::new(below.max(1)).expect("it is at least one");
        loop {
            let pages = self.queue.rehome(below, limit, || self.disk.new_page());
            if pages.is_empty() {
                break;
            }
            for (page, messages) in pages {
                assert!((1..=limit).contains(&messages.len()));
                let max_priority = self.model.options.max_priority;
                self.disk.write(page, max_priority, messages);
            }
        }
        assert!(limit == 0 || self.disk.all_have_homes_below(below));
    }

    /// The queue is lost and made again of what is on disk.
    pub(super) fn restart(&mut self, now: Time) {
        let found = self.disk.recover();
        let mut numbers = Vec::new();
        let mut last = BTreeMap::new();
        for message in found.iter().flat_map(|item| self.messages_of(item)) {
            let number = message.stored.expect("others are lost").number;
            let level = message
                .message
                .priority()
                .min(self.model.options.max_priority);
            let before = last.insert(level, number);
            if self.model.options.requeue == RequeueOrder::OldPlace {
                assert!(before < Some(number), "pages are in each other's way");
            }
            numbers.push(number);
        }
        for out in &self.model.unacked {
            let consumer = out.consumer.map(|number| &self.model.consumers[number]);
            if let Some(channel) = consumer.and_then(|consumer| consumer.channel) {
                let opened = self.channels[channel].leave(1);
                assert_eq!(opened, self.model.channels[channel].leave(1));
            }
        }
        self.consumers.clear();
        self.deliveries.clear();
        self.model.restart(&numbers);
        let options = self.model.options.clone();
        self.queue = Queue::with_chunk_len(options, now, self.chunk_len);
        self.queue.fill(self.disk.next_number(), found);
        self.compare_ready();
        self.tend(now, &Operation::Poll);
        self.poll(now);
    }

    fn messages_of(&self, item: &Rebuilt) -> Vec<PagedMessage> {
        match item {
            Rebuilt::Message(message) => vec![message.clone()],
            Rebuilt::Page { page, .. } => {
                self.disk.read(*page).map(|(_, message)| message).collect()
            }
        }
    }
}
