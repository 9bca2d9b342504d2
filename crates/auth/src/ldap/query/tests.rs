//! Queries against a directory in memory.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::*;

/// Attributes of entries by their distinguished names.
#[derive(Default)]
struct Memory {
    entries: HashMap<&'static str, Vec<(&'static str, &'static str)>>,
    asked: Mutex<Vec<String>>,
}

impl Memory {
    fn has(&self, dn: &str, attribute: &str, value: &str) -> bool {
        let attributes = self.entries.get(dn);
        attributes.is_some_and(|all| all.contains(&(attribute, value)))
    }

    fn note(&self, question: &str) {
        self.asked.lock().unwrap().push(question.to_owned());
    }
}

impl Directory for Memory {
    async fn exists(&self, dn: &str) -> Result<bool, NoTruth> {
        self.note(dn);
        if dn == "down" {
            return Err(NoTruth::Directory("it is down".into()));
        }
        Ok(self.entries.contains_key(dn))
    }

    async fn has_member(
        &self,
        group: &str,
        attribute: &str,
        member: &str,
    ) -> Result<bool, NoTruth> {
        self.note(group);
        Ok(self.has(group, attribute, member))
    }

    async fn groups_of(
        &self,
        base: &str,
        attribute: &str,
        member: &str,
    ) -> Result<Vec<String>, NoTruth> {
        if base == "endless" {
            return Ok((0..9).map(|n| format!("{member}{n}")).collect());
        }
        let groups = self.entries.keys().copied();
        let below = groups.filter(|group| group.ends_with(base));
        let found = below.filter(|group| self.has(group, attribute, member));
        Ok(found.map(str::to_owned).collect())
    }

    async fn values(&self, dn: &str, attribute: &str) -> Result<Vec<String>, NoTruth> {
        let attributes = self.entries.get(dn).cloned().unwrap_or_default();
        let named = attributes
            .into_iter()
            .filter(|(name, _)| *name == attribute);
        Ok(named.map(|(_, value)| value.to_owned()).collect())
    }
}

fn memory() -> Memory {
    let entries = [
        (
            "cn=ann",
            vec![("mail", "ann@x"), ("mail", "a@x"), ("title", "clerk")],
        ),
        (
            "cn=staff,o",
            vec![("member", "cn=ann"), ("owner", "cn=bob")],
        ),
        (
            "cn=all,o",
            vec![("member", "cn=staff,o"), ("member", "cn=all,o")],
        ),
        ("cn=world,o", vec![("member", "cn=all,o")]),
        ("cn=shop", vec![]),
    ];
    Memory {
        entries: HashMap::from(entries),
        ..Memory::default()
    }
}

const ANN: Values<'static> = Values {
    username: "ann",
    user_dn: "cn=ann",
    vhost: "shop",
    resource: "queue",
    name: "ann-1",
    permission: "read",
    routing_key: "eu.at",
};

