//! Checks that lapin gets from a broker what it expects of RabbitMQ.
//!
//! Runs every check against the broker at `AMQP_URL`, prints a line for each and the totals at the end, and
//! exits with status 1 when one of them failed.

use std::process::ExitCode;
use std::sync::Arc;

use broker::Broker;
use harness::{CHECK_LIMIT, Check, Report, SOON};

mod broker;
mod checks;
mod client;
mod harness;
mod inbox;
mod relay;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let mut report = Report::default();
    for check in checks::all() {
        let failure = run(check).await.err();
        report.add(check.name, failure);
    }
    report.finish()
}

/// Runs one check in a task of its own, which contains its panics, then cleans up after it.
async fn run(check: &Check) -> Result<(), String> {
    let broker = Arc::new(Broker::from_env());
    let body = (check.body)(Arc::clone(&broker));
    let outcome = match tokio::spawn(tokio::time::timeout(CHECK_LIMIT, body)).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Err(elapsed)) => Err(elapsed.to_string()),
        Err(panic) => Err(harness::panic_message(panic)),
    };
    let cleaned_up = match tokio::time::timeout(SOON, broker.clean_up()).await {
        Ok(result) => result.map_err(|error| format!("cleaning up: {error}")),
        Err(elapsed) => Err(format!("cleaning up: {elapsed}")),
    };
    outcome.and(cleaned_up)
}
