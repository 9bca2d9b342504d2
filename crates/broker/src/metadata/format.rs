//! Keys and values of the store as bytes. FORMAT.md beside the crate describes them byte by byte.
//!
//! Reading never panics: bytes that make no sense are an error that says what is wrong with them.

use super::{BindingRecord, ExchangeRecord, QueueRecord, VhostKey};

/// The version of each value, in its first byte. A value with another one was written by a newer leveret.
pub(super) const VALUE_VERSION: u8 = 1;

const AUTO_DELETE: u8 = 1;
const INTERNAL: u8 = 2;

const TO_QUEUE: u8 = 0;
const TO_EXCHANGE: u8 = 1;

/// The tables of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Table {
    Vhosts,
    Exchanges,
    Queues,
    Bindings,
    VhostLimits,
    Users,
    Permissions,
    TopicPermissions,
    Settings,
}

#[cfg(feature = "journal")]
impl Table {
    pub(super) const ALL: [Self; 9] = [
        Self::Vhosts,
        Self::Exchanges,
        Self::Queues,
        Self::Bindings,
        Self::VhostLimits,
        Self::Users,
        Self::Permissions,
        Self::TopicPermissions,
        Self::Settings,
    ];

    /// Its name in the file.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Vhosts => "vhosts",
            Self::Exchanges => "exchanges",
            Self::Queues => "queues",
            Self::Bindings => "bindings",
            Self::VhostLimits => "vhost limits",
            Self::Users => "users",
            Self::Permissions => "permissions",
            Self::TopicPermissions => "topic permissions",
            Self::Settings => "settings",
        }
    }
}

/// What every key of a thing in this virtual host begins with.
pub(super) fn vhost_prefix(vhost: VhostKey) -> Box<[u8]> {
    vhost.0.to_be_bytes().into()
}

/// The key of an exchange or a queue.
pub(super) fn named_key(vhost: VhostKey, name: &str) -> Box<[u8]> {
    [&vhost.0.to_be_bytes(), name.as_bytes()].concat().into()
}

/// The key of a binding is all of its identity; the arguments are in it in their canonical order.
pub(super) fn binding_key(vhost: VhostKey, binding: &BindingRecord) -> Box<[u8]> {
    let mut key = bindings_to(vhost, binding.to_exchange, &binding.destination);
    push_name(&mut key, &binding.source);
    push_name(&mut key, &binding.routing_key);
    key.extend_from_slice(&binding.arguments.table().canonical_bytes());
    key.into()
}

/// What the keys of all bindings to one destination begin with, and no other key does.
pub(super) fn bindings_to(vhost: VhostKey, to_exchange: bool, destination: &str) -> Vec<u8> {
    let mut key = Vec::new();
    key.extend_from_slice(&vhost.0.to_be_bytes());
    key.push(if to_exchange { TO_EXCHANGE } else { TO_QUEUE });
    push_name(&mut key, destination);
    key
}

pub(super) fn push_name(key: &mut Vec<u8>, name: &str) {
    // A program in this process may choose names that are longer than AMQP's, but not longer than 4 GiB.
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
}

pub(super) fn vhost_value(vhost: VhostKey) -> Box<[u8]> {
    let mut value = vec![VALUE_VERSION];
    value.extend_from_slice(&vhost.0.to_be_bytes());
    value.into()
}

pub(super) fn exchange_value(exchange: &ExchangeRecord) -> Box<[u8]> {
    let mut flags = 0;
    if exchange.auto_delete {
        flags |= AUTO_DELETE;
    }
    if exchange.internal {
        flags |= INTERNAL;
    }
    // Keys begin with 1.
    let key = exchange.key.map_or(0, |key| key.0);
    let mut value = vec![VALUE_VERSION, flags];
    value.extend_from_slice(&key.to_be_bytes());
    // The names of types are ours and short.
    value.push(u8::try_from(exchange.kind.len()).unwrap_or(u8::MAX));
    value.extend_from_slice(exchange.kind.as_bytes());
    value.extend_from_slice(exchange.arguments.table().as_bytes());
    value.into()
}

pub(super) fn queue_value(queue: &QueueRecord) -> Box<[u8]> {
    let flags = if queue.auto_delete { AUTO_DELETE } else { 0 };
    let mut value = vec![VALUE_VERSION, flags];
    value.extend_from_slice(&queue.key.0.to_be_bytes());
    value.extend_from_slice(queue.arguments.table().as_bytes());
    value.into()
}

pub(super) fn binding_value(binding: &BindingRecord) -> Box<[u8]> {
    let mut value = vec![VALUE_VERSION];
    value.extend_from_slice(binding.arguments.table().as_bytes());
    value.into()
}

/// Why an entry cannot be read.
#[cfg(feature = "journal")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it ends too early")]
    Short,
    #[error("it has version {0}, which only a newer leveret knows")]
    Newer(u8),
    #[error("a name in it is not UTF-8")]
    Name,
    #[error("its arguments are no field table")]
    Arguments,
    #[error("it says what no version writes")]
    Nonsense,
}

#[cfg(feature = "journal")]
pub(super) use reading::{Reader, read_binding, read_exchange, read_queue, read_vhost, text};

#[cfg(feature = "journal")]
mod reading {
    use std::sync::Arc;

    use leveret_amqp_codec::{Limits, RawTable};
    use leveret_queue_store::QueueKey;

    use super::*;
    use crate::arguments::Arguments;

