//! What a STOMP session is, for people.

use std::sync::Arc;

use super::{Phase, Session};
use crate::overview::{ChannelOverview, ConnectionOverview, ConnectionState};

impl Session {
    /// A session counts as a connection with one channel, as RabbitMQ has it.
    pub(super) fn describe(&self) -> ConnectionOverview {
        let core = &self.core;
        let state = match self.phase {
            Phase::Connect { .. } | Phase::Login(_) => ConnectionState::Starting,
            Phase::Running if core.blocked => ConnectionState::Blocked,
            Phase::Running => ConnectionState::Running,
            Phase::Leaving { .. } | Phase::Dropping { .. } => ConnectionState::Closing,
            Phase::Closed => ConnectionState::Closed,
        };
        let is_open = core.vhost.is_some();
        let channel = is_open.then(|| ChannelOverview {
            number: 1,
            consumers: self.subscriptions.len(),
            unacked: self.subscriptions.unacked_len(),
            prefetch: self.prefetch,
            ..ChannelOverview::default()
        });
        let protocol = match self.phase {
            Phase::Connect { .. } | Phase::Login(_) => "STOMP".to_owned(),
            _ => format!("STOMP {}", self.writer.version().as_str()),
        };
        ConnectionOverview {
            user: core
                .identity
                .as_ref()
                .map(|identity| Arc::clone(identity.username())),
            vhost: core.vhost.as_ref().map(|vhost| Arc::clone(vhost.name())),
            state,
            channels: channel.into_iter().collect(),
            ..ConnectionOverview::new(&core.registration, core.endpoints, &protocol)
        }
    }
}
