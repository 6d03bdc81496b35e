//! The bounds of the plain server, at the bound; strangers by the thousand.

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::{
    event::Event,
    os::Environment,
    wire::{
        hello::Hello,
        plain::{Datagram, HEADROOM, Opening},
    },
};

struct Rig {
    listener: Listener,
    rng: ChaCha8Rng,
    now: Instant,
    /// Bytes that came from each address, and what went there.
    asked: BTreeMap<SocketAddr, usize>,
    told: BTreeMap<SocketAddr, usize>,
}

impl Rig {
    fn new(server: ServerConfig) -> Self {
        Self {
            listener: Listener::new(server).unwrap(),
            rng: ChaCha8Rng::seed_from_u64(1),
            now: Environment::os().now(),
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn say(&mut self, from: SocketAddr, own: u64, step: Step) {
        let hello = Hello::new(&Config::default());
        let mut datagram = Checksum::new(b"").seal_opening(&Opening { own, step, hello }).unwrap();
        *self.asked.entry(from).or_default() += datagram.len();
        let _ = self.listener.handle_datagram(self.now, &mut self.rng, from, &mut datagram);
    }

    /// Everything that leaves now: where to, and the id that an answer offers.
    fn hear(&mut self) -> Vec<(SocketAddr, Option<u64>)> {
        let mut heard = Vec::new();
        let mut out = [0; 1_500];
        while let Some((len, to)) = self.listener.poll_transmit(self.now, &mut self.rng, &mut out) {
            *self.told.entry(to).or_default() += len;
            heard.push((
                to,
                match Checksum::new(b"").open(&out[..len], 1_200).unwrap() {
                    Datagram::Opening(opening) => Some(opening.own),
                    Datagram::Packet { .. } => None,
                },
            ));
        }
        heard
    }

    /// Asks to join and leaves the answer to the application.
    fn ask(&mut self, from: SocketAddr, own: u64) -> u64 {
        self.say(from, own, Step::Hello);
        let [(to, Some(id))] = self.hear()[..] else { panic!() };
        assert_eq!(to, from);
        self.say(from, own, Step::Confirm(id));
        id
    }

    fn joins(&mut self) -> Vec<PeerId> {
        std::iter::from_fn(|| self.listener.peers.poll_event())
            .filter(|(_, event)| matches!(event, Event::Join { .. }))
            .map(|(id, _)| id)
            .collect()
    }

    fn wait(&mut self, time: std::time::Duration) {
        self.now += time;
        self.listener.handle_timeout(self.now, &mut self.rng);
    }
}

fn source(n: u32) -> SocketAddr {
    let [a, b, c, d] = n.to_be_bytes();
    ([10 ^ a, b, c, d], 9).into()
}

#[test]
fn no_more_than_256_wait_for_the_application_and_the_next_one_gets_his_turn() {
    let mut rig = Rig::new(ServerConfig::default());
    let mut last = 0;
    for n in 0..257 {
        last = rig.ask(source(n << 8), 1 + u64::from(n));
    }
    let asking = rig.joins();
    assert_eq!((asking.len(), rig.listener.peers.asking(), rig.listener.peers.len()), (256, 256, 256));
    assert!(rig.listener.close(rig.now, asking[0], 1, b"no"));
    rig.say(source(256 << 8), 257, Step::Confirm(last));
    assert_eq!(rig.joins().len(), 1);
    rig.wait(std::time::Duration::from_secs(3));
    assert_eq!((rig.listener.peers.asking(), rig.listener.peers.len()), (0, 0));
}

#[test]
fn a_hundred_thousand_strangers_leave_bounded_memory_and_a_player_gets_in_among_them() {
    let mut rig = Rig::new(ServerConfig::default());
    for n in 0..100_000_u32 {
        rig.say(source(n << 8), 1 + u64::from(n), Step::Hello);
        assert!(rig.listener.answers.len() <= MAX_ANSWERS);
        if n == 50_000 {
            rig.hear();
            let id = rig.ask(source(77), 77);
            let [peer] = rig.joins()[..] else { panic!() };
            assert!(rig.listener.accept(rig.now, &mut rig.rng, peer) && id > 0);
        }
    }
    rig.hear();
    for (to, bytes) in &rig.told {
        // The player's session has begun; it is owed a PING.
        let free = if *to == source(77) { HEADROOM + 8 } else { 0 };
        assert!(*bytes <= rig.asked[to] + free, "{to}");
    }
    assert_eq!((rig.listener.peers.len(), rig.listener.owners.len(), rig.listener.names.len()), (1, 1, 1));
    rig.wait(std::time::Duration::from_secs(5));
    assert_eq!(rig.listener.half_open.deadline(), None);
}

#[test]
fn a_hello_that_nobody_confirms_from_the_same_address_begins_nothing() {
    let mut rig = Rig::new(ServerConfig::default());
    rig.say(source(1), 5, Step::Hello);
    let [(_, Some(id))] = rig.hear()[..] else { panic!() };
    rig.say(source(2), 5, Step::Confirm(id));
    rig.say(source(1), 6, Step::Confirm(id));
    rig.say(source(1), 5, Step::Confirm(id ^ 1));
    rig.say(source(1), 5, Step::Answer(id));
    assert!(rig.joins().is_empty());
    rig.hear();
    rig.say(source(1), 5, Step::Confirm(id));
    assert_eq!(rig.joins().len(), 1);
}

#[test]
fn a_session_that_ends_leaves_nothing_behind() {
    let mut rig = Rig::new(ServerConfig::default());
    for n in 0..100_u32 {
        rig.ask(source(n << 8), 1 + u64::from(n));
    }
    let ids = rig.joins();
    for (n, id) in ids.iter().enumerate() {
        if n % 3 > 0 {
            assert!(rig.listener.accept(rig.now, &mut rig.rng, *id));
        }
    }
    rig.hear();
    for (n, id) in ids.iter().enumerate() {
        if n % 2 > 0 {
            assert!(rig.listener.close(rig.now, *id, 1, b""));
        }
    }
    rig.hear();
    rig.wait(std::time::Duration::from_secs(60));
    let listener = &rig.listener;
    let left = (listener.peers.len(), listener.peers.asking(), listener.owners.len(), listener.names.len());
    assert_eq!(left, (0, 0, 0, 0));
    assert!(listener.shares.all() == 0 && listener.farewells.is_empty());
    assert_eq!(listener.deadline(), None);
}

#[test]
fn farewells_have_a_bound() {
    let mut rig = Rig::new(ServerConfig::default());
    rig.ask(source(1), 1);
    let [id] = rig.joins()[..] else { panic!() };
    rig.hear();
    for _ in 0..MAX_FAREWELLS + 10 {
        rig.listener.say_close(id, 1, b"bye");
    }
    assert_eq!(rig.listener.farewells.len(), MAX_FAREWELLS);
}

#[test]
fn a_late_copy_of_a_hello_is_not_answered_so_that_nobody_who_joins_starts_over() {
    let mut rig = Rig::new(ServerConfig::default());
    let id = rig.ask(source(1), 5);
    rig.say(source(1), 5, Step::Hello);
    rig.say(source(1), 5, Step::Confirm(id ^ 1));
    assert!(rig.hear().is_empty());
    let [peer] = rig.joins()[..] else { panic!() };
    assert!(rig.listener.accept(rig.now, &mut rig.rng, peer));
    assert_eq!(rig.hear(), [(source(1), None)]);
    rig.say(source(1), 5, Step::Hello);
    assert!(rig.hear().is_empty());
    rig.say(source(1), 5, Step::Confirm(id));
    assert_eq!(rig.hear(), [(source(1), None)], "our packet was not heard");
    assert!(rig.joins().is_empty() && rig.listener.peers.len() == 1);
}

#[test]
fn an_idle_peer_costs_less_than_2_kib() {
    let bytes = size_of::<Peer>();
    assert!(bytes <= 2_048, "{bytes}");
}
