//! Peers in virtual time with a seeded network between them: no sockets, no sleeping, every run repeatable.

mod client;
mod footprint;
mod forgery;
mod glare;
mod handshakes;
#[cfg(feature = "sim")]
mod nonces;
mod server;
mod sessions;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    time::{Duration, Instant},
};

use rand_core::{TryCryptoRng, TryRng};

use super::{Credentials, Sealed, Trust, dial::Phase, half_open::Stage};
use crate::{
    config::Config,
    crypto::{Invite, Psk, PublicKey, SecretKey},
    delivery::{Guarantee, MessageId},
    event::Event,
};

/// SplitMix64: for tests only.
#[derive(Clone)]
pub(super) struct Chance(pub(super) u64);

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|word| (word >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(z ^ (z >> 31))
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        for chunk in target.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Chance {}

impl Chance {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let Ok(word) = self.try_next_u64();
        word % bound.max(1)
    }

    pub(super) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs one real instant to count from")]
pub(super) fn start() -> Instant {
    Instant::now() + Duration::from_secs(1_000)
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

pub(super) fn public(seed: u8) -> PublicKey {
    key(seed).public_key()
}

pub(super) const ALL: [&str; 8] =
    ["paired", "paired_psk", "invite", "invite_tofu", "tofu", "client", "client_auth", "client_auth_psk"];
/// Profiles in which both sides may dial.
pub(super) const SYMMETRIC: [&str; 5] = ["paired", "paired_psk", "invite", "invite_tofu", "tofu"];

/// The credentials of side 0 (who dials where roles are fixed) or 1. Secret keys are 10 and 11.
pub(super) fn credentials(profile: &str, side: u8) -> Credentials {
    let own = key(10 + side);
    let peer = public(11 - side);
    let psk = Psk::from_bytes([77; 32]);
    let invite = Invite::from_bytes([88; 32]);
    let trust = || Trust::Only(vec![peer]);
    match (profile, side) {
        ("paired", _) => Credentials::paired(&own, peer).unwrap(),
        ("paired_psk", _) => Credentials::paired_psk(&own, peer, &psk).unwrap(),
        ("invite", _) => Credentials::invite(&invite),
        ("invite_tofu", _) => Credentials::invite_tofu(&own, &invite, trust()),
        ("tofu", _) => Credentials::tofu(&own, trust()),
        ("client", 0) => Credentials::client(peer),
        ("client", _) => Credentials::server(&own),
        ("client_auth", 0) => Credentials::client_auth(&own, peer).unwrap(),
        ("client_auth", _) => Credentials::server_auth(&own, trust()),
        ("client_auth_psk", 0) => Credentials::client_auth_psk(&own, peer, &psk).unwrap(),
        ("client_auth_psk", _) => Credentials::server_auth_psk(&own, &psk, trust()),
        _ => panic!("no profile {profile}"),
    }
}

/// How datagrams from one side travel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) least: Duration,
    pub(super) most: Duration,
    /// Of 1,000.
    pub(super) loss: u64,
    pub(super) twice: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self { least: ms(20), most: ms(20), loss: 0, twice: 0 }
    }
}

/// Some peers and what is on its way between them.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) peers: Vec<Sealed>,
    pub(super) chance: Vec<Chance>,
    pub(super) link: Vec<Link>,
    /// Where the datagrams of each peer go; `None` into the void.
    pub(super) to: Vec<Option<usize>>,
    pub(super) net: Chance,
    /// Whether a peer's NAT lets datagrams in only after it sent one out.
    pub(super) closed_nat: Vec<bool>,
    on_the_way: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sequence: u64,
    /// Everything ever sent: when, by whom, what.
    pub(super) sent: Vec<(Instant, usize, Vec<u8>)>,
    pub(super) events: Vec<Vec<Event>>,
}

impl World {
    pub(super) fn new(seed: u64, peers: Vec<(Credentials, Config)>) -> Self {
        let now = start();
        let count = peers.len();
        let peers = peers.into_iter().map(|(c, config)| Sealed::new(c, config, now).unwrap()).collect();
        Self {
            now,
            peers,
            chance: (0..count).map(|i| Chance(seed.wrapping_mul(1_000_003) ^ (i as u64 + 1) << 50)).collect(),
            link: vec![Link::default(); count],
            to: (0..count).map(|i| Some(1 - i.min(1))).collect(),
            net: Chance(seed ^ 0x5555),
            closed_nat: vec![false; count],
            on_the_way: BTreeMap::new(),
            sequence: 0,
            sent: Vec::new(),
            events: vec![Vec::new(); count],
        }
    }

