//! Where the peer of one session is. Another address counts only after it has proven that the peer receives there: a
//! copied datagram proves nothing. Knows no keys and no sockets: it is told what opened and whence it came, and says
//! what is to be asked where. PROTOCOL.md, "Roaming".
//!
//! Invariant: to an address that has proven nothing go at most as many bytes as came from there.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::messages::PACKET_OVERHEAD;
use crate::{
    connection::{Connection, Received},
    crypto,
    wire::frame::Frame,
};

/// Addresses that are asked at once beside the one in use.
const MAX_CANDIDATES: usize = 4;
/// Answers to challenges that wait to be sent elsewhere than on the path in use.
const MAX_ANSWERS: usize = 4;
/// Challenges to one address without an answer.
const MAX_TRIES: u8 = 3;
/// After a change, or when the old address has answered first, nothing is followed for so long.
const REST: Duration = Duration::from_secs(1);
/// An address is asked by the same bytes for so long, and an answer counts as long. The way there may be much longer
/// than the one that the timers know.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Bytes of a PATH_CHALLENGE or PATH_RESPONSE frame.
const FRAME_LEN: usize = 9;

/// What is known of an authentic packet before its frames count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) from: SocketAddr,
    /// Length of its datagram.
    pub(super) bytes: usize,
    /// No higher number was opened before.
    pub(super) newest: bool,
    /// It holds only frames that say nothing of where the peer is.
    pub(super) probing: bool,
}

/// A datagram with this one frame leaves for this address.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) to: SocketAddr,
    pub(super) frame: Frame<'static>,
    /// It may not be longer.
    pub(super) most: usize,
}

/// An address that is asked whether the peer is there.
#[derive(Debug)]
struct Asked {
    address: SocketAddr,
    data: [u8; 8],
    /// Bytes that may still go there; `None` where that was proven earlier.
    credit: Option<usize>,
    tries: u8,
    /// A challenge has left.
    asked: bool,
    next_at: Instant,
    /// Until then an answer counts.
    until: Instant,
}

impl Asked {
    fn new<R: TryCryptoRng + ?Sized>(
        now: Instant,
        rng: &mut R,
        address: SocketAddr,
        credit: Option<usize>,
    ) -> Option<Self> {
        // Without randomness nothing can be proven, so everything stays as it is.
        let data = crypto::random(rng).ok()?;
        let until = now + ANSWERED_WITHIN;
        Some(Self { address, data, credit, tries: 0, asked: false, next_at: now, until })
    }

    /// Bytes came from there.
    fn heard(&mut self, now: Instant, bytes: usize) {
        self.credit = self.credit.map(|credit| credit.saturating_add(bytes));
        if !self.asked {
            self.next_at = now;
        }
    }

    fn is_spent(&self) -> bool {
        self.tries >= MAX_TRIES
    }
}

/// Kept only while something is to be proven or answered.
#[derive(Debug, Default)]
struct Moving {
    /// The path in use is asked too.
    own: Option<Asked>,
    /// The newest stands last.
    candidates: Vec<Asked>,
    /// Answers to the peer's challenges that came by another path than the one in use: where to, what, and how many
    /// bytes the challenge had.
    answers: Vec<(SocketAddr, [u8; 8], usize)>,
}

impl Moving {
    fn asked(&mut self) -> impl Iterator<Item = &mut Asked> {
        self.own.iter_mut().chain(&mut self.candidates)
    }

    fn at(&mut self, address: SocketAddr) -> Option<&mut Asked> {
        self.asked().find(|asked| asked.address == address)
    }
}

/// What is known for a few seconds of what came before. Kept only for so long.
#[derive(Debug, Default)]
struct Past {
    /// Candidates that were given up and may still answer: the newest take the places of the oldest.
    asked: [Option<(SocketAddr, [u8; 8], Instant)>; MAX_CANDIDATES],
    /// The path in use, which was asked with them: its late word that the peer is there counts as much as theirs.
    own: Option<(SocketAddr, [u8; 8], Instant)>,
    rests_until: Option<Instant>,
}

