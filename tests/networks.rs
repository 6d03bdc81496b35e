//! A short game over every named network, in virtual time: what was promised holds on each, and a seed repeats a run
//! byte for byte.

mod common;

use std::time::Duration;

use common::{Pair, here, there};
use sealgram::sim::Link;
use sealgram::{Config, Guarantee, Session};

/// A named network.
type Network = (&'static str, fn() -> Link);

const NETWORKS: [Network; 6] = [
    ("lan", Link::lan),
    ("wifi", Link::wifi),
    ("lte_good", Link::lte_good),
    ("lte_bad", Link::lte_bad),
    ("satellite", Link::satellite),
    ("conference", Link::conference),
];

/// Ten seconds at 60 Hz from the first end to the second, one message of each guarantee per tick.
fn play<S: Session>(mut pair: Pair<S>, name: &str) -> u64 {
    pair.connect();
    for tick in 0..600_u32 {
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            pair.a.endpoint.send_payload(guarantee, &tick.to_le_bytes()).unwrap();
        }
        pair.a.endpoint.flush().unwrap();
        pair.run(Duration::from_micros(16_667));
    }
    let all_there =
        pair.run_until(Duration::from_secs(10), |_, b| b.heard_as(Guarantee::Delivery).len() >= 600);
    let seed = pair.seed;
    assert!(all_there, "{name}, seed {seed}: {} of 600", pair.b.heard_as(Guarantee::Delivery).len());
    let numbers = |guarantee| {
        let heard = pair.b.heard_as(guarantee).into_iter();
        heard.map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(numbers(Guarantee::Delivery), (0..600).collect::<Vec<_>>(), "{name}, seed {seed}");
    assert!(numbers(Guarantee::Order).windows(2).all(|two| two[0] < two[1]), "{name}, seed {seed}: Order");
    let mut none = numbers(Guarantee::None);
    let heard = none.len();
    none.sort_unstable();
    none.dedup();
    assert_eq!(none.len(), heard, "{name}, seed {seed}: a None came twice");
    let counts = pair.net.counts(here(), there());
    assert!(heard as u64 * 10 > 600 * 8, "{name}, seed {seed}: {heard} None of 600, {counts:?}");
    pair.net.trace_hash()
}

#[test]
fn plain_promises_hold_on_every_network_and_a_seed_repeats_a_run() {
    for (name, link) in NETWORKS {
        let run = || play(Pair::plain(11, link(), &Config::default()), name);
        assert_eq!(run(), run(), "{name}");
    }
}

#[test]
fn sealed_promises_hold_on_every_network_and_a_seed_repeats_a_run() {
    for (name, link) in NETWORKS {
        let run = || play(Pair::sealed(11, link(), &Config::default()), name);
        assert_eq!(run(), run(), "{name}");
    }
}
