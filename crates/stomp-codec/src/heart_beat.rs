use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A `heart-beat` header: what one end of a connection promises and asks for, in milliseconds.
///
/// A zero stands for "cannot" or "need not". The default, which is also what the absence of the header means, is
/// `0,0`: no heart-beats in either direction.
///
/// ```
/// use leveret_stomp_codec::HeartBeat;
///
/// let client: HeartBeat = "5000,3500".parse()?;
/// let server = client.answer();
/// assert_eq!(server.to_string(), "3000,5000");
///
/// // The server has to send at least every 3.5 seconds and may count on hearing from the client every 5.
/// assert_eq!(server.agree(client), HeartBeat { send_ms: 3500, receive_ms: 5000 });
/// # Ok::<(), leveret_stomp_codec::InvalidHeartBeat>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct HeartBeat {
    /// The smallest interval at which this end can send.
    pub send_ms: u32,
    /// The interval at which this end wants to hear from the other.
    pub receive_ms: u32,
}

/// A `heart-beat` header that is not two numbers with a comma between them.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("heart-beat is not two numbers with a comma between them")]
pub struct InvalidHeartBeat;

impl HeartBeat {
    /// The shortest interval that [`answer`](Self::answer) offers. One second, as in RabbitMQ: a peer that asks for a
    /// thousand beats a second does not get them.
    pub const INTERVAL_MIN_MS: u32 = 1000;

    /// What a server answers to a client's header: what the client asked for and offered, each in whole seconds rounded
    /// down, but at least [`INTERVAL_MIN_MS`](Self::INTERVAL_MIN_MS); zero stays zero.
    #[must_use]
    pub fn answer(self) -> Self {
        let offer = |ms: u32| match ms {
            0 => 0,
            _ => (ms - ms % 1000).max(Self::INTERVAL_MIN_MS),
        };
        Self {
            send_ms: offer(self.receive_ms),
            receive_ms: offer(self.send_ms),
        }
    }

    /// What holds for this end once the other has sent its header: at least one beat is due every `send_ms`, and one is
    /// to be expected every `receive_ms`; zero for no beats.
    #[must_use]
    pub fn agree(self, peer: Self) -> Self {
        // STOMP 1.1 and 1.2, Heart-beating: beats flow if one end can and the other wants, at the longer interval.
        let interval = |can: u32, wants: u32| match (can, wants) {
            (0, _) | (_, 0) => 0,
            (can, wants) => can.max(wants),
        };
        Self {
            send_ms: interval(self.send_ms, peer.receive_ms),
            receive_ms: interval(peer.send_ms, self.receive_ms),
        }
    }
}

/// Reads the value of the header. As in RabbitMQ the numbers may have a sign and no spaces around them, and a negative one
/// counts as zero. Numbers too large for the type, which is 49 days, are taken as its maximum.
impl FromStr for HeartBeat {
    type Err = InvalidHeartBeat;

    fn from_str(text: &str) -> Result<Self, InvalidHeartBeat> {
        let (send, receive) = text.split_once(',').ok_or(InvalidHeartBeat)?;
        Ok(Self {
            send_ms: parse_ms(send)?,
            receive_ms: parse_ms(receive)?,
        })
    }
}

/// Writes the value of the header.
impl fmt::Display for HeartBeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.send_ms, self.receive_ms)
    }
}

fn parse_ms(text: &str) -> Result<u32, InvalidHeartBeat> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(InvalidHeartBeat);
    }
    if text.starts_with('-') {
        return Ok(0);
    }
    // Nothing but digits can only fail by being too large.
    Ok(digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_answer(client: &str, want: &str) {
        let client: HeartBeat = client.parse().unwrap();
        assert_eq!(client.answer().to_string(), want, "answer to {client}");
    }

    #[test]
    fn answer_swaps_and_rounds_down_to_seconds() {
        check_answer("1000,2000", "2000,1000");
        check_answer("5000,3500", "3000,5000");
        check_answer("2500,7500", "7000,2000");
        check_answer("60000,90000", "90000,60000");
    }

    #[test]
    fn answer_is_never_below_a_second_unless_zero() {
        check_answer("100,200", "1000,1000");
        check_answer("1,1", "1000,1000");
        check_answer("0,3000", "3000,0");
        check_answer("5000,0", "0,5000");
        check_answer("0,0", "0,0");
    }

    #[test]
    fn longer_interval_wins_and_zero_switches_off() {
        let client = HeartBeat {
            send_ms: 100,
            receive_ms: 0,
        };
        let server = HeartBeat {
            send_ms: 5000,
            receive_ms: 1000,
        };
        assert_eq!(
            server.agree(client),
            HeartBeat {
                send_ms: 0,
                receive_ms: 1000
            }
        );
        assert_eq!(
            client.agree(server),
            HeartBeat {
                send_ms: 1000,
                receive_ms: 0
            }
        );
    }

    #[test]
    fn anything_but_two_numbers_is_refused() {
        for text in [
            "",
            "1000",
            "1000,",
            ",1000",
            "a,b",
            "1,2,3",
            "1.5,0",
            "+,0",
            "--1,0",
            "1000, 2000",
            " 1000,2000",
        ] {
            assert_eq!(text.parse::<HeartBeat>(), Err(InvalidHeartBeat), "{text:?}");
        }
    }

    #[test]
    fn numbers_may_have_a_sign() {
        check_answer("-1,0", "0,0");
        check_answer("+1000,-7000", "0,1000");
    }

    #[test]
    fn huge_numbers_are_cut_to_the_maximum() {
        let parsed: HeartBeat = "99999999999,10".parse().unwrap();
        assert_eq!(
            parsed,
            HeartBeat {
                send_ms: u32::MAX,
                receive_ms: 10
            }
        );
        assert_eq!(parsed.answer().receive_ms, 4_294_967_000);
    }
}