impl Past {
    fn resting(until: Instant) -> Box<Self> {
        Box::new(Self { rests_until: Some(until), ..Self::default() })
    }

    fn is_over(&self, now: Instant) -> bool {
        let asked = self.asked.iter().chain([&self.own]).flatten().map(|(_, _, until)| *until);
        asked.chain(self.rests_until).all(|until| until <= now)
    }

    fn note(&mut self, given_up: &Asked) {
        self.asked.rotate_right(1);
        if let Some(first) = self.asked.first_mut() {
            *first = Some((given_up.address, given_up.data, given_up.until));
        }
    }

    /// What this address was asked, and how long that counts.
    fn at(&self, now: Instant, from: SocketAddr) -> Option<([u8; 8], Instant)> {
        let here = |(address, _, until): &&(SocketAddr, _, Instant)| *address == from && now < *until;
        self.asked.iter().chain([&self.own]).flatten().find(here).map(|(_, data, until)| (*data, *until))
    }
}

/// The path of one session.
#[derive(Debug)]
pub(super) struct Roam {
    address: SocketAddr,
    proven: bool,
    moving: Option<Box<Moving>>,
    past: Option<Box<Past>>,
}

impl Roam {
    /// A session whose first packet came from `address` in a datagram of `bytes` bytes. `None`: there is no randomness
    /// to let the address prove itself.
    pub(super) fn new<R: TryCryptoRng + ?Sized>(
        now: Instant,
        rng: &mut R,
        (address, proven): (SocketAddr, bool),
        bytes: usize,
    ) -> Option<Self> {
        let mut this = Self { address, proven, moving: None, past: None };
        if !proven {
            let own = Some(Asked::new(now, rng, address, Some(bytes))?);
            this.moving = Some(Box::new(Moving { own, ..Moving::default() }));
        }
        Some(this)
    }

    /// Where packets go.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the peer is known to receive there. Until then only challenges leave.
    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Nothing is to be proven or answered: all that leaves are the session's packets.
    pub(super) fn is_at_rest(&self) -> bool {
        self.proven && self.moving.is_none()
    }

