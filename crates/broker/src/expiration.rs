//! The `expiration` property: a decimal number of milliseconds in a string.

use leveret_amqp_codec::Peek;

use crate::error::Refusal;

/// The longest expiration that is accepted: ten years, as RabbitMQ 4 has it.
const EXPIRATION_MAX_MS: i64 = 315_360_000_000;

/// The expiration of a message, if it has one.
///
/// # Errors
/// 406 with the text of RabbitMQ's parser (behaviour reference, section 8).
pub(crate) fn of(peek: &Peek<'_>) -> Result<Option<u64>, Refusal> {
    peek.expiration.map(|text| parse(&text)).transpose()
}

fn parse(text: &str) -> Result<u64, Refusal> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(digits.len());
    let sign = text.len() - digits.len();
    let problem = if end == 0 {
        "no_integer".to_owned()
    } else if end < digits.len() {
        format!("{{leftover_string,\"{}\"}}", &digits[end..])
    } else {
        match text[..sign + end].parse::<i64>() {
            Ok(number) if number < 0 => format!("{{value_negative,{number}}}"),
            Ok(number) if number <= EXPIRATION_MAX_MS => return Ok(number.unsigned_abs()),
            _ => format!("{{value_too_large,{}}}", text.trim_start_matches('+')),
        }
    };
    Err(Refusal::precondition_failed(format!(
        "invalid expiration '{text}': {problem}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Result<u64, &str>) {
        let got = parse(text).map_err(|refusal| refusal.explanation);
        let want = want.map_err(|problem| format!("invalid expiration '{text}': {problem}"));
        assert_eq!(got, want);
    }

    #[test]
    fn expirations_are_whole_milliseconds() {
        check("0", Ok(0));
        check("60000", Ok(60_000));
        check("abc", Err("no_integer"));
        check("", Err("no_integer"));
        check(" 100", Err("no_integer"));
        check("10x", Err("{leftover_string,\"x\"}"));
        check("1.5", Err("{leftover_string,\".5\"}"));
        check("-1", Err("{value_negative,-1}"));
        check("315360000001", Err("{value_too_large,315360000001}"));
        check(
            "99999999999999999999",
            Err("{value_too_large,99999999999999999999}"),
        );
    }
}
