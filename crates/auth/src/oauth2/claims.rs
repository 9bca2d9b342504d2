//! What a token says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::settings::OAuth2Settings;

/// The claims of a token whose signature is right.
#[derive(Debug)]
pub(super) struct Claims(pub(super) Map<String, Value>);

/// Why a token with a right signature lets nobody in; for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClaimProblem {
    #[error("the token has no expiry (claim exp)")]
    NoExpiry,
    #[error("claim {0} is not a time")]
    NotATime(&'static str),
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token is not for '{wanted}' (claim aud)")]
    Audience { wanted: String },
    #[error("the token is not from '{wanted}' (claim iss)")]
    Issuer { wanted: String },
    #[error("none of the claims {0:?} names a user")]
    NoUser(Vec<String>),
}

impl Claims {
    /// Whether the token is for us, and holds `now`; until when then.
    pub(super) fn check(
        &self,
        settings: &OAuth2Settings,
        now: SystemTime,
    ) -> Result<SystemTime, ClaimProblem> {
        if let Some(wanted) = &settings.issuer
            && self.text("iss").map(without_slash) != Some(without_slash(wanted))
        {
            return Err(ClaimProblem::Issuer {
                wanted: wanted.clone(),
            });
        }
        let wanted = &settings.resource_server_id;
        if settings.verify_aud && !self.words("aud").any(|audience| audience == wanted) {
            return Err(ClaimProblem::Audience {
                wanted: wanted.clone(),
            });
        }
        if let Some(from) = self.time("nbf")?
            && from
                .duration_since(now)
                .is_ok_and(|early| early > settings.leeway)
        {
            return Err(ClaimProblem::NotYetValid);
        }
        let expiry = self.time("exp")?.ok_or(ClaimProblem::NoExpiry)?;
        // What is beyond the clock's range is never reached.
        let until = expiry.checked_add(settings.leeway).unwrap_or(expiry);
        if until <= now {
            return Err(ClaimProblem::Expired);
        }
        Ok(until)
    }

    /// The user's name.
    pub(super) fn username(&self, settings: &OAuth2Settings) -> Result<&str, ClaimProblem> {
        let named = |claim: &String| self.text(claim).filter(|name| !name.is_empty());
        let claims = &settings.username_claims;
        let found = claims.iter().find_map(named);
        found.ok_or_else(|| ClaimProblem::NoUser(claims.clone()))
    }

    /// All scopes: those of the claim `scope` and of the additional ones, with aliases replaced by what they stand for.
    pub(super) fn scopes<'a>(&'a self, settings: &'a OAuth2Settings) -> Vec<&'a str> {
        let mut scopes = Vec::new();
        let standard = self.words("scope");
        let additional = settings
            .additional_scopes_keys
            .iter()
            .filter_map(|key| self.find(key))
            .flat_map(|value| words(of_server(value, &settings.resource_server_id)));
        for scope in standard.chain(additional) {
            match settings.scope_aliases.get(scope) {
                Some(meant) => scopes.extend(meant.iter().map(String::as_str)),
                None => scopes.push(scope),
            }
        }
        scopes
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// The words of a claim that is a text with spaces, or a list of texts; none without it.
    fn words(&self, claim: &str) -> impl Iterator<Item = &str> {
        self.0.get(claim).into_iter().flat_map(words)
    }

    /// A claim by its name, or by a path with dots into objects.
    fn find(&self, key: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(key) {
            return Some(value);
        }
        let mut names = key.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))
    }

    fn time(&self, claim: &'static str) -> Result<Option<SystemTime>, ClaimProblem> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        // RFC 7519, section 2: a number of seconds, which may have a fraction.
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0);
        let span = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let time = span.and_then(|span| UNIX_EPOCH.checked_add(span));
        time.map(Some).ok_or(ClaimProblem::NotATime(claim))
    }
}

/// An additional claim may have its scopes apart for each server.
fn of_server<'a>(value: &'a Value, resource_server_id: &str) -> &'a Value {
    match value {
        Value::Object(servers) => servers.get(resource_server_id).unwrap_or(&Value::Null),
        value => value,
    }
}

fn without_slash(address: &str) -> &str {
    address.strip_suffix('/').unwrap_or(address)
}

