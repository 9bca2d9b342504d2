//! RabbitMQ's words for rights that a user does not have (behaviour reference, sections 18.2 and 18.3).

use super::right::Resource;
use crate::error::Refusal;

/// To an exchange or a queue.
pub(super) fn no_access(resource: Resource<'_>, vhost: &str, user: &str) -> Refusal {
    Refusal::access_refused(format!(
        "access to {} '{}' in vhost '{vhost}' refused for user '{user}'",
        resource.kind(),
        resource.name(),
    ))
}

/// To a routing key.
pub(super) fn no_access_to_key(
    routing_key: &str,
    exchange: &str,
    vhost: &str,
    user: &str,
) -> Refusal {
    Refusal::access_refused(format!(
        "access to topic '{routing_key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'",
    ))
}

/// To a virtual host.
pub(crate) fn no_access_to_vhost(vhost: &str, user: &str) -> Refusal {
    Refusal::not_allowed(format!(
        "access to vhost '{vhost}' refused for user '{user}'"
    ))
}
