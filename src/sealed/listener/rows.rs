//! Datagrams that come together are opened in a row and taken one by one afterwards. Two listeners with the same keys and
//! the same chance hear the same players, one of them in rows and the other one datagram after the other: everything that
//! came of it must be the same.

use std::net::SocketAddr;

use super::{
    strangers::{Rig, anonymous, of_net},
    *,
};
use crate::{
    delivery::Guarantee,
    error::Dropped,
    event::Event,
    sealed::tests::{Chance, ms, public},
};

/// As many as a batch brings.
const LONGEST_ROW: usize = 64;
const ROUNDS: u8 = 60;
const SEEDS: u64 = 12;

type Datagram = (SocketAddr, Vec<u8>);

/// One listener and its players. What the dice say does not hang on what the listener does.
struct Play {
    rig: Rig,
    dice: Chance,
    in_rows: bool,
    round: u8,
    /// Everything that was sent so far.
    past: Vec<Datagram>,
    ids: Vec<PeerId>,
    log: Vec<String>,
    /// How often something came about, by what it is.
    seen: BTreeMap<String, usize>,
}

impl Play {
    fn new(seed: u64, in_rows: bool) -> Self {
        let session = Config { aead_failure_limit: 12, ..Config::default() };
        let config = ServerConfig { session, reads_per_peer: 16, ..ServerConfig::default() };
        Self {
            rig: anonymous(config),
            dice: Chance(seed),
            in_rows,
            round: 0,
            past: Vec::new(),
            ids: Vec::new(),
            log: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.dice.below(bound) == 0
    }

    fn see(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    /// Somebody dials whose keys step forward soon and often. Whose number is odd does not keep the epoch rule.
    fn join(&mut self, host: u8) {
        let config =
            Config { ratchet_packets: 16, ratchet_interval: Duration::from_secs(1), ..Config::default() };
        self.rig.dial_with(config, Credentials::client(public(11)), of_net(u16::from(host), host));
    }

    /// What the players send in this round: they talk, now and then a lot, move, leave, and break the epoch rule.
    fn talk(&mut self) -> Vec<Datagram> {
        let mut sent = Vec::new();
        for index in 0..self.rig.players.len() {
            let words = if self.one_in(10) { 25 } else { self.dice.below(8) };
            for _ in 0..words {
                let guarantees = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];
                let guarantee = guarantees[self.dice.index(3)];
                let hastens = self.one_in(75) && index % 2 == 1;
                let end = &mut self.rig.players[index].end;
                if end.is_connected() {
                    let _ = end.connection_mut().send(0, guarantee, &[self.round, 9, 9]);
                    if let Some(live) = end.live.as_mut().filter(|_| hastens) {
                        live.channel.seal.ratchet();
                    }
                }
                self.fetch(index, &mut sent);
            }
            if self.one_in(15) {
                let port = 2_000 + u16::try_from(self.dice.below(50)).unwrap();
                self.rig.players[index].at.set_port(port);
            }
            if self.one_in(60) && self.rig.players[index].end.is_connected() {
                self.rig.players[index].end.close(self.rig.now, 3, b"bye");
                let mut last = Vec::new();
                self.fetch(index, &mut last);
                for end in last {
                    sent.insert(self.dice.index(sent.len() + 1), end);
                }
            }
        }
        sent
    }

    fn fetch(&mut self, index: usize, into: &mut Vec<Datagram>) {
        let at = self.rig.players[index].at;
        into.extend(self.rig.takes(index).into_iter().map(|datagram| (at, datagram)));
    }

    /// What arrives of it: with forgeries, copies from elsewhere, old ones and pieces among them, and some overtaken.
    fn disturb(&mut self, sent: Vec<Datagram>) -> Vec<Datagram> {
        self.past.extend(sent.iter().cloned());
        let mut arrives = Vec::new();
        for (from, datagram) in sent {
            if self.one_in(10) {
                let mut forged = datagram.clone();
                let bit = self.dice.index(forged.len() * 8);
                forged[bit / 8] ^= 1 << (bit % 8);
                arrives.push((if self.one_in(2) { from } else { of_net(9, 90) }, forged));
            }
            if self.one_in(10) {
                let past = self.dice.index(self.past.len());
                arrives.push(self.past[past].clone());
            }
            if self.one_in(12) {
                arrives.push((of_net(8, 80), datagram.clone()));
            }
            if self.one_in(15) {
                arrives.push((from, datagram[..self.dice.index(datagram.len())].to_vec()));
            }
            arrives.push((from, datagram));
        }
        for _ in 0..arrives.len() / 6 {
            let at = self.dice.index(arrives.len());
            let to = (at + 2).min(arrives.len() - 1);
            arrives.swap(at, to);
        }
        arrives
    }

    /// The listener takes them. In the midst of it the application may throw somebody out.
    fn hear(&mut self, mut arrives: Vec<Datagram>) {
        let kick = self.one_in(25).then(|| self.dice.index(arrives.len().max(1)));
        let whom = self.dice.index(self.ids.len());
        let mut number = 0;
        while !arrives.is_empty() {
            let len = (1 + self.dice.index(LONGEST_ROW)).min(arrives.len());
            let mut row: Vec<_> = arrives.drain(..len).collect();
            let Rig { now, listener, .. } = &mut self.rig;
            let mut ahead: VecDeque<_> = if self.in_rows {
                row.iter_mut().map(|(from, each)| listener.look_ahead(*now, *from, each)).collect()
            } else {
                VecDeque::new()
            };
            for (from, datagram) in &mut row {
                if let Some(&id) = self.ids.get(whom).filter(|_| kick == Some(number)) {
                    self.rig.listener.close(self.rig.now, id, 9, b"out");
                }
                self.take(ahead.pop_front(), *from, datagram);
                number += 1;
            }
        }
    }

    fn take(&mut self, ahead: Option<Ahead>, from: SocketAddr, datagram: &mut [u8]) {
        let Rig { now, listener, chance, .. } = &mut self.rig;
        let owned = datagram.first_chunk().is_some_and(|cid| listener.owners.contains_key(cid));
        let mut taken = match ahead {
            Some(ahead) => listener.take_datagram(*now, chance, from, ahead, datagram),
            None => listener.handle_datagram(*now, chance, from, datagram),
        };
        let mut line = format!("{} {} bytes from {from}: {taken:?}", self.round, datagram.len());
        if let Ok(Some(id)) = taken {
            let connection = listener.peers.connection_mut(id);
            for ready in connection.into_iter().flat_map(|connection| std::iter::from_fn(|| connection.pop()))
            {
                line += &format!(" {ready:?}");
            }
            listener.finish(id);
        }
        self.see(match taken {
            Ok(Some(_)) => "taken".into(),
            Ok(None) => "answered".into(),
            Err(why) => format!("{why:?}"),
        });
        // What a row found out about shares it keeps, also of a session that ends in it. PROTOCOL.md, "Server".
        if !owned && taken == Err(Dropped::Share) {
            taken = Err(Dropped::Unopened);
            line = format!("{} {} bytes from {from}: {taken:?}", self.round, datagram.len());
        }
        self.log.push(line);
    }

    /// The listener answers and lets everybody in who asks; then all that can be seen of its peers is written down.
    fn settle(&mut self) {
        self.rig.answer();
        for (id, event) in std::mem::take(&mut self.rig.events) {
            self.log.push(format!("{} {id:?} {event:?}", self.round));
            match event {
                Event::Join { .. } => {
                    assert!(self.rig.listener.accept(self.rig.now, &mut self.rig.chance, id));
                    self.ids.push(id);
                }
                Event::Closed { reason, .. } => self.see(format!("{reason:?}")),
                Event::PathChanged { .. } => self.see("moved"),
                _ => {}
            }
        }
        self.rig.answer();
        let mut ids: Vec<_> = self.rig.listener.peers.ids().collect();
        ids.sort_by_key(|id| (id.index, id.generation));
        for id in ids {
            let round = self.rig.listener.peers.round();
            let member = self.rig.listener.peers.get(id).unwrap();
            let Peer { live, roam, .. } = &member.peer;
            let epoch = live.channel.open.epoch();
            let state = (epoch, live.failures, live.violations, member.reads_in(round), roam.address());
            self.log.push(format!("{} {id:?} {state:?}", self.round));
            if is_honest(roam.address()) {
                let highest = self.seen.entry("highest epoch".into()).or_default();
                *highest = (*highest).max(usize::try_from(epoch).unwrap());
            }
        }
    }

    fn run(mut self) -> Self {
        (0..4).for_each(|host| self.join(host));
        for round in 0..ROUNDS {
            self.round = round;
            self.rig.now += ms(10 + self.dice.below(300));
            let Rig { now, listener, chance, .. } = &mut self.rig;
            if listener.deadline().is_some_and(|at| at <= *now) {
                listener.handle_timeout(*now, chance);
            }
            listener.peers.begin_round();
            if round % 8 == 7 {
                self.join(4 + round / 8);
            }
            let sent = self.talk();
            let arrives = self.disturb(sent);
            self.hear(arrives);
            self.settle();
        }
        self
    }
}

/// Whether this player keeps the epoch rule: its number is even.
fn is_honest(at: SocketAddr) -> bool {
    matches!(at, SocketAddr::V4(at) if at.ip().octets()[3] % 2 == 0)
}

#[test]
fn datagrams_opened_in_a_row_come_to_the_same_as_one_after_the_other() {
    let mut seen = BTreeMap::<String, usize>::new();
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let [single, rows] = [false, true].map(|in_rows| Play::new(seed, in_rows).run());
        for (line, (single, row)) in single.log.iter().zip(&rows.log).enumerate() {
            assert_eq!(single, row, "seed {seed}, line {line}: one by one on the left");
        }
        assert_eq!(single.log.len(), rows.log.len(), "seed {seed}");
        rows.seen.into_iter().for_each(|(what, count)| *seen.entry(what).or_default() += count);
    }
    println!("{seen:?}");
    for what in [
        "taken",
        "answered",
        "Length",
        "Unopened",
        "Duplicate",
        "Epoch",
        "Handshake",
        "Share",
        "moved",
        "ClosedHere",
        "ClosedByPeer { code: 3 }",
        "AeadLimit",
        "ProtocolViolation",
    ] {
        assert!(seen.contains_key(what), "it never came to {what}");
    }
    // Summed over the seeds; only of players who keep the rule.
    let steps = seen.get("highest epoch").copied().unwrap_or_default();
    assert!(steps >= usize::try_from(SEEDS).unwrap(), "epochs hardly step: {steps}");
}
