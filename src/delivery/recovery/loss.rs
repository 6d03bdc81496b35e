//! When a packet counts as lost, when as overdue, when to ask again: time of sending against what is known to have
//! arrived. PROTOCOL.md, "Loss".
//!
//! Packets are sent in the order of their numbers, so each question is asked from a mark that only moves forward.

use std::time::{Duration, Instant};

use super::{Carrier, Content, Fate, SentPackets, State};
use crate::delivery::ack::{Call, LEISURE, TROUBLE};

/// Nothing is heard for so long (and three probe timeouts): then a small datagram follows so long after each that
/// carries messages.
const DARK: Duration = Duration::from_millis(250);
pub(super) const ECHO: Duration = Duration::from_millis(8);
/// Of so many packets after the largest acknowledged the second one that calls for haste is looked for.
const LOOKED_AT: u64 = 16;
/// A packet of small parts without a word for so long (and three probe timeouts) makes room for new ones.
const SILENCE: Duration = Duration::from_secs(1);

impl SentPackets {
    /// Copies sent up to this moment would be known by now, had they arrived: what was sent later has, and the
    /// allowance for reordering is over.
    pub(crate) fn known_until(&self, now: Instant) -> Option<Instant> {
        let (newest, took) = self.newest?;
        let by_now = now.checked_sub(took.max(self.rtt.smoothed()) + self.path.allowance(&self.rtt))?;
        Some(newest.min(by_now))
    }

    /// Marks as lost what later packets overtook by too much, and sets the timer for what may follow.
    pub(super) fn detect_losses(&mut self, now: Instant, settle: &mut impl FnMut(Content, Fate, Carrier)) {
        self.loss_at = None;
        let (Some(largest), Some((_, took))) = (self.largest_acked, self.newest) else { return };
        let mut known = None;
        while let Some(number) = self.next_flying().filter(|&number| number < largest) {
            let delay = *known.get_or_insert_with(|| self.path.loss_delay(took, &self.rtt));
            let Some(due) = self.at(number).map(|packet| packet.sent + delay) else { return };
            // Later packets were sent later.
            if due > now {
                self.loss_at = Some(due);
                return;
            }
            self.path.lost();
            self.news.lost_packets += 1;
            self.news.large_lost +=
                u32::from(self.at(number).is_some_and(|packet| packet.bytes > super::LARGE));
            self.last_loss = Some(now);
            self.lose(now, self.offset(number), Fate::Lost, settle);
        }
    }

    /// The oldest packet that flies. Each is passed over once.
    fn next_flying(&mut self) -> Option<u64> {
        self.flying_from = self.flying_from.max(self.first);
        loop {
            match self.at(self.flying_from)?.state {
                State::Flying => return Some(self.flying_from),
                _ => self.flying_from += 1,
            }
        }
    }