/// Whether it holds for ann; nothing here waits for anybody.
fn outcome(memory: &Memory, query: &Query, values: &Values<'_>) -> Result<bool, NoTruth> {
    let mut future = pin!(query.holds(memory, values));
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

#[track_caller]
fn check(query: Query, want: bool) {
    query.check(&Variable::ALL).unwrap();
    assert_eq!(outcome(&memory(), &query, &ANN), Ok(want), "{query:?}");
}

fn template(text: &str) -> Template {
    text.parse().unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(template(text))
}

fn attribute(of: &str, name: &str) -> Value {
    Value::Attribute {
        of: template(of),
        name: name.to_owned(),
    }
}

fn exists(dn: &str) -> Query {
    Query::Exists(template(dn))
}

fn in_group(group: &str, attribute: &str) -> Query {
    Query::InGroup {
        group: template(group),
        attribute: attribute.to_owned(),
    }
}

fn nested(group: &str, base: &str) -> Query {
    Query::InGroupNested {
        group: template(group),
        attribute: "member".to_owned(),
        base: base.to_owned(),
    }
}

fn matches(value: Value, pattern: &str) -> Query {
    Query::Match {
        value,
        pattern: template(pattern),
    }
}

#[test]
fn an_entry_exists_or_not() {
    check(exists("cn=${vhost}"), true);
    check(exists("cn=${vhost},o=x"), false);
    check(Query::Constant(true), true);
    check(Query::Constant(false), false);
}

#[test]
fn a_user_is_in_a_group_by_the_attribute_that_is_named() {
    check(in_group("cn=staff,o", "member"), true);
    check(in_group("cn=staff,o", "owner"), false);
    check(in_group("cn=all,o", "member"), false);
    check(in_group("cn=none", "member"), false);
}

#[test]
fn a_user_is_in_a_group_by_way_of_others() {
    check(nested("cn=staff,o", "o"), true);
    check(nested("cn=all,o", "o"), true);
    check(nested("cn=world,o", "o"), true);
    check(nested("cn=shop", "o"), false);
    // The groups on the way are not below this.
    check(nested("cn=world,o", "elsewhere"), false);
}

#[test]
fn groups_without_end_are_given_up() {
    let query = nested("cn=shop", "endless");
    let memory = memory();
    assert_eq!(outcome(&memory, &query, &ANN), Err(NoTruth::TooNested));
    assert!(memory.asked.lock().unwrap().len() <= NESTED_MAX);
}

#[test]
fn values_are_compared_and_matched() {
    check(Query::Equals(text("${username}-1"), text("${name}")), true);
    check(Query::Equals(text("${username}"), text("${name}")), false);
    check(
        Query::Equals(attribute("${user_dn}", "mail"), text("a@x")),
        true,
    );
    check(
        Query::Equals(attribute("${user_dn}", "fax"), text("")),
        false,
    );
    check(
        Query::Equals(attribute("cn=none", "mail"), text("a@x")),
        false,
    );
    check(matches(text("${name}"), "^${username}-"), true);
    check(matches(text("${name}"), "^${username}$"), false);
    check(matches(attribute("${user_dn}", "mail"), "^ann@"), true);
    check(matches(text("${routing_key}"), r"\.at$"), true);
}

#[test]
fn the_first_clause_that_fits_decides() {
    let clause = |variable, value: &str, holds| Clause {
        variable,
        value: value.to_owned(),
        query: Query::Constant(holds),
    };
    let permission = |value, holds| clause(Variable::Permission, value, holds);
    check(
        Query::For(vec![permission("write", false), permission("read", true)]),
        true,
    );
    check(
        Query::For(vec![permission("read", false), permission("read", true)]),
        false,
    );
    check(Query::For(vec![permission("write", true)]), false);
    check(
        Query::For(vec![clause(Variable::Resource, "queue", true)]),
        true,
    );
    check(Query::For(Vec::new()), false);
}

#[test]
fn queries_are_joined_and_no_more_is_asked_than_has_to_be() {
    let (yes, no) = (|| exists("cn=shop"), || exists("cn=none"));
    check(Query::And(vec![yes(), yes()]), true);
    check(Query::And(vec![yes(), no()]), false);
    check(Query::Or(vec![no(), yes()]), true);
    check(Query::Or(vec![no(), no()]), false);
    check(Query::Not(Box::new(no())), true);
    check(Query::And(Vec::new()), true);
    check(Query::Or(Vec::new()), false);
    check(Query::And(vec![no(), exists("down")]), false);
    check(Query::Or(vec![yes(), exists("down")]), true);
}

#[test]
fn what_could_not_be_asked_does_not_hold_also_not_turned_round() {
    for query in [
        exists("down"),
        Query::Not(Box::new(exists("down"))),
        Query::Or(vec![exists("down"), Query::Constant(true)]),
    ] {
        assert!(matches!(
            outcome(&memory(), &query, &ANN),
            Err(NoTruth::Directory(_))
        ));
    }
}

#[test]
fn what_a_user_calls_himself_changes_no_query() {
    let hostile = Values {
        username: "x,o=y)(cn=*",
        name: ".*",
        ..ANN
    };
    let memory = memory();
    let query = exists("cn=${username},o=x");
    assert_eq!(outcome(&memory, &query, &hostile), Ok(false));
    assert_eq!(
        *memory.asked.lock().unwrap(),
        ["cn=x\\2co\\3dy)(cn\\3d*,o=x"]
    );
    let query = matches(text("orders"), "^${name}$");
    assert_eq!(outcome(&memory, &query, &hostile), Ok(false));
}

#[test]
fn queries_that_make_no_sense_are_refused() {
    let check = |query: Query, want: &str| {
        let allowed = [Variable::Username];
        let problem = query.check(&allowed).unwrap_err().to_string();
        assert!(problem.contains(want), "{problem}");
    };
    check(exists("${vhost}"), "not asked about a ${vhost}");
    check(Query::Not(Box::new(exists("${name}"))), "${name}");
    check(Query::And(vec![in_group("${name}", "member")]), "${name}");
    check(
        Query::Equals(text("x"), attribute("${vhost}", "a")),
        "${vhost}",
    );
    check(matches(text("x"), "("), "no regular expression");
    check(in_group("cn=x", "member)(x"), "no attribute");
    check(matches(attribute("cn=x", ""), "x"), "no attribute");
    let clause = Clause {
        variable: Variable::Permission,
        value: "read".to_owned(),
        query: Query::Constant(true),
    };
    check(Query::For(vec![clause]), "${permission}");
    let names: HashSet<_> = Variable::ALL.map(Variable::as_str).into();
    assert_eq!(names.len(), Variable::ALL.len());
}
