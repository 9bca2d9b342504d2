//! Headers of SEND and MESSAGE, and the AMQP properties that they stand for (behaviour reference, section 20.6).

use std::fmt::Write;

use leveret_amqp_codec::{Properties, RawProperties, ShortStr, Table, ValueRef};
use leveret_stomp_codec::{Frame, FrameWriter};

use super::destination;
use super::problem::Problem;
use crate::slow;

/// What the server says of a message. No header that a publisher made up takes the place of one of these.
const OWN: [&str; 8] = [
    "subscription",
    "destination",
    "message-id",
    "redelivered",
    "ack",
    "content-length",
    // The property is written, which the broker has checked.
    "user-id",
    slow::DROPPED,
];

/// Properties have texts of at most this many bytes, and headers such names (AMQP 4.2.5.3, short strings).
const SHORT_SIZE_MAX: usize = 255;

/// The properties of the message in a SEND frame, `reply-to` as it stands there.
///
/// Headers without a meaning of their own become AMQP headers, `receipt` and `transaction` included, as in RabbitMQ. Of
/// repeated ones the first counts.
///
/// # Errors
/// For numbers that are none, and for what is too long for AMQP.
pub(super) fn properties(frame: &Frame) -> Result<Properties, Problem> {
    let mut properties = Properties::default();
    let mut headers = Table::default();
    if frame.header("persistent") == Some("true") {
        properties.delivery_mode = Some(2);
    }
    for (name, value) in &frame.headers {
        let text = match name {
            "destination" | "content-length" | "persistent" => continue,
            "priority" => {
                let number = value.parse().map_err(|_| Problem::processing())?;
                properties.priority.get_or_insert(number);
                continue;
            }
            "timestamp" => {
                let number = value.parse().map_err(|_| Problem::processing())?;
                properties.timestamp.get_or_insert(number);
                continue;
            }
            "content-type" => &mut properties.content_type,
            "content-encoding" => &mut properties.content_encoding,
            "correlation-id" => &mut properties.correlation_id,
            "reply-to" => &mut properties.reply_to,
            "expiration" => &mut properties.expiration,
            "amqp-message-id" => &mut properties.message_id,
            "type" => &mut properties.kind,
            "user-id" => &mut properties.user_id,
            "app-id" => &mut properties.app_id,
            _ => {
                check_short(name)?;
                if headers.get(name).is_none() {
                    headers.append(name, value);
                }
                continue;
            }
        };
        check_short(value)?;
        text.get_or_insert_with(|| value.to_owned());
    }
    // Also when there are none: AMQP clients find the property in every message that came by STOMP.
    properties.headers = Some(headers);
    Ok(properties)
}

fn check_short(text: &str) -> Result<(), Problem> {
    if text.len() > SHORT_SIZE_MAX {
        return Err(Problem::processing());
    }
    Ok(())
}

/// Writes what the properties say into a MESSAGE frame, and the AMQP headers that are long strings or signed numbers of 32
/// or 64 bits; RabbitMQ leaves out all others. `text` is scratch.
pub(super) fn write_properties(
    frame: &mut FrameWriter<'_>,
    properties: RawProperties<'_>,
    text: &mut String,
) {
    if properties.is_empty() {
        return;
    }
    let mut write = |name, value: Option<ShortStr<'_>>| {
        if let Some(value) = value {
            frame.header(name, &value);
        }
    };
    write("content-type", properties.content_type());
    write("content-encoding", properties.content_encoding());
    write("correlation-id", properties.correlation_id());
    write("expiration", properties.expiration());
    write("amqp-message-id", properties.message_id());
    write("type", properties.kind());
    write("user-id", properties.user_id());
    write("app-id", properties.app_id());
    if let Some(address) = properties.reply_to() {
        let prefix = if destination::is_destination(&address) {
            ""
        } else {
            "/reply-queue/"
        };
        frame.header_of_pieces("reply-to", &[prefix, &address]);
    }
    match properties.delivery_mode() {
        None => {}
        Some(2) => frame.header("persistent", "true"),
        Some(mode) => write_number(frame, "persistent", i64::from(mode), text),
    }
    if let Some(priority) = properties.priority() {
        write_number(frame, "priority", i64::from(priority), text);
    }
    if let Some(seconds) = properties.timestamp() {
        text.clear();
        let _ = write!(text, "{seconds}");
        frame.header("timestamp", text);
    }
    for (name, value) in properties
        .headers()
        .into_iter()
        .flat_map(|table| table.iter())
    {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        if OWN.contains(&name) {
            continue;
        }
        match value {
            ValueRef::LongString(bytes) => frame.header(name, &String::from_utf8_lossy(bytes)),
            ValueRef::I32(number) => write_number(frame, name, number.into(), text),
            ValueRef::I64(number) => write_number(frame, name, number, text),
            _ => {}
        }
    }
}

