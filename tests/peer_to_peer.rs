//! Two sealed endpoints on sockets with addresses: behind NATs that forget them, with several addresses to try, and with
//! strangers who copy what they say.

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use common::{End, environment, keys};
use sealgram::{
    Config, Credentials, Event, Guarantee, Sealed, SealedEndpoint, Unconnected,
    sim::{Jitter, Link, Nat, Net, Socket, Verdict},
};

const MS: Duration = Duration::from_millis(1);

type Peer = End<Sealed, Unconnected<Socket>>;

fn home(index: u8) -> SocketAddr {
    ([192, 168, index, 2], 4_000).into()
}

fn stranger() -> SocketAddr {
    ([6, 6, 6, 6], 666).into()
}

/// The first or the second peer at some place, as after a restart.
fn peer(net: &Net, seed: u64, own: usize, node: SocketAddr) -> Peer {
    let keys = keys(seed);
    let credentials = Credentials::paired(&keys[own], keys[1 - own].public_key()).unwrap();
    let socket = Unconnected::new(net.socket(node));
    let environment = environment(net, node);
    End::new(SealedEndpoint::with_environment(socket, credentials, Config::default(), environment).unwrap())
}

struct Scene {
    seed: u64,
    net: Net,
    peers: Vec<Peer>,
}

impl Scene {
    /// Two peers who know each other's key and no address.
    fn new(seed: u64, loss: f64) -> Self {
        let net = Net::seed(seed);
        let mut link = Link::default();
        (link.delay, link.loss) = (25 * MS, loss);
        if loss > 0.0 {
            (link.duplicate, link.jitter) = (0.05, Jitter::Uniform(20 * MS));
        }
        net.set_default(link);
        let peers = vec![peer(&net, seed, 0, home(0)), peer(&net, seed, 1, home(1))];
        Self { seed, net, peers }
    }

    fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.net.now() + limit;
        loop {
            let next: Option<Instant> = self.peers.iter_mut().filter_map(End::step).min();
            if done(self) {
                return true;
            }
            if self.net.now() >= end {
                return false;
            }
            let soon = self.net.now() + Duration::from_micros(100);
            self.net.advance_to_next_or(next.map_or(end, |next| next.max(soon).min(end)));
        }
    }

    fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    fn dial(&mut self, who: usize, addresses: &[SocketAddr]) {
        self.peers[who].endpoint.set_addresses(addresses).unwrap();
        self.peers[who].endpoint.connect().unwrap();
    }

    fn meet(&mut self) {
        let both = |scene: &mut Self| scene.peers.iter().all(|peer| peer.endpoint.is_connected());
        assert!(self.run_until(Duration::from_secs(30), both), "no session, seed {}", self.seed);
    }

    /// Both say these numbers, one every 50 ms.
    fn talk(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            for peer in &mut self.peers {
                peer.endpoint.send_payload(Guarantee::Delivery, &number.to_le_bytes()).unwrap();
            }
            self.run(50 * MS);
        }
    }

    fn assert_heard(&self, numbers: u32) {
        for peer in &self.peers {
            let heard = peer.heard.iter().map(|(_, bytes)| u32::from_le_bytes(bytes[..].try_into().unwrap()));
            assert_eq!(heard.collect::<Vec<_>>(), (0..numbers).collect::<Vec<_>>(), "seed {}", self.seed);
        }
    }

    fn moves(&self, who: usize) -> Vec<(SocketAddr, SocketAddr)> {
        let moved = |event: &Event| match *event {
            Event::PathChanged { from, to } => Some((from, to)),
            _ => None,
        };
        self.peers[who].events.iter().filter_map(moved).collect()
    }

    fn sessions(&self) -> Vec<usize> {
        let begun = |event: &&Event| !matches!(event, Event::PathChanged { .. });
        self.peers.iter().map(|peer| peer.events.iter().filter(begun).count()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, {:?} of virtual time", self.seed, self.net.elapsed());
        }
    }
}

#[test]
fn the_address_that_answers_is_the_path_and_nobody_else_hears_of_the_session() {
    let mut scene = Scene::new(1, 0.0);
    scene.net.record(true);
    let dead: Vec<SocketAddr> = (0..7).map(|index| ([203, 0, 113, index], 4_000).into()).collect();
    let mut all = dead.clone();
    all.insert(4, home(1));
    scene.dial(0, &all);
    scene.meet();
    scene.talk(0..20);
    scene.run(Duration::from_secs(1));
    scene.assert_heard(20);
    assert_eq!(scene.peers[0].endpoint.path(), Some(home(1)));
    assert_eq!(scene.peers[1].endpoint.path(), Some(home(0)), "learnt from the datagrams");
    let sent = scene.net.captured();
    for address in dead {
        let to: Vec<_> = sent.iter().filter(|datagram| datagram.to == address).collect();
        assert!(to.len() == 1 && to[0].bytes.len() == 1_200, "one INIT");
    }
    assert!(scene.moves(0).is_empty() && scene.moves(1).is_empty());
}

