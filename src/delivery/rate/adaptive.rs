//! The window that keeps a bottleneck's queue short. It grows until the round trip shows a queue, then falls far enough
//! to let the queue run empty. Flows that do the same share alike; where the queue stays however small the
//! window is, somebody else fills it, and the window follows losses as his does. Loss alone means little on the air.
//! PROTOCOL.md, "Rate".

use std::time::{Duration, Instant};

use super::{
    Progress,
    base::{Base, Period, is_hole},
    fresh::Fresh,
};

/// What a full packet counts.
const PACKET: usize = 1_200;
/// Window at the start: a state of 16 KB leaves at once; a map does not fill a narrow link's queue.
const FIRST: usize = 24 << 10;
/// The least that losses without a queue leave of it, and the least.
const LEAST_BY_LOSS: usize = 10 * PACKET;
const LEAST: usize = 2 * PACKET;
/// What may leave at once after a hole, where no queue was ever met.
const CATCH_UP: usize = 128 << 10;
/// What may fly beyond the window while nothing is heard, at most.
const MOST_LOST: usize = 64 << 10;
/// The queue that is aimed at: a quarter of the path's round trip, within these bounds.
const SHORT_QUEUE: Duration = Duration::from_millis(14);
const LONG_QUEUE: Duration = Duration::from_millis(30);
/// How much of what looks like a queue may be an uneven path.
const MOST_NOISE: Duration = Duration::from_millis(40);
/// Who is polite never makes a queue so many times as long as it should be. After so many cuts in a row that did not
/// shorten such a queue, and so long a time, the queue may be somebody else's.
const IMPOLITE: u32 = 3;
const VAIN_CUTS: u32 = 3;
const WARY_CUTS: u32 = 1;
const PATIENCE: Duration = Duration::from_secs(3);
/// In the company of a flow that fills the queue, every so many losses ask whether it is still there.
const LOSSES_BETWEEN_LOOKS: u32 = 4;
/// And time does, so long after a look was due: one session alone fills a deep queue for long until four losses came.
const GRACE: Duration = Duration::from_secs(6);
/// The path's own round trip is looked for at least so long after the last time.
const BETWEEN_LOOKS: Duration = Duration::from_secs(8);
/// Packets by which the share of losses is judged, and how many of them are too many.
const TALLY: u32 = 40;
const TOO_MANY: u32 = 7;
/// Round trips of growth without a queue after which growth doubles.
const CLEAN_ROUNDS: u32 = 5;

/// The share of the path that a cut leaves in use, in permille; a packet on top of it waits for its acknowledgement.
const KEPT: u128 = 900;

/// Who fills the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Company {
    /// Nobody, or flows like this one.
    #[default]
    Polite,
    /// Flows that yield only to loss.
    Greedy {
        /// Losses since the last look.
        losses: u32,
    },
}

/// A cut below what is needed, for a moment, to see how long the path is without this flow's share of the queue.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The window before, and the round trip that went with it.
    window: usize,
    standing: Duration,
    /// If the queue is still long then, somebody else fills it.
    decides: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Adaptive {
    max: usize,
    window: usize,
    /// What a cut lets fly above the window for a while, so that packets do not stop while the rest drains.
    excess: usize,
    /// Acknowledged bytes that have not made the window grow yet.
    credit: usize,
    starting: bool,
    /// Messages had to wait for the window or the pacer since the last judgement.
    limited: bool,
    grown_rounds: u32,
    base: Base,
    period: Period,
    standing: Duration,
    /// How long the peer holds an acknowledgement back, smoothed: the window must cover that too.
    held: Duration,
    /// Delay that comes and goes whatever the window is.
    noise: Duration,
    /// Samples of packets sent earlier show the time before the last cut.
    cut_at: Option<Instant>,
    vain_cuts: u32,
    vain_since: Option<Instant>,
    queue_before: Duration,
    window_before: usize,
    company: Company,
    /// The queue was somebody else's until it happened to be short.
    wary: bool,
    look: Option<Look>,
    next_look: Option<Instant>,
    tally: (u32, u32),
    /// When something was acknowledged last.
    heard: Option<Instant>,
}

