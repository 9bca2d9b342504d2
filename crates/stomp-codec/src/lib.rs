//! STOMP 1.0, 1.1 and 1.2 as bytes: a decoder and an encoder for both ends of a connection, without IO and without a
//! runtime.
//!
//! [`Decoder`] takes [`Frame`]s off the front of a growing buffer, [`Encoder`] appends them to one. Neither knows what a
//! frame means: subscriptions, transactions and receipts belong to whoever calls.
//!
//! ```
//! use bytes::BytesMut;
//! use leveret_stomp_codec::{Command, Decoder, Encoder, Limits, Version};
//!
//! let mut decoder = Decoder::new(Limits::default());
//! decoder.set_version(Version::V1_2);
//!
//! // A heart-beat, a frame, and the first bytes of another one.
//! let mut input = BytesMut::from("\nSEND\ndestination:/queue/a\nnote:a\\cb\n\nhello\0SUBSC");
//! let frame = decoder.decode(&mut input)?.expect("one frame is complete");
//! assert_eq!(frame.command, Command::Send);
//! assert_eq!(frame.headers.get("note"), Some("a:b"));
//! assert_eq!(frame.body, "hello");
//! assert_eq!(decoder.decode(&mut input)?, None);
//!
//! let mut encoder = Encoder::new();
//! encoder.set_version(Version::V1_2);
//! let mut out = Vec::new();
//! let mut writer = encoder.begin(&mut out, Command::Message);
//! writer.header("destination", "/queue/a");
//! writer.header("note", "a:b");
//! writer.finish(b"hello");
//! assert_eq!(out, b"MESSAGE\ndestination:/queue/a\nnote:a\\cb\ncontent-length:5\n\nhello\0\n");
//! # Ok::<(), leveret_stomp_codec::DecodeError>(())
//! ```
//!
//! # At the edges
//!
//! - Bytes from a peer never panic and cost time linear in their number however they are cut into pieces. Nothing is
//!   allocated for what is merely announced. Every part of a frame has a limit, see [`Limits`], which is checked when a
//!   size is announced or as soon as too much has arrived.
//! - Headers and body are slices of the input. Only a frame that really contains escapes has its headers copied. Whoever
//!   keeps a small slice for long should copy it, or it keeps the whole read buffer alive.
//! - A value that comes from elsewhere cannot end a header, a frame, or smuggle in another one when it is written. What
//!   the negotiated version cannot express is written as a space; [`Encoder`] says when.
//! - Header names and values are UTF-8 in STOMP 1.1 and 1.2. Version 1.0 does not say; it is held to the same.
//! - The standard and RabbitMQ disagree about escapes in old versions and in CONNECT: [`Escaping`] chooses.
//!
//! # What it is not
//!
//! No client and no server, and no knowledge of which headers a command needs. WebSocket messages are to be fed as one
//! stream of bytes: their boundaries mean nothing to STOMP.

#![cfg_attr(
    not(test),
    deny(
        clippy::cast_possible_truncation,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

mod body;
mod command;
mod decoder;
mod encoder;
mod error;
mod escape;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod head;
mod headers;
mod heart_beat;
mod limits;
mod version;

pub use command::Command;
pub use decoder::Decoder;
pub use encoder::{Encoder, FrameWriter, HEART_BEAT};
pub use error::DecodeError;
pub use escape::Escaping;
pub use frame::Frame;
pub use headers::{Headers, Iter};
pub use heart_beat::{HeartBeat, InvalidHeartBeat};
pub use limits::Limits;
pub use version::Version;

/// Runs the example of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
