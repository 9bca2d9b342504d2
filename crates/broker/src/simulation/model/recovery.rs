//! What a new run may find, and must.

use std::collections::{BTreeMap, BTreeSet};

use leveret_queue_store::Time;

use super::{Copy, Fact, Incarnation, Model, Step};
use crate::simulation::plan::{DeadLetters, Key, QUEUES, QueuePlan};
use crate::simulation::world::Contents;

impl Model {
    /// Checks what a new run found, which is what the model begins anew with.
    ///
    /// # Errors
    /// With what must not be.
    pub(in crate::simulation) fn recover(
        &mut self,
        now: Time,
        found: &[Option<Contents>],
        defined: impl Fn(&'static str, Option<usize>) -> bool,
    ) -> Result<(), String> {
        self.step += 1;
        self.complete_commits(found);
        let safe_definitions = self.safe_definitions;
        let all = found;
        for (queue, found) in found.iter().enumerate() {
            let target = QUEUES[queue]
                .target()
                .and_then(|target| all[target].as_ref());
            let has_letter = |key: Key| {
                let letter = Key {
                    died_in: key.died_in.or(Some(queue)),
                    ..key
                };
                let is_on_its_way = found
                    .as_ref()
                    .is_some_and(|found| found.undelivered.contains(&key));
                is_on_its_way || target.is_none_or(|target| target.has(letter))
            };
            self.recover_queue(now, queue, found.as_ref(), has_letter)
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

    /// A transaction of which an acknowledgement has survived has all of its publishes.
    fn complete_commits(&mut self, found: &[Option<Contents>]) {
        let all: Vec<usize> = (0..QUEUES.len()).collect();
        for commit in std::mem::take(&mut self.commits) {
            let survived = commit.acks.iter().any(|(queue, key)| {
                let live = self.queues[*queue].last();
                let copy = live
                    .filter(|live| live.deleted.is_none())
                    .and_then(|live| live.copies.get(key));
                let plan = &QUEUES[*queue];
                let goes_by_itself = plan.max_length.is_some() || !plan.durable;
                // It was safe, so it is gone for what is in the log.
                copy.is_some_and(|copy| copy.confirmed && copy.deadline == Time::MAX)
                    && !goes_by_itself
                    && found[*queue].as_ref().is_some_and(|found| !found.has(*key))
            });
            if survived {
                for number in commit.publishes {
                    self.confirmed(0, number, &all);
                }
            }
        }
    }

    /// Leaves the one incarnation that was found.
    fn recover_queue(
        &mut self,
        now: Time,
        queue: usize,
        found: Option<&Contents>,
        has_letter: impl Fn(Key) -> bool,
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
                    candidate.check(now, plan, safe, found, &has_letter)
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
            let Some(to) = plan.target() else {
                continue;
            };
            let (Some(source), Some(target_now)) = (self.queues[queue].last(), &found[to]) else {
                continue;
            };
            let Some(target) = self.queues[to].last() else {
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
                    DeadLetters::Kept(_) => true,
                    _ => target.declared < died && target.copies.contains_key(&letter),
                };
                // What a queue holds goes with it, even if only the definition comes back: nobody was told of the end.
                let was_buried =
                    self.buried.contains(&(queue, *key)) || self.buried.contains(&(to, letter));
                if copy.confirmed && was_to_arrive && !was_buried && !came_back && !arrived {
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

impl Contents {
    fn has(&self, key: Key) -> bool {
        self.ready.iter().any(|(ready, _)| *ready == key)
    }
}

impl Incarnation {
    fn check(
        &self,
        now: Time,
        plan: &QueuePlan,
        safe: Step,
        found: &Contents,
        has_letter: &impl Fn(Key) -> bool,
    ) -> Result<(), String> {
        let is_quorum = plan.is_quorum();
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
        // What somebody had in hand comes back, and pushes out what a full queue has no room for. What is overdue takes room
        // until those in front of it are gone, as in RabbitMQ.
        let missing = |(key, _): &(&Key, &Copy)| !seen.contains(key);
        let overdue = self.copies.iter().filter(missing).filter(|(_, copy)| {
            let may_have_come_back = copy.gone.is_none_or(|(step, _)| step >= safe);
            copy.persistent && copy.deadline <= now && may_have_come_back
        });
        let held = (found.ready.len() + overdue.count()) as u64;
        let is_full = plan.max_length.is_some_and(|max| held >= max) && !is_quorum;
        let lost = self
            .copies
            .iter()
            .filter(missing)
            .find(|(key, copy)| copy.must_be_there(now) && !(is_full && has_letter(**key)));
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
                .or_insert_with(|| Copy::letter(true));
        }
        for (key, copy) in &mut self.copies {
            match ready.get(key) {
                Some(redelivered) => {
                    copy.gone = None;
                    copy.handed = redelivered.then_some(copy.handed.unwrap_or(step));
                }
                None if found.undelivered.contains(key) => copy.gone = Some((step, true)),
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
