//! The client's side of connection ids: which of the server's ids stands before our packets, which are spare, and when
//! the next one takes over. Knows no keys and no addresses; whoever moves says so. PROTOCOL.md, "Connection ids".
//!
//! Invariant: the spares are younger than the id in use, and in order.

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;

use super::{Failure, chance::random_below};
use crate::{error::Violation, wire::frame::CID_LEN};

/// Spares kept. A server gives two; the third place is for the one that it gives when it has not yet seen us move.
/// Together with the id in use these are the four that may be alive.
const MOST_SPARES: usize = 3;
/// Nothing was sent for so long: the NAT may have given our place away, and nobody needs to see that we are the same.
const SILENCE: Duration = Duration::from_secs(30);
/// An id serves this long, and up to so many milliseconds more at random.
const SERVES: Duration = Duration::from_secs(60);
const SERVES_MORE_MS: u32 = 60_000;

pub(super) type Cid = [u8; CID_LEN];

/// A NEW_CID frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) sequence: u64,
    pub(super) retire_below: u64,
    pub(super) cid: Cid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbered {
    sequence: u64,
    cid: Cid,
}

#[derive(Debug)]
pub(super) struct Cids {
    current: Numbered,
    spares: [Option<Numbered>; MOST_SPARES],
    /// The server takes nothing under ids below this one.
    retired_below: u64,
    /// The id in use must go as soon as there is another one.
    worn: bool,
    change_at: Instant,
    last_sent: Instant,
}

impl Cids {
    /// `first` came with the handshake and has number 0.
    pub(super) fn new<R: TryCryptoRng + ?Sized>(
        now: Instant,
        first: Cid,
        rng: &mut R,
    ) -> Result<Self, Failure> {
        Ok(Self {
            current: Numbered { sequence: 0, cid: first },
            spares: [None; MOST_SPARES],
            retired_below: 0,
            worn: false,
            change_at: now + lifetime(rng)?,
            last_sent: now,
        })
    }

    /// Takes what the server offers.
    pub(super) fn offer(&mut self, offer: Offer) -> Result<(), Violation> {
        let Offer { sequence, retire_below, cid } = offer;
        let new = Numbered { sequence, cid };
        let ours = self.spares.iter().flatten().chain([&self.current]);
        let known = ours
            .filter(|known| known.sequence == sequence || known.cid == cid)
            .try_fold(false, |_, known| if *known == new { Ok(true) } else { Err(Violation::Bound) })?;
        self.retire(retire_below);
        // What is older than the id in use, or retired, comes late.
        if known || sequence < self.current.sequence.max(self.retired_below) {
            return Ok(());
        }
        // The last place is free, or all four are alive.
        match self.spares.last_mut() {
            Some(last @ None) => *last = Some(new),
            _ => return Err(Violation::Bound),
        }
        self.sort();
        Ok(())
    }

    /// The server has forgotten ids below this one, or soon will.
    fn retire(&mut self, below: u64) {
        if below <= self.retired_below {
            return;
        }
        self.retired_below = below;
        self.worn |= self.current.sequence < below;
        for spare in &mut self.spares {
            *spare = spare.filter(|spare| spare.sequence >= below);
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.spares.sort_unstable_by_key(|spare| spare.map_or(u64::MAX, |spare| spare.sequence));
    }

    /// A packet leaves now; gives the id that takes over before it, if one does.
    pub(super) fn next_packet<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
    ) -> Result<Option<Cid>, Failure> {
        let silent = now.saturating_duration_since(self.last_sent) >= SILENCE;
        self.last_sent = now;
        if self.worn || silent || now >= self.change_at { self.change(now, rng) } else { Ok(None) }
    }

    /// The id in use must not be seen again: gives the one that takes over. Without a spare it stays until there is one.
    pub(super) fn change<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
    ) -> Result<Option<Cid>, Failure> {
        let Some(next) = self.spares.first_mut().and_then(Option::take) else {
            self.worn = true;
            return Ok(None);
        };
        self.sort();
        self.current = next;
        self.worn = false;
        self.change_at = now + lifetime(rng)?;
        Ok(Some(next.cid))
    }
}

