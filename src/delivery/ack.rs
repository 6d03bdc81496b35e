//! What was received: packet numbers as ranges, and when to say so. Knows no contents; bounded to 64 ranges.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::ranges::Ranges;
use crate::wire::{NoRoom, ack, codec::Writer};

/// Of pieces with parities so many bytes may arrive before the end of a batch acknowledges them: less than two full
/// packets, as the sender's window may be no larger.
const GATHERED_BYTES: usize = 2_000;

/// What nobody repeats may wait so many times as long as the rest: for a packet that leaves anyway.
pub(super) const LEISURE: u32 = 12;

/// But not when so many bytes wait, fewer where packets are lost: the window of their sender may not be much larger.
const LATER_BYTES: usize = 1_200;
const LATER_BYTES_IN_TROUBLE: usize = 300;

/// The sender learns the round trip from acknowledgements that were not held back: at least one leaves in so long.
const UNHELD_EVERY: Duration = Duration::from_secs(4);

/// What was held back for less was not held back.
const UNHELD: Duration = Duration::from_millis(1);

/// Packets that may arrive before an acknowledgement leaves without waiting for the end of the batch.
const PACKETS_BEFORE_ACK: u32 = 16;

/// After a gap in the numbers every packet is acknowledged at once for so long.
pub(super) const TROUBLE: Duration = Duration::from_secs(3);

/// After a message that came twice so long: it may have been a copy that says nothing.
const DOUBT: Duration = Duration::from_secs(1);

/// What a packet calls for. PROTOCOL.md, "Acknowledgements".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    /// No acknowledgement.
    #[default]
    No,
    /// One that may wait: all that calls for it is whole messages that nobody repeats.
    Later,
    /// One for several: all that calls for it is pieces of messages with parities. They come several at a time and
    /// overtake each other, and what is missing of them is mostly restored and not sent again.
    Gathered,
    Soon,
}

/// An authenticated packet, as far as its acknowledgement goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) number: u64,
    pub(crate) call: Call,
    /// It brought something that had not come before.
    pub(crate) new: bool,
    /// Bytes of its frames.
    pub(crate) bytes: usize,
}

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
    /// What the pending ones call for.
    call: Call,
    /// Bytes of the pending ones.
    bytes: usize,
    /// When an acknowledgement left last that was not held back.
    unheld_at: Option<Instant>,
    /// Until when losses are to be expected.
    trouble_until: Option<Instant>,
}

impl Acks {
    /// Notes an authenticated packet. The caller knows that it is no duplicate, and whether it brought anything new:
    /// copies of what is here call for no haste.
    pub(crate) fn on_packet(&mut self, now: Instant, arrived: &Arrived, delay: Duration) {
        let Arrived { number, call, new, bytes } = *arrived;
        let largest = self.ranges.highest();
        if largest.is_none_or(|largest| number > largest) {
            self.largest_at = Some(now);
        }
        let in_order = largest.is_none_or(|largest| number == largest + 1);
        if !in_order {
            self.trouble_until = Some(now + TROUBLE);
        }
        self.ranges.insert(number..number + 1);
        if self.ranges.len() > ack::MAX_RANGES {
            self.ranges.pop_first();
        }
        if call == Call::No {
            return;
        }
        let due = now + delay * if call == Call::Later { LEISURE } else { 1 };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.pending = self.pending.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.urgent |= call != Call::Gathered && !in_order;
        self.urgent |= call == Call::Later && self.wants_unheld(now);
        self.call = self.call.max(call);
        self.news |= new;
    }

