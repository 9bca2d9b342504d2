use leveret_amqp_codec::RawProperties;
use leveret_queue_store::MessageParts;

use super::*;
use crate::connection::ConnectionId;
use crate::{Broker, ExchangeOptions, ExchangeType, QueueOptions};

/// A broker with a fanout exchange `x` and so many queues behind it.
async fn with_fanout(queues: usize) -> (Broker, Arc<VirtualHost>) {
    let broker = Broker::builder().start().await.unwrap();
    let client = broker.client().unwrap();
    let options = ExchangeOptions::default();
    client
        .declare_exchange("x", ExchangeType::Fanout, options)
        .await
        .unwrap();
    for n in 0..queues {
        let queue = n.to_string();
        client
            .declare_queue(&queue, QueueOptions::default())
            .await
            .unwrap();
        client.bind_queue(&queue, "x", "").await.unwrap();
    }
    let vhost = broker.shared.vhost("/").unwrap();
    (broker, vhost)
}

fn find(vhost: &VirtualHost, cache: &mut RouteCache, exchange: &str, key: &str) -> Arc<Route> {
    let caller = Caller::trusted(ConnectionId(u64::MAX));
    vhost
        .route(&caller, cache, exchange, key, RawProperties::EMPTY, None)
        .unwrap()
}

#[tokio::test]
async fn a_publisher_remembers_so_many_routes_and_what_they_lead_to() {
    const QUEUES: usize = 500;
    let (_broker, vhost) = with_fanout(QUEUES).await;
    let mut cache = RouteCache::counting();
    for n in 0..250 {
        let key = n.to_string();
        let found = find(&vhost, &mut cache, "x", &key);
        assert_eq!(found.queues.len(), QUEUES);
        let again = find(&vhost, &mut cache, "x", &key);
        assert!(Arc::ptr_eq(&found, &again), "it is remembered");
        let held: usize = cache.routes.values().map(|it| it.queues.len()).sum();
        assert_eq!(cache.places, held);
        assert!(held <= CACHED_PLACES_MAX, "{held}");
    }
    assert!(cache.places > CACHED_PLACES_MAX / 2, "and not much less");
    for n in 0..2 * CACHED_ROUTES_MAX {
        find(&vhost, &mut cache, "", &n.to_string());
        assert!(cache.routes.len() <= CACHED_ROUTES_MAX);
    }
    cache.forget();
    assert_eq!(cache.places, 0);
}

/// A broker with a fanout exchange `x` and so many exchanges behind it, half of which keep what is latest for new bindings, and
/// the others for whoever comes back.
async fn with_keepers(exchanges: usize) -> (Broker, Arc<VirtualHost>) {
    let (broker, vhost) = with_fanout(0).await;
    let client = broker.client().unwrap();
    for n in 0..exchanges {
        let (kind, history_length) = match n % 2 {
            0 => (ExchangeType::RecentHistory, None),
            _ => (ExchangeType::Direct, Some(1)),
        };
        let options = ExchangeOptions {
            history_length,
            ..ExchangeOptions::default()
        };
        let name = format!("keeper-{n}");
        client.declare_exchange(&name, kind, options).await.unwrap();
        client.bind_exchange(&name, "x", "").await.unwrap();
    }
    (broker, vhost)
}

#[tokio::test]
async fn exchanges_that_keep_messages_count_in_what_a_publisher_remembers() {
    const EXCHANGES: usize = 500;
    let (_broker, vhost) = with_keepers(EXCHANGES).await;
    let mut cache = RouteCache::counting();
    for n in 0..250 {
        find(&vhost, &mut cache, "x", &n.to_string());
        let held = cache.routes.len() * EXCHANGES;
        assert_eq!(cache.places, held);
        assert!(held <= CACHED_PLACES_MAX, "{held}");
    }
}

#[tokio::test]
async fn messages_that_many_exchanges_keep_are_enough_for_a_turn() {
    const EXCHANGES: usize = 500;
    let (_broker, vhost) = with_keepers(EXCHANGES).await;
    let mut cache = RouteCache::counting();
    let route = find(&vhost, &mut cache, "x", "k");
    cache.begin_turn();
    let mut batch = PublishBatch::default();
    let parts = MessageParts {
        exchange: "x",
        routing_key: "k",
        properties: &[],
        body: b"body",
        persistent: false,
        priority: 0,
        expiration_ms: None,
    };
    let message = Message::new(&parts, &mut Vec::new());
    // Half of them in each of the two counts.
    let times = 1 + PLACES_MAX / (EXCHANGES / 2);
    for n in 1..=times {
        assert!(!cache.has_looked_far() && !batch.is_heavy(), "{n}");
        let again = find(&vhost, &mut cache, "x", "k");
        assert!(Arc::ptr_eq(&again, &route), "it is remembered");
        batch.push(&again, message.clone(), Ticket::MAX);
    }
    assert!(cache.has_looked_far());
    assert!(batch.is_heavy());
}
