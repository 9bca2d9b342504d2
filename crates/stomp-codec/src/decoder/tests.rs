use super::*;

/// A decoder and what it has been fed so far.
struct Session {
    decoder: Decoder,
    input: BytesMut,
}

impl Session {
    fn new(version: Version) -> Self {
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(version);
        Self {
            decoder,
            input: BytesMut::new(),
        }
    }

    fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Result<Option<Frame>, DecodeError> {
        self.input.extend_from_slice(bytes.as_ref());
        self.decoder.decode(&mut self.input)
    }
}

/// Decodes one frame and nothing else.
#[track_caller]
fn check(version: Version, wire: &str, want: &Frame) {
    let mut session = Session::new(version);
    assert_eq!(
        session.feed(wire).as_ref(),
        Ok(&Some(want.clone())),
        "{wire:?}"
    );
    assert_eq!(session.feed(""), Ok(None), "{wire:?}");
    assert!(session.input.is_empty(), "{wire:?}");
    assert!(!session.decoder.is_mid_frame(), "{wire:?}");
}

fn send(headers: &[(&str, &str)]) -> Frame {
    Frame::new(Command::Send, headers.iter().copied())
}

#[test]
fn body_ends_at_the_first_nul() {
    let want = send(&[("destination", "/queue/a")]).with_body("hello");
    check(
        Version::V1_2,
        "SEND\ndestination:/queue/a\n\nhello\0",
        &want,
    );
    check(
        Version::V1_2,
        "SEND\r\ndestination:/queue/a\r\n\r\nhello\0\r\n",
        &want,
    );
    check(
        Version::V1_0,
        "\n\r\nSEND\r\ndestination:/queue/a\n\nhello\0\n\n",
        &want,
    );
}

/// RabbitMQ reads on behind them, and clients that end a frame twice have come to rely on it.
#[test]
fn nul_between_frames_is_skipped_as_the_end_of_a_line() {
    let want = send(&[]);
    for wire in [
        "\0SEND\n\n\0",
        "\n\0\r\n\0\0SEND\n\n\0",
        "SEND\n\n\0\0",
        "SEND\n\n\0\0\n",
    ] {
        check(Version::V1_2, wire, &want);
    }
    let mut session = Session::new(Version::V1_2);
    assert_eq!(session.feed("\r\0"), Err(DecodeError::BareCarriageReturn));
}

#[test]
fn body_of_announced_length_may_contain_nul() {
    let want = send(&[("content-length", "5")]).with_body("a\0b\0c");
    check(Version::V1_2, "SEND\ncontent-length:5\n\na\0b\0c\0", &want);
}

#[test]
fn first_of_several_content_lengths_counts() {
    let want = send(&[("content-length", "1"), ("content-length", "nonsense")]).with_body("\0");
    check(
        Version::V1_2,
        "SEND\ncontent-length:1\ncontent-length:nonsense\n\n\0\0",
        &want,
    );
}

#[test]
fn frames_without_headers_or_body_are_complete_at_their_nul() {
    check(
        Version::V1_2,
        "DISCONNECT\n\n\0",
        &Frame::new::<&str, &str>(Command::Disconnect, []),
    );
}

#[test]
fn value_begins_after_the_first_colon() {
    check(Version::V1_2, "SEND\na:b:c:\n\n\0", &send(&[("a", "b:c:")]));
    check(Version::V1_2, "SEND\na:\n\n\0", &send(&[("a", "")]));
}

#[test]
fn leading_spaces_count_from_version_1_1_on() {
    check(Version::V1_0, "SEND\na:  b \n\n\0", &send(&[("a", "b ")]));
    check(Version::V1_1, "SEND\na:  b \n\n\0", &send(&[("a", "  b ")]));
}

#[test]
fn escapes_follow_the_version() {
    check(
        Version::V1_0,
        "SEND\na\\cb:\\n\\t\n\n\0",
        &send(&[("a\\cb", "\\n\\t")]),
    );
    check(
        Version::V1_1,
        "SEND\na\\cb:\\n\\\\\n\n\0",
        &send(&[("a:b", "\n\\")]),
    );
    check(
        Version::V1_2,
        "SEND\na\\cb:\\r\\n\n\n\0",
        &send(&[("a:b", "\r\n")]),
    );
    assert_eq!(
        Session::new(Version::V1_1).feed("SEND\na:\\r\n\n\0"),
        Err(DecodeError::UndefinedEscape)
    );
    assert_eq!(
        Session::new(Version::V1_2).feed("SEND\na:\\t\n\n\0"),
        Err(DecodeError::UndefinedEscape)
    );
}