    /// A message came twice: single acknowledgements may be lost, so for a while there will be more of them.
    pub(crate) fn on_again(&mut self, now: Instant) {
        self.trouble_until = self.trouble_until.max(Some(now + DOUBT));
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
                || (flush && self.ends_batch(now)))
    }

    /// Whether an acknowledgement should leave at the end of a batch.
    fn ends_batch(&self, now: Instant) -> bool {
        let trouble = self.news && self.expects_loss(now);
        self.urgent
            || match self.call {
                Call::No => false,
                Call::Later => self.bytes >= if trouble { LATER_BYTES_IN_TROUBLE } else { LATER_BYTES },
                Call::Gathered => self.bytes >= GATHERED_BYTES,
                Call::Soon => self.pending >= 2 || trouble || self.bytes >= GATHERED_BYTES,
            }
    }

    fn wants_unheld(&self, now: Instant) -> bool {
        self.unheld_at.is_none_or(|last| now.saturating_duration_since(last) >= UNHELD_EVERY)
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
        self.call = Call::No;
        self.bytes = 0;
        if held < UNHELD {
            self.unheld_at = Some(now);
        }
        Ok(Some(largest))
    }

    /// Nothing is to be acknowledged, and no haste is called for.
    pub(crate) fn may_rest(&self, now: Instant) -> bool {
        self.pending == 0 && !self.expects_loss(now)
    }

    pub(crate) fn rest(&mut self) -> Kept {
        let Self {
            ranges,
            largest_at: _,
            pending: _,
            due: _,
            urgent: _,
            news: _,
            call: _,
            bytes: _,
            unheld_at: _,
            trouble_until: _,
        } = self;
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
    use crate::os::Environment;

    const MS: Duration = Duration::from_millis(1);

    /// Which of the packets, 10 ms apart, are acknowledged at the end of their batch.
    fn acknowledged(numbers: &[u64]) -> Vec<u64> {
        let (mut acks, mut now, mut room) = (Acks::default(), Environment::os().now(), [0; 1_200]);
        let mut at_once = Vec::new();
        for &number in numbers {
            let arrived = Arrived { number, call: Call::Soon, new: true, bytes: 100 };
            acks.on_packet(now, &arrived, 25 * MS);
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
    fn a_message_that_came_twice_calls_for_less_haste_than_a_gap() {
        let hasty_for = |gap: bool| {
            let (mut acks, start, mut room) = (Acks::default(), Environment::os().now(), [0; 1_200]);
            let arrived = |number| Arrived { number, call: Call::Soon, new: true, bytes: 100 };
            acks.on_packet(start, &arrived(0), 25 * MS);
            let second = if gap { 2 } else { 1 };
            acks.on_packet(start, &arrived(second), 25 * MS);
            acks.on_again(start);
            let alone = (1..400_u32).take_while(|&after| {
                acks.write(start, &mut Writer::new(&mut room)).unwrap();
                let now = start + 10 * MS * after;
                acks.on_packet(now, &arrived(second + u64::from(after)), 25 * MS);
                acks.is_due(now, true)
            });
            alone.count()
        };
        assert_eq!((hasty_for(true), hasty_for(false)), (299, 99));
    }

    #[test]
    fn pieces_with_parities_are_acknowledged_several_at_a_time_however_they_overtake_each_other() {
        let (mut acks, mut now, mut room) = (Acks::default(), Environment::os().now(), [0; 1_200]);
        let mut at_once = Vec::new();
        for number in [0, 2, 1, 4, 5, 3, 7, 8] {
            let arrived = Arrived { number, call: Call::Gathered, new: true, bytes: 800 };
            acks.on_packet(now, &arrived, 25 * MS);
            if acks.is_due(now, true) {
                acks.write(now, &mut Writer::new(&mut room)).unwrap();
                at_once.push(number);
            }
            now += MS;
        }
        assert_eq!(at_once, [1, 3]);
        // What is left waits no longer than anything else, and not for what is worth sending again.
        assert_eq!(acks.deadline(), Some(now - 2 * MS + 25 * MS));
        acks.on_packet(now, &Arrived { number: 9, call: Call::Soon, new: true, bytes: 100 }, 25 * MS);
        assert!(acks.is_due(now, true));
    }

    /// Which of so many leisurely packets of so many bytes, 10 ms apart, are acknowledged at the end of their batch.
    fn leisurely(numbers: impl IntoIterator<Item = u64>, bytes: usize) -> Vec<u64> {
        let (mut acks, mut now, mut room) = (Acks::default(), Environment::os().now(), [0; 1_200]);
        let mut acknowledged = Vec::new();
        for number in numbers {
            let arrived = Arrived { number, call: Call::Later, new: true, bytes };
            acks.on_packet(now, &arrived, 25 * MS);
            if acks.is_due(now, true) {
                acks.write(now, &mut Writer::new(&mut room)).unwrap();
                acknowledged.push(number);
            }
            now += 10 * MS;
        }
        acknowledged
    }

    #[test]
    fn what_nobody_repeats_waits_but_not_for_ever() {
        // The first one tells the round trip.
        assert_eq!(leisurely(0..40, 20), [0, 16, 32], "16 packets");
        assert_eq!(leisurely(0..20, 299), [0, 5, 10, 15], "1,200 bytes");
        assert_eq!(leisurely(0..20, 300), [0, 4, 8, 12, 16], "1,200 bytes");
        assert_eq!(leisurely(0..4, 1_200), [0, 1, 2, 3]);
        assert_eq!(leisurely([0, 1, 3, 4, 5, 6, 7, 8], 100), [0, 3, 6], "300 bytes where one is missing");
        let again: Vec<u64> = leisurely(0..900, 20).into_iter().filter(|number| number % 16 != 0).collect();
        assert!(again.is_empty() || again[0] >= 400, "{again:?}");
    }

    #[test]
    fn what_nobody_repeats_waits_twelve_times_as_long_and_not_in_company_of_what_may_not() {
        let (mut acks, now, mut room) = (Acks::default(), Environment::os().now(), [0; 1_200]);
        let packet = |number, call| Arrived { number, call, new: true, bytes: 20 };
        acks.on_packet(now, &packet(0, Call::Later), 25 * MS);
        acks.write(now, &mut Writer::new(&mut room)).unwrap();
        acks.on_packet(now, &packet(1, Call::Later), 25 * MS);
        assert_eq!(acks.deadline(), Some(now + 300 * MS));
        assert!(!acks.is_due(now + 299 * MS, true) && acks.is_due(now + 300 * MS, false));
        acks.on_packet(now, &packet(2, Call::Soon), 25 * MS);
        assert_eq!(acks.deadline(), Some(now + 25 * MS));
        assert!(acks.is_due(now, true), "two packets, and one of them may not wait");
    }

    #[test]
    fn every_four_seconds_an_acknowledgement_is_not_held_back() {
        let (mut acks, mut now, mut room) = (Acks::default(), Environment::os().now(), [0; 1_200]);
        let mut unheld = 0;
        for number in 0..400 {
            acks.on_packet(now, &Arrived { number, call: Call::Later, new: true, bytes: 20 }, 25 * MS);
            unheld += u32::from(acks.is_due(now, true));
            // A packet leaves anyway, a little later.
            acks.write(
                now + if acks.is_due(now, true) { Duration::ZERO } else { 30 * MS },
                &mut Writer::new(&mut room),
            )
            .unwrap();
            now += 50 * MS;
        }
        assert_eq!(unheld, 5, "in 20 s");
    }

    #[test]
    fn trouble_is_forgotten_in_time() {
        let later: Vec<u64> = (0..2).chain(3..405).collect();
        let at_once = acknowledged(&later);
        let tail: Vec<u64> = at_once.iter().rev().take(2).copied().collect();
        assert_eq!(tail[0] - tail[1], 2, "{at_once:?}");
    }
}
