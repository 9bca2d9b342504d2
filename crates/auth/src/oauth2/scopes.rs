//! What scopes let the bearer of a token do.

use std::collections::BTreeSet;

use leveret_broker::{Right, Tag};

use super::wildcard::Wildcard;

/// The scopes of one token, as RabbitMQ reads them: `read:vhost/name[/routing_key]`, the same with `write` and
/// `configure`, and `tag:name`. What is neither is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    permissions: Vec<Permission>,
    tags: BTreeSet<Tag>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Permission {
    right: Right,
    vhost: Wildcard,
    name: Wildcard,
    routing_key: Wildcard,
}

impl Scopes {
    /// Of these `scopes`, those that begin with `prefix`, which is not looked at further.
    pub(super) fn new<'a>(scopes: impl IntoIterator<Item = &'a str>, prefix: &str) -> Self {
        let mut read = Self::default();
        for scope in scopes {
            if let Some(scope) = scope.strip_prefix(prefix) {
                read.add(scope);
            }
        }
        read
    }

    fn add(&mut self, scope: &str) {
        let Some((kind, rest)) = scope.split_once(':') else {
            return;
        };
        let right = match kind {
            "configure" => Right::Configure,
            "write" => Right::Write,
            "read" => Right::Read,
            "tag" if !rest.is_empty() => {
                self.tags.insert(Tag::from(rest));
                return;
            }
            _ => return,
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let (vhost, name, routing_key) = match parts[..] {
            [vhost, name] => (vhost, name, "*"),
            [vhost, name, routing_key] => (vhost, name, routing_key),
            _ => return,
        };
        self.permissions.push(Permission {
            right,
            vhost: Wildcard::new(vhost),
            name: Wildcard::new(name),
            routing_key: Wildcard::new(routing_key),
        });
    }

    pub(super) fn tags(&self) -> &BTreeSet<Tag> {
        &self.tags
    }

    /// Whether anything may be done in this virtual host.
    pub(super) fn allow_vhost(&self, vhost: &str) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.vhost.matches(vhost))
    }

    /// Whether this may be done with an exchange or a queue.
    pub(super) fn allow(&self, right: Right, vhost: &str, name: &str) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.covers(right, vhost, name))
    }

    /// Whether this may be done with a routing key of an exchange.
    pub(super) fn allow_topic(
        &self,
        right: Right,
        vhost: &str,
        exchange: &str,
        routing_key: &str,
    ) -> bool {
        self.permissions.iter().any(|permission| {
            permission.covers(right, vhost, exchange) && permission.routing_key.matches(routing_key)
        })
    }
}

impl Permission {
    fn covers(&self, right: Right, vhost: &str, name: &str) -> bool {
        self.right == right && self.vhost.matches(vhost) && self.name.matches(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(list: &[&str]) -> Scopes {
        Scopes::new(list.iter().copied(), "mq.")
    }

    #[test]
    fn a_scope_names_a_right_a_virtual_host_and_a_name() {
        let scopes = scopes(&["mq.read:shop/orders-*", "mq.write:*/*"]);
        assert!(scopes.allow(Right::Read, "shop", "orders-eu"));
        assert!(!scopes.allow(Right::Read, "shop", "prices"));
        assert!(!scopes.allow(Right::Read, "bank", "orders-eu"));
        assert!(!scopes.allow(Right::Configure, "shop", "orders-eu"));
        assert!(scopes.allow(Right::Write, "bank", "anything"));
    }

    #[test]
    fn a_virtual_host_is_open_to_whoever_may_do_something_there() {
        let scopes = scopes(&["mq.configure:shop/x", "mq.tag:administrator"]);
        assert!(scopes.allow_vhost("shop"));
        assert!(!scopes.allow_vhost("/"));
        assert!(self::scopes(&["mq.read:%2F/q"]).allow_vhost("/"));
    }

    #[test]
    fn a_third_part_narrows_routing_keys_and_nothing_else() {
        let scopes = scopes(&["mq.write:*/news/sport.*"]);
        assert!(scopes.allow(Right::Write, "/", "news"));
        assert!(scopes.allow_topic(Right::Write, "/", "news", "sport.ski"));
        assert!(!scopes.allow_topic(Right::Write, "/", "news", "politics"));
        assert!(!scopes.allow_topic(Right::Read, "/", "news", "sport.ski"));
        let scopes = self::scopes(&["mq.write:*/news"]);
        assert!(scopes.allow_topic(Right::Write, "/", "news", "politics"));
    }

    #[test]
    fn tags_are_scopes_too() {
        let scopes = scopes(&[
            "mq.tag:administrator",
            "mq.tag:ops",
            "mq.tag:",
            "tag:monitoring",
        ]);
        let want = ["administrator", "ops"].map(Tag::from);
        assert_eq!(*scopes.tags(), BTreeSet::from(want));
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let foreign = [
            "openid",
            "other.read:*/*",
            "mq.read:*",
            "mq.read:a/b/c/d",
            "mq.delete:*/*",
            "mq.read",
            "mq.",
            "",
            "MQ.read:*/*",
        ];
        assert_eq!(scopes(&foreign), Scopes::default());
        let without_prefix = Scopes::new(["read:*/*", "x"], "");
        assert!(without_prefix.allow(Right::Read, "a", "b"));
    }
}