#[test]
fn rabbitmq_mode_resolves_escapes_in_every_frame() {
    let mut session = Session::new(Version::V1_0);
    session.decoder = session.decoder.with_escaping(Escaping::RabbitMq);
    let connect = session
        .feed("CONNECT\npasscode:a\\\\b\\r\n\n\0")
        .unwrap()
        .unwrap();
    assert_eq!(connect.header("passcode"), Some("a\\b\r"));
}

#[test]
fn connect_is_read_by_the_version_it_leads_to() {
    let old = Frame::new(Command::Connect, [("login", "a\\b")]);
    check(Version::V1_2, "CONNECT\nlogin: a\\b\n\n\0", &old);
    let new = Frame::new(
        Command::Connect,
        [("login", " a\\b"), ("accept-version", "1.0,1.2")],
    );
    check(
        Version::V1_0,
        "CONNECT\nlogin: a\\b\naccept-version:1.0,1.2\n\n\0",
        &new,
    );
    let stomp = Frame::new(
        Command::Stomp,
        [("login", " a:b"), ("accept-version", "1.1")],
    );
    check(
        Version::V1_0,
        "STOMP\nlogin: a\\cb\naccept-version:1.1\n\n\0",
        &stomp,
    );
}

#[test]
fn carriage_returns_within_a_line_are_octets_before_version_1_2_only() {
    check(
        Version::V1_1,
        "SEND\na:b\rc\r\n\n\0",
        &send(&[("a", "b\rc")]),
    );
    for wire in [
        "SEND\na:b\rc\n\n\0",
        "SEND\na:b\r\r\n\n\0",
        "SEND\r\na\r:b\r\n\r\n\0",
    ] {
        assert_eq!(
            Session::new(Version::V1_2).feed(wire),
            Err(DecodeError::BareCarriageReturn),
            "{wire:?}"
        );
    }
}

#[test]
fn line_ends_between_frames_are_taken_off_at_once() {
    let mut session = Session::new(Version::V1_2);
    assert_eq!(session.feed("\n\r\n\n"), Ok(None));
    assert!(session.input.is_empty());
    assert_eq!(session.feed("\r"), Ok(None));
    assert_eq!(session.feed("\n"), Ok(None));
    assert!(session.input.is_empty());
    assert_eq!(session.feed("\rS"), Err(DecodeError::BareCarriageReturn));
}

#[test]
fn unknown_command_costs_only_its_own_frame() {
    let mut session = Session::new(Version::V1_2);
    assert_eq!(session.feed("PUBLISH\r\na:b\r\n\r\n"), Ok(None));
    let unknown = DecodeError::UnknownCommand {
        command: "PUBLISH".into(),
    };
    assert_eq!(session.feed("x\0ACK\nid:1\n\n\0"), Err(unknown));
    let ack = Frame::new(Command::Ack, [("id", "1")]);
    assert_eq!(session.feed(""), Ok(Some(ack)));
}

#[test]
fn fatal_error_is_returned_again_and_again() {
    let mut session = Session::new(Version::V1_2);
    assert_eq!(
        session.feed("SEND\nnonsense\n\n\0"),
        Err(DecodeError::HeaderWithoutColon)
    );
    session.input.clear();
    assert_eq!(
        session.feed("ACK\nid:1\n\n\0"),
        Err(DecodeError::HeaderWithoutColon)
    );
    assert_eq!(session.input, "ACK\nid:1\n\n\0");
}

#[test]
fn incomplete_frames_stay_in_the_input() {
    let mut session = Session::new(Version::V1_2);
    assert_eq!(session.feed("\nSEND\na:b\n\nhel"), Ok(None));
    assert_eq!(session.input, "SEND\na:b\n\nhel");
    assert!(session.decoder.is_mid_frame());
}

#[test]
fn input_that_shrank_is_read_from_its_beginning() {
    let mut session = Session::new(Version::V1_2);
    assert_eq!(session.feed("SEND\na:b\n\nhel"), Ok(None));
    session.input.clear();
    let ack = Frame::new(Command::Ack, [("id", "1")]);
    assert_eq!(session.feed("ACK\nid:1\n\n\0"), Ok(Some(ack)));
}

#[test]
fn headers_and_body_are_slices_of_the_input() {
    let mut input = BytesMut::from("SEND\ndestination:/queue/a\n\nhello\0");
    let place = input.as_ptr_range();
    let frame = Decoder::new(Limits::default())
        .decode(&mut input)
        .unwrap()
        .unwrap();
    assert!(place.contains(&frame.body.as_ptr()));
    assert!(place.contains(&frame.headers.slice("destination").unwrap().as_ptr()));
}

#[test]
fn idle_decoder_is_small() {
    // Ten thousand idle browsers should cost a few megabytes here at the most.
    assert!(size_of::<Decoder>() <= 256, "{}", size_of::<Decoder>());
}
