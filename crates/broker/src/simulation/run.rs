//! One seed: what is done, in which order, and when the power goes.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use leveret_amqp_codec::Properties;
use leveret_queue_store::FaultyStorage;

use super::model::{Copy, Model, Step};
use super::plan::{EXCHANGES, FAN, Key, LATE, LETTERS, QUEUES, TOPIC, topic_keys};
use super::world::{Contents, World, deadline, key_of, once, poll};
use crate::client::{
    Confirm, ConsumeOptions, Consumer, Delivery, ExchangeOptions, ExchangeType, Publish,
};
use crate::clock::VirtualClock;
use crate::error::Error;

/// How many crashes a seed sees, and how much is done between them at most: enough for files to come and go.
const LIVES: u64 = 4;
const STEPS_MAX: u64 = 120;

type Answer = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// A message whose publisher waits.
struct Owed {
    confirm: Confirm,
    step: Step,
    number: u64,
    queues: Vec<usize>,
}

pub(super) struct Run {
    random: u64,
    disk: FaultyStorage,
    clock: VirtualClock,
    model: Model,
    next_number: u64,
    /// What the life that is going on has in hand, in the order in which it has to go.
    held: Vec<(usize, Delivery)>,
    consumers: Vec<(usize, Consumer)>,
    owed: Vec<Owed>,
    answers: Vec<(Step, Answer)>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            disk: FaultyStorage::new(seed ^ 0x5eed),
            clock: VirtualClock::new(),
            model: Model::default(),
            next_number: 0,
            held: Vec::new(),
            consumers: Vec::new(),
            owed: Vec::new(),
            answers: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        for _ in 0..LIVES {
            let mut world = self.start();
            if self.below(2) == 0 {
                let changes = self.below(400);
                self.disk.cut_power_after(changes);
            }
            for _ in 0..self.below(STEPS_MAX) {
                self.model.step += 1;
                self.act(&mut world);
                self.hear();
            }
            self.end(world);
        }
        self.start();
    }

    /// Starts the broker and checks what it has.
    fn start(&mut self) -> World {
        let memory = [0, 2_000, 1 << 20][self.below(3) as usize];
        if self.below(8) == 0 {
            // The power goes again before the broker is up.
            let changes = self.below(60);
            self.disk.cut_power_after(changes);
            drop(World::start(&self.disk, &self.clock, memory));
            self.disk.crash();
        }
        let world = World::start(&self.disk, &self.clock, memory).unwrap();
        let found: Vec<Option<Contents>> = (0..QUEUES.len())
            .map(|queue| world.contents(queue))
            .collect();
        let defined = |exchange: &'static str, queue: Option<usize>| match queue {
            None => world.has_exchange(exchange),
            Some(queue) => world.is_bound(exchange, &topic_keys(queue).1, queue),
        };
        self.model
            .recover(self.clock.now(), &found, defined)
            .unwrap();
        world
    }

    fn end(&mut self, world: World) {
        let ending = self.below(4);
        match ending {
            0 => self.disk.kill(),
            1..=2 => self.disk.crash(),
            _ => {
                self.model.step += 1;
                self.drop_all();
                // Peace is for disks that have power.
                self.disk.cut_power_after(u64::MAX);
                if world.has_failed() {
                    self.disk.crash();
                } else {
                    self.observe(&world, |_, _| false);
                    world.stop();
                    self.disk.kill();
                    self.model.everything_is_safe();
                }
                return;
            }
        }
        self.drop_all();
    }

    fn drop_all(&mut self) {
        self.held.clear();
        self.consumers.clear();
        self.owed.clear();
        self.answers.clear();
    }

    fn act(&mut self, world: &mut World) {
        match self.below(40) {
            0..=2 => self.declare(world),
            3 => self.delete(world),
            4 => self.exchange(world),
            5..=6 => self.binding(world),
            7..=18 => self.publish(world),
            19..=21 => self.get(world),
            22..=26 => self.settle(world),
            27 => self.consume(world),
            28 => self.stop_consuming(world),
            29 => self.purge(world),
            30..=31 => self.pass_time(world),
            32..=36 => world.write_messages(),
            _ => world.write_definitions(),
        }
    }

    /// Takes in what clients are told.
    fn hear(&mut self) {
        let model = &mut self.model;
        self.owed.retain_mut(|owed| match once(&mut owed.confirm) {
            Poll::Pending => true,
            Poll::Ready(Err(_)) => false,
            Poll::Ready(Ok(())) => {
                model.confirmed(owed.step, owed.number, &owed.queues);
                false
            }
        });
        self.answers
            .retain_mut(|(step, answer)| match poll(answer) {
                Poll::Pending => true,
                Poll::Ready(Err(_)) => false,
                Poll::Ready(Ok(())) => {
                    model.definitions_answered(*step);
                    false
                }
            });
    }

    fn observe(&mut self, world: &World, taken: impl Fn(usize, Key) -> bool) {
        for queue in 0..QUEUES.len() {
            let found = world.contents(queue);
            let now = self.clock.now();
            self.model
                .observe(now, queue, found.as_ref(), |key| taken(queue, key));
        }
    }

    /// Begins a change. Once it is refused nothing has happened; else it is answered now or later.
    fn ask(
        &mut self,
        is_durable: bool,
        ask: impl Future<Output = Result<(), Error>> + 'static,
    ) -> bool {
        let mut answer: Answer = Box::pin(ask);
        match poll(&mut answer) {
            Poll::Ready(Err(_)) => return false,
            Poll::Ready(Ok(())) if is_durable => self.model.definitions_answered(self.model.step),
            Poll::Ready(Ok(())) => {}
            Poll::Pending => self.answers.push((self.model.step, answer)),
        }
        true
    }

    fn declare(&mut self, world: &World) {
        let queue = self.queue();
        let (client, plan) = (world.client.clone(), &QUEUES[queue]);
        let declare = async move {
            client
                .declare_queue(plan.name, plan.options())
                .await
                .map(drop)
        };
        if self.ask(plan.durable, declare) {
            self.model.declare(queue);
        }
        self.observe(world, |_, _| false);
    }

    fn delete(&mut self, world: &World) {
        let queue = self.queue();
        let (client, plan) = (world.client.clone(), &QUEUES[queue]);
        let delete = async move { client.delete_queue(plan.name).await.map(drop) };
        if self.ask(plan.durable, delete) {
            self.model.delete(queue);
        }
        self.observe(world, |_, _| false);
    }

    fn exchange(&mut self, world: &World) {
        let name = EXCHANGES[self.below(3) as usize];
        let client = world.client.clone();
        let exists = self.below(4) > 0;
        let change = async move {
            if !exists {
                return client.delete_exchange(name).await;
            }
            let kind = if name == TOPIC {
                ExchangeType::Topic
            } else {
                ExchangeType::Fanout
            };
            let options = ExchangeOptions {
                durable: true,
                ..ExchangeOptions::default()
            };
            client.declare_exchange(name, kind, options).await
        };
        if self.ask(true, change) {
            self.model.set_exchange(name, exists);
        }
    }

    fn binding(&mut self, world: &World) {
        let exchange = EXCHANGES[self.below(3) as usize];
        let queue = if exchange == LATE {
            LETTERS
        } else {
            self.queue()
        };
        let exists = self.below(4) > 0;
        let client = world.client.clone();
        let (pattern, _) = topic_keys(queue);
        let change = async move {
            let name = QUEUES[queue].name;
            if exists {
                client.bind_queue(name, exchange, &pattern).await
            } else {
                client.unbind_queue(name, exchange, &pattern).await
            }
        };
        if self.ask(QUEUES[queue].durable && exists, change) {
            self.model.set_binding(exchange, queue, exists);
        }
    }

    fn publish(&mut self, world: &World) {
        for _ in 0..=self.below(6) {
            self.model.step += 1;
            self.publish_one(world);
        }
    }

    fn publish_one(&mut self, world: &World) {
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
            routing_key: &key,
            properties: Some(Properties {
                delivery_mode: Some(if persistent { 2 } else { 1 }),
                priority: Some(priority),
                expiration: expiration.map(|ms| ms.to_string()),
                ..Properties::default()
            }),
            body: &body,
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
        let contents = world.contents(queue);
        contents.is_some_and(|found| Some(found.ready.len() as u64) >= QUEUES[queue].max_length)
    }

    fn get(&mut self, world: &World) {
        for _ in 0..=self.below(4) {
            let queue = self.queue();
            if let Poll::Ready(Ok(Some(delivery))) = once(world.client.get(QUEUES[queue].name)) {
                self.held.push((queue, delivery));
            }
        }
        self.observe(world, |_, _| false);
    }

    fn settle(&mut self, world: &World) {
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

    fn consume(&mut self, world: &World) {
        let queue = self.queue();
        let options = ConsumeOptions {
            prefetch: 3,
            ..ConsumeOptions::default()
        };
        if let Poll::Ready(Ok(consumer)) = once(world.client.consume(QUEUES[queue].name, options)) {
            self.consumers.push((queue, consumer));
        }
        self.observe(world, |_, _| false);
    }

    fn stop_consuming(&mut self, world: &World) {
        self.consumers.pop();
        self.observe(world, |_, _| false);
    }

    fn purge(&mut self, world: &World) {
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

    fn pass_time(&mut self, world: &World) {
        let ms = [1, 30, 1_000][self.below(3) as usize];
        self.clock.advance(Duration::from_millis(ms));
        world.run_timers();
        self.observe(world, |_, _| false);
    }

    fn queue(&mut self) -> usize {
        self.below(QUEUES.len() as u64) as usize
    }

    /// A number below `limit`, by splitmix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
