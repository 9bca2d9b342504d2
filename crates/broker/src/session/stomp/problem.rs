//! What goes wrong in a session, as the ERROR frame that tells of it (behaviour reference, section 20.8).

use std::borrow::Cow;

use leveret_stomp_codec::DecodeError;

use crate::access::OwnedQuestion;
use crate::error::Refusal;

/// Why a frame was not obeyed.
///
/// Misuse of the protocol leaves the session open, as RabbitMQ does and clients have come to rely on. What the virtual
/// host refuses ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    title: Cow<'static, str>,
    detail: String,
    ends_session: bool,
    /// What has to be asked before it is known whether there is a problem at all.
    questions: Option<Vec<OwnedQuestion>>,
}

impl Problem {
    /// A mistake after which the session goes on.
    pub(super) fn new(title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            detail: detail.into(),
            ends_session: false,
            questions: None,
        }
    }

    /// A mistake that ends the session.
    pub(super) fn fatal(title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            ends_session: true,
            ..Self::new(title, detail)
        }
    }

    /// Something other than a mistake that ends the session; the title is made up from what happened.
    pub(super) fn titled(title: String, detail: String) -> Self {
        Self {
            title: title.into(),
            detail,
            ends_session: true,
            questions: None,
        }
    }

    /// What RabbitMQ says of headers that it cannot read: numbers that are none, names that are too long.
    pub(super) fn processing() -> Self {
        Self::new("Processing error", "Processing error")
    }

    /// What has to be asked before the frame is obeyed again; none when it is a problem.
    pub(super) fn take_questions(&mut self) -> Option<Vec<OwnedQuestion>> {
        self.questions.take()
    }

    /// Whether it is still to be asked if this is a problem.
    pub(super) fn is_open(&self) -> bool {
        self.questions.is_some()
    }

    /// The `message` header.
    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// The body.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn ends_session(&self) -> bool {
        self.ends_session
    }
}

/// What an AMQP client would be told before its channel is closed; the title is the code in lower case.
impl From<Refusal> for Problem {
    fn from(mut refusal: Refusal) -> Self {
        let text = refusal.reply_text();
        let code = text.split(" - ").next().unwrap_or_default();
        Self {
            questions: refusal.take_questions(),
            ..Self::titled(code.to_ascii_lowercase(), text)
        }
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self {
            title: error.title().into(),
            detail: error.detail(),
            ends_session: error.is_fatal(),
            questions: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_titled_by_its_code_and_ends_the_session() {
        let problem = Problem::from(Refusal::not_found("no queue 'q' in vhost '/'"));
        assert_eq!(problem.title(), "not_found");
        assert_eq!(problem.detail(), "NOT_FOUND - no queue 'q' in vhost '/'");
        assert!(problem.ends_session());
    }
}
