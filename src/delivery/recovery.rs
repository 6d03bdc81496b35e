//! What was sent and is not settled: which packet carried what, what an acknowledgement settles, what counts as lost,
//! when to probe. Loss is judged by time of sending, as RFC 8985 does, with a measured allowance for reordering. Knows
//! parts of messages only as references.
//!
//! Invariant: packets stand in one deque indexed by number, from the oldest that is unsettled; their contents stand in
//! a second deque in the same order, so that nothing is allocated per packet.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

pub(crate) use super::content::{Carrier, Content, Fate};
use super::{
    ack::TROUBLE,
    content::{Packet, State},
    path::Path,
    rate::Progress,
    rtt::Rtt,
};
use crate::{config::Config, error::Violation, stats::Packets};

/// Numbers left out on purpose that are remembered, to tell an honest acknowledgement from a blind one.
const SKIPS_REMEMBERED: usize = 16;
/// A lost packet is remembered this long, to notice that it was only late.
const LOST_MEMORY: Duration = Duration::from_secs(1);
/// Packets that may be remembered beyond those that fill the flight, counted with so few bytes each.
const MOST_REMEMBERED: usize = 4_096;
const LEAST_BYTES: usize = 16;
/// Larger packets may vanish where the path became narrower.
const LARGE: u32 = 1_200;
/// Probes in a row without an answer that make a silence.
const PROBES_OF_SILENCE: u32 = 2;
/// A packet of small parts without a word for so long (and three probe timeouts) makes room for new ones.
const SILENCE: Duration = Duration::from_secs(1);

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
    /// No packet below this number is flying.
    flying_from: u64,
    /// Every packet below this number was judged overdue or is settled.
    overdue_from: u64,
    /// When the newest packet known to have arrived was sent, and how long its acknowledgement took.
    newest: Option<(Instant, Duration)>,
    /// When something new was acknowledged last.
    progress: Option<Instant>,
    last_loss: Option<Instant>,
    path: Path,
    pub(crate) rtt: Rtt,
    ack_delay: Duration,
    max_pto: Duration,
    /// For the rate control.
    news: Progress,
    /// Packets remembered at most.
    most: usize,
    /// The sender's half of what the statistics say.
    pub(crate) counted: Packets,
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
            flying_from: first_number,
            overdue_from: first_number,
            newest: None,
            progress: None,
            last_loss: None,
            path: Path::default(),
            rtt: Rtt::new(config.initial_rtt),
            ack_delay: Duration::from_millis(25),
            max_pto: config.max_pto,
            news: Progress::default(),
            most: MOST_REMEMBERED + config.flight_bytes / LEAST_BYTES,
            counted: Packets::default(),
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
            self.counted.sent += 1;
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
        mut settle: impl FnMut(Content, Fate, Carrier),
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
            newly |= self.ack_range(now, range, &mut sample, &mut settle);
        }
        let grew = largest > self.largest_acked;
        self.largest_acked = self.largest_acked.max(largest);
        if let Some(packet) = largest.filter(|_| grew).and_then(|number| self.at(number)) {
            self.newest = Some((packet.sent, now.saturating_duration_since(packet.sent)));
        }
        // A round trip is measured where the largest number acknowledged is new (RFC 9002, 5.1).
        if let Some((_, sent)) = sample.filter(|&(number, _)| grew && Some(number) == largest) {
            let (measured, held) = (now.saturating_duration_since(sent), ack_delay.min(self.ack_delay));
            self.rtt.sample(measured, held);
            self.news.sample = Some((measured, measured.saturating_sub(ack_delay)));
        }
        if newly {
            self.news.awake |= self.probes >= PROBES_OF_SILENCE;
            self.probes = 0;
            self.progress = Some(now);
        }
        // Else only time can make a loss, and `loss_at` sees to that.
        if newly || grew {
            self.path.fade(now);
            self.detect_losses(now, &mut settle);
            self.pop_settled(now);
        }
        Ok(newly)
    }

    fn offset(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX)
    }

    fn at(&self, number: u64) -> Option<&Packet> {
        self.packets.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Settles one range; `sample` becomes the largest newly acknowledged packet and when it was sent.
    fn ack_range(
        &mut self,
        now: Instant,
        range: RangeInclusive<u64>,
        sample: &mut Option<(u64, Instant)>,
        settle: &mut impl FnMut(Content, Fate, Carrier),
    ) -> bool {
        let (start, end) = (self.offset(*range.start()), self.offset(*range.end()));
        let end = end.saturating_add(1).min(self.packets.len());
        if start >= end {
            return false;
        }
        let mut newly = false;
        let mut overtaken = Duration::ZERO;
        let lowest = range.start().max(&self.first);
        for (offset, packet) in self.packets.range_mut(start..end).enumerate() {
            let contents = packet.contents(self.contents_first);
            let (was, carrier) = (packet.state, packet.carrier());
            packet.state = State::Settled;
            // What was acknowledged before has nothing to tell again, however often the peer repeats it.
            let known = packet.eliciting && was == State::Settled;
            if known || (!packet.eliciting && packet.contents == 0) {
                continue;
            }
            for &content in self.contents.range(contents) {
                settle(content, Fate::Acked, carrier);
            }
            if was == State::Settled {
                continue;
            }
            newly = true;
            self.counted.acked += 1;
            self.counted.late += u64::from(matches!(was, State::Lost(_)));
            self.path.arrived();
            if let Some((newest, _)) = self.newest {
                overtaken = overtaken.max(newest.saturating_duration_since(packet.sent));
            }
            if was == State::Flying {
                self.news.acked_bytes += packet.bytes as usize;
                self.news.acked_packets += 1;
                self.news.large_acked |= packet.bytes > LARGE;
                self.flight_bytes = self.flight_bytes.saturating_sub(packet.bytes as usize);
                self.eliciting_in_flight = self.eliciting_in_flight.saturating_sub(1);
                *sample = (*sample).max(Some((lowest + offset as u64, packet.sent)));
            }
        }
        if overtaken > Duration::ZERO {
            self.path.overtaken(now, overtaken);
        }
        newly
    }

    /// Copies sent up to this moment would be known by now, had they arrived: what was sent later has, and the
    /// allowance for reordering is over.
    pub(crate) fn known_until(&self, now: Instant) -> Option<Instant> {
        let (newest, took) = self.newest?;
        let by_now = now.checked_sub(took + self.path.allowance(&self.rtt))?;
        Some(newest.min(by_now))
    }

    /// Marks as lost what later packets overtook by too much, and sets the timer for what may follow.
    fn detect_losses(&mut self, now: Instant, settle: &mut impl FnMut(Content, Fate, Carrier)) {
        self.loss_at = None;
        let (Some(largest), Some((_, took))) = (self.largest_acked, self.newest) else { return };
        let delay = took + self.path.allowance(&self.rtt);
        while let Some(number) = self.next_flying().filter(|&number| number < largest) {
            let Some(due) = self.at(number).map(|packet| packet.sent + delay) else { return };
            // Later packets were sent later.
            if due > now {
                self.loss_at = Some(due);
                return;
            }
            self.path.lost();
            self.news.lost_packets += 1;
            self.news.large_lost += u32::from(self.at(number).is_some_and(|packet| packet.bytes > LARGE));
            self.last_loss = Some(now);
            self.lose(now, self.offset(number), Fate::Lost, settle);
        }
    }

    /// What has become known since the last call.
    pub(crate) fn take_news(&mut self) -> Progress {
        std::mem::take(&mut self.news)
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
    fn lose(
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
        let contents = packet.contents(self.contents_first);
        self.contents.range(contents).for_each(|&content| settle(content, fate, carrier));
        true
    }

    /// Names what should have been heard of by now. A packet leaves is about to: it may carry some of it along.
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
        // Where packets are lost the peer acknowledges each at once.
        let hasty = self.last_loss.is_some_and(|last| now.saturating_duration_since(last) < TROUBLE);
        self.rtt.overdue() + if hasty { Duration::ZERO } else { self.ack_delay }
    }

    /// Whether nothing new was acknowledged for so long that more than single acknowledgements must be lost.
    pub(crate) fn is_quiet(&self, now: Instant) -> bool {
        self.progress.is_none_or(|last| now.saturating_duration_since(last) >= self.overdue(now))
    }

    /// Share of the packets that are lost, in 1/65,536.
    pub(crate) fn loss(&self) -> u32 {
        self.path.loss()
    }

    /// Before something new leaves: packets of small parts that nobody spoke of for a second no longer fill the flight.
    /// Their parts are remembered by the queue above.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        small: u32,
        mut settle: impl FnMut(Content, Fate, Carrier),
    ) {
        let wait = SILENCE.max(self.pto_base() * 3);
        while let Some(number) = self.next_flying() {
            let Some(packet) = self.at(number).filter(|packet| packet.sent + wait <= now) else { return };
            let large = |content: &Content| matches!(content, Content::Part { len, .. } if *len > small);
            if self.contents.range(packet.contents(self.contents_first)).any(large) {
                return;
            }
            self.lose(now, self.offset(number), Fate::Lost, &mut settle);
        }
    }

    /// Makes room for the next packet: a peer that asks and asks but acknowledges nothing must not make us remember
    /// every answer. The oldest packets count as lost and are forgotten.
    pub(crate) fn make_room(&mut self, now: Instant, mut settle: impl FnMut(Content, Fate, Carrier)) {
        while self.packets.len() >= self.most {
            self.lose(now, 0, Fate::Lost, &mut settle);
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
        self.last_eliciting.filter(|_| self.eliciting_in_flight > 0).map(|last| last + self.pto())
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
        // The timer runs from now, also if the probe cannot leave.
        self.last_eliciting = Some(now);
        self.repeat_oldest(now, &mut settle);
        2
    }

    /// Hands the contents of the two oldest flying packets back for another try, and takes them out of the flight.
    fn repeat_oldest(&mut self, now: Instant, settle: &mut impl FnMut(Content, Fate, Carrier)) {
        for _ in 0..2 {
            let Some(number) = self.next_flying() else { return };
            self.lose(now, self.offset(number), Fate::Lost, settle);
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
