//! Declaring, binding and deleting.

use std::future::Future;
use std::task::Poll;

use super::{Answer, Run};
use crate::client::{ExchangeOptions, ExchangeType};
use crate::error::Error;
use crate::simulation::plan::{EXCHANGES, LATE, LETTERS, QUEUES, TOPIC, topic_keys};
use crate::simulation::world::{World, poll};

impl Run {
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

    pub(super) fn declare(&mut self, world: &World) {
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
    }

    pub(super) fn delete(&mut self, world: &World) {
        let queue = self.queue();
        let (client, plan) = (world.client.clone(), &QUEUES[queue]);
        let delete = async move { client.delete_queue(plan.name).await.map(drop) };
        if self.ask(plan.durable, delete) {
            self.model.delete(queue);
        }
    }

    pub(super) fn exchange(&mut self, world: &World) {
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

    pub(super) fn binding(&mut self, world: &World) {
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
}
