//! Passwords on their way.

use std::fmt;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, Zeroizing};

use super::failure::{Exit, Failure};
use super::line::Line;

/// A password, which is wiped from memory when it is dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

/// The password that stands at this place of the command line, or in the first line of stdin: there it stands in no
/// list of processes.
///
/// # Errors
/// When it stands nowhere.
pub(super) fn password(line: &Line, at: usize) -> Result<Secret, Failure> {
    if let Some(password) = line.arguments.get(at) {
        return Ok(Secret(Zeroizing::new(password.clone())));
    }
    print_prompt("Password: ")?;
    let password = {
        let _hidden = no_echo::Hidden::new();
        read_line(&mut io::stdin().lock())?
    };
    print_prompt("\n")?;
    if password.is_empty() {
        return Err(Failure::new(
            Exit::Data,
            "Password is not provided via argument or stdin",
        ));
    }
    Ok(password)
}

fn print_prompt(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Without the end of the line.
fn read_line(input: &mut impl BufRead) -> io::Result<Secret> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    input.read_line(&mut text)?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    let mut cut = text.split_off(length);
    cut.zeroize();
    Ok(Secret(text))
}

/// What is typed is not to be seen.
mod no_echo {
    /// Shows again what is typed when it is dropped.
    pub(super) struct Hidden {
        #[cfg(unix)]
        before: Option<rustix::termios::Termios>,
    }

    impl Hidden {
        pub(super) fn new() -> Self {
            Self {
                #[cfg(unix)]
                before: hide(),
            }
        }
    }

    /// None when stdin is no terminal.
    #[cfg(unix)]
    fn hide() -> Option<rustix::termios::Termios> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &hidden).ok()?;
        Some(before)
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            #[cfg(unix)]
            if let Some(before) = &self.before {
                let action = rustix::termios::OptionalActions::Now;
                let _ = rustix::termios::tcsetattr(std::io::stdin(), action, before);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_its_end() {
        for text in ["pw 1 \n", "pw 1 \r\n", "pw 1 ", "pw 1 \nmore"] {
            let secret = read_line(&mut text.as_bytes()).unwrap();
            assert_eq!(secret.as_bytes(), b"pw 1 ", "{text:?}");
        }
        assert!(read_line(&mut &b""[..]).unwrap().is_empty());
    }

    #[test]
    fn debug_output_shows_no_password() {
        let secret = Secret(Zeroizing::new("s3cret".to_owned()));
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