/// The words of a text, or of each text of a list; of anything else none.
fn words(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    let texts = value.as_str().into_iter();
    let texts = texts.chain(list.iter().filter_map(Value::as_str));
    texts.flat_map(str::split_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_S: u64 = 1_000_000;

    fn claims(value: Value) -> Claims {
        match value {
            Value::Object(map) => Claims(map),
            other => panic!("{other} is no object"),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[track_caller]
    fn check(settings: &OAuth2Settings, value: Value, want: Result<u64, ClaimProblem>) {
        let found = claims(value.clone()).check(settings, at(NOW_S));
        assert_eq!(found, want.map(at), "{value}");
    }

    #[test]
    fn a_token_holds_until_it_expires() {
        let mut settings = OAuth2Settings::new("mq");
        check(
            &settings,
            json!({"aud": "mq", "exp": NOW_S + 1}),
            Ok(NOW_S + 1),
        );
        check(
            &settings,
            json!({"aud": "mq", "exp": NOW_S}),
            Err(ClaimProblem::Expired),
        );
        check(&settings, json!({"aud": "mq"}), Err(ClaimProblem::NoExpiry));
        for bad in [json!("soon"), json!(-1), json!(1e300), json!(null)] {
            let value = json!({"aud": "mq", "exp": bad});
            check(&settings, value, Err(ClaimProblem::NotATime("exp")));
        }
        settings.leeway = Duration::from_secs(10);
        check(
            &settings,
            json!({"aud": "mq", "exp": NOW_S - 9}),
            Ok(NOW_S + 1),
        );
        check(
            &settings,
            json!({"aud": "mq", "exp": NOW_S - 10}),
            Err(ClaimProblem::Expired),
        );
    }

    #[test]
    fn a_token_holds_from_its_beginning() {
        let mut settings = OAuth2Settings::new("mq");
        let value = json!({"aud": "mq", "exp": NOW_S + 9, "nbf": NOW_S});
        check(&settings, value, Ok(NOW_S + 9));
        let early = json!({"aud": "mq", "exp": NOW_S + 9, "nbf": NOW_S + 1});
        check(&settings, early.clone(), Err(ClaimProblem::NotYetValid));
        settings.leeway = Duration::from_secs(1);
        check(&settings, early, Ok(NOW_S + 10));
    }

    #[test]
    fn a_token_is_for_us() {
        let mut settings = OAuth2Settings::new("mq");
        let end = NOW_S + 1;
        let other = || {
            Err(ClaimProblem::Audience {
                wanted: "mq".into(),
            })
        };
        check(&settings, json!({"aud": ["x", "mq"], "exp": end}), Ok(end));
        check(&settings, json!({"aud": "x mq", "exp": end}), Ok(end));
        check(&settings, json!({"aud": "mqx", "exp": end}), other());
        check(&settings, json!({"aud": [], "exp": end}), other());
        check(&settings, json!({"aud": 7, "exp": end}), other());
        check(&settings, json!({"exp": end}), other());
        settings.verify_aud = false;
        check(&settings, json!({"exp": end}), Ok(end));
    }

    #[test]
    fn a_token_is_from_our_issuer() {
        let mut settings = OAuth2Settings::new("mq");
        settings.issuer = Some("https://id.example/".into());
        let end = NOW_S + 1;
        let value = |issuer| json!({"aud": "mq", "exp": end, "iss": issuer});
        check(&settings, value("https://id.example"), Ok(end));
        let refused = ClaimProblem::Issuer {
            wanted: "https://id.example/".into(),
        };
        check(
            &settings,
            value("https://evil.example"),
            Err(refused.clone()),
        );
        check(&settings, json!({"aud": "mq", "exp": end}), Err(refused));
    }

    #[test]
    fn the_first_claim_that_names_a_user_counts() {
        let mut settings = OAuth2Settings::new("mq");
        let name =
            |settings: &OAuth2Settings, value| claims(value).username(settings).map(str::to_owned);
        assert_eq!(
            name(&settings, json!({"sub": "ann", "client_id": "x"})),
            Ok("ann".into())
        );
        assert_eq!(
            name(&settings, json!({"sub": "", "client_id": "x"})),
            Ok("x".into())
        );
        assert_eq!(
            name(&settings, json!({"sub": 7, "client_id": "x"})),
            Ok("x".into())
        );
        settings.username_claims = vec!["email".into()];
        assert_eq!(
            name(&settings, json!({"sub": "ann"})),
            Err(ClaimProblem::NoUser(vec!["email".into()]))
        );
    }

    #[test]
    fn scopes_come_from_all_claims_and_aliases() {
        let mut settings = OAuth2Settings::new("mq");
        let scopes = |settings: &OAuth2Settings, value| -> Vec<String> {
            let claims = claims(value);
            claims
                .scopes(settings)
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(scopes(&settings, json!({"scope": "a  b"})), ["a", "b"]);
        assert_eq!(
            scopes(&settings, json!({"scope": ["a", "b c", 7]})),
            ["a", "b", "c"]
        );
        assert_eq!(scopes(&settings, json!({"scope": 7})), [""; 0]);
        settings.additional_scopes_keys = vec!["roles".into(), "realm.roles".into()];
        let value = json!({
            "scope": "a",
            "roles": {"mq": ["b"], "other": ["x"]},
            "realm": {"roles": "admin d"},
        });
        settings
            .scope_aliases
            .insert("admin".into(), vec!["c1".into(), "c2".into()]);
        assert_eq!(scopes(&settings, value), ["a", "b", "c1", "c2", "d"]);
    }
}