#[test]
fn more_than_eight_addresses_are_refused_and_those_of_nobody_are_left_out() {
    let mut scene = Scene::new(2, 0.0);
    let endpoint = &mut scene.peers[0].endpoint;
    assert_eq!(endpoint.set_addresses(&[home(1); 9]).unwrap_err().field, "addresses");
    let nobody = ["0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1", "[ff02::1]:1", "[::]:1", "10.0.0.1:0"];
    let nobody = nobody.map(|address| address.parse().unwrap());
    endpoint.set_addresses(&nobody).unwrap();
    endpoint.connect().unwrap();
    scene.net.record(true);
    scene.run(Duration::from_secs(5));
    assert!(scene.net.captured().is_empty());
    // Said later, they are dialled with the next INIT.
    scene.peers[0].endpoint.set_addresses(&[home(1)]).unwrap();
    scene.meet();
}

#[test]
fn both_dial_through_their_nats_and_have_one_session() {
    for (seed, symmetric) in (100..116).map(|seed| (seed, seed % 2 == 0)) {
        let mut scene = Scene::new(seed, 0.0);
        let outside = |index: u8| std::net::IpAddr::from([198, 51, 100, index]);
        scene.net.set_nat(home(0), Nat::address_restricted(outside(0)));
        let other = if symmetric { Nat::symmetric(outside(1)) } else { Nat::port_restricted(outside(1)) };
        scene.net.set_nat(home(1), other);
        // A meeting place tells each what it sees of the other.
        let host: SocketAddr = ([203, 0, 113, 1], 1).into();
        let seen = |node: u8| {
            scene.net.socket(home(node)).send_to(b"here", host).unwrap();
            scene.net.seen_as(home(node), host).unwrap()
        };
        let seen = [seen(0), seen(1)];
        // Its sockets took the addresses over.
        scene.peers = vec![peer(&scene.net, seed, 0, home(0)), peer(&scene.net, seed, 1, home(1))];
        scene.dial(0, &[seen[1]]);
        scene.dial(1, &[seen[0]]);
        let begin = scene.net.elapsed();
        scene.meet();
        // Whoever decides calls back where the other one's INIT came from: a symmetric NAT is open only there.
        assert!(scene.net.elapsed() - begin < Duration::from_secs(2), "{:?}", scene.net.elapsed() - begin);
        scene.talk(0..20);
        scene.run(Duration::from_secs(1));
        scene.assert_heard(20);
        assert_eq!(scene.sessions(), [1, 1]);
    }
}

fn rebindings(seed: u64, loss: f64) {
    let mut scene = Scene::new(seed, loss);
    scene.net.set_nat(home(0), Nat::port_restricted([198, 51, 100, 1].into()));
    scene.dial(0, &[home(1)]);
    scene.meet();
    let mut places = Vec::new();
    for round in 0..20 {
        places.push(scene.net.seen_as(home(0), home(1)).unwrap());
        scene.net.rebind(home(0));
        scene.talk(round * 40..round * 40 + 40);
    }
    places.push(scene.net.seen_as(home(0), home(1)).unwrap());
    scene.run(Duration::from_secs(3));
    scene.assert_heard(800);
    assert_eq!(scene.moves(1), places.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>());
    assert_eq!(scene.moves(0), []);
    assert_eq!(scene.sessions(), [1, 1], "one session all along");
}

#[test]
fn twenty_new_bindings_of_a_nat_cost_no_session_and_no_message() {
    rebindings(5, 0.0);
    (6..10).for_each(|seed| rebindings(seed, 0.1));
}

#[test]
fn a_peer_that_replaces_its_socket_is_followed() {
    let mut scene = Scene::new(11, 0.0);
    scene.dial(0, &[home(1)]);
    scene.meet();
    scene.talk(0..20);
    for (round, who) in [0, 1, 1, 0].into_iter().enumerate() {
        let place: SocketAddr = ([10, 1, u8::try_from(round).unwrap(), 2], 4_000).into();
        let socket = Unconnected::new(scene.net.socket(place));
        drop(scene.peers[who].endpoint.replace_socket(socket).unwrap());
        let begin = u32::try_from(round).unwrap() * 30 + 20;
        scene.talk(begin..begin + 30);
        assert_eq!(scene.peers[1 - who].endpoint.path(), Some(place));
    }
    scene.run(Duration::from_secs(1));
    scene.assert_heard(140);
    assert_eq!((scene.moves(0).len(), scene.moves(1).len()), (2, 2));
    assert_eq!(scene.sessions(), [1, 1]);
}

