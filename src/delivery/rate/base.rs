//! The path's own round trip: the least of the last spans of time. Knows nothing of windows. PROTOCOL.md, "Rate".

use std::time::{Duration, Instant};

/// The path's round trip is the least of so many spans of so long.
const SPANS: usize = 8;
const SPAN: Duration = Duration::from_millis(5_000);

#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    spans: [Option<Duration>; SPANS],
    ends: Option<Instant>,
}

impl Base {
    /// With what was known before; zero is nothing.
    pub(super) fn of(known: Duration) -> Self {
        let newest = Some(known).filter(|known| !known.is_zero());
        Self { spans: [newest, None, None, None, None, None, None, None], ends: None }
    }

    pub(super) fn note(&mut self, now: Instant, sample: Duration) {
        let ends = *self.ends.get_or_insert(now + SPAN);
        if now >= ends {
            self.ends = Some(now + SPAN);
            self.spans.rotate_right(1);
            if let Some(newest) = self.spans.first_mut() {
                *newest = None;
            }
        }
        if let Some(newest) = self.spans.first_mut() {
            *newest = Some(newest.map_or(sample, |least| least.min(sample)));
        }
    }

    /// Zero before the first sample.
    pub(super) fn get(&self) -> Duration {
        self.spans.iter().flatten().min().copied().unwrap_or_default()
    }
}
