//! What is kept at rest of a window that never met a queue, as small as it can be.

use std::time::{Duration, Instant};

use crate::delivery::rest::Nanos;

/// The window, its rounds of growth, and the delays of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    window: u32,
    grown_rounds: u32,
    delays: [Nanos; 3],
    /// The least round trip, and the end of the span that it is from.
    base: Option<(Nanos, Instant)>,
}

impl Fresh {
    /// `None` for a window that is larger than any.
    pub(super) fn new(
        (window, grown_rounds): (usize, u32),
        delays: [Duration; 3],
        base: Option<(Duration, Instant)>,
    ) -> Option<Self> {
        let window = u32::try_from(window).ok()?;
        let base = base.map(|(least, ends)| (least.into(), ends));
        Some(Self { window, grown_rounds, delays: delays.map(Nanos::from), base })
    }

    pub(super) fn window(&self) -> (usize, u32) {
        (self.window as usize, self.grown_rounds)
    }

    pub(super) fn delays(&self) -> [Duration; 3] {
        self.delays.map(Duration::from)
    }

    pub(super) fn base(&self) -> Option<(Duration, Instant)> {
        self.base.map(|(least, ends)| (least.into(), ends))
    }
}
