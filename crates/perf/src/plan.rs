//! What is declared for a run, and which queue is to get which message.

use std::sync::Arc;
use std::time::Duration;

use leveret_amqp_codec::method::queue;
use leveret_amqp_codec::{Method, RawTable, ShortStr, Table, write_method};

use crate::connection::{CHANNEL, Connection};
use crate::error::Error;
use crate::options::{ExchangeKind, Load, QueueArgument};
use crate::topic::Topics;

/// How many bytes of bindings are sent at once: enough that system calls do not count.
const BIND_BATCH_SIZE: usize = 32 * 1024;

/// How long a broker may take for the last binding, and for each before it: RabbitMQ makes a thousand a second on a machine
/// that does nothing else.
const BIND_TIMEOUT_MIN: Duration = Duration::from_secs(30);
const BIND_TIMEOUT: Duration = Duration::from_millis(10);

/// The exchange, queues and bindings of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) exchange: Option<Exchange>,
    pub(crate) queues: Vec<String>,
    /// Whether the queues are ours alone, and so to be deleted.
    pub(crate) queues_are_ours: bool,
    pub(crate) durable: bool,
    pub(crate) arguments: Vec<QueueArgument>,
    /// Index of the queue, and key.
    pub(crate) bindings: Vec<(u32, String)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) name: String,
    wire_type: &'static str,
}

/// What one producer publishes with, in turn.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Empty for the default exchange.
    pub(crate) exchange: String,
    pub(crate) keys: Vec<String>,
    pub(crate) targets: Targets,
}

/// Which queues are to get a message.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    /// So many, all of them, whatever the key.
    All(u32),
    /// For each key these, by index.
    ByKey(Arc<Vec<Vec<u32>>>),
}

impl Targets {
    /// How many deliveries a message leads to, on average.
    pub(crate) fn deliveries_per_message(&self) -> f64 {
        match self {
            Self::All(queues) => f64::from(*queues),
            Self::ByKey(hits) => {
                let sum: usize = hits.iter().map(Vec::len).sum();
                sum as f64 / hits.len() as f64
            }
        }
    }
}

impl Plan {
    /// Makes the plan of a run with this name, and the routes of its producers.
    pub(crate) fn new(load: &Load, own: &str) -> (Self, Vec<Route>) {
        let pattern = match &load.queue_pattern {
            Some(pattern) => pattern.clone(),
            None => format!("{own}-{{}}"),
        };
        let queues: Vec<String> = (0..load.queues)
            .map(|index| pattern.replace("{}", &index.to_string()))
            .collect();
        let exchange = load.exchange.wire_type().map(|wire_type| Exchange {
            name: own.to_owned(),
            wire_type,
        });
        let bindings = load.bindings.unwrap_or(load.queues);
        let in_turn = (0..load.queues).cycle();
        let exchange_name = exchange.as_ref().map(|exchange| exchange.name.clone());
        let route = |keys, targets| Route {
            exchange: exchange_name.clone().unwrap_or_default(),
            keys,
            targets,
        };
        let everyone = |route: Route| vec![route; load.producers as usize];
        let (bindings, routes) = match load.exchange {
            ExchangeKind::Default => {
                let routes = (0..load.producers).map(|producer| {
                    let served = served_by(producer, load.producers, load.queues);
                    let keys = served.iter().map(|&queue| queues[queue as usize].clone());
                    let keys = keys.collect();
                    let hits = served.into_iter().map(|queue| vec![queue]).collect();
                    route(keys, Targets::ByKey(Arc::new(hits)))
                });
                (Vec::new(), routes.collect())
            }
            ExchangeKind::Direct => {
                let keys: Vec<String> = (0..bindings).map(|index| format!("key-{index}")).collect();
                let bindings: Vec<(u32, String)> = in_turn.zip(keys.iter().cloned()).collect();
                let hits = bindings.iter().map(|(queue, _)| vec![*queue]).collect();
                let route = route(keys, Targets::ByKey(Arc::new(hits)));
                (bindings, everyone(route))
            }
            ExchangeKind::Fanout => {
                let bindings = (0..load.queues).map(|queue| (queue, String::new()));
                let route = route(vec![String::new()], Targets::All(load.queues));
                (bindings.collect(), everyone(route))
            }
            ExchangeKind::Topic => {
                let topics = Topics::new(bindings as usize, load.queues, load.keys as usize);
                let bindings = in_turn.zip(topics.patterns).collect();
                let route = route(topics.keys, Targets::ByKey(Arc::new(topics.hits)));
                (bindings, everyone(route))
            }
        };
        let plan = Self {
            exchange,
            queues,
            queues_are_ours: load.queue_pattern.is_none(),
            durable: load.durable,
            arguments: load.common.queue_arg.clone(),
            bindings,
        };
        (plan, routes)
    }

    /// Declares exchange and queues.
    ///
    /// # Errors
    ///
    /// When the broker refuses, for example because there is such a queue with other arguments.
    pub(crate) async fn declare(&self, connection: &mut Connection) -> Result<(), Error> {
        if let Some(exchange) = &self.exchange {
            connection
                .declare_exchange(&exchange.name, exchange.wire_type)
                .await?;
        }
        let arguments = arguments_table(&self.arguments);
        for name in &self.queues {
            let declare = queue::Declare {
                queue: ShortStr::new(name)?,
                durable: self.durable,
                arguments: RawTable::from_validated_bytes(&arguments),
                ..queue::Declare::default()
            };
            connection.declare_queue(&declare).await?;
        }
        Ok(())
    }

