//! What packet numbers and acknowledgements tell of loss and reordering, both ways. Knows no packet's contents.

use super::share;

/// What became of packets. A packet is one sealed datagram of a session; its number tells what is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packets {
    /// Sent, of those that ask to be acknowledged.
    pub sent: u64,
    /// Of these, acknowledged.
    pub acked: u64,
    /// Of these, given up for lost, in order to repeat what they carried.
    pub lost: u64,
    /// Of the lost, acknowledged after all.
    pub late: u64,
    /// The peer's packets that were taken.
    pub received: u64,
    /// Numbers between those received that have not come (yet). A peer leaves out about one in 2,500 on purpose
    /// (PROTOCOL.md, "Blind acknowledgements").
    pub missing: u64,
    /// The peer's packets that came after one with a larger number.
    pub reordered: u64,
}

impl Packets {
    /// The share of this side's packets that did not arrive, in 0..=1; `None` before one was sent. Packets on their way
    /// count as arriving.
    #[must_use]
    pub fn loss_out(&self) -> Option<f64> {
        share(self.lost.saturating_sub(self.late), self.sent.max(self.lost))
    }

    /// The share of the peer's packets that did not arrive, in 0..=1; `None` before one was received.
    #[must_use]
    pub fn loss_in(&self) -> Option<f64> {
        share(self.missing, self.received.saturating_add(self.missing))
    }

    fn each(&mut self, other: &Self, change: fn(u64, u64) -> u64) {
        let Self { sent, acked, lost, late, received, missing, reordered } = other;
        for (own, other) in [
            (&mut self.sent, sent),
            (&mut self.acked, acked),
            (&mut self.lost, lost),
            (&mut self.late, late),
            (&mut self.received, received),
            (&mut self.missing, missing),
            (&mut self.reordered, reordered),
        ] {
            *own = change(*own, *other);
        }
    }

    /// Adds the counters of another room.
    pub(crate) fn merge(&mut self, more: &Self) {
        self.each(more, u64::saturating_add);
    }

    pub(super) fn since(mut self, earlier: &Self) -> Self {
        self.each(earlier, u64::saturating_sub);
        self
    }
}

/// Counts what arrives by its numbers. The caller notes each number once.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    highest: Option<u64>,
    pub(crate) counted: Packets,
}

impl Seen {
    /// The next packet is another session's.
    pub(crate) fn begin_anew(&mut self) {
        self.highest = None;
    }

    /// Where it stood.
    pub(crate) fn after(highest: Option<u64>, counted: Packets) -> Self {
        Self { highest, counted }
    }

    pub(crate) fn note(&mut self, number: u64) {
        let Packets { received, missing, reordered, .. } = &mut self.counted;
        *received = received.saturating_add(1);
        match self.highest {
            Some(highest) if number < highest => {
                *reordered = reordered.saturating_add(1);
                *missing = missing.saturating_sub(1);
                return;
            }
            Some(highest) => {
                *missing = missing.saturating_add(number.saturating_sub(highest).saturating_sub(1))
            }
            // What was sent before the first one came belongs to the handshake.
            None => {}
        }
        self.highest = Some(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packet_numbers_tell() {
        let mut seen = Seen::default();
        for number in [5, 6, 9, 7, 10] {
            seen.note(number);
        }
        let Packets { received, missing, reordered, .. } = seen.counted;
        assert_eq!((received, missing, reordered), (5, 1, 1));
        assert_eq!(seen.counted.loss_in(), Some(1.0 / 6.0));
        assert_eq!(seen.counted.loss_out(), None);
    }
}
