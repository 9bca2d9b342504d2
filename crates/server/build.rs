//! Has the linker put next to each other what runs when a server starts; see `start.ld`.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=start.ld");
    if is_optimised() && has_usual_linker() {
        let directory = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
        let script = Path::new(&directory).join("start.ld");
        println!("cargo::rustc-link-arg-bin=leveret=-T{}", script.display());
    }
}

/// Without optimisation there is so much more code that what a start runs is no small part of it.
fn is_optimised() -> bool {
    env::var("PROFILE").is_ok_and(|profile| profile == "release")
}

/// Whether the program is linked by lld, which rustc brings along, or by that of GNU. Others do not know such scripts, and
/// where somebody has chosen a linker nothing is known.
fn has_usual_linker() -> bool {
    let is_usual_target =
        env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    is_usual_target && env::var_os("RUSTC_LINKER").is_none() && !flags.contains("link")
}
