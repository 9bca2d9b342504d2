//! Logging in, losing the connection, coming back and keeping it alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use lapin::options::BasicAckOptions;
use lapin::{Connection, ConnectionProperties, Event};

use crate::broker::{Broker, fresh_name};
use crate::client::{bodies, confirming, counts, numbers, refused, send, soon};
use crate::harness::{Outcome, QUIET, checks};
use crate::inbox::Inbox;
use crate::relay::Relay;

checks![
    a_wrong_password_is_refused,
    an_unknown_virtual_host_is_refused,
    a_lost_connection_gives_its_messages_back_in_order,
    heartbeats_keep_an_idle_connection_alive,
    a_silent_client_is_dropped,
];

/// Waits until the client knows that the connection has failed.
async fn failed(connection: &Connection) {
    let mut events = connection.events_listener();
    while connection.status().connected() {
        if let Some(Event::Error(_)) = soon("the end of the connection", events.next()).await {
            return;
        }
    }
}

async fn a_wrong_password_is_refused(broker: Arc<Broker>) -> Outcome {
    let mut uri = broker.uri();
    "not the password".clone_into(&mut uri.authority.userinfo.password);
    let outcome = broker
        .connect_to(uri, ConnectionProperties::default())
        .await;
    refused(outcome, 403, &["ACCESS_REFUSED"]);
    Ok(())
}

async fn an_unknown_virtual_host_is_refused(broker: Arc<Broker>) -> Outcome {
    let mut uri = broker.uri();
    uri.vhost = fresh_name("vhost").into();
    let vhost = uri.vhost.clone();
    let outcome = broker
        .connect_to(uri, ConnectionProperties::default())
        .await;
    refused(outcome, 530, &["NOT_ALLOWED", &vhost]);
    Ok(())
}

async fn a_lost_connection_gives_its_messages_back_in_order(broker: Arc<Broker>) -> Outcome {
    let relay = Relay::to(&broker.uri())
        .await
        .expect("a port for the relay");
    let doomed = broker
        .connect_to(relay.uri(&broker.uri()), ConnectionProperties::default())
        .await?;
    let channel = confirming(&doomed).await?;
    let queue = broker.queue(&channel).await?;
    send(&channel, &queue, numbers(0..20)).await?;
    let deliveries = Inbox::of(&channel, &queue).await?.take(20).await?;
    channel
        .basic_ack(
            deliveries[4].delivery_tag,
            BasicAckOptions { multiple: true },
        )
        .await?;
    assert_eq!(counts(&channel, &queue).await?.0, 0); // the answer also tells that the ack got through
    relay.cut();
    failed(&doomed).await;

    let channel = broker.channel().await?;
    let deliveries = Inbox::of(&channel, &queue).await?.take(15).await?;
    assert_eq!(bodies(&deliveries), numbers(5..20));
    assert!(deliveries.iter().all(|delivery| delivery.redelivered));
    Ok(())
}

async fn heartbeats_keep_an_idle_connection_alive(broker: Arc<Broker>) -> Outcome {
    let mut uri = broker.uri();
    uri.query.heartbeat = Some(1);
    let channel = broker
        .connect_to(uri, ConnectionProperties::default())
        .await?
        .create_channel()
        .await?;
    let queue = broker.queue(&channel).await?;
    // More than the three intervals after which either side would have given up.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(counts(&channel, &queue).await?, (0, 0));
    Ok(())
}

async fn a_silent_client_is_dropped(broker: Arc<Broker>) -> Outcome {
    let relay = Relay::to(&broker.uri())
        .await
        .expect("a port for the relay");
    let mut uri = relay.uri(&broker.uri());
    uri.query.heartbeat = Some(1);
    let connection = broker
        .connect_to(uri, ConnectionProperties::default())
        .await?;
    relay.mute();
    let began = Instant::now();
    failed(&connection).await;
    let waited = began.elapsed();
    // After two to three intervals without a byte; sooner would drop peers that are only slow.
    let limits = Duration::from_secs(2) - QUIET..Duration::from_secs(6);
    assert!(
        limits.contains(&waited),
        "dropped after {waited:?}, want 2 to 3 s and some room"
    );
    Ok(())
}
