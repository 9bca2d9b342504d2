//! How much clients may have of what is counted as it comes and goes.

/// What holds where nobody has said anything else of a user or a virtual host. All of it is finite: what is counted takes
/// memory that the limit on messages does not cover.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowances {
    /// None: nine tenths of all connections, so that no user alone keeps the others out.
    pub(crate) connections_per_user: Option<usize>,
    /// None: as many as in all.
    pub(crate) connections_per_vhost: Option<usize>,
    pub(crate) channels_per_user: u32,
    pub(crate) channels_per_vhost: u32,
    pub(crate) consumers_per_connection: u32,
    pub(crate) consumers_per_vhost: u32,
    /// Those that are there and that the connection has made.
    pub(crate) queues_per_connection: u32,
    pub(crate) bindings_per_connection: u32,
    pub(crate) headers_per_message: usize,
}

impl Default for Allowances {
    /// A channel takes some 600 bytes, a consumer 900, a queue 760, a binding 230: so each of these is less than 2 GB, and of
    /// a connection less than a quarter of one.
    fn default() -> Self {
        Self {
            connections_per_user: None,
            connections_per_vhost: None,
            channels_per_user: 1_000_000,
            channels_per_vhost: 2_000_000,
            consumers_per_connection: 50_000,
            consumers_per_vhost: 2_000_000,
            queues_per_connection: 250_000,
            bindings_per_connection: 1_000_000,
            // Those of frameworks are some tens. A table that fills a frame has sixty thousand, and each look-up in it
            // walks them.
            headers_per_message: 1_000,
        }
    }
}

impl Allowances {
    /// How many connections one user may have of `all`.
    pub(crate) fn connections_per_user(&self, all: usize) -> u32 {
        to_u32(self.connections_per_user.unwrap_or(all - all / 10))
    }

    /// How many connections may have opened one virtual host, of `all`.
    pub(crate) fn connections_per_vhost(&self, all: usize) -> u32 {
        to_u32(self.connections_per_vhost.unwrap_or(all))
    }
}

/// More than can be counted are no limit.
fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_leaves_room_for_others_unless_told() {
        let allowances = Allowances::default();
        assert_eq!(allowances.connections_per_user(100_000), 90_000);
        assert_eq!(allowances.connections_per_user(5), 5);
        assert_eq!(allowances.connections_per_vhost(100_000), 100_000);
        let told = Allowances {
            connections_per_user: Some(7),
            connections_per_vhost: Some(usize::MAX),
            ..allowances
        };
        assert_eq!(told.connections_per_user(100_000), 7);
        assert_eq!(told.connections_per_vhost(1), u32::MAX);
    }
}
