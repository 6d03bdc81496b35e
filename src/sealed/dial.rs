//! Our own attempt to open a session: message 1 with its timers, then the session that waits for its confirmation.
//! Knows nothing of the peer's attempts but what the glare rules count. A message that fails to read leaves it as it
//! was. PROTOCOL.md, "Handshake", "Simultaneous open".

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;

use super::{
    Agreed, Failure,
    budget::{FAILING_READS, PerSecond},
    chance::jittered,
    messages::NoiseBytes,
};
use crate::crypto::Handshake;

/// Why we dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The application called `connect`, or the session it asked for was lost.
    Called,
    /// The peer of a live session does not answer. Ends when it does.
    Silence,
    /// The live session's keys have seen half of the forgeries they may see.
    Limit,
}

#[derive(Debug)]
pub(super) struct Dial {
    pub(super) why: Why,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Message 1 is out.
    Sent(Box<Attempt>),
    /// RESP was read: the keys are there, the peer has not used them yet.
    Unconfirmed(Box<Unconfirmed>),
    /// We answered the peer's attempt instead and see whether it gets confirmed (rule 4).
    GaveWay { until: Instant },
}

impl Dial {
    /// The ephemeral key of the attempt, if one is under way.
    pub(super) fn ephemeral(&self) -> Option<&[u8; 32]> {
        match &self.phase {
            Phase::Sent(attempt) => Some(&attempt.ephemeral),
            Phase::Unconfirmed(unconfirmed) => Some(&unconfirmed.ephemeral),
            Phase::GaveWay { .. } => None,
        }
    }

    /// The BLAKE2s hash of message 1, if an attempt is under way.
    pub(super) fn id(&self) -> Option<&[u8; 32]> {
        match &self.phase {
            Phase::Sent(attempt) => Some(&attempt.id),
            Phase::Unconfirmed(unconfirmed) => Some(&unconfirmed.agreed.init),
            Phase::GaveWay { .. } => None,
        }
    }
}

/// First wait for a RESP; doubles up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// Distance of our extra copies that glare or a repeated RESP cause.
const EARLY: Duration = Duration::from_millis(100);
/// CONFIRM (and FIN) are repeated this often. PROTOCOL.md, "Key confirmation".
const CONFIRM_EVERY: Duration = Duration::from_millis(250);
/// While an attempt is held, the old session is asked this often in all.
const ASKS: u32 = 3;
/// A completed attempt is given up this long after its RESP: always more than the life of a half-open entry, so that no
/// entry confirms a session whose other end is gone (rule 5).
const UNCONFIRMED_LIFE: Duration = Duration::from_secs(6);
/// A decider gives way after this much silence at the earliest (rule 4).
const GIVES_WAY_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) noise: Handshake,
    pub(super) ephemeral: [u8; 32],
    pub(super) message: NoiseBytes,
    pub(super) id: [u8; 32],
    pub(super) reads: PerSecond,
    started: Instant,
    ends: Instant,
    send_at: Instant,
    wait: Duration,
    /// An extra copy that leaves the timers as they are.
    extra: bool,
    early: Option<Instant>,
    glare: Option<Glare>,
    cookies: Cookies,
}

/// INITs read from the peer whose ephemeral key is larger than ours.
#[derive(Debug)]
struct Glare {
    id: [u8; 32],
    first: Instant,
    count: u32,
}

impl Attempt {
    pub(super) fn new(
        noise: Handshake,
        ephemeral: [u8; 32],
        message: NoiseBytes,
        id: [u8; 32],
        now: Instant,
        life: Duration,
    ) -> Self {
        Self {
            noise,
            ephemeral,
            message,
            id,
            reads: PerSecond::new(FAILING_READS, now),
            started: now,
            ends: now + life,
            send_at: now,
            wait: FIRST_WAIT,
            extra: false,
            early: None,
            glare: None,
            cookies: Cookies::new(now),
        }
    }

    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// How long ago it began.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    pub(super) fn deadline(&self) -> Instant {
        self.ends.min(self.send_at)
    }

    /// Whether the copy that is due by the timer has not left yet: it goes everywhere, an extra one to one address.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.send_at <= now
    }

    /// Whether a copy of INIT is due; if so it counts as sent, and the cookie to put into it is returned.
    pub(super) fn take_due<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
    ) -> Result<Option<[u8; 16]>, Failure> {
        if self.is_due(now) {
            self.send_at = now + jittered(rng, self.wait, 250)?;
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
        } else if !self.extra {
            return Ok(None);
        }
        self.extra = false;
        Ok(Some(self.cookies.next()))
    }

    /// One extra copy now, if the last one was not just before.
    fn send_early(&mut self, now: Instant) {
        if take_early(&mut self.early, now) {
            self.extra = true;
        }
    }

    /// Whether the message with this hash was already read and lost the comparison: it needs no second read.
    pub(super) fn knows_larger(&self, id: &[u8; 32]) -> bool {
        self.glare.as_ref().is_some_and(|glare| glare.id == *id)
    }

    /// Rules 3 and 4: an INIT with a larger ephemeral key than ours was read. Whether we give way and answer it.
    pub(super) fn gives_way(&mut self, now: Instant, id: &[u8; 32]) -> bool {
        let glare = self.glare.get_or_insert(Glare { id: *id, first: now, count: 0 });
        glare.id = *id;
        glare.count = glare.count.saturating_add(1);
        let silence = now.saturating_duration_since(glare.first);
        let age = now.saturating_duration_since(self.started);
        if glare.count >= 2 && silence >= GIVES_WAY_AFTER.max(age / 2) {
            return true;
        }
        self.send_early(now);
        false
    }

    /// Our address is another one: INIT leaves from there at once. Cookies are bound to the old address.
    pub(super) fn moved(&mut self, now: Instant) {
        self.cookies = Cookies::new(now);
        self.extra = true;
    }

    /// A COOKIE that answers this attempt: INIT goes out again at once, with it.
    pub(super) fn cookie(&mut self, now: Instant, cookie: [u8; 16]) -> bool {
        let taken = self.cookies.take(now, cookie);
        self.extra |= taken;
        taken
    }
}

