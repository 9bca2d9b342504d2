//! From the outbox to MESSAGE frames (behaviour reference, section 20.6).

use std::fmt::Write;
use std::sync::Arc;

use leveret_amqp_codec::RawProperties;
use leveret_queue_store::{Delivery, Time};
use leveret_stomp_codec::Version;

use super::Session;
use super::destination::write_published_to;
use super::headers::write_properties;
use super::problem::Problem;
use super::subscriptions::AckMode;
use crate::outbox::{AfterGap, ConsumerKey, Outgoing, pop_if_fits};
use crate::session::Output;
use crate::slow;
use crate::vhost::{HISTORY_ID, POSITION_MARK, position_in};

/// Stands between the parts of a message id: the subscription's tag, the session, and the delivery's number. Behind the
/// number may be the message's position in the history of the exchange that is subscribed to.
pub(super) const ID_SEPARATOR: &str = "@@";

/// From this size on, a body that is kept on its own is written from where it is.
const WRITE_IN_PLACE_MIN: usize = 16 * 1024;

impl Session {
    pub(super) fn send_deliveries(&mut self, now: Time, enough: usize, out: &mut Output) {
        loop {
            if self.inbox.is_empty() {
                self.core.outbox.take(&mut self.inbox);
            }
            if self.inbox.is_empty() {
                return;
            }
            while let Some(item) = pop_if_fits(&mut self.inbox, out.len(), enough) {
                self.send_one(now, item, out);
            }
            if !self.inbox.is_empty() {
                return;
            }
        }
    }

    fn send_one(&mut self, now: Time, item: Outgoing, out: &mut Output) {
        match item {
            Outgoing::Deliver {
                consumer, delivery, ..
            } => self.deliver(consumer, delivery, 0, out),
            Outgoing::DeliverAfterGap {
                consumer,
                after_gap,
                ..
            } => {
                let AfterGap { delivery, left_out } = *after_gap;
                self.deliver(consumer, delivery, left_out, out);
            }
            Outgoing::ConsumerCancelled { consumer, .. } => {
                self.subscription_cancelled(now, consumer, out);
            }
            Outgoing::ConsumerTooSlow { consumer, .. } => {
                self.subscription_too_slow(now, consumer, out);
            }
            Outgoing::WindowOpened => self.subscriptions.poll_queues(now),
            // STOMP has no word for it: the client only notices that it is read from again.
            Outgoing::Unblocked => self.core.blocked = false,
            Outgoing::Close { code, text } => self.forced_close(now, code, &text, out),
        }
    }

    fn deliver(&mut self, key: ConsumerKey, delivery: Delivery, left_out: u64, out: &mut Output) {
        self.core.unwritten += delivery.message.size_bytes();
        let number = self.subscriptions.number_delivery();
        if let Some(id) = delivery.id {
            self.subscriptions.add_unacked(number, key, id);
        }
        // A subscription stays until everything for it has been taken out of the outbox.
        let Some(subscription) = self.subscriptions.get(key) else {
            return;
        };
        if subscription.is_ending() {
            return;
        }
        let message = &delivery.message;
        if let Some(gate) = &subscription.own_window {
            let own_windows = self.core.own_windows.get_or_insert_default();
            own_windows.add(gate, message.size_bytes(), &subscription.queue);
        }
        let stamped = subscription.queue.stamped_properties(&delivery, false, 0);
        let properties = RawProperties::from_validated_bytes(
            stamped.as_deref().unwrap_or_else(|| message.properties()),
        );
        let large = message
            .shared_body()
            .filter(|body| body.len() >= WRITE_IN_PLACE_MIN);

        let mut text = std::mem::take(&mut self.text);
        // STOMP 1.2, MESSAGE: only what has to be acknowledged says by which id.
        let names_ack = self.writer.version() >= Version::V1_2 && subscription.ack != AckMode::Auto;
        self.writer.delivery(out, message.body(), large, |frame| {
            if let Some(id) = subscription.id() {
                frame.header("subscription", id);
            }
            text.clear();
            write_published_to(&mut text, message.exchange(), message.routing_key());
            frame.header("destination", &text);
            text.clear();
            let _ = write!(text, "{number}");
            if subscription.has_history
                && let Some(position) = position_in(properties.headers(), HISTORY_ID)
            {
                let _ = write!(text, "{POSITION_MARK}{position}");
            }
            let id = [
                &*subscription.tag,
                ID_SEPARATOR,
                &*self.core.name,
                ID_SEPARATOR,
                &*text,
            ];
            frame.header_of_pieces("message-id", &id);
            let redelivered = if delivery.redelivered {
                "true"
            } else {
                "false"
            };
            frame.header("redelivered", redelivered);
            if names_ack {
                frame.header_of_pieces("ack", &id);
            }
            if left_out > 0 {
                text.clear();
                let _ = write!(text, "{left_out}");
                frame.header(slow::DROPPED, &text);
            }
            write_properties(frame, properties, &mut text);
        });
        self.text = text;
    }

    /// The queue of a subscription is gone. The session goes on without it.
    fn subscription_cancelled(&mut self, now: Time, key: ConsumerKey, out: &mut Output) {
        let reason = "The server has canceled a subscription.";
        self.subscription_ended(now, key, reason, out);
    }

    /// A subscription that did not want to fall behind has done so. The session goes on without it.
    fn subscription_too_slow(&mut self, now: Time, key: ConsumerKey, out: &mut Output) {
        let reason = "The server has canceled a subscription that was too slow.";
        self.subscription_ended(now, key, reason, out);
    }

    fn subscription_ended(&mut self, now: Time, key: ConsumerKey, reason: &str, out: &mut Output) {
        let Some(subscription) = self.subscriptions.get(key) else {
            return;
        };
        if !subscription.is_ending() {
            let problem = Problem::new(
                "Server cancelled subscription",
                format!(
                    "{reason}\nNo more messages will be delivered for \"{}\".\n",
                    subscription.description()
                ),
            );
            let id = subscription.id().unwrap_or(&subscription.destination);
            self.write_error(&problem, &[("subscription", id)], out);
        }
        let queue = Arc::clone(&subscription.queue);
        self.subscriptions.forget(now, key);
        self.leave_queue(now, &queue);
    }
}
