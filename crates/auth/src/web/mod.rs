//! Asking services over HTTP, within bounds.

mod address;
mod client;
mod limits;

pub(crate) use address::Address;
#[cfg(feature = "http")]
pub(crate) use client::Answer;
pub(crate) use client::{NoAnswer, Question, WebClient};
pub use limits::RequestLimits;
