//! A disk without power, without room, or that fails; and what nobody may be told meanwhile.

use super::Run;
use crate::alarms::Alarm;
use crate::simulation::model::Step;
use crate::simulation::world::World;

/// What becomes of the disk in one life of the broker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Trouble {
    #[default]
    None,
    /// The power goes in the middle of what somebody does.
    PowerCut,
    /// It is full from time to time.
    Full,
    /// A write or a sync fails.
    Failure,
}

/// What is wrong with the disk, and has been since when.
#[derive(Debug, Default)]
pub(super) struct Faults {
    trouble: Trouble,
    is_full: bool,
    /// Nothing that waits for the disk becomes safe any more.
    failed_at: Option<Step>,
    /// Publishers are held up.
    held_up_at: Option<Step>,
}

impl Faults {
    /// Sees what the broker makes of the disk.
    pub(super) fn look(&mut self, world: &World, step: Step) {
        if world.journal_has_failed() {
            self.failed_at.get_or_insert(step);
        }
        if world.is_raised(Alarm::DiskFull) {
            self.held_up_at.get_or_insert(step);
        } else {
            self.held_up_at = None;
        }
        assert!(
            self.trouble != Trouble::Full || !world.has_failed(),
            "a full disk is waited for"
        );
    }

    /// What was published at this step is said to be safe, for which it had to `wait` or not.
    pub(super) fn check_confirm(&self, step: Step, waited: bool) {
        self.check_commit(step, waited);
        assert!(
            self.held_up_at.is_none_or(|at| step <= at),
            "confirmed though publishers have to wait"
        );
    }

    /// The same for what was published in a transaction that was committed at this step. Nobody is held up by what he has
    /// said before, as in RabbitMQ: a connection is read up to its next publish.
    pub(super) fn check_commit(&self, step: Step, waited: bool) {
        assert!(
            !(waited && self.failed_at.is_some_and(|at| step > at)),
            "confirmed though the disk had failed"
        );
    }
}

impl Run {
    pub(super) fn choose_trouble(&mut self) {
        self.faults = Faults {
            trouble: match self.below(8) {
                0..=2 => Trouble::PowerCut,
                3..=4 => Trouble::Full,
                5 => Trouble::Failure,
                _ => Trouble::None,
            },
            ..Faults::default()
        };
        let trouble = self.faults.trouble;
        self.trace.note(format_args!("trouble: {trouble:?}"));
        if trouble == Trouble::PowerCut {
            let changes = self.below(400);
            self.disk.cut_power_after(changes);
        }
    }

    /// Something happens to the disk, perhaps. Says whether it does.
    pub(super) fn make_trouble(&mut self, world: &mut World) -> bool {
        let trouble = self.faults.trouble;
        match trouble {
            Trouble::Full if self.faults.is_full && self.below(16) == 0 => self.make_room(world),
            Trouble::Full if !self.faults.is_full && self.below(8) == 0 => {
                let bytes = self.below(6000);
                self.trace.note(format_args!("room for {bytes} bytes"));
                self.disk.leave_room(Some(bytes));
                self.faults.is_full = true;
            }
            Trouble::Failure if self.below(30) == 0 => {
                self.trace.note(format_args!("the next fails"));
                if self.below(2) == 0 {
                    self.disk.fail_syncs(1);
                } else {
                    self.disk.fail_writes(1);
                }
            }
            _ => return false,
        }
        true
    }

    /// A full disk has room again, which is all it takes for everybody to be told what they wait for.
    pub(super) fn make_room(&mut self, world: &mut World) {
        if !std::mem::take(&mut self.faults.is_full) {
            return;
        }
        self.trace.note(format_args!("there is room"));
        self.disk.leave_room(None);
        // As often as the threads would take turns: what each of them writes may be what the other one waits for.
        for _ in 0..4 {
            self.model.step += 1;
            world.write_definitions();
            world.write_messages();
            self.observe(world, |_, _| false);
            self.hear(world);
        }
        assert!(!world.is_raised(Alarm::DiskFull), "there is room");
        assert_eq!(self.owed.len(), 0, "publishers are told");
        assert_eq!(self.answers.len(), 0, "those who declare are told");
        self.check_that_wires_wait_for_nothing();
    }

    /// The broker starts, or tries to, on a disk that fails it.
    pub(super) fn start_in_vain(&mut self, memory: usize) {
        match self.below(16) {
            0..=1 => {
                // The power goes again before the broker is up.
                let changes = self.below(60);
                self.disk.cut_power_after(changes);
            }
            2 => {
                let bytes = self.below(6000);
                self.disk.leave_room(Some(bytes));
            }
            3 => self.disk.fail_syncs(1),
            4 => self.disk.fail_writes(1),
            _ => return,
        }
        let started = World::start(&self.disk, &self.clock, memory);
        self.trace
            .note(format_args!("started in vain: {:?}", started.err()));
        if self.below(2) == 0 {
            self.disk.crash();
        } else {
            self.disk.kill();
        }
    }
}
