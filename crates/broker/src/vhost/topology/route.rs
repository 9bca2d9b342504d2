//! Where a message goes: from exchange to exchange, as far as the bindings lead.

use std::sync::Arc;

use leveret_amqp_codec::{RawProperties, RawTable};
use smallvec::SmallVec;

use super::reached::Reached;
use super::visited::Visited;
use super::{Capture, Exchange, Topology};
use crate::exchange::{Destination, ExchangeId, HeaderIndex, Subject};
use crate::vhost::delayed::delay_ms;
use crate::vhost::past::{Passes, Past};
use crate::vhost::queue::QueueCell;

/// Where a message goes: each queue once.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) queues: Box<[Arc<QueueCell>]>,
    /// Exchanges on the way that keep the message, with how long where they delay it.
    pub(crate) captures: Box<[(Capture, u64)]>,
    /// Exchanges on the way that keep history; few routes have any.
    pub(crate) passes: Option<Box<Passes>>,
    /// Nothing but exchange and routing key led here, so it may be remembered by them.
    pub(crate) follows_from_key: bool,
    /// How many exchanges were asked for it, once for each key, and how many bindings were looked at or lead to it.
    pub(crate) looked_at: usize,
}

impl Route {
    /// To how many queues, and to how many exchanges that keep it, a message goes.
    pub(crate) fn places(&self) -> usize {
        let pasts = self.passes.as_ref().map_or(0, |passes| passes.pasts.len());
        self.queues.len() + self.captures.len() + pasts
    }

    /// About what it takes to keep it.
    pub(crate) fn size_bytes(&self) -> usize {
        let keys = self.passes.as_ref().map_or(0, |passes| passes.size_bytes());
        size_of::<Self>() + size_of_val(&*self.queues) + size_of_val(&*self.captures) + keys
    }
}

/// The routing keys of a message (its own and those of its CC and BCC headers, each once) and its headers.
#[derive(Clone, Debug)]
pub(crate) struct Addressing<'a> {
    pub(crate) keys: SmallVec<[&'a str; 1]>,
    pub(crate) headers: RawTable<'a>,
    pub(crate) properties: RawProperties<'a>,
}

