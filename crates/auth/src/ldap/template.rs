//! Texts with variables.

use crate::error::SetupError;

/// What a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variable {
    /// The name that the user gave.
    Username,
    /// The user's distinguished name.
    UserDn,
    /// The virtual host.
    Vhost,
    /// `exchange`, `queue` or `topic`.
    Resource,
    /// The name of the exchange or queue.
    Name,
    /// `configure`, `write` or `read`.
    Permission,
    /// The routing key, or the pattern of a binding.
    RoutingKey,
}

impl Variable {
    pub(super) const ALL: [Self; 7] = [
        Self::Username,
        Self::UserDn,
        Self::Vhost,
        Self::Resource,
        Self::Name,
        Self::Permission,
        Self::RoutingKey,
    ];

    /// How it is written, without `${` and `}`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::UserDn => "user_dn",
            Self::Vhost => "vhost",
            Self::Resource => "resource",
            Self::Name => "name",
            Self::Permission => "permission",
            Self::RoutingKey => "routing_key",
        }
    }
}

/// A text in which `${username}` and its like stand for what is asked about.
///
/// What is put in is escaped for the place in which the text stands, so that a name can never be more than a name there:
/// as a value in a distinguished name (RFC 4514), or as a literal in a regular expression. `${user_dn}` is a
/// distinguished name itself, and stands as one where one is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

impl std::str::FromStr for Template {
    type Err = SetupError;

    /// # Errors
    /// For a variable that does not exist, and for `${` without an end.
    fn from_str(text: &str) -> Result<Self, SetupError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let (name, behind) = behind
                .split_once('}')
                .ok_or_else(|| SetupError::new(format!("'{text}' has a ${{ without an end")))?;
            let variable = Variable::ALL
                .into_iter()
                .find(|known| known.as_str() == name);
            let variable = variable
                .ok_or_else(|| SetupError::new(format!("'{text}': there is no ${{{name}}}")))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Variable(variable));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

impl Template {
    pub(super) fn variables(&self) -> impl Iterator<Item = Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(*variable),
            Part::Text(_) => None,
        })
    }

    /// As a text.
    pub(super) fn text(&self, values: &Values<'_>) -> String {
        self.fill(values, |_, value| value.to_owned())
    }

    /// As a distinguished name.
    pub(super) fn dn(&self, values: &Values<'_>) -> String {
        self.fill(values, |variable, value| match variable {
            Variable::UserDn => value.to_owned(),
            _ => ldap3::dn_escape(value).into_owned(),
        })
    }

    /// As a regular expression.
    pub(super) fn pattern(&self, values: &Values<'_>) -> String {
        self.fill(values, |_, value| regex::escape(value))
    }

    fn fill(&self, values: &Values<'_>, escape: impl Fn(Variable, &str) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(variable) => escape(*variable, values.get(*variable)),
        });
        parts.collect()
    }
}

/// What variables stand for in one question. What a question does not have is empty; `Query::check` sees to it that no
/// query asks for that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Values<'a> {
    pub(super) username: &'a str,
    pub(super) user_dn: &'a str,
    pub(super) vhost: &'a str,
    pub(super) resource: &'a str,
    pub(super) name: &'a str,
    pub(super) permission: &'a str,
    pub(super) routing_key: &'a str,
}

impl<'a> Values<'a> {
    pub(super) fn get(&self, variable: Variable) -> &'a str {
        match variable {
            Variable::Username => self.username,
            Variable::UserDn => self.user_dn,
            Variable::Vhost => self.vhost,
            Variable::Resource => self.resource,
            Variable::Name => self.name,
            Variable::Permission => self.permission,
            Variable::RoutingKey => self.routing_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    #[test]
    fn variables_stand_for_what_is_asked_about() {
        let values = Values {
            username: "ann",
            user_dn: "cn=ann,dc=x",
            vhost: "/",
            resource: "queue",
            name: "q",
            permission: "read",
            routing_key: "a.b",
        };
        let all =
            "${username} ${user_dn} ${vhost} ${resource} ${name} ${permission} ${routing_key}$";
        assert_eq!(
            template(all).text(&values),
            "ann cn=ann,dc=x / queue q read a.b$"
        );
        assert_eq!(template("").text(&values), "");
        assert_eq!(template("${username}${vhost}").text(&values), "ann/");
    }

    #[test]
    fn a_name_is_no_more_than_a_name_in_a_distinguished_name() {
        let check = |name: &str, want: &str| {
            let values = Values {
                username: name,
                user_dn: "cn=a\\2cb,dc=x",
                ..Values::default()
            };
            assert_eq!(template("cn=${username},dc=x").dn(&values), want);
            assert_eq!(template("${user_dn}").dn(&values), "cn=a\\2cb,dc=x");
        };
        check("ann", "cn=ann,dc=x");
        check("ann,ou=admins", "cn=ann\\2cou\\3dadmins,dc=x");
        check("a+b;c<d>e\"f\\g", "cn=a\\2bb\\3bc\\3cd\\3ee\\22f\\5cg,dc=x");
        check(" #x ", "cn=\\20#x\\20,dc=x");
        check("\0", "cn=\\00,dc=x");
        check("#x", "cn=\\23x,dc=x");
        // What looks like a variable is not looked at again.
        check("${user_dn}", "cn=${user_dn},dc=x");
    }

    #[test]
    fn a_name_is_no_more_than_a_name_in_a_regular_expression() {
        let values = Values {
            username: ".*",
            ..Values::default()
        };
        assert_eq!(template("^${username}-").pattern(&values), r"^\.\*-");
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        let check = |text: &str, want: &str| {
            let problem = text.parse::<Template>().unwrap_err().to_string();
            assert!(problem.contains(want), "{problem}");
        };
        check("cn=${user}", "there is no ${user}");
        check("cn=${username", "without an end");
        check("${}", "there is no ${}");
    }
}
