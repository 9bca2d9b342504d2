//! Topic permissions.

use leveret_broker::Publish;

use crate::world::World;
use crate::{amqp, set_the_scene, stomp};

/// Which keys may be used with `amq.topic`: with every combination of rights, each protocol and a key of each kind.
#[tokio::test]
async fn topics() {
    check_in(World::with_accounts().await).await;
    check_in(World::with_backend().await).await;
}

async fn check_in(world: World) {
    let operator = world.broker.client().unwrap();
    set_the_scene(&operator, None).await;
    for [may_write, may_read] in [[false, false], [false, true], [true, false], [true, true]] {
        world.permit_topics(may_write, may_read);
        for key in ["ann.a", "bob.a"] {
            let is_own = key.starts_with("ann.");
            for (what, outcome) in topic_attempts(&world, key).await {
                let may = if what.contains("publish") {
                    may_write
                } else {
                    may_read
                };
                let context =
                    format!("{what} with {key}, write {may_write}, read {may_read}, of {world:?}");
                match outcome {
                    Ok(()) => assert!(may && is_own, "{context} was permitted"),
                    Err(text) => {
                        assert!(!(may && is_own), "{context}: {text}");
                        let want = format!(
                            "access to topic '{key}' in exchange 'amq.topic' in vhost '/' refused for user 'ann'"
                        );
                        assert!(text.contains(&want), "{context}: {text}");
                    }
                }
            }
        }
    }
}

async fn topic_attempts(world: &World, key: &str) -> Vec<(&'static str, Result<(), String>)> {
    let broker = &world.broker;
    let mut attempts = Vec::new();
    for (what, mut wire) in [
        ("amqp: publish", amqp::connect(broker).await),
        (
            "amqp over websocket: publish",
            amqp::connect_by_websocket(broker).await,
        ),
    ] {
        wire.publish("amq.topic", key, b"m").await;
        attempts.push((what, amqp::answer(&mut wire).await));
    }
    for (what, mut wire) in [
        ("amqp: bind", amqp::connect(broker).await),
        (
            "amqp over websocket: bind",
            amqp::connect_by_websocket(broker).await,
        ),
    ] {
        amqp::bind_queue(&mut wire, "amq.topic", key).await;
        attempts.push((what, amqp::answer(&mut wire).await));
    }
    let destination = format!("/topic/{key}");
    let frame = stomp::send(&destination);
    attempts.push(("stomp: publish", stomp::tell(broker, &frame).await));
    attempts.push((
        "websocket: publish",
        stomp::tell_by_websocket(broker, &frame).await,
    ));
    let frame = stomp::subscribe(&destination);
    attempts.push(("stomp: subscribe", stomp::tell(broker, &frame).await));
    attempts.push((
        "websocket: subscribe",
        stomp::tell_by_websocket(broker, &frame).await,
    ));
    let client = broker.client_for(&world.ann(), "/").await.unwrap();
    let published = client.publish(Publish::to_exchange("amq.topic", key, b"m"));
    let published = published.await.map_err(|error| error.to_string());
    attempts.push(("in process: publish", published));
    let bound = client.bind_queue("q", "amq.topic", key).await;
    attempts.push(("in process: bind", bound.map_err(|error| error.to_string())));
    attempts
}
