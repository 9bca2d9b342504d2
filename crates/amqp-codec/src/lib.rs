//! AMQP 0-9-1 with RabbitMQ's extensions as bytes: an encoder and a decoder for both ends of a connection, without IO,
//! without a runtime, and without an allocation where it matters.
//!
//! # Reading
//!
//! [`RawFrame::decode`] takes the first frame off a buffer. What is in the frame is read by [`Method::decode`] and
//! [`ContentHeader::decode`]; the payload of a body frame is what it is. Texts, tables and bodies in the results are
//! borrowed from the buffer. [`Frame::decode`] does both steps at once.
//!
//! ```
//! use leveret_amqp_codec::{FrameKind, Limits, Method, RawFrame};
//! # use leveret_amqp_codec::{ChannelId, DecodeError, ShortStr, method::basic, write_heartbeat, write_method};
//!
//! # let mut from_peer = Vec::new();
//! # let publish = basic::Publish { routing_key: ShortStr::new("jobs").unwrap(), ..Default::default() };
//! # write_method(&mut from_peer, ChannelId(1), &publish);
//! # write_heartbeat(&mut from_peer);
//! # from_peer.truncate(from_peer.len() - 1);
//! # let mut chunks = from_peer.chunks(5);
//! # let mut read = |buffer: &mut Vec<u8>| chunks.next().map(|chunk| buffer.extend_from_slice(chunk)).is_some();
//! let limits = Limits::default();
//! let mut buffer: Vec<u8> = Vec::new();
//! let mut published = 0;
//! // Some function that appends what the socket has, false at the end of the stream.
//! while read(&mut buffer) {
//!     let mut start = 0;
//!     while let Some((frame, size)) = RawFrame::decode(&buffer[start..], &limits)? {
//!         if frame.kind == FrameKind::Method
//!             && let Method::BasicPublish(publish) = Method::decode(frame.payload, &limits)?
//!         {
//!             assert_eq!(publish.routing_key, "jobs");
//!             published += 1;
//!         }
//!         start += size;
//!     }
//!     // The beginning of the next frame stays, once for all the frames of a read.
//!     buffer.drain(..start);
//! }
//! assert_eq!(published, 1);
//! assert_eq!(buffer.len(), 7, "a heartbeat, but for its last byte");
//! # Ok::<(), DecodeError>(())
//! ```
//!
//! A small body is best copied out, so that it does not keep a large read buffer alive. A large one can be taken out of
//! a `BytesMut` without a copy, because a frame says where it ends and its payload stands [`FRAME_HEADER_SIZE`] from
//! its beginning:
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use leveret_amqp_codec::{FRAME_HEADER_SIZE, FrameError, FrameKind, Limits, RawFrame};
//! # use leveret_amqp_codec::{ChannelId, write_body};
//!
//! fn take_body(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Bytes>, FrameError> {
//!     let Some((frame, size)) = RawFrame::decode(buffer, limits)? else { return Ok(None) };
//!     assert_eq!(frame.kind, FrameKind::Body);
//!     let payload = FRAME_HEADER_SIZE..FRAME_HEADER_SIZE + frame.payload.len();
//!     Ok(Some(buffer.split_to(size).freeze().slice(payload)))
//! }
//!
//! # let mut sent = Vec::new();
//! # write_body(&mut sent, ChannelId(1), b"a large body", 0);
//! let mut buffer = BytesMut::from(sent.as_slice());
//! assert_eq!(take_body(&mut buffer, &Limits::default())?.as_deref(), Some(&b"a large body"[..]));
//! assert!(buffer.is_empty());
//! # Ok::<(), FrameError>(())
//! ```
//!
//! # Writing
//!
//! Everything is written to the end of a `Vec<u8>` and cannot fail. There is a struct for each method in the modules
//! under [`method`], which [`write_method`] makes a frame of. A message is a method, a content header and a body;
//! [`write_delivery`] writes the three that a broker writes most often at once.
//!
//! ```
//! use leveret_amqp_codec::{
//!     ChannelId, Properties, RawProperties, ShortStr, method::basic, write_body, write_content_header, write_method,
//! };
//!
//! const PERSISTENT: u8 = 2;
//! let properties = Properties { delivery_mode: Some(PERSISTENT), ..Properties::default() }.to_bytes();
//! let publish = basic::Publish { routing_key: ShortStr::from_static("jobs"), ..basic::Publish::default() };
//! let body = b"sweep the yard";
//!
//! let mut out = Vec::new();
//! let properties = RawProperties::from_validated_bytes(&properties);
//! write_method(&mut out, ChannelId(1), &publish);
//! write_content_header(&mut out, ChannelId(1), 60, body.len() as u64, properties);
//! write_body(&mut out, ChannelId(1), body, 131_072);
//! assert_eq!(out.len(), 21 + 23 + 22);
//! ```
//!
//! # Tables and properties
//!
//! The headers of a message and the arguments of a declaration are field tables. [`RawTable`] and [`RawProperties`]
//! look at them in the bytes they came in, which is also how they are handed on; [`Table`] and [`Properties`] are
//! for making them up and changing them.
//!
//! # At the edges
//!
//! - Bytes from a peer never panic. Work is linear in their number, and nothing is allocated for what is merely
//!   announced: decoding itself allocates nothing at all.
//! - Sizes, and the depth of tables, are limited by [`Limits`] and refused as soon as they are announced.
//! - Errors say which reply code they call for, and their texts are those of RabbitMQ where it has one. Where its
//!   connection merely breaks down (an unknown method, an undecodable table), the reply is 503 or 502.
//! - Decoding is strict about lengths: bytes after the last argument or property are an error. It is as lenient as
//!   RabbitMQ about texts: names and keys in methods must be UTF-8, in tables and most properties anything goes.
//! - Of the flags of properties only the fourteen that have a meaning may be set; a second word of flags is refused.
//!
//! # What it is not
//!
//! No client and no broker. Which frame may follow which, what was negotiated, and what a method does belong to whoever
//! calls.

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
#[doc(hidden)]
pub mod fuzzing;
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
    Delivery, write_body, write_body_frame_header, write_content_header, write_delivery,
    write_frame_end, write_heartbeat, write_method,
};
pub use error::{ContentError, DecodeError, MethodError, TableError};
pub use frame::{ChannelId, FRAME_END, FRAME_HEADER_SIZE, FRAME_OVERHEAD, FrameKind, RawFrame};
pub use frame_error::{Excerpt, FrameError};
pub use limits::Limits;
pub use method::{DecodeMethod, EncodeMethod, Method};
pub use properties::{Peek, Properties, RawProperties};
pub use protocol_header::ProtocolHeader;
pub use reply_code::ReplyCode;
pub use short_str::{ShortStr, TooLong};
pub use table::{RawArray, RawArrayIter, RawTable, RawTableIter, Table, Value, ValueRef};

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
