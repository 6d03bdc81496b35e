//! What is kept at rest of a window that never met a queue, as small as it can be.

use std::time::Duration;

use crate::delivery::rest::Nanos;

/// The window, its rounds of growth, and the delays of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    window: u32,
    grown_rounds: u32,
    delays: [Nanos; 4],
}

impl Fresh {
    /// `None` for a window that is larger than any.
    pub(super) fn new((window, grown_rounds): (usize, u32), delays: [Duration; 4]) -> Option<Self> {
        let window = u32::try_from(window).ok()?;
        Some(Self { window, grown_rounds, delays: delays.map(Nanos::from) })
    }

    pub(super) fn apart(self) -> ((usize, u32), [Duration; 4]) {
        ((self.window as usize, self.grown_rounds), self.delays.map(Duration::from))
    }
}
