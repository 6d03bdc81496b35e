//! What a lane counts, and how it is kept at rest.

use super::notices::Outcome;
use crate::stats::Tally;

/// What a lane counts over the endpoint's life.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    pub(crate) expired: u64,
    pub(crate) superseded: u64,
    pub(crate) copies: u64,
    pub(crate) lost_parts: u64,
}

impl From<Counts> for Tally<6> {
    fn from(Counts { sent, dropped, expired, superseded, copies, lost_parts }: Counts) -> Self {
        [sent, dropped, expired, superseded, copies, lost_parts].into()
    }
}

impl From<Tally<6>> for Counts {
    fn from(tally: Tally<6>) -> Self {
        let [sent, dropped, expired, superseded, copies, lost_parts] = tally.into();
        Self { sent, dropped, expired, superseded, copies, lost_parts }
    }
}

impl Counts {
    /// The counter of messages that ended so before they arrived.
    pub(crate) fn of(&mut self, why: Outcome) -> &mut u64 {
        match why {
            Outcome::Expired => &mut self.expired,
            Outcome::Superseded => &mut self.superseded,
            Outcome::Acked | Outcome::Lost => &mut self.dropped,
        }
    }
}
