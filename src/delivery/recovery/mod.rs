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

mod loss;
mod rest;
mod skipped;

pub(crate) use self::rest::Kept;
pub(crate) use super::content::{Carrier, Content, Fate};
use super::{
    ack::{Call, LEISURE},
    content::{Packet, State},
    on_demand::OnDemand,
    path::Path,
    rate::Progress,
    rtt::Rtt,
};
use crate::{config::Config, error::Violation, stats::Packets};

/// A lost packet is remembered this long, to notice that it was only late. Longer than its messages wait for that until
/// their sender is told (`notices`), so that a false word can be counted.
const LOST_MEMORY: Duration = Duration::from_secs(2);
/// Packets that may be remembered beyond those that fill the flight, counted with so few bytes each.
const MOST_REMEMBERED: usize = 4_096;
const LEAST_BYTES: usize = 16;
/// The longest time for which a peer holds an acknowledgement back. PROTOCOL.md, "Acknowledgements".
const ACK_DELAY: Duration = Duration::from_millis(25);
/// Larger packets may vanish where the path became narrower.
pub(super) const LARGE: u32 = 1_200;

/// What one ACK frame tells.
#[derive(Default)]
struct Told {
    /// Packets that it acknowledges for the first time.
    packets: u32,
    /// The largest of them of which a round trip is to be taken, and when it was sent.
    sample: Option<(u64, Instant)>,
    /// When the last of them was sent that an earlier acknowledgement overtook, and when the newest one known then.
    overtaken: Option<(Instant, Instant)>,
}

