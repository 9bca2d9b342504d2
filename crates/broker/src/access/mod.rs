//! Who may do what: users, their tags, and their permissions in each virtual host (behaviour reference, section 18).
//!
//! [`Accounts`] is the data, as an operator writes it down; [`Access`] holds it in a running broker and is changed by
//! [`AccountChange`]s alone. A session has a [`Caller`], which every operation of a virtual host takes and asks: so no
//! protocol can forget a check. Behind it, [`Grants`] remembers what one user may do in one virtual host until the
//! accounts change, and [`Asked`] what an [`Authorizer`](crate::Authorizer) has said, for a while.

mod accounts;
mod asked;
mod begin;
mod caller;
mod change;
mod error;
mod fixed;
mod grants;
mod pattern;
mod permissions;
mod question;
mod right;
mod table;
mod topic_pattern;
mod user;
mod words;

pub use accounts::{AccountChange, Accounts, UserPermissions, UserTopicPermissions};
pub(crate) use asked::{Asked, Source};
pub(crate) use caller::Caller;
pub(crate) use error::AccountError;
pub use pattern::{Pattern, PatternError};
pub use permissions::{Permissions, TopicPermissions};
pub(crate) use question::OwnedQuestion;
pub(crate) use right::Resource;
pub use right::{ResourceKind, Right};
pub(crate) use table::Access;
pub use topic_pattern::TopicPattern;
pub use user::{PasswordHash, Tag, User, UserLimits};
pub(crate) use words::no_access_to_vhost;
