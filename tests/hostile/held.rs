//! A pair of endpoints with the test in place of the network between them.

use sealgram::sim::Verdict;
use sealgram::{CloseReason, Config, Drops, Guarantee, Session, Stats};

use crate::common::{End, Pair, here, there};

/// A pair whose network carries nothing by itself, at a time that stands still: the test is the network.
pub(crate) struct Held<S: Session> {
    pub(crate) pair: Pair<S>,
}

/// All that an application, or the other side, could see of an end, drop counters left out.
pub(crate) type Sight = (Stats, usize, usize, Option<CloseReason>, bool, Option<[u8; 32]>);

impl<S: Session> Held<S> {
    pub(crate) fn new(pair: Pair<S>) -> Self {
        pair.net.tap(|_| Verdict::Drop);
        pair.net.record(true);
        Self { pair }
    }

    pub(crate) fn end(&mut self, to: usize) -> &mut End<S> {
        if to == 0 { &mut self.pair.a } else { &mut self.pair.b }
    }

    /// Lets a datagram arrive at an end.
    pub(crate) fn hand(&mut self, to: usize, bytes: &[u8]) {
        let (from, at) = if to == 0 { (there(), here()) } else { (here(), there()) };
        self.pair.net.inject(from, at, bytes);
        self.end(to).step();
    }

    /// What both ends have said since the last call.
    pub(crate) fn said(&mut self) -> Vec<Vec<u8>> {
        self.pair.net.captured().into_iter().map(|datagram| datagram.bytes).collect()
    }

    pub(crate) fn sight(&mut self, of: usize) -> Sight {
        let end = self.end(of);
        let mut stats = end.endpoint.stats();
        stats.drops = Drops::default();
        stats.datagrams_received = 0;
        stats.bytes_received = 0;
        let endpoint = &end.endpoint;
        (
            stats,
            end.heard.len(),
            end.events.len(),
            end.closed,
            endpoint.is_connected(),
            endpoint.handshake_hash(),
        )
    }

    /// Hands over a datagram that must do nothing but count.
    pub(crate) fn assert_nothing(&mut self, to: usize, bytes: &[u8], what: &str) {
        let (before, drops) = (self.sight(to), self.end(to).endpoint.stats().drops.total());
        let deadline = self.end(to).step();
        self.hand(to, bytes);
        assert_eq!(self.sight(to), before, "{what}");
        assert_eq!(self.end(to).endpoint.stats().drops.total(), drops + 1, "{what}: counted once");
        assert_eq!(self.end(to).step(), deadline, "{what}: moved a timer");
        assert_eq!(self.said(), Vec::<Vec<u8>>::new(), "{what}: answered");
    }

    /// Every single-bit change, every cut, and longer ones.
    pub(crate) fn torture(&mut self, to: usize, honest: &[u8], what: &str) {
        for bit in 0..honest.len() * 8 {
            let mut forged = honest.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            self.assert_nothing(to, &forged, &format!("{what}, bit {bit}"));
        }
        for len in 0..honest.len() {
            self.assert_nothing(to, &honest[..len], &format!("{what}, cut to {len}"));
        }
        for more in (1..=40).chain([100, 1_200, 9_000]) {
            for filler in [0, 0xff] {
                let mut longer = honest.to_vec();
                longer.resize(honest.len() + more, filler);
                self.assert_nothing(to, &longer, &format!("{what}, {more} more"));
            }
        }
    }

    /// Tortures an end with a datagram, then hands over the datagram itself.
    pub(crate) fn torture_and_hand(&mut self, to: usize, honest: &[u8], what: &str) {
        self.torture(to, honest, what);
        self.hand(to, honest);
    }

    /// Hands over a datagram that may be answered once, by no more bytes than it has, and must do nothing else.
    pub(crate) fn assert_only_answered(&mut self, to: usize, bytes: &[u8], what: &str) {
        self.end(to).step();
        self.said();
        let before = self.sight(to);
        self.hand(to, bytes);
        let answers = self.said();
        assert!(answers.len() <= 1 && answers.iter().all(|answer| answer.len() <= bytes.len()), "{what}");
        let mut after = self.sight(to);
        (after.0.datagrams_sent, after.0.bytes_sent) = (before.0.datagrams_sent, before.0.bytes_sent);
        // Where a profile proves nobody, the session is asked by a PING. PROTOCOL.md, "Replacement".
        (after.0.packets.sent, after.0.flight_bytes) = (before.0.packets.sent, before.0.flight_bytes);
        assert_eq!(after, before, "{what}");
    }

    /// Shows that the session, whatever was done to it, still carries a message each way.
    pub(crate) fn assert_delivers(&mut self, what: &str) {
        for from in [0, 1] {
            let text = format!("{what}, from {from}");
            self.end(from).endpoint.send_payload(Guarantee::Delivery, text.as_bytes()).unwrap();
            self.end(from).endpoint.flush().unwrap();
            self.settle();
            let heard = self.end(1 - from).heard.last();
            assert_eq!(heard, Some(&(Guarantee::Delivery, text.into_bytes())));
        }
    }

    /// Carries everything to and fro until nobody has anything more to say.
    pub(crate) fn settle(&mut self) {
        loop {
            self.pair.a.step();
            self.pair.b.step();
            let said = self.pair.net.captured();
            if said.is_empty() {
                return;
            }
            for datagram in said {
                self.hand(usize::from(datagram.to == there()), &datagram.bytes);
            }
        }
    }
}

/// A session that has carried something both ways, all its datagrams with their receivers.
pub(crate) fn recorded<S: Session>(pair: Pair<S>) -> (Held<S>, Vec<(usize, Vec<u8>)>) {
    let mut held = Held::new(pair);
    let mut log = Vec::new();
    held.pair.a.endpoint.connect().unwrap();
    for round in 0..30_u8 {
        for _ in 0..3 {
            for datagram in held.pair.net.captured() {
                let to = usize::from(datagram.to == there());
                held.hand(to, &datagram.bytes);
                log.push((to, datagram.bytes));
            }
        }
        for end in [&mut held.pair.a, &mut held.pair.b] {
            for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
                end.endpoint.send_payload(guarantee, &[round; 30]).unwrap();
            }
            end.endpoint.flush().unwrap();
        }
    }
    held.settle();
    (held, log)
}

/// A size that nothing below is near to by chance.
pub(crate) fn small() -> Config {
    let mut config = Config::default();
    config.max_datagram_bytes = 1_200;
    config
}
