//! Queries of `[auth.ldap]`, in TOML.
//!
//! ```toml
//! vhost = { in-group = "cn=${vhost},ou=vhosts,dc=example,dc=com" }
//! resource = { or = [
//!     { for = [{ permission = "read", then = true }] },
//!     { match = { value = "${name}", pattern = "^${username}-" } },
//! ] }
//! ```

use std::fmt;
use std::str::FromStr;

use leveret_auth::{Clause, Query, SetupError, Template, Value, Variable};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::text_or_table::text_or_table;

/// The attribute with the members of a group in most directories.
const MEMBER: &str = "member";

/// `true`, `false`, or a table with one key, which says what kind of query it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueryEntry(pub(super) Query);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Kind {
    Exists(Text),
    InGroup(Group),
    InGroupNested(NestedGroup),
    Match { value: Compared, pattern: Text },
    Equals(Compared, Compared),
    For(Vec<ClauseEntry>),
    And(Vec<QueryEntry>),
    Or(Vec<QueryEntry>),
    Not(Box<QueryEntry>),
}

impl From<Kind> for Query {
    fn from(kind: Kind) -> Self {
        let all = |queries: Vec<QueryEntry>| queries.into_iter().map(|entry| entry.0).collect();
        match kind {
            Kind::Exists(dn) => Self::Exists(dn.0),
            Kind::InGroup(Group { group, attribute }) => Self::InGroup { group, attribute },
            Kind::InGroupNested(nested) => Self::InGroupNested {
                group: nested.group.0,
                attribute: nested.attribute.unwrap_or_else(|| MEMBER.to_owned()),
                base: nested.base,
            },
            Kind::Match { value, pattern } => Self::Match {
                value: value.0,
                pattern: pattern.0,
            },
            Kind::Equals(one, other) => Self::Equals(one.0, other.0),
            Kind::For(clauses) => Self::For(clauses.into_iter().map(|entry| entry.0).collect()),
            Kind::And(queries) => Self::And(all(queries)),
            Kind::Or(queries) => Self::Or(all(queries)),
            Kind::Not(query) => Self::Not(Box::new(query.0)),
        }
    }
}

impl<'de> Deserialize<'de> for QueryEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(QueryVisitor)
    }
}

struct QueryVisitor;

impl<'de> Visitor<'de> for QueryVisitor {
    type Value = QueryEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a table with one query")
    }

    fn visit_bool<E: Error>(self, holds: bool) -> Result<QueryEntry, E> {
        Ok(QueryEntry(Query::Constant(holds)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<QueryEntry, A::Error> {
        let kind = Kind::deserialize(MapAccessDeserializer::new(&mut map))?;
        if let Some(other) = map.next_key::<String>()? {
            return Err(A::Error::custom(format!(
                "a query is of one kind; '{other}' stands beside another: join them by and, or"
            )));
        }
        Ok(QueryEntry(kind.into()))
    }
}

/// A text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) Template);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// `"cn=staff"`, or `{ group = "cn=staff", attribute = "uniqueMember" }`.
struct Group {
    group: Template,
    attribute: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupTable {
    group: Text,
    attribute: String,
}

impl FromStr for Group {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        Ok(Self {
            group: text.parse()?,
            attribute: MEMBER.to_owned(),
        })
    }
}

impl From<GroupTable> for Group {
    fn from(table: GroupTable) -> Self {
        Self {
            group: table.group.0,
            attribute: table.attribute,
        }
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::<_, _, GroupTable>(deserializer)
    }
}

/// `{ group = "cn=staff", base = "ou=groups" }`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NestedGroup {
    group: Text,
    attribute: Option<String>,
    base: String,
}

/// `"${name}"`, or `{ attribute = "department", of = "${user_dn}" }`.
struct Compared(Value);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeTable {
    attribute: String,
    of: Text,
}

impl FromStr for Compared {
    type Err = SetupError;

    fn from_str(text: &str) -> Result<Self, SetupError> {
        text.parse().map(Value::Text).map(Self)
    }
}

impl From<AttributeTable> for Compared {
    fn from(table: AttributeTable) -> Self {
        Self(Value::Attribute {
            of: table.of.0,
            name: table.attribute,
        })
    }
}

impl<'de> Deserialize<'de> for Compared {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_table::<_, _, AttributeTable>(deserializer)
    }
}

