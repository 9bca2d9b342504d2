//! What the queue says, in terms of the model: consumers and deliveries by their number instead of their id.

use std::sync::Arc;

use super::Twins;
use crate::fuzzing::model::{Consumer, Done, Given, Slow};
use crate::{ConsumerId, Delivery, Effect, SlowConsumer};

impl Twins {
    /// Names what the queue gave as the model does, and learns its id.
    pub(super) fn given(&mut self, delivery: Delivery) -> Given {
        let Delivery {
            id,
            message,
            redelivered,
            delivery_count,
        } = delivery;
        let number = id.map(|id| {
            assert!(!self.deliveries.contains(&id), "an id was used again");
            self.deliveries.push(id);
            self.deliveries.len() - 1
        });
        Given {
            number,
            message,
            redelivered,
            delivery_count,
        }
    }

    pub(super) fn slow_consumer(&self, slow: Slow) -> SlowConsumer {
        SlowConsumer {
            action: slow.action,
            limit: slow.limit,
            limit_bytes: slow.limit_bytes,
            own_window: slow.own_window.map(|own| Arc::clone(&self.windows[own])),
        }
    }

    fn number(&self, id: ConsumerId) -> usize {
        self.consumers
            .iter()
            .position(|consumer| *consumer == id)
            .expect("a consumer that is known")
    }

    /// What an effect is in terms of the model, if it is anything there.
    pub(super) fn done(&mut self, effect: Effect) -> Option<Done> {
        let done = match effect {
            Effect::Deliver { consumer, delivery } => {
                let consumer = self.number(consumer);
                let Consumer { window, slow, .. } = self.model.consumers[consumer];
                let own = slow.and_then(|slow| slow.own_window);
                for window in window.into_iter().chain(own) {
                    self.unwritten[window].push_back(delivery.message.size_bytes());
                }
                Done::Deliver {
                    consumer,
                    delivery: self.given(delivery),
                }
            }
            Effect::Dead {
                message,
                reason,
                delivery_count,
                stored: _,
            } => Done::Dead {
                message,
                reason,
                delivery_count,
            },
            Effect::GateOpened { consumer } => Done::GateOpened {
                consumer: self.number(consumer),
            },
            Effect::WindowOpened { consumer } => Done::WindowOpened {
                consumer: self.number(consumer),
            },
            Effect::LeftOut { consumer, count } => Done::LeftOut {
                consumer: self.number(consumer),
                count,
            },
            Effect::TooSlow { consumer } => Done::TooSlow {
                consumer: self.number(consumer),
            },
            Effect::Expired => Done::Expired,
            Effect::Store { .. }
            | Effect::Handed { .. }
            | Effect::Returned { .. }
            | Effect::Gone { .. }
            | Effect::PageGone { .. }
            | Effect::SlotsGone { .. } => return None,
        };
        Some(done)
    }
}
