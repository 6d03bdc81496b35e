//! What was sent and is not settled: which packet carried what, what an acknowledgement settles, what counts as lost,
//! when to probe. Follows RFC 9002 with a measured reordering allowance. Knows parts of messages only as references.
//!
//! Invariant: packets stand in one deque indexed by number, from the oldest that is unsettled; their contents stand in
//! a second deque in the same order, so that nothing is allocated per packet.

use std::{
    collections::VecDeque,
    ops::{Range, RangeInclusive},
    time::{Duration, Instant},
};

pub(crate) use super::content::{Content, Fate};
use super::{rate::Progress, rtt::Rtt};
use crate::{config::Config, error::Violation};

/// Packets by which a later one may overtake before the earlier counts as lost (RFC 9002, 6.1.1), at first.
const REORDERING_FIRST: u64 = 3;
/// The same, at most, however much reordering is seen.
const REORDERING_MOST: u64 = 64;
/// Numbers left out on purpose that are remembered, to tell an honest acknowledgement from a blind one.
const SKIPS_REMEMBERED: usize = 16;
/// A lost packet is remembered this long, to notice that it was only late.
const LOST_MEMORY: Duration = Duration::from_secs(1);
/// Packets that may be remembered beyond those that fill the flight, counted with so few bytes each.
const MOST_REMEMBERED: usize = 4_096;
const LEAST_BYTES: usize = 16;
/// Probes in a row without an answer that make a silence.
const PROBES_OF_SILENCE: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Sent, counts as on its way.
    Flying,
    /// Taken for lost (or repeated by a probe) at this time; may still be acknowledged.
    Lost(Instant),
    /// Nothing more to learn: acknowledged, or it never called for an acknowledgement.
    Settled,
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    sent: Instant,
    bytes: u32,
    /// Position of its first content, counted over the session.
    contents_at: u64,
    contents: u32,
    state: State,
    eliciting: bool,
}

impl Packet {
    /// Where its contents stand in a deque whose front has position `first`.
    fn contents(&self, first: u64) -> Range<usize> {
        let start = usize::try_from(self.contents_at.saturating_sub(first)).unwrap_or(usize::MAX);
        start..start.saturating_add(self.contents as usize)
    }
}

/// The packets on their way, and the timers that follow from them.
#[derive(Debug)]
pub(crate) struct SentPackets {
    /// Number of the first packet in `packets`.
    first: u64,
    packets: VecDeque<Packet>,
    contents: VecDeque<Content>,
    /// Position of the front of `contents`, counted over the session.
    contents_first: u64,
    skipped: VecDeque<u64>,
    largest_acked: Option<u64>,
    flight_bytes: usize,
    eliciting_in_flight: usize,
    last_eliciting: Option<Instant>,
    loss_at: Option<Instant>,
    probes: u32,
    reordering_packets: u64,
    reordering_time: Duration,
    pub(crate) rtt: Rtt,
    ack_delay: Duration,
    max_pto: Duration,
    /// News for the rate control.
    progress: Progress,
    /// Packets remembered at most.
    most: usize,
    /// Parts of packets that were taken for lost and arrived after all.
    pub(crate) late_parts: u64,
}

impl SentPackets {
    pub(crate) fn new(config: &Config, first_number: u64) -> Self {
        Self {
            first: first_number,
            packets: VecDeque::new(),
            contents: VecDeque::new(),
            contents_first: 0,
            skipped: VecDeque::new(),
            largest_acked: None,
            flight_bytes: 0,
            eliciting_in_flight: 0,
            last_eliciting: None,
            loss_at: None,
            probes: 0,
            reordering_packets: REORDERING_FIRST,
            reordering_time: Duration::ZERO,
            rtt: Rtt::new(config.initial_rtt),
            ack_delay: Duration::from_millis(25),
            max_pto: config.max_pto,
            progress: Progress::default(),
            most: MOST_REMEMBERED + config.flight_bytes / LEAST_BYTES,
            late_parts: 0,
        }
    }

