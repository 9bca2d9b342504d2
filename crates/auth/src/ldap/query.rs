//! Questions to a directory.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;

use regex::RegexBuilder;

use super::template::{Template, Values, Variable};
use crate::error::SetupError;

/// How many names are looked at to find out whether somebody is in a group by way of others. A directory in which
/// somebody is in more groups is rare; one that never comes to an end is cut here.
const NESTED_MAX: usize = 256;

/// How large a regular expression may become, in bytes; a hundred times what a name takes.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// What has to hold in the directory, in the language of RabbitMQ's plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// Holds, or does not.
    Constant(bool),
    /// There is an entry of this distinguished name.
    Exists(Template),
    /// The user is among the values of an attribute of this entry.
    InGroup {
        /// The group's distinguished name.
        group: Template,
        /// The attribute with the members; in most directories `member`.
        attribute: String,
    },
    /// The same, or a group is in which the user is, at whatever depth.
    InGroupNested {
        /// The group's distinguished name.
        group: Template,
        /// The attribute with the members; in most directories `member`.
        attribute: String,
        /// Where groups are, at any depth below.
        base: String,
    },
    /// A regular expression is found in a value.
    Match {
        /// The value.
        value: Value,
        /// The regular expression.
        pattern: Template,
    },
    /// Two values are the same. Of an attribute with several, one has to be.
    Equals(Value, Value),
    /// What the first of these says whose variable has its value; without one this does not hold.
    For(Vec<Clause>),
    /// All hold; of none, they do.
    And(Vec<Self>),
    /// One holds; of none, it does not.
    Or(Vec<Self>),
    /// It does not hold.
    Not(Box<Self>),
}

/// A part of [`Query::For`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// What is looked at.
    pub variable: Variable,
    /// What it has to be.
    pub value: String,
    /// What has to hold then.
    pub query: Query,
}

/// Something to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Template),
    /// The values of an attribute; none, if there is no such entry or attribute.
    Attribute {
        /// The entry's distinguished name.
        of: Template,
        /// The attribute's name.
        name: String,
    },
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoTruth {
    #[error("{0}")]
    Directory(String),
    #[error("somebody is in more than {NESTED_MAX} groups, or they never come to an end")]
    TooNested,
    #[error("no regular expression: {0}")]
    Pattern(String),
}

/// As much of a directory as queries need.
pub(super) trait Directory: Sync {
    /// Whether there is an entry of this distinguished name.
    fn exists(&self, dn: &str) -> impl Future<Output = Result<bool, NoTruth>> + Send;

    /// Whether the attribute of this entry has this value, which is a distinguished name; no without such an entry.
    fn has_member(
        &self,
        group: &str,
        attribute: &str,
        member: &str,
    ) -> impl Future<Output = Result<bool, NoTruth>> + Send;

    /// The distinguished names of the entries below `base` whose attribute has this value, which is one too.
    fn groups_of(
        &self,
        base: &str,
        attribute: &str,
        member: &str,
    ) -> impl Future<Output = Result<Vec<String>, NoTruth>> + Send;

    /// The values of an attribute; none without such an entry.
    fn values(
        &self,
        dn: &str,
        attribute: &str,
    ) -> impl Future<Output = Result<Vec<String>, NoTruth>> + Send;
}

type TruthFuture<'a> = Pin<Box<dyn Future<Output = Result<bool, NoTruth>> + Send + 'a>>;

impl Query {
    /// Whether it asks for nothing that a question of this kind does not have.
    ///
    /// # Errors
    /// For the first variable that it should not have, and for a regular expression that is none.
    pub(super) fn check(&self, allowed: &[Variable]) -> Result<(), SetupError> {
        let check_template = |template: &Template| -> Result<(), SetupError> {
            let mut variables = template.variables();
            match variables.find(|variable| !allowed.contains(variable)) {
                Some(variable) => Err(not_there(variable)),
                None => Ok(()),
            }
        };
        let check_value = |value: &Value| match value {
            Value::Text(template) => check_template(template),
            Value::Attribute { of, name } => {
                check_template(of).and_then(|()| check_attribute(name))
            }
        };
        match self {
            Self::Constant(_) => Ok(()),
            Self::Exists(dn) => check_template(dn),
            Self::InGroup { group, attribute }
            | Self::InGroupNested {
                group, attribute, ..
            } => check_template(group).and_then(|()| check_attribute(attribute)),
            Self::Match { value, pattern } => {
                check_value(value)?;
                check_template(pattern)?;
                // With names of nothing, it has the form that it will have.
                let compiled = compile(&pattern.pattern(&Values::default()));
                compiled
                    .map(drop)
                    .map_err(|problem| SetupError::new(problem.to_string()))
            }
            Self::Equals(one, other) => check_value(one).and_then(|()| check_value(other)),
            Self::For(clauses) => clauses.iter().try_for_each(|clause| {
                if !allowed.contains(&clause.variable) {
                    return Err(not_there(clause.variable));
                }
                clause.query.check(allowed)
            }),
            Self::And(queries) | Self::Or(queries) => {
                queries.iter().try_for_each(|query| query.check(allowed))
            }
            Self::Not(query) => query.check(allowed),
        }
    }