    pub(super) fn pair(profile: &str, seed: u64) -> Self {
        let side = |side| (credentials(profile, side), Config::default());
        Self::new(seed, vec![side(0), side(1)])
    }

    pub(super) fn connect(&mut self, peer: usize) {
        self.peers[peer].connect(self.now, &mut self.chance[peer]).unwrap();
        self.flush(peer);
    }

    /// Queues so many `Delivery` messages at one end and names them.
    pub(super) fn owe(&mut self, peer: usize, count: usize) -> Vec<MessageId> {
        let connection = self.peers[peer].connection_mut();
        (0..count).map(|_| connection.send(0, Guarantee::Delivery, b"owed").unwrap()).collect()
    }

    pub(super) fn restart(&mut self, peer: usize, credentials: Credentials, config: Config) {
        self.peers[peer] = Sealed::new(credentials, config, self.now).unwrap();
        self.events[peer].clear();
    }

    /// Hands a datagram to a peer now.
    pub(super) fn deliver(&mut self, peer: usize, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        self.peers[peer].handle_datagram(self.now, &mut self.chance[peer], &mut datagram);
        self.flush(peer);
    }

    /// Sends all that a peer has to say; returns the datagrams.
    pub(super) fn flush(&mut self, peer: usize) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        let mut out = vec![0xee; 65_535];
        loop {
            let len = self.peers[peer].poll_transmit(self.now, &mut self.chance[peer], &mut out);
            if len == 0 {
                break;
            }
            assert!(said.len() < 512, "a peer that cannot stop");
            said.push(out[..len].to_vec());
            self.post(peer, out[..len].to_vec());
        }
        while let Some(event) = self.peers[peer].poll_event() {
            self.events[peer].push(event);
        }
        said
    }

    fn post(&mut self, from: usize, datagram: Vec<u8>) {
        self.sent.push((self.now, from, datagram.clone()));
        let Some(to) = self.to[from] else { return };
        let link = self.link[from];
        let copies = 1 + u64::from(self.net.below(1_000) < link.twice);
        for _ in 0..copies {
            let spread = u64::try_from((link.most - link.least).as_micros()).unwrap();
            let delay = link.least + Duration::from_micros(self.net.below(spread + 1));
            if self.net.below(1_000) >= link.loss {
                self.sequence += 1;
                self.on_the_way.insert((self.now + delay, self.sequence), (to, datagram.clone()));
            }
        }
    }

    /// Goes on to the next thing that happens, at most to `until`; false if nothing does before.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        let arrival = self.on_the_way.keys().next().map(|(at, _)| *at);
        let timer = self.peers.iter().filter_map(Sealed::deadline).min();
        let next = match (arrival, timer) {
            (Some(a), Some(b)) => a.min(b),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return self.stop_at(until),
        };
        if next > until {
            return self.stop_at(until);
        }
        self.now = self.now.max(next);
        while let Some(entry) = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to, datagram) = entry.remove();
            if self.closed_nat[to] && self.sent.iter().all(|(_, from, _)| *from != to) {
                continue;
            }
            self.deliver(to, &datagram);
        }
        for peer in 0..self.peers.len() {
            // A timer may have to run twice at one instant (a loss, then a probe), but not for ever.
            let is_due = |peer: &Sealed, now| peer.deadline().is_some_and(|at| at <= now);
            for _ in 0..3 {
                if is_due(&self.peers[peer], self.now) {
                    self.peers[peer].handle_timeout(self.now, &mut self.chance[peer]);
                    self.flush(peer);
                }
            }
            assert!(
                !is_due(&self.peers[peer], self.now),
                "a timer of {peer} stays due: {}\n{}",
                self.peers[peer].deadlines(self.now),
                self.peers[peer].digest()
            );
        }
        true
    }

    fn stop_at(&mut self, until: Instant) -> bool {
        self.now = self.now.max(until);
        false
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Runs until `done`, at most for `time`; how long it took.
    pub(super) fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> Option<Duration> {
        let (begin, until) = (self.now, self.now + time);
        loop {
            if done(self) {
                return Some(self.now - begin);
            }
            if !self.step(until) {
                return done(self).then(|| self.now - begin);
            }
        }
    }

    /// Both live, in the same session.
    pub(super) fn agreed(&self) -> bool {
        let [a, b] = [&self.peers[0], &self.peers[1]];
        a.is_connected() && b.is_connected() && a.handshake_hash() == b.handshake_hash()
    }

    pub(super) fn settle(&mut self) {
        let took = self.run_until(Duration::from_secs(40), Self::agreed);
        assert!(took.is_some(), "no session: {:?}", self.events);
        let keys = [0, 1].map(|peer| self.peers[peer].export_key(b"test").unwrap());
        assert!(keys[0].ct_eq(&keys[1]));
    }

    /// How often each peer was told that a session began.
    pub(super) fn sessions(&self, peer: usize) -> usize {
        let begun = |event: &&Event| matches!(event, Event::Connected { .. } | Event::PeerReconnected { .. });
        self.events[peer].iter().filter(begun).count()
    }

    /// The `n`th datagram that `peer` sent.
    pub(super) fn said(&self, peer: usize, n: usize) -> Vec<u8> {
        self.sent.iter().filter(|(_, from, _)| *from == peer).nth(n).unwrap().2.clone()
    }

    /// The last datagram that `peer` sent.
    pub(super) fn last_said(&self, peer: usize) -> Vec<u8> {
        self.sent.iter().rev().find(|(_, from, _)| *from == peer).unwrap().2.clone()
    }
}

