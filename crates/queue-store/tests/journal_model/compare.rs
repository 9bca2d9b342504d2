//! Whether what was found after a restart is what could be.

use std::collections::BTreeSet;

use super::{Contents, MessageKey};

/// Whether something was found that is `contents` without messages that were gone later: files may
/// be emptied before the log says that what was in them is gone, when it has no room to say so.
pub(super) fn is_later(contents: &Contents, found: &Contents, possible: &[&Contents]) -> bool {
    let is_part = found
        .iter()
        .all(|(key, entry)| contents.get(key) == Some(entry));
    let missing = contents.keys().filter(|key| !found.contains_key(key));
    let gone_later: BTreeSet<_> = possible
        .iter()
        .skip_while(|it| **it != contents)
        .flat_map(|later| contents.keys().filter(|key| !later.contains_key(key)))
        .collect();
    is_part && missing.into_iter().all(|key| gone_later.contains(key))
}

/// What was found that should not have been, and the other way round, for each state that would do.
pub(super) fn differences(found: &Contents, possible: &[&Contents]) -> String {
    let differences = possible.iter().map(|want| {
        let extra: Vec<_> = found
            .iter()
            .filter(|(key, it)| want.get(key) != Some(it))
            .collect();
        let missing: Vec<_> = want
            .iter()
            .filter(|(key, it)| found.get(key) != Some(it))
            .collect();
        format!("found {extra:?}\nwanted {missing:?}\n")
    });
    differences.collect()
}

/// What was safe and went from one queue to another is found, as one or the other, unless it is gone from the `last` that
/// was known.
pub(super) fn check_moves(
    moves: &[(MessageKey, MessageKey)],
    safe: &Contents,
    last: &Contents,
    found: &Contents,
) {
    for (at, (from, to)) in moves.iter().enumerate() {
        let mut places = vec![*from, *to];
        for (from, to) in &moves[at + 1..] {
            if places.last() == Some(from) {
                places.push(*to);
            }
        }
        let is_alive = places.last().is_some_and(|it| last.contains_key(it));
        let is_found = places.iter().any(|place| found.contains_key(place));
        assert!(
            !safe.contains_key(from) || !is_alive || is_found,
            "lost on its way: {places:?}"
        );
    }
}
