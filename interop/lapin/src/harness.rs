//! The shape of a check, and the report.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use crate::broker::Broker;

/// What one check may take, the slowest being ten thousand messages on a loaded machine.
pub(crate) const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// How long to wait for something that should happen at once. A third of the checks may run into it before the
/// limit of interop/run for a whole suite ends the report.
pub(crate) const SOON: Duration = Duration::from_secs(8);

/// How long to wait for a connection to close once its check is over.
pub(crate) const CLOSED: Duration = Duration::from_secs(1);

/// How long to watch for something that should not happen. A broker that does it does so within one round
/// trip; the rest is room for a busy machine.
pub(crate) const QUIET: Duration = Duration::from_millis(250);

/// What a check returns. What does not hold is a panic, what lapin did not expect is an error.
pub(crate) type Outcome = lapin::Result<()>;

type Body = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A named statement about the broker and the code that tries it.
pub(crate) struct Check {
    /// What holds, in snake case.
    pub(crate) name: &'static str,
    /// Tries whether it does.
    pub(crate) body: fn(Arc<Broker>) -> Body,
}

/// Lists functions of the form `async fn name(Arc<Broker>) -> Outcome` as checks, in this order.
macro_rules! checks {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const CHECKS: &[crate::harness::Check] = &[
            $(crate::harness::Check {
                name: stringify!($name),
                body: |broker| Box::pin($name(broker)),
            }),+
        ];
    };
}
pub(crate) use checks;

/// Prints a line for every check and counts them.
#[derive(Default)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Notes the end of one check: passed, unless a failure is given.
    pub(crate) fn add(&mut self, name: &str, failure: Option<String>) {
        let title = name.replace('_', " ");
        if let Some(failure) = failure {
            self.failed += 1;
            println!("FAIL  {title}: {}", failure.replace('\n', " "));
        } else {
            self.passed += 1;
            println!("ok    {title}");
        }
    }

    /// Prints the totals. A suite without a check has failed.
    pub(crate) fn finish(self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.passed > 0 && self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// The text of the panic that ended a task.
pub(crate) fn panic_message(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload
                .downcast_ref::<&str>()
                .map_or_else(|| "panicked".to_owned(), |text| (*text).to_owned()),
        },
        Err(error) => error.to_string(),
    }
}
