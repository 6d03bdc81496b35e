//! States larger than a datagram, sent as `Order` or `None` and never wholly resent: what a parity among their pieces
//! is worth, what it costs, and that it never makes a wrong message. Both directions take 25±5 ms.

mod common;

use std::time::{Duration, Instant};

use common::{End, Pair, here, there};
use proptest::prelude::*;
use sealgram::sim::{Jitter, Link};
use sealgram::{Config, Event, Guarantee, Outcome, Plain, Sealed, SendOptions, Session, Stats};

const MS: fn(u64) -> Duration = Duration::from_millis;
/// IPv4 and UDP headers, bytes.
const HEADERS: u64 = 28;

fn link(loss: f64) -> Link {
    let mut link = Link::default();
    (link.loss, link.delay, link.jitter, link.overtake) = (loss, MS(25), Jitter::Uniform(MS(5)), true);
    link
}

/// Bytes that no two states share in long stretches.
fn state(number: u32, len: usize) -> Vec<u8> {
    let mix = |at: u32| (at ^ number.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b).to_le_bytes()[3];
    let mut bytes: Vec<u8> = (0..u32::try_from(len).unwrap()).map(mix).collect();
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// What came of a flow of states.
#[derive(Debug)]
struct Row {
    /// Share that was yielded within 100 ms, and at all.
    in_time: f64,
    share: f64,
    /// Of both directions, with headers.
    wire_bytes: u64,
    sender: Stats,
    receiver: Stats,
}

/// Sends `count` states of `len` bytes at so many a second.
fn flow(seed: u64, loss: f64, options: SendOptions, (count, per_second): (u32, u32), len: usize) -> Row {
    let mut pair: Pair<Sealed> = Pair::sealed(seed, link(0.0), &Config::default());
    pair.connect();
    pair.run(MS(500));
    pair.net.set_links(here(), there(), link(loss));
    let wire = |pair: &Pair<Sealed>| -> u64 {
        let counts = [pair.net.counts(here(), there()), pair.net.counts(there(), here())];
        counts.iter().map(|count| count.bytes + count.sent * HEADERS).sum()
    };
    let before = wire(&pair);
    let began = pair.net.now();
    let sent_at = |number: u32| began + Duration::from_secs(1) / per_second * number;
    let (mut in_time, mut came) = (0, 0);
    let mut take = |now: Instant, end: &mut End<Sealed>| {
        for (_, bytes) in end.heard.drain(..) {
            let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
            assert!(bytes == state(number, len), "seed {seed}: state {number} is not what was sent");
            came += 1;
            in_time += u32::from(now <= sent_at(number) + MS(100));
        }
    };
    for number in 0..count {
        pair.a.endpoint.send_payload(options, &state(number, len)).unwrap();
        pair.a.endpoint.flush().unwrap();
        let net = pair.net.clone();
        let until = sent_at(number + 1).saturating_duration_since(pair.net.now());
        pair.run_until(until, |_, b| {
            take(net.now(), b);
            false
        });
    }
    let net = pair.net.clone();
    pair.run_until(MS(3_000), |_, b| {
        take(net.now(), b);
        false
    });
    let of_all = |part: u32| f64::from(part) / f64::from(count);
    Row {
        in_time: of_all(in_time),
        share: of_all(came),
        wire_bytes: wire(&pair) - before,
        sender: pair.a.endpoint.stats(),
        receiver: pair.b.endpoint.stats(),
    }
}

fn order() -> SendOptions {
    SendOptions::new(Guarantee::Order)
}

fn print(name: &str, row: &Row, bare: u64) {
    println!(
        "{name:<28} in time {:6.2} %  in all {:6.2} %  wire {:.3}  parities {}  restored {}  unneeded {}  resends {}",
        row.in_time * 100.0,
        row.share * 100.0,
        row.wire_bytes as f64 / bare as f64,
        row.sender.parities_sent,
        row.receiver.restored_pieces,
        row.receiver.unneeded_parities,
        row.sender.resends,
    );
}

/// 4,000 bytes as `Order` at 20 Hz, the row that parity is for.
#[test]
fn a_state_in_several_datagrams_survives_the_loss_of_one() {
    let bare = flow(1, 0.0, order(), (5_000, 20), 4_000).wire_bytes;
    let with = flow(2, 0.02, order().parity(), (5_000, 20), 4_000);
    let without = flow(2, 0.02, order(), (5_000, 20), 4_000);
    print("2 % lost", &without, bare);
    print("parity, 2 % lost", &with, bare);
    let ratio = with.wire_bytes as f64 / bare as f64;
    assert!(with.in_time >= 0.99, "{with:?}");
    assert!(ratio <= 1.25, "{ratio}");
    assert!(without.in_time < 0.95, "{without:?}");
}

/// `cargo test --release --test large_states table -- --nocapture --include-ignored` prints what each choice does.
#[test]
#[ignore = "a table for people"]
fn table() {
    for (len, per_second) in [(4_000, 20), (1_500, 20), (16_000, 5), (60_000, 5)] {
        let bare = flow(1, 0.0, order(), (2_000, per_second), len).wire_bytes;
        for loss in [0.0, 0.02, 0.05] {
            println!("{len} bytes, {per_second} Hz, {} % lost", loss * 100.0);
            for (name, options) in [
                ("Order", order()),
                ("Order, parity", order().parity()),
                ("None", SendOptions::new(Guarantee::None)),
                ("None, parity", SendOptions::new(Guarantee::None).parity()),
                ("Order, 2 copies", order().copies(2, Duration::ZERO)),
            ] {
                print(name, &flow(2, loss, options, (2_000, per_second), len), bare);
            }
        }
    }
}
