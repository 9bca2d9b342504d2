//! One seed: what is done, in which order, and when the power goes.

mod definitions;
mod messages;

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use leveret_queue_store::FaultyStorage;

use super::model::{Model, Step};
use super::plan::{Key, QUEUES, topic_keys};
use super::trace::Trace;
use super::world::{Contents, World, once, poll};
use crate::client::{Confirm, Consumer, Delivery};
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
    trace: Trace,
    next_number: u64,
    /// What the life that is going on has in hand, in the order in which it has to go.
    held: Vec<(usize, Delivery)>,
    consumers: Vec<(usize, Consumer)>,
    owed: Vec<Owed>,
    answers: Vec<(Step, Answer)>,
}

impl Run {
    /// What it does is printed, if it is to be `shown`.
    pub(super) fn new(seed: u64, shown: bool) -> Self {
        Self {
            random: seed,
            disk: FaultyStorage::new(seed ^ 0x5eed),
            clock: VirtualClock::new(),
            model: Model::default(),
            trace: Trace::new(shown),
            next_number: 0,
            held: Vec::new(),
            consumers: Vec::new(),
            owed: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Says what it has led to, as a number that is the same for the same.
    ///
    /// # Panics
    /// When a promise is broken.
    pub(super) fn run(mut self) -> u64 {
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
        self.trace.digest()
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