/// The packets on their way, and the timers that follow from them.
#[derive(Debug)]
pub(crate) struct SentPackets {
    /// Number of the first packet in `packets`.
    first: u64,
    packets: OnDemand<VecDeque<Packet>>,
    contents: OnDemand<VecDeque<Content>>,
    /// Position of the front of `contents`, counted over the session.
    contents_first: u64,
    skipped: OnDemand<VecDeque<u64>>,
    largest_acked: Option<u64>,
    flight_bytes: usize,
    /// Messages wait for news although nothing of them counts as on its way.
    pub(crate) owed: bool,
    eliciting_in_flight: usize,
    /// Those among them whose acknowledgement is not gathered with others.
    soon_in_flight: usize,
    /// And those whose acknowledgement may wait for a packet that leaves anyway.
    later_in_flight: usize,
    last_eliciting: Option<Instant>,
    loss_at: Option<Instant>,
    probes: u32,
    /// No packet below this number is flying.
    flying_from: u64,
    /// Every packet below this number was judged overdue or is settled.
    overdue_from: u64,
    /// When the newest packet known to have arrived was sent, and how long its acknowledgement took.
    newest: Option<(Instant, Duration)>,
    /// Since when nothing new was acknowledged although something should have been; in the future while nothing is on
    /// its way but what the peer may be slow to acknowledge.
    waiting: Option<Instant>,
    /// When a small datagram should follow the last one.
    echo_at: Option<Instant>,
    /// When a packet counted as lost last.
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
            packets: OnDemand::default(),
            contents: OnDemand::default(),
            contents_first: 0,
            skipped: OnDemand::default(),
            largest_acked: None,
            flight_bytes: 0,
            owed: false,
            eliciting_in_flight: 0,
            soon_in_flight: 0,
            later_in_flight: 0,
            last_eliciting: None,
            loss_at: None,
            probes: 0,
            flying_from: first_number,
            overdue_from: first_number,
            newest: None,
            waiting: None,
            echo_at: None,
            last_loss: None,
            path: Path::default(),
            rtt: Rtt::new(config.initial_rtt),
            ack_delay: ACK_DELAY,
            max_pto: config.max_pto,
            news: Progress::default(),
            most: MOST_REMEMBERED + config.flight_bytes / LEAST_BYTES,
            counted: Packets::default(),
        }
    }

    /// The packets of another session, of which the counters go on.
    pub(crate) fn anew(&self, config: &Config, first_number: u64) -> Self {
        Self { counted: self.counted, ..Self::new(config, first_number) }
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
            self.push(now, 0, 0, Call::No);
            self.pop_settled(now);
        }
    }

    /// Adds to the contents of the packet that `on_sent` will seal off.
    pub(crate) fn push_content(&mut self, content: Content) {
        self.contents.push_back(content);
    }

    /// Notes a packet of `bytes` bytes whose last `contents` pushed contents are its own, so many of them `parts` of
    /// messages whose fate counts.
    pub(crate) fn on_sent(&mut self, now: Instant, bytes: usize, (contents, parts): (u32, u32), call: Call) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if call != Call::No {
            self.flight_bytes += bytes as usize;
            self.eliciting_in_flight += 1;
            self.soon_in_flight += usize::from(call == Call::Soon);
            self.later_in_flight += usize::from(call == Call::Later);
            self.counted.sent += 1;
            self.last_eliciting = Some(now);
            let since = self.word_since(now);
            self.waiting = Some(self.waiting.map_or(since, |before| before.min(since)));
        }
        // Nobody waits for word of positions that carry an acknowledgement along.
        let asks = parts > 0 || (contents > 0 && call != Call::Later);
        if asks && self.echo_at.is_none() && self.is_dark(now) {
            self.echo_at = Some(now + loss::ECHO);
        }
        self.push(now, bytes, contents, call);
        self.pop_settled(now);
    }

    fn push(&mut self, now: Instant, bytes: u32, contents: u32, call: Call) {
        let state = if call == Call::No { State::Settled } else { State::Flying };
        let end = self.contents_first + self.contents.len() as u64;
        let contents_at = end.saturating_sub(u64::from(contents));
        self.packets.push_back(Packet { sent: now, bytes, contents_at, contents, state, call });
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
        let mut told = Told::default();
        let mut largest = None;
        for range in ranges {
            largest = largest.max(Some(*range.end()));
            if *range.end() < self.first {
                break;
            }
            newly |= self.ack_range(range, &mut told, &mut settle);
        }
        if let Some((sent, newest)) = told.overtaken {
            self.path.overtaken(now, (sent, newest), told.packets == 1, &self.rtt);
        }
        self.path.told(now, told.packets);
        let grew = largest > self.largest_acked;
        self.largest_acked = self.largest_acked.max(largest);
        let leisure = self.ack_delay * LEISURE;
        if let Some(packet) = largest.filter(|_| grew).and_then(|number| self.at(number)) {
            // Held back for longer than anybody does, it comes in place of one that was lost.
            let took = now.saturating_duration_since(packet.sent);
            self.newest = Some((packet.sent, took.saturating_sub(ack_delay.saturating_sub(leisure))));
        }
        // A round trip is measured where the largest number acknowledged is new (RFC 9002, 5.1).
        if let Some((_, sent)) = told.sample.filter(|&(number, _)| grew && Some(number) == largest) {
            let measured = now.saturating_duration_since(sent);
            let adjusted = self.rtt.sample(measured, ack_delay);
            self.news.sample = Some((measured, adjusted));
        }
        if newly {
            self.news.silence = self.news.silence.max(self.silence(now));
            self.probes = 0;
            self.waiting = (self.eliciting_in_flight > 0).then(|| self.word_since(now));
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

    /// Settles one range, and notes in `told` what it tells.
    fn ack_range(
        &mut self,
        range: RangeInclusive<u64>,
        told: &mut Told,
        settle: &mut impl FnMut(Content, Fate, Carrier),
    ) -> bool {
        let (start, end) = (self.offset(*range.start()), self.offset(*range.end()));
        let end = end.saturating_add(1).min(self.packets.len());
        if start >= end {
            return false;
        }
        let mut newly = false;
        let lowest = range.start().max(&self.first);
        for (offset, packet) in self.packets.range_mut(start..end).enumerate() {
            let contents = packet.contents(self.contents_first);
            let (was, carrier) = (packet.state, packet.carrier());
            packet.state = State::Settled;
            // What was acknowledged before has nothing to tell again, however often the peer repeats it.
            let known = packet.eliciting() && was == State::Settled;
            if known || (!packet.eliciting() && packet.contents == 0) {
                continue;
            }
            for &content in self.contents.range(contents) {
                settle(content, Fate::Acked, carrier);
            }
            if was == State::Settled {
                continue;
            }
            newly = true;
            told.packets += 1;
            self.counted.acked += 1;
            self.counted.late += u64::from(carrier.late);
            self.path.arrived(carrier.late);
            // Also by one that left at the same time.
            let passed = self.largest_acked.is_some_and(|largest| lowest + (offset as u64) < largest);
            if let Some((newest, _)) = self.newest.filter(|_| passed) {
                told.overtaken = told.overtaken.max(Some((packet.sent, newest)));
            }
            if was == State::Flying {
                self.news.acked_bytes += packet.bytes as usize;
                self.news.acked_packets += 1;
                self.news.large_acked |= packet.bytes > LARGE;
                self.flight_bytes = self.flight_bytes.saturating_sub(packet.bytes as usize);
                self.eliciting_in_flight = self.eliciting_in_flight.saturating_sub(1);
                self.soon_in_flight =
                    self.soon_in_flight.saturating_sub(usize::from(packet.call == Call::Soon));
                self.later_in_flight =
                    self.later_in_flight.saturating_sub(usize::from(packet.call == Call::Later));
            }
            // Also of one taken for lost when a probe was the last that was done: on a path that became longer than the
            // probe timeout there may be no others.
            if was == State::Flying || self.probes > 0 {
                told.sample = told.sample.max(Some((lowest + offset as u64, packet.sent)));
            }
        }
        newly
    }

    /// For how long nothing was acknowledged although something is on its way.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        self.waiting.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// What has become known since the last call.
    pub(crate) fn take_news(&mut self) -> Progress {
        std::mem::take(&mut self.news)
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

    /// Packets and contents remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> (usize, usize) {
        (self.packets.len(), self.contents.len())
    }

    /// So many packets are lost that the lack of an acknowledgement says little of a packet.
    pub(crate) fn is_lossy(&self) -> bool {
        self.path.is_lossy()
    }

    /// Copies that the measured loss calls for.
    pub(crate) fn redundancy(&self) -> u8 {
        self.path.redundancy()
    }

    /// Gives back memory that an idle session does not need.
    pub(crate) fn shrink(&mut self, now: Instant) {
        self.pop_settled(now);
        self.packets.rest();
        self.contents.rest();
        self.skipped.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::Environment;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_peer_cannot_talk_the_rates_round_trip_below_the_least_one_either() {
        let (mut now, mut sent) = (Environment::os().now(), SentPackets::new(&Config::default(), 0));
        for (number, claimed) in [(0, 0), (1, 25), (2, 40), (3, 1_000)] {
            sent.on_sent(now, 100, (0, 0), Call::Soon);
            now += 40 * MS;
            sent.on_ack(now, std::iter::once(number..=number), claimed * MS, |_, _, _| ()).unwrap();
            let sample = sent.take_news().sample;
            assert_eq!(sample, Some((40 * MS, 40 * MS)), "{claimed} ms held back");
        }
    }
}
