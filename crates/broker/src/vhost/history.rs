//! `x-recent-history`: a fanout that replays its latest messages to every new binding (behaviour reference, 5.10).

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_amqp_codec::{RawProperties, RawTable, ValueRef};
use leveret_queue_store::Message;
use parking_lot::Mutex;

use super::Services;
use super::history_account::{HistoryAccount, PushOut};
use crate::error::Refusal;
use crate::memory::MemoryGauge;

/// How many messages are kept unless the exchange says otherwise.
const LENGTH_DEFAULT: usize = 20;

/// The latest messages of one exchange; bounded by their number, and by what all histories may take together.
#[derive(Debug)]
pub(crate) struct History {
    length: usize,
    services: Arc<Services>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    latest: Latest,
    account: HistoryAccount,
    deleted: bool,
}

/// Messages, the oldest first.
#[derive(Debug, Default)]
struct Latest {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl History {
    /// # Errors
    /// 406 when the exchange's argument `x-recent-history-length` is not a positive integer.
    pub(super) fn from_arguments(
        arguments: RawTable<'_>,
        services: &Arc<Services>,
    ) -> Result<Self, Refusal> {
        let length = match arguments.get("x-recent-history-length") {
            None => Some(LENGTH_DEFAULT),
            Some(value) => value
                .as_integer()
                .and_then(|length| usize::try_from(length).ok())
                .filter(|length| *length > 0),
        };
        let length = length.ok_or_else(|| {
            Refusal::precondition_failed(
                "Invalid argument, 'x-recent-history-length' must be a positive integer",
            )
        })?;
        Ok(Self {
            length,
            services: Arc::clone(services),
            state: Mutex::new(State {
                latest: Latest::default(),
                account: HistoryAccount::new(services),
                deleted: false,
            }),
        })
    }

    /// Keeps a message, unless its header `x-recent-history-no-store` says not to. An exchange that has been deleted keeps
    /// none.
    pub(super) fn keep(&self, message: &Message) {
        let headers = RawProperties::from_validated_bytes(message.properties()).headers();
        let no_store = headers.and_then(|headers| headers.get("x-recent-history-no-store"));
        if matches!(no_store, Some(ValueRef::Bool(true))) {
            return;
        }
        self.change(|state| {
            if state.deleted {
                return;
            }
            if state.latest.messages.len() == self.length {
                state.latest.push_out();
            }
            state.latest.push(message.clone());
        });
    }

    /// The exchange has been deleted: what is kept is dropped, though publishers may still know it.
    pub(super) fn delete(&self) {
        self.change(|state| {
            state.deleted = true;
            state.latest = Latest::default();
        });
    }

    /// Pushes out what is too much for the memory limit, which may have been changed.
    pub(super) fn trim(&self) {
        self.change(|_| ());
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        work(&mut state);
        let State {
            latest, account, ..
        } = &mut *state;
        let recount = account.settle(latest);
        drop(state);
        recount.tell(&self.services);
    }

    /// The latest of what is kept, so many at most, oldest first.
    pub(super) fn latest(&self, most: usize) -> Vec<Message> {
        let state = self.state.lock();
        let messages = &state.latest.messages;
        let left_out = messages.len().saturating_sub(most);
        messages.range(left_out..).cloned().collect()
    }
}

impl Latest {
    fn push(&mut self, message: Message) {
        self.bytes += cost(&message);
        self.messages.push_back(message);
    }
}

impl PushOut for Latest {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn push_out(&mut self) -> bool {
        let oldest = self.messages.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, cost);
        oldest.is_some()
    }
}

fn cost(message: &Message) -> usize {
    MemoryGauge::cost(1, message.size_bytes() as u64)
}
