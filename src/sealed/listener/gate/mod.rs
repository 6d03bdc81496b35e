//! Who may cost us what, before anything is known of him: the budget of envelopes, cookies, the budget of
//! Diffie-Hellman operations and each prefix's share of it, sessions in all and of a prefix. For what
//! is not confirmed all memory is taken at construction. Knows no keys of the protocol and reads no message. PROTOCOL.md, "Flood defence".

mod cookie;
pub(super) mod replies;
mod shares;
mod tokens;

#[cfg(test)]
mod floods;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use rand_core::TryCryptoRng;

#[cfg(feature = "fuzzing")]
pub(crate) use self::cookie::is_cookie;
pub(crate) use self::cookie::{COOKIE_LEN, CookieSecrets, Cookies};
pub(super) use self::replies::{Replies, Reply};
use self::shares::{Claim, Share, Shares};
pub(super) use self::tokens::{Nanos, SECOND, Tokens, worth};
use super::half_open::HalfOpenTable;
use crate::{
    config::Flood,
    crypto::{self, EntropyError},
    roster::{Counts, Origin},
    sealed::profile::MAX_INIT_COST,
};

/// Of the budget, what everybody may use, and what those may use who are within their share; the rest is for prefixes
/// that have had next to nothing.
const FOR_ALL: Nanos = SECOND / 2;
const FOR_FAIR: Nanos = SECOND / 4 * 3;

/// What a flood was refused. Counters grow from 0 and saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FloodStats {
    /// Datagrams of strangers that came beyond `envelopes_per_second`.
    pub envelopes_refused: u64,
    /// First messages that were answered with a cookie.
    pub cookies_sent: u64,
    /// First messages that came with the cookie that they were given.
    pub cookies_taken: u64,
    /// First messages refused because the budget of Diffie-Hellman operations was used up.
    pub refused_by_budget: u64,
    /// First messages refused because their prefix had used its share of that budget.
    pub refused_by_share: u64,
    /// First messages refused because half-open handshakes held all places, each less than a second old or no more than
    /// its prefix may have.
    pub refused_by_table: u64,
    /// Half-open handshakes that gave their place to another one.
    pub evictions: u64,
    /// Sessions refused because there were `max_sessions`, or too many of their prefix.
    pub sessions_refused: u64,
    /// Packets that confirmed, and came when all places to wait for the application, or those of their prefix, were
    /// taken. Each joiner repeats his.
    pub waits_refused: u64,
    /// Diffie-Hellman operations that the messages of strangers have cost.
    pub dh_operations: u64,
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

/// An INIT whose envelope opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Init<'a> {
    pub(super) from: SocketAddr,
    /// BLAKE2s of the Noise message 1.
    pub(super) id: &'a [u8; 32],
    pub(super) cookie: &'a [u8; COOKIE_LEN],
    /// Diffie-Hellman operations that reading and answering it costs, and the first reading of FIN where there is one.
    pub(super) cost: u32,
}

/// Who an INIT that may be read came from; `HalfOpenTable::insert` wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) from: SocketAddr,
    pub(super) origin: Origin,
    /// Whether the address has shown that it receives.
    pub(super) validated: bool,
}

/// A session's place among those of its prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place(Origin);

/// What to do with an INIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it with COOKIE.
    AskCookie([u8; COOKIE_LEN]),
    /// It was answered before: send RESP again.
    Again,
    /// Read message 1. It is paid for.
    Read(Admitted),
    /// Nothing.
    Drop,
}

#[derive(Debug)]
pub(super) struct Gate {
    require_cookie: bool,
    envelopes_per_second: u32,
    dh_per_second: u32,
    max_sessions: usize,
    prefix_sessions: usize,
    /// Sorted, in canonical form.
    proxies: Box<[IpAddr]>,
    /// Time is counted from here.
    start: Instant,
    cookies: Cookies,
    envelopes: Tokens,
    dh: Tokens,
    /// What the INITs that brought no good cookie would have cost, whether they were read or not.
    unproven: Tokens,
    shares: Shares,
    sessions: Counts,
    stats: FloodStats,
}

impl Gate {
    /// `limits` were checked.
    pub(super) fn new<R: TryCryptoRng + ?Sized>(
        limits: &Flood,
        secrets: Arc<CookieSecrets>,
        now: Instant,
        rng: &mut R,
    ) -> Result<Self, EntropyError> {
        let mut proxies: Box<[IpAddr]> = limits.proxies.iter().map(IpAddr::to_canonical).collect();
        proxies.sort_unstable();
        Ok(Self {
            require_cookie: limits.require_cookie,
            envelopes_per_second: limits.envelopes_per_second,
            dh_per_second: limits.handshake_dh_per_second,
            max_sessions: limits.max_sessions,
            prefix_sessions: limits.prefix_sessions(),
            proxies,
            start: now,
            cookies: Cookies::new(secrets, now),
            envelopes: Tokens::default(),
            dh: Tokens::default(),
            unproven: Tokens::default(),
            shares: Shares::new(crypto::random_secret(rng)?),
            sessions: Counts::default(),
            stats: FloodStats::default(),
        })
    }

