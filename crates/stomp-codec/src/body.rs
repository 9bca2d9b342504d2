use memchr::memchr;

use crate::{DecodeError, Limits};

/// Finds the end of a body in input that may still be growing. All places are counted from the first octet of the
/// frame.
#[derive(Debug)]
pub(crate) struct BodyScan {
    /// Where the body begins.
    start: usize,
    /// What `content-length` announced. Without it the body ends before its first NUL.
    length: Option<usize>,
    /// Everything before this place has been looked at.
    scanned: usize,
}

impl BodyScan {
    /// A body that begins at `start`, right after its head.
    ///
    /// # Errors
    ///
    /// [`DecodeError::FrameTooLarge`] if head, body and NUL together are announced to be larger than a frame may be.
    pub(crate) fn new(
        start: usize,
        length: Option<usize>,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let frame_size = start.saturating_add(length.unwrap_or(0)).saturating_add(1);
        if frame_size > limits.frame_size_max {
            return Err(DecodeError::FrameTooLarge {
                limit: limits.frame_size_max,
            });
        }
        Ok(Self {
            start,
            length,
            scanned: start,
        })
    }

    /// How much of the input has been looked at.
    pub(crate) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Where the body begins, that is the size of the head.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// The length of the body, once all of it and its NUL have arrived; `input` begins with the frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError::MissingNul`], and the limits for a body whose length was not announced.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, DecodeError> {
        if let Some(length) = self.length {
            return match input.get(self.start.saturating_add(length)) {
                None => Ok(None),
                Some(b'\0') => Ok(Some(length)),
                Some(_) => Err(DecodeError::MissingNul { length }),
            };
        }
        let new = input.get(self.scanned..).unwrap_or_default();
        let end = memchr(b'\0', new).map(|at| self.scanned + at);
        self.check_size(end.unwrap_or(input.len()), limits)?;
        self.scanned = end.unwrap_or(input.len());
        Ok(end.map(|end| end - self.start))
    }

    /// Checks the limits for a body that goes on at least up to `end`, where its NUL may be.
    fn check_size(&self, end: usize, limits: &Limits) -> Result<(), DecodeError> {
        let body_end_max = self.start.saturating_add(limits.body_size_max);
        if end >= limits.frame_size_max && limits.frame_size_max <= body_end_max {
            return Err(DecodeError::FrameTooLarge {
                limit: limits.frame_size_max,
            });
        }
        if end > body_end_max {
            return Err(DecodeError::BodyTooLarge {
                limit: limits.body_size_max,
            });
        }
        Ok(())
    }
}