    /// # Errors
    /// For bytes that [`vhost_value`] does not make.
    pub(in crate::metadata) fn read_vhost(
        key: &[u8],
        value: &[u8],
    ) -> Result<(Arc<str>, VhostKey), Unreadable> {
        let mut value = Reader::of_value(value)?;
        let vhost = VhostKey(value.u64()?);
        value.end()?;
        Ok((text(key)?, vhost))
    }

    /// # Errors
    /// For bytes that [`named_key`] and [`exchange_value`] do not make.
    pub(in crate::metadata) fn read_exchange(
        key: &[u8],
        value: &[u8],
    ) -> Result<(VhostKey, ExchangeRecord), Unreadable> {
        let (vhost, name) = read_name(key)?;
        let mut value = Reader::of_value(value)?;
        let flags = value.flags(AUTO_DELETE | INTERNAL)?;
        let key = value.u64()?;
        let kind_length = value.u8()?;
        let kind = text(value.bytes(usize::from(kind_length))?)?;
        let exchange = ExchangeRecord {
            name,
            kind,
            auto_delete: flags & AUTO_DELETE != 0,
            internal: flags & INTERNAL != 0,
            key: (key != 0).then_some(QueueKey(key)),
            arguments: arguments(value.0)?,
        };
        Ok((vhost, exchange))
    }

    /// # Errors
    /// For bytes that [`named_key`] and [`queue_value`] do not make.
    pub(in crate::metadata) fn read_queue(
        key: &[u8],
        value: &[u8],
    ) -> Result<(VhostKey, QueueRecord), Unreadable> {
        let (vhost, name) = read_name(key)?;
        let mut value = Reader::of_value(value)?;
        let flags = value.flags(AUTO_DELETE)?;
        let queue = QueueRecord {
            name,
            auto_delete: flags & AUTO_DELETE != 0,
            key: QueueKey(value.u64()?),
            arguments: arguments(value.0)?,
        };
        Ok((vhost, queue))
    }

    /// # Errors
    /// For bytes that [`binding_key`] and [`binding_value`] do not make.
    pub(in crate::metadata) fn read_binding(
        key: &[u8],
        value: &[u8],
    ) -> Result<(VhostKey, BindingRecord), Unreadable> {
        let mut key = Reader(key);
        let vhost = VhostKey(key.u64()?);
        let to_exchange = match key.u8()? {
            TO_QUEUE => false,
            TO_EXCHANGE => true,
            _ => return Err(Unreadable::Nonsense),
        };
        let destination = key.name()?;
        let source = key.name()?;
        let routing_key = key.name()?;
        let binding = BindingRecord {
            source,
            destination,
            to_exchange,
            routing_key,
            arguments: arguments(Reader::of_value(value)?.0)?,
        };
        // The rest of the key is the arguments once more, in their canonical order.
        if binding.arguments.table().canonical_bytes() != key.0 {
            return Err(Unreadable::Nonsense);
        }
        Ok((vhost, binding))
    }

    fn read_name(key: &[u8]) -> Result<(VhostKey, Arc<str>), Unreadable> {
        let mut key = Reader(key);
        Ok((VhostKey(key.u64()?), text(key.0)?))
    }

    pub(in crate::metadata) fn text(bytes: &[u8]) -> Result<Arc<str>, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Name)?;
        Ok(Arc::from(text))
    }

    fn arguments(bytes: &[u8]) -> Result<Arguments, Unreadable> {
        // As deep as the codec goes: what a program in this process declares has passed no limit.
        let limits = Limits {
            table_depth_max: u8::MAX,
            ..Limits::default()
        };
        let table = RawTable::decode(bytes, &limits).map_err(|_| Unreadable::Arguments)?;
        Ok(Arguments::new(table))
    }

    /// What is left to read.
    pub(in crate::metadata) struct Reader<'a>(pub(in crate::metadata) &'a [u8]);

    impl<'a> Reader<'a> {
        /// What follows the version of a value.
        pub(in crate::metadata) fn of_value(value: &'a [u8]) -> Result<Self, Unreadable> {
            let mut reader = Self(value);
            match reader.u8()? {
                VALUE_VERSION => Ok(reader),
                0 => Err(Unreadable::Nonsense),
                newer => Err(Unreadable::Newer(newer)),
            }
        }

        fn bytes(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
            let (bytes, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Short)?;
            self.0 = rest;
            Ok(bytes)
        }

        fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
            let (bytes, rest) = self.0.split_first_chunk().ok_or(Unreadable::Short)?;
            self.0 = rest;
            Ok(*bytes)
        }

        pub(in crate::metadata) fn u8(&mut self) -> Result<u8, Unreadable> {
            self.array().map(u8::from_be_bytes)
        }

        pub(in crate::metadata) fn u64(&mut self) -> Result<u64, Unreadable> {
            self.array().map(u64::from_be_bytes)
        }

        pub(in crate::metadata) fn flags(&mut self, known: u8) -> Result<u8, Unreadable> {
            match self.u8()? {
                flags if flags & !known == 0 => Ok(flags),
                _ => Err(Unreadable::Nonsense),
            }
        }

        /// A text after its length in 32 bits.
        pub(in crate::metadata) fn name(&mut self) -> Result<Arc<str>, Unreadable> {
            let length = self.array().map(u32::from_be_bytes)?;
            let length = usize::try_from(length).map_err(|_| Unreadable::Short)?;
            text(self.bytes(length)?)
        }

        pub(in crate::metadata) fn end(&self) -> Result<(), Unreadable> {
            if self.0.is_empty() {
                Ok(())
            } else {
                Err(Unreadable::Nonsense)
            }
        }
    }
}
