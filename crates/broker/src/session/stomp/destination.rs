//! Destinations: what a client may name, and how messages are named to it (behaviour reference, section 20.3).

use std::borrow::Cow;

use super::problem::Problem;
use crate::percent;

/// The exchange behind `/topic/`.
pub(super) const TOPIC_EXCHANGE: &str = "amq.topic";

/// How RabbitMQ lists what it understands.
const KNOWN: &str = "/temp-queue, /exchange, /topic, /queue, /amq/queue, /reply-queue/";

/// What an address in `reply-to` begins with when a STOMP client can send to it as it is.
const PREFIXES: [&str; 6] = [
    "/temp-queue/",
    "/exchange/",
    "/topic/",
    "/queue/",
    "/amq/queue/",
    "/reply-queue/",
];

/// A slash within a name.
const SLASH: &str = "%2F";

/// Names of queues and exchanges, and routing keys, have at most this many bytes (AMQP 4.2.5.3, short strings).
pub(super) const NAME_SIZE_MAX: usize = 255;

/// Where a SEND goes to or a SUBSCRIBE reads from, with the names decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination<'a> {
    /// `/queue/NAME`: a queue that is declared by whoever uses it.
    Queue(Cow<'a, str>),
    /// `/amq/queue/NAME`: a queue that others declare.
    AmqQueue(Cow<'a, str>),
    /// `/topic/KEY`.
    Topic(Cow<'a, str>),
    /// `/exchange/NAME` or `/exchange/NAME/KEY`; the key is empty in the first.
    Exchange {
        name: Cow<'a, str>,
        key: Cow<'a, str>,
    },
    /// `/temp-queue/NAME`: a name that the session knows alone, for replies.
    TempQueue(Cow<'a, str>),
    /// `/reply-queue/NAME`: the queue of another's temporary one.
    ReplyQueue(Cow<'a, str>),
}

impl<'a> Destination<'a> {
    /// Reads the value of a `destination` header. A name without any slash is a queue's.
    ///
    /// # Errors
    /// In RabbitMQ's words when the kind is unknown, a name is missing, or there is a slash too many, which in a name is
    /// written `%2F`. Names that are longer than AMQP allows are processing errors.
    pub(super) fn parse(text: &'a str) -> Result<Self, Problem> {
        if text.is_empty() {
            return Err(Problem::new(
                "Invalid destination",
                "Destination cannot be blank",
            ));
        }
        let Some(path) = text.strip_prefix('/') else {
            return match text.contains('/') {
                true => Err(unknown(text)),
                false => Ok(Self::Queue(decode(text)?)),
            };
        };
        let (kind, rest) = match path.split_once('/') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (path, None),
        };
        match (kind, rest) {
            ("queue", rest) => Ok(Self::Queue(one_name("queue", rest)?)),
            ("topic", rest) => Ok(Self::Topic(one_name("topic", rest)?)),
            ("temp-queue", rest) => Ok(Self::TempQueue(one_name("temp_queue", rest)?)),
            ("exchange", rest) => Self::parse_exchange(rest),
            // Whatever follows is the name, slashes included.
            ("reply-queue", Some("")) => Err(invalid("reply_queue", rest)),
            ("reply-queue", Some(name)) => Ok(Self::ReplyQueue(decode(name)?)),
            ("amq", Some("queue")) => Err(invalid("amqqueue", None)),
            ("amq", Some(rest)) => match rest.strip_prefix("queue/") {
                Some(name) => Ok(Self::AmqQueue(one_name("amqqueue", Some(name))?)),
                None => Err(unknown(text)),
            },
            _ => Err(unknown(text)),
        }
    }

    fn parse_exchange(rest: Option<&'a str>) -> Result<Self, Problem> {
        let path = rest.unwrap_or_default();
        let (name, key) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() || key.contains('/') {
            return Err(invalid("exchange", rest));
        }
        Ok(Self::Exchange {
            name: decode(name)?,
            key: decode(key)?,
        })
    }

    /// The exchange and key that the queue of a subscription is bound to; none where the subscription is to a queue itself.
    pub(super) fn source(&self) -> Option<(&str, &str)> {
        match self {
            Self::Topic(_) | Self::Exchange { .. } => self.address(),
            _ => None,
        }
    }

    /// The exchange and routing key that a message for it is published with. A temporary queue has none: only its
    /// session knows its real name.
    pub(super) fn address(&self) -> Option<(&str, &str)> {
        match self {
            Self::Queue(name) | Self::AmqQueue(name) | Self::ReplyQueue(name) => Some(("", name)),
            Self::Topic(key) => Some((TOPIC_EXCHANGE, key)),
            Self::Exchange { name, key } => Some((name, key)),
            Self::TempQueue(_) => None,
        }
    }
}

/// Appends the destination that a message was published to, with names percent-encoded as RabbitMQ does.
pub(super) fn write_published_to(out: &mut String, exchange: &str, routing_key: &str) {
    match exchange {
        "" => out.push_str("/queue/"),
        TOPIC_EXCHANGE => out.push_str("/topic/"),
        _ => {
            out.push_str("/exchange/");
            encode(out, exchange);
            if routing_key.is_empty() {
                return;
            }
            out.push('/');
        }
    }
    encode(out, routing_key);
}

/// Whether an address in `reply-to` already is a destination.
pub(super) fn is_destination(address: &str) -> bool {
    PREFIXES.iter().any(|prefix| address.starts_with(prefix))
}

fn one_name<'a>(kind: &'static str, rest: Option<&'a str>) -> Result<Cow<'a, str>, Problem> {
    match rest {
        Some(name) if !name.is_empty() && !name.contains('/') => decode(name),
        _ => Err(invalid(kind, rest)),
    }
}

/// Resolves `%2F`, the only escape that RabbitMQ reads: every other stands for itself, even what [`encode`] writes.
fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    let decoded = match text.contains(SLASH) {
        true => Cow::Owned(text.replace(SLASH, "/")),
        false => Cow::Borrowed(text),
    };
    if decoded.len() > NAME_SIZE_MAX {
        return Err(Problem::processing());
    }
    Ok(decoded)
}

/// Appends a name, with slashes, percent signs, control characters and every byte that is not ASCII percent-encoded.
fn encode(out: &mut String, name: &str) {
    let is_plain = |byte: u8| !matches!(byte, b'/' | b'%' | ..b' ' | 0x80..);
    if name.bytes().all(is_plain) {
        out.push_str(name);
        return;
    }
    for byte in name.bytes() {
        match is_plain(byte) {
            true => out.push(char::from(byte)),
            false => percent::encode(out, byte),
        }
    }
}

fn invalid(kind: &str, rest: Option<&str>) -> Problem {
    let path = rest.map(|rest| format!("/{rest}")).unwrap_or_default();
    Problem::new(
        "Invalid destination",
        format!("'{path}' is not a valid {kind} destination\n"),
    )
}

fn unknown(text: &str) -> Problem {
    Problem::new(
        "Unknown destination",
        format!("'{text}' is not a valid destination.\nValid destination types are: {KNOWN}.\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Destination<'_>) {
        assert_eq!(Destination::parse(text), Ok(want), "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, title: &str, words: &str) {
        let problem = Destination::parse(text).expect_err(text);
        assert_eq!(problem.title(), title, "{text}");
        assert!(
            problem.detail().starts_with(words),
            "{text}: {}",
            problem.detail()
        );
    }

    #[test]
    fn each_kind_has_its_names() {
        check("/queue/a", Destination::Queue("a".into()));
        check("plain name", Destination::Queue("plain name".into()));
        check("/amq/queue/a", Destination::AmqQueue("a".into()));
        check("/topic/a.*.#", Destination::Topic("a.*.#".into()));
        check("/temp-queue/a", Destination::TempQueue("a".into()));
        check("/reply-queue/a/b", Destination::ReplyQueue("a/b".into()));
        let exchange = |name: &'static str, key: &'static str| Destination::Exchange {
            name: name.into(),
            key: key.into(),
        };
        check("/exchange/x", exchange("x", ""));
        check("/exchange/x/", exchange("x", ""));
        check("/exchange/x/k", exchange("x", "k"));
    }

    #[test]
    fn an_escaped_slash_is_decoded_after_splitting_and_nothing_else_is() {
        check("/queue/a%2Fb%2f%25", Destination::Queue("a/b%2f%25".into()));
        check("/queue/%C3%A9%ff", Destination::Queue("%C3%A9%ff".into()));
        check("/queue/%%2F%252F", Destination::Queue("%/%252F".into()));
        check("/queue/a%zz%2", Destination::Queue("a%zz%2".into()));
        check(
            "/reply-queue/a%2F/é",
            Destination::ReplyQueue("a//é".into()),
        );
    }

    #[test]
    fn names_are_as_long_as_amqp_allows_and_no_longer() {
        let longest = "q".repeat(255);
        check(
            &format!("/queue/{longest}"),
            Destination::Queue(longest.as_str().into()),
        );
        check_refused(&format!("/queue/{longest}q"), "Processing error", "");
        check_refused(&format!("/exchange/x/{longest}q"), "Processing error", "");
    }

    #[test]
    fn refusals_are_worded_as_rabbitmq_words_them() {
        let invalid = "Invalid destination";
        check_refused("", invalid, "Destination cannot be blank");
        check_refused("/queue", invalid, "'' is not a valid queue destination\n");
        check_refused("/queue/", invalid, "'/' is not a valid queue destination\n");
        check_refused(
            "/topic/a/b",
            invalid,
            "'/a/b' is not a valid topic destination\n",
        );
        check_refused(
            "/exchange",
            invalid,
            "'' is not a valid exchange destination\n",
        );
        check_refused(
            "/exchange//x",
            invalid,
            "'//x' is not a valid exchange destination\n",
        );
        check_refused(
            "/exchange/a/b/c",
            invalid,
            "'/a/b/c' is not a valid exchange destination\n",
        );
        check_refused(
            "/temp-queue/",
            invalid,
            "'/' is not a valid temp_queue destination\n",
        );
        check_refused(
            "/reply-queue/",
            invalid,
            "'/' is not a valid reply_queue destination\n",
        );
        check_refused(
            "/amq/queue/x/y",
            invalid,
            "'/x/y' is not a valid amqqueue destination\n",
        );
        for unknown in ["/", "/reply-queue", "/amq/foo", "/amq", "a/b", "/Queue/a"] {
            let words = format!("'{unknown}' is not a valid destination.\nValid destination types");
            check_refused(unknown, "Unknown destination", &words);
        }
    }

    #[test]
    fn messages_are_named_by_where_they_were_published() {
        let named = |exchange, key| {
            let mut out = String::new();
            write_published_to(&mut out, exchange, key);
            out
        };
        assert_eq!(named("", "a/b%"), "/queue/a%2Fb%25");
        assert_eq!(named("amq.topic", "a b.c"), "/topic/a b.c");
        assert_eq!(named("", "é~\u{7f}"), "/queue/%C3%A9~\u{7f}");
        assert_eq!(named("", "\0a\n\u{80}"), "/queue/%00a%0A%C2%80");
        assert_eq!(named("x/y", "k"), "/exchange/x%2Fy/k");
        assert_eq!(named("x", ""), "/exchange/x");
    }
}