    /// Whether it holds. Asks the directory no more than it has to, one thing after the other.
    pub(super) fn holds<'a>(
        &'a self,
        directory: &'a impl Directory,
        values: &'a Values<'a>,
    ) -> TruthFuture<'a> {
        Box::pin(async move {
            match self {
                Self::Constant(holds) => Ok(*holds),
                Self::Exists(dn) => directory.exists(&dn.dn(values)).await,
                Self::InGroup { group, attribute } => {
                    let group = group.dn(values);
                    directory
                        .has_member(&group, attribute, values.user_dn)
                        .await
                }
                Self::InGroupNested {
                    group,
                    attribute,
                    base,
                } => is_nested(directory, &group.dn(values), attribute, base, values).await,
                Self::Match { value, pattern } => {
                    let pattern = compile(&pattern.pattern(values))?;
                    let found = value.resolve(directory, values).await?;
                    Ok(found.iter().any(|text| pattern.is_match(text)))
                }
                Self::Equals(one, other) => {
                    let ones = one.resolve(directory, values).await?;
                    let others = other.resolve(directory, values).await?;
                    Ok(ones.iter().any(|text| others.contains(text)))
                }
                Self::For(clauses) => {
                    let applies = |clause: &&Clause| values.get(clause.variable) == clause.value;
                    match clauses.iter().find(applies) {
                        Some(clause) => clause.query.holds(directory, values).await,
                        None => Ok(false),
                    }
                }
                Self::And(queries) => {
                    for query in queries {
                        if !query.holds(directory, values).await? {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                }
                Self::Or(queries) => {
                    for query in queries {
                        if query.holds(directory, values).await? {
                            return Ok(true);
                        }
                    }
                    Ok(false)
                }
                Self::Not(query) => Ok(!query.holds(directory, values).await?),
            }
        })
    }
}

/// # Errors
/// For what is no attribute's name (RFC 4512, section 2.5), and would be more than one in a filter.
pub(super) fn check_attribute(name: &str) -> Result<(), SetupError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ';' | '.');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(SetupError::new(format!("'{name}' is no attribute")));
    }
    Ok(())
}

fn not_there(variable: Variable) -> SetupError {
    let name = variable.as_str();
    SetupError::new(format!("this query is not asked about a ${{{name}}}"))
}

fn compile(pattern: &str) -> Result<regex::Regex, NoTruth> {
    let compiled = RegexBuilder::new(pattern)
        .size_limit(PATTERN_SIZE_MAX)
        .build();
    compiled.map_err(|error| {
        let lines = error.to_string();
        NoTruth::Pattern(lines.lines().last().unwrap_or_default().to_owned())
    })
}

/// Goes from the user to the groups that it is in, and from these on, until one of them is in the group that is asked
/// about. The directory itself compares names, which can be written in several ways.
async fn is_nested(
    directory: &impl Directory,
    group: &str,
    attribute: &str,
    base: &str,
    values: &Values<'_>,
) -> Result<bool, NoTruth> {
    let mut seen = HashSet::from([values.user_dn.to_owned()]);
    let mut waiting = vec![values.user_dn.to_owned()];
    while let Some(member) = waiting.pop() {
        if directory.has_member(group, attribute, &member).await? {
            return Ok(true);
        }
        for found in directory.groups_of(base, attribute, &member).await? {
            if seen.insert(found.clone()) {
                waiting.push(found);
            }
        }
        if seen.len() > NESTED_MAX {
            return Err(NoTruth::TooNested);
        }
    }
    Ok(false)
}

impl Value {
    async fn resolve(
        &self,
        directory: &impl Directory,
        values: &Values<'_>,
    ) -> Result<Vec<String>, NoTruth> {
        match self {
            Self::Text(template) => Ok(vec![template.text(values)]),
            Self::Attribute { of, name } => directory.values(&of.dn(values), name).await,
        }
    }
}

#[cfg(test)]
mod tests;
