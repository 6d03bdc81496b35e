//! The size of datagrams follows the path, upwards by looking and downwards without being told; nothing is lost by it.

mod common;

use std::time::Duration;

use common::{Pair, here, there};
use sealgram::sim::Link;
use sealgram::{Config, Guarantee, Padding, Session};

fn path(mtu: usize) -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(20);
    link.mtu = Some(mtu);
    link.rate = Some(500_000);
    link.queue_bytes = 128 << 10;
    link
}

/// Sends a megabyte in messages of some thousand bytes; how long until all of it has arrived, in order.
fn transfer<S: Session>(pair: &mut Pair<S>) -> Duration {
    let start = pair.net.now();
    pair.b.heard.clear();
    for n in 0..200_u32 {
        let mut bytes = vec![9; 5_000];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        pair.a.endpoint.send_payload(Guarantee::Delivery, &bytes).unwrap();
    }
    let done = pair.run_until(Duration::from_secs(60), |_, b| b.heard.len() == 200);
    assert!(done, "seed {}: {} of 200", pair.seed, pair.b.heard.len());
    for (n, (_, bytes)) in (0_u32..).zip(&pair.b.heard) {
        assert_eq!(bytes[..4], n.to_le_bytes(), "seed {}", pair.seed);
    }
    pair.net.now() - start
}

#[test]
fn the_size_grows_to_what_the_path_takes() {
    for (mtu, least, most) in [(1_500, 1_452, 1_452), (1_400, 1_352, 1_372), (1_280, 1_232, 1_252)] {
        let mut pair = Pair::sealed(3, path(mtu), &Config::default());
        pair.connect();
        assert_eq!(pair.a.endpoint.stats().mtu, 1_200);
        for _ in 0..4 {
            transfer(&mut pair);
        }
        let stats = pair.a.endpoint.stats();
        assert!((least..=most).contains(&stats.mtu), "{mtu}: {}", stats.mtu);
        assert_eq!((stats.min_mtu, stats.resends), (1_200, 0), "{mtu}: looking disturbs no data");
    }
}

#[test]
fn a_path_that_shrinks_without_a_word_recovers_in_five_seconds() {
    for seed in 0..5 {
        let mut pair = Pair::sealed(seed, path(1_500), &Config::default());
        pair.connect();
        transfer(&mut pair);
        assert_eq!(pair.a.endpoint.stats().mtu, 1_452);
        let undisturbed = transfer(&mut pair);
        for _ in 0..100 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &[1; 5_000]).unwrap();
        }
        pair.run(Duration::from_millis(150));
        pair.net.set_links(here(), there(), path(1_280));
        let rest = pair.run_until(Duration::from_secs(30), |_, b| b.heard.len() == 300);
        assert!(rest, "seed {seed}: {}", pair.b.heard.len());
        let took = transfer(&mut pair);
        assert!(took < undisturbed + Duration::from_secs(3), "seed {seed}: {took:?}, {undisturbed:?}");
        assert!(pair.a.endpoint.stats().mtu <= 1_252);
    }
}

#[test]
fn small_messages_between_large_ones_do_not_hide_a_narrow_path() {
    let mut pair = Pair::plain(4, path(1_500), &Config::default());
    pair.connect();
    transfer(&mut pair);
    assert_eq!(pair.a.endpoint.stats().mtu, 1_452);
    pair.net.set_links(here(), there(), path(1_280));
    let start = pair.net.now();
    pair.b.heard.clear();
    for _ in 0..60 {
        pair.a.endpoint.send_payload(Guarantee::None, &[2; 50]).unwrap();
        pair.a.endpoint.flush().unwrap();
        pair.a.endpoint.send_payload(Guarantee::Delivery, &[3; 4_000]).unwrap();
        pair.run(Duration::from_millis(50));
    }
    let all = |_: &mut _, b: &mut common::End<_>| b.heard_as(Guarantee::Delivery).len() == 60;
    assert!(pair.run_until(Duration::from_secs(5), all), "{}", pair.b.heard_as(Guarantee::Delivery).len());
    assert!(pair.net.now() - start < Duration::from_secs(5));
}

#[test]
fn padding_never_makes_a_datagram_larger_than_the_path_takes() {
    let mut config = Config::default();
    config.padding = Padding::ToSize(1_452);
    let mut pair = Pair::sealed(6, path(1_280), &config);
    pair.connect();
    let before = pair.net.counts(here(), there());
    pair.a.endpoint.send_payload(Guarantee::Delivery, b"short").unwrap();
    assert!(pair.run_until(Duration::from_secs(1), |_, b| !b.heard.is_empty()));
    assert_eq!(pair.net.counts(here(), there()).too_large, before.too_large);
}

#[test]
fn an_idle_session_does_not_look() {
    let mut pair = Pair::plain(7, path(1_500), &Config::default());
    pair.connect();
    pair.net.record(true);
    for _ in 0..60 {
        pair.a.endpoint.send_payload(Guarantee::Delivery, &[1; 100]).unwrap();
        pair.run(Duration::from_millis(500));
    }
    assert!(pair.net.captured().iter().all(|datagram| datagram.bytes.len() < 400));
}
