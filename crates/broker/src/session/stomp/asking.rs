//! Frames that have to wait until the embedding program has said who may do what.
//!
//! Such a frame has done nothing yet that it would do twice. It is obeyed again with the answer, before anything that comes
//! after it is read; deliveries, heart-beats and deadlines go on meanwhile.

use std::sync::Arc;

use leveret_queue_store::Time;
use leveret_stomp_codec::Frame;

use super::{Core, Phase, Session};
use crate::access::OwnedQuestion;
use crate::auth::Identity;
use crate::memory::Held;
use crate::session::{Answer, Answered, Ask, Output, Rights};

/// A question and the frame that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Until it has been taken.
    ask: Option<Ask>,
    /// None where it is a COMMIT that goes on.
    frame: Option<Frame>,
    /// Counts the frame against the memory limit.
    held: Held,
}

impl Session {
    pub(super) fn take_question(&mut self) -> Option<Ask> {
        if let Phase::Login(connecting) = &mut self.phase {
            return connecting.ask.take();
        }
        self.core.waiting.as_mut()?.ask.take()
    }

    pub(super) fn handle_reply(&mut self, now: Time, answer: Answer, out: &mut Output) {
        if let Phase::Login(_) = self.phase
            && let Phase::Login(connecting) = std::mem::replace(&mut self.phase, Phase::Closed)
        {
            match answer {
                Answer::Login(result) => self.finish_connecting(now, connecting, result, out),
                Answer::Rights(answered) => {
                    let may_enter = answered.answers.first().copied();
                    self.enter(now, connecting, may_enter, out);
                }
                // No frame renews a secret.
                Answer::Secret(_) => {}
            }
            return;
        }
        let Some(waiting) = self.core.waiting.take() else {
            return;
        };
        // Nobody has listened to the client since.
        self.core.received_at = now;
        if let Answer::Rights(Answered { questions, answers }) = answer {
            self.core.caller.note(now, &questions, &answers);
        }
        let Waiting { frame, held, .. } = *waiting;
        drop(held);
        match frame {
            Some(frame) => self.obey(now, frame, out),
            None => self.go_on_committing(now, out),
        }
        if self.core.waiting.is_none() {
            self.core.caller.settle();
        }
        self.flush(now, out);
    }

    /// A frame waits until somebody has answered, or the COMMIT that is under way does.
    pub(super) fn suspend(&mut self, questions: Vec<OwnedQuestion>, frame: Option<Frame>) {
        let Some((authorizer, user)) = self.core.caller.authorizer().zip(self.core.caller.user())
        else {
            return;
        };
        let ask = Ask::Rights(Box::new(Rights {
            authorizer,
            user: Arc::clone(user),
            questions,
            until_refused: true,
        }));
        let Core { shared, outbox, .. } = &self.core;
        let mut held = Held::new(&shared.services, outbox);
        held.set(frame.as_ref().map_or(0, |frame| frame.body.len()));
        self.core.waiting = Some(Box::new(Waiting {
            ask: Some(ask),
            frame,
            held,
        }));
    }
}

impl Core {
    /// Who the user is from now on.
    pub(super) fn is_now(&mut self, identity: Identity) {
        self.expires_at = identity.expiry();
        self.identity = Some(identity);
    }

    /// Whether nothing is read because of us.
    pub(super) fn is_held_up(&self) -> bool {
        self.blocked || self.waiting.is_some()
    }
}
