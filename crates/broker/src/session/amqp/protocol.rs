//! The session as `net` sees it.

use std::sync::Arc;

use leveret_queue_store::{Lsn, Time};

use super::Phase;
use super::Session;
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::overview::ConnectionOverview;
use crate::session::{Answer, Ask, Awaited, Output, Protocol};

impl Protocol for Session {
    fn handle_input(&mut self, now: Time, input: &[u8], out: &mut Output) -> usize {
        self.handle_input(now, input, out)
    }

    fn has_paused(&self) -> bool {
        self.has_paused
    }

    fn takes_input(&self) -> bool {
        self.takes_input()
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// AMQP tells of such things itself, in connection.close.
    #[cfg(feature = "stomp")]
    fn had_broken_input(&self) -> bool {
        false
    }

    fn describe(&self) -> Option<ConnectionOverview> {
        Some(self.describe())
    }

    fn published(&self) -> u32 {
        self.core.publisher.published.count()
    }

    fn take_ask(&mut self) -> Option<Ask> {
        self.take_ask()
    }

    fn handle_answer(&mut self, now: Time, answer: Answer, out: &mut Output) {
        self.handle_answer(now, answer, out);
    }

    fn handle_outbox(&mut self, now: Time, enough: usize, out: &mut Output) -> bool {
        self.handle_outbox(now, enough, out)
    }

    fn has_deliveries(&self) -> bool {
        self.has_deliveries()
    }

    fn awaited(&self) -> Option<Awaited> {
        self.awaited()
    }

    fn handle_safe(&mut self, _now: Time, safe: Lsn, out: &mut Output) {
        self.handle_safe(safe, out);
    }

    fn handle_journal_failure(&mut self, now: Time, out: &mut Output) {
        self.handle_journal_failure(now, out);
    }

    fn handle_written(&mut self, now: Time) {
        self.handle_written(now);
    }

    fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        self.take_behind()
    }

    fn handle_unheard(&mut self, there_at: Time) {
        self.excuse_silence(there_at);
    }

    fn next_timeout(&self) -> Option<Time> {
        self.next_timeout()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Output) {
        self.handle_timeout(now, out);
    }

    fn handle_not_recorded(&mut self, now: Time, refusal: &Refusal, out: &mut Output) {
        self.end_unrecorded(now, refusal, out);
    }

    fn handle_disconnect(&mut self, now: Time) {
        self.handle_disconnect(now);
    }
}
