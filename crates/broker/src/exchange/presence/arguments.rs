//! The arguments of presence exchanges and of the bindings to them.

use leveret_amqp_codec::{RawTable, ValueRef};

use crate::error::Refusal;

/// The binding's argument that says what its queue is there for.
pub(crate) const MODE: &str = "x-presence";

/// The binding's argument that says what the member is called.
pub(crate) const MEMBER: &str = "x-presence-member";

const GRACE: &str = "x-presence-grace";
const MAX: &str = "x-presence-max";

/// How long a member may be away before it is lost: what a phone needs to notice that its network has changed, and to
/// connect again.
const GRACE_DEFAULT_MS: u64 = 10_000;

/// A day. Who stays away for longer is not on the way back.
const GRACE_MAX_MS: u64 = 86_400_000;

/// How many members at keys an exchange knows unless it says otherwise.
const PLACES_DEFAULT: usize = 10_000;

/// Some hundred megabytes.
const PLACES_MAX: usize = 1_000_000;

/// What a binding is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// For messages, and to be seen.
    Present,
    /// For events.
    Watch,
    /// For messages.
    Hidden,
}

/// What an exchange was declared with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) grace_ms: u64,
    pub(super) max: usize,
}

impl Settings {
    pub(super) fn parse(arguments: RawTable<'_>) -> Result<Self, Refusal> {
        let grace_ms = number(arguments, GRACE, 0, GRACE_MAX_MS)?;
        let max = number(arguments, MAX, 1, PLACES_MAX as u64)?;
        Ok(Self {
            grace_ms: grace_ms.unwrap_or(GRACE_DEFAULT_MS),
            max: max.map_or(PLACES_DEFAULT, |max| max as usize),
        })
    }
}

fn number(arguments: RawTable<'_>, name: &str, min: u64, max: u64) -> Result<Option<u64>, Refusal> {
    let Some(value) = arguments.get(name) else {
        return Ok(None);
    };
    let number = value
        .as_integer()
        .and_then(|number| u64::try_from(number).ok());
    match number {
        Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
        _ => Err(Refusal::precondition_failed(format!(
            "Invalid argument, '{name}' must be an integer from {min} to {max}"
        ))),
    }
}

/// What a binding with these arguments is for.
///
/// # Errors
/// 406 for a role that is none, and for a member's name that is none, or has no meaning.
pub(crate) fn role(arguments: RawTable<'_>) -> Result<Role, Refusal> {
    let role = match arguments.get(MODE).map(|mode| mode.as_str()) {
        None | Some(Some("present")) => Role::Present,
        Some(Some("watch")) => Role::Watch,
        Some(Some("hidden")) => Role::Hidden,
        Some(_) => {
            return Err(Refusal::precondition_failed(format!(
                "Invalid argument, '{MODE}' must be 'present', 'watch' or 'hidden'"
            )));
        }
    };
    if let Some(member) = arguments.get(MEMBER)
        && (role != Role::Present || !is_name(member))
    {
        return Err(Refusal::precondition_failed(format!(
            "Invalid argument, '{MEMBER}' must be a name of 1 to 255 bytes for who is present"
        )));
    }
    Ok(role)
}

fn is_name(value: ValueRef<'_>) -> bool {
    value
        .as_str()
        .is_some_and(|name| (1..=255).contains(&name.len()) && !name.chars().any(char::is_control))
}

/// Whether a binding's key stands for several: nobody is present at such a key.
pub(crate) fn has_wildcard(key: &str) -> bool {
    key.split('.').any(|word| word == "*" || word == "#")
}
