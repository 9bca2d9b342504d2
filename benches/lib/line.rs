//! The line that fits some points best.

use std::fmt;

/// What `n` of something cost: `fixed + each * n`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// What none of them cost.
    pub fixed: f64,
    /// What one more costs.
    pub each: f64,
}

impl Line {
    /// The line with the least squares of relative errors: a curve over several powers of ten would otherwise be decided
    /// by its last point.
    ///
    /// # Panics
    /// For fewer than two points, and for costs that are not positive.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Self {
        assert!(points.len() >= 2, "one point has no slope");
        let [mut w, mut wx, mut wy, mut wxx, mut wxy] = [0.0; 5];
        for &(x, y) in points {
            assert!(y > 0.0, "{y} is no cost");
            let weight = 1.0 / (y * y);
            w += weight;
            wx += weight * x;
            wy += weight * y;
            wxx += weight * x * x;
            wxy += weight * x * y;
        }
        let each = (w * wxy - wx * wy) / (w * wxx - wx * wx);
        Self {
            fixed: (wy - each * wx) / w,
            each,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} + {:.0}·n", self.fixed, self.each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_give_that_line() {
        let points = [(10.0, 520.0), (1_000.0, 50_020.0), (1e6, 50_000_020.0)];
        let line = Line::through(&points);
        assert!((line.fixed - 20.0).abs() < 1e-3, "{line:?}");
        assert!((line.each - 50.0).abs() < 1e-6, "{line:?}");
        assert_eq!(line.to_string(), "20 + 50·n");
    }
}
