//! A flow of states larger than a datagram, and what came of it: for the tests of them and for the benchmark that prints a
//! table. Both directions take 25±5 ms.

use std::time::{Duration, Instant};

use sealgram::sim::{Jitter, Link};
use sealgram::{Config, Guarantee, Sealed, SendOptions, Stats};

use crate::common::{End, Pair, here, there};

pub(crate) const MS: fn(u64) -> Duration = Duration::from_millis;
/// IPv4 and UDP headers, bytes.
const HEADERS: u64 = 28;

pub(crate) fn link(loss: f64) -> Link {
    let mut link = Link::default();
    (link.loss, link.delay, link.jitter, link.overtake) = (loss, MS(25), Jitter::Uniform(MS(5)), true);
    link
}

/// Bytes that no two states share in long stretches.
pub(crate) fn state(number: u32, len: usize) -> Vec<u8> {
    let mix = |at: u32| (at ^ number.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b).to_le_bytes()[3];
    let mut bytes: Vec<u8> = (0..u32::try_from(len).unwrap()).map(mix).collect();
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// What came of a flow of states.
#[derive(Debug)]
pub(crate) struct Row {
    /// Share that was yielded within 100 ms, and at all.
    pub(crate) in_time: f64,
    pub(crate) share: f64,
    /// Of both directions, with headers.
    pub(crate) wire_bytes: u64,
    pub(crate) sender: Stats,
    pub(crate) receiver: Stats,
}

/// Sends `count` states of `len` bytes at so many a second; datagrams may overtake each other.
pub(crate) fn flow(seed: u64, loss: f64, options: SendOptions, pace: (u32, u32), len: usize) -> Row {
    flow_over(&link(loss), seed, options, pace, len)
}

pub(crate) fn flow_over(
    link_under_test: &Link,
    seed: u64,
    options: SendOptions,
    (count, per_second): (u32, u32),
    len: usize,
) -> Row {
    let mut pair: Pair<Sealed> = Pair::sealed(seed, link(0.0), &Config::default());
    pair.connect();
    pair.run(MS(500));
    pair.net.set_links(here(), there(), link_under_test.clone());
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

pub(crate) fn order() -> SendOptions {
    SendOptions::new(Guarantee::Order)
}

pub(crate) fn print(name: &str, row: &Row, bare: u64) {
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
