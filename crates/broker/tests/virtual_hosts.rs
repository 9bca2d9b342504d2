//! Virtual hosts: worlds of their own, made and deleted while the broker runs.

use leveret_broker::{Broker, ConsumeOptions, Publish, QueueOptions};

#[tokio::test]
async fn virtual_hosts_know_nothing_of_each_other() {
    let broker = Broker::builder().start().await.unwrap();
    assert!(broker.create_vhost("shop"));
    assert!(!broker.create_vhost("shop"), "it is there already");
    assert_eq!(
        broker
            .vhosts()
            .iter()
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["/", "shop"]
    );
    let (root, shop) = (broker.client().unwrap(), broker.client_of("shop").unwrap());
    for client in [&root, &shop] {
        client
            .declare_queue("orders", QueueOptions::default())
            .await
            .unwrap();
    }
    shop.publish(Publish::to_queue("orders", b"x"))
        .await
        .unwrap();
    assert_eq!(shop.queue_info("orders").await.unwrap().ready, 1);
    assert_eq!(root.queue_info("orders").await.unwrap().ready, 0);
    assert!(broker.client_of("zorp").unwrap_err().is_not_found());
}

#[tokio::test]
async fn deleting_a_virtual_host_ends_everything_in_it() {
    let broker = Broker::builder().start().await.unwrap();
    broker.create_vhost("shop");
    let shop = broker.client_of("shop").unwrap();
    shop.declare_queue("orders", QueueOptions::default())
        .await
        .unwrap();
    shop.publish(Publish::to_queue("orders", &[0; 100]))
        .await
        .unwrap();
    let mut consumer = shop
        .consume(
            "orders",
            ConsumeOptions {
                no_ack: true,
                ..ConsumeOptions::default()
            },
        )
        .await
        .unwrap();
    assert!(consumer.recv().await.is_some());
    shop.publish(Publish::to_queue("orders", &[0; 100]))
        .await
        .unwrap();

    assert!(broker.delete_vhost("shop"));
    assert!(!broker.delete_vhost("shop"));
    while consumer.recv().await.is_some() {}
    assert!(shop.queue_info("orders").await.unwrap_err().is_not_found());
    assert!(
        shop.declare_queue("new", QueueOptions::default())
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert!(
        shop.publish(Publish::to_exchange("amq.fanout", "", b""))
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(broker.memory_used(), 0);
    assert!(broker.client_of("shop").unwrap_err().is_not_found());

    assert!(broker.create_vhost("shop"), "the name is free again");
    let shop = broker.client_of("shop").unwrap();
    assert!(
        shop.queue_info("orders").await.unwrap_err().is_not_found(),
        "and the new one is empty"
    );
}
