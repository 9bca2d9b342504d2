//! One seed: what is done, in which order, and when the power goes.

mod definitions;
mod faults;
mod messages;
mod wires;

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use leveret_queue_store::FaultyStorage;

use self::faults::Faults;
use self::wires::Wire;
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
    faults: Faults,
    wires: Vec<Wire>,
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
            faults: Faults::default(),
            wires: Vec::new(),
        }
    }

    /// Says what it has led to, as a number that is the same for the same.
    ///
    /// # Panics
    /// When a promise is broken.
    pub(super) fn run(mut self) -> u64 {
        for _ in 0..LIVES {
            let mut world = self.start();
            self.choose_trouble();
            for _ in 0..self.below(STEPS_MAX) {
                self.model.step += 1;
                if !self.make_trouble(&mut world) {
                    self.act(&mut world);
                }
                self.hear(&world);
                self.note(&world);
            }
            self.end(world);
        }
        self.start();
        self.trace.digest()
    }

    /// Starts the broker and checks what it has.
    fn start(&mut self) -> World {
        let memory = [0, 2_000, 1 << 20][self.below(3) as usize];
        self.start_in_vain(memory);
        let world = World::start(&self.disk, &self.clock, memory).unwrap();
        let found: Vec<Option<Contents>> = (0..QUEUES.len())
            .map(|queue| world.contents(queue))
            .collect();
        let defined = |exchange: &'static str, queue: Option<usize>| match queue {
            None => world.has_exchange(exchange),
            Some(queue) => world.is_bound(exchange, &topic_keys(queue).1, queue),
        };
        self.trace.note(format_args!("started: {found:?}"));
        self.model
            .recover(self.clock.now(), &found, defined)
            .unwrap();
        world
    }

    fn end(&mut self, mut world: World) {
        let ending = self.below(4);
        self.trace.note(format_args!("the end, by way {ending}"));
        match ending {
            0 => self.disk.kill(),
            1..=2 => self.disk.crash(),
            _ => {
                self.model.step += 1;
                self.drop_all();
                // Peace is for disks that have power and room, and that will not fail.
                self.disk.cut_power_after(u64::MAX);
                self.disk.fail_syncs(0);
                self.disk.fail_writes(0);
                self.make_room(&mut world);
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
        self.wires.clear();
    }

    fn act(&mut self, world: &mut World) {
        let what = self.below(48);
        self.trace.note(format_args!("{}: {what}", self.model.step));
        match what {
            0..=2 => self.declare(world),
            3 => self.delete(world),
            4 => self.exchange(world),
            5..=6 => self.binding(world),
            7..=18 => self.publish(world),
            19..=21 => self.get(world),
            22..=26 => self.settle(world),
            27 => self.consume(world),
            28 => self.stop_consuming(),
            29 => self.purge(world),
            30..=31 => self.pass_time(world),
            32..=36 => world.write_messages(),
            40..=47 => self.talk(world),
            _ => world.write_definitions(),
        }
        // Also what has come of it elsewhere: where there is a place for them, letters go.
        self.observe(world, |_, _| false);
    }

    /// Takes in what clients are told.
    fn hear(&mut self, world: &World) {
        self.faults.look(world, self.model.step);
        let (model, faults, trace) = (&mut self.model, &self.faults, &mut self.trace);
        self.owed.retain_mut(|owed| match once(&mut owed.confirm) {
            Poll::Pending => true,
            Poll::Ready(Err(error)) => {
                trace.note(format_args!("{} is refused: {error}", owed.number));
                false
            }
            Poll::Ready(Ok(())) => {
                trace.note(format_args!("{} is confirmed", owed.number));
                let waited = model.waits_for_the_disk(owed.number, &owed.queues);
                faults.check_confirm(owed.step, waited);
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
        self.turn_wires(world);
    }

    /// Writes down what there is.
    fn note(&mut self, world: &World) {
        let counts = (0..QUEUES.len()).filter_map(|queue| world.counts(queue));
        let counts: Vec<_> = counts.collect();
        let (writes, syncs) = (self.disk.writes(), self.disk.syncs());
        self.trace
            .note(format_args!("{counts:?}, {writes} writes, {syncs} syncs"));
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
