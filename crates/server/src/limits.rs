//! What clients may have at most, where that is to be other than the broker's defaults.

use clap::Args;
use leveret_broker::Builder;

use crate::frame_size::InitialFrameSize;
use crate::size::MemorySize;
use crate::time_span::FiniteTime;

/// Makes [`Limits`] of one line for each: the comment is the line of `--help`, then come the flag and key, its type, what
/// `--help` calls the value, the environment variable, and how a broker is told.
macro_rules! limits {
    ($($(#[$comment:meta])* $name:ident: $type:ty, $value:literal, $variable:literal, $tell:expr;)*) => {
        /// The flags of limits; each is a key of the configuration file as well.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
        pub(crate) struct Limits {
            $(
                $(#[$comment])*
                #[arg(long, value_name = $value, env = $variable, hide_env_values = true)]
                pub(crate) $name: Option<$type>,
            )*
        }

        impl Limits {
            /// What is not limited here is limited as `others` say.
            pub(crate) fn or(self, others: Self) -> Self {
                Self {
                    $($name: self.$name.or(others.$name),)*
                }
            }

            /// Tells a broker. `in_bytes` says how much a share of the memory is.
            pub(crate) fn apply(&self, builder: Builder, in_bytes: &dyn Fn(MemorySize) -> usize) -> Builder {
                let mut builder = builder;
                $(
                    builder = tell(builder, self.$name, in_bytes, $tell);
                )*
                builder
            }
        }
    };
}

/// Tells a broker of one limit, if it is set.
fn tell<T>(
    builder: Builder,
    limit: Option<T>,
    in_bytes: &dyn Fn(MemorySize) -> usize,
    how: impl FnOnce(Builder, T, &dyn Fn(MemorySize) -> usize) -> Builder,
) -> Builder {
    match limit {
        Some(limit) => how(builder, limit, in_bytes),
        None => builder,
    }
}

limits! {
    /// Connections at once
    connections_max: usize, "N", "LEVERET_CONNECTIONS_MAX",
        |builder, limit, _| builder.connections_max(limit);
    /// Connections at once of one user
    connections_per_user_max: usize, "N", "LEVERET_CONNECTIONS_PER_USER_MAX",
        |builder, limit, _| builder.connections_per_user_max(limit);
    /// Connections at once in one virtual host
    connections_per_vhost_max: usize, "N", "LEVERET_CONNECTIONS_PER_VHOST_MAX",
        |builder, limit, _| builder.connections_per_vhost_max(limit);
    /// Connections at once from one address
    connections_per_address_max: usize, "N", "LEVERET_CONNECTIONS_PER_ADDRESS_MAX",
        |builder, limit, _| builder.connections_per_address_max(limit);
    /// Of those, how many that have not logged in
    strangers_per_address_max: usize, "N", "LEVERET_STRANGERS_PER_ADDRESS_MAX",
        |builder, limit, _| builder.strangers_per_address_max(limit);
    /// Time to log in: milliseconds, 30s
    handshake_timeout: FiniteTime, "TIME", "LEVERET_HANDSHAKE_TIMEOUT",
        |builder, limit, _| builder.handshake_timeout(limit.0);
    /// The largest frame before the login, which large tokens need: 8192 to 65536
    initial_frame_size_max: InitialFrameSize, "SIZE", "LEVERET_INITIAL_FRAME_SIZE_MAX",
        |builder, size, _| builder.initial_frame_size_max(size.0);
    /// Logins of a user that may fail before others wait
    free_login_failures: u32, "N", "LEVERET_FREE_LOGIN_FAILURES",
        |builder, limit, _| builder.free_login_failures(limit);
    /// The same for all users from one address
    free_login_failures_per_address: u32, "N", "LEVERET_FREE_LOGIN_FAILURES_PER_ADDRESS",
        |builder, limit, _| builder.free_login_failures_per_address(limit);
    /// Channels of a connection; 0 for no limit
    channel_max: u16, "N", "LEVERET_CHANNEL_MAX", |builder, limit, _| builder.channel_max(limit);
    /// Channels of a user on all connections
    channels_per_user_max: u32, "N", "LEVERET_CHANNELS_PER_USER_MAX",
        |builder, limit, _| builder.channels_per_user_max(limit);
    /// Channels in a virtual host
    channels_per_vhost_max: u32, "N", "LEVERET_CHANNELS_PER_VHOST_MAX",
        |builder, limit, _| builder.channels_per_vhost_max(limit);
    /// Consumers of a channel
    consumers_per_channel_max: usize, "N", "LEVERET_CONSUMERS_PER_CHANNEL_MAX",
        |builder, limit, _| builder.consumers_per_channel_max(limit);
    /// Consumers of a connection
    consumers_per_connection_max: u32, "N", "LEVERET_CONSUMERS_PER_CONNECTION_MAX",
        |builder, limit, _| builder.consumers_per_connection_max(limit);
    /// Consumers in a virtual host
    consumers_per_vhost_max: u32, "N", "LEVERET_CONSUMERS_PER_VHOST_MAX",
        |builder, limit, _| builder.consumers_per_vhost_max(limit);
    /// Queues of a virtual host
    queues_max: usize, "N", "LEVERET_QUEUES_MAX", |builder, limit, _| builder.queues_max(limit);
    /// Queues that one connection has made
    queues_per_connection_max: u32, "N", "LEVERET_QUEUES_PER_CONNECTION_MAX",
        |builder, limit, _| builder.queues_per_connection_max(limit);
    /// Exchanges of a virtual host
    exchanges_max: usize, "N", "LEVERET_EXCHANGES_MAX", |builder, limit, _| builder.exchanges_max(limit);
    /// Bindings of a virtual host
    bindings_max: usize, "N", "LEVERET_BINDINGS_MAX", |builder, limit, _| builder.bindings_max(limit);
    /// Bindings that one connection has made
    bindings_per_connection_max: u32, "N", "LEVERET_BINDINGS_PER_CONNECTION_MAX",
        |builder, limit, _| builder.bindings_per_connection_max(limit);
    /// The largest message
    message_size_max: MemorySize, "SIZE", "LEVERET_MESSAGE_SIZE_MAX",
        |builder, size, in_bytes| builder.message_size_max(in_bytes(size));
    /// Headers of an AMQP message
    headers_per_message_max: usize, "N", "LEVERET_HEADERS_PER_MESSAGE_MAX",
        |builder, limit, _| builder.headers_per_message_max(limit);
    /// What a connection holds of incomplete messages
    held_max: MemorySize, "SIZE", "LEVERET_HELD_MAX", |builder, size, in_bytes| builder.held_max(in_bytes(size));
    /// Bytes a second from each connection
    bytes_per_s_max: u64, "N", "LEVERET_BYTES_PER_S_MAX", |builder, rate, _| builder.bytes_per_s_max(rate);
    /// Messages a second from each connection
    messages_per_s_max: u64, "N", "LEVERET_MESSAGES_PER_S_MAX",
        |builder, rate, _| builder.messages_per_s_max(rate);
}