impl Adaptive {
    pub(super) fn new(max: usize) -> Self {
        Self { max, window: FIRST.min(max), starting: true, ..Self::default() }
    }

    /// All that is worth keeping over a pause as long as no queue was met.
    pub(super) fn fresh(&self) -> Option<Fresh> {
        let &Self { starting, window, grown_rounds, standing, held, noise, .. } = self;
        let fresh = Fresh::new((window, grown_rounds), [standing, held, noise], self.base.least());
        fresh.filter(|_| starting)
    }

    pub(super) fn after_rest(max: usize, fresh: Fresh) -> Self {
        let ((window, grown_rounds), [standing, held, noise]) = (fresh.window(), fresh.delays());
        let base = Base::of(fresh.base());
        Self { window, grown_rounds, base, standing, held, noise, ..Self::new(max) }
    }

    pub(super) fn window(&self) -> usize {
        (self.window + self.excess).min(self.max)
    }

    /// Bytes that may be on their way now. What was sent a round trip ago, and nothing was heard since, is no queue but
    /// lost, and holds nothing back: it may leave again, at the rate that is known. A session that never met a queue may
    /// catch up with a hole at once.
    pub(super) fn allowed(&mut self, silence: Duration, smoothed: Duration) -> usize {
        if self.starting && is_hole(silence, smoothed) {
            self.window = self.window.max(CATCH_UP).min(self.max);
        }
        let window = self.window();
        let beyond = silence.saturating_sub(smoothed).as_micros().saturating_mul(window as u128);
        let lost = usize::try_from(beyond / smoothed.as_micros().max(1)).unwrap_or(usize::MAX);
        (window + lost.min(MOST_LOST)).min(self.max)
    }

    /// Bytes per second: a little more than the window needs, so that acknowledgements set the pace where they come
    /// evenly; twice as much at the start.
    pub(super) fn rate(&self, smoothed: Duration) -> u64 {
        let window = self.window() as u64;
        let gained = if self.starting { window * 2 } else { window + window / 4 };
        let micros = u64::try_from(smoothed.as_micros()).unwrap_or(u64::MAX).max(100);
        gained.saturating_mul(1_000_000) / micros
    }

    pub(super) fn burst(&self, smoothed: Duration) -> u64 {
        super::pacer::least_burst(self.rate(smoothed))
    }

    /// Something had to wait: the window is in use.
    pub(super) fn limited(&mut self) {
        self.limited = true;
    }

    /// The first sign of life after a hole: what was lost in it says nothing of queues, and the window stays what it was.
    fn on_awake(&mut self, now: Instant) {
        self.excess = 0;
        self.look = None;
        self.cut_at = Some(now);
    }

    /// Something is acknowledged again after a time in which little or nothing was sent: the queue that stood before is
    /// gone, and nothing waits because of it. Else the first losses of a game after a map would look like a full queue.
    fn on_rested(&mut self) {
        self.standing = self.base.get();
        self.limited = false;
        self.period = Period::default();
    }

    pub(super) fn on_progress(&mut self, now: Instant, news: &Progress, smoothed: Duration, flight: usize) {
        if is_hole(news.silence, smoothed) {
            self.on_awake(now);
        }
        if news.acked_packets > 0 {
            let before = self.heard.replace(now);
            if before.is_some_and(|before| is_hole(now.saturating_duration_since(before), smoothed)) {
                self.on_rested();
            }
        }
        self.drain(now, news.acked_bytes);
        self.count_losses(now, news);
        if let Some((measured, adjusted)) = news.sample {
            self.base.note(now, adjusted);
            self.held = (self.held * 7 + measured.saturating_sub(adjusted)) / 8;
            let sent = now.checked_sub(measured);
            let after_cut =
                self.excess == 0 && self.cut_at.is_none_or(|cut| sent.is_some_and(|sent| sent >= cut));
            if after_cut {
                self.period.note(now, adjusted);
            }
        }
        self.limited |= flight + 2 * PACKET > self.window && self.starting;
        self.grow(news.acked_bytes);
        let lasts = if self.starting { smoothed / 8 } else { smoothed / 2 };
        if let Some(least) = self.period.end(now, lasts) {
            self.judge(now, least);
            self.limited = false;
        }
    }

