//! What a broker does wrong is found, and what it refuses is said.

mod support;

use leveret_perf::{Error, Report};
use support::proxy::{Fault, Proxy};
use support::{broker, load, run};

/// Short, because a lost message is waited for that long.
const OPTIONS: &str = "--messages 1000 --patience 0.3";

async fn with_fault(fault: Fault, at: u64, options: &str) -> Report {
    let (_broker, address) = broker().await;
    let proxy = Proxy::start(address, fault, at).await;
    load(proxy.address, &format!("{OPTIONS} {options}")).await
}

#[track_caller]
fn check(report: &Report, lost: u64, repeated: u64, out_of_order: u64) {
    assert!(!report.ok, "{report:?}");
    assert_eq!(report.error, None);
    assert_eq!(
        (report.lost, report.repeated, report.out_of_order),
        (lost, repeated, out_of_order)
    );
}

const NO_CONFIRMS: &str = "--max-lag 0";

#[tokio::test]
async fn a_lost_message_is_found_wherever_it_was() {
    for at in [1, 500, 1_000] {
        check(&with_fault(Fault::Drop, at, NO_CONFIRMS).await, 1, 0, 0);
    }
}

#[tokio::test]
async fn a_repeated_message_is_found() {
    for at in [1, 500, 1_000] {
        check(&with_fault(Fault::Repeat, at, NO_CONFIRMS).await, 0, 1, 1);
    }
}

#[tokio::test]
async fn messages_that_change_places_are_found() {
    check(&with_fault(Fault::Swap, 500, NO_CONFIRMS).await, 0, 0, 1);
}

#[tokio::test]
async fn a_loss_does_not_hide_behind_a_repetition() {
    check(
        &with_fault(Fault::DropAndRepeat, 500, NO_CONFIRMS).await,
        1,
        1,
        1,
    );
}

#[tokio::test]
async fn a_loss_behind_an_exchange_is_found() {
    for options in [
        "--exchange fanout --queues 3",
        "--exchange topic --queues 3",
    ] {
        check(&with_fault(Fault::Drop, 7, options).await, 1, 0, 0);
    }
}

#[tokio::test]
async fn a_message_that_the_broker_did_not_take_is_counted() {
    let report = with_fault(Fault::Nack, 3, "--confirm 10").await;
    assert!(!report.ok && report.nacked > 0, "{report:?}");
    assert_eq!(report.confirmed + report.nacked, 1_000);
}

#[tokio::test]
async fn a_confirm_that_never_comes_is_counted() {
    let report = with_fault(Fault::Silence, 3, "--confirm 10").await;
    assert!(!report.ok && report.unconfirmed > 0, "{report:?}");
    assert_eq!(report.sent, report.confirmed + report.unconfirmed);
}

#[tokio::test]
async fn a_connection_that_breaks_ends_the_run() {
    let report = with_fault(Fault::Cut, 500, NO_CONFIRMS).await;
    assert!(!report.ok);
    let error = report.error.unwrap();
    assert!(error.contains("connection"), "{error}");
}

#[tokio::test]
async fn a_refusal_says_what_the_broker_says() {
    let (_broker, address) = broker().await;
    let refused = run(address, "--queue-arg x-queue-type=wooden").await;
    match refused.unwrap_err() {
        Error::Refused { code, text } => {
            assert_eq!(code, 406);
            assert!(text.contains("wooden"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let (broker, address) = broker().await;
    broker.shutdown().await;
    let error = run(address, "--messages 1").await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert_eq!(error.exit_code(), 69);
}

/// RabbitMQ lets go of what it has read and not routed when a connection breaks off.
#[tokio::test]
async fn a_producer_stays_until_all_is_delivered() {
    let report = with_fault(Fault::Forget, 0, "").await;
    assert!(report.ok, "{report:?}");
}
