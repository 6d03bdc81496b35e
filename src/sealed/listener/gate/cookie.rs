//! Cookies: 16 bytes that only who receives at an address can return, and that need no memory of ours. PROTOCOL.md,
//! "Cookies". Knows no policy.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use crate::crypto::{self, EntropyError, Secret};

/// Length of a cookie, in bytes.
pub(crate) const COOKIE_LEN: usize = 16;

/// How long one secret makes cookies. Each is taken for as long again.
const TURN: Duration = Duration::from_secs(30);

/// What the cookies of a server are made from. The workers of one port share it, so that each takes the cookies of the
/// others; nothing passes between them afterwards, because the turn of a secret follows from the time alone.
#[derive(Debug)]
pub(crate) struct CookieSecrets {
    master: Secret<32>,
    epoch: Instant,
}

impl CookieSecrets {
    pub(crate) fn new<R: TryCryptoRng + ?Sized>(now: Instant, rng: &mut R) -> Result<Self, EntropyError> {
        Ok(Self { master: crypto::random_secret(rng)?, epoch: now })
    }

    fn turn(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_secs() / TURN.as_secs()
    }

    fn secret(&self, turn: u64) -> Secret<32> {
        crypto::hmac(self.master.as_bytes(), &[b"cookie", &turn.to_le_bytes(), &[1]])
    }
}

/// The secrets of the present turn, ready for use.
#[derive(Debug)]
pub(crate) struct Cookies {
    secrets: Arc<CookieSecrets>,
    turn: u64,
    current: Secret<32>,
    previous: Option<Secret<32>>,
}

impl Cookies {
    pub(crate) fn new(secrets: Arc<CookieSecrets>, now: Instant) -> Self {
        let turn = secrets.turn(now);
        let current = secrets.secret(turn);
        let previous = turn.checked_sub(1).map(|turn| secrets.secret(turn));
        Self { secrets, turn, current, previous }
    }

    fn rotate(&mut self, now: Instant) {
        let turn = self.secrets.turn(now);
        if turn != self.turn {
            *self = Self::new(Arc::clone(&self.secrets), now);
        }
    }

    /// The cookie for this address and this Noise message 1, of which `id` is the hash.
    pub(crate) fn bake(&mut self, now: Instant, from: SocketAddr, id: &[u8; 32]) -> [u8; COOKIE_LEN] {
        self.rotate(now);
        cookie(&self.current, from, id)
    }

    /// Whether a cookie was made for this address and this message, in this turn or the one before.
    pub(crate) fn takes(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: &[u8; 32],
        given: &[u8; COOKIE_LEN],
    ) -> bool {
        if *given == [0; COOKIE_LEN] {
            // There is none.
            return false;
        }
        self.rotate(now);
        let secrets = [Some(&self.current), self.previous.as_ref()];
        secrets.into_iter().flatten().any(|secret| is_cookie(secret, from, id, given))
    }
}

/// Whether this secret made the cookie, in a time that does not tell where it differs.
pub(crate) fn is_cookie(
    secret: &Secret<32>,
    from: SocketAddr,
    id: &[u8; 32],
    given: &[u8; COOKIE_LEN],
) -> bool {
    cookie(secret, from, id).ct_eq(given).into()
}

fn cookie(secret: &Secret<32>, from: SocketAddr, id: &[u8; 32]) -> [u8; COOKIE_LEN] {
    crypto::keyed_hash(
        secret.as_bytes(),
        &[b"cookie", &crate::roster::ip16(from.ip()), &from.port().to_le_bytes(), id],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{os::Environment, sealed::tests::Chance};

    const ID: [u8; 32] = [7; 32];

    fn secrets(now: Instant) -> Arc<CookieSecrets> {
        Arc::new(CookieSecrets::new(now, &mut Chance(1)).unwrap())
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_cookie_is_for_one_address_one_port_and_one_message() {
        let now = Environment::os().now();
        let mut cookies = Cookies::new(secrets(now), now);
        let from = at("192.0.2.1:1000");
        let cookie = cookies.bake(now, from, &ID);
        assert!(cookies.takes(now, from, &ID, &cookie));
        assert!(cookies.takes(now, at("[::ffff:192.0.2.1]:1000"), &ID, &cookie), "the same address");
        for (from, id) in [
            (at("192.0.2.2:1000"), ID),
            (at("192.0.2.1:1001"), ID),
            (at("192.0.2.1:1000"), [8; 32]),
            (at("[2001:db8::1]:1000"), ID),
        ] {
            assert!(!cookies.takes(now, from, &id, &cookie));
        }
        for bit in 0..8 * COOKIE_LEN {
            let mut forged = cookie;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!cookies.takes(now, from, &ID, &forged));
        }
        assert!(!cookies.takes(now, from, &ID, &[0; COOKIE_LEN]));
    }

    #[test]
    fn a_cookie_is_taken_in_its_own_turn_and_the_next() {
        let start = Environment::os().now();
        let mut cookies = Cookies::new(secrets(start), start);
        let from = at("[2001:db8::1]:1000");
        for born in [0, 29, 30, 59, 3_600] {
            let born = start + Duration::from_secs(born);
            let cookie = cookies.bake(born, from, &ID);
            let turn_ends = 30 - (born - start).as_secs() % 30;
            let takes = |cookies: &mut Cookies, after| cookies.takes(born + after, from, &ID, &cookie);
            assert!(takes(&mut cookies, Duration::from_secs(turn_ends + 29)));
            assert!(!takes(&mut cookies, Duration::from_secs(turn_ends + 30)));
        }
    }

    #[test]
    fn workers_with_the_same_secrets_take_each_others_cookies_and_others_do_not() {
        let start = Environment::os().now();
        let shared = secrets(start);
        let later = start + Duration::from_secs(100);
        let from = at("192.0.2.1:1000");
        let cookie = Cookies::new(Arc::clone(&shared), start).bake(later, from, &ID);
        assert!(Cookies::new(shared, later).takes(later, from, &ID, &cookie));
        let other = Arc::new(CookieSecrets::new(start, &mut Chance(2)).unwrap());
        assert!(!Cookies::new(other, later).takes(later, from, &ID, &cookie));
    }
}