    /// The number that the next packet must have.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    pub(crate) fn largest_acked(&self) -> Option<u64> {
        self.largest_acked
    }

    pub(crate) fn flight_bytes(&self) -> usize {
        self.flight_bytes
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.eliciting_in_flight == 0
    }

    /// Probe timeout with back-off, capped by `Config::max_pto`.
    pub(crate) fn pto(&self) -> Duration {
        let base = self.rtt.pto(self.ack_delay);
        base.saturating_mul(1 << self.probes.min(16)).min(self.max_pto.max(self.rtt.smoothed()))
    }

    /// Probe timeout without back-off.
    pub(crate) fn pto_base(&self) -> Duration {
        self.rtt.pto(self.ack_delay).min(self.max_pto)
    }

    /// Numbers below `number` were used for packets that nobody needs to hear of.
    pub(crate) fn align(&mut self, now: Instant, number: u64) {
        while self.next_number() < number {
            self.push(now, 0, 0, false);
            self.pop_settled(now);
        }
    }

    /// Notes that `number` is left out on purpose (PROTOCOL.md, "Blind acknowledgements").
    pub(crate) fn on_skipped(&mut self, now: Instant, number: u64) {
        debug_assert_eq!(number, self.next_number());
        self.push(now, 0, 0, false);
        if self.skipped.len() == SKIPS_REMEMBERED {
            self.skipped.pop_front();
        } else if self.skipped.capacity() < SKIPS_REMEMBERED {
            // All of it at once: later skips come while the session runs.
            self.skipped.reserve_exact(SKIPS_REMEMBERED);
        }
        self.skipped.push_back(number);
        self.pop_settled(now);
    }

    /// Adds to the contents of the packet that `on_sent` will seal off.
    pub(crate) fn push_content(&mut self, content: Content) {
        self.contents.push_back(content);
    }

    /// Notes a packet of `bytes` bytes whose last `contents` pushed contents are its own.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize, contents: u32, eliciting: bool) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if eliciting {
            self.flight_bytes += bytes as usize;
            self.eliciting_in_flight += 1;
            self.last_eliciting = Some(now);
        }
        self.push(now, bytes, contents, eliciting);
        self.pop_settled(now);
    }

    fn push(&mut self, now: Instant, bytes: u32, contents: u32, eliciting: bool) {
        let state = if eliciting { State::Flying } else { State::Settled };
        let end = self.contents_first + self.contents.len() as u64;
        let contents_at = end.saturating_sub(u64::from(contents));
        self.packets.push_back(Packet { sent: now, bytes, contents_at, contents, state, eliciting });
    }

    /// Digests an ACK frame; tells `settle` the fate of each content. Returns whether anything new was acknowledged.
    ///
    /// # Errors
    /// [`Violation::ImpossibleAck`] if it names a number that was never sent; then nothing was changed.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        ranges: impl Iterator<Item = RangeInclusive<u64>> + Clone,
        ack_delay: Duration,
        mut settle: impl FnMut(Content, Fate),
    ) -> Result<bool, Violation> {
        let next = self.next_number();
        for range in ranges.clone() {
            if *range.end() >= next || self.skipped.iter().any(|skipped| range.contains(skipped)) {
                return Err(Violation::ImpossibleAck);
            }
        }
        let mut newly = false;
        let mut sample = None;
        let mut largest = None;
        for range in ranges {
            largest = largest.max(Some(*range.end()));
            if *range.end() < self.first {
                break;
            }
            newly |= self.ack_range(range, &mut sample, &mut settle);
        }
        let grew = largest > self.largest_acked;
        self.largest_acked = self.largest_acked.max(largest);
        // A round trip is measured where the largest number acknowledged is new (RFC 9002, 5.1).
        if let Some((_, sent)) = sample.filter(|&(number, _)| grew && Some(number) == largest) {
            let (measured, held) = (now.saturating_duration_since(sent), ack_delay.min(self.ack_delay));
            self.rtt.sample(measured, held);
            self.progress.sample = Some((measured, measured.saturating_sub(held)));
        }
        if newly {
            self.progress.awake |= self.probes >= PROBES_OF_SILENCE;
            self.probes = 0;
        }
        // Else only time can make a loss, and `loss_at` sees to that.
        if newly || grew {
            self.detect_losses(now, &mut settle);
            self.pop_settled(now);
        }
        Ok(newly)
    }

    /// Settles one range; `sample` becomes the largest newly acknowledged packet and when it was sent.
    fn ack_range(
        &mut self,
        range: RangeInclusive<u64>,
        sample: &mut Option<(u64, Instant)>,
        settle: &mut impl FnMut(Content, Fate),
    ) -> bool {
        let start = usize::try_from(range.start().saturating_sub(self.first)).unwrap_or(usize::MAX);
        let end = usize::try_from(range.end().saturating_sub(self.first)).unwrap_or(usize::MAX);
        let end = end.saturating_add(1).min(self.packets.len());
        if start >= end {
            return false;
        }
        let mut newly = false;
        let mut late = None;
        for (offset, packet) in self.packets.range_mut(start..end).enumerate() {
            let contents = packet.contents(self.contents_first);
            let was = packet.state;
            packet.state = State::Settled;
            // What was acknowledged before has nothing to tell again, however often the peer repeats it.
            let known = packet.eliciting && was == State::Settled;
            if known || (!packet.eliciting && packet.contents == 0) {
                continue;
            }
            for &content in self.contents.range(contents) {
                settle(content, Fate::Acked);
            }
            match was {
                State::Flying => {
                    self.progress.acked_bytes += packet.bytes as usize;
                    self.progress.acked_packets += 1;
                    self.flight_bytes = self.flight_bytes.saturating_sub(packet.bytes as usize);
                    self.eliciting_in_flight = self.eliciting_in_flight.saturating_sub(1);
                    newly = true;
                    *sample =
                        (*sample).max(Some((range.start().max(&self.first) + offset as u64, packet.sent)));
                }
                State::Lost(since) => {
                    newly = true;
                    let parts = self.contents.range(packet.contents(self.contents_first));
                    self.late_parts +=
                        parts.filter(|content| matches!(content, Content::Part { .. })).count() as u64;
                    late = Some((range.start().max(&self.first) + offset as u64, since));
                }
                State::Settled => {}
            }
        }
        if let Some((number, _)) = late {
            self.learn_reordering(number);
        }
        newly
    }

    /// A packet that was taken for lost was only late: allow for more reordering from now on.
    fn learn_reordering(&mut self, number: u64) {
        let distance = self.largest_acked.map_or(0, |largest| largest.saturating_sub(number)) + 1;
        self.reordering_packets = self.reordering_packets.max(distance).min(REORDERING_MOST);
        self.reordering_time = (self.reordering_time + self.rtt.smoothed() / 8).min(self.rtt.smoothed());
    }

    /// Marks as lost what later packets overtook by too much, and sets the timer for what may follow.
    fn detect_losses(&mut self, now: Instant, settle: &mut impl FnMut(Content, Fate)) {
        self.loss_at = None;
        let Some(largest) = self.largest_acked else { return };
        let Some(span) = largest.checked_sub(self.first) else { return };
        let span = usize::try_from(span).unwrap_or(usize::MAX).min(self.packets.len());
        let delay = self.rtt.loss_delay() + self.reordering_time;
        for (number, at) in (self.first..).zip(0..span) {
            let flying = self.packets.get(at).filter(|packet| packet.state == State::Flying);
            let Some(due) = flying.map(|packet| packet.sent + delay) else { continue };
            if due > now && largest - number < self.reordering_packets {
                self.loss_at = Some(self.loss_at.map_or(due, |earlier| earlier.min(due)));
                continue;
            }
            self.progress.lost_packets += u32::from(self.lose(now, at, settle));
        }
    }

    /// What has become known since the last call.
    pub(crate) fn take_progress(&mut self) -> Progress {
        std::mem::take(&mut self.progress)
    }

    /// Takes a packet out of the flight, if it is there, and hands its contents back for another try.
    fn lose(&mut self, now: Instant, at: usize, settle: &mut impl FnMut(Content, Fate)) -> bool {
        let flying = self.packets.get_mut(at).filter(|packet| packet.state == State::Flying);
        let Some(packet) = flying else { return false };
        packet.state = State::Lost(now);
        self.flight_bytes = self.flight_bytes.saturating_sub(packet.bytes as usize);
        self.eliciting_in_flight = self.eliciting_in_flight.saturating_sub(1);
        let contents = packet.contents(self.contents_first);
        self.contents.range(contents).for_each(|&content| settle(content, Fate::Lost));
        true
    }

    /// Makes room for the next packet: a peer that asks and asks but acknowledges nothing must not make us remember
    /// every answer. The oldest packets count as lost and are forgotten.
    pub(crate) fn make_room(&mut self, now: Instant, mut settle: impl FnMut(Content, Fate)) {
        while self.packets.len() >= self.most {
            self.lose(now, 0, &mut settle);
            self.pop_front();
        }
    }

    /// Forgets settled packets at the front.
    fn pop_settled(&mut self, now: Instant) {
        while let Some(packet) = self.packets.front() {
            let done = match packet.state {
                State::Settled => true,
                State::Lost(since) => now.saturating_duration_since(since) >= LOST_MEMORY,
                State::Flying => false,
            };
            if !done {
                break;
            }
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        let Some(packet) = self.packets.pop_front() else { return };
        self.contents.drain(..packet.contents as usize);
        self.contents_first += u64::from(packet.contents);
        self.first += 1;
    }

    /// When something is due: a loss to be declared or a probe to be sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.loss_at.or_else(|| self.probe_at())
    }

    fn probe_at(&self) -> Option<Instant> {
        if self.eliciting_in_flight == 0 {
            return None;
        }
        self.last_eliciting.map(|last| last + self.pto())
    }

    /// Runs what is due. Returns how many probe packets should leave (0 to 2).
    pub(crate) fn handle_timeout(&mut self, now: Instant, mut settle: impl FnMut(Content, Fate)) -> u32 {
        if self.loss_at.is_some_and(|at| at <= now) {
            self.detect_losses(now, &mut settle);
            self.pop_settled(now);
            return 0;
        }
        if self.loss_at.is_some() || self.probe_at().is_none_or(|at| at > now) {
            return 0;
        }
        self.probes = self.probes.saturating_add(1);
        // The timer runs from now, also if the probe cannot leave.
        self.last_eliciting = Some(now);
        self.repeat_oldest(now, &mut settle);
        2
    }

    /// Hands the contents of the two oldest flying packets back for another try, and takes them out of the flight.
    fn repeat_oldest(&mut self, now: Instant, settle: &mut impl FnMut(Content, Fate)) {
        let mut left = 2;
        for at in 0..self.packets.len() {
            left -= u32::from(self.lose(now, at, settle));
            if left == 0 {
                break;
            }
        }
    }

    /// Packets and contents remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize) {
        (self.packets.len(), self.contents.len())
    }

    #[cfg(test)]
    pub(crate) fn skipped(&self) -> Vec<u64> {
        self.skipped.iter().copied().collect()
    }

    /// Gives back memory that an idle session does not need.
    pub(crate) fn shrink(&mut self) {
        self.packets.shrink_to_fit();
        self.contents.shrink_to_fit();
        self.skipped.shrink_to_fit();
    }
}
