//! Publishing, getting, consuming, settling and purging, by a client in the process.

use std::collections::BTreeSet;
use std::task::Poll;

use leveret_amqp_codec::Properties;

use super::{Owed, Run};
use crate::client::{ConsumeOptions, Publish};
use crate::simulation::model::Copy;
use crate::simulation::plan::{FAN, Key, QUEUES, TOPIC, topic_keys};
use crate::simulation::world::{World, deadline, key_of, once};

/// What is to be published.
#[derive(Debug)]
pub(super) struct Draft {
    /// Where it goes, unless everything that is bound gets it.
    pub(super) queue: usize,
    pub(super) exchange: &'static str,
    pub(super) key: String,
    pub(super) persistent: bool,
    pub(super) priority: u8,
    pub(super) expiration: Option<u64>,
    pub(super) number: u64,
    pub(super) body: Vec<u8>,
}

impl Draft {
    pub(super) fn properties(&self) -> Properties {
        Properties {
            delivery_mode: Some(if self.persistent { 2 } else { 1 }),
            priority: Some(self.priority),
            expiration: self.expiration.map(|ms| ms.to_string()),
            ..Properties::default()
        }
    }
}

impl Run {
    pub(super) fn publish(&mut self, world: &World) {
        for _ in 0..=self.below(6) {
            self.model.step += 1;
            self.publish_one(world);
        }
    }

    /// A message that nobody has seen yet.
    pub(super) fn draft(&mut self) -> Draft {
        let queue = self.queue();
        let (exchange, key) = match self.below(4) {
            0 => (FAN, String::new()),
            1 => (TOPIC, topic_keys(queue).1),
            _ => ("", QUEUES[queue].name.to_owned()),
        };
        let persistent = self.below(5) > 0;
        let priority = self.below(4) as u8;
        let expiration = (self.below(8) == 0).then(|| 1 + self.below(100));
        let number = self.next_number;
        self.next_number += 1;
        if !persistent {
            self.model.transient.insert(number);
        }
        let mut body = number.to_be_bytes().to_vec();
        body.resize(8 + self.below(400) as usize, b'.');
        Draft {
            queue,
            exchange,
            key,
            persistent,
            priority,
            expiration,
            number,
            body,
        }
    }

    fn publish_one(&mut self, world: &World) {
        let draft = self.draft();
        let Draft {
            queue,
            exchange,
            persistent,
            priority,
            expiration,
            number,
            ..
        } = draft;
        let to: Vec<usize> = (0..QUEUES.len())
            .filter(|to| match exchange {
                "" => *to == queue,
                FAN => self.model.is_bound(FAN, *to),
                _ => *to == queue && self.model.is_bound(TOPIC, *to),
            })
            .filter(|to| {
                self.model.queues[*to]
                    .last()
                    .is_some_and(|last| last.deleted.is_none())
            })
            .filter(|to| !(QUEUES[*to].is_quorum() && self.is_full(world, *to)))
            .collect();
        let now = self.clock.now();
        for to in &to {
            let plan = &QUEUES[*to];
            let ttl = [plan.ttl_ms, expiration].into_iter().flatten().min();
            let copy = Copy {
                place: 0,
                priority: priority.min(plan.max_priority.unwrap_or(0)),
                persistent,
                deadline: deadline(now, ttl),
                confirmed: false,
                handed: None,
                gone: None,
            };
            self.model.arrive(
                *to,
                Key {
                    number,
                    died_in: None,
                },
                copy,
            );
        }
        let confirm = world.client.publish(Publish {
            exchange,
            routing_key: &draft.key,
            properties: Some(draft.properties()),
            body: &draft.body,
            mandatory: false,
        });
        self.owed.push(Owed {
            confirm,
            step: self.model.step,
            number,
            queues: to,
        });
        self.observe(world, |_, _| false);
    }

    fn is_full(&self, world: &World, queue: usize) -> bool {
        let (counts, plan) = (world.counts(queue), &QUEUES[queue]);
        counts.is_some_and(|(ready, _)| match plan.is_quorum() {
            true => Some(ready) > plan.max_length,
            false => Some(ready) >= plan.max_length,
        })
    }

    pub(super) fn get(&mut self, world: &World) {
        for _ in 0..=self.below(4) {
            let queue = self.queue();
            if let Poll::Ready(Ok(Some(delivery))) = once(world.client.get(QUEUES[queue].name)) {
                self.held.push((queue, delivery));
            }
        }
    }

    pub(super) fn settle(&mut self, world: &World) {
        for (queue, consumer) in &mut self.consumers {
            self.held
                .extend(consumer.try_recv().map(|delivery| (*queue, delivery)));
        }
        for _ in 0..=self.below(4) {
            if self.held.is_empty() {
                break;
            }
            let at = self.below(self.held.len() as u64) as usize;
            let (queue, delivery) = self.held.swap_remove(at);
            let key = key_of(delivery.message());
            self.model.step += 1;
            match self.below(4) {
                0 => {
                    delivery.nack(true);
                    self.observe(world, |_, _| false);
                }
                1 => {
                    delivery.nack(false);
                    self.note_death(queue, key);
                    self.observe(world, |_, _| false);
                }
                _ => {
                    delivery.ack();
                    self.observe(world, |in_queue, acked| in_queue == queue && acked == key);
                }
            }
        }
    }

    fn note_death(&mut self, queue: usize, key: Key) {
        let step = self.model.step;
        if let Some(copy) = self
            .model
            .live(queue)
            .and_then(|live| live.copies.get_mut(&key))
            && copy.gone.is_none()
        {
            copy.gone = Some((step, true));
        }
    }

    pub(super) fn consume(&mut self, world: &World) {
        let queue = self.queue();
        let options = ConsumeOptions {
            prefetch: 3,
            ..ConsumeOptions::default()
        };
        if let Poll::Ready(Ok(consumer)) = once(world.client.consume(QUEUES[queue].name, options)) {
            self.consumers.push((queue, consumer));
        }
    }

    pub(super) fn stop_consuming(&mut self) {
        self.consumers.pop();
    }

    pub(super) fn purge(&mut self, world: &World) {
        let queue = self.queue();
        let ready: BTreeSet<Key> = match world.contents(queue) {
            Some(found) => found.ready.into_iter().map(|(key, _)| key).collect(),
            None => return,
        };
        let _ = once(world.client.purge_queue(QUEUES[queue].name));
        self.observe(world, |in_queue, key| {
            in_queue == queue && ready.contains(&key)
        });
    }
}
