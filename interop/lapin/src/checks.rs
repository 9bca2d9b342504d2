//! The checks, one module a subject.

use crate::harness::Check;

mod connecting;
mod consuming;
mod content;
mod declaring;
mod errors;
mod publishing;
mod routing;
mod settling;

/// Every check in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    [
        declaring::CHECKS,
        routing::CHECKS,
        publishing::CHECKS,
        consuming::CHECKS,
        settling::CHECKS,
        content::CHECKS,
        connecting::CHECKS,
        errors::CHECKS,
    ]
    .into_iter()
    .flatten()
}
