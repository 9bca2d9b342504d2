//! What a question may take.

use std::time::Duration;

/// What asking a service may take, so that one that is slow, or not there, costs no more than that.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestLimits {
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a question may take in all: waiting for its turn, connecting, once more if need be, and the answer.
    pub request_timeout: Duration,
    /// How often a connection that could not be made is tried again. A question that has been sent is not sent again.
    pub connect_retries: u32,
    /// How many questions are asked at once; those beyond wait for their turn. At most half of them, and at least one, are
    /// about logins.
    pub concurrency_max: usize,
    /// How many bytes an answer may have. A longer one counts as none.
    pub answer_size_max: usize,
}

impl RequestLimits {
    /// For questions about users. The whole fits into the ten seconds that clients have to log in.
    pub(crate) fn for_questions() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(8),
            connect_retries: 2,
            concurrency_max: 64,
            // A word, some tags, or a reason.
            answer_size_max: 16 * 1024,
        }
    }

    /// For keys and where they are, which are few and may be some kilobytes each.
    #[cfg(feature = "oauth2")]
    pub(crate) fn for_keys() -> Self {
        Self {
            concurrency_max: 1,
            answer_size_max: 256 * 1024,
            ..Self::for_questions()
        }
    }
}
