//! Who has logged in: names, each of which one browser has at a time.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use subtle::ConstantTimeEq;

/// The longest name, in characters.
const NAME_SIZE_MAX: usize = 24;

/// How many may be logged in. What somebody could fill by asking again and again has to have an end.
const SESSIONS_MAX: usize = 10_000;

/// Why somebody may not have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It is empty, too long, or has other characters than letters, digits, `-` and `_`.
    NotAName,
    /// Another browser has it.
    Taken,
    /// There is no room for more, or the directory cannot be written to.
    Full,
}

/// The sessions of an application. What it hands out as a cookie is a name and a random token.
///
/// A real application has this in its database. Here it is in memory, or in a directory where several processes share it.
pub struct Sessions {
    place: Place,
}

enum Place {
    Memory(Mutex<HashMap<String, Session>>),
    Directory(PathBuf),
}

#[derive(Clone)]
struct Session {
    name: String,
    token: String,
}

impl fmt::Debug for Sessions {
    /// Whose they are, and their tokens, is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            place: Place::Memory(Mutex::default()),
        }
    }
}

impl Sessions {
    /// Sessions that all processes with this directory know. It is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn in_directory(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self {
            place: Place::Directory(path.to_owned()),
        })
    }

    /// Gives a name to a browser that nobody else has, in whatever case. Returns the value of its cookie.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn begin(&self, name: &str) -> Result<String, Denied> {
        if !is_name(name) {
            return Err(Denied::NotAName);
        }
        let session = Session {
            name: name.to_owned(),
            token: random_hex().ok_or(Denied::Full)?,
        };
        let key = key_of(name);
        let cookie = format!("{key}.{}", session.token);
        match &self.place {
            Place::Memory(sessions) => {
                let mut sessions = sessions.lock();
                if sessions.contains_key(&key) {
                    return Err(Denied::Taken);
                }
                if sessions.len() >= SESSIONS_MAX {
                    return Err(Denied::Full);
                }
                sessions.insert(key, session);
            }
            Place::Directory(path) => {
                let others = fs::read_dir(path).map_err(|_| Denied::Full)?;
                if others.count() >= SESSIONS_MAX {
                    return Err(Denied::Full);
                }
                write_new(&path.join(key), &session).map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Denied::Taken,
                    _ => Denied::Full,
                })?;
            }
        }
        Ok(cookie)
    }

    /// Whose cookie this is.
    #[must_use]
    pub fn user(&self, cookie: &str) -> Option<String> {
        let (key, token) = cookie.split_once('.')?;
        let session = self.find(key)?;
        let is_same: bool = session.token.as_bytes().ct_eq(token.as_bytes()).into();
        is_same.then_some(session.name)
    }

    /// Makes a name free again.
    pub fn end(&self, name: &str) {
        let key = key_of(name);
        match &self.place {
            Place::Memory(sessions) => drop(sessions.lock().remove(&key)),
            // It may be gone already.
            Place::Directory(path) => drop(fs::remove_file(path.join(key))),
        }
    }

    fn find(&self, key: &str) -> Option<Session> {
        match &self.place {
            Place::Memory(sessions) => sessions.lock().get(key).cloned(),
            Place::Directory(path) => {
                // It becomes part of a path.
                let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_hexdigit());
                let text = is_key.then(|| fs::read_to_string(path.join(key)).ok())??;
                let (token, name) = text.split_once(' ')?;
                Some(Session {
                    name: name.to_owned(),
                    token: token.to_owned(),
                })
            }
        }
    }
}

/// A file appears with all of its text: a name is taken by linking it to a file that is written already.
fn write_new(path: &Path, session: &Session) -> io::Result<()> {
    let draft = path.with_extension(&session.token);
    let written = fs::File::create_new(&draft)
        .and_then(|mut file| write!(file, "{} {}", session.token, session.name))
        .and_then(|()| fs::hard_link(&draft, path));
    // Nothing reads it any more, should it stay.
    drop(fs::remove_file(&draft));
    written
}

/// Names become parts of routing keys, permissions and headers, in which these characters mean nothing.
fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    (1..=NAME_SIZE_MAX).contains(&name.chars().count()) && name.chars().all(is_plain)
}

/// The same for names that differ in case alone; fit for a cookie and for a file.
fn key_of(name: &str) -> String {
    hex(name.to_lowercase().as_bytes())
}

fn random_hex() -> Option<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_all(test: impl Fn(&Sessions, &Sessions)) {
        let sessions = Sessions::default();
        test(&sessions, &sessions);
        let path = std::env::temp_dir().join(format!("leveret-{}", random_hex().unwrap()));
        let one = Sessions::in_directory(&path).unwrap();
        let other = Sessions::in_directory(&path).unwrap();
        test(&one, &other);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn one_browser_has_a_name_until_it_leaves() {
        check_all(|one, other| {
            let cookie = one.begin("Zoë").unwrap();
            assert_eq!(other.user(&cookie).as_deref(), Some("Zoë"));
            assert_eq!(other.begin("zoË"), Err(Denied::Taken));
            other.end("ZOË");
            assert_eq!(one.user(&cookie), None);
            assert_ne!(one.begin("Zoë"), Ok(cookie));
        });
    }

    #[test]
    fn a_cookie_that_was_not_given_is_nobodys() {
        check_all(|sessions, _| {
            let cookie = sessions.begin("ann").unwrap();
            for forged in [
                "",
                ".",
                "ann",
                "616e6e.",
                "616e6e.00",
                "../616e6e.x",
                &cookie[1..],
            ] {
                assert_eq!(sessions.user(forged), None, "{forged}");
            }
        });
    }

    #[test]
    fn names_have_no_characters_with_a_meaning() {
        let long = "x".repeat(NAME_SIZE_MAX + 1);
        for odd in ["", "a b", "a.b", "a#", "*", "<b>", "a\nb", "a/b", &long] {
            assert_eq!(
                Sessions::default().begin(odd),
                Err(Denied::NotAName),
                "{odd}"
            );
        }
        assert!(Sessions::default().begin("Jean-Luc_2").is_ok());
    }
}
