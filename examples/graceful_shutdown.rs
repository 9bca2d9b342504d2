//! A broker that is stopped while clients are at work: they are told, finish what they have in hand, and go.
//!
//! Run it with `cargo run -p leveret-examples --example graceful_shutdown`. It prints how a worker in this process and a
//! client with a socket learn of the end, and ends with nothing left running.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use futures_lite::StreamExt;
use lapin::Connection;
use leveret_broker::{Broker, Client, ConsumeOptions, Publish};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const JOBS: [&str; 3] = ["wash", "dry", "fold"];

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Works until the broker ends, and says when there is nothing left to do.
async fn work(client: Client, all_done: &Notify) -> Result<usize> {
    let mut jobs = client.consume("jobs", ConsumeOptions::default()).await?;
    let mut done = 0;
    while let Some(job) = jobs.recv().await {
        job.ack();
        done += 1;
        if done == JOBS.len() {
            all_done.notify_one();
        }
    }
    println!("the worker's consumer has ended after {done} jobs");
    Ok(done)
}

/// Another program, as far as the broker can tell: waits for messages that never come.
async fn wait_for_news(mut news: lapin::Consumer) -> Result {
    let end = news.next().await.ok_or("an end without a reason")?;
    let reason = end.expect_err("nobody publishes news").to_string();
    println!("the client with a socket was told: {reason}");
    assert!(reason.contains("CONNECTION_FORCED"), "{reason}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result {
    let localhost = ([127, 0, 0, 1], 0);
    let broker = Broker::builder().amqp(localhost).start().await?;
    let address = broker.amqp_addresses()[0];
    let client = broker.client()?;
    for queue in ["jobs", "news"] {
        client.declare_queue(queue, Default::default()).await?;
    }

    let url = format!("amqp://guest:guest@{address}/%2f");
    let connection = Connection::connect(&url, Default::default()).await?;
    let channel = connection.create_channel().await?;
    let (tag, options, arguments) = Default::default();
    let news = channel.basic_consume("news".into(), tag, options, arguments);
    let news = news.await?;

    for job in JOBS {
        let message = Publish::to_queue("jobs", job.as_bytes());
        client.publish(message).await?;
    }
    let all_done = Notify::new();
    let shut_down = async {
        // Stands for the operator. A server waits for tokio::signal::ctrl_c() here.
        all_done.notified().await;
        broker.shutdown().await;
        Ok(())
    };
    let work = work(client.clone(), &all_done);
    let (done, (), ()) = tokio::try_join!(work, wait_for_news(news), shut_down)?;

    assert_eq!(done, JOBS.len());
    assert!(TcpStream::connect(address).await.is_err());
    let refused = client.consume("jobs", ConsumeOptions::default()).await;
    assert!(refused.is_err_and(|error| error.is_closed()));
    Ok(())
}
