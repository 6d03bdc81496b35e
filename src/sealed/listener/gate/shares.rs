//! What each prefix of addresses has used of the Diffie-Hellman budget, in an array of fixed size.
//! A prefix has a place in each of two rows, at a hash under a key of ours, and the less used of the two counts: a
//! stranger who shares one place with a flood does not suffer for it. PROTOCOL.md, "Flood defence".

use super::tokens::{Nanos, SECOND, Tokens};
use crate::{
    crypto::{self, Secret},
    roster::Origin,
};

const ROWS: usize = 2;
const PLACES: u16 = 1_024;

/// A prefix's share of the Diffie-Hellman budget, as a divisor of it: a second's worth of it may be taken at once.
pub(super) const SHARE: u64 = 8;
/// What a prefix may take before all others, as a divisor; sixteen seconds' worth of it may be taken at once.
const FIRST: u64 = 512;
const FIRST_MOST: Nanos = 16 * SECOND;

/// The places of an origin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Share([u16; ROWS]);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    share: Tokens,
    first: Tokens,
}

#[derive(Debug)]
pub(super) struct Shares {
    key: Secret<32>,
    rows: [Box<[Place]>; ROWS],
}

/// How far an origin may go for what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Within what every prefix may have before all others.
    First,
    /// Within its share.
    Fair,
    /// Beyond its share.
    Over,
}

impl Shares {
    pub(super) fn new(key: Secret<32>) -> Self {
        Self { key, rows: [(); ROWS].map(|()| vec![Place::default(); PLACES.into()].into_boxed_slice()) }
    }

    pub(super) fn share(&self, origin: &Origin) -> Share {
        let port = origin.port().map_or([0; 3], |port| {
            let [low, high] = port.to_le_bytes();
            [1, low, high]
        });
        let [a, b, c, d, ..] = crypto::keyed_hash(self.key.as_bytes(), &[b"prefix", origin.ip(), &port]);
        Share([[a, b], [c, d]].map(|bytes| u16::from_le_bytes(bytes) % PLACES))
    }

    fn places(&self, share: &Share) -> [Place; ROWS] {
        let [first, second] = &self.rows;
        let Share([a, b]) = share;
        [(first, a), (second, b)].map(|(row, at)| row.get(usize::from(*at)).copied().unwrap_or_default())
    }

    fn places_mut(&mut self, share: &Share) -> impl Iterator<Item = &mut Place> {
        let Share(places) = share;
        self.rows.iter_mut().zip(places).filter_map(|(row, at)| row.get_mut(usize::from(*at)))
    }

    /// Whether more than half of the share is taken.
    pub(super) fn is_half_used(&self, now: Nanos, share: &Share) -> bool {
        self.places(share).iter().all(|place| place.share.used(now) > SECOND / 2)
    }

    /// How far tokens of this worth, of the whole budget, may go. `longest` is what one handshake is worth.
    pub(super) fn claim(&self, now: Nanos, share: &Share, worth: Nanos, longest: Nanos) -> Claim {
        let places = self.places(share);
        let first = |place: &Place| place.first.allows(now, worth * FIRST, first_most(longest));
        let fair = |place: &Place| place.share.allows(now, worth * SHARE, SECOND);
        match (places.iter().any(first), places.iter().any(fair)) {
            (true, _) => Claim::First,
            (false, true) => Claim::Fair,
            (false, false) => Claim::Over,
        }
    }

    pub(super) fn take(&mut self, now: Nanos, share: &Share, worth: Nanos, longest: Nanos) {
        for place in self.places_mut(share) {
            place.share.take(now, worth * SHARE, SECOND);
            place.first.take(now, worth * FIRST, first_most(longest));
        }
    }
}

/// Always enough for one handshake, however small the budget.
fn first_most(longest: Nanos) -> Nanos {
    FIRST_MOST.max(longest.saturating_mul(FIRST))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::sealed::tests::Chance;

    fn origin(text: &str) -> Origin {
        let proxies = [IpAddr::from([10, 0, 0, 1])];
        Origin::of(text.parse().unwrap(), &proxies)
    }

    fn shares() -> Shares {
        Shares::new(crypto::random_secret(&mut Chance(1)).unwrap())
    }

    #[test]
    fn a_prefix_is_one_and_a_player_behind_a_proxy_is_one() {
        assert_eq!(origin("192.0.2.1:1"), origin("192.0.2.255:2"));
        assert_eq!(origin("192.0.2.1:1"), origin("[::ffff:192.0.2.9]:7"));
        assert_ne!(origin("192.0.2.1:1"), origin("192.0.3.1:1"));
        assert_eq!(origin("[2001:db8:1:2::3]:1"), origin("[2001:db8:1:ffff::]:2"));
        assert_ne!(origin("[2001:db8:1::]:1"), origin("[2001:db8:2::]:1"));
        assert_ne!(origin("10.0.0.1:1"), origin("10.0.0.1:2"));
        assert_eq!(origin("10.0.0.1:1"), origin("[::ffff:10.0.0.1]:1"));
        assert_ne!(origin("10.0.0.1:0"), origin("10.0.0.0:0"));
        assert_eq!(origin("10.0.0.2:1"), origin("10.0.0.3:2"));
    }

    #[test]
    fn who_shares_one_place_with_a_flood_still_has_its_own_share() {
        let mut shares = shares();
        let honest = Share([1, 2]);
        shares.take(0, &Share([1, 3]), SECOND, SECOND / 100);
        assert_eq!(shares.claim(0, &Share([1, 3]), 1_000, 1_000), Claim::Over);
        assert_eq!(shares.claim(0, &honest, 1_000, 1_000), Claim::First);
        assert!(!shares.is_half_used(0, &honest));
    }

    #[test]
    fn a_prefix_may_first_take_a_little_then_its_share_and_then_is_over() {
        let mut shares = shares();
        let share = Share([1, 2]);
        // A budget of 1,000 a second: an operation is worth a millisecond of it.
        let mut claims = Vec::new();
        for _ in 0..30 {
            claims.push(shares.claim(0, &share, 5 * SECOND / 1_000, 5 * SECOND / 1_000));
            shares.take(0, &share, 5 * SECOND / 1_000, 5 * SECOND / 1_000);
        }
        let count = |claim| claims.iter().filter(|&&other| other == claim).count();
        assert_eq!((count(Claim::First), count(Claim::Fair), count(Claim::Over)), (6, 19, 5));
        // A second later the share is there again, what comes first is not.
        assert_eq!(shares.claim(SECOND, &share, 5_000_000, 5_000_000), Claim::Fair);
        assert_eq!(shares.claim(16 * SECOND, &share, 5_000_000, 5_000_000), Claim::First);
    }

    #[test]
    fn places_depend_on_the_key() {
        let other = Shares::new(crypto::random_secret(&mut Chance(2)).unwrap());
        let shares = shares();
        let same = (0..100_u8).filter(|&net| {
            let origin = Origin::of(SocketAddr::from(([10, 0, net, 1], 1)), &[]);
            shares.share(&origin) == other.share(&origin)
        });
        assert_eq!(same.count(), 0);
    }
}
