//! Class connection (10): greeting, login, agreement on limits, closing.

use super::arguments::method;
use crate::{RawTable, ShortStr};

method! {
    /// The server greets and offers ways to log in.
    pub struct Start<'a> {
        /// The protocol version, 0 for 0-9-1.
        pub version_major: u8,
        /// The protocol version, 9 for 0-9-1.
        pub version_minor: u8,
        /// What the server is and can do; clients look into `capabilities`.
        pub server_properties: RawTable<'a>,
        /// The SASL mechanisms, separated by spaces.
        pub mechanisms: &'a [u8],
        /// The languages for texts, separated by spaces.
        pub locales: &'a [u8],
    }
    = "connection.start" (10, 10):
    field(version_major), field(version_minor), field(server_properties), field(mechanisms), field(locales)
}

method! {
    /// The client chooses how to log in and does so.
    pub struct StartOk<'a> {
        /// What the client is and can do; brokers look into `capabilities`.
        pub client_properties: RawTable<'a>,
        /// The SASL mechanism that was chosen.
        pub mechanism: ShortStr<'a>,
        /// What the mechanism has the client say; for AMQPLAIN the bytes of a table.
        pub response: &'a [u8],
        /// The language that was chosen.
        pub locale: ShortStr<'a>,
    }
    = "connection.start-ok" (10, 11):
    field(client_properties), field(mechanism), field(response), field(locale)
}

method! {
    /// The server wants to hear more, for mechanisms of several steps.
    pub struct Secure<'a> {
        /// What the mechanism has the server say.
        pub challenge: &'a [u8],
    }
    = "connection.secure" (10, 20): field(challenge)
}

method! {
    /// The client's answer to [`Secure`].
    pub struct SecureOk<'a> {
        /// What the mechanism has the client say.
        pub response: &'a [u8],
    }
    = "connection.secure-ok" (10, 21): field(response)
}

method! {
    /// The server proposes limits.
    pub struct Tune {
        /// The highest channel number, 0 for no limit.
        pub channel_max: u16,
        /// The largest frame in bytes, overhead included, 0 for no limit.
        pub frame_max: u32,
        /// How often a sign of life is wanted, in seconds, 0 for never.
        pub heartbeat: u16,
    }
    = "connection.tune" (10, 30): field(channel_max), field(frame_max), field(heartbeat)
}

method! {
    /// The client's choice within [`Tune`], which holds from here on.
    pub struct TuneOk {
        /// The highest channel number.
        pub channel_max: u16,
        /// The largest frame in bytes, overhead included.
        pub frame_max: u32,
        /// How often a sign of life is wanted, in seconds, 0 for never.
        pub heartbeat: u16,
    }
    = "connection.tune-ok" (10, 31): field(channel_max), field(frame_max), field(heartbeat)
}

method! {
    /// The client enters a virtual host.
    pub struct Open<'a> {
        /// Its name.
        pub virtual_host: ShortStr<'a>,
    }
    = "connection.open" (10, 40): field(virtual_host), reserved(ShortStr<'_>), reserved(u8)
}

method! {
    /// The client is in and may open channels.
    pub struct OpenOk {}
    = "connection.open-ok" (10, 41): reserved(ShortStr<'_>)
}

method! {
    /// Either side ends the connection.
    pub struct Close<'a> {
        /// Why; see [`ReplyCode`](crate::ReplyCode).
        pub reply_code: u16,
        /// Why, for people.
        pub reply_text: ShortStr<'a>,
        /// The class of the method that failed, 0 if none did.
        pub class_id: u16,
        /// The method that failed, 0 if none did.
        pub method_id: u16,
    }
    = "connection.close" (10, 50): field(reply_code), field(reply_text), field(class_id), field(method_id)
}

method! {
    /// The connection is over, and nothing follows.
    pub struct CloseOk {}
    = "connection.close-ok" (10, 51):
}

method! {
    /// RabbitMQ: the server does not read what is published for now.
    pub struct Blocked<'a> {
        /// Which resource is scarce.
        pub reason: ShortStr<'a>,
    }
    = "connection.blocked" (10, 60): field(reason)
}

method! {
    /// RabbitMQ: the end of [`Blocked`].
    pub struct Unblocked {}
    = "connection.unblocked" (10, 61):
}

method! {
    /// RabbitMQ: the client renews a password or token that is about to expire.
    pub struct UpdateSecret<'a> {
        /// The new password or token.
        pub new_secret: &'a [u8],
        /// Why, for people.
        pub reason: ShortStr<'a>,
    }
    = "connection.update-secret" (10, 70): field(new_secret), field(reason)
}

method! {
    /// The new secret is good.
    pub struct UpdateSecretOk {}
    = "connection.update-secret-ok" (10, 71):
}
