//! The routing keys of a message: its own, and those in its CC and BCC headers (behaviour reference, section 8).

use std::collections::HashSet;

use leveret_amqp_codec::{RawTable, ValueRef};
use smallvec::SmallVec;

use crate::error::Refusal;

type Hasher = foldhash::fast::RandomState;

/// The headers that name routing keys beside the message's own.
const NAMES: [&str; 2] = ["CC", "BCC"];

/// How many different ones a client may name there: as many as a message may have headers unless somebody says otherwise. With
/// each of them all exchanges on the way are asked, at one look for everything else.
const FURTHER_KEYS_MAX: usize = 1000;

/// Up to so many keys are compared one by one.
const FEW: usize = 16;

/// Whether a message has any of these headers.
pub(super) fn has_further_keys(headers: RawTable<'_>) -> bool {
    NAMES.iter().any(|name| headers.get(name).is_some())
}

/// The keys by which a client's message is routed, its own first, each once.
///
/// # Errors
/// 406 when CC or BCC is not an array, and when both name too many keys.
pub(in crate::vhost) fn publishable_keys<'a>(
    own: &'a str,
    headers: RawTable<'a>,
) -> Result<SmallVec<[&'a str; 1]>, Refusal> {
    let keys = routing_keys(own, headers)?;
    let further = keys.len() - 1;
    if further > FURTHER_KEYS_MAX {
        return Err(Refusal::precondition_failed(format!(
            "message has {further} routing keys in its headers CC and BCC, which is more than the maximum \
             ({FURTHER_KEYS_MAX})"
        )));
    }
    Ok(keys)
}

/// The same for a message that has been accepted, with whatever number of keys. Elements that are not strings are skipped.
///
/// # Errors
/// 406 when CC or BCC is not an array.
pub(super) fn routing_keys<'a>(
    own: &'a str,
    headers: RawTable<'a>,
) -> Result<SmallVec<[&'a str; 1]>, Refusal> {
    let mut keys = SmallVec::from_buf([own]);
    for name in NAMES {
        match headers.get(name) {
            None => {}
            Some(ValueRef::Array(array)) => {
                keys.extend(array.iter().filter_map(|value| match value {
                    ValueRef::LongString(key) => std::str::from_utf8(key).ok(),
                    _ => None,
                }));
            }
            Some(other) => {
                return Err(Refusal::precondition_failed(format!(
                    "invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}",
                    other.type_name()
                )));
            }
        }
    }
    leave_each_once(&mut keys);
    Ok(keys)
}

/// Leaves the first of those that are equal.
fn leave_each_once(keys: &mut SmallVec<[&str; 1]>) {
    if keys.len() <= FEW {
        let mut at = 1;
        while at < keys.len() {
            if keys[..at].contains(&keys[at]) {
                keys.remove(at);
            } else {
                at += 1;
            }
        }
        return;
    }
    let mut known: HashSet<&str, Hasher> = HashSet::default();
    keys.retain(|key| known.insert(key));
}

#[cfg(test)]
mod tests {
    use leveret_amqp_codec::{Table, Value};

    use super::*;

    fn headers(further: &[(&str, &[&str])]) -> Vec<u8> {
        let named = further.iter().map(|(name, keys)| {
            let keys = keys.iter().map(|key| Value::from(*key));
            (*name, Value::Array(keys.collect()))
        });
        Table::from_iter(named).to_bytes()
    }

    #[track_caller]
    fn check(further: &[(&str, &[&str])], want: &[&str]) {
        let headers = headers(further);
        let headers = RawTable::from_validated_bytes(&headers);
        assert_eq!(publishable_keys("own", headers).unwrap()[..], *want);
    }

    #[test]
    fn each_key_is_there_once_and_in_order() {
        check(&[], &["own"]);
        check(&[("CC", &["own", "own"])], &["own"]);
        check(
            &[("CC", &["b", "a", "b"]), ("BCC", &["c", "a"])],
            &["own", "b", "a", "c"],
        );
        let many: Vec<String> = (0..2000).map(|n| (n % 300).to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let want: Vec<&str> = ["own"].iter().chain(&many[..300]).copied().collect();
        check(&[("CC", &many), ("BCC", &["own", "7"])], &want);
    }

    #[test]
    fn so_many_keys_and_no_more_are_accepted_from_a_client() {
        let keys: Vec<String> = (0..=FURTHER_KEYS_MAX).map(|n| n.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let refusal = |keys: &[&str]| {
            let headers = headers(&[("CC", keys)]);
            let headers = RawTable::from_validated_bytes(&headers);
            publishable_keys("own", headers)
                .err()
                .map(|it| it.reply_text())
        };
        assert_eq!(refusal(&keys[1..]), None);
        let text = refusal(&keys).unwrap();
        let want = "message has 1001 routing keys in its headers CC and BCC, which is more than the maximum (1000)";
        assert!(text.ends_with(want), "{text}");
        let headers = headers(&[("CC", &keys)]);
        let headers = RawTable::from_validated_bytes(&headers);
        let accepted = routing_keys("own", headers).unwrap();
        assert_eq!(accepted.len(), FURTHER_KEYS_MAX + 2);
    }
}
