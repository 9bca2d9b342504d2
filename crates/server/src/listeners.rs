//! Where the server is to listen, as flags.

use clap::Args;

use crate::address::ListenAddress;

/// Makes [`ListenArgs`] of one line for each: the comment is the line of `--help`, then come the flag and the environment
/// variable.
macro_rules! listeners {
    ($($(#[$comment:meta])* $name:ident, $variable:literal;)*) => {
        /// The flags of listeners.
        #[derive(Clone, Debug, Default, Args)]
        pub(crate) struct ListenArgs {
            $(
                $(#[$comment])*
                #[arg(
                    long,
                    value_name = "HOST:PORT",
                    env = $variable,
                    hide_env_values = true,
                    value_delimiter = ','
                )]
                pub(crate) $name: Vec<ListenAddress>,
            )*
        }
    };
}

listeners! {
    /// Where to listen for AMQP 0-9-1; may be repeated
    amqp, "LEVERET_AMQP";
    /// Where to listen for STOMP 1.0 to 1.2; may be repeated
    stomp, "LEVERET_STOMP";
    /// Where to listen for STOMP or AMQP over WebSocket
    stomp_ws, "LEVERET_STOMP_WS";
    /// Where to listen for AMQP over TLS
    amqps, "LEVERET_AMQPS";
    /// Where to listen for STOMP over TLS
    stomps, "LEVERET_STOMPS";
    /// Where to listen for WebSockets over TLS
    stomp_wss, "LEVERET_STOMP_WSS";
}
