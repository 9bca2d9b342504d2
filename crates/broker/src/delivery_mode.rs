//! The property `delivery-mode`: 1 for messages that need not outlive a restart, 2 for those that shall.

use leveret_amqp_codec::Peek;

use crate::error::Refusal;

/// Whether a message is to be kept on disk where its queue is.
///
/// # Errors
/// 406 with RabbitMQ's text for a mode that is neither 1 nor 2.
pub(crate) fn is_persistent(peek: &Peek<'_>) -> Result<bool, Refusal> {
    match peek.delivery_mode {
        None | Some(1) => Ok(false),
        Some(2) => Ok(true),
        Some(mode) => Err(Refusal::precondition_failed(format!(
            "invalid message: {{delivery_mode_unknown,{mode}}}"
        ))),
    }
}
