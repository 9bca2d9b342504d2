//! Errors, and the end of a session.

use leveret_amqp_codec::ReplyCode;
use leveret_queue_store::Time;
use leveret_stomp_codec::{Command, Frame, Version};

use super::problem::Problem;
use super::{MISTAKES_MAX, Phase, Session};
use crate::exchange::presence::End;
use crate::session::Output;

impl Session {
    /// Tells the client what was wrong, and ends the session where that is called for.
    pub(super) fn fail(&mut self, now: Time, problem: &Problem, out: &mut Output) {
        // Receipts that are due are sent before the error.
        self.flush(now, out);
        let title = problem.title();
        let detail = problem.detail().trim_end();
        let ends_session = problem.ends_session() || self.is_last_mistake();
        tracing::info!(connection = %self.core.connection(), title, detail, ends_session, "error");
        if ends_session {
            self.end(now, out);
        }
        self.write_error(problem, &[], out);
    }

    /// Counts the mistakes of a client that has not said CONNECT, whose number is limited.
    fn is_last_mistake(&mut self) -> bool {
        let Phase::Connect { mistakes, .. } = &mut self.phase else {
            return false;
        };
        *mistakes += 1;
        *mistakes >= MISTAKES_MAX
    }

    /// An ERROR frame, with these headers beside the usual ones.
    pub(super) fn write_error(
        &self,
        problem: &Problem,
        headers: &[(&str, &str)],
        out: &mut Output,
    ) {
        let usual = [
            ("message", problem.title()),
            ("content-type", "text/plain"),
            ("version", Version::SUPPORTED),
        ];
        let headers = [&usual, headers].concat();
        let body = problem.detail().as_bytes();
        self.writer.frame(out, Command::Error, &headers, body);
    }

    /// DISCONNECT: what the client held is back in its queues before the receipt tells so.
    pub(super) fn disconnect(&mut self, now: Time, frame: &Frame, out: &mut Output) {
        self.leave(now, End::InOrder);
        self.release_everything(now, out);
        // On a WebSocket RabbitMQ answers with the end of the WebSocket alone.
        let receipt = frame
            .header("receipt")
            .filter(|_| !self.writer.is_websocket());
        self.phase = Phase::Leaving {
            receipt: receipt.map(Into::into),
        };
        self.leave_if_settled(out);
    }

    /// Ends a session that the client wants to end, once it has no receipt to wait for.
    pub(super) fn leave_if_settled(&mut self, out: &mut Output) {
        if let Phase::Leaving { receipt } = &self.phase
            && self.publisher.awaited().is_none()
        {
            if let Some(receipt) = receipt {
                self.write_receipt(receipt, out);
            }
            self.phase = Phase::Closed;
        }
    }

    /// The broker or its operator wants the session closed.
    pub(super) fn forced_close(
        &mut self,
        now: Time,
        code: ReplyCode,
        text: &str,
        out: &mut Output,
    ) {
        let was_running = matches!(self.phase, Phase::Running);
        self.end(now, out);
        if was_running {
            let title = code.name().to_ascii_lowercase();
            let problem = Problem::titled(title, code.reply_text(text));
            self.write_error(&problem, &[], out);
        }
    }

    /// Gives everything back, and closes the socket once all is written.
    fn end(&mut self, now: Time, out: &mut Output) {
        self.phase = Phase::Closed;
        self.release_everything(now, out);
    }

    /// Whom the session makes present is not present by it any more.
    fn leave(&self, now: Time, end: End) {
        if let Some(vhost) = &self.core.vhost {
            vhost.leave_with_connection(now, self.core.registration.id(), end);
        }
    }

    /// Gives back everything the session holds: unacknowledged messages, consumers, exclusive queues.
    pub(super) fn release_everything(&mut self, now: Time, out: &mut Output) {
        // What waits for an answer waits no more.
        self.core.waiting = None;
        self.committing = None;
        self.flush(now, out);
        // Unless the client has said goodbye.
        self.leave(now, End::Broken);
        self.transactions.clear();
        self.subscriptions.begin_to_end_all(now);
        // What is still on its way to them is outstanding, as what was sent is.
        self.send_deliveries(now, usize::MAX, out);
        self.subscriptions.forget_all(now);
        self.core.seats = [None, None];
        if let Some(vhost) = self.core.vhost.take() {
            vhost.connection_closed(now, self.core.exclusive.drain(..));
        }
    }
}