    /// Time as the token buckets count it.
    pub(super) fn nanos(&self, now: Instant) -> Nanos {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Whether one more datagram of a stranger may be tried with the envelope key.
    pub(super) fn take_envelope(&mut self, now: Instant) -> bool {
        let now = self.nanos(now);
        let worth = worth(1, self.envelopes_per_second);
        let allowed = self.envelopes.allows(now, worth, SECOND);
        if allowed {
            self.envelopes.take(now, worth, SECOND);
        } else {
            count(&mut self.stats.envelopes_refused);
        }
        allowed
    }

    /// Everything that is asked of an INIT before its Noise message is read, in the order of "Flood defence".
    pub(super) fn judge<S>(
        &mut self,
        now: Instant,
        table: &mut HalfOpenTable<S>,
        init: &Init<'_>,
    ) -> Verdict {
        let origin = self.origin(init.from);
        let validated = self.cookies.takes(now, init.from, init.id, init.cookie);
        if validated {
            count(&mut self.stats.cookies_taken);
        } else if self.wants_cookie(now, table, &origin, init.cost) | self.is_crowded(now, table, init) {
            count(&mut self.stats.cookies_sent);
            return Verdict::AskCookie(self.cookies.bake(now, init.from, init.id));
        }
        if table.find(init.id).is_some() {
            return Verdict::Again;
        }
        // To look for a place takes longer than to look at the budget, which a flood finds empty; nothing is paid without
        // a place.
        let share = self.shares.share(&origin);
        if !self.affords(now, &share, init.cost, validated) {
            return Verdict::Drop;
        }
        let admitted = Admitted { from: init.from, origin, validated };
        if !table.has_room(now, &admitted) {
            count(&mut self.stats.refused_by_table);
            return Verdict::Drop;
        }
        self.pay(now, &share, init.cost, validated);
        Verdict::Read(admitted)
    }

    /// Whether this is a time at which, or a place from which, an address has to show that it receives.
    fn wants_cookie<S>(&self, now: Instant, table: &HalfOpenTable<S>, origin: &Origin, cost: u32) -> bool {
        let now = self.nanos(now);
        self.require_cookie
            || table.is_half_full()
            || !self.dh.allows(now, worth(cost, self.dh_per_second), FOR_ALL)
            || table.is_share_half_used(origin)
            || self.shares.is_half_used(now, &self.shares.share(origin))
    }

    /// Whether INITs without a good cookie come faster than half of the budget pays for. Counts this one if it is new,
    /// whatever becomes of it: so a flood of them is read for half a second's worth, and no more while it lasts.
    fn is_crowded<S>(&mut self, now: Instant, table: &mut HalfOpenTable<S>, init: &Init<'_>) -> bool {
        let now = self.nanos(now);
        let cost = worth(init.cost, self.dh_per_second);
        let crowded = !self.unproven.allows(now, cost, FOR_ALL);
        if table.find(init.id).is_none() {
            self.unproven.take(now, cost, SECOND);
        }
        crowded
    }

    /// Takes Diffie-Hellman operations out of the budget, if it and the address's share allow it: for what costs some
    /// beyond the INIT.
    pub(super) fn charge(&mut self, now: Instant, from: SocketAddr, cost: u32, validated: bool) -> bool {
        let share = self.shares.share(&self.origin(from));
        let affords = self.affords(now, &share, cost, validated);
        if affords {
            self.pay(now, &share, cost, validated);
        }
        affords
    }

    fn affords(&mut self, now: Instant, share: &Share, cost: u32, validated: bool) -> bool {
        let now = self.nanos(now);
        let cost = worth(cost, self.dh_per_second);
        let longest = worth(MAX_INIT_COST, self.dh_per_second);
        let claim = if validated { self.shares.claim(now, share, cost, longest) } else { Claim::Over };
        let most = match claim {
            Claim::Over => FOR_ALL,
            Claim::Fair => FOR_FAIR,
            Claim::First => SECOND,
        };
        let affords = self.dh.allows(now, cost, most);
        if !affords {
            let by_share = validated && claim == Claim::Over;
            count(if by_share {
                &mut self.stats.refused_by_share
            } else {
                &mut self.stats.refused_by_budget
            });
        }
        affords
    }

    /// Only what an address that shows that it receives causes counts in its prefix's share: nobody can use up another's.
    fn pay(&mut self, now: Instant, share: &Share, cost: u32, validated: bool) {
        let now = self.nanos(now);
        let cost = worth(cost, self.dh_per_second);
        self.dh.take(now, cost, SECOND);
        if validated {
            self.shares.take(now, share, cost, worth(MAX_INIT_COST, self.dh_per_second));
        }
    }

    /// So many Diffie-Hellman operations are about to be done.
    pub(super) fn note_dh(&mut self, operations: u32) {
        self.stats.dh_operations = self.stats.dh_operations.saturating_add(operations.into());
    }

    pub(super) fn stats<S>(&self, table: &HalfOpenTable<S>) -> FloodStats {
        FloodStats { evictions: table.evictions(), ..self.stats }
    }

    /// Takes a place for a session of whoever proved his keys from this address, if there is one. It is given back when
    /// the session ends, wherever its peer is then.
    pub(super) fn session_opened(&mut self, from: SocketAddr) -> Option<Place> {
        let origin = self.origin(from);
        if self.sessions.all() >= self.max_sessions || self.sessions.of(&origin) >= self.prefix_sessions {
            count(&mut self.stats.sessions_refused);
            return None;
        }
        self.sessions.add(origin);
        Some(Place(origin))
    }

    pub(super) fn session_closed(&mut self, Place(origin): Place) {
        self.sessions.remove(&origin);
    }

    /// Whom an address counts as.
    pub(super) fn origin(&self, from: SocketAddr) -> Origin {
        Origin::of(from, &self.proxies)
    }

    /// Who confirmed found no place to wait for the application.
    pub(super) fn note_no_wait(&mut self) {
        count(&mut self.stats.waits_refused);
    }
}
