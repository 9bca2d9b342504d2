//! What must be there after a crash, and what must not.

mod recovery;

use std::collections::{BTreeMap, BTreeSet};

use leveret_queue_store::Time;

use super::plan::{Key, QUEUES};
use super::world::{Contents, deadline};

/// Counts what was done, over all crashes.
pub(super) type Step = u64;

/// A message in one queue.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    pub(super) place: u64,
    pub(super) priority: u8,
    pub(super) persistent: bool,
    pub(super) deadline: Time,
    /// Its publisher was told that it is safe.
    pub(super) confirmed: bool,
    /// When somebody got it first.
    pub(super) handed: Option<Step>,
    /// When it went, and whether it died rather than being acknowledged or deleted.
    pub(super) gone: Option<(Step, bool)>,
}

/// A queue from its declaration to its deletion.
#[derive(Clone, Debug, Default)]
pub(super) struct Incarnation {
    pub(super) declared: Step,
    pub(super) deleted: Option<Step>,
    pub(super) copies: BTreeMap<Key, Copy>,
}

/// What is to be known of a message that arrives some time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) priority: u8,
    pub(super) expiration_ms: Option<u64>,
    /// When it was first seen in a queue.
    pub(super) arrived: Option<Step>,
}

/// What a transaction does.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    /// The numbers of messages.
    pub(super) publishes: Vec<u64>,
    pub(super) acks: Vec<(usize, Key)>,
}

/// Something that is defined or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fact {
    pub(super) exists: bool,
    changed: Step,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) step: Step,
    /// What happened to messages before this is on the disk.
    safe: Step,
    /// Definitions that were changed up to then are on the disk.
    safe_definitions: Step,
    places: u64,
    /// What has been in queues that were deleted.
    buried: BTreeSet<(usize, Key)>,
    /// The numbers of messages that are not persistent.
    pub(super) transient: BTreeSet<u64>,
    /// Messages that were sent over a wire, and arrive when the broker reads them.
    pub(super) sent: BTreeMap<u64, Sent>,
    /// Transactions that were to be committed since the last start.
    pub(super) commits: Vec<Commit>,
    /// All that may come back; the last may be live.
    pub(super) queues: [Vec<Incarnation>; QUEUES.len()],
    pub(super) exchanges: BTreeMap<&'static str, Fact>,
    pub(super) bindings: BTreeMap<(&'static str, usize), Fact>,
}

impl Model {
    pub(super) fn live(&mut self, queue: usize) -> Option<&mut Incarnation> {
        let last = self.queues[queue].last_mut();
        last.filter(|last| last.deleted.is_none())
    }

    pub(super) fn declare(&mut self, queue: usize) {
        if self.live(queue).is_none() {
            let declared = self.step;
            self.queues[queue].push(Incarnation {
                declared,
                ..Incarnation::default()
            });
        }
    }

    pub(super) fn delete(&mut self, queue: usize) {
        let step = self.step;
        if let Some(live) = self.live(queue) {
            live.deleted = Some(step);
            let keys: Vec<Key> = live.copies.keys().copied().collect();
            self.buried.extend(keys.into_iter().map(|key| (queue, key)));
        }
        for (_, fact) in self.bindings.iter_mut().filter(|((_, to), _)| *to == queue) {
            fact.set(false, step);
        }
    }

    pub(super) fn set_exchange(&mut self, exchange: &'static str, exists: bool) {
        let step = self.step;
        self.exchanges
            .entry(exchange)
            .or_default()
            .set(exists, step);
        if !exists {
            for (_, fact) in self
                .bindings
                .iter_mut()
                .filter(|((from, _), _)| *from == exchange)
            {
                fact.set(false, step);
            }
        }
    }

    pub(super) fn set_binding(&mut self, exchange: &'static str, queue: usize, exists: bool) {
        let step = self.step;
        self.bindings
            .entry((exchange, queue))
            .or_default()
            .set(exists, step);
    }

