//! The session as `net` sees it.

use std::sync::Arc;

use leveret_queue_store::{Lsn, Time};

use super::problem::Problem;
use super::{GATHERED_MIN, Phase, Session};
use crate::error::Refusal;
use crate::outbox::Outbox;
use crate::overview::ConnectionOverview;
use crate::session::{Answer, Ask, Awaited, Output, Protocol};

impl Protocol for Session {
    fn handle_input(&mut self, now: Time, input: &[u8], out: &mut Output) -> usize {
        self.core.received_at = now;
        // Frames are slices of what they are decoded from, so they get a buffer of their own.
        let mut gathered = std::mem::take(&mut self.gathered);
        let is_begun = !gathered.is_empty();
        gathered.extend_from_slice(input);
        if self.core.caller.forget_stale(now) {
            self.publisher.cache.forget();
        }
        self.consume(now, &mut gathered, is_begun, out);
        let mut left = gathered.len();
        let is_one_begun = self.takes_input() && !self.has_paused();
        // What was gathered before is used up, or gathered still.
        if left > input.len() || left >= GATHERED_MIN && is_one_begun {
            self.gathered = gathered;
            left = 0;
        }
        self.held.set(self.gathered.len());
        self.flush(now, out);
        input.len() - left
    }

    fn has_paused(&self) -> bool {
        let commits = self.committing.is_some() && self.core.waiting.is_none();
        !self.is_finished() && (self.has_paused || commits)
    }

    fn takes_input(&self) -> bool {
        let waits = matches!(
            self.phase,
            Phase::Login { .. } | Phase::Leaving { .. } | Phase::Closed
        );
        !self.core.is_held_up() && !waits
    }

    fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    fn had_broken_input(&self) -> bool {
        self.input_was_broken
    }

    fn describe(&self) -> Option<ConnectionOverview> {
        Some(self.describe())
    }

    fn published(&self) -> u32 {
        self.publisher.published.count()
    }

    fn take_ask(&mut self) -> Option<Ask> {
        self.take_question()
    }

    fn handle_answer(&mut self, now: Time, answer: Answer, out: &mut Output) {
        self.handle_reply(now, answer, out);
    }

    fn handle_outbox(&mut self, now: Time, enough: usize, out: &mut Output) -> bool {
        self.send_deliveries(now, enough, out);
        self.has_deliveries()
    }

    fn has_deliveries(&self) -> bool {
        !self.inbox.is_empty()
    }

    fn awaited(&self) -> Option<Awaited> {
        self.publisher.awaited()
    }

    fn handle_safe(&mut self, _now: Time, safe: Lsn, out: &mut Output) {
        self.publisher.handle_safe(safe, &self.writer, out);
        self.leave_if_settled(out);
    }

    fn handle_journal_failure(&mut self, _now: Time, out: &mut Output) {
        self.publisher.handle_journal_failure(&self.writer, out);
        self.leave_if_settled(out);
    }

    fn handle_written(&mut self, now: Time) {
        self.core.sent_at = now;
        let written = std::mem::take(&mut self.core.unwritten);
        let has_room = written > 0 && self.core.outbox.window().leave(written);
        if let Some(own_windows) = &mut self.core.own_windows {
            own_windows.leave(now);
        }
        if has_room {
            self.subscriptions.poll_queues(now);
        }
        self.core.outbox.wrote(written);
    }

    fn take_behind(&mut self) -> Option<Arc<Outbox>> {
        self.publisher.take_behind()
    }

    fn handle_unheard(&mut self, there_at: Time) {
        self.excuse_silence(there_at);
    }

    fn next_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::Connect { deadline, .. } => Some(*deadline),
            Phase::Login(connecting) => Some(connecting.deadline),
            Phase::Dropping { until } => Some(*until),
            Phase::Running => {
                let deadlines = [
                    self.core.heart_beat_deadline(),
                    self.core.consumer_deadline(),
                    self.core.expires_at,
                ];
                deadlines.into_iter().flatten().min()
            }
            Phase::Leaving { .. } | Phase::Closed => None,
        }
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Output) {
        if self.next_timeout().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &self.phase {
            Phase::Running => {
                if self.core.expires_at.is_some_and(|at| at <= now) {
                    let Refusal {
                        code, explanation, ..
                    } = Refusal::expired();
                    self.forced_close(now, code, &explanation, out);
                    return;
                }
                if self.core.heart_beat_deadline().is_some_and(|at| at <= now) {
                    self.handle_heart_beat(now, out);
                }
                if self.core.consumer_timeout_at <= now {
                    self.handle_consumer_timeout(now, out);
                }
            }
            Phase::Dropping { .. } | Phase::Leaving { .. } | Phase::Closed => {
                self.phase = Phase::Closed;
            }
            Phase::Connect { .. } | Phase::Login { .. } => {
                tracing::info!(connection = %self.core.connection(), "login took too long");
                self.phase = Phase::Closed;
            }
        }
    }

    fn handle_not_recorded(&mut self, now: Time, refusal: &Refusal, out: &mut Output) {
        if matches!(self.phase, Phase::Running) {
            let problem = Problem::fatal("internal_error", refusal.reply_text());
            self.fail(now, &problem, out);
        } else {
            // What it was told of the end has been taken back too.
            self.phase = Phase::Closed;
        }
    }

    fn handle_disconnect(&mut self, now: Time) {
        // What would still be said is said to nobody.
        let mut unheard = Output::default();
        self.release_everything(now, &mut unheard);
        self.core.outbox.close();
        self.phase = Phase::Closed;
    }
}
