//! What an AMQP connection is, for people.

use std::sync::Arc;

use leveret_amqp_codec::ChannelId;

use super::channel::{Channel, Mode};
use super::introduction::Introduction;
use super::{Phase, Session};
use crate::overview::{ChannelOverview, ConnectionOverview, ConnectionState};

impl Session {
    pub(super) fn describe(&self) -> ConnectionOverview {
        let core = &self.core;
        let state = match self.phase {
            Phase::Header { .. } | Phase::StartOk { .. } | Phase::Login { .. } => {
                ConnectionState::Starting
            }
            Phase::TuneOk { .. } => ConnectionState::Tuning,
            Phase::Open { .. } => ConnectionState::Opening,
            Phase::Running if core.blocked.is_some() => ConnectionState::Blocked,
            Phase::Running => ConnectionState::Running,
            Phase::Closing { .. } | Phase::Dropping { .. } => ConnectionState::Closing,
            Phase::Closed => ConnectionState::Closed,
        };
        let mut channels: Vec<_> = self
            .channels
            .iter()
            .map(|(id, channel)| channel.describe(*id))
            .collect();
        channels.sort_unstable_by_key(|channel| channel.number);
        let introduction = core.introduction.as_deref();
        ConnectionOverview {
            mechanism: introduction.and_then(|introduction| introduction.mechanism),
            client_properties: introduction
                .map(Introduction::properties)
                .unwrap_or_default(),
            user: core
                .identity
                .as_ref()
                .map(|identity| Arc::clone(identity.username())),
            vhost: core.vhost.as_ref().map(|vhost| Arc::clone(vhost.name())),
            state,
            channels,
            channel_max: core.negotiated.channel_max,
            frame_size_max: core.negotiated.frame_size_max,
            heartbeat_s: core.negotiated.heartbeat_s,
            ..ConnectionOverview::new(&core.registration, core.endpoints, "AMQP 0-9-1")
        }
    }
}

impl Channel {
    fn describe(&self, id: ChannelId) -> ChannelOverview {
        let mut overview = ChannelOverview {
            number: id.0,
            consumers: self.consumers.len(),
            unacked: self.unacked.iter().count(),
            prefetch: self.prefetch,
            global_prefetch: self.global_prefetch,
            ..ChannelOverview::default()
        };
        match &self.mode {
            Mode::Plain => {}
            Mode::Confirm(confirms) => {
                overview.confirms = true;
                overview.unconfirmed = confirms.open_len();
            }
            Mode::Transaction(transaction) => {
                overview.transactional = true;
                overview.uncommitted = transaction.publish_len();
                overview.uncommitted_acks = transaction.ack_len();
            }
        }
        overview
    }
}
