//! How large a datagram the path takes. Starts at what every path takes, looks upwards with packets that carry nothing,
//! and falls back when only the large ones vanish. Knows sizes and times, no packets. PROTOCOL.md, "Path MTU".
//!
//! Invariant: `base <= size <= most`, and every packet with messages fits `size`.

use std::time::{Duration, Instant};

use super::Awake;
use crate::{
    delivery::{ack::Call, rate::RateControl, recovery::Content, rtt::Rtt},
    wire::{
        codec::Writer,
        frame::{self, Frame},
        message::Context,
    },
};

/// A size that every path takes (IPv6 asks for 1,280 with its header).
pub(crate) const BASE: u16 = 1_200;
/// A search ends when it knows the size up to so many bytes.
const CLOSE_ENOUGH: u16 = 16;
/// Probes of one size that must get lost before it counts as too large.
const TRIES: u8 = 2;
/// Large packets that must get lost in a row, with none arriving, before the path counts as narrower.
const LARGE_LOSSES: u32 = 4;
/// Probe timeouts in a row after which large packets may be what does not arrive.
const TIMEOUTS: u32 = 2;
/// Time between probes; from a fall to the next search; and from the end of a search to the next.
const BETWEEN_PROBES: Duration = Duration::from_millis(500);
const AFTER_FALL: Duration = Duration::from_secs(10);
const NEXT_SEARCH: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Mtu {
    base: u16,
    most: u16,
    size: u16,
    /// The least size that failed, or one beyond the most.
    fails: u16,
    tries: u8,
    /// Size of the probe on its way.
    flying: Option<u16>,
    next_at: Option<Instant>,
    large_losses: u32,
    timeouts: u32,
    /// Probes lost and not yet told to the rate control.
    lost_probes: u32,
}

/// What is kept at rest. No probe is on its way then.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    base: u16,
    most: u16,
    size: u16,
    fails: u16,
    tries: u8,
    next_at: Option<Instant>,
    large_losses: u32,
    timeouts: u32,
}

impl Kept {
    pub(super) fn size(&self) -> u16 {
        self.size
    }

    pub(super) fn wake(self) -> Mtu {
        let Self { base, most, size, fails, tries, next_at, large_losses, timeouts } = self;
        Mtu { base, most, size, fails, tries, flying: None, next_at, large_losses, timeouts, lost_probes: 0 }
    }
}

impl Mtu {
    pub(crate) fn new(most: u16) -> Self {
        let base = most.min(BASE);
        Self {
            base,
            most,
            size: base,
            fails: most.saturating_add(1),
            tries: 0,
            flying: None,
            next_at: None,
            large_losses: 0,
            timeouts: 0,
            lost_probes: 0,
        }
    }

    pub(super) fn rest(&self) -> Kept {
        let Self {
            base,
            most,
            size,
            fails,
            tries,
            flying: _,
            next_at,
            large_losses,
            timeouts,
            lost_probes: _,
        } = *self;
        Kept { base, most, size, fails, tries, next_at, large_losses, timeouts }
    }

    /// No probe is on its way.
    pub(super) fn may_rest(&self) -> bool {
        self.flying.is_none() && self.lost_probes == 0
    }

    /// Largest datagram for messages, in bytes.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// The size that never changes in this session, in bytes.
    pub(crate) fn base(&self) -> u16 {
        self.base
    }

    /// The size that a probe should have now. Asked only where larger datagrams would be of use.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<u16> {
        if self.flying.is_some() || self.next_at.is_some_and(|next| now < next) || self.size >= self.most {
            return None;
        }
        if self.fails - self.size <= CLOSE_ENOUGH {
            self.fails = self.most.saturating_add(1);
            self.next_at = Some(now + NEXT_SEARCH);
            return None;
        }
        // All at once first: most paths take it.
        let whole = self.fails > self.most;
        Some(if whole { self.most } else { self.size + (self.fails - self.size) / 2 })
    }

    pub(crate) fn on_probe_sent(&mut self, now: Instant, size: u16) {
        self.flying = Some(size);
        self.next_at = Some(now + BETWEEN_PROBES);
    }

    pub(crate) fn on_probe_acked(&mut self, size: u16) {
        self.flying = None;
        self.tries = 0;
        if size < self.fails {
            self.size = self.size.max(size);
        }
    }

    pub(crate) fn on_probe_lost(&mut self, size: u16) {
        self.lost_probes += 1;
        if self.flying.take().is_some() {
            self.tries += 1;
            if self.tries >= TRIES {
                self.tries = 0;
                self.fails = size;
            }
        }
    }

    /// Probes lost since the last call: they say nothing of congestion.
    pub(crate) fn take_lost_probes(&mut self) -> u32 {
        std::mem::take(&mut self.lost_probes)
    }

    /// What became known of packets larger than `base`.
    pub(crate) fn on_large(&mut self, now: Instant, lost: u32, acked: bool) {
        self.large_losses = if acked { 0 } else { self.large_losses.saturating_add(lost) };
        if self.large_losses >= LARGE_LOSSES {
            self.fall(now);
        }
    }

    /// Something arrived.
    pub(crate) fn on_acked(&mut self) {
        self.timeouts = 0;
    }

    /// Nothing was heard for a probe timeout.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.timeouts = self.timeouts.saturating_add(1);
        if self.timeouts >= TIMEOUTS {
            self.fall(now);
        }
    }

    fn fall(&mut self, now: Instant) {
        if self.size > self.base {
            self.fails = self.size;
            self.size = self.base;
            self.next_at = Some(now + AFTER_FALL);
            self.tries = 0;
        }
        self.large_losses = 0;
    }
}

