//! The clocks of the machine, which nothing else here reads.

use std::time::Instant;
#[cfg(feature = "oauth2")]
use std::time::SystemTime;

#[expect(
    clippy::disallowed_methods,
    reason = "how long a service has been silent has nothing to do with the broker's clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What people's clocks show, as tokens tell it.
#[cfg(feature = "oauth2")]
#[expect(
    clippy::disallowed_methods,
    reason = "tokens hold until a time of the calendar, which only the machine knows"
)]
pub(crate) fn wall_time() -> SystemTime {
    SystemTime::now()
}