    // ---- what the path says ----

    /// The queue that counts as long.
    fn long(&self) -> Duration {
        (self.base.get() / 4).clamp(SHORT_QUEUE, LONG_QUEUE)
    }

    /// A period's least round trip is known: the queue that stood all that time.
    fn judge(&mut self, now: Instant, standing: Duration) {
        self.standing = standing;
        let queue = standing.saturating_sub(self.base.get());
        let long = queue > self.long() + self.noise;
        if let Some(look) = self.look.take() {
            return self.judge_look(look, queue);
        }
        match self.company {
            company if !long => {
                self.wary |= company != Company::Polite;
                self.company = Company::Polite;
                self.vain_cuts = 0;
                self.noise -= self.noise / 64;
                self.grown_rounds = if self.limited { self.grown_rounds + 1 } else { 0 };
            }
            Company::Polite if self.limited => self.on_long_queue(now, queue),
            Company::Greedy { .. } if self.next_look.is_none_or(|next| now >= next + GRACE) => {
                self.look(now, true);
            }
            _ => {}
        }
    }

    fn judge_look(&mut self, look: Look, queue: Duration) {
        let long = queue > self.long();
        if let (Company::Greedy { losses }, true) = (self.company, long) {
            let lost = losses + 1 >= LOSSES_BETWEEN_LOOKS;
            self.company = Company::Greedy { losses: if lost { 0 } else { losses } };
            self.window = if lost { look.window * 3 / 5 } else { look.window };
            return;
        }
        if look.decides && queue > self.long() * if self.wary { 1 } else { IMPOLITE } {
            self.company = Company::Greedy { losses: 0 };
            self.window = self.window_before * 3 / 4;
            return;
        }
        self.company = Company::Polite;
        self.wary &= !look.decides;
        self.vain_cuts = if long { self.vain_cuts } else { 0 };
        self.window = self.emptying(look.window, look.standing);
    }

    fn on_long_queue(&mut self, now: Instant, queue: Duration) {
        if self.vain_cuts == 0 {
            self.window_before = self.window;
        }
        // A cut that helped was none in vain.
        let helped = self.vain_cuts > 0 && queue < self.queue_before * 3 / 4;
        self.vain_cuts = if helped || queue < self.long() * IMPOLITE { 1 } else { self.vain_cuts + 1 };
        self.queue_before = queue;
        if self.vain_cuts == 1 {
            self.vain_since = Some(now);
        }
        let patient = self.wary || self.vain_since.is_none_or(|since| now >= since + PATIENCE);
        if self.vain_cuts > if self.wary { WARY_CUTS } else { VAIN_CUTS } && patient {
            self.vain_cuts = 0;
            self.look(now, true);
        } else if self.window <= 2 * LEAST && queue < self.long() * IMPOLITE {
            // So little makes no queue: the path itself is as uneven as that.
            let beyond = queue.saturating_sub(self.long() + self.noise);
            self.noise = (self.noise + beyond / 2).min(MOST_NOISE);
        } else {
            self.cut_to_empty(now);
        }
    }

    // ---- what follows ----

