//! Methods: what peers ask of and answer to each other. One module a class.
//!
//! Each method is a struct with its arguments as public fields in the order of the wire, reserved arguments left out.
//! All implement [`Default`], with empty texts and tables, zeros and unset bits.

mod any;
mod arguments;

pub mod access;
pub mod basic;
pub mod channel;
pub mod confirm;
pub mod connection;
pub mod exchange;
pub mod queue;
pub mod tx;

pub use any::Method;

use crate::{Limits, MethodError};

mod sealed {
    #[expect(unnameable_types, reason = "so that nobody else can implement it")]
    pub trait Sealed {}
}

/// A method that can be written. Implemented by every method of this crate, and by nothing else.
pub trait EncodeMethod: sealed::Sealed {
    /// The number of the method's class.
    const CLASS_ID: u16;
    /// The number of the method within its class.
    const METHOD_ID: u16;
    /// The name as AMQP has it, such as `basic.publish`.
    const NAME: &'static str;

    /// Writes the arguments to the end of `out`, without the class and method id before them.
    fn encode_arguments(&self, out: &mut Vec<u8>);
}

/// A method that can be read. Implemented by every method of this crate, and by nothing else.
pub trait DecodeMethod<'a>: EncodeMethod + Sized {
    /// Reads the arguments, all of which `arguments` must be: a method frame's payload after class and method id.
    ///
    /// # Errors
    ///
    /// When the arguments end too early or too late, or one of them is malformed.
    fn decode_arguments(arguments: &'a [u8], limits: &Limits) -> Result<Self, MethodError>;
}
