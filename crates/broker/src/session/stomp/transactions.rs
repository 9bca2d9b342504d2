//! BEGIN, COMMIT and ABORT: frames held until they are wanted (behaviour reference, section 20.7).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use leveret_amqp_codec::RawProperties;
use leveret_queue_store::{Lsn, Time};
use leveret_stomp_codec::Frame;

use super::Session;
use super::problem::Problem;
use super::send::HeldSend;
use super::settle::Settle;
use crate::access::OwnedQuestion;
use crate::error::Refusal;
use crate::memory::Held;
use crate::outbox::Outbox;
use crate::session::Output;
use crate::vhost::Services;

/// How many transactions a session may have open, as in RabbitMQ 4.
const TRANSACTIONS_MAX: usize = 16;

/// How many frames one may hold, as in RabbitMQ 4.
const ACTIONS_MAX: usize = 1024;

/// The open transactions of a session, in the order in which they were begun. There are few, so they are searched.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: Vec<Transaction>,
}

#[derive(Debug)]
struct Transaction {
    name: Box<str>,
    actions: Vec<Action>,
    bytes: usize,
    /// Counts the messages against the memory limit.
    held: Option<Held>,
}

#[derive(Debug)]
enum Action {
    Send(HeldSend),
    Settle(Settle),
}

/// A COMMIT that is under way: it may take several turns.
#[derive(Debug)]
pub(super) struct Committing {
    /// What is left to do.
    actions: VecDeque<Action>,
    /// How many bytes of messages that is, counted against the memory limit.
    bytes: usize,
    held: Option<Held>,
    receipt: Option<Box<str>>,
    /// Up to where the journal must be safe for what has been done.
    safe_at: Option<Lsn>,
}

impl Committing {
    /// The queues count this one from now on.
    fn hand_over(&mut self, send: &HeldSend) {
        self.bytes -= send.size_bytes();
        if let Some(held) = &mut self.held {
            held.set(self.bytes);
        }
    }
}

impl Transactions {
    pub(super) fn add_send(
        &mut self,
        name: &str,
        send: HeldSend,
        services: &Arc<Services>,
        outbox: &Arc<Outbox>,
    ) -> Result<(), Problem> {
        let transaction = self.with_room(name)?;
        transaction.bytes += send.size_bytes();
        let held = transaction
            .held
            .get_or_insert_with(|| Held::new(services, outbox));
        held.set(transaction.bytes);
        held.check()?;
        transaction.actions.push(Action::Send(send));
        Ok(())
    }

    pub(super) fn add_settle(&mut self, name: &str, settle: Settle) -> Result<(), Problem> {
        self.with_room(name)?.actions.push(Action::Settle(settle));
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.open.clear();
    }

    /// One of the same name that is open is forgotten, as in RabbitMQ.
    fn begin(&mut self, name: &str) -> Result<(), Problem> {
        self.open.retain(|transaction| *transaction.name != *name);
        if self.open.len() >= TRANSACTIONS_MAX {
            return Err(Problem::new(
                "Too many transactions",
                format!("A session may have {TRANSACTIONS_MAX} transactions open\n"),
            ));
        }
        self.open.push(Transaction {
            name: name.into(),
            actions: Vec::new(),
            bytes: 0,
            held: None,
        });
        Ok(())
    }

    fn take(&mut self, name: &str) -> Result<Transaction, Problem> {
        self.position(name).map(|at| self.open.remove(at))
    }

    /// One that is full is forgotten, so that nobody commits a part of it.
    fn with_room(&mut self, name: &str) -> Result<&mut Transaction, Problem> {
        let at = self.position(name)?;
        if self.open[at].actions.len() >= ACTIONS_MAX {
            self.open.remove(at);
            return Err(Problem::new(
                "Transaction too large",
                format!("Transaction \"{name}\" is aborted: it may hold {ACTIONS_MAX} frames\n"),
            ));
        }
        Ok(&mut self.open[at])
    }

    /// What a transaction is to publish.
    fn sends(&self, name: &str) -> impl Iterator<Item = &HeldSend> {
        let actions = self.position(name).map(|at| &self.open[at].actions);
        actions
            .into_iter()
            .flatten()
            .filter_map(|action| match action {
                Action::Send(send) => Some(send),
                Action::Settle(_) => None,
            })
    }

    fn position(&self, name: &str) -> Result<usize, Problem> {
        let found = self.open.iter().position(|it| *it.name == *name);
        found.ok_or_else(|| {
            Problem::new(
                "Bad transaction",
                format!("Invalid transaction identifier: \"{name}\"\n"),
            )
        })
    }
}

impl Session {
    pub(super) fn begin(&mut self, frame: &Frame) -> Result<(), Problem> {
        self.transactions.begin(name_of(frame)?)
    }

