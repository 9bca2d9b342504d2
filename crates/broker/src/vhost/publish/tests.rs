use leveret_amqp_codec::RawProperties;

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
        assert_eq!(cache.queues, held);
        assert!(held <= CACHED_QUEUES_MAX, "{held}");
    }
    assert!(cache.queues > CACHED_QUEUES_MAX / 2, "and not much less");
    for n in 0..2 * CACHED_ROUTES_MAX {
        find(&vhost, &mut cache, "", &n.to_string());
        assert!(cache.routes.len() <= CACHED_ROUTES_MAX);
    }
    cache.forget();
    assert_eq!(cache.queues, 0);
}
