use std::fmt;

/// A version of the protocol, ordered by age.
///
/// A connection starts as [`Version::V1_0`], the only version that does not announce itself, and moves to what CONNECT
/// and CONNECTED agree on.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// No escapes, no heart-beats; spaces before a header's value do not count.
    #[default]
    V1_0,
    /// Adds escapes, heart-beats and NACK.
    V1_1,
    /// Adds the escape `\r` and the `ack` header.
    V1_2,
}

impl Version {
    /// Every version this crate speaks, oldest first.
    pub const ALL: [Self; 3] = [Self::V1_0, Self::V1_1, Self::V1_2];

    /// Every version this crate speaks, as the `version` header of an ERROR frame lists them after a failed negotiation.
    pub const SUPPORTED: &'static str = "1.0,1.1,1.2";

    /// The version that a CONNECT or STOMP frame with this `accept-version` header leads to: the highest that both ends
    /// know, and 1.0 when there is no such header.
    ///
    /// Spaces around the listed versions do not count and unknown versions are passed over. `None` means that nothing in
    /// the list is known.
    pub fn negotiate(accept_version: Option<&str>) -> Option<Self> {
        // STOMP 1.1, Protocol Negotiation: a missing accept-version stands for 1.0.
        let Some(list) = accept_version else {
            return Some(Self::V1_0);
        };
        list.split(',').filter_map(Self::parse).max()
    }

    /// Reads one version as it stands in the `version` header of CONNECTED, or `None` if it is not known.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text.trim())
    }

    /// The version as it is written in headers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept_version: Option<&str>, want: Option<Version>) {
        assert_eq!(
            Version::negotiate(accept_version),
            want,
            "{accept_version:?}"
        );
    }

    #[test]
    fn absence_means_the_oldest_version() {
        check(None, Some(Version::V1_0));
    }

    #[test]
    fn highest_common_version_wins_in_any_order() {
        check(Some("1.0,1.1,1.2"), Some(Version::V1_2));
        check(Some("1.1,1.0"), Some(Version::V1_1));
        check(Some(" 1.0 , 1.2 "), Some(Version::V1_2));
        check(Some("1.0"), Some(Version::V1_0));
    }

    #[test]
    fn unknown_versions_are_passed_over() {
        check(Some("1.3,1.1,2.0"), Some(Version::V1_1));
        check(Some("1.1,,"), Some(Version::V1_1));
    }

    #[test]
    fn nothing_in_common_is_no_version() {
        check(Some("2.0"), None);
        check(Some(""), None);
        check(Some("1.20"), None);
        check(Some("1.1;1.2"), None);
    }

    #[test]
    fn supported_list_names_every_version() {
        assert_eq!(
            Version::ALL.map(Version::as_str).join(","),
            Version::SUPPORTED
        );
    }
}