    pub(super) fn is_bound(&self, exchange: &'static str, queue: usize) -> bool {
        self.bindings
            .get(&(exchange, queue))
            .is_some_and(|fact| fact.exists)
    }

    /// A client was told of a durable change.
    pub(super) fn definitions_answered(&mut self, step: Step) {
        self.safe_definitions = self.safe_definitions.max(step);
    }

    /// A message is on its way to a queue that is there.
    pub(super) fn arrive(&mut self, queue: usize, key: Key, copy: Copy) {
        self.places += 1;
        let place = self.places;
        if let Some(live) = self.live(queue) {
            live.copies.insert(key, Copy { place, ..copy });
        }
    }

    /// Whether a message has to be on the disk before it counts as safe in these queues.
    pub(super) fn waits_for_the_disk(&self, number: u64, queues: &[usize]) -> bool {
        !self.transient.contains(&number) && queues.iter().any(|queue| QUEUES[*queue].durable)
    }

    /// A publisher was told that its message is safe in these queues.
    pub(super) fn confirmed(&mut self, step: Step, number: u64, queues: &[usize]) {
        let mut waited = false;
        for queue in queues {
            let key = Key {
                number,
                died_in: None,
            };
            for incarnation in &mut self.queues[*queue] {
                if let Some(copy) = incarnation.copies.get_mut(&key)
                    && copy.persistent
                    && QUEUES[*queue].durable
                {
                    copy.confirmed = true;
                    waited = true;
                }
            }
        }
        if waited {
            self.safe = self.safe.max(step);
        }
    }

    /// Everything that was done is on the disk.
    pub(super) fn everything_is_safe(&mut self) {
        self.step += 1;
        self.safe = self.step;
        self.safe_definitions = self.step;
        for copy in self
            .queues
            .iter_mut()
            .flatten()
            .flat_map(|queue| queue.copies.values_mut())
        {
            copy.confirmed |= copy.persistent && copy.gone.is_none();
        }
    }

    /// Gives a place to what has come since the last look: letters, and what was sent over a wire. Who delivered at once
    /// what came delivered the first of it. Of messages that are alike those of one connection come as they were sent, and
    /// only one has worked since the last look; where letters come between them is known of the queue alone, since what
    /// somebody sends elsewhere may have pushed them out.
    fn note_arrivals(&mut self, now: Time, queue: usize, found: Option<&Contents>) {
        let Some(found) = found else { return };
        let ready = found.ready.iter().map(|(key, _)| key);
        let mut latest = BTreeMap::new();
        for key in found.unacked.iter().chain(ready) {
            let known = self.queues[queue].last();
            let known = known.and_then(|live| live.copies.get(key));
            if key.died_in.is_some() {
                if known.is_none_or(|copy| copy.gone.is_some()) {
                    let persistent = !self.transient.contains(&key.number);
                    self.arrive(queue, *key, Copy::letter(persistent));
                }
            } else if known.is_none()
                && let Some(copy) = self.sent_copy(now, queue, key.number)
            {
                let before = latest.insert(copy.priority, key.number);
                assert!(
                    before < Some(key.number),
                    "{key:?} in {} has overtaken {before:?}",
                    QUEUES[queue].name
                );
                self.arrive(queue, *key, copy);
            }
        }
    }

    /// What was sent over a wire, as it is in a queue. None if nothing was.
    fn sent_copy(&mut self, now: Time, queue: usize, number: u64) -> Option<Copy> {
        let plan = &QUEUES[queue];
        let sent = self.sent.get_mut(&number)?;
        sent.arrived.get_or_insert(self.step);
        let ttl = [plan.ttl_ms, sent.expiration_ms]
            .into_iter()
            .flatten()
            .min();
        Some(Copy {
            priority: sent.priority.min(plan.max_priority.unwrap_or(0)),
            deadline: deadline(now, ttl),
            ..Copy::letter(!self.transient.contains(&number))
        })
    }