#[test]
fn a_copy_that_overtakes_its_original_redirects_nothing_and_earns_no_more_bytes_than_it_had() {
    let mut scene = Scene::new(12, 0.0);
    scene.dial(0, &[home(1)]);
    scene.meet();
    let balance = Arc::new(Mutex::new((0_i64, 0)));
    let (net, notes) = (scene.net.clone(), Arc::clone(&balance));
    let mut count = 0;
    scene.net.tap(move |datagram| {
        let mut notes = notes.lock().unwrap();
        let len = i64::try_from(datagram.bytes.len()).unwrap();
        count += 1;
        if datagram.to == stranger() {
            notes.0 -= len;
            notes.1 += 1;
            assert!(notes.0 >= 0 && len == 29, "{notes:?}, {len}");
        } else if count % 3 == 0 {
            notes.0 += len;
            net.inject(stranger(), datagram.to, &datagram.bytes);
        }
        Verdict::Pass
    });
    scene.talk(0..400);
    scene.run(Duration::from_secs(1));
    scene.assert_heard(400);
    assert!(scene.moves(0).is_empty() && scene.moves(1).is_empty());
    assert!(balance.lock().unwrap().1 > 0, "he was asked");
    assert_eq!(scene.sessions(), [1, 1]);
}

#[test]
fn handshakes_that_a_stranger_copies_lead_to_the_true_address() {
    for seed in 20..40 {
        let mut scene = Scene::new(seed, 0.0);
        let net = scene.net.clone();
        let begin = net.now();
        let mut received = std::collections::BTreeMap::new();
        scene.net.tap(move |datagram| {
            let balance: &mut i64 = received.entry(datagram.to).or_default();
            if datagram.to == stranger() {
                *balance -= i64::try_from(datagram.bytes.len()).unwrap();
                assert!(*balance >= 0);
            } else if datagram.at < begin + 200 * MS {
                let earned: &mut i64 = received.entry(stranger()).or_default();
                *earned += i64::try_from(datagram.bytes.len()).unwrap();
                net.inject(stranger(), datagram.to, &datagram.bytes);
            }
            Verdict::Pass
        });
        scene.dial(0, &[home(1)]);
        if seed % 2 == 0 {
            scene.dial(1, &[home(0)]);
        }
        scene.meet();
        scene.talk(0..40);
        scene.run(Duration::from_secs(2));
        scene.assert_heard(40);
        assert_eq!(scene.peers[0].endpoint.path(), Some(home(1)), "seed {seed}");
        assert_eq!(scene.peers[1].endpoint.path(), Some(home(0)), "seed {seed}");
    }
}

#[test]
fn a_peer_that_restarts_elsewhere_is_met_again() {
    let mut scene = Scene::new(13, 0.0);
    scene.dial(0, &[home(1)]);
    scene.meet();
    scene.talk(0..10);
    let place: SocketAddr = ([10, 9, 9, 9], 4_000).into();
    scene.peers[0] = peer(&scene.net, 13, 0, place);
    scene.peers[1].heard.clear();
    scene.dial(0, &[home(1)]);
    scene.meet();
    assert!(scene.run_until(Duration::from_secs(2), |scene| scene.peers[1].endpoint.path() == Some(place)));
    scene.talk(0..10);
    scene.run(Duration::from_secs(1));
    scene.assert_heard(10);
    assert!(matches!(scene.peers[1].events.last(), Some(Event::PeerReconnected { .. })));
}

#[test]
fn a_session_whose_answers_went_to_two_addresses_must_prove_where_it_is_before_it_gets_anything() {
    let mut scene = Scene::new(14, 0.0);
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (net, notes, mut first) = (scene.net.clone(), Arc::clone(&sizes), true);
    scene.net.tap(move |datagram| {
        if datagram.from == home(0) && std::mem::replace(&mut first, false) {
            net.inject(stranger(), home(1), &datagram.bytes);
        } else if datagram.to == home(0) {
            notes.lock().unwrap().push(datagram.bytes.len());
        }
        Verdict::Pass
    });
    scene.peers[1].endpoint.send_payload(Guarantee::Delivery, &[0; 4]).unwrap();
    scene.dial(0, &[home(1)]);
    // Not after a second CONFIRM, 250 ms later: the first has paid for the challenge.
    assert!(scene.run_until(Duration::from_millis(200), |scene| scene.peers[0].endpoint.is_connected()));
    assert_eq!(*sizes.lock().unwrap(), [1_200, 29], "RESP, then a challenge and nothing of what waits");
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.peers[0].heard.len() == 1));
    assert!(scene.moves(0).is_empty() && scene.moves(1).is_empty());
}

#[test]
fn the_packet_that_confirms_a_session_pays_once_for_what_goes_to_its_address() {
    let mut scene = Scene::new(61, 0.0);
    let (net, ledger) = (scene.net.clone(), Arc::new(Mutex::new((0, 0))));
    let tapped = Arc::clone(&ledger);
    scene.net.tap(move |datagram| {
        let (came, went) = &mut *tapped.lock().unwrap();
        if datagram.to == stranger() {
            *went += datagram.bytes.len();
        }
        // CONFIRM is the first short datagram of whoever dials. It comes from another address than INIT did.
        if datagram.from == home(0) && datagram.bytes.len() < 100 {
            if *came == 0 {
                net.inject(stranger(), home(1), &datagram.bytes);
                *came = datagram.bytes.len();
            }
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    scene.dial(0, &[home(1)]);
    scene.run(Duration::from_secs(2));
    assert!(scene.peers[1].endpoint.is_connected());
    let (came, went) = *ledger.lock().unwrap();
    assert!(came > 0 && went <= came, "{went} bytes to an address from which {came} came");
}
