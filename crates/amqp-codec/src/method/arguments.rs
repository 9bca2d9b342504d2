//! How the arguments of methods are read and written, and the macro that declares methods.

use crate::read::{Reader, Truncated};
use crate::write::{put_long, put_prefixed, put_short};
use crate::{Limits, MethodError, RawTable, ShortStr, TableError};

/// A type that arguments of methods have.
pub(super) trait Argument<'a>: Sized {
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, ArgumentError>;
    fn write(&self, out: &mut Vec<u8>);
}

/// Why an argument cannot be read; the method it belongs to is added where it is known.
pub(super) enum ArgumentError {
    Truncated,
    MalformedUtf8,
    Table(TableError),
}

impl ArgumentError {
    #[cold]
    pub(super) fn of(self, method: &'static str) -> MethodError {
        match self {
            Self::Truncated => MethodError::Truncated { method },
            Self::MalformedUtf8 => MethodError::MalformedUtf8 { method },
            Self::Table(error) => MethodError::Table { method, error },
        }
    }
}

impl From<Truncated> for ArgumentError {
    fn from(_: Truncated) -> Self {
        Self::Truncated
    }
}

macro_rules! integer_argument {
    ($($integer:ident),*) => {$(
        impl<'a> Argument<'a> for $integer {
            #[inline]
            fn read(reader: &mut Reader<'a>, _: &Limits) -> Result<Self, ArgumentError> {
                Ok(reader.$integer()?)
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

integer_argument!(u8, u16, u32, u64);

impl<'a> Argument<'a> for ShortStr<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>, _: &Limits) -> Result<Self, ArgumentError> {
        ShortStr::from_utf8(reader.short()?).ok_or(ArgumentError::MalformedUtf8)
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        put_short(out, self.as_bytes());
    }
}

/// A long string, of which AMQP 4.2.5.3 does not say that it is text.
impl<'a> Argument<'a> for &'a [u8] {
    #[inline]
    fn read(reader: &mut Reader<'a>, _: &Limits) -> Result<Self, ArgumentError> {
        Ok(reader.long()?)
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        put_long(out, self);
    }
}

impl<'a> Argument<'a> for RawTable<'a> {
    #[inline]
    fn read(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, ArgumentError> {
        RawTable::decode(reader.long()?, limits).map_err(ArgumentError::Table)
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        put_prefixed(out, |out| out.extend_from_slice(self.as_bytes()));
    }
}

/// AMQP 4.2.5.2: bits that stand side by side share an octet, the first in the lowest place. No method has more than
/// eight.
#[derive(Clone, Copy)]
pub(super) struct BitReader(u8);

impl BitReader {
    #[inline]
    pub(super) fn new(octet: u8) -> Self {
        Self(octet)
    }

    #[inline]
    pub(super) fn take(&mut self) -> bool {
        let bit = self.0 & 1 != 0;
        self.0 >>= 1;
        bit
    }
}

/// The inverse of [`BitReader`].
#[derive(Clone, Copy)]
pub(super) struct BitWriter {
    octet: u8,
    count: u32,
}

impl BitWriter {
    #[inline]
    pub(super) fn new() -> Self {
        Self { octet: 0, count: 0 }
    }

    #[inline]
    pub(super) fn with(self, bit: bool) -> Self {
        Self {
            octet: self.octet | u8::from(bit) << self.count,
            count: self.count + 1,
        }
    }

    #[inline]
    pub(super) fn octet(self) -> u8 {
        self.octet
    }
}

/// Declares a method: a struct with its arguments as fields, and then what stands on the wire in which order.
///
/// - `field(name)` is the field of that name,
/// - `bits(name, ...)` are boolean fields that share an octet,
/// - `reserved(type)` is an argument that AMQP no longer uses: skipped when read, zero or empty when written.
macro_rules! method {
    (
        $(#[$meta:meta])*
        pub struct $name:ident $(<$lifetime:lifetime>)? { $($fields:tt)* }
        = $wire_name:literal ($class_id:literal, $method_id:literal): $($kind:ident($($what:tt)*)),*
    ) => {
        $crate::method::arguments::declare! { [$(#[$meta])*] $name $(<$lifetime>)? { $($fields)* } }

        impl $(<$lifetime>)? $crate::method::sealed::Sealed for $name $(<$lifetime>)? {}

        impl $(<$lifetime>)? $crate::EncodeMethod for $name $(<$lifetime>)? {
            const CLASS_ID: u16 = $class_id;
            const METHOD_ID: u16 = $method_id;
            const NAME: &'static str = $wire_name;

            #[inline]
            #[allow(unused_variables, reason = "some methods have no arguments")]
            fn encode_arguments(&self, out: &mut Vec<u8>) {
                $($crate::method::arguments::write_argument!(self, out, $kind($($what)*));)*
            }
        }

        impl<'a> $crate::DecodeMethod<'a> for $name $(<$lifetime>)? {
            #[inline]
            #[allow(unused_variables, reason = "some methods have no arguments")]
            fn decode_arguments(arguments: &'a [u8], limits: &$crate::Limits) -> Result<Self, $crate::MethodError> {
                $crate::method::arguments::decode(arguments, $wire_name, |reader| {
                    $($crate::method::arguments::read_argument!(reader, limits, $kind($($what)*));)*
                    Ok($crate::method::arguments::build!($name { $($fields)* }))
                })
            }
        }
    };
}

/// The struct itself.
macro_rules! declare {
    ([$($meta:tt)*] $name:ident {}) => {
        $($meta)*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name;
    };
    ([$($meta:tt)*] $name:ident $(<$lifetime:lifetime>)? { $($fields:tt)* }) => {
        $($meta)*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name $(<$lifetime>)? { $($fields)* }
    };
}

/// The struct made of variables that are called like its fields.
macro_rules! build {
    ($name:ident { $($(#[$meta:meta])* pub $field:ident: $ty:ty),* $(,)? }) => {
        $name { $($field),* }
    };
}

macro_rules! read_argument {
    ($reader:ident, $limits:ident, field($field:ident)) => {
        let $field = $crate::method::arguments::Argument::read($reader, $limits)?;
    };
    ($reader:ident, $limits:ident, bits($($field:ident),+)) => {
        let mut bits = $crate::method::arguments::BitReader::new($reader.u8()?);
        $(let $field = bits.take();)+
    };
    ($reader:ident, $limits:ident, reserved($ty:ty)) => {
        <$ty as $crate::method::arguments::Argument<'_>>::read($reader, $limits)?;
    };
}

macro_rules! write_argument {
    ($method:ident, $out:ident, field($field:ident)) => {
        $crate::method::arguments::Argument::write(&$method.$field, $out)
    };
    ($method:ident, $out:ident, bits($($field:ident),+)) => {
        $out.push($crate::method::arguments::BitWriter::new()$(.with($method.$field))+.octet())
    };
    ($method:ident, $out:ident, reserved($ty:ty)) => {
        $crate::method::arguments::Argument::write(&<$ty>::default(), $out)
    };
}

pub(super) use {build, declare, method, read_argument, write_argument};

/// Reads all of `arguments` and sees to it that nothing follows.
#[inline]
pub(super) fn decode<'a, M>(
    arguments: &'a [u8],
    name: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<M, ArgumentError>,
) -> Result<M, MethodError> {
    let mut reader = Reader::new(arguments);
    match read(&mut reader) {
        Ok(method) if reader.is_empty() => Ok(method),
        Ok(_) => Err(MethodError::TrailingBytes {
            method: name,
            count: reader.rest().len(),
        }),
        Err(error) => Err(error.of(name)),
    }
}
