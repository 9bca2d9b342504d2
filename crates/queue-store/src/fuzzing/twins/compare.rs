//! Whether the twins agree in everything that can be seen, also on disk.

use std::collections::BTreeMap;

use super::Twins;
use crate::{BrowsedItem, Message, Time};

impl Twins {
    pub(super) fn compare(&mut self) {
        assert_eq!(
            std::mem::take(&mut self.done),
            std::mem::take(&mut self.model.done)
        );
        self.compare_disk();
        self.compare_ready();

        let (queue, model) = (&self.queue, &self.model);
        assert_eq!(queue.next_deadline(), model.next_deadline());
        assert_eq!(queue.ready_len(), model.ready.len());
        assert_eq!(queue.ready_bytes(), model.ready_bytes());
        assert_eq!(queue.unacked_len(), model.unacked.len());
        assert_eq!(
            queue.consumer_len(),
            model
                .consumers
                .iter()
                .filter(|consumer| !consumer.cancelled)
                .count()
        );
        for (number, id) in self.consumers.iter().enumerate() {
            assert_eq!(queue.is_active(*id), model.is_active(number));
        }

        let held = queue.unacked().map(|out| {
            (
                out.id,
                (out.consumer, out.since, out.message, out.delivery_count),
            )
        });
        let held: BTreeMap<_, _> = held.collect();
        let expected = model.unacked.iter().map(|out| {
            let consumer = out.consumer.map(|number| self.consumers[number]);
            let since = Time::from_millis(out.since);
            (
                self.deliveries[out.number],
                (consumer, since, &out.item.message, out.item.delivery_count),
            )
        });
        assert_eq!(held, expected.collect());
        assert_eq!(
            queue.unacked_bytes(),
            held.values()
                .map(|held| held.2.body_len() as u64)
                .sum::<u64>()
        );
        let waiting = queue.browse().filter_map(|item| match item {
            BrowsedItem::Message(browsed) => Some(browsed.message),
            BrowsedItem::Page { .. } => None,
        });
        let resident = waiting.chain(held.values().map(|held| held.2));
        let size = resident.map(|message| message.size_bytes() as u64);
        assert_eq!(queue.resident_bytes(), size.sum::<u64>());

        for (gates, models) in [
            (&self.windows, &model.windows),
            (&self.channels, &model.channels),
        ] {
            assert!(
                gates
                    .iter()
                    .zip(models)
                    .all(|(gate, model)| gate.used() == model.used)
            );
        }
    }

    pub(super) fn compare_ready(&self) {
        let expected = self.model.in_order();
        let browsed = self.browsed();
        assert_eq!(browsed.len(), expected.len());
        for ((message, deadline, delivery_count), item) in browsed.into_iter().zip(expected) {
            assert_eq!(message, item.message);
            assert_eq!(delivery_count, item.delivery_count);
            assert_eq!(deadline, item.deadline.map_or(Time::MAX, Time::from_millis));
        }
    }

    /// What is ready, read from pages where it is not in memory.
    fn browsed(&self) -> Vec<(Message, Time, u32)> {
        let mut all = Vec::new();
        for item in self.queue.browse() {
            match item {
                BrowsedItem::Message(browsed) => {
                    let count = browsed.delivery_count;
                    assert_eq!(browsed.position, all.len());
                    assert_eq!(browsed.redelivered, count > 0);
                    let deadline = browsed.expires_at.unwrap_or(Time::MAX);
                    all.push((browsed.message.clone(), deadline, count));
                }
                BrowsedItem::Page {
                    page,
                    position,
                    len,
                    slots: (first, last),
                } => {
                    assert_eq!(position, all.len());
                    let meant = self
                        .disk
                        .read(page)
                        .filter(|(index, _)| (first..=last).contains(index));
                    all.extend(
                        meant.map(|(_, paged)| {
                            (paged.message, paged.deadline, paged.delivery_count)
                        }),
                    );
                    assert_eq!(position + len, all.len());
                }
            }
        }
        all
    }

    /// What the effects left on disk is what would have to survive if the process ended here.
    fn compare_disk(&self) {
        let alive = self.disk.alive();
        assert_eq!(alive.len(), self.model.stored().count());
        for (number, item, delivery_count) in self.model.stored() {
            let kept = &alive[&number];
            assert_eq!(kept.message, item.message);
            assert_eq!(
                kept.deadline,
                item.deadline.map_or(Time::MAX, Time::from_millis)
            );
            assert_eq!(kept.delivery_count, delivery_count, "message {number}");
        }
    }
}
