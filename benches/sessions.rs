//! What two endpoints in memory cost: a message from `send_payload` to `recv`, and a handshake.
//!
//! `cargo bench --bench sessions` prints two tables first. Handshakes: each takes turns with the Diffie-Hellman operations
//! that its profile needs, so that both meet the same machine, and the ratio is the median of those of the rounds.
//! Messages: both ends, the sockets in memory and the acknowledgements included; medians of short rounds. Then come the
//! usual measurements of the messages.

#[path = "scenes/mod.rs"]
mod scenes;

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use scenes::{clock, key, measures, median, pair::Pair, timed, typical};
use sealgram::{
    Config, Credentials, Guarantee, Invite, MemorySocket, Psk, SealedEndpoint, Session, Trust, memory_pair,
};
use x25519_dalek::{PublicKey, StaticSecret};

/// Lengths of messages in bytes: an input, and what nearly fills a datagram.
const SIZES: [usize; 2] = [64, 1_024];
/// Messages sent at once: one, which has its datagram to itself, and several, which share datagrams if they are small.
const COUNTS: [usize; 2] = [1, 8];

const GUARANTEES: [Guarantee; 3] = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];

fn table<S: Session>(name: &str, mut pair: Pair<S>, rounds: usize) {
    for (guarantee, size) in GUARANTEES.into_iter().flat_map(|guarantee| SIZES.map(|size| (guarantee, size)))
    {
        let bytes = vec![7; size];
        print!("| {name} | {guarantee:?} | {size} |");
        for count in COUNTS {
            let ns = typical(rounds, || (timed(|| pair.turn(guarantee, black_box(&bytes), count)).1, count));
            print!(" {ns:.0} | {:.0} |", 1e9 / ns);
        }
        println!();
    }
}

fn tables(rounds: usize) {
    println!("| | guarantee | bytes | ns a message, alone | messages/s | ns a message, of 8 | messages/s |");
    println!("|---|---|---|---|---|---|---|");
    table("sealed", Pair::sealed(), rounds);
    table("plain", Pair::plain(), rounds);
    println!();
}

fn messages<S: Session>(c: &mut Criterion, name: &str, mut pair: Pair<S>) {
    let mut group = c.benchmark_group(name);
    for guarantee in GUARANTEES {
        for (size, count) in SIZES.into_iter().flat_map(|size| COUNTS.map(|count| (size, count))) {
            let bytes = vec![7; size];
            group.throughput(Throughput::Elements(count.try_into().expect("a small number")));
            let id = BenchmarkId::new(format!("{guarantee:?}, {count} at once"), size);
            group.bench_function(id, |b| b.iter(|| pair.turn(guarantee, black_box(&bytes), count)));
        }
    }
    group.finish();
}

fn sealed(c: &mut Criterion) {
    messages(c, "sealed", Pair::sealed());
}

fn plain(c: &mut Criterion) {
    messages(c, "plain", Pair::plain());
}

/// Diffie-Hellman operations of one side: fresh key pairs, and agreements. What two static keys share is computed with
/// the credentials, where both are known.
#[derive(Clone, Copy)]
struct Operations {
    pairs: u32,
    agreements: u32,
}

const fn operations(agreements: u32) -> Operations {
    Operations { pairs: 1, agreements }
}

impl Operations {
    /// Does them, and nothing else.
    fn run(self) {
        for _ in 0..self.pairs {
            black_box(PublicKey::from(&StaticSecret::from(black_box([3; 32]))));
        }
        let other = PublicKey::from([9; 32]);
        for _ in 0..self.agreements {
            let own = StaticSecret::from(black_box([3; 32]));
            assert!(black_box(own.diffie_hellman(black_box(&other))).was_contributory());
        }
    }
}

struct Profile {
    name: &'static str,
    credentials: fn() -> [Credentials; 2],
    /// Initiator and responder.
    operations: [Operations; 2],
}

fn psk() -> Psk {
    Psk::from_bytes([4; 32])
}

fn invite() -> Invite {
    Invite::from_bytes([5; 32])
}

fn paired(own: u32, other: u32) -> Credentials {
    Credentials::paired(&key(own), key(other).public_key()).expect("two keys")
}