    /// What an authentic packet says of the path by which it came. Gives the address before, if the path has changed.
    pub(super) fn heed<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        arrival: &Arrival,
        received: &Received<'_>,
        connection: &mut Connection,
    ) -> Option<SocketAddr> {
        self.on_packet(now, rng, arrival);
        if let Some(data) = received.challenge {
            if arrival.from == self.address && self.proven {
                connection.answer_challenge(data);
            } else {
                self.answer(arrival, data);
            }
        }
        let before = received.response.and_then(|data| self.on_response(now, arrival, data))?;
        connection.on_peer_moved(now);
        Some(before)
    }

    /// An authentic packet came.
    fn on_packet<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, arrival: &Arrival) {
        let Arrival { from, bytes, newest, probing } = *arrival;
        self.past.take_if(|past| past.is_over(now));
        if let Some(asked) = self.moving.as_mut().and_then(|moving| moving.at(from)) {
            asked.heard(now, bytes);
            if asked.address == self.address && !self.proven && asked.is_spent() && asked.next_at <= now {
                asked.tries = 0;
            }
            return;
        }
        let rests_until = self.past.as_ref().and_then(|past| past.rests_until);
        let rests = rests_until.is_some_and(|until| now < until);
        if from == self.address || !newest || probing || rests {
            return;
        }
        // Somebody else may have copied the datagram, and may have been faster: both addresses are asked.
        let own = Asked::new(now, rng, self.address, None);
        let (Some(mut own), Some(mut candidate)) = (own, Asked::new(now, rng, from, Some(bytes))) else {
            return;
        };
        for asked in [&mut own, &mut candidate] {
            if let Some((data, until)) = self.past.as_ref().and_then(|past| past.at(now, asked.address)) {
                (asked.data, asked.until) = (data, until);
            }
        }
        let moving = self.moving.get_or_insert_default();
        match &mut moving.own {
            // As long as any candidate's answer counts, that of the path in use does.
            Some(own) => (own.tries, own.until) = (0, now + ANSWERED_WITHIN),
            none => {
                own.until = now + ANSWERED_WITHIN;
                *none = Some(own);
            }
        }
        if moving.candidates.len() >= MAX_CANDIDATES {
            moving.candidates.remove(0);
        }
        moving.candidates.push(candidate);
    }

    /// The packet of this arrival held a PATH_CHALLENGE that did not come by the path in use, or before that was proven.
    fn answer(&mut self, arrival: &Arrival, data: [u8; 8]) {
        let moving = self.moving.get_or_insert_default();
        if moving.answers.len() < MAX_ANSWERS {
            moving.answers.push((arrival.from, data, arrival.bytes));
        }
    }

    /// The packet of this arrival held a PATH_RESPONSE. Gives the address before, if the path has changed.
    fn on_response(&mut self, now: Instant, arrival: &Arrival, data: [u8; 8]) -> Option<SocketAddr> {
        // An answer counts for the address that it comes from, and only there was its question heard.
        let asked = self.moving.as_mut().and_then(|moving| moving.at(arrival.from)).map(|asked| asked.data);
        let late = self.past.as_ref().and_then(|past| past.at(now, arrival.from)).map(|(data, _)| data);
        if !asked.or(late).is_some_and(|asked| is_answer(asked, data)) {
            return None;
        }
        if arrival.from == self.address {
            self.proven = true;
            let named = self.past.as_ref().is_some_and(|past| past.asked.iter().any(Option::is_some));
            let waits = named || self.moving.as_ref().is_some_and(|moving| !moving.candidates.is_empty());
            // The peer is still there: what came from elsewhere were copies. An older packet does not tell, it may have
            // left before the peer moved.
            let tells = arrival.newest && !arrival.probing && waits;
            if tells {
                self.past = Some(Past::resting(now + REST));
            }
            if let Some(moving) = &mut self.moving {
                if tells {
                    moving.candidates.clear();
                }
                if moving.candidates.is_empty() {
                    moving.own = None;
                } else if let Some(own) = &mut moving.own {
                    own.credit = None;
                }
            }
            self.tidy();
            return None;
        }
        if let Some(moving) = &mut self.moving {
            moving.candidates.clear();
            moving.own = None;
        }
        self.past = Some(Past::resting(now + REST));
        self.tidy();
        self.proven = true;
        Some(std::mem::replace(&mut self.address, arrival.from))
    }

    fn tidy(&mut self) {
        self.moving.take_if(|moving| {
            moving.own.is_none() && moving.candidates.is_empty() && moving.answers.is_empty()
        });
    }

    /// The next datagram that must leave on a path of its own. Challenges are repeated after `again`; `prefix` is the
    /// length of what stands before our packets.
    pub(super) fn poll(&mut self, now: Instant, again: Duration, prefix: usize) -> Option<Probe> {
        let moving = self.moving.as_mut()?;
        let least = prefix + PACKET_OVERHEAD + FRAME_LEN;
        while let Some((to, data, bytes)) = moving.answers.pop() {
            let credit = moving.at(to).and_then(|asked| asked.credit).unwrap_or(bytes);
            let most = credit.min(bytes);
            if most >= least {
                return Some(Probe { to, frame: Frame::PathResponse(data), most });
            }
        }
        let past = &mut self.past;
        moving.candidates.retain(|candidate| {
            let stays = !candidate.is_spent() || now < candidate.next_at;
            if !stays {
                past.get_or_insert_default().note(candidate);
            }
            stays
        });
        if moving.candidates.is_empty() && self.proven {
            if let (Some(own), Some(past)) = (moving.own.take(), past) {
                past.own = Some((own.address, own.data, own.until));
            }
        }
        for asked in moving.asked().filter(|asked| !asked.is_spent() && asked.next_at <= now) {
            // One that cannot be paid for counts too, so that a candidate goes in any case.
            asked.tries += 1;
            asked.next_at = now + again;
            let most = asked.credit.unwrap_or(usize::MAX);
            if most >= least {
                asked.asked = true;
                return Some(Probe { to: asked.address, frame: Frame::PathChallenge(asked.data), most });
            }
        }
        self.tidy();
        None
    }

    /// Whether so many bytes may go to this address; then they count as gone.
    pub(super) fn pay(&mut self, to: SocketAddr, bytes: usize) -> bool {
        let credit = self.moving.as_mut().and_then(|moving| moving.at(to)?.credit.as_mut());
        let Some(credit) = credit else { return true };
        let rest = credit.checked_sub(bytes);
        *credit = rest.unwrap_or(*credit);
        rest.is_some()
    }

    /// When `poll` has something to do that no packet will remind it of.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let moving = self.moving.as_ref()?;
        let own = moving.own.iter().filter(|own| !own.is_spent());
        own.chain(&moving.candidates).map(|asked| asked.next_at).min()
    }
}