    /// A publisher on a wire was told that its message is safe. When and where it has arrived; none if it was never seen.
    pub(super) fn confirmed_on_the_wire(&mut self, number: u64) -> Option<(Step, Vec<usize>)> {
        let arrived = self.sent.get(&number)?.arrived?;
        let key = Key {
            number,
            died_in: None,
        };
        let has = |queue: &usize| {
            let incarnations = &self.queues[*queue];
            incarnations.iter().any(|it| it.copies.contains_key(&key))
        };
        let queues: Vec<usize> = (0..QUEUES.len()).filter(has).collect();
        self.confirmed(arrived, number, &queues);
        Some((arrived, queues))
    }

    /// A client was told that acknowledgements are safe, with nothing done at the same step that is not.
    pub(super) fn acknowledged_safely(&mut self, queue: usize, key: Key) {
        let copies = self.queues[queue]
            .iter()
            .filter_map(|it| it.copies.get(&key));
        let gone = copies.filter_map(|copy| copy.gone).map(|(step, _)| step);
        if let Some(step) = gone.max() {
            self.safe = self.safe.max(step + 1);
        }
    }

    /// Compares a running queue with what should be in it, and takes over what happened by itself: what expired, was
    /// pushed out, or came as a dead letter. `taken` went because somebody wanted it to.
    pub(super) fn observe(
        &mut self,
        now: Time,
        queue: usize,
        found: Option<&Contents>,
        taken: impl Fn(Key) -> bool,
    ) {
        let (step, plan) = (self.step, &QUEUES[queue]);
        if self.live(queue).is_none() && found.is_none() {
            return;
        }
        self.note_arrivals(now, queue, found);
        let live = self.live(queue);
        assert_eq!(
            live.is_some(),
            found.is_some(),
            "whether {} is there",
            plan.name
        );
        let (Some(live), Some(found)) = (live, found) else {
            return;
        };
        let ready = found
            .ready
            .iter()
            .map(|(key, redelivered)| (*key, Some(*redelivered)));
        let unacked = found.unacked.iter().map(|key| (*key, None));
        let mut seen = BTreeSet::new();
        for (key, redelivered) in ready.chain(unacked) {
            seen.insert(key);
            let copy = live.copies.get_mut(&key);
            let copy =
                copy.unwrap_or_else(|| panic!("{key:?} in {} was never published", plan.name));
            assert!(copy.gone.is_none(), "{key:?} in {} had gone", plan.name);
            match redelivered {
                Some(redelivered) if copy.handed.is_some() => {
                    assert!(redelivered, "{key:?} in {} was delivered before", plan.name);
                }
                Some(false) => {}
                _ => drop(copy.handed.get_or_insert(step)),
            }
        }
        // What expired stood in the queue until others had made room.
        let expired = live.copies.iter().filter(|(key, copy)| {
            copy.gone.is_none() && !seen.contains(*key) && copy.deadline <= now
        });
        // What was pushed out by something that came back was so before others were delivered, which made room.
        let held = (found.ready.len() + found.unacked.len() + expired.count()) as u64;
        let full = plan.max_length.is_some_and(|max| held >= max) && !plan.is_quorum();
        for (key, copy) in &mut live.copies {
            if copy.gone.is_none() && !seen.contains(key) {
                let taken = taken(*key);
                assert!(
                    taken || full || copy.deadline <= now,
                    "{key:?} in {} went by itself: {copy:?}",
                    plan.name
                );
                copy.gone = Some((step, !taken));
            }
        }
        // Those that died and are on their way are where they died, for whoever starts anew.
        for key in &found.undelivered {
            if let Some(copy) = live.copies.get_mut(key)
                && let Some((gone, true)) = &mut copy.gone
            {
                *gone = step;
            }
        }
    }
}

impl Fact {
    fn set(&mut self, exists: bool, step: Step) {
        if self.exists != exists {
            *self = Self {
                exists,
                changed: step,
            };
        }
    }
}

impl Copy {
    fn letter(persistent: bool) -> Self {
        Self {
            place: 0,
            priority: 0,
            persistent,
            deadline: Time::MAX,
            confirmed: false,
            handed: None,
            gone: None,
        }
    }
}
