//! Delayed jobs: JSON compressed with gzip, retried after growing delays, parked after three failures, redriven.
//!
//! Run it with `cargo run -p leveret-examples --example delayed_job`. It prints three failed attempts of a job, the minutes
//! between them, that it was parked, and that it succeeded after somebody had redriven it. The clock is moved by hand, so
//! minutes pass at once.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use leveret_broker::{
    Broker, Client, Delivery, ExchangeOptions, ExchangeType, Properties, Publish, QueueOptions,
    Table, Value, VirtualClock,
};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const MINUTE_MS: i64 = 60_000;

/// A job to be done after some minutes. How often it has failed travels in a header.
async fn schedule(client: &Client, body: &[u8], minutes: i64, failures: i64) -> Result {
    let headers = [
        ("x-delay", Value::I64(minutes * MINUTE_MS)),
        ("failures", Value::I64(failures)),
    ];
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        headers: Some(Table::from_iter(headers)),
        ..Properties::default()
    };
    let publish = Publish::to_exchange("later", "jobs", body);
    let properties = Some(properties);
    Ok(client
        .publish(Publish {
            properties,
            ..publish
        })
        .await?)
}

/// Does a job if it can; else it is tried again after 1, 4 and 9 minutes, and then parked.
async fn work(client: &Client, job: Delivery, printer_works: bool) -> Result {
    let mut json = String::new();
    GzDecoder::new(job.body()).read_to_string(&mut json)?;
    let headers = job.properties().headers.unwrap_or_default();
    let failures = headers
        .get("failures")
        .and_then(Value::as_integer)
        .unwrap_or(0);
    if printer_works {
        println!("done: {json}");
        job.ack();
    } else if failures < 3 {
        let minutes = (failures + 1).pow(2);
        println!("failed, once more in {minutes} min: {json}");
        schedule(client, job.body(), minutes, failures + 1).await?;
        job.ack();
    } else {
        println!("parked: {json}");
        job.reject(false);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let clock = VirtualClock::new();
    let broker = Broker::builder()
        .virtual_clock(clock.clone())
        .start()
        .await?;
    let client = broker.client()?;
    let later = ExchangeOptions {
        delayed_type: Some(ExchangeType::Direct),
        ..Default::default()
    };
    client
        .declare_exchange("later", ExchangeType::Delayed, later)
        .await?;
    let jobs = QueueOptions {
        dead_letter_exchange: Some(String::new()),
        dead_letter_routing_key: Some("parked".to_owned()),
        ..Default::default()
    };
    client.declare_queue("jobs", jobs).await?;
    client
        .declare_queue("parked", QueueOptions::default())
        .await?;
    client.bind_queue("jobs", "later", "jobs").await?;

    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(br#"{"print": "invoice 7"}"#)?;
    schedule(&client, &gzip.finish()?, 0, 0).await?;
    for minutes in [1, 4, 9, 0] {
        let job = client.get("jobs").await?.ok_or("the job is due")?;
        work(&client, job, false).await?;
        clock.advance(Duration::from_millis((minutes * MINUTE_MS).unsigned_abs()));
        broker.wait_idle().await;
    }

    let parked = client.get("parked").await?.ok_or("the job is parked")?;
    schedule(&client, parked.body(), 0, 0).await?;
    parked.ack();
    let job = client.get("jobs").await?.ok_or("the job was redriven")?;
    work(&client, job, true).await?;
    assert_eq!(broker.memory_used(), 0, "nothing is left anywhere");
    Ok(())
}
