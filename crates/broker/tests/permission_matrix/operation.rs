//! What there is to be done, and what rights it takes.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Configure,
    Write,
    Read,
}
use Right::{Configure, Read, Write};

impl Right {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Configure => "configure",
            Write => "write",
            Read => "read",
        }
    }
}

/// A right to a queue or exchange of this name. `TEMPORARY` and `GENERATED` stand for whatever the broker calls a queue.
pub(crate) type Grant = (Right, &'static str);

/// The queues of STOMP subscriptions to exchanges begin like this.
pub(crate) const TEMPORARY: &str = "stomp-subscription-";

/// Other queues to which the broker gives a name begin like this.
pub(crate) const GENERATED: &str = "amq.gen-";

macro_rules! operations {
    ($($name:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($name,)*
        }

        impl Operation {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

operations! {
    DeclareExchange,
    DeclareExchangeWithAlternate,
    DeclareExchangePassively,
    DeleteExchange,
    DeclareQueue,
    DeclareQueueWithDeadLetters,
    DeclareQueuePassively,
    DeleteQueue,
    BindQueue,
    UnbindQueue,
    BindExchange,
    UnbindExchange,
    PublishToExchange,
    PublishToDefault,
    PublishToTopic,
    Get,
    Consume,
    Purge,
    SendToQueue,
    SubscribeToQueue,
    SubscribeToTopic,
    SendForReply,
}
use Operation::*;

impl Operation {
    /// The table. In the order in which RabbitMQ looks, which tells what is missed first.
    pub(crate) fn needs(self) -> Vec<Grant> {
        match self {
            DeclareExchange | DeleteExchange => vec![(Configure, "x")],
            DeclareExchangeWithAlternate => vec![(Configure, "x"), (Read, "x"), (Write, "ae")],
            DeclareExchangePassively | DeclareQueuePassively => vec![],
            DeclareQueue | DeleteQueue => vec![(Configure, "q")],
            DeclareQueueWithDeadLetters => vec![(Configure, "q"), (Read, "q"), (Write, "dlx")],
            BindQueue | UnbindQueue => vec![(Write, "q"), (Read, "x")],
            BindExchange | UnbindExchange => vec![(Write, "y"), (Read, "x")],
            PublishToExchange => vec![(Write, "x")],
            PublishToDefault => vec![(Write, "amq.default")],
            PublishToTopic => vec![(Write, "amq.topic")],
            Get | Consume | Purge => vec![(Read, "q")],
            // STOMP declares the queue, then uses it.
            SendToQueue => [DeclareQueue.needs(), PublishToDefault.needs()].concat(),
            SubscribeToQueue => [DeclareQueue.needs(), Consume.needs()].concat(),
            // A queue is declared, consumed from, and bound.
            SubscribeToTopic => vec![
                (Configure, TEMPORARY),
                (Read, TEMPORARY),
                (Write, TEMPORARY),
                (Read, "amq.topic"),
            ],
            // A queue for the reply is declared and consumed from, and the message published.
            SendForReply => vec![(Configure, GENERATED), (Read, GENERATED), (Write, "x")],
        }
    }

    /// The names that it is about, and one that it is not.
    pub(crate) fn names(self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.needs().into_iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            names.push("z");
        }
        names
    }

    /// What has to be missing beforehand, because it is to be made.
    pub(crate) fn makes(self) -> Option<&'static str> {
        match self {
            DeclareExchange | DeclareExchangeWithAlternate => Some("x"),
            DeclareQueue | DeclareQueueWithDeadLetters => Some("q"),
            _ => None,
        }
    }
}