/// Whether an extra copy may leave now.
fn take_early(last: &mut Option<Instant>, now: Instant) -> bool {
    let allowed = last.is_none_or(|last| now.saturating_duration_since(last) >= EARLY);
    if allowed {
        *last = Some(now);
    }
    allowed
}

/// The cookies of one attempt: the last four, tried in turn, because any of them may come from someone who only saw
/// our INIT. PROTOCOL.md, "Cookies".
#[derive(Debug)]
struct Cookies {
    jar: [[u8; 16]; 4],
    len: usize,
    next: usize,
    left: u8,
    rate: PerSecond,
}

impl Cookies {
    fn new(now: Instant) -> Self {
        Self { jar: [[0; 16]; 4], len: 0, next: 0, left: 16, rate: PerSecond::new(4, now) }
    }

    fn take(&mut self, now: Instant, cookie: [u8; 16]) -> bool {
        let known = self.jar.iter().take(self.len).any(|known| *known == cookie);
        if known || self.left == 0 || !self.rate.allows(now) {
            return false;
        }
        self.left -= 1;
        self.rate.note();
        self.jar.rotate_right(1);
        if let Some(first) = self.jar.first_mut() {
            *first = cookie;
        }
        self.len = (self.len + 1).min(self.jar.len());
        self.next = 0;
        true
    }

    /// The cookie of the next INIT: zero if there is none.
    fn next(&mut self) -> [u8; 16] {
        let cookie = self.jar.get(self.next).copied().unwrap_or_default();
        self.next = if self.next + 1 < self.len { self.next + 1 } else { 0 };
        cookie
    }
}

/// A session that the peer has not confirmed. No application data is ever sealed under it: messages wait in their queue
/// until it is live, so nothing is lost when it is given up.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    pub(super) agreed: Agreed,
    pub(super) ephemeral: [u8; 32],
    /// BLAKE2s of the Noise message of the accepted RESP.
    pub(super) response: [u8; 32],
    pub(super) fin: Option<NoiseBytes>,
    ends: Instant,
    flight_at: Instant,
    /// When the old session is asked again, and how long after that once more.
    ask_at: Instant,
    ask_every: Duration,
    /// FIN or CONFIRM has left (or is about to): the peer may be live under these keys.
    flown: bool,
    pub(super) fin_due: bool,
    pub(super) confirm_due: bool,
    early: Option<Instant>,
}

impl Unconfirmed {
    pub(super) fn new(
        agreed: Agreed,
        ephemeral: [u8; 32],
        response: [u8; 32],
        fin: Option<NoiseBytes>,
        (now, wait): (Instant, Duration),
    ) -> Self {
        Self {
            agreed,
            ephemeral,
            response,
            fin,
            ends: now + UNCONFIRMED_LIFE,
            flight_at: now + wait,
            ask_at: now + wait / ASKS,
            ask_every: wait / ASKS,
            flown: false,
            fin_due: false,
            confirm_due: false,
            early: None,
        }
    }

    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    pub(super) fn deadline(&self) -> Instant {
        let ask_at = if self.flown { self.flight_at } else { self.ask_at };
        self.ends.min(self.flight_at).min(ask_at)
    }

    /// Marks FIN and CONFIRM as due when their time has come. `true`: until then the old session is to be asked again,
    /// now; what asked it first may be lost.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if self.flight_at <= now {
            self.flight_at = now + CONFIRM_EVERY;
            self.fly();
        }
        let asks = !self.flown && self.ask_at <= now;
        if asks {
            self.ask_at = now + self.ask_every;
        }
        asks
    }

    /// The last flight once more, if it did not leave just before.
    pub(super) fn send_early(&mut self, now: Instant) {
        if self.flown && take_early(&mut self.early, now) {
            self.fly();
        }
    }

    /// Our address is another one: a last flight that has left leaves from there at once.
    pub(super) fn moved(&mut self, now: Instant) {
        if self.flown {
            self.flight_at = now + CONFIRM_EVERY;
            self.fly();
        }
    }

    /// Nothing was sent that could make the peer live under these keys: the attempt may be dropped without a trace.
    pub(super) fn is_held(&self) -> bool {
        !self.flown
    }

    fn fly(&mut self) {
        self.flown = true;
        self.fin_due = self.fin.is_some();
        self.confirm_due = true;
    }
}
