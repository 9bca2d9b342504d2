//! What must be there after a crash, and what must not.

use std::collections::{BTreeMap, BTreeSet};

use leveret_queue_store::Time;

use super::plan::{DeadLetters, Key, QUEUES};
use super::world::Contents;

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
        let mut places = self.places;
        if self.live(queue).is_none() && found.is_none() {
            return;
        }
        let transient = std::mem::take(&mut self.transient);
        let persistent = |key: Key| !transient.contains(&key.number);
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
            if key.died_in.is_some() && live.copies.get(&key).is_none_or(|copy| copy.gone.is_some())
            {
                places += 1;
                live.copies
                    .insert(key, Copy::letter(places, persistent(key)));
            }
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
        self.places = places;
        self.transient = transient;
    }

    /// Checks what a new run found, which is what the model begins anew with.
    ///
    /// # Errors
    /// With what must not be.
    pub(super) fn recover(
        &mut self,
        now: Time,
        found: &[Option<Contents>],
        defined: impl Fn(&'static str, Option<usize>) -> bool,
    ) -> Result<(), String> {
        self.step += 1;
        let safe_definitions = self.safe_definitions;
        let all = found;
        for (queue, found) in found.iter().enumerate() {
            // What somebody had in hand comes back, and pushes out what a full queue has no room for.
            let target = QUEUES[queue]
                .target()
                .and_then(|target| all[target].as_ref());
            let pushed_out = |key: Key, found: &Contents| {
                let letter = Key {
                    died_in: key.died_in.or(Some(queue)),
                    ..key
                };
                QUEUES[queue].max_length == Some(found.ready.len() as u64)
                    && target.is_none_or(|target| target.has(letter))
            };
            self.recover_queue(now, queue, found.as_ref(), pushed_out)
                .map_err(|problem| format!("{}: {problem}", QUEUES[queue].name))?;
        }
        self.check_letters(found)?;
        for (queue, incarnations) in self.queues.iter_mut().enumerate() {
            if let (Some(live), Some(found)) = (incarnations.last_mut(), &found[queue]) {
                live.take_over(self.step, found);
            }
        }
        for (exchange, fact) in &mut self.exchanges {
            fact.recover(safe_definitions, defined(exchange, None), exchange)?;
        }
        for ((exchange, queue), fact) in &mut self.bindings {
            if !QUEUES[*queue].durable {
                // It went with its queue.
                *fact = Fact {
                    exists: false,
                    changed: self.step,
                };
            }
            let name = format!("{exchange} to {}", QUEUES[*queue].name);
            fact.recover(safe_definitions, defined(exchange, Some(*queue)), &name)?;
        }
        Ok(())
    }

    /// Leaves the one incarnation that was found.
    fn recover_queue(
        &mut self,
        now: Time,
        queue: usize,
        found: Option<&Contents>,
        pushed_out: impl Fn(Key, &Contents) -> bool,
    ) -> Result<(), String> {
        let plan = &QUEUES[queue];
        let mut candidates = std::mem::take(&mut self.queues[queue]);
        if !plan.durable {
            return found.map_or(Ok(()), |_| Err("it is transient and came back".to_owned()));
        }
        let (safe, safe_definitions) = (self.safe, self.safe_definitions);
        let mut problem = "it came back".to_owned();
        while let Some(mut candidate) = candidates.pop() {
            let deleted = candidate.deleted;
            let checked = match found {
                Some(found) if deleted.is_none_or(|step| step > safe_definitions) => {
                    candidate.check(now, plan.is_quorum(), safe, found, &pushed_out)
                }
                Some(_) => continue,
                None if deleted.is_some() => continue,
                None => candidate.check_absence(now, safe_definitions),
            };
            match checked {
                Ok(()) if found.is_some() => {
                    candidate.deleted = None;
                    self.queues[queue] = vec![candidate];
                    return Ok(());
                }
                Ok(()) => {}
                Err(error) => problem = error,
            }
            if found.is_none() && problem != "it came back" {
                return Err(problem);
            }
        }
        found.map_or(Ok(()), |_| Err(problem))
    }

    /// What died is in its queue still or has arrived where it should have.
    fn check_letters(&self, found: &[Option<Contents>]) -> Result<(), String> {
        for (queue, plan) in QUEUES.iter().enumerate() {
            let Some(target) = plan.target() else {
                continue;
            };
            let (Some(source), Some(target_now)) = (self.queues[queue].last(), &found[target])
            else {
                continue;
            };
            let Some(target) = self.queues[target].last() else {
                continue;
            };
            for (key, copy) in &source.copies {
                let Some((died, true)) = copy.gone else {
                    continue;
                };
                let letter = Key {
                    died_in: key.died_in.or(Some(queue)),
                    ..*key
                };
                let came_back = found[queue]
                    .as_ref()
                    .is_some_and(|found| found.has(*key) || found.undelivered.contains(key));
                let arrived = target_now.has(letter)
                    || target
                        .copies
                        .get(&letter)
                        .is_some_and(|letter| letter.gone.is_some());
                // Without a target it was lost for good, as it should be.
                let was_to_arrive = match plan.dead_letters {
                    DeadLetters::Kept(to) => !self.buried.contains(&(to, letter)),
                    _ => target.declared < died && target.copies.contains_key(&letter),
                };
                if copy.confirmed && was_to_arrive && !came_back && !arrived {
                    return Err(format!(
                        "{letter:?} died in {} at {died} and is lost",
                        plan.name
                    ));
                }
            }
        }
        Ok(())
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

    fn recover(&mut self, safe: Step, exists: bool, name: &str) -> Result<(), String> {
        if self.changed <= safe && self.exists != exists {
            return Err(format!(
                "{name} should be there: {}; it is: {exists}",
                self.exists
            ));
        }
        *self = Self { exists, changed: 0 };
        Ok(())
    }
}

impl Copy {
    fn letter(place: u64, persistent: bool) -> Self {
        Self {
            place,
            priority: 0,
            persistent,
            deadline: Time::MAX,
            confirmed: false,
            handed: None,
            gone: None,
        }
    }
}

impl Contents {
    fn has(&self, key: Key) -> bool {
        self.ready.iter().any(|(ready, _)| *ready == key)
    }
}

impl Incarnation {
    fn check(
        &self,
        now: Time,
        is_quorum: bool,
        safe: Step,
        found: &Contents,
        pushed_out: &impl Fn(Key, &Contents) -> bool,
    ) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut before = None;
        for (key, redelivered) in &found.ready {
            if !seen.insert(*key) && key.died_in.is_none() {
                return Err(format!("{key:?} is there twice"));
            }
            let copy = match self.copies.get(key) {
                Some(copy) => copy,
                // It was carried between the last look and the crash, or the one it died of was.
                None if key.died_in.is_some() => continue,
                None => return Err(format!("{key:?} is from nowhere")),
            };
            if !copy.persistent {
                return Err(format!("{key:?} is transient"));
            }
            match copy.gone {
                // Where letters are kept until they arrive, the dead are not gone.
                Some((step, died))
                    if step < safe && key.died_in.is_none() && !(died && is_quorum) =>
                {
                    return Err(format!("{key:?} had gone for good"));
                }
                _ => {}
            }
            match copy.handed {
                Some(step) if step < safe && !redelivered => {
                    return Err(format!("{key:?} was delivered and is not said to be"));
                }
                None if *redelivered => return Err(format!("{key:?} was never delivered")),
                _ => {}
            }
            let place = (std::cmp::Reverse(copy.priority), copy.place);
            if before.is_some_and(|before| before > place) && !is_quorum && key.died_in.is_none() {
                return Err(format!("{key:?} is out of order"));
            }
            before = Some(place);
        }
        if self.deleted.is_some() {
            // The definition outlived the messages.
            return Ok(());
        }
        let lost = self.copies.iter().find(|(key, copy)| {
            copy.must_be_there(now) && !seen.contains(key) && !pushed_out(**key, found)
        });
        lost.map_or(Ok(()), |(key, copy)| {
            Err(format!("{key:?} is lost: {copy:?}"))
        })
    }

    /// Whether the queue may be gone though nobody deleted it.
    fn check_absence(&self, now: Time, safe_definitions: Step) -> Result<(), String> {
        if self.declared <= safe_definitions {
            return Err("it is lost".to_owned());
        }
        let lost = self.copies.iter().find(|(_, copy)| copy.must_be_there(now));
        lost.map_or(Ok(()), |(key, _)| {
            Err(format!("it is lost, and {key:?} with it"))
        })
    }

    fn take_over(&mut self, step: Step, found: &Contents) {
        self.declared = 0;
        let ready: BTreeMap<Key, bool> = found.ready.iter().copied().collect();
        for key in ready.keys().filter(|key| key.died_in.is_some()) {
            self.copies
                .entry(*key)
                .or_insert_with(|| Copy::letter(0, true));
        }
        for (key, copy) in &mut self.copies {
            match ready.get(key) {
                Some(redelivered) => {
                    copy.gone = None;
                    copy.handed = redelivered.then_some(copy.handed.unwrap_or(step));
                }
                None => drop(copy.gone.get_or_insert((step, false))),
            }
        }
    }
}

impl Copy {
    fn must_be_there(&self, now: Time) -> bool {
        self.confirmed && self.gone.is_none() && self.deadline > now
    }
}
