//! What clients may have at most, where that is to be other than the broker's defaults.

use clap::Args;
use leveret_broker::Builder;

use crate::size::MemorySize;

/// The flags of limits; each is a key of the configuration file as well.
//
// The comments on the fields are the lines of `--help`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Limits {
    /// Connections at once
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_CONNECTIONS_MAX",
        hide_env_values = true
    )]
    pub(crate) connections_max: Option<usize>,

    /// Connections at once from one address
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_CONNECTIONS_PER_ADDRESS_MAX",
        hide_env_values = true
    )]
    pub(crate) connections_per_address_max: Option<usize>,

    /// Of those, how many that have not logged in
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_STRANGERS_PER_ADDRESS_MAX",
        hide_env_values = true
    )]
    pub(crate) strangers_per_address_max: Option<usize>,

    /// Channels of a connection; 0 for no limit
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_CHANNEL_MAX",
        hide_env_values = true
    )]
    pub(crate) channel_max: Option<u16>,

    /// Consumers of a channel
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_CONSUMERS_PER_CHANNEL_MAX",
        hide_env_values = true
    )]
    pub(crate) consumers_per_channel_max: Option<usize>,

    /// Queues of a virtual host
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_QUEUES_MAX",
        hide_env_values = true
    )]
    pub(crate) queues_max: Option<usize>,

    /// Exchanges of a virtual host
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_EXCHANGES_MAX",
        hide_env_values = true
    )]
    pub(crate) exchanges_max: Option<usize>,

    /// Bindings of a virtual host
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_BINDINGS_MAX",
        hide_env_values = true
    )]
    pub(crate) bindings_max: Option<usize>,

    /// The largest message
    #[arg(
        long,
        value_name = "SIZE",
        env = "LEVERET_MESSAGE_SIZE_MAX",
        hide_env_values = true
    )]
    pub(crate) message_size_max: Option<MemorySize>,

    /// What a connection holds of incomplete messages
    #[arg(
        long,
        value_name = "SIZE",
        env = "LEVERET_HELD_MAX",
        hide_env_values = true
    )]
    pub(crate) held_max: Option<MemorySize>,

    /// Bytes a second from each connection
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_BYTES_PER_S_MAX",
        hide_env_values = true
    )]
    pub(crate) bytes_per_s_max: Option<u64>,

    /// Messages a second from each connection
    #[arg(
        long,
        value_name = "N",
        env = "LEVERET_MESSAGES_PER_S_MAX",
        hide_env_values = true
    )]
    pub(crate) messages_per_s_max: Option<u64>,
}

impl Limits {
    /// What is not limited here is limited as `others` say.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            connections_max: self.connections_max.or(others.connections_max),
            connections_per_address_max: self
                .connections_per_address_max
                .or(others.connections_per_address_max),
            strangers_per_address_max: self
                .strangers_per_address_max
                .or(others.strangers_per_address_max),
            channel_max: self.channel_max.or(others.channel_max),
            consumers_per_channel_max: self
                .consumers_per_channel_max
                .or(others.consumers_per_channel_max),
            queues_max: self.queues_max.or(others.queues_max),
            exchanges_max: self.exchanges_max.or(others.exchanges_max),
            bindings_max: self.bindings_max.or(others.bindings_max),
            message_size_max: self.message_size_max.or(others.message_size_max),
            held_max: self.held_max.or(others.held_max),
            bytes_per_s_max: self.bytes_per_s_max.or(others.bytes_per_s_max),
            messages_per_s_max: self.messages_per_s_max.or(others.messages_per_s_max),
        }
    }

    /// Tells a broker. `in_bytes` says how much a share of the memory is.
    pub(crate) fn apply(
        &self,
        builder: Builder,
        in_bytes: impl Fn(MemorySize) -> usize,
    ) -> Builder {
        let mut builder = builder;
        if let Some(limit) = self.connections_max {
            builder = builder.connections_max(limit);
        }
        if let Some(limit) = self.connections_per_address_max {
            builder = builder.connections_per_address_max(limit);
        }
        if let Some(limit) = self.strangers_per_address_max {
            builder = builder.strangers_per_address_max(limit);
        }
        if let Some(limit) = self.channel_max {
            builder = builder.channel_max(limit);
        }
        if let Some(limit) = self.consumers_per_channel_max {
            builder = builder.consumers_per_channel_max(limit);
        }
        if let Some(limit) = self.queues_max {
            builder = builder.queues_max(limit);
        }
        if let Some(limit) = self.exchanges_max {
            builder = builder.exchanges_max(limit);
        }
        if let Some(limit) = self.bindings_max {
            builder = builder.bindings_max(limit);
        }
        if let Some(size) = self.message_size_max {
            builder = builder.message_size_max(in_bytes(size));
        }
        if let Some(size) = self.held_max {
            builder = builder.held_max(in_bytes(size));
        }
        if let Some(rate) = self.bytes_per_s_max {
            builder = builder.bytes_per_s_max(rate);
        }
        if let Some(rate) = self.messages_per_s_max {
            builder = builder.messages_per_s_max(rate);
        }
        builder
    }
}
