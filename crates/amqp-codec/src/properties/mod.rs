//! The properties of a message: what its content header says beside the size.
//!
//! What a peer sent is looked at and handed on in place as [`RawProperties`]. What a program makes up or changes are
//! [`Properties`].

mod owned;
mod peek;
mod raw;
mod walk;

pub use owned::Properties;
pub use peek::Peek;
pub use raw::RawProperties;