    fn grow(&mut self, acked: usize) {
        if self.excess > 0 || !self.limited || self.look.is_some() {
            return;
        }
        if self.starting {
            self.window = (self.window + acked / 2).min(self.max);
            return;
        }
        let speed = match self.company {
            Company::Polite if self.standing.saturating_sub(self.base.get()) < self.long() / 3 => {
                2 << (self.grown_rounds / CLEAN_ROUNDS / 2).min(6)
            }
            Company::Polite => 1 << (self.grown_rounds / CLEAN_ROUNDS / 2).min(6),
            Company::Greedy { .. } => 3,
        };
        // Half a packet a round trip, or more where there is plenty of room; never more than an eighth.
        self.credit += acked.saturating_mul(PACKET / 2).saturating_mul(speed);
        let step = (self.credit / self.window).min(acked / 8);
        self.credit %= self.window;
        self.window = (self.window + step).min(self.max);
    }

    /// The window that would have kept the path busy with a little less than no queue, where `window` went with a
    /// round trip of `standing`.
    fn emptying(&self, window: usize, standing: Duration) -> usize {
        let whole = (standing + self.held).as_micros().max(1);
        let share = (self.base.get() + self.held).as_micros() * KEPT / whole;
        let permille = usize::try_from(share.clamp(100, KEPT)).unwrap_or(usize::MAX);
        (window / 1_000 * permille + PACKET).min(window).clamp(LEAST.min(self.max), self.max)
    }

    /// Lets the queue run empty; now and then a little longer than that.
    fn cut_to_empty(&mut self, now: Instant) {
        let to = self.emptying(self.window, self.standing);
        let look = self.starting || self.next_look.is_none_or(|next| now >= next);
        if look {
            self.look(now, false);
        } else {
            self.cut(now, to);
        }
    }

    fn look(&mut self, now: Instant, decides: bool) {
        self.look = Some(Look { window: self.window, standing: self.standing, decides });
        self.next_look = Some(now + BETWEEN_LOOKS);
        self.cut(now, if decides { 0 } else { self.emptying(self.window, self.standing) / 2 });
    }

    fn cut(&mut self, now: Instant, to: usize) {
        let before = self.window();
        self.starting = false;
        self.window = to.clamp(LEAST.min(self.max), self.max);
        self.excess = before.saturating_sub(self.window);
        self.cut_at = Some(now);
        self.credit = 0;
        self.grown_rounds = 0;
        self.period = Period::default();
    }

    /// For every two bytes that arrive one may leave, until the flight has come down to the window.
    fn drain(&mut self, now: Instant, acked: usize) {
        if self.excess > 0 {
            self.excess = self.excess.saturating_sub(acked / 2);
            if self.excess == 0 {
                self.cut_at = Some(now);
            }
        }
    }

    fn count_losses(&mut self, now: Instant, news: &Progress) {
        if !self.may_cut(now) {
            self.tally = (0, 0);
            return;
        }
        let (all, lost) = &mut self.tally;
        *all += news.acked_packets + news.lost_packets;
        *lost += news.lost_packets;
        let heavy = *lost >= TOO_MANY;
        if *all >= TALLY || heavy {
            self.tally = (0, 0);
        }
        if news.lost_packets == 0 || self.look.is_some() || !self.limited {
            return;
        }
        match self.company {
            Company::Polite => {
                let queue = self.standing.saturating_sub(self.base.get());
                if queue > self.long() {
                    self.cut_to_empty(now);
                } else if heavy {
                    self.cut(now, (self.window / 10 * 7).max(LEAST_BY_LOSS.min(self.window)));
                }
            }
            Company::Greedy { losses } if losses + 1 >= LOSSES_BETWEEN_LOOKS => self.look(now, true),
            Company::Greedy { losses } => {
                self.company = Company::Greedy { losses: losses + 1 };
                self.cut(now, self.window * 3 / 5);
            }
        }
    }

    /// Losses of one round trip are one sign.
    fn may_cut(&self, now: Instant) -> bool {
        self.excess == 0 && self.cut_at.is_none_or(|cut| now >= cut + self.standing)
    }
}
