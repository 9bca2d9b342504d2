//! What lets deliveries through until there are too many of them.

#[derive(Debug)]
pub(in crate::fuzzing) struct Gate {
    pub(in crate::fuzzing) used: usize,
    pub(in crate::fuzzing) limit: usize,
    pub(in crate::fuzzing) starved: bool,
}

impl Gate {
    pub(in crate::fuzzing) fn try_enter(&mut self, amount: usize) -> bool {
        let room = self.used < self.limit;
        if room {
            self.used += amount;
        } else {
            self.starved = true;
        }
        room
    }

    pub(in crate::fuzzing) fn leave(&mut self, amount: usize) -> bool {
        self.used -= amount;
        self.used < self.limit && std::mem::take(&mut self.starved)
    }

    pub(in crate::fuzzing) fn give_back(&mut self, amount: usize) -> bool {
        self.used -= amount;
        self.used == 0 && self.limit > 0 && std::mem::take(&mut self.starved)
    }

    pub(in crate::fuzzing) fn set_limit(&mut self, limit: usize) -> bool {
        self.limit = limit;
        self.used < limit && std::mem::take(&mut self.starved)
    }
}
