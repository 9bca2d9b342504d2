//! Each way to put load on a broker, against one in this process.

mod support;

use std::time::{Duration, Instant};

use leveret_perf::{BacklogReport, ConnectionsReport, Outcome, Report};
use support::{broker, load, run};

/// A run with these options is without fault, and leads to so many deliveries of so many messages. It leaves nothing
/// behind.
#[track_caller]
fn check_counts(report: &Report, sent: u64, received: u64) {
    assert!(report.ok, "{report:?}");
    assert_eq!((report.sent, report.received), (sent, received));
    assert_eq!(
        (report.lost, report.repeated, report.out_of_order),
        (0, 0, 0)
    );
}

async fn check(options: &str, sent: u64, received: u64) -> Report {
    let (broker, address) = broker().await;
    let report = load(address, options).await;
    check_counts(&report, sent, received);
    let client = broker.client().unwrap();
    let queue = format!("{}-0", report.name);
    assert!(
        client.queue_info(&queue).await.is_err(),
        "{queue} was left behind"
    );
    broker.shutdown().await;
    report
}

#[tokio::test]
async fn one_producer_one_queue_one_consumer() {
    let report = check("--messages 20000", 20_000, 20_000).await;
    assert!(report.latency_us.count > 0 && report.latency_us.p50 > 0.0);
    assert!(report.received_per_second > 0.0);
    assert!(report.broker.starts_with("leveret "), "{}", report.broker);
}

#[tokio::test]
async fn confirms_and_acknowledgements() {
    let options =
        "--messages 5000 --confirm 100 --ack-every 7 --prefetch 20 --persistent --durable";
    let report = check(options, 5_000, 5_000).await;
    assert_eq!((report.confirmed, report.unconfirmed), (5_000, 0));
    assert_eq!(report.confirm_latency_us.count, 5_000);
}

#[tokio::test]
async fn a_window_of_one_is_one_at_a_time() {
    check(
        "--messages 100 --confirm 1 --ack-every 1 --prefetch 1",
        100,
        100,
    )
    .await;
}

#[tokio::test]
async fn many_of_each_on_several_threads() {
    let options = "--messages 2000 --producers 3 --consumers 5 --queues 4 --threads 2";
    check(options, 6_000, 6_000).await;
}

#[tokio::test]
async fn several_consumers_share_a_queue() {
    check("--messages 5000 --consumers 3 --ack-every 10", 5_000, 5_000).await;
}

#[tokio::test]
async fn one_consumer_has_several_queues() {
    check("--messages 5000 --queues 7 --consumers 2", 5_000, 5_000).await;
}

#[tokio::test]
async fn a_fanout_delivers_to_each_queue() {
    let report = check(
        "--messages 1000 --exchange fanout --queues 10",
        1_000,
        10_000,
    )
    .await;
    assert_eq!(report.deliveries_per_message, 10.0);
}

#[tokio::test]
async fn a_direct_exchange_routes_by_key() {
    let options = "--messages 3000 --exchange direct --queues 3 --bindings 10";
    let report = check(options, 3_000, 3_000).await;
    assert_eq!(report.bindings, 10);
}

#[tokio::test]
async fn a_topic_exchange_routes_by_pattern() {
    let (_broker, address) = broker().await;
    let options = "--messages 6000 --exchange topic --queues 5 --bindings 3000 --keys 2000";
    let report = load(address, options).await;
    let deliveries = (report.deliveries_per_message * 6_000.0).round() as u64;
    assert!(deliveries > 6_000, "no message went to two queues");
    check_counts(&report, 6_000, deliveries);
}

#[tokio::test]
async fn sizes_take_turns_and_may_need_several_frames() {
    check("--messages 60 --size 24,1000,300000", 60, 60).await;
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a rate is one of real time")]
async fn a_rate_is_not_exceeded_and_every_message_timed() {
    let (_broker, address) = broker().await;
    let started = Instant::now();
    let report = load(address, "--rate 2000 --messages 500").await;
    // The first is due at once, the last 499 periods later; a busy machine may take longer.
    assert!(started.elapsed() >= Duration::from_micros(499 * 500));
    check_counts(&report, 500, 500);
    // But for those of the moment between the start and the beginning of the measured time.
    assert!(report.latency_us.count > 500 / 32, "{report:?}");
}

#[tokio::test]
async fn time_ends_a_run_and_the_warm_up_is_not_measured() {
    let (_broker, address) = broker().await;
    let report = load(address, "--time 0.2 --warmup 0.1 --max-lag 100").await;
    assert!(report.ok, "{report:?}");
    assert!(report.seconds >= 0.2, "{report:?}");
    assert!((report.sent as f64) > report.sent_per_second * report.seconds);
}

#[tokio::test]
async fn without_consumers_the_queues_fill() {
    let (_broker, address) = broker().await;
    let report = load(address, "--messages 1000 --consumers 0").await;
    assert!(report.ok, "{report:?}");
    assert_eq!((report.sent, report.received), (1_000, 0));
}

#[tokio::test]
async fn queues_with_a_name_of_the_users_stay() {
    let (broker, address) = broker().await;
    let report = load(address, "--messages 10 --queue-pattern mine-{} --queues 2").await;
    check_counts(&report, 10, 10);
    let client = broker.client().unwrap();
    for queue in ["mine-0", "mine-1"] {
        assert!(client.queue_info(queue).await.is_ok(), "{queue} is gone");
    }
    // What others have put there is told apart.
    let report = load(
        address,
        "--messages 10 --queue-pattern mine-0 --consumers 0",
    )
    .await;
    assert!(report.ok);
    let report = load(address, "--messages 10 --queue-pattern mine-0").await;
    check_counts(&report, 10, 10);
    assert_eq!(report.foreign, 10);
}

#[tokio::test]
async fn many_connections_get_a_message_each() {
    let (_broker, address) = broker().await;
    let outcome = run(address, "connections --count 50 --parallel 8 --idle 0").await;
    let Ok(Outcome::Connections(report)) = outcome else {
        panic!("{outcome:?}");
    };
    let ConnectionsReport {
        ok,
        connections,
        received,
        ..
    } = report;
    assert_eq!((ok, connections, received), (true, 50, 50));
}

#[tokio::test]
async fn a_backlog_is_filled_and_drained() {
    for options in ["--messages 20000", "--messages 5000 --persistent"] {
        let (_broker, address) = broker().await;
        let outcome = run(address, &format!("backlog {options}")).await;
        let Ok(Outcome::Backlog(report)) = outcome else {
            panic!("{outcome:?}");
        };
        let BacklogReport {
            ok,
            publish_per_second,
            drain_per_second,
            ..
        } = report;
        assert!(ok && publish_per_second > 0.0 && drain_per_second > 0.0);
    }
}
