//! Nothing of its own: the examples are the files beside this one, and the programs in the project's README are tested
//! here.

/// What a reader of the README would copy.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