/// Whether these are the bytes of the question, in a time that does not tell where they differ.
pub(crate) fn is_answer(asked: [u8; 8], data: [u8; 8]) -> bool {
    asked.ct_eq(&data).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{super::tests::Chance, *};
    use crate::sealed::tests::{ms, start};

    const AGAIN: Duration = Duration::from_millis(100);
    const CHALLENGE: usize = PACKET_OVERHEAD + FRAME_LEN;
    const _: () = assert!(CHALLENGE == super::super::messages::CHALLENGE_DATAGRAM as usize);

    fn at(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn packet(port: u16) -> Arrival {
        Arrival { from: at(port), bytes: 100, newest: true, probing: false }
    }

    struct Rig {
        roam: Roam,
        chance: Chance,
        now: Instant,
    }

    impl Rig {
        /// A session at port 1.
        fn new(proven: bool) -> Self {
            let (mut chance, now) = (Chance(1), start());
            Self { roam: Roam::new(now, &mut chance, (at(1), proven), 100).unwrap(), chance, now }
        }

        fn hear(&mut self, arrival: Arrival) {
            self.roam.on_packet(self.now, &mut self.chance, &arrival);
        }

        /// Challenges that leave now, by port.
        fn asks(&mut self) -> Vec<(u16, [u8; 8])> {
            let mut asked = Vec::new();
            while let Some(probe) = self.roam.poll(self.now, AGAIN, 0) {
                let Frame::PathChallenge(data) = probe.frame else { panic!("{probe:?}") };
                assert!(self.roam.pay(probe.to, CHALLENGE) && probe.most >= CHALLENGE);
                asked.push((probe.to.port(), data));
            }
            asked
        }

        fn ports(&mut self) -> Vec<u16> {
            self.asks().into_iter().map(|(port, _)| port).collect()
        }

        fn answer(&mut self, arrival: Arrival, data: [u8; 8]) -> Option<SocketAddr> {
            self.roam.on_response(self.now, &arrival, data)
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
        }

        fn is_at_rest(&self) -> bool {
            self.roam.moving.is_none() && self.roam.deadline().is_none()
        }
    }

    #[test]
    fn both_addresses_are_asked_and_the_answer_of_the_new_one_moves_the_path_once() {
        let mut rig = Rig::new(true);
        assert!(rig.is_at_rest());
        rig.hear(packet(2));
        let asked = rig.asks();
        assert_eq!([asked[0].0, asked[1].0], [1, 2]);
        assert_ne!(asked[0].1, asked[1].1);
        assert_eq!(rig.roam.address(), at(1), "packets go to the old one meanwhile");
        assert_eq!(rig.answer(packet(2), asked[1].1), Some(at(1)));
        assert_eq!(rig.roam.address(), at(2));
        assert!(rig.is_at_rest() && rig.roam.is_proven());
        assert_eq!(rig.answer(packet(2), asked[1].1), None, "once");
    }

    #[test]
    fn answers_from_the_wrong_address_or_with_the_wrong_bytes_change_nothing() {
        let mut rig = Rig::new(true);
        rig.hear(packet(2));
        let asked = rig.asks();
        let (own, other) = (asked[0].1, asked[1].1);
        for (port, data) in [(1, other), (2, own), (3, other), (2, [0; 8]), (1, [0; 8])] {
            assert_eq!(rig.answer(packet(port), data), None);
            assert_eq!(rig.roam.address(), at(1));
        }
        assert_eq!(rig.answer(packet(2), other), Some(at(1)), "the true one still counts");
    }

    #[test]
    fn only_the_newest_packet_that_says_where_the_peer_is_makes_a_candidate() {
        let mut rig = Rig::new(true);
        rig.hear(Arrival { newest: false, ..packet(2) });
        rig.hear(Arrival { probing: true, ..packet(2) });
        rig.hear(packet(1));
        assert!(rig.is_at_rest() && rig.ports().is_empty());
    }

    #[test]
    fn the_old_address_stays_if_it_answers_first_and_with_a_higher_number() {
        let mut rig = Rig::new(true);
        rig.hear(packet(2));
        let asked = rig.asks();
        let (own, other) = (asked[0].1, asked[1].1);
        for arrival in [Arrival { newest: false, ..packet(1) }, Arrival { probing: true, ..packet(1) }] {
            assert_eq!(rig.answer(arrival, own), None);
            assert!(!rig.is_at_rest(), "it may have left before the peer moved");
        }
        assert_eq!(rig.answer(packet(1), own), None);
        assert!(rig.is_at_rest());
        assert_eq!(rig.answer(packet(2), other), None, "too late");
        assert_eq!(rig.roam.address(), at(1));
    }

    #[test]
    fn there_is_at_most_one_change_a_second() {
        let mut rig = Rig::new(true);
        for port in 2..6 {
            rig.hear(packet(port));
            let asked = rig.asks();
            assert_eq!(rig.answer(packet(port), asked[1].1), Some(at(port - 1)));
            rig.wait(REST - Duration::from_millis(1));
            rig.hear(packet(port + 1));
            assert!(rig.is_at_rest());
            rig.wait(Duration::from_millis(1));
        }
    }

    #[test]
    fn the_old_address_that_answers_late_but_first_keeps_the_path() {
        let mut rig = Rig::new(true);
        rig.hear(packet(2));
        let asked = rig.asks();
        for _ in 0..3 {
            rig.wait(AGAIN);
            rig.asks();
        }
        assert!(rig.is_at_rest());
        rig.wait(AGAIN);
        assert_eq!(rig.answer(packet(1), asked[0].1), None);
        assert_eq!(rig.answer(packet(2), asked[1].1), None, "too late");
        assert_eq!(rig.roam.address(), at(1));
        // And it is asked by the same bytes, as a candidate is.
        rig.wait(REST);
        rig.hear(packet(2));
        let first = rig.asks();
        for _ in 0..3 {
            rig.wait(AGAIN);
            rig.asks();
        }
        rig.hear(packet(2));
        assert_eq!(rig.asks(), first);
    }

    #[test]
    fn the_old_address_may_answer_for_as_long_as_any_that_is_asked_beside_it() {
        // The second candidate comes while the first is still asked, or when that was given up.
        for later in [ms(200), ms(2_500)] {
            let mut rig = Rig::new(true);
            rig.hear(packet(2));
            let own = rig.asks()[0].1;
            let begun = rig.now;
            for _ in 0..2 {
                rig.wait(AGAIN);
                rig.asks();
            }
            if later > AGAIN * 3 {
                rig.wait(AGAIN);
                assert!(rig.asks().is_empty() && rig.is_at_rest());
            }
            rig.now = begun + later;
            rig.hear(packet(3));
            let mut asked = BTreeMap::new();
            while !rig.is_at_rest() {
                asked.extend(rig.asks());
                rig.wait(AGAIN);
            }
            assert_eq!(asked[&1], own, "by the same bytes");
            rig.now = begun + later + ANSWERED_WITHIN - ms(1);
            assert_eq!(rig.answer(packet(1), own), None);
            assert_eq!(rig.answer(packet(3), asked[&3]), None, "it was the old one's copy, {later:?}");
            assert_eq!(rig.roam.address(), at(1));
        }
    }

    #[test]
    fn what_came_before_is_kept_for_as_long_as_it_counts() {
        let mut rig = Rig::new(true);
        rig.hear(packet(2));
        let asked = rig.asks();
        assert_eq!(rig.answer(packet(2), asked[1].1), Some(at(1)));
        rig.wait(REST - ms(1));
        rig.hear(packet(2));
        assert!(rig.roam.past.is_some());
        rig.wait(ms(1));
        rig.hear(packet(2));
        assert!(rig.roam.past.is_none());
    }

    #[test]
    fn an_address_that_does_not_answer_three_challenges_is_given_up() {
        let mut rig = Rig::new(true);
        rig.hear(packet(2));
        for _ in 0..3 {
            assert_eq!(rig.ports(), [1, 2]);
            assert!(rig.ports().is_empty());
            assert_eq!(rig.roam.deadline(), Some(rig.now + AGAIN));
            rig.wait(AGAIN);
        }
        assert!(rig.ports().is_empty());
        assert!(rig.is_at_rest());
        assert_eq!(rig.roam.address(), at(1));
        rig.hear(packet(2));
        assert_eq!(rig.ports(), [1, 2], "with the next packet from there it begins anew");
    }

    #[test]
    fn an_answer_that_took_longer_than_three_challenges_counts_for_three_seconds() {
        for (wait, counts) in [(AGAIN * 4, true), (ms(2_999), true), (ms(3_000), false)] {
            let mut rig = Rig::new(true);
            rig.hear(packet(2));
            let (_, data) = rig.asks()[1];
            let begun = rig.now;
            for _ in 0..3 {
                rig.wait(AGAIN);
                rig.asks();
            }
            assert!(rig.is_at_rest());
            rig.now = begun + wait;
            let moved = rig.answer(packet(2), data);
            assert_eq!(
                (moved, rig.roam.address()),
                if counts { (Some(at(1)), at(2)) } else { (None, at(1)) }
            );
            assert_eq!(rig.answer(packet(2), data), None, "once");
        }
    }

    #[test]
    fn an_address_that_was_given_up_is_asked_by_the_same_bytes_until_three_seconds_are_over() {
        let mut rig = Rig::new(true);
        let mut asked = std::collections::BTreeSet::new();
        for _ in 0..29 {
            rig.hear(packet(2));
            asked.extend(rig.asks().into_iter().filter(|(port, _)| *port == 2));
            rig.wait(AGAIN);
        }
        assert_eq!(asked.len(), 1);
        for _ in 0..4 {
            rig.asks();
            rig.wait(AGAIN);
        }
        rig.hear(packet(2));
        asked.extend(rig.asks().into_iter().filter(|(port, _)| *port == 2));
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn four_addresses_that_were_given_up_are_remembered_and_forgotten_when_the_old_one_answers() {
        let mut rig = Rig::new(true);
        let mut data = Vec::new();
        for port in 2..7 {
            rig.hear(packet(port));
            data.extend(rig.asks().into_iter().filter(|(asked, _)| *asked == port).map(|(_, data)| data));
            for _ in 0..3 {
                rig.wait(AGAIN);
                rig.asks();
            }
        }
        assert_eq!(rig.answer(packet(2), data[0]), None, "the oldest of five");
        rig.hear(packet(7));
        let (_, own) = rig.asks()[0];
        assert_eq!(rig.answer(packet(1), own), None);
        for (port, data) in (2..7).zip(data) {
            assert_eq!(rig.answer(packet(port), data), None, "the peer was still where it had been");
        }
        assert_eq!(rig.roam.address(), at(1));
    }

    #[test]
    fn four_addresses_are_asked_and_the_newest_takes_the_place_of_the_oldest() {
        let mut rig = Rig::new(true);
        (2..7).for_each(|port| rig.hear(packet(port)));
        let asked = rig.asks();
        assert_eq!(asked.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [1, 3, 4, 5, 6]);
        assert_eq!(rig.answer(packet(4), asked[2].1), Some(at(1)), "the first answer wins");
        assert!(rig.is_at_rest());
    }

    #[test]
    fn no_more_bytes_go_to_an_unproven_address_than_came_from_there() {
        for proven in [true, false] {
            let mut rig = Rig::new(proven);
            if proven {
                rig.hear(Arrival { bytes: CHALLENGE - 1, ..packet(2) });
                assert_eq!(rig.ports(), [1]);
                // Enough has come now; and not enough for a second one.
                rig.hear(Arrival { bytes: CHALLENGE, ..packet(2) });
                assert_eq!(rig.ports(), [2]);
                rig.wait(AGAIN);
                assert_eq!(rig.ports(), [1]);
            } else {
                // The first path: 100 bytes pay for three.
                for _ in 0..3 {
                    assert_eq!(rig.ports(), [1]);
                    rig.wait(AGAIN);
                }
                rig.hear(Arrival { bytes: CHALLENGE - 14, ..packet(1) });
                assert!(rig.ports().is_empty());
                rig.wait(AGAIN);
                rig.hear(packet(1));
            }
            assert!(rig.roam.pay(at(9), 10_000), "nothing is known of this address");
        }
    }

    #[test]
    fn a_candidate_that_cannot_be_asked_goes_too() {
        let mut rig = Rig::new(true);
        rig.hear(Arrival { bytes: CHALLENGE - 1, ..packet(2) });
        for _ in 0..3 {
            assert_eq!(rig.ports(), [1]);
            rig.wait(AGAIN);
        }
        assert!(rig.ports().is_empty());
        assert!(rig.is_at_rest());
    }

    #[test]
    fn a_first_path_that_proves_nothing_is_proven_by_its_answer_alone() {
        let mut rig = Rig::new(false);
        assert!(!rig.roam.is_proven());
        let asked = rig.asks();
        assert_eq!(rig.answer(packet(2), asked[0].1), None);
        assert!(!rig.roam.is_proven());
        assert_eq!(rig.answer(packet(1), asked[0].1), None);
        assert!(rig.roam.is_proven() && rig.is_at_rest());
        let mut rig = Rig::new(false);
        rig.hear(packet(2));
        let asked = rig.asks();
        assert_eq!(rig.answer(packet(2), asked[1].1), Some(at(1)), "or the peer is elsewhere");
        assert!(rig.roam.is_proven() && rig.is_at_rest());
    }

    #[test]
    fn a_first_path_is_asked_again_when_more_comes_from_there() {
        let mut rig = Rig::new(false);
        for _ in 0..3 {
            assert_eq!(rig.ports(), [1]);
            rig.wait(AGAIN);
        }
        assert!(rig.ports().is_empty());
        assert_eq!(rig.roam.deadline(), None);
        rig.hear(packet(1));
        assert_eq!(rig.ports(), [1]);
    }

    #[test]
    fn a_challenge_is_answered_where_it_came_from_and_with_no_more_bytes() {
        let mut rig = Rig::new(true);
        rig.roam.answer(&Arrival { bytes: CHALLENGE - 1, ..packet(7) }, [1; 8]);
        assert!(rig.roam.poll(rig.now, AGAIN, 0).is_none() && rig.is_at_rest());
        (0..100).for_each(|_| rig.roam.answer(&packet(7), [1; 8]));
        for _ in 0..MAX_ANSWERS {
            let probe = rig.roam.poll(rig.now, AGAIN, 0).unwrap();
            assert_eq!((probe.to, probe.frame, probe.most), (at(7), Frame::PathResponse([1; 8]), 100));
        }
        assert!(rig.roam.poll(rig.now, AGAIN, 0).is_none() && rig.is_at_rest());
        // To a candidate, answers and challenges together are no more than what came.
        rig.hear(Arrival { bytes: CHALLENGE, ..packet(2) });
        rig.roam.answer(&packet(2), [2; 8]);
        let probe = rig.roam.poll(rig.now, AGAIN, 0).unwrap();
        assert_eq!((probe.frame, probe.most), (Frame::PathResponse([2; 8]), CHALLENGE));
        assert!(rig.roam.pay(at(2), CHALLENGE));
        assert_eq!(rig.ports(), [1]);
    }
}
