//! AMQP 0-9-1 as RabbitMQ speaks it, as bytes.
#![cfg_attr(
    not(test),
    deny(
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod any_frame;
mod content;
mod encode;
mod error;
mod frame;
mod frame_error;
mod limits;
pub mod method;
mod properties;
mod protocol_header;
mod read;
mod reply_code;
mod short_str;
mod table;
mod write;

pub use any_frame::Frame;
pub use content::ContentHeader;
pub use encode::{
    write_body, write_body_frame_header, write_content_header, write_delivery, write_frame_end,
    write_heartbeat, write_method,
};
pub use error::{ContentError, DecodeError, MethodError, TableError};
pub use frame::{ChannelId, FRAME_HEADER_SIZE, FRAME_OVERHEAD, FrameKind, RawFrame};
pub use frame_error::{Excerpt, FrameError};
pub use limits::Limits;
pub use method::{DecodeMethod, EncodeMethod, Method};
pub use properties::{Peek, Properties, RawProperties};
pub use protocol_header::ProtocolHeader;
pub use reply_code::ReplyCode;
pub use short_str::{ShortStr, TooLong};
pub use table::{RawArray, RawArrayIter, RawTable, RawTableIter, Table, Value, ValueRef};
