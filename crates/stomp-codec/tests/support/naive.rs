//! The decoder once more, as plainly as possible: it gets all the input at once and is free to copy it.

use bytes::Bytes;
use leveret_stomp_codec::{Command, Escaping, Frame, Version};

/// What a stream begins with.
#[derive(Debug, PartialEq)]
pub(crate) enum First {
    Frame(Frame),
    UnknownCommand(String),
    Malformed,
    Incomplete,
}

/// The first frame of a stream, and what follows it. Knows no limits.
pub(crate) fn first(mut input: &[u8], version: Version, escaping: Escaping) -> (First, &[u8]) {
    while let [b'\n' | b'\0', rest @ ..] | [b'\r', b'\n', rest @ ..] = input {
        input = rest;
    }
    if let [b'\r', _, ..] = input {
        return (First::Malformed, input);
    }
    let mut lines = Vec::new();
    loop {
        let Some(end) = input
            .iter()
            .position(|octet| matches!(octet, b'\n' | b'\0'))
        else {
            return (First::Incomplete, input);
        };
        if input[end] == b'\0' {
            return (First::Malformed, input);
        }
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        input = &input[end + 1..];
        if line.is_empty() && !lines.is_empty() {
            break;
        }
        if !lines.is_empty() && line.iter().position(|octet| *octet == b':').unwrap_or(0) == 0 {
            return (First::Malformed, input);
        }
        lines.push(line);
        if line.starts_with(b"content-length:") && content_length(&lines).is_err() {
            return (First::Malformed, input);
        }
    }
    let body = match content_length(&lines) {
        Ok(Some(length)) if input.len() <= length => return (First::Incomplete, input),
        Ok(Some(length)) if input[length] != b'\0' => return (First::Malformed, input),
        Ok(Some(length)) => &input[..length],
        _ => match input.iter().position(|octet| *octet == b'\0') {
            Some(length) => &input[..length],
            None => return (First::Incomplete, input),
        },
    };
    let rest = &input[body.len() + 1..];
    let command = String::from_utf8_lossy(lines[0]).into_owned();
    let Some(known) = Command::ALL
        .into_iter()
        .find(|known| known.as_str() == command)
    else {
        return (First::UnknownCommand(command), rest);
    };
    match headers(known, &lines[1..], version, escaping) {
        Some(headers) => {
            let frame = Frame::new(known, headers).with_body(Bytes::copy_from_slice(body));
            (First::Frame(frame), rest)
        }
        None => (First::Malformed, rest),
    }
}

fn content_length(lines: &[&[u8]]) -> Result<Option<usize>, ()> {
    let Some(value) = lines[1..]
        .iter()
        .find_map(|line| line.strip_prefix(b"content-length:"))
    else {
        return Ok(None);
    };
    let digits = std::str::from_utf8(value)
        .map_err(|_| ())?
        .trim_matches(' ');
    match digits.parse() {
        Ok(length) if !digits.starts_with('+') => Ok(Some(length)),
        _ => Err(()),
    }
}

fn headers(
    command: Command,
    lines: &[&[u8]],
    session: Version,
    escaping: Escaping,
) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    let find = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let version = match command {
        Command::Connect | Command::Stomp => {
            Version::negotiate(find("accept-version")).unwrap_or_default()
        }
        Command::Connected => find("version").and_then(Version::parse).unwrap_or_default(),
        _ => session,
    };
    if version == Version::V1_2 && lines.iter().any(|line| line.contains(&b'\r')) {
        return None;
    }
    let escapes = match (escaping, command, version) {
        (Escaping::RabbitMq, _, _) => "nc\\r",
        (Escaping::Standard, Command::Connect | Command::Connected, _) => "",
        (Escaping::Standard, _, Version::V1_0) => "",
        (Escaping::Standard, _, Version::V1_1) => "nc\\",
        (Escaping::Standard, _, Version::V1_2) => "nc\\r",
    };
    headers
        .into_iter()
        .map(|(name, value)| {
            let value = if version == Version::V1_0 {
                value.trim_start_matches(' ')
            } else {
                &value
            };
            Some((resolve(&name, escapes)?, resolve(value, escapes)?))
        })
        .collect()
}

fn resolve(text: &str, escapes: &str) -> Option<String> {
    if escapes.is_empty() {
        return Some(text.to_owned());
    }
    let mut resolved = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        resolved.push(match letter {
            '\\' => match letters.next().filter(|escape| escapes.contains(*escape))? {
                'n' => '\n',
                'c' => ':',
                'r' => '\r',
                other => other,
            },
            other => other,
        });
    }
    Some(resolved)
}
