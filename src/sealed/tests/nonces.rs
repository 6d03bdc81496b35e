//! No pair of key and nonce ever seals twice, whatever happens to an endpoint: resends, steps of the keys, restarts,
//! moves to another socket, closes, sockets that would block. Whole endpoints over the simulated network, every seal of the thread recorded.
//!
//! `cargo test` makes 100,000 packets, `SEALGRAM_FULL=1 cargo test --release --lib nonces` a million.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Chance, credentials};
use crate::{
    Config, Endpoint, Environment, Guarantee, Sealed,
    crypto::aead::recorder,
    sim::{Connected, Link, Net},
};

type End = Endpoint<Connected, Sealed>;

fn address(side: u8) -> SocketAddr {
    ([10, 0, 0, side], 4_000).into()
}

fn open(net: &Net, side: u8) -> End {
    let config = Config {
        ratchet_packets: 64,
        ratchet_interval: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(20),
        ..Config::default()
    };
    let clock = net.clone();
    let environment = Environment::new(move || clock.now(), net.rng(address(side)));
    let socket = net.socket(address(side)).connect(address(1 - side));
    Endpoint::with_environment(socket, credentials("paired", side), config, environment).unwrap()
}

/// Lets an end hear everything and say what is due; when it wants to be called again.
fn step(end: &mut End) -> Option<Instant> {
    while let Ok(Some(_)) = end.recv() {}
    while end.poll_event().is_some() {}
    end.maintain().ok().flatten()
}

fn pick(dice: &mut Chance, below: u32) -> u32 {
    u32::try_from(dice.below(below.into())).unwrap()
}

/// What was seen to happen, so that the test cannot pass by sparing the endpoints.
#[derive(Debug, Default)]
struct Happened {
    sent: u64,
    resends: u64,
    blocked: u64,
    steps: u64,
    restarts: u64,
    moves: u64,
    closes: u64,
}

impl Happened {
    fn add(&mut self, end: &End) {
        let stats = end.stats();
        self.sent += stats.datagrams_sent;
        self.resends += stats.resends;
        self.blocked += stats.socket_errors.send_blocked;
    }
}

/// One second at 100 ticks, in which either end sends `burst` messages per tick.
fn second(net: &Net, ends: &mut [End; 2], burst: u64, dice: &mut Chance) {
    for _ in 0..100 {
        for (side, end) in (0_u8..).zip(ends.iter_mut()) {
            if dice.below(50) == 0 {
                net.fail_sends(address(side), 1 + pick(dice, 6), ErrorKind::WouldBlock);
            }
            for _ in 0..dice.below(2 * burst) {
                let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];
                let len = if dice.below(30) == 0 { 2_500 } else { pick(dice, 100) as usize };
                // A full queue, or none at all, is no matter here.
                let _ = end.send_payload(guarantee[pick(dice, 3) as usize], &vec![7; len]);
                let _ = end.flush();
            }
        }
        let until = net.now() + Duration::from_millis(10);
        while net.now() < until {
            let next = ends.iter_mut().filter_map(step).min().unwrap_or(until);
            net.advance_to_next_or(next.max(net.now() + Duration::from_micros(500)).min(until));
        }
    }
}

#[test]
fn no_pair_of_key_and_nonce_seals_twice() {
    let wanted = if std::env::var_os("SEALGRAM_FULL").is_some() { 1_000_000 } else { 100_000 };
    let net = Net::seed(20);
    let mut link = Link::default();
    (link.loss, link.duplicate, link.delay) = (0.05, 0.02, Duration::from_millis(15));
    (link.reorder, link.reorder_delay) = (0.05, Duration::from_millis(20));
    net.set_default(link);
    let mut dice = Chance(20);
    let mut ends = [open(&net, 0), open(&net, 1)];
    let mut done = Happened::default();
    let mut epoch = [0; 2];
    recorder::start();
    let mut round = 0_u8;
    while done.sent + ends.iter().map(|end| end.stats().datagrams_sent).sum::<u64>() < wanted {
        round = (round + 1) % 6;
        let side = round % 2;
        let (this, that) = (usize::from(side), usize::from(1 - side));
        // Both dial at once every third time; who is live already takes no notice.
        ends[this].connect().unwrap();
        if round % 3 == 0 {
            ends[that].connect().unwrap();
        }
        second(&net, &mut ends, 6, &mut dice);
        for (end, epoch) in ends.iter().zip(&mut epoch) {
            let now = end.stats().epoch_send;
            done.steps += u64::from(now > *epoch);
            *epoch = now;
        }
        match dice.below(12) {
            0 => {
                done.add(&ends[this]);
                ends[this] = open(&net, side);
                done.restarts += 1;
            }
            1 => {
                ends[this].close(1, b"");
                done.closes += 1;
            }
            2 => {
                // Long enough to end in the idle timeout, or in a second session.
                net.block(address(0), address(1));
                second(&net, &mut ends, 2, &mut dice);
                second(&net, &mut ends, 2, &mut dice);
                net.unblock(address(0), address(1));
            }
            3 => {
                // What was sealed for the old socket and had not left is sealed no second time.
                let socket = net.socket(address(side)).connect(address(1 - side));
                drop(ends[this].replace_socket(socket).unwrap());
                done.moves += 1;
            }
            _ => {}
        }
    }
    ends.iter().for_each(|end| done.add(end));
    let (pairs, repeated) = recorder::finish();
    assert_eq!(repeated, 0, "{done:?}");
    assert!(pairs as u64 >= wanted, "{pairs} seals noted, {done:?}");
    let rounds = wanted / 10_000;
    for (what, count) in [("resends", done.resends), ("blocked", done.blocked), ("steps", done.steps)] {
        assert!(count > rounds * 2, "{what}: {done:?}");
    }
    for (what, count) in [("restarts", done.restarts), ("moves", done.moves), ("closes", done.closes)] {
        assert!(count * 3 > rounds, "{what}: {done:?}");
    }
}

#[test]
fn the_recorder_finds_a_pair_that_seals_twice() {
    recorder::start();
    let key = crate::crypto::Secret::take(&mut [1; 32]);
    let seal = |nonce: u8| crate::crypto::aead::seal_in_place(&key, &[nonce; 12], &[], &mut [0; 8]).unwrap();
    let _ = (seal(1), seal(2), seal(1));
    assert_eq!(recorder::finish(), (2, 1));
}