fn write_number(frame: &mut FrameWriter<'_>, name: &str, number: i64, text: &mut String) {
    text.clear();
    let _ = write!(text, "{number}");
    frame.header(name, text);
}

/// The value of a header that is true or not.
///
/// # Errors
/// When it is neither.
pub(super) fn boolean(frame: &Frame, name: &str) -> Result<Option<bool>, Problem> {
    match frame.header(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Problem::processing()),
    }
}

/// The value of a header that is a whole number.
///
/// # Errors
/// When it is not one, or does not fit.
pub(super) fn integer<T: std::str::FromStr>(
    frame: &Frame,
    name: &str,
) -> Result<Option<T>, Problem> {
    frame
        .header(name)
        .map(|text| text.trim().parse().map_err(|_| Problem::processing()))
        .transpose()
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::Value;
    use leveret_stomp_codec::{Command, Encoder, Escaping, Version};

    use super::*;

    fn send(headers: &[(&str, &str)]) -> Frame {
        Frame::new(Command::Send, headers.iter().copied())
    }

    fn written(properties: &Properties) -> String {
        let mut encoder = Encoder::new().with_escaping(Escaping::RabbitMq);
        encoder.set_version(Version::V1_2);
        let mut out = Vec::new();
        let mut frame = encoder.begin(&mut out, Command::Message);
        let bytes = properties.to_bytes();
        write_properties(
            &mut frame,
            RawProperties::from_validated_bytes(&bytes),
            &mut String::new(),
        );
        frame.finish(b"");
        let text = String::from_utf8(out).unwrap();
        let head = text.strip_prefix("MESSAGE\n").unwrap();
        head.strip_suffix("\n\0\n").unwrap().to_owned()
    }

    #[test]
    fn headers_with_a_meaning_are_properties_and_come_back_as_headers() {
        let frame = send(&[
            ("destination", "/queue/q"),
            ("content-type", "a/b"),
            ("content-encoding", "gz"),
            ("correlation-id", "c"),
            ("expiration", "1000"),
            ("amqp-message-id", "m"),
            ("type", "t"),
            ("user-id", "u"),
            ("app-id", "a"),
            ("reply-to", "/queue/r"),
            ("persistent", "true"),
            ("priority", "7"),
            ("timestamp", "5"),
            ("custom", "1"),
            ("custom", "2"),
            ("content-length", "0"),
        ]);
        let properties = properties(&frame).unwrap();
        assert_eq!(properties.delivery_mode, Some(2));
        assert_eq!(properties.message_id.as_deref(), Some("m"));
        let table = properties.headers.clone().unwrap();
        assert_eq!(table.len(), 1, "the first of repeated headers counts");
        assert_eq!(table.get("custom"), Some(&Value::from("1")));
        assert_eq!(
            written(&properties),
            "content-type:a/b\ncontent-encoding:gz\ncorrelation-id:c\nexpiration:1000\namqp-message-id:m\ntype:t\n\
             user-id:u\napp-id:a\nreply-to:/queue/r\npersistent:true\npriority:7\ntimestamp:5\ncustom:1\n"
        );
    }

    #[test]
    fn what_amqp_cannot_say_is_refused() {
        for headers in [
            [("priority", "high")],
            [("priority", "256")],
            [("timestamp", "-1")],
            [("content-type", &*"x".repeat(256))],
            [(&*"x".repeat(256), "v")],
        ] {
            assert_eq!(
                properties(&send(&headers)),
                Err(Problem::processing()),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn an_answer_goes_to_a_destination() {
        let reply_to = |address: &str| {
            written(&Properties {
                reply_to: Some(address.to_owned()),
                ..Properties::default()
            })
        };
        assert_eq!(reply_to("amq.gen-1"), "reply-to:/reply-queue/amq.gen-1\n");
        assert_eq!(reply_to("/topic/a"), "reply-to:/topic/a\n");
    }

    #[test]
    fn texts_and_whole_numbers_go_out_and_nothing_takes_the_place_of_what_the_server_says() {
        let headers: Table = [
            ("text", Value::from("a:b")),
            ("number", Value::I64(-5)),
            ("truth", Value::Bool(true)),
            ("float", Value::F64(1.5)),
            ("ack", Value::from("forged")),
            ("message-id", Value::from("forged")),
        ]
        .into_iter()
        .collect();
        let properties = Properties {
            headers: Some(headers),
            ..Properties::default()
        };
        assert_eq!(written(&properties), "text:a\\cb\nnumber:-5\n");
    }
}
