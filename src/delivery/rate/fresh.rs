//! What is kept at rest of a window that never met a queue, as small as it can be.

use std::time::{Duration, Instant};

/// A duration to the microsecond, of 71 minutes at most.
#[derive(Clone, Copy, Debug)]
struct Micros(u32);

impl From<Duration> for Micros {
    fn from(duration: Duration) -> Self {
        Self(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX))
    }
}

impl From<Micros> for Duration {
    fn from(Micros(micros): Micros) -> Self {
        Self::from_micros(micros.into())
    }
}

/// The window, its rounds of growth, and the delays of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    window: u32,
    grown_rounds: u32,
    delays: [Micros; 3],
    /// The least round trip, and the end of the span that it is from; nothing without the end.
    least: Micros,
    ends: Option<Instant>,
}

impl Fresh {
    /// `None` for a window that is larger than any.
    pub(super) fn new(
        (window, grown_rounds): (usize, u32),
        delays: [Duration; 3],
        base: Option<(Duration, Instant)>,
    ) -> Option<Self> {
        let window = u32::try_from(window).ok()?;
        let (least, ends) = (base.map_or(Micros(0), |(least, _)| least.into()), base.map(|(_, ends)| ends));
        Some(Self { window, grown_rounds, delays: delays.map(Micros::from), least, ends })
    }

    pub(super) fn window(&self) -> (usize, u32) {
        (self.window as usize, self.grown_rounds)
    }

    pub(super) fn delays(&self) -> [Duration; 3] {
        self.delays.map(Duration::from)
    }

    pub(super) fn base(&self) -> Option<(Duration, Instant)> {
        self.ends.map(|ends| (self.least.into(), ends))
    }
}
