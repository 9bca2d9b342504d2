//! Curves of memory.

use leveret_benches::{Line, resident_bytes};

/// Points of a curve: how many there are, and by how many bytes the process has grown since there was none.
pub(crate) struct Growth {
    before: usize,
    points: Vec<(usize, usize)>,
}

impl Growth {
    /// Begins where there is none.
    pub(crate) fn start() -> Self {
        Self {
            before: resident_bytes(),
            points: Vec::new(),
        }
    }

    /// Notes how large the process is with so many.
    pub(crate) fn note(&mut self, count: usize) {
        let bytes = resident_bytes().saturating_sub(self.before);
        self.points.push((count, bytes));
    }

    /// Prints the curve and the line through it.
    #[expect(clippy::print_stdout, reason = "this is the result")]
    pub(crate) fn report(&self, what: &str) {
        println!("\n| {what} | bytes | bytes each |\n|---|---|---|");
        for &(count, bytes) in &self.points {
            println!("| {count} | {bytes} | {:.0} |", bytes as f64 / count as f64);
        }
        // What does not even fill a page is not on the curve.
        let points = self.points.iter().filter(|(_, bytes)| *bytes > 0);
        let points: Vec<_> = points
            .map(|&(count, bytes)| (count as f64, bytes as f64))
            .collect();
        if points.len() >= 2 {
            println!("\nfitted, {what}: {} bytes", Line::through(&points));
        }
    }
}
