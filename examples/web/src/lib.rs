//! What the web examples share: a login, a route whose WebSockets are the broker's, and the files of their pages.
//!
//! | Program | What it shows |
//! | --- | --- |
//! | `classroom` | a teacher with a durable queue, students, and a history that the application keeps itself |
//! | `chat` | rooms, conversations of two, typing, presence, and signalling for WebRTC |
//! | `chat_broker`, `chat_server` | the same chat with several web servers around one broker |
//!
//! In each, pages speak STOMP with [stompjs](https://stomp-js.github.io) on `/ws` of the server that they came from. Who
//! they are is what the cookie says that the login set; nothing in a page can change it. What they may do is in the
//! broker's accounts. A message's author is its `user-id` header, which the broker compares with the session's user.

pub mod chat;
pub mod login;
pub mod mount;
pub mod pages;
pub mod relay;
pub mod sessions;

/// What goes wrong while an example starts.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
