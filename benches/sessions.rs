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
use scenes::{
    handshakes::{Handshake, Operations, PROFILES},
    measures, median,
    pair::Pair,
    timed, typical,
};
use sealgram::{Guarantee, Session};
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

/// Does them, and nothing else.
fn bare(operations: Operations) {
    for _ in 0..operations.pairs {
        black_box(PublicKey::from(&StaticSecret::from(black_box([3; 32]))));
    }
    let other = PublicKey::from([9; 32]);
    for _ in 0..operations.agreements {
        let own = StaticSecret::from(black_box([3; 32]));
        assert!(black_box(own.diffie_hellman(black_box(&other))).was_contributory());
    }
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Of initiator and responder, in µs: the handshake, and its bare operations.
type Round = ([f64; 2], [f64; 2]);

fn handshakes(rounds: usize) {
    println!("| profile | initiator, µs | its DH | times | responder, µs | its DH | times | both, times |");
    println!("|---|---|---|---|---|---|---|---|");
    for profile in &PROFILES {
        let round = || {
            let took = Handshake::new(profile).run().map(microseconds);
            let bare = profile.operations.map(|operations| microseconds(timed(|| bare(operations)).1));
            (took, bare)
        };
        let rounds: Vec<Round> = (0..rounds).map(|_| round()).collect();
        let of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
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
