//! Accounts and limits as keys and values of the store, as [`format`](super::format) has everything else.

use super::format::{VALUE_VERSION, push_name};
use crate::access::{Permissions, TopicPermissions, User};
use crate::vhost::VhostLimits;

/// The key of the setting that says that accounts are stored.
pub(super) const BEGUN: &[u8] = b"accounts";

const HAS_PASSWORD: u8 = 1;

/// Stands for no limit.
const NO_LIMIT: u64 = u64::MAX;

/// What the keys of all permissions of one user begin with, and no other key does.
pub(super) fn user_prefix(user: &str) -> Box<[u8]> {
    names([user])
}

pub(super) fn permissions_key(user: &str, vhost: &str) -> Box<[u8]> {
    names([user, vhost])
}

pub(super) fn topic_permissions_key(user: &str, vhost: &str, exchange: &str) -> Box<[u8]> {
    names([user, vhost, exchange])
}

fn names<const N: usize>(names: [&str; N]) -> Box<[u8]> {
    let mut key = Vec::new();
    for name in names {
        push_name(&mut key, name);
    }
    key.into()
}

pub(super) fn begun_value() -> Box<[u8]> {
    [VALUE_VERSION].into()
}

pub(super) fn user_value(user: &User) -> Box<[u8]> {
    let mut value = vec![VALUE_VERSION];
    value.push(if user.password_hash.is_some() {
        HAS_PASSWORD
    } else {
        0
    });
    push_limit(&mut value, user.limits.connections_max);
    push_limit(&mut value, user.limits.channels_max);
    let hash = user.password_hash.as_ref();
    push_name(&mut value, hash.map_or("", |hash| hash.as_str()));
    for tag in &user.tags {
        push_name(&mut value, tag.as_str());
    }
    value.into()
}

pub(super) fn permissions_value(permissions: &Permissions) -> Box<[u8]> {
    let Permissions {
        configure,
        write,
        read,
    } = permissions;
    texts([configure.as_str(), write.as_str(), read.as_str()])
}

pub(super) fn topic_permissions_value(permissions: &TopicPermissions) -> Box<[u8]> {
    texts([permissions.write.as_str(), permissions.read.as_str()])
}

fn texts<const N: usize>(texts: [&str; N]) -> Box<[u8]> {
    let mut value = vec![VALUE_VERSION];
    for text in texts {
        push_name(&mut value, text);
    }
    value.into()
}

pub(super) fn vhost_limits_value(limits: VhostLimits) -> Box<[u8]> {
    let mut value = vec![VALUE_VERSION];
    push_limit(&mut value, limits.connections_max);
    push_limit(&mut value, limits.queues_max);
    value.into()
}

fn push_limit(value: &mut Vec<u8>, limit: Option<u32>) {
    let limit = limit.map_or(NO_LIMIT, u64::from);
    value.extend_from_slice(&limit.to_be_bytes());
}

#[cfg(feature = "journal")]
pub(super) use reading::{
    read_begun, read_permissions, read_topic_permissions, read_user, read_vhost_limits,
};

#[cfg(feature = "journal")]
mod reading {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::{
        PasswordHash, Pattern, Tag, TopicPattern, UserLimits, UserPermissions, UserTopicPermissions,
    };
    use crate::metadata::VhostKey;
    use crate::metadata::format::{Reader, Unreadable, text};

    /// # Errors
    /// For another setting, and for bytes that [`begun_value`] does not make.
    pub(in crate::metadata) fn read_begun(key: &[u8], value: &[u8]) -> Result<bool, Unreadable> {
        if key != BEGUN {
            return Err(Unreadable::Nonsense);
        }
        Reader::of_value(value)?.end()?;
        Ok(true)
    }

    /// # Errors
    /// For bytes that [`user_value`] does not make.
    pub(in crate::metadata) fn read_user(key: &[u8], value: &[u8]) -> Result<User, Unreadable> {
        let mut value = Reader::of_value(value)?;
        let has_password = value.flags(HAS_PASSWORD)? & HAS_PASSWORD != 0;
        let limits = UserLimits {
            connections_max: read_limit(&mut value)?,
            channels_max: read_limit(&mut value)?,
        };
        let hash = value.name()?;
        let mut tags = BTreeSet::new();
        while !value.0.is_empty() {
            tags.insert(Tag::from(&*value.name()?));
        }
        Ok(User {
            name: text(key)?,
            password_hash: has_password.then(|| PasswordHash::new(hash)),
            tags,
            limits,
        })
    }

    /// # Errors
    /// For bytes that [`permissions_key`] and [`permissions_value`] do not make.
    pub(in crate::metadata) fn read_permissions(
        key: &[u8],
        value: &[u8],
    ) -> Result<UserPermissions, Unreadable> {
        let mut key = Reader(key);
        let (user, vhost) = (key.name()?, key.name()?);
        key.end()?;
        let mut value = Reader::of_value(value)?;
        let permissions = Permissions {
            configure: pattern(&mut value)?,
            write: pattern(&mut value)?,
            read: pattern(&mut value)?,
        };
        value.end()?;
        Ok(UserPermissions {
            user,
            vhost,
            permissions,
        })
    }

    /// # Errors
    /// For bytes that [`topic_permissions_key`] and [`topic_permissions_value`] do not make.
    pub(in crate::metadata) fn read_topic_permissions(
        key: &[u8],
        value: &[u8],
    ) -> Result<UserTopicPermissions, Unreadable> {
        let mut key = Reader(key);
        let (user, vhost, exchange) = (key.name()?, key.name()?, key.name()?);
        key.end()?;
        let mut value = Reader::of_value(value)?;
        let permissions = TopicPermissions {
            write: topic_pattern(&mut value)?,
            read: topic_pattern(&mut value)?,
        };
        value.end()?;
        Ok(UserTopicPermissions {
            user,
            vhost,
            exchange,
            permissions,
        })
    }

    /// # Errors
    /// For bytes that [`vhost_limits_value`] does not make, under a virtual host's key.
    pub(in crate::metadata) fn read_vhost_limits(
        key: &[u8],
        value: &[u8],
    ) -> Result<(VhostKey, VhostLimits), Unreadable> {
        let mut key = Reader(key);
        let vhost = VhostKey(key.u64()?);
        key.end()?;
        let mut value = Reader::of_value(value)?;
        let limits = VhostLimits {
            connections_max: read_limit(&mut value)?,
            queues_max: read_limit(&mut value)?,
        };
        value.end()?;
        Ok((vhost, limits))
    }

    fn pattern(value: &mut Reader<'_>) -> Result<Pattern, Unreadable> {
        Ok(Pattern::stored(&value.name()?))
    }

    fn topic_pattern(value: &mut Reader<'_>) -> Result<TopicPattern, Unreadable> {
        Ok(TopicPattern::stored(&value.name()?))
    }

    fn read_limit(value: &mut Reader<'_>) -> Result<Option<u32>, Unreadable> {
        match value.u64()? {
            NO_LIMIT => Ok(None),
            limit => u32::try_from(limit)
                .map(Some)
                .map_err(|_| Unreadable::Nonsense),
        }
    }
}