fn lifetime<R: TryCryptoRng + ?Sized>(rng: &mut R) -> Result<Duration, Failure> {
    Ok(SERVES + Duration::from_millis(random_below(rng, SERVES_MORE_MS + 1)?.into()))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Chance, *};
    use crate::sealed::tests::start;

    fn fresh() -> (Cids, Chance, Instant) {
        let (mut chance, now) = (Chance(1), start());
        (Cids::new(now, [0; 8], &mut chance).unwrap(), chance, now)
    }

    fn offer(cids: &mut Cids, sequence: u64, retire_below: u64) -> Result<(), Violation> {
        cids.offer(Offer { sequence, retire_below, cid: cid(sequence) })
    }

    fn cid(sequence: u64) -> Cid {
        sequence.to_le_bytes()
    }

    #[test]
    fn ids_are_used_in_order_and_never_twice() {
        let (mut cids, mut chance, now) = fresh();
        for sequence in [2, 1] {
            offer(&mut cids, sequence, 0).unwrap();
        }
        let mut change = |cids: &mut Cids| cids.change(now, &mut chance).unwrap();
        assert_eq!(change(&mut cids), Some(cid(1)));
        assert_eq!(offer(&mut cids, 1, 0), Ok(()), "a repetition");
        assert_eq!(change(&mut cids), Some(cid(2)));
        assert_eq!(offer(&mut cids, 1, 0), Ok(()), "late");
        assert_eq!(change(&mut cids), None, "out of spares it stays");
        offer(&mut cids, 9, 0).unwrap();
        assert_eq!(change(&mut cids), Some(cid(9)), "numbers may be left out");
    }

    #[test]
    fn without_a_spare_the_change_waits_for_one() {
        let (mut cids, mut chance, now) = fresh();
        assert_eq!(cids.change(now, &mut chance).unwrap(), None);
        assert_eq!(cids.next_packet(now, &mut chance).unwrap(), None);
        offer(&mut cids, 1, 0).unwrap();
        assert_eq!(cids.next_packet(now, &mut chance).unwrap(), Some(cid(1)));
        assert_eq!(cids.next_packet(now, &mut chance).unwrap(), None);
    }

    #[test]
    fn a_number_with_another_id_or_an_id_with_another_number_is_a_violation() {
        let (mut cids, ..) = fresh();
        offer(&mut cids, 1, 0).unwrap();
        let twisted = [(1, cid(7)), (2, cid(1)), (0, cid(7)), (3, cid(0))];
        for (sequence, cid) in twisted {
            assert_eq!(
                cids.offer(Offer { sequence, retire_below: 0, cid }),
                Err(Violation::Bound),
                "{sequence}"
            );
        }
        assert_eq!(offer(&mut cids, 0, 0), Ok(()));
        assert_eq!(offer(&mut cids, 1, 0), Ok(()));
    }

    #[test]
    fn four_ids_may_be_alive_and_a_fifth_is_a_violation() {
        let (mut cids, mut chance, now) = fresh();
        for sequence in 1..=3 {
            assert_eq!(offer(&mut cids, sequence, 0), Ok(()));
        }
        assert_eq!(offer(&mut cids, 4, 0), Err(Violation::Bound));
        assert_eq!(offer(&mut cids, 4, 2), Ok(()), "two of them are gone");
        assert_eq!(cids.change(now, &mut chance).unwrap(), Some(cid(2)));
        assert_eq!(offer(&mut cids, 5, 2), Ok(()));
        assert_eq!(offer(&mut cids, 6, 2), Err(Violation::Bound));
        assert_eq!(offer(&mut cids, 6, 6), Ok(()), "all others are gone");
        assert_eq!(
            cids.next_packet(now, &mut chance).unwrap(),
            Some(cid(6)),
            "the server has forgotten ours"
        );
        assert_eq!(offer(&mut cids, 5, 1), Ok(()), "late");
        assert_eq!(cids.change(now, &mut chance).unwrap(), None, "retired ones are not taken up again");
        assert_eq!(offer(&mut cids, 9, 9), Ok(()));
        assert_eq!(offer(&mut cids, 8, 0), Ok(()), "late, and retired meanwhile");
        assert_eq!(cids.next_packet(now, &mut chance).unwrap(), Some(cid(9)));
    }

    #[test]
    fn an_id_serves_one_to_two_minutes_and_not_beyond_a_silence() {
        let (mut times, mut alike) = (Vec::new(), 0);
        for seed in 0..200 {
            let (mut chance, begin) = (Chance(seed), start());
            let mut cids = Cids::new(begin, [0; 8], &mut chance).unwrap();
            (1..=2).for_each(|sequence| offer(&mut cids, sequence, 0).unwrap());
            let mut now = begin;
            let mut lasts = |cids: &mut Cids| {
                let since = now;
                while cids.next_packet(now, &mut chance).unwrap().is_none() {
                    now += Duration::from_millis(100);
                }
                (now - since).as_secs()
            };
            let lifetimes = [lasts(&mut cids), lasts(&mut cids)];
            alike += u32::from(lifetimes[0] == lifetimes[1]);
            times.extend(lifetimes);
        }
        assert!(times.iter().all(|time| (60..=120).contains(time)), "{times:?}");
        assert!(times.iter().any(|&time| time < 66) && times.iter().any(|&time| time > 114) && alike < 20);

        let (mut cids, mut chance, now) = fresh();
        (1..=2).for_each(|sequence| offer(&mut cids, sequence, 0).unwrap());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(cids.next_packet(at(29), &mut chance).unwrap(), None);
        assert_eq!(cids.next_packet(at(58), &mut chance).unwrap(), None);
        assert_eq!(cids.next_packet(at(88), &mut chance).unwrap(), Some(cid(1)));
        assert_eq!(cids.next_packet(at(89), &mut chance).unwrap(), None, "the silence is over");
    }
}