    /// Takes a packet out of the flight, if it is there, and hands its contents back.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        at: usize,
        fate: Fate,
        settle: &mut impl FnMut(Content, Fate, Carrier),
    ) -> bool {
        let flying = self.packets.get_mut(at).filter(|packet| packet.state == State::Flying);
        let Some(packet) = flying else { return false };
        let carrier = packet.carrier();
        packet.state = State::Lost(now);
        self.counted.lost += 1;
        self.flight_bytes = self.flight_bytes.saturating_sub(packet.bytes as usize);
        self.eliciting_in_flight = self.eliciting_in_flight.saturating_sub(1);
        self.soon_in_flight = self.soon_in_flight.saturating_sub(usize::from(packet.call == Call::Soon));
        self.later_in_flight = self.later_in_flight.saturating_sub(usize::from(packet.call == Call::Later));
        let contents = packet.contents(self.contents_first);
        self.contents.range(contents).for_each(|&content| settle(content, fate, carrier));
        true
    }

    /// Names what should have been heard of by now. A packet is about to leave: it may carry some of it along.
    pub(crate) fn mark_overdue(&mut self, now: Instant, mut settle: impl FnMut(Content, Fate, Carrier)) {
        let wait = self.overdue(now);
        self.overdue_from = self.overdue_from.max(self.first);
        while let Some(&packet) = self.at(self.overdue_from).filter(|packet| packet.sent + wait <= now) {
            self.overdue_from += 1;
            if packet.state == State::Flying {
                let carrier = packet.carrier();
                let contents = packet.contents(self.contents_first);
                self.contents.range(contents).for_each(|&content| settle(content, Fate::Overdue, carrier));
            }
        }
    }

    /// How long after its sending a part counts as overdue.
    pub(crate) fn overdue(&self, now: Instant) -> Duration {
        let unheld = self.rtt.overdue() + self.path.slowness(&self.rtt);
        // Where packets are lost the peer acknowledges each at once.
        let spoken = self.expects_haste(now) || self.is_pair_overdue(now, unheld);
        unheld + if spoken { Duration::ZERO } else { self.ack_delay }
    }

    /// Whether two packets should have made the peer speak without delay, and did not: else the first burst of losses after
    /// a calm would be noticed later than others. What overtakes them is allowed for. Not where words are lost themselves.
    fn is_pair_overdue(&self, now: Instant, unheld: Duration) -> bool {
        if !self.path.tells_each_pair(now, TROUBLE) {
            return false;
        }
        let first = self.largest_acked.map_or(0, |largest| largest + 1).max(self.first);
        let packets = (first..first + LOOKED_AT).map_while(|number| self.at(number));
        let second =
            packets.filter(|packet| packet.call == Call::Soon && packet.bytes <= super::LARGE).nth(1);
        second.is_some_and(|packet| packet.sent + unheld + self.path.allowance(&self.rtt) <= now)
    }

    /// Whether the peer holds no acknowledgement back, because packets were lost lately.
    pub(super) fn expects_haste(&self, now: Instant) -> bool {
        self.last_loss.is_some_and(|last| now.saturating_duration_since(last) < TROUBLE)
    }

    /// Before something new leaves: packets of small parts that nobody spoke of for a second no longer fill the flight.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        small: u32,
        mut settle: impl FnMut(Content, Fate, Carrier),
    ) {
        let Some(long_ago) = now.checked_sub(SILENCE) else { return };
        while let Some(number) = self.next_flying() {
            let Some(packet) = self.at(number).filter(|packet| packet.sent <= long_ago) else { return };
            if packet.sent + self.pto_base() * 3 > now {
                return;
            }
            let large = |content: &Content| matches!(content, Content::Part { len, .. } if *len > small);
            if self.contents.range(packet.contents(self.contents_first)).any(large) {
                return;
            }
            self.lose(now, self.offset(number), Fate::Lost, &mut settle);
        }
    }

    /// How much longer than others the peer may hold back word of all that is on its way; a little more than it should,
    /// because its clock may wake it late, and nothing waits for the word.
    fn leisure(&self) -> Duration {
        if self.is_leisurely() { self.ack_delay * LEISURE } else { Duration::ZERO }
    }

    /// From when on silence says something, for what is on its way `now`. Where packets are lost the peer holds back
    /// only what is small.
    pub(super) fn word_since(&self, now: Instant) -> Instant {
        if self.expects_haste(now) { now } else { now + self.leisure() }
    }

    /// Nothing is on its way but what the peer may be slow to acknowledge.
    fn is_leisurely(&self) -> bool {
        self.later_in_flight == self.eliciting_in_flight
    }

    /// Whether the path seems to be dark.
    pub(crate) fn is_dark(&self, now: Instant) -> bool {
        let wait = DARK.max(self.pto_base() * 3);
        self.waiting.is_some_and(|since| now.saturating_duration_since(since) >= wait)
    }

    /// Whether something new was acknowledged within a little more than a round trip, where it could have been.
    pub(crate) fn is_answered(&self, now: Instant) -> bool {
        self.waiting.is_none_or(|since| now.saturating_duration_since(since) < self.rtt.smoothed() * 5 / 4)
    }

    /// Whether a small datagram should follow the last one: the sooner one gets through, the sooner the rest may.
    pub(crate) fn take_echo(&mut self, now: Instant) -> bool {
        let due = self.echo_at.is_some_and(|at| at <= now);
        if due {
            self.echo_at = None;
        }
        due
    }

    /// When something is due: a loss to be declared or a probe to be sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let recovery = self.loss_at.or_else(|| self.probe_at());
        recovery.into_iter().chain(self.echo_at).min()
    }

    fn probe_at(&self) -> Option<Instant> {
        // What is repeated by turns rides in datagrams that leave anyway; when none does, a probe must carry it.
        let waiting = self.eliciting_in_flight > 0 || self.owed;
        let last = self.last_eliciting.filter(|_| waiting)?;
        let pto = self.pto();
        // Where packets are lost the peer acknowledges each at once, but for those that it gathers: the end of a burst need
        // not wait for more. On a short path that would win nothing, and a peer that is held up would seem to lose packets.
        let soon = self.soon_in_flight > 0 || self.owed;
        let hasty = soon && self.probes == 0 && self.expects_haste(last);
        let wait =
            if hasty { pto.saturating_sub(self.ack_delay).max(pto.min(self.ack_delay * 2)) } else { pto };
        Some(last + wait + if self.owed { Duration::ZERO } else { self.leisure() })
    }

    /// Runs what is due. Returns how many probe packets should leave (0 to 2).
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        mut settle: impl FnMut(Content, Fate, Carrier),
    ) -> u32 {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_losses(now, &mut settle);
            self.pop_settled(now);
            return 0;
        }
        if self.loss_at.is_some() || self.probe_at().is_none_or(|at| at > now) {
            return 0;
        }
        self.probes = self.probes.saturating_add(1);
        // Where nothing is to be repeated one question is enough.
        let probes = if self.is_leisurely() && !self.owed { 1 } else { 2 };
        // The timer runs from now, also if the probe cannot leave.
        self.last_eliciting = Some(now);
        self.repeat_oldest(now, &mut settle);
        probes
    }

    /// Hands the contents of the two oldest flying packets back for another try, and takes them out of the flight.
    fn repeat_oldest(&mut self, now: Instant, settle: &mut impl FnMut(Content, Fate, Carrier)) {
        for _ in 0..2 {
            let Some(number) = self.next_flying() else { return };
            self.lose(now, self.offset(number), Fate::Lost, settle);
        }
    }
}
