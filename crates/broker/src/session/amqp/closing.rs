//! The end of a channel or a connection, and what leads to it.

use std::sync::Arc;

use leveret_amqp_codec::{
    ChannelId, Excerpt, MethodError, ReplyCode, ShortStr, method, write_method,
};
use leveret_queue_store::{Settlement, Time};

use super::channel::{Channel, Mode};
use super::{Phase, Session};
use crate::error::Refusal;
use crate::exchange::presence::End;
use crate::session::Output;

/// How long a client has to answer our connection.close, or to close the socket after our close-ok, unless its
/// heartbeats are more frequent. RabbitMQ waits as long.
const CLOSE_TIMEOUT_MS: u64 = 30_000;

/// What is wrong with a method that cannot be read. RabbitMQ answers what ends too early with its own words.
pub(super) fn undecodable(payload: &[u8], error: &MethodError) -> Failure {
    let method = match payload {
        [class_0, class_1, method_0, method_1, ..] => (
            u16::from_be_bytes([*class_0, *class_1]),
            u16::from_be_bytes([*method_0, *method_1]),
        ),
        _ => (0, 0),
    };
    let refusal = match error {
        MethodError::Truncated { .. } | MethodError::TrailingBytes { .. } => {
            let arguments = Excerpt::of(payload.get(4..).unwrap_or_default()).to_string();
            Refusal::frame_error(format!(
                "cannot decode {}",
                arguments.trim_start_matches("all octets = ")
            ))
        }
        _ => Refusal::new(error.reply_code(), error.to_string()),
    };
    Failure {
        scope: ChannelId::CONNECTION,
        refusal,
        method,
    }
}

/// An error with its place: what the client did wrong, on which channel, with which method.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) scope: ChannelId,
    pub(super) refusal: Refusal,
    pub(super) method: (u16, u16),
}

impl Failure {
    /// An error that concerns no method.
    pub(super) fn connection(refusal: Refusal) -> Self {
        Self {
            scope: ChannelId::CONNECTION,
            refusal,
            method: (0, 0),
        }
    }

    /// Errors of the connection, and all errors on channel 0, end the connection.
    fn is_fatal(&self) -> bool {
        self.scope == ChannelId::CONNECTION || self.refusal.code.is_connection_scope()
    }
}

impl Session {
    /// Tells the client of an error and closes what it concerns.
    pub(super) fn fail(&mut self, now: Time, failure: Failure, out: &mut Output) {
        // Confirms that are due are sent before the close.
        self.flush(now, out);
        let text = failure.refusal.reply_text();
        let (class_id, method_id) = failure.method;
        let in_handshake = !matches!(self.phase, Phase::Running);
        tracing::info!(
            connection = %self.core.name(), channel = failure.scope.0, class_id, method_id, error = &*text,
            "closing {}", if failure.is_fatal() { "connection" } else { "channel" },
        );
        if failure.is_fatal() {
            if in_handshake && !matches!(self.phase, Phase::Open { .. }) {
                self.drop_silently(now);
                return;
            }
            self.close_connection(now, failure.refusal.code, &text, failure.method, out);
            return;
        }
        self.discard_channel(now, failure.scope, out);
        if let Some(channel) = self.channels.get_mut(&failure.scope) {
            channel.closing = true;
        }
        let close = method::channel::Close {
            reply_code: failure.refusal.code.code(),
            reply_text: ShortStr::truncated(&text),
            class_id,
            method_id,
        };
        write_method(out.buffer(), failure.scope, &close);
    }

    /// Ends all channels, then sends connection.close.
    fn close_connection(
        &mut self,
        now: Time,
        code: ReplyCode,
        text: &str,
        method: (u16, u16),
        out: &mut Output,
    ) {
        self.release_everything(now, out);
        let close = method::connection::Close {
            reply_code: code.code(),
            reply_text: ShortStr::truncated(text),
            class_id: method.0,
            method_id: method.1,
        };
        write_method(out.buffer(), ChannelId::CONNECTION, &close);
        self.phase = Phase::Closing {
            deadline: self.closing_deadline(now),
        };
    }

    /// After close-ok the client closes the socket, as RabbitMQ has it. If we did, a client with several threads could
    /// see the end of the connection before it has read close-ok, or lose close-ok to the reset that answers what
    /// another thread was still sending.
    pub(super) fn leave_closing_to_client(&mut self, now: Time) {
        self.phase = Phase::Dropping {
            until: self.closing_deadline(now),
        };
    }

