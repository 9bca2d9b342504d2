//! Bodies of every size, whole and in pieces.

mod support;

use leveret_broker::{Broker, Properties, Publish, QueueOptions};
use support::{Greeting, Wire, broker};

/// Bytes of which every part looks different.
fn body(size: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

async fn small_frames(broker: &Broker) -> Wire {
    Greeting {
        frame_max: 4096,
        ..Greeting::default()
    }
    .open_channel(broker)
    .await
}

/// Publishes a body and gets it in both ways: by basic.get and as a delivery.
async fn check(wire: &mut Wire, size: usize) {
    let body = body(size);
    wire.publish("", "q", &body).await;
    wire.publish("", "q", &body).await;
    let got = wire.get("q").await.expect("it was published");
    assert!(got.body == body, "{size} bytes that were got");
    wire.ack(got.tag).await;
    wire.consume_no_ack("q").await;
    assert!(
        wire.delivery().await.body == body,
        "{size} bytes that were delivered"
    );
    wire.cancel("q").await;
}

#[tokio::test]
async fn sizes_at_the_edges_of_frames_and_buffers_arrive_as_they_are() {
    let broker = broker().await;
    for frame_max in [4096, 8192, 131_072] {
        let mut wire = Greeting {
            frame_max,
            ..Greeting::default()
        }
        .open_channel(&broker)
        .await;
        wire.declare("q").await;
        let payload = frame_max as usize - 8;
        for size in [
            0,
            1,
            payload - 1,
            payload,
            payload + 1,
            2 * payload,
            2 * payload + 1,
        ] {
            check(&mut wire, size).await;
        }
        // Where bodies begin to be kept, and written, without a copy.
        for size in [
            16 * 1024 - 1,
            16 * 1024,
            64 * 1024 - 1,
            64 * 1024,
            64 * 1024 + 1,
        ] {
            check(&mut wire, size).await;
        }
    }
}

#[tokio::test]
async fn a_mebibyte_passes_through_small_frames() {
    let broker = broker().await;
    let mut wire = small_frames(&broker).await;
    wire.declare("q").await;
    check(&mut wire, 1024 * 1024).await;
}

#[tokio::test]
async fn twenty_mebibytes_pass_through_small_frames() {
    const SIZE: usize = 20 * 1024 * 1024;
    let broker = broker().await;
    let mut wire = small_frames(&broker).await;
    wire.declare("q").await;
    let body = body(SIZE);
    wire.publish("", "q", &body).await;
    wire.quiet().await;
    assert!(broker.memory_used() >= SIZE);
    // Read by a client with large frames: what is cut anew is the same.
    let mut other = Wire::open(&broker).await;
    assert!(other.get("q").await.unwrap().body == body);
    other.close().await;
    assert!(wire.get("q").await.unwrap().body == body);
    wire.ack_up_to(0).await;
    wire.quiet().await;
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn large_and_small_bodies_keep_their_order() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    wire.consume_no_ack("q").await;
    let sizes = [10, 200_000, 0, 70_000, 5, 16_384, 1_000_000, 1];
    for size in sizes {
        wire.publish("", "q", body(size)).await;
    }
    for size in sizes {
        assert!(wire.delivery().await.body == body(size), "{size} bytes");
    }
    wire.quiet().await;
}

#[tokio::test]
async fn pieces_of_any_size_make_the_same_body() {
    let broker = broker().await;
    let mut wire = Wire::open(&broker).await;
    wire.declare("q").await;
    let body = body(5000);
    for piece in [1, 7, 999, 4999] {
        wire.frame_size_max = piece + 8;
        wire.publish("", "q", &body).await;
        wire.frame_size_max = 131_072;
        assert!(
            wire.get("q").await.unwrap().body == body,
            "in pieces of {piece}"
        );
    }
}

#[tokio::test]
async fn a_large_body_goes_to_many_queues_and_comes_back_from_each() {
    let broker = broker().await;
    let client = broker.client().unwrap();
    let body = body(1024 * 1024);
    for at in 0..20 {
        let queue = format!("q{at}");
        client
            .declare_queue(&queue, QueueOptions::default())
            .await
            .unwrap();
        client.bind_queue(&queue, "amq.fanout", "").await.unwrap();
    }
    let publish = Publish {
        properties: Some(Properties {
            delivery_mode: Some(2),
            ..Properties::default()
        }),
        ..Publish::to_exchange("amq.fanout", "", &body)
    };
    client.publish(publish).await.unwrap();
    let mut wire = Wire::open(&broker).await;
    for at in 0..20 {
        assert!(wire.get(&format!("q{at}")).await.unwrap().body == body);
    }
}