    /// Makes all bindings, and returns when the broker has them all. Only the last is answered, so that what is timed
    /// is the broker and not the way to it.
    ///
    /// # Errors
    ///
    /// When the broker refuses one.
    pub(crate) async fn bind(&self, connection: &mut Connection) -> Result<(), Error> {
        let Some(exchange) = &self.exchange else {
            return Ok(());
        };
        let mut out = Vec::with_capacity(2 * BIND_BATCH_SIZE);
        let mut left = self.bindings.len();
        for (queue, key) in &self.bindings {
            left -= 1;
            let bind = queue::Bind {
                queue: ShortStr::new(&self.queues[*queue as usize])?,
                exchange: ShortStr::new(&exchange.name)?,
                routing_key: ShortStr::new(key)?,
                no_wait: left > 0,
                arguments: RawTable::EMPTY,
            };
            write_method(&mut out, CHANNEL, &bind);
            if out.len() > BIND_BATCH_SIZE || left == 0 {
                connection.send_bytes(&out).await?;
                out.clear();
            }
        }
        let limit = BIND_TIMEOUT * u32::try_from(self.bindings.len()).unwrap_or(u32::MAX);
        connection
            .answer_within(BIND_TIMEOUT_MIN + limit, "queue.bind-ok", |method| {
                matches!(method, Method::QueueBindOk(_)).then_some(())
            })
            .await
    }

    /// Deletes what is ours.
    ///
    /// # Errors
    ///
    /// When the broker refuses, in which case the rest stays.
    pub(crate) async fn delete(&self, connection: &mut Connection) -> Result<(), Error> {
        if self.queues_are_ours {
            for queue in &self.queues {
                connection.delete_queue(queue).await?;
            }
        }
        if let Some(exchange) = &self.exchange {
            connection.delete_exchange(&exchange.name).await?;
        }
        Ok(())
    }
}

/// Which of `queues` the `index`th of so many producers or consumers has: where there are fewer queues it shares one,
/// where there are more it has several.
pub(crate) fn served_by(index: u32, of: u32, queues: u32) -> Vec<u32> {
    if queues <= of {
        vec![index % queues]
    } else {
        (index..queues).step_by(of as usize).collect()
    }
}

/// The arguments as they are sent: as numbers and truth values where they look like it.
pub(crate) fn arguments_table(arguments: &[QueueArgument]) -> Vec<u8> {
    let mut table = Table::new();
    for QueueArgument { name, value } in arguments {
        if let Ok(number) = value.parse::<i64>() {
            table.insert(name, number);
        } else if let Ok(truth) = value.parse::<bool>() {
            table.insert(name, truth);
        } else {
            table.insert(name, value.as_str());
        }
    }
    table.to_bytes()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Args;

    fn plan(options: &[&str]) -> (Plan, Vec<Route>) {
        let line = ["leveret perf"].iter().chain(options);
        Plan::new(&Args::try_parse_from(line).unwrap().load, "run")
    }

    #[test]
    fn producers_and_consumers_are_spread_over_the_queues() {
        assert_eq!(served_by(0, 1, 3), [0, 1, 2]);
        assert_eq!(served_by(1, 2, 5), [1, 3]);
        assert_eq!(served_by(4, 5, 2), [0]);
    }

    #[test]
    fn the_default_exchange_routes_to_the_queue_called_like_the_key() {
        let (plan, routes) = plan(&["--queues", "3", "--producers", "2"]);
        assert!(plan.bindings.is_empty() && plan.exchange.is_none());
        for route in routes {
            let Targets::ByKey(hits) = &route.targets else {
                panic!("{route:?}");
            };
            for (key, hit) in route.keys.iter().zip(hits.iter()) {
                assert_eq!(*key, plan.queues[hit[0] as usize]);
            }
        }
    }

    #[test]
    fn bindings_are_dealt_out_in_turn() {
        let (plan, routes) = plan(&["--exchange", "direct", "--queues", "2", "--bindings", "3"]);
        let queues: Vec<u32> = plan.bindings.iter().map(|(queue, _)| *queue).collect();
        assert_eq!(queues, [0, 1, 0]);
        assert_eq!(routes[0].keys, ["key-0", "key-1", "key-2"]);
    }

    #[test]
    fn a_fanout_counts_each_queue() {
        let (plan, routes) = plan(&["--exchange", "fanout", "--queues", "7"]);
        assert_eq!(plan.bindings.len(), 7);
        assert_eq!(routes[0].targets.deliveries_per_message(), 7.0);
    }

    #[test]
    fn queues_of_a_pattern_are_kept() {
        let (plan, _) = plan(&["--queue-pattern", "jobs.{}", "--queues", "2"]);
        assert_eq!(plan.queues, ["jobs.0", "jobs.1"]);
        assert!(!plan.queues_are_ours);
    }

    #[test]
    fn arguments_have_the_type_that_they_look_like() {
        let arguments = ["x-queue-type=quorum", "x-max-length=10", "x-flag=true"];
        let arguments: Vec<QueueArgument> =
            arguments.iter().map(|text| text.parse().unwrap()).collect();
        let bytes = arguments_table(&arguments);
        let table = RawTable::from_validated_bytes(&bytes).to_table();
        assert_eq!(
            table.to_string(),
            r#"{x-queue-type: "quorum", x-max-length: 10, x-flag: true}"#
        );
    }
}
