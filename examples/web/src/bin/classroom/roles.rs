//! What teacher and students may do.

use leveret_broker::{
    AccountChange, Accounts, Broker, Permissions, TopicPermissions, User, UserPermissions,
    UserTopicPermissions,
};
use leveret_examples_web::Error;

/// The teacher's name, which no student can have.
pub(crate) const TEACHER: &str = "Teacher";

/// How many students fit into the room.
const STUDENTS_MAX: usize = 1000;

/// Subscriptions have queues of these names, which the broker makes up.
const OWN: &str = "^stomp-subscription-";

/// The accounts that the broker starts with.
pub(crate) fn teacher_alone() -> Result<Accounts, Error> {
    let permissions = Permissions::new(
        OWN,
        "^(stomp-subscription-.*|class\\.in)$",
        "^(stomp-subscription-.*|class|teacher)$",
    )?;
    Ok(Accounts::default().with_user(User::new(TEACHER), "/", permissions))
}

/// Lets a student in, who may ask, and hear what is said to all or to this student.
///
/// # Errors
/// When the room is full.
pub(crate) fn admit_student(broker: &Broker, name: &str) -> Result<(), Error> {
    if broker.accounts().unwrap_or_default().users.len() > STUDENTS_MAX {
        return Err("the room is full".into());
    }
    broker.change_accounts(AccountChange::PutUser(User::new(name)))?;
    let permissions = Permissions::new(
        OWN,
        "^(stomp-subscription-.*|questions)$",
        "^(stomp-subscription-.*|class)$",
    )?;
    broker.change_accounts(AccountChange::SetPermissions(UserPermissions {
        user: name.into(),
        vhost: "/".into(),
        permissions,
    }))?;
    for (exchange, write, read) in [
        ("class", "^$", &*format!("^(all|to\\.{name})$")),
        ("questions", "^question$", "^$"),
    ] {
        broker.change_accounts(AccountChange::SetTopicPermissions(UserTopicPermissions {
            user: name.into(),
            vhost: "/".into(),
            exchange: exchange.into(),
            permissions: TopicPermissions::new(write, read)?,
        }))?;
    }
    Ok(())
}

/// A code that nobody guesses.
pub(crate) fn make_up_code() -> Result<String, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
