//! Nothing of its own: the benches are the files beside this one.
