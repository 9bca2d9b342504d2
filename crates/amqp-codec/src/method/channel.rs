//! Class channel (20): opening and closing channels, and pausing them.

use super::arguments::method;
use crate::ShortStr;

method! {
    /// Opens the channel that the frame is on.
    pub struct Open {}
    = "channel.open" (20, 10): reserved(ShortStr<'_>)
}

method! {
    /// The channel can be used.
    pub struct OpenOk {}
    = "channel.open-ok" (20, 11): reserved(&[u8])
}

method! {
    /// Asks the peer to stop or go on sending contents.
    pub struct Flow {
        /// Whether to go on.
        pub active: bool,
    }
    = "channel.flow" (20, 20): bits(active)
}

method! {
    /// The answer to [`Flow`].
    pub struct FlowOk {
        /// Whether contents are sent from here on.
        pub active: bool,
    }
    = "channel.flow-ok" (20, 21): bits(active)
}

method! {
    /// Either side ends the channel.
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
    = "channel.close" (20, 40): field(reply_code), field(reply_text), field(class_id), field(method_id)
}

method! {
    /// The channel is over; its number can be used again.
    pub struct CloseOk {}
    = "channel.close-ok" (20, 41):
}
