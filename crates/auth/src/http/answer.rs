//! What a service answers.

/// An answer that says whether something is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is; what follows the word are tags, where a user was asked about.
    Allow { tags: Vec<String> },
    /// It is not, for the reason that may have been given.
    Deny { reason: Option<String> },
}

/// What else came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotUnderstood {
    #[error("an answer with status {0}")]
    Status(u16),
    #[error("an answer that begins neither with allow nor with deny: {0:?}")]
    Words(String),
}

/// How much of an answer that is not understood is logged, in characters.
const LOGGED_MAX: usize = 100;

impl Verdict {
    /// RabbitMQ takes 200 and 201, and looks at the text in lower case and without what is blank around it.
    pub(super) fn of(status: u16, body: &[u8]) -> Result<Self, NotUnderstood> {
        if !matches!(status, 200 | 201) {
            return Err(NotUnderstood::Status(status));
        }
        let text = String::from_utf8_lossy(body).trim().to_lowercase();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        let rest = rest.trim();
        match word {
            "allow" => Ok(Self::Allow {
                tags: rest.split_whitespace().map(str::to_owned).collect(),
            }),
            "deny" => Ok(Self::Deny {
                reason: (!rest.is_empty()).then(|| rest.to_owned()),
            }),
            _ => Err(NotUnderstood::Words(
                text.chars().take(LOGGED_MAX).collect(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, want: Result<Verdict, NotUnderstood>) {
        assert_eq!(Verdict::of(status, body.as_bytes()), want, "{body:?}");
    }

    fn allow(tags: &[&str]) -> Result<Verdict, NotUnderstood> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Ok(Verdict::Allow { tags })
    }

    fn deny(reason: Option<&str>) -> Result<Verdict, NotUnderstood> {
        let reason = reason.map(str::to_owned);
        Ok(Verdict::Deny { reason })
    }

    #[test]
    fn allow_may_have_tags() {
        check(200, "allow", allow(&[]));
        check(201, " Allow\r\n", allow(&[]));
        check(
            200,
            "ALLOW Administrator  ops",
            allow(&["administrator", "ops"]),
        );
    }

    #[test]
    fn deny_may_have_a_reason() {
        check(200, "deny", deny(None));
        check(200, "Deny No such User\n", deny(Some("no such user")));
    }

    #[test]
    fn everything_else_is_not_understood() {
        let words = |text: &str| Err(NotUnderstood::Words(text.to_owned()));
        check(200, "", words(""));
        check(200, "allowed", words("allowed"));
        check(200, "denyallow", words("denyallow"));
        check(200, "<html>", words("<html>"));
        check(200, &"x".repeat(1000), words(&"x".repeat(LOGGED_MAX)));
        check(204, "allow", Err(NotUnderstood::Status(204)));
        check(301, "allow", Err(NotUnderstood::Status(301)));
        check(500, "deny", Err(NotUnderstood::Status(500)));
        let garbage = Verdict::of(200, b"\xff\xfe");
        assert_eq!(garbage, words("\u{fffd}\u{fffd}"));
    }
}