/// `{ permission = "read", then = true }`: one variable with its value, and a query.
struct ClauseEntry(Clause);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ClauseTable {
    username: Option<String>,
    user_dn: Option<String>,
    vhost: Option<String>,
    resource: Option<String>,
    name: Option<String>,
    permission: Option<String>,
    routing_key: Option<String>,
    then: QueryEntry,
}

impl<'de> Deserialize<'de> for ClauseEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = ClauseTable::deserialize(deserializer)?;
        let mut set = [
            (Variable::Username, table.username),
            (Variable::UserDn, table.user_dn),
            (Variable::Vhost, table.vhost),
            (Variable::Resource, table.resource),
            (Variable::Name, table.name),
            (Variable::Permission, table.permission),
            (Variable::RoutingKey, table.routing_key),
        ]
        .into_iter()
        .filter_map(|(variable, value)| Some((variable, value?)));
        let (Some((variable, value)), None) = (set.next(), set.next()) else {
            return Err(D::Error::custom(
                "a clause has one variable with a value, and then",
            ));
        };
        Ok(Self(Clause {
            variable,
            value,
            query: table.then.0,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct File {
        query: QueryEntry,
    }

    fn parse(text: &str) -> Result<Query, String> {
        let file: Result<File, _> = toml::from_str(&format!("query = {text}"));
        file.map(|file| file.query.0)
            .map_err(|error| error.message().to_owned())
    }

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(text: &str, want: Query) {
        assert_eq!(parse(text), Ok(want), "{text}");
    }

    #[test]
    fn every_kind_of_query_can_be_written() {
        check("true", Query::Constant(true));
        check("false", Query::Constant(false));
        check(
            "{ exists = 'cn=${vhost}' }",
            Query::Exists(template("cn=${vhost}")),
        );
        let in_group = |attribute: &str| Query::InGroup {
            group: template("cn=g"),
            attribute: attribute.to_owned(),
        };
        check("{ in-group = 'cn=g' }", in_group("member"));
        check(
            "{ in-group = { group = 'cn=g', attribute = 'owner' } }",
            in_group("owner"),
        );
        let nested = Query::InGroupNested {
            group: template("cn=g"),
            attribute: "member".to_owned(),
            base: "ou=groups".to_owned(),
        };
        check(
            "{ in-group-nested = { group = 'cn=g', base = 'ou=groups' } }",
            nested,
        );
        let matches = Query::Match {
            value: Value::Text(template("${name}")),
            pattern: template("^${username}-"),
        };
        check(
            "{ match = { value = '${name}', pattern = '^${username}-' } }",
            matches,
        );
        let department = Value::Attribute {
            of: template("${user_dn}"),
            name: "department".to_owned(),
        };
        let equals = Query::Equals(department, Value::Text(template("sales")));
        check(
            "{ equals = [{ attribute = 'department', of = '${user_dn}' }, 'sales'] }",
            equals,
        );
        let clause = Clause {
            variable: Variable::Permission,
            value: "read".to_owned(),
            query: Query::Constant(true),
        };
        check(
            "{ for = [{ permission = 'read', then = true }] }",
            Query::For(vec![clause]),
        );
        let both = Query::And(vec![
            Query::Not(Box::new(Query::Constant(false))),
            Query::Or(vec![Query::Constant(true)]),
        ]);
        check("{ and = [{ not = false }, { or = [true] }] }", both);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        let check = |text: &str, want: &str| {
            let problem = parse(text).unwrap_err();
            assert!(problem.contains(want), "{problem}");
        };
        check("'true'", "true, false, or a table with one query");
        check("{ in-groups = 'x' }", "unknown variant `in-groups`");
        check("{ exists = '${user}' }", "there is no ${user}");
        check(
            "{ match = { value = 'x', patern = 'y' } }",
            "unknown field `patern`",
        );
        check("{ for = [{ then = true }] }", "a clause has one variable");
        check(
            "{ for = [{ name = 'a', vhost = 'b', then = true }] }",
            "a clause has one variable",
        );
        check("{ for = [{ name = 'a' }] }", "missing field `then`");
        check("{ equals = ['a'] }", "invalid length 1");
        check("{ exists = 'a', in-group = 'b' }", "a query is of one kind");
    }
}