    /// Carries the frames out in order. It is no more atomic than they would have been one by one: what fails ends the
    /// session, and what came before stands. The receipt comes with those of its messages, once they are where they have to
    /// be.
    pub(super) fn commit(
        &mut self,
        now: Time,
        frame: &Frame,
        out: &mut Output,
    ) -> Result<(), Problem> {
        let name = name_of(frame)?;
        self.foresee_commit(name)?;
        let transaction = self.transactions.take(name)?;
        // What came before it is another matter.
        self.publisher.begin_commit();
        self.committing = Some(Box::new(Committing {
            actions: transaction.actions.into(),
            bytes: transaction.bytes,
            held: transaction.held,
            receipt: frame.header("receipt").map(Into::into),
            safe_at: None,
        }));
        self.continue_commit(now, out)
    }

    /// Carries out what is left of a COMMIT, or as much as is enough for one turn.
    pub(super) fn continue_commit(&mut self, now: Time, out: &mut Output) -> Result<(), Problem> {
        let Some(mut committing) = self.committing.take() else {
            return Ok(());
        };
        while let Some(action) = committing.actions.pop_front() {
            let mut questions = None;
            match action {
                Action::Send(send) => match self.route_held(&send) {
                    Ok(mut routed) => {
                        committing.hand_over(&send);
                        routed.receipt = send.receipt;
                        self.publish(now, routed, out);
                    }
                    Err(mut problem) => {
                        questions = Some(problem.take_questions().ok_or(problem)?);
                        committing.actions.push_front(Action::Send(send));
                    }
                },
                Action::Settle(settle) => self.carry_out_settle(now, settle)?,
            }
            let must_wait = questions.is_some();
            if let Some(questions) = questions {
                self.suspend(questions, None);
            }
            if must_wait || self.has_done_enough(out) {
                committing.safe_at = committing.safe_at.max(self.flush(now, out));
                self.committing = Some(committing);
                return Ok(());
            }
        }
        self.hold_unstored(out);
        let safe_at = committing.safe_at.max(self.flush(now, out));
        self.publisher.promise_commit(committing.receipt, safe_at);
        self.flush(now, out);
        Ok(())
    }

    /// Has what the messages of a transaction need asked before the first of them is published, up to one that is refused,
    /// and as far as can be seen in one turn.
    fn foresee_commit(&mut self, name: &str) -> Result<(), Problem> {
        if !self.core.caller.is_asked() {
            return Ok(());
        }
        let mut questions = Questions::default();
        for send in self.transactions.sends(name) {
            let vhost = self.core.vhost.as_ref();
            let properties = RawProperties::from_validated_bytes(&send.properties);
            let routed = vhost.map(|vhost| {
                vhost.route(
                    &self.core.caller,
                    &mut self.publisher.cache,
                    &send.exchange,
                    &send.routing_key,
                    properties,
                    properties.headers(),
                )
            });
            if let Some(Err(mut refusal)) = routed {
                match refusal.take_questions() {
                    Some(more) => questions.add(more),
                    None => break,
                }
            }
            if self.publisher.cache.has_looked_far() {
                break;
            }
        }
        match questions.list {
            list if list.is_empty() => Ok(()),
            list => Err(Refusal::until_asked(list).into()),
        }
    }

    pub(super) fn abort(&mut self, frame: &Frame) -> Result<(), Problem> {
        self.transactions.take(name_of(frame)?).map(drop)
    }
}

/// Questions in their order, each once.
#[derive(Default)]
struct Questions {
    list: Vec<OwnedQuestion>,
    known: HashSet<OwnedQuestion>,
}

impl Questions {
    fn add(&mut self, questions: Vec<OwnedQuestion>) {
        for question in questions {
            if self.known.insert(question.clone()) {
                self.list.push(question);
            }
        }
    }
}

fn name_of(frame: &Frame) -> Result<&str, Problem> {
    frame.header("transaction").ok_or_else(|| {
        Problem::new(
            "Missing transaction",
            format!(
                "\"{}\" must include a 'transaction' header\n",
                frame.command
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use leveret_queue_store::Settlement;

    use super::*;

    #[test]
    fn a_transaction_that_grows_too_large_is_gone() {
        let mut transactions = Transactions::default();
        transactions.begin("t").unwrap();
        let settle = Settle::for_test(1, Settlement::Ack);
        for _ in 0..ACTIONS_MAX {
            transactions.add_settle("t", settle).unwrap();
        }
        let problem = transactions.add_settle("t", settle).unwrap_err();
        assert_eq!(problem.title(), "Transaction too large");
        assert!(
            transactions.take("t").is_err(),
            "a part of it must not be committed"
        );
    }

    #[test]
    fn only_so_many_are_open_and_a_name_counts_once() {
        let mut transactions = Transactions::default();
        for at in 0..TRANSACTIONS_MAX {
            transactions.begin(&at.to_string()).unwrap();
        }
        assert!(transactions.begin("0").is_ok(), "begun anew");
        assert!(transactions.begin("one more").is_err());
        transactions.take("3").unwrap();
        assert!(transactions.begin("one more").is_ok());
    }
}
