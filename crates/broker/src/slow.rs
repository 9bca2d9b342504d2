//! What a subscription wants done when it is slow, and the room it has for itself.

use std::sync::Arc;

use leveret_amqp_codec::RawTable;
use leveret_queue_store::{Gate, SlowAction, SlowConsumer, Time};

use crate::error::Refusal;
use crate::vhost::QueueCell;

/// How many bytes of messages may be on their way to a subscription that has the oldest dropped. Two writes of a
/// connection: less would leave a fast one waiting between them, more would only grow old.
pub(crate) const OWN_WINDOW_BYTES: usize = 64 * 1024;

/// How many messages may wait unless the subscription says otherwise. Some minutes of a lively chat room.
pub(crate) const LIMIT_DEFAULT: u64 = 1000;

/// How many bytes of bodies may wait unless the subscription says otherwise.
pub(crate) const LIMIT_BYTES_DEFAULT: u64 = 1024 * 1024;

/// The names of the arguments, which are those of STOMP's headers too.
pub(crate) const ACTION: &str = "x-slow-consumer";
pub(crate) const LIMIT: &str = "x-slow-limit";
pub(crate) const LIMIT_BYTES: &str = "x-slow-limit-bytes";

/// The header that tells how many messages were left out before the one that has it.
pub(crate) const DROPPED: &str = "x-dropped";

/// What the arguments of a consumer say; none when everything is to wait for it.
///
/// # Errors
/// 406 for a value that none of them has, and for limits without anything to be limited. `queue` names the queue in the
/// text.
pub(crate) fn from_arguments(
    arguments: RawTable<'_>,
    queue: &str,
) -> Result<Option<Box<SlowConsumer>>, Refusal> {
    let invalid = |name: &str, problem: String| {
        let text = format!("invalid arg '{name}' for {queue}: {problem}");
        Refusal::precondition_failed(text)
    };
    let action = match arguments
        .get(ACTION)
        .map(|value| value.as_str().ok_or(value))
    {
        None | Some(Ok("wait")) => None,
        Some(Ok("drop-oldest")) => Some(SlowAction::DropOldest),
        Some(Ok("close")) => Some(SlowAction::Close),
        Some(Ok(other)) => {
            let problem = format!("\"expected 'wait', 'drop-oldest' or 'close', got '{other}'\"");
            return Err(invalid(ACTION, problem));
        }
        Some(Err(other)) => {
            let problem = format!("\"expected string, got {}\"", other.type_name());
            return Err(invalid(ACTION, problem));
        }
    };
    let limit = |name: &str| match arguments.get(name) {
        None => Ok(None),
        Some(value) => match value
            .as_integer()
            .and_then(|limit| u64::try_from(limit).ok())
        {
            Some(0) | None => Err(invalid(name, "\"expected positive integer\"".to_owned())),
            limit => Ok(limit),
        },
    };
    let (messages, bytes) = (limit(LIMIT)?, limit(LIMIT_BYTES)?);
    let Some(action) = action else {
        return match (messages, bytes) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(invalid(LIMIT, format!("\"needs {ACTION}\""))),
            (None, Some(_)) => Err(invalid(LIMIT_BYTES, format!("\"needs {ACTION}\""))),
        };
    };
    Ok(Some(Box::new(SlowConsumer {
        action,
        limit: messages.unwrap_or(LIMIT_DEFAULT),
        limit_bytes: bytes.unwrap_or(LIMIT_BYTES_DEFAULT),
        own_window: own_window(action),
    })))
}

/// What waits where nothing is dropped need not be short.
fn own_window(action: SlowAction) -> Option<Arc<Gate>> {
    (action == SlowAction::DropOldest).then(|| Arc::new(Gate::new(OWN_WINDOW_BYTES)))
}

/// What a connection has encoded for subscriptions with a window of their own and may not have written yet.
///
/// Bounded by the connection's window, which the same deliveries have entered.
#[derive(Debug, Default)]
pub(crate) struct OwnWindows {
    unwritten: Vec<Unwritten>,
}

#[derive(Debug)]
struct Unwritten {
    gate: Arc<Gate>,
    bytes: usize,
    queue: Arc<QueueCell>,
}

impl OwnWindows {
    /// So many bytes of a queue are on their way.
    pub(crate) fn add(&mut self, gate: &Arc<Gate>, bytes: usize, queue: &Arc<QueueCell>) {
        if let Some(last) = self.unwritten.last_mut()
            && Arc::ptr_eq(&last.gate, gate)
        {
            last.bytes += bytes;
            return;
        }
        self.unwritten.push(Unwritten {
            gate: Arc::clone(gate),
            bytes,
            queue: Arc::clone(queue),
        });
    }

    /// Everything has been written: queues may fill the windows again.
    pub(crate) fn leave(&mut self, now: Time) {
        for Unwritten { gate, bytes, queue } in self.unwritten.drain(..) {
            if gate.leave(bytes) {
                queue.poll(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::{Table, Value};

    use super::*;

    fn parse(entries: &[(&str, Value)]) -> Result<Option<(SlowAction, u64, u64)>, String> {
        let table: Table = entries
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .collect();
        let bytes = table.to_bytes();
        let arguments = RawTable::from_validated_bytes(&bytes);
        match from_arguments(arguments, "queue 'q' in vhost '/'") {
            Ok(slow) => Ok(slow.map(|slow| {
                let has_own_window = slow.own_window.is_some();
                assert_eq!(has_own_window, slow.action == SlowAction::DropOldest);
                (slow.action, slow.limit, slow.limit_bytes)
            })),
            Err(refusal) => Err(refusal.reply_text()),
        }
    }

    #[test]
    fn limits_are_finite_unless_they_are_given() {
        assert_eq!(parse(&[]), Ok(None));
        assert_eq!(parse(&[(ACTION, Value::from("wait"))]), Ok(None));
        assert_eq!(
            parse(&[(ACTION, Value::from("close"))]),
            Ok(Some((SlowAction::Close, 1000, 1_048_576)))
        );
        assert_eq!(
            parse(&[
                (ACTION, Value::from("drop-oldest")),
                (LIMIT, Value::I32(5)),
                (LIMIT_BYTES, Value::I64(6)),
            ]),
            Ok(Some((SlowAction::DropOldest, 5, 6)))
        );
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (entries, text) in [
            (
                vec![(ACTION, Value::from("hurry"))],
                "PRECONDITION_FAILED - invalid arg 'x-slow-consumer' for queue 'q' in vhost '/': \"expected 'wait', \
                 'drop-oldest' or 'close', got 'hurry'\"",
            ),
            (
                vec![(ACTION, Value::Bool(true))],
                "PRECONDITION_FAILED - invalid arg 'x-slow-consumer' for queue 'q' in vhost '/': \"expected string, got \
                 bool\"",
            ),
            (
                vec![(ACTION, Value::from("close")), (LIMIT, Value::I32(0))],
                "PRECONDITION_FAILED - invalid arg 'x-slow-limit' for queue 'q' in vhost '/': \"expected positive \
                 integer\"",
            ),
            (
                vec![(LIMIT_BYTES, Value::I32(1))],
                "PRECONDITION_FAILED - invalid arg 'x-slow-limit-bytes' for queue 'q' in vhost '/': \"needs \
                 x-slow-consumer\"",
            ),
        ] {
            assert_eq!(parse(&entries), Err(text.to_owned()));
        }
    }
}