impl Topology {
    /// Where one exchange alone sends a message, whatever lies behind; nothing is known of the default exchange.
    pub(crate) fn destinations(
        &self,
        id: ExchangeId,
        addressing: &Addressing<'_>,
    ) -> Vec<Destination> {
        let Addressing {
            headers,
            properties,
            ..
        } = *addressing;
        let router = &self.exchange(id).router;
        let mut found = Vec::new();
        for routing_key in &addressing.keys {
            let subject = Subject {
                routing_key,
                headers,
                index: None,
                properties,
            };
            router.route(&subject, &mut |destination| found.push(destination));
            if router.is_blind_to_further_keys() {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// For how long an exchange keeps a message before it routes it.
    pub(crate) fn delay_ms(&self, id: ExchangeId, addressing: &Addressing<'_>) -> Option<u64> {
        match self.exchange(id).capture() {
            Some(Capture::Delay(_)) => delay_ms(addressing.headers),
            _ => None,
        }
    }

    /// Where a message published to `exchange` goes.
    ///
    /// Exchanges behind exchanges are visited breadth first and at most once each, so cycles end; an exchange whose
    /// bindings lead nowhere passes the message to its alternate exchange (behaviour reference, 5.4 and 5.9).
    pub(crate) fn route(&self, exchange: ExchangeId, addressing: &Addressing<'_>) -> Route {
        let mut visited = Visited::starting_at(exchange);
        let mut reached = Reached::new();
        let mut captures = Vec::new();
        let mut pasts: SmallVec<[(Arc<Past>, u64); 1]> = SmallVec::new();
        let mut follows_from_key = addressing.keys.len() == 1;
        let mut index = None;
        let mut compared = 0;
        let mut found = 0;
        let mut next = 0;
        while let Some(id) = visited.nth(next) {
            next += 1;
            let exchange = self.exchange(id);
            follows_from_key &= exchange.router.looks_at_key_only();
            let compared_len = exchange.router.compared_len();
            compared += compared_len;
            if compared_len > 1 && index.is_none() {
                index = HeaderIndex::of_many(addressing.headers);
            }
            match exchange.capture() {
                None => {}
                Some(delayed @ Capture::Delay(_)) => {
                    // The header decides.
                    follows_from_key = false;
                    if let Some(delay_ms) = delay_ms(addressing.headers) {
                        captures.push((delayed.clone(), delay_ms));
                        continue;
                    }
                }
                Some(keep @ Capture::Keep(_)) => captures.push((keep.clone(), 0)),
            }
            if let Some(past) = exchange.past() {
                pasts.push((Arc::clone(past), past.version()));
            }
            let found_here = self.route_one(
                exchange,
                addressing,
                index.as_ref(),
                &mut reached,
                &mut visited,
            );
            found += found_here;
            if found_here == 0 {
                let alternate = exchange
                    .alternate
                    .as_ref()
                    .and_then(|name| self.exchange_id(name));
                if let Some(alternate) = alternate {
                    visited.add(alternate);
                }
            }
        }
        let queues = reached.into_queues();
        let queues = queues
            .iter()
            .map(|id| Arc::clone(&self.queues[id.0 as usize]))
            .collect();
        Route {
            queues,
            captures: captures.into(),
            passes: self.passes(exchange, pasts, addressing),
            follows_from_key,
            looked_at: next * addressing.keys.len() + compared + found,
        }
    }

    fn passes(
        &self,
        from: ExchangeId,
        mut pasts: SmallVec<[(Arc<Past>, u64); 1]>,
        addressing: &Addressing<'_>,
    ) -> Option<Box<Passes>> {
        if pasts.is_empty() {
            return None;
        }
        pasts.sort_unstable_by_key(|(past, _)| past.rank());
        let further_keys = addressing.keys.iter().skip(1);
        Some(Box::new(Passes {
            pasts,
            from: Arc::clone(&self.exchange(from).name),
            further_keys: further_keys.map(|key| Box::from(*key)).collect(),
        }))
    }

    /// How many destinations the exchange had for the message, the same ones counted again.
    fn route_one(
        &self,
        exchange: &Exchange,
        addressing: &Addressing<'_>,
        index: Option<&HeaderIndex<'_>>,
        reached: &mut Reached,
        visited: &mut Visited,
    ) -> usize {
        let mut found = 0;
        for routing_key in &addressing.keys {
            if exchange.name.is_empty() {
                // The default exchange: every queue is bound to it by its name.
                if let Some(id) = self.queue_names.get(*routing_key) {
                    reached.add(*id);
                    found += 1;
                }
                continue;
            }
            let Addressing {
                headers,
                properties,
                ..
            } = *addressing;
            let subject = Subject {
                routing_key,
                headers,
                index,
                properties,
            };
            exchange.router.route(&subject, &mut |destination| {
                found += 1;
                match destination {
                    Destination::Queue(id) => reached.add(id),
                    Destination::Exchange(id) => visited.add(id),
                }
            });
            reached.mark_if_many();
            if exchange.router.is_blind_to_further_keys() {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::Binding;
    use super::*;
    use crate::exchange::{ExchangeKind, Router};

    fn add_fanout(topology: &mut Topology, name: &str) -> ExchangeId {
        let kind = ExchangeKind::Fanout;
        let router = Router::new(kind, RawTable::EMPTY, 0).expect("it takes any arguments");
        topology.add_exchange(Exchange::new(Arc::from(name), kind, router, None));
        topology.exchange_id(name).expect("it was added")
    }

    fn bind(topology: &mut Topology, source: ExchangeId, destination: ExchangeId) {
        let binding = Binding {
            source,
            key: Arc::from(""),
            arguments: None,
        };
        topology.bind(Destination::Exchange(destination), binding, None);
    }

    #[test]
    fn a_message_with_many_keys_comes_to_very_many_exchanges() {
        const EXCHANGES: usize = 50_000;
        let mut topology = Topology::default();
        let first = add_fanout(&mut topology, "first");
        let last = add_fanout(&mut topology, "last");
        for n in 0..EXCHANGES {
            let exchange = add_fanout(&mut topology, &n.to_string());
            bind(&mut topology, first, exchange);
            bind(&mut topology, exchange, last);
        }
        bind(&mut topology, last, first);
        let addressing = Addressing {
            keys: SmallVec::from_buf(["k"]),
            headers: RawTable::EMPTY,
            properties: RawProperties::EMPTY,
        };
        assert!(topology.route(first, &addressing).queues.is_empty());
        let keys: Vec<_> = (0..5000).map(|n: u32| n.to_string()).collect();
        let many_keys = Addressing {
            keys: keys.iter().map(String::as_str).collect(),
            ..addressing
        };
        assert!(topology.route(first, &many_keys).queues.is_empty());
        topology.remove_exchange(first);
        topology.remove_exchange(last);
        assert_eq!(topology.binding_len(), 0);
    }

    #[test]
    fn bindings_count_once_for_each_key_that_they_lead_to() {
        const EXCHANGES: usize = 300;
        let mut topology = Topology::default();
        let kind = ExchangeKind::Topic;
        let router = Router::new(kind, RawTable::EMPTY, 0).expect("it takes any arguments");
        topology.add_exchange(Exchange::new(Arc::from("topic"), kind, router, None));
        let first = topology.exchange_id("topic").expect("it was added");
        for n in 0..EXCHANGES {
            let exchange = add_fanout(&mut topology, &n.to_string());
            let binding = Binding {
                source: first,
                key: Arc::from("#"),
                arguments: None,
            };
            topology.bind(Destination::Exchange(exchange), binding, None);
        }
        let looked_at = |keys: &[&str]| {
            let addressing = Addressing {
                keys: SmallVec::from_slice(keys),
                headers: RawTable::EMPTY,
                properties: RawProperties::EMPTY,
            };
            topology.route(first, &addressing).looked_at
        };
        assert_eq!(looked_at(&["a"]), 1 + 2 * EXCHANGES);
        let many: Vec<_> = (0..10).map(|n: u32| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(looked_at(&many), 10 * (1 + 2 * EXCHANGES));
    }

    #[test]
    fn exchanges_bound_to_the_same_one_go_without_a_look_at_each_other() {
        const EXCHANGES: usize = 50_000;
        let mut topology = Topology::default();
        let last = add_fanout(&mut topology, "last");
        let names = (0..EXCHANGES).map(|n| n.to_string());
        let exchanges: Vec<_> = names.map(|name| add_fanout(&mut topology, &name)).collect();
        for exchange in &exchanges {
            bind(&mut topology, *exchange, last);
        }
        for exchange in exchanges {
            topology.remove_exchange(exchange);
            topology.take_removed();
        }
        assert_eq!(topology.bindings().count(), 0);
    }
}
