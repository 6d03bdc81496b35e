//! What was received: packet numbers as ranges, and when to say so. Knows no contents; bounded to 64 ranges.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::ranges::Ranges;
use crate::wire::{NoRoom, ack, codec::Writer};

/// Packets that may arrive before an acknowledgement leaves without waiting for the end of the batch.
const PACKETS_BEFORE_ACK: u32 = 16;

/// After a gap in the numbers every packet is acknowledged at once for so long.
pub(super) const TROUBLE: Duration = Duration::from_secs(3);

/// Packet numbers received, newest last, and the state of their acknowledgement. PROTOCOL.md, "Acknowledgements".
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// At most `ack::MAX_RANGES`.
    ranges: Ranges,
    /// When the largest number arrived.
    largest_at: Option<Instant>,
    /// Ack-eliciting packets not yet acknowledged.
    pending: u32,
    /// When the acknowledgement must leave.
    due: Option<Instant>,
    /// Something is missing or came late: the sender should know at once.
    urgent: bool,
    /// Among the pending ones is a packet that brought something new.
    news: bool,
    /// Until when losses are to be expected.
    trouble_until: Option<Instant>,
}

impl Acks {
    /// Notes an authenticated packet. The caller knows that it is no duplicate, and whether it brought anything `new`:
    /// copies of what is here call for no haste.
    pub(crate) fn on_packet(
        &mut self,
        now: Instant,
        number: u64,
        (eliciting, new): (bool, bool),
        delay: Duration,
    ) {
        let largest = self.ranges.highest();
        if largest.is_none_or(|largest| number > largest) {
            self.largest_at = Some(now);
        }
        let in_order = largest.is_none_or(|largest| number == largest + 1);
        if !in_order {
            self.expect_loss(now);
        }
        self.ranges.insert(number..number + 1);
        if self.ranges.len() > ack::MAX_RANGES {
            self.ranges.pop_first();
        }
        if eliciting {
            self.pending = self.pending.saturating_add(1);
            self.urgent |= !in_order;
            self.news |= new;
            self.due.get_or_insert(now + delay);
        }
    }

    /// Single acknowledgements may be lost from now on, so there will be more of them.
    pub(crate) fn expect_loss(&mut self, now: Instant) {
        self.trouble_until = Some(now + TROUBLE);
    }

    /// Forgets what lies at or below `number`: the peer has seen it acknowledged.
    pub(crate) fn forget_up_to(&mut self, number: u64) {
        // The newest range stays whole, so that the frame always has a largest number to name.
        while self.ranges.len() > 1
            && self.ranges.iter().next().is_some_and(|oldest| oldest.end <= number + 1)
        {
            self.ranges.pop_first();
        }
    }

    /// Whether an acknowledgement should leave now; `flush` at the end of a batch.
    pub(crate) fn is_due(&self, now: Instant, flush: bool) -> bool {
        self.pending > 0
            && (self.pending >= PACKETS_BEFORE_ACK
                || self.due.is_some_and(|due| due <= now)
                || (flush && (self.urgent || self.pending >= 2 || (self.news && self.expects_loss(now)))))
    }

    fn expects_loss(&self, now: Instant) -> bool {
        self.trouble_until.is_some_and(|until| now < until)
    }

    /// Whether there is anything new to acknowledge, were a packet to leave anyway.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending > 0
    }

    /// Makes the acknowledgement due at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if self.pending > 0 {
            self.due = Some(now);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Number of separate ranges remembered.
    pub(crate) fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Writes the ACK frame and takes it for sent. Returns the largest number it names.
    pub(crate) fn write(&mut self, now: Instant, writer: &mut Writer<'_>) -> Result<Option<u64>, NoRoom> {
        let Some(largest) = self.ranges.highest() else { return Ok(None) };
        let held = self.largest_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let held_us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX).min(1 << 30);
        ack::encode(writer, held_us, self.ranges.newest_first(), ack::MAX_RANGES)?;
        self.pending = 0;
        self.due = None;
        self.urgent = false;
        self.news = false;
        Ok(Some(largest))
    }

    /// Nothing is to be acknowledged, and no haste is called for.
    pub(crate) fn may_rest(&self, now: Instant) -> bool {
        self.pending == 0 && !self.expects_loss(now)
    }

    pub(crate) fn rest(&mut self) -> Kept {
        let Self { ranges, largest_at: _, pending: _, due: _, urgent: _, news: _, trouble_until: _ } = self;
        if ranges.len() == 1 {
            if let Some(only) = ranges.pop_first() {
                return Kept::One(only);
            }
        }
        ranges.shrink();
        Kept::Many(std::mem::take(ranges))
    }

    /// Gives back memory that an idle session does not need.
    pub(crate) fn shrink(&mut self) {
        self.ranges.shrink();
    }
}

/// What is kept at rest: the numbers that may still be named.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// They are all of one range, as without loss.
    One(Range<u64>),
    Many(Ranges),
}

impl Kept {
    /// The highest number received.
    pub(crate) fn highest(&self) -> Option<u64> {
        match self {
            Self::One(range) => range.end.checked_sub(1),
            Self::Many(ranges) => ranges.highest(),
        }
    }

    pub(crate) fn wake(self) -> Acks {
        let ranges = match self {
            Self::One(range) => {
                let mut ranges = Ranges::new();
                ranges.insert(range);
                ranges
            }
            Self::Many(ranges) => ranges,
        };
        Acks { ranges, ..Acks::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// Which of the packets, 10 ms apart, are acknowledged at the end of their batch.
    fn acknowledged(numbers: &[u64]) -> Vec<u64> {
        let (mut acks, mut now, mut room) = (Acks::default(), origin(), [0; 1_200]);
        let mut at_once = Vec::new();
        for &number in numbers {
            acks.on_packet(now, number, (true, true), 25 * MS);
            if acks.is_due(now, true) {
                acks.write(now, &mut Writer::new(&mut room)).unwrap();
                at_once.push(number);
            }
            now += 10 * MS;
        }
        at_once
    }

    #[test]
    fn every_second_packet_is_acknowledged_until_one_is_missing() {
        assert_eq!(acknowledged(&[0, 1, 2, 3, 4, 5]), [1, 3, 5]);
        assert_eq!(acknowledged(&[0, 1, 2, 4, 5, 6, 7]), [1, 4, 5, 6, 7]);
        assert_eq!(acknowledged(&[0, 1, 2, 4, 3, 5, 6]), [1, 4, 3, 5, 6]);
    }

    #[test]
    fn trouble_is_forgotten_in_time() {
        let later: Vec<u64> = (0..2).chain(3..405).collect();
        let at_once = acknowledged(&later);
        let tail: Vec<u64> = at_once.iter().rev().take(2).copied().collect();
        assert_eq!(tail[0] - tail[1], 2, "{at_once:?}");
    }
}
