//! Binding keys of one queue, arranged as the exchange arranges its bindings.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_amqp_codec::{RawProperties, RawTable};
use slab::Slab;

use super::Hasher;
use crate::exchange::{Destination, ExchangeKind, QueueId, Router, Subject};

/// See the module. The same router decides where keys lead as for live messages.
#[derive(Debug)]
pub(super) struct Arranged {
    router: Router,
    /// Each key once: bindings with the same lead to the same. The router knows them by their places here.
    keys: Slab<Arc<str>>,
    places: HashMap<Arc<str>, usize, Hasher>,
}

impl Arranged {
    pub(super) fn new<'a>(
        kind: ExchangeKind,
        keys: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Self {
        let Ok(router) = Router::new(kind, RawTable::EMPTY, 0) else {
            unreachable!("exchanges of types that need arguments keep no history");
        };
        let mut arranged = Self {
            router,
            keys: Slab::new(),
            places: HashMap::default(),
        };
        keys.into_iter().for_each(|key| arranged.insert(key));
        arranged
    }

    /// Adds a key unless it is there.
    pub(super) fn insert(&mut self, key: &Arc<str>) {
        if self.places.contains_key(key) {
            return;
        }
        let place = self.keys.insert(Arc::clone(key));
        self.places.insert(Arc::clone(key), place);
        self.router.insert(destination(place), key, None);
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(place) = self.places.remove(key) {
            let key = self.keys.remove(place);
            self.router.remove(destination(place), &key, None);
        }
    }

    /// Calls `found` for each key by which messages with this routing key come.
    pub(super) fn each_leading(&self, routing_key: &str, mut found: impl FnMut(&Arc<str>)) {
        let subject = Subject {
            routing_key,
            headers: RawTable::EMPTY,
            index: None,
            properties: RawProperties::from_validated_bytes(&[]),
        };
        self.router.route(&subject, &mut |destination| {
            if let Destination::Queue(QueueId(place)) = destination
                && let Some(key) = self.keys.get(place as usize)
            {
                found(key);
            }
        });
    }

    /// Whether messages with this routing key come by any of the keys.
    pub(super) fn leads(&self, routing_key: &str) -> bool {
        let mut leads = false;
        self.each_leading(routing_key, |_| leads = true);
        leads
    }
}

fn destination(place: usize) -> Destination {
    Destination::Queue(QueueId(u32::try_from(place).unwrap_or(u32::MAX)))
}
