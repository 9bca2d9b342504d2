//! Which exchanges a message has come to.

use smallvec::SmallVec;

use crate::exchange::ExchangeId;

/// Up to so many exchanges are compared one by one, which is faster than anything else where it is usual.
const FEW: usize = 16;

/// Exchanges in the order in which a message has come to them, each once.
#[derive(Debug)]
pub(super) struct Visited {
    order: SmallVec<[ExchangeId; 4]>,
    /// When they are not few any more: a bit for each exchange, by its id.
    marks: Vec<u64>,
}

impl Visited {
    pub(super) fn starting_at(exchange: ExchangeId) -> Self {
        let mut order = SmallVec::new();
        order.push(exchange);
        Self {
            order,
            marks: Vec::new(),
        }
    }

    /// The exchange that it came to as this one, counted from 0.
    #[inline]
    pub(super) fn nth(&self, at: usize) -> Option<ExchangeId> {
        self.order.get(at).copied()
    }

    /// Adds an exchange unless it is there.
    #[inline]
    pub(super) fn add(&mut self, exchange: ExchangeId) {
        let is_new = if self.order.len() <= FEW {
            !self.order.contains(&exchange)
        } else {
            self.mark_one_of_many(exchange)
        };
        if is_new {
            self.order.push(exchange);
        }
    }

    #[cold]
    fn mark_one_of_many(&mut self, exchange: ExchangeId) -> bool {
        if self.marks.is_empty() {
            for known in &self.order {
                mark(&mut self.marks, known.0);
            }
        }
        mark(&mut self.marks, exchange.0)
    }
}

/// Marks what has this id. Whether it had no mark before.
#[inline]
pub(super) fn mark(marks: &mut Vec<u64>, id: u32) -> bool {
    let (at, bit) = (id as usize / 64, 1_u64 << (id % 64));
    if at >= marks.len() {
        marks.resize(at + 1, 0);
    }
    let had = marks[at] & bit != 0;
    marks[at] |= bit;
    !had
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;

    #[test]
    fn each_exchange_is_there_once_and_in_order() {
        for few in [3, 16, 17, 18, 100, 1000] {
            let first = ExchangeId(few / 2);
            let (mut visited, mut naive) = (Visited::starting_at(first), vec![first]);
            for step in 0..3000 {
                let exchange = ExchangeId(mix(step) as u32 % few);
                visited.add(exchange);
                if !naive.contains(&exchange) {
                    naive.push(exchange);
                }
            }
            let found = (0..).map_while(|at| visited.nth(at));
            assert_eq!(found.collect::<Vec<_>>(), naive, "of {few}");
        }
    }
}
