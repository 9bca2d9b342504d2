//! `x-recent-history`: a fanout that replays its latest messages to every new binding (behaviour reference, 5.10).

use std::collections::VecDeque;

use leveret_amqp_codec::{RawProperties, RawTable, ValueRef};
use leveret_queue_store::Message;
use parking_lot::Mutex;

use crate::error::Refusal;

/// How many messages are kept unless the exchange says otherwise.
const LENGTH_DEFAULT: usize = 20;

/// The latest messages of one exchange; bounded by their number.
#[derive(Debug)]
pub(crate) struct History {
    length: usize,
    messages: Mutex<VecDeque<Message>>,
}

impl History {
    /// # Errors
    /// 406 when the exchange's argument `x-recent-history-length` is not a positive integer.
    pub(super) fn from_arguments(arguments: RawTable<'_>) -> Result<Self, Refusal> {
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
            messages: Mutex::default(),
        })
    }

    /// Keeps a message, unless its header `x-recent-history-no-store` says not to.
    pub(super) fn keep(&self, message: &Message) {
        let headers = RawProperties::from_validated_bytes(message.properties()).headers();
        let no_store = headers.and_then(|headers| headers.get("x-recent-history-no-store"));
        if matches!(no_store, Some(ValueRef::Bool(true))) {
            return;
        }
        let mut messages = self.messages.lock();
        if messages.len() == self.length {
            messages.pop_front();
        }
        messages.push_back(message.clone());
    }

    /// What is kept, oldest first.
    pub(super) fn messages(&self) -> Vec<Message> {
        self.messages.lock().iter().cloned().collect()
    }
}