impl Awake {
    /// Packets take another way from now on, of which nothing is known. What is queued and on its way stays.
    pub(crate) fn on_new_path(&mut self, may_fragment: bool) {
        self.may_fragment = may_fragment;
        let most = if may_fragment { self.mtu.most.min(BASE) } else { self.mtu.most };
        self.mtu = Mtu::new(most);
        self.full = false;
        if self.started {
            self.capacity = usize::from(self.mtu.size()).saturating_sub(self.overhead);
        }
        self.rate = RateControl::new(&self.config);
        self.sent.rtt = Rtt::new(self.config.initial_rtt);
    }

    /// The peer has moved: what is on its way went to where it no longer is. Asks at once whether packets arrive.
    pub(crate) fn on_peer_moved(&mut self, _now: Instant) {
        self.on_new_path(self.may_fragment);
        self.ping = true;
    }

    /// Writes a packet that carries nothing but its size, if it is time for one and `room` allows it.
    pub(super) fn transmit_mtu_probe(&mut self, now: Instant, number: u64, room: &mut [u8]) -> Option<usize> {
        // Without a round trip nothing would tell when it is lost.
        self.sent.rtt.min()?;
        let size = self.mtu.probe(now)?;
        let room = room.get_mut(..usize::from(size).checked_sub(self.overhead)?)?;
        let (mut writer, mut context) = (Writer::new(room), Context::default());
        frame::encode(&Frame::Ping, &mut context, &mut writer).ok()?;
        let len = writer.room();
        frame::encode(&Frame::Padding { len }, &mut context, &mut writer).ok()?;
        let written = writer.written();
        self.sent.align(now, number);
        self.forget_oldest(now);
        self.sent.push_content(Content::Probe { size });
        self.sent.on_sent(now, written + self.overhead, (1, 0), Call::Soon);
        self.rate.on_sent(now, written + self.overhead, self.sent.rtt.smoothed());
        self.mtu.on_probe_sent(now, size);
        self.unanswered.get_or_insert(now);
        Some(written)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant serves as the origin")]
mod tests {
    use super::*;

    /// Searches on a path that takes `takes` bytes; gives the probes it took.
    fn search(mtu: &mut Mtu, now: &mut Instant, takes: u16) -> usize {
        let mut probes = 0;
        for _ in 0..100 {
            *now += BETWEEN_PROBES;
            let Some(size) = mtu.probe(*now) else { continue };
            probes += 1;
            mtu.on_probe_sent(*now, size);
            assert_eq!(mtu.probe(*now + BETWEEN_PROBES), None, "one at a time");
            if size <= takes { mtu.on_probe_acked(size) } else { mtu.on_probe_lost(size) }
        }
        probes
    }

    #[test]
    fn a_search_ends_just_below_what_the_path_takes() {
        for takes in [1_200, 1_210, 1_252, 1_300, 1_400, 1_451, 1_452, 9_000] {
            let (mut mtu, mut now) = (Mtu::new(1_452), Instant::now());
            let probes = search(&mut mtu, &mut now, takes);
            assert!(
                mtu.size() <= takes.min(1_452) && mtu.size() + CLOSE_ENOUGH >= takes.min(1_452),
                "{takes}"
            );
            assert!(probes <= 12, "{takes}: {probes}");
        }
    }

    #[test]
    fn a_small_limit_is_never_probed_beyond() {
        let mut mtu = Mtu::new(1_000);
        assert_eq!((mtu.size(), mtu.base(), mtu.probe(Instant::now())), (1_000, 1_000, None));
    }

    #[test]
    fn a_narrower_path_is_noticed_and_searched_anew() {
        let (mut mtu, mut now) = (Mtu::new(1_452), Instant::now());
        search(&mut mtu, &mut now, 1_452);
        assert_eq!(mtu.size(), 1_452);
        mtu.on_large(now, 3, false);
        mtu.on_large(now, 3, true);
        assert_eq!(mtu.size(), 1_452, "some arrive");
        mtu.on_large(now, 4, false);
        assert_eq!(mtu.size(), 1_200);
        now += AFTER_FALL;
        search(&mut mtu, &mut now, 1_252);
        assert!((1_236..=1_252).contains(&mtu.size()));
    }

    #[test]
    fn silence_makes_packets_small() {
        let (mut mtu, mut now) = (Mtu::new(1_452), Instant::now());
        search(&mut mtu, &mut now, 1_452);
        mtu.on_timeout(now);
        mtu.on_acked();
        mtu.on_timeout(now);
        assert_eq!(mtu.size(), 1_452);
        mtu.on_timeout(now);
        assert_eq!(mtu.size(), 1_200);
    }
}