fn paired_psk(own: u32, other: u32) -> Credentials {
    Credentials::paired_psk(&key(own), key(other).public_key(), &psk()).expect("two keys")
}

/// KK, KKpsk2, NNpsk0, XXpsk3, XX, NK, IK, IKpsk2. PROTOCOL.md, "Profiles".
const PROFILES: [Profile; 8] = [
    Profile {
        name: "paired",
        credentials: || [paired(1, 2), paired(2, 1)],
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "paired, PSK",
        credentials: || [paired_psk(1, 2), paired_psk(2, 1)],
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "invite",
        credentials: || [Credentials::invite(&invite()), Credentials::invite(&invite())],
        operations: [operations(1), operations(1)],
    },
    Profile {
        name: "invite, TOFU",
        credentials: || [1, 2].map(|own| Credentials::invite_tofu(&key(own), &invite(), Trust::Anyone)),
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "TOFU",
        credentials: || [1, 2].map(|own| Credentials::tofu(&key(own), Trust::Anyone)),
        operations: [operations(3), operations(3)],
    },
    Profile {
        name: "client",
        credentials: || [Credentials::client(key(2).public_key()), Credentials::server(&key(2))],
        operations: [operations(2), operations(2)],
    },
    Profile {
        name: "client, key",
        credentials: || {
            let client = Credentials::client_auth(&key(1), key(2).public_key()).expect("two keys");
            [client, Credentials::server_auth(&key(2), Trust::Anyone)]
        },
        operations: [operations(3), operations(4)],
    },
    Profile {
        name: "client, key, PSK",
        credentials: || {
            let client =
                Credentials::client_auth_psk(&key(1), key(2).public_key(), &psk()).expect("two keys");
            [client, Credentials::server_auth_psk(&key(2), &psk(), Trust::Anyone)]
        },
        operations: [operations(3), operations(4)],
    },
];

/// What an endpoint has to do now.
fn step(endpoint: &mut SealedEndpoint<MemorySocket>) {
    while endpoint.recv().expect("a session").is_some() {}
    endpoint.maintain().expect("a session");
}

/// From `connect` until both are connected: what initiator and responder took.
fn handshake(profile: &Profile) -> [Duration; 2] {
    let (clock, (here, there)) = (clock(), memory_pair());
    let [first, second] = (profile.credentials)();
    let end = |socket, credentials, node| {
        SealedEndpoint::with_environment(socket, credentials, Config::default(), clock.environment(node))
            .expect("a good configuration")
    };
    let (mut initiator, mut responder) = (end(here, first, 1), end(there, second, 2));
    let mut took = [timed(|| initiator.connect().expect("a first call")).1, Duration::ZERO];
    for _ in 0..10 {
        took[1] += timed(|| step(&mut responder)).1;
        took[0] += timed(|| step(&mut initiator)).1;
        if initiator.is_connected() && responder.is_connected() {
            return took;
        }
        clock.advance();
    }
    panic!("{}: no session", profile.name);
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn handshakes(rounds: usize) {
    println!("| profile | initiator, µs | its DH | times | responder, µs | its DH | times | both, times |");
    println!("|---|---|---|---|---|---|---|---|");
    for profile in &PROFILES {
        let round = || {
            let took = handshake(profile).map(microseconds);
            let bare = profile.operations.map(|operations| microseconds(timed(|| operations.run()).1));
            (took, bare)
        };
        let rounds: Vec<_> = (0..rounds).map(|_| round()).collect();
        let of = |value: &dyn Fn(&([f64; 2], [f64; 2])) -> f64| median(rounds.iter().map(value).collect());
        print!("| {} |", profile.name);
        for side in [0, 1] {
            let (took, bare) = (of(&|(took, _)| took[side]), of(&|(_, bare)| bare[side]));
            print!(" {took:.0} | {bare:.0} | {:.2} |", of(&|(took, bare)| took[side] / bare[side]));
        }
        let both = of(&|(took, bare)| took.iter().sum::<f64>() / bare.iter().sum::<f64>());
        println!(" {both:.2} |");
    }
    println!();
}

criterion_group!(benches, sealed, plain);

fn main() {
    let measures = measures();
    handshakes(if measures { 500 } else { 1 });
    tables(if measures { 5_000 } else { 1 });
    benches();
    Criterion::default().configure_from_args().final_summary();
}