impl Sealed {
    /// How many milliseconds each timer is ahead.
    fn deadlines(&self, now: Instant) -> String {
        let ahead = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now).as_micros());
        let live = self.live.as_ref();
        let heard = self.connection.last_received();
        format!(
            "connection {:?}, steps {:?}, previous key {:?}, heard {:?} ago, kept alive {:?} ago, dial {}",
            ahead(self.connection.deadline()),
            ahead(live.map(|live| live.deadline(&self.config, &self.connection))),
            ahead(live.and_then(|live| live.channel.open.previous_deadline())),
            heard.map(|at| now.saturating_duration_since(at)),
            live.map(|live| now.saturating_duration_since(live.kept_alive)),
            self.dial.is_some(),
        )
    }

    /// Everything that a stranger must not be able to change; counters of drops and budgets left out.
    pub(super) fn digest(&self) -> String {
        let live = self.live.as_ref().map(|live| {
            let keys = (live.channel.seal.next_number(), live.channel.seal.epoch());
            let open = (live.channel.open.highest(), live.channel.open.epoch());
            (live.init, live.side, keys, open, live.violations, live.probe.clone(), live.kept_alive)
        });
        let dial = self.dial.as_ref().map(|dial| match &dial.phase {
            Phase::Sent(attempt) => {
                format!("{:?} {:?} {:?} {:?}", dial.why, attempt.id, attempt.deadline(), attempt.noise)
            }
            Phase::Unconfirmed(unconfirmed) => format!(
                "{:?} {:?} {:?} {:?} {}",
                dial.why,
                unconfirmed.agreed,
                unconfirmed.agreed.channel.open.highest(),
                unconfirmed.deadline(),
                unconfirmed.confirm_due
            ),
            Phase::GaveWay { until } => format!("{:?} gave way until {until:?}", dial.why),
        });
        let half_open: Vec<_> = self
            .half_open
            .iter()
            .map(|entry| {
                let waits = match &entry.stage {
                    Stage::AwaitsFin(_) => None,
                    Stage::AwaitsPacket(agreed) => Some(agreed.channel.open.highest()),
                };
                (entry.id, entry.created, entry.reply_due, waits)
            })
            .collect();
        format!(
            "{live:?}\n{dial:?}\n{half_open:?}\n{:?} {:?} {:?} {:?}\n{:?}\n{:?}",
            self.closed, self.carried, self.cancelled, self.listening, self.events, self.connection
        )
    }
}
