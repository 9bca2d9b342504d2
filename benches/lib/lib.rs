//! What the benches share: how large a run is to be, what time and memory it takes, and the line through some points.

mod line;
mod scale;
mod stopwatch;
mod usage;

pub use line::Line;
pub use scale::Scale;
pub use stopwatch::{Elapsed, Stopwatch};
pub use usage::resident_bytes;
