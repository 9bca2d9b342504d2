//! What the benches share: how large a run is to be, what time and memory it takes, the line through some points, and
//! topic patterns to try.

mod line;
mod patterns;
mod scale;
mod stopwatch;
mod usage;

pub use line::Line;
pub use patterns::Patterns;
pub use scale::Scale;
pub use stopwatch::{Elapsed, Stopwatch};
pub use usage::resident_bytes;
