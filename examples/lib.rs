//! Nothing of its own: the examples are the files beside this one, and the programs in READMEs are tested here.

/// What a reader of the project's README would copy.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// What a reader of the broker's README would copy.
#[cfg(doctest)]
#[doc = include_str!("../crates/broker/README.md")]
pub struct BrokerReadme;