    fn closing_deadline(&self, now: Time) -> Time {
        let patience = match self.core.negotiated.heartbeat_s {
            0 => CLOSE_TIMEOUT_MS,
            seconds => CLOSE_TIMEOUT_MS.min(u64::from(seconds) * 1000),
        };
        now.saturating_add(patience)
    }

    /// The broker or its operator wants the connection closed.
    pub(super) fn forced_close(
        &mut self,
        now: Time,
        code: ReplyCode,
        text: &str,
        out: &mut Output,
    ) {
        match self.phase {
            Phase::Running => {
                let text = code.reply_text(text);
                self.close_connection(now, code, &text, (0, 0), out);
            }
            Phase::Closing { .. } => {}
            // Nobody is there yet to be told.
            _ => self.phase = Phase::Closed,
        }
    }

    /// The client is not told why, and only after a while, so that guessing passwords is slow.
    pub(super) fn drop_silently(&mut self, now: Time) {
        let until = now.saturating_add(self.core.shared.config.refusal_delay_ms());
        self.phase = Phase::Dropping { until };
    }

    /// What the client has declared could not be stored, and the answer has been taken back: the connection ends with
    /// the reason instead.
    pub(super) fn end_unrecorded(&mut self, now: Time, refusal: &Refusal, out: &mut Output) {
        if !matches!(self.phase, Phase::Running) {
            // What it was told of the end has been taken back too.
            self.phase = Phase::Closed;
            return;
        }
        let text = refusal.reply_text();
        tracing::error!(connection = %self.core.name(), error = &*text, "closing connection");
        self.close_connection(now, refusal.code, &text, (0, 0), out);
    }

    /// Gives back everything the connection holds: unacknowledged messages, consumers, exclusive queues.
    pub(super) fn release_everything(&mut self, now: Time, out: &mut Output) {
        // What waits for an answer waits no more.
        self.core.waiting = None;
        self.flush(now, out);
        // Unless the client has said goodbye.
        self.leave(now, End::Broken);
        let mut ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.discard_channel(now, id, out);
            self.channels.remove(&id);
        }
        if let Some(vhost) = self.core.vhost.take() {
            vhost.connection_closed(now, self.core.exclusive.drain(..));
        }
    }

    /// Whom the connection makes present is not present by it any more.
    pub(super) fn leave(&self, now: Time, end: End) {
        if let Some(vhost) = &self.core.vhost {
            vhost.leave_with_connection(now, self.core.registration.id(), end);
        }
    }

    /// Takes everything away from a channel, so that another can have its number: consumers, unacknowledged deliveries,
    /// the message it was receiving. The channel itself stays.
    pub(super) fn discard_channel(&mut self, now: Time, id: ChannelId, out: &mut Output) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        self.core.worked += channel.flush_acks(now);
        channel.closing = true;
        self.core.promises.forget(id);
        // The youngest first: the single active consumer of a queue is most likely the oldest, and were it to go before
        // the others, each of them would be given messages and hand them back as redelivered.
        let consumers: Vec<_> = channel
            .consumers
            .iter()
            .rev()
            .map(|(_, consumer)| (Arc::clone(channel.queue_of(consumer)), consumer.id))
            .collect();
        for (queue, consumer) in &consumers {
            queue.withdraw(now, *consumer);
        }
        // Nothing new comes for this channel; what is on its way to it goes back to the queues, what is for others is
        // sent.
        self.send_deliveries(now, usize::MAX, out);
        if let Some(channel) = self.channels.get_mut(&id) {
            if let Mode::Transaction(transaction) = &mut channel.mode {
                // What was acknowledged but not committed is outstanding.
                let held = std::mem::take(&mut transaction.settlements);
                channel
                    .unacked
                    .put_back(held.into_iter().flat_map(|held| held.deliveries));
            }
            let unacked: Vec<_> = channel.unacked.take_all().collect();
            channel.settle(now, &unacked, Settlement::Abandon);
            self.core.worked += channel.prefetch_opened(now);
            **channel = Channel::new([None, None]);
            channel.closing = true;
        }
        for (queue, _) in consumers {
            queue.serve(now);
        }
    }

    /// The socket is gone, or is about to be closed by us.
    pub(crate) fn handle_disconnect(&mut self, now: Time) {
        // What would still be said is said to nobody.
        let mut unheard = Output::default();
        self.release_everything(now, &mut unheard);
        self.core.outbox.close();
        self.phase = Phase::Closed;
    }
}
