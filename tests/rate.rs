//! A narrow link under whole endpoints: how much of it they use, how long its queue gets, how they share it.

mod common;

use std::time::Duration;

use common::{Pair, here, there};
use sealgram::sim::Link;
use sealgram::{Config, Guarantee, LaneId, Rate, SendOptions, Session};

const MEGABIT: u64 = 125_000;

fn narrow() -> Link {
    let mut link = Link::default();
    link.rate = Some(MEGABIT);
    link.queue_bytes = 64 << 10;
    link.delay = Duration::from_millis(25);
    link
}

/// A 10 MiB map from the first end while it sends 100 bytes 60 times a second. Gives the share of the link used and
/// the positions' delays beyond the path's, sorted, in milliseconds.
fn map_and_positions<S: Session>(mut pair: Pair<S>, pieces: usize) -> (f64, Vec<f64>) {
    pair.connect();
    pair.run(Duration::from_secs(1));
    let piece = vec![7; 1 << 18];
    let (start, before) = (pair.net.now(), pair.net.counts(here(), there()));
    let (mut sent, mut tick) = (0, 0_u32);
    let mut delays = Vec::new();
    let mut done = 0;
    while done < pieces {
        let now = pair.net.now().duration_since(start);
        let due = Duration::from_micros(16_667) * tick;
        if now >= due {
            let mut position = [1; 100];
            position[..8].copy_from_slice(&u64::try_from(now.as_nanos()).unwrap().to_le_bytes());
            pair.a.endpoint.send_payload(Guarantee::None, &position).unwrap();
            tick += 1;
            while sent < pieces && pair.a.endpoint.send_payload(Guarantee::Delivery, &piece).is_ok() {
                sent += 1;
            }
            pair.a.endpoint.flush().unwrap();
        }
        let next = Duration::from_micros(16_667) * tick;
        pair.run_until(next.saturating_sub(now), |_, b| !b.heard.is_empty());
        let now = pair.net.now().duration_since(start);
        for (guarantee, bytes) in pair.b.heard.drain(..) {
            if guarantee == Guarantee::Delivery {
                done += 1;
            } else {
                let sent = Duration::from_nanos(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
                delays.push((now - sent).as_secs_f64() * 1e3 - 25.0);
            }
        }
        assert!(now < Duration::from_secs(600), "seed {}: {done} of {pieces}", pair.seed);
    }
    let took = pair.net.now().duration_since(start).as_secs_f64();
    let counts = pair.net.counts(here(), there());
    let datagrams = counts.sent - before.sent - (counts.overflowed - before.overflowed);
    let bytes = (counts.bytes - before.bytes) + 28 * datagrams;
    delays.sort_by(f64::total_cmp);
    (bytes as f64 / took / MEGABIT as f64, delays)
}

#[test]
fn positions_stay_quick_while_a_map_uses_the_link() {
    for seed in 1..4 {
        let (used, delays) = map_and_positions(Pair::sealed(seed, narrow(), &Config::default()), 40);
        let p99 = delays[delays.len() * 99 / 100];
        println!("seed {seed}: {used:.3} of the link used, p99 {p99:.1} ms");
        assert!(used >= 0.9, "seed {seed}: {used:.3} of the link");
        assert!(p99 < 60.0, "seed {seed}: p99 {p99:.1} ms");
    }
}

#[test]
fn loss_on_the_air_does_not_collapse_a_transfer() {
    for (loss, least) in [(0.05, 0.8), (0.2, 0.5)] {
        let mut link = narrow();
        link.loss = loss;
        let (used, delays) = map_and_positions(Pair::plain(5, link, &Config::default()), 40);
        println!("{loss}: {used:.3} of the link used, p50 {:.1} ms", delays[delays.len() / 2]);
        assert!(used >= least, "{loss}: {used:.3} of the link");
    }
}

/// Bytes per second that leave while 1 MiB waits, after the first quarter of a second.
fn rate_under(config: &Config) -> f64 {
    let mut link = Link::default();
    link.delay = Duration::from_millis(5);
    let mut pair = Pair::plain(3, link, config);
    pair.connect();
    pair.a.endpoint.send_payload(Guarantee::Delivery, &vec![1; 1 << 20]).unwrap();
    pair.run(Duration::from_millis(250));
    let before = pair.a.endpoint.stats().bytes_sent;
    pair.run(Duration::from_millis(500));
    (pair.a.endpoint.stats().bytes_sent - before) as f64 * 2.0
}

#[test]
fn a_fixed_rate_is_kept() {
    let mut config = Config::default();
    config.rate = Rate::Fixed(200_000);
    let rate = rate_under(&config);
    assert!((180_000.0..=205_000.0).contains(&rate), "{rate}");
}

#[test]
fn without_a_rate_only_the_flight_counts() {
    let mut config = Config::default();
    config.rate = Rate::Off;
    let mut link = Link::default();
    link.delay = Duration::from_millis(5);
    let mut pair = Pair::plain(3, link, &config);
    pair.connect();
    pair.a.endpoint.send_payload(Guarantee::Delivery, &vec![1; 1 << 20]).unwrap();
    let done = pair.run_until(Duration::from_millis(100), |_, b| !b.heard.is_empty());
    assert!(done, "seed {}", pair.seed);
}

/// Bulk over the narrow link, which is dead from 20 s on for so long. All of it arrives, and what leaves afterwards
/// leaves at the pace that the link took before.
fn survive<S: Session>(name: &str, dark: u64, mut pair: Pair<S>) {
    let back = Duration::from_secs(20 + dark);
    pair.connect();
    let (mut sent, mut before, mut most) = (0_u32, 0, 0);
    // The back-off of the probes is what the last seconds are for.
    while pair.net.elapsed() < back + Duration::from_secs(4) {
        while pair.a.endpoint.queued_bytes() < 256 << 10 {
            pair.a.endpoint.send_payload(Guarantee::Delivery, &sent.to_le_bytes().repeat(5_000)).unwrap();
            sent += 1;
        }
        pair.run(Duration::from_millis(100));
        let bytes = pair.net.counts(here(), there()).bytes;
        if pair.net.elapsed() >= back {
            most = most.max(bytes - before);
        }
        before = bytes;
    }
    assert_eq!(pair.net.counts(here(), there()).overflowed, 0, "{name}, {dark} s");
    println!("{name}, {dark} s: at most {most} bytes in 100 ms");
    assert!(most < 2 * MEGABIT / 10 + 12_000, "{name}, {dark} s: {most} bytes in 100 ms");
    let empty = |a: &mut common::End<_>, _: &mut _| a.endpoint.queued_messages() == 0;
    assert!(
        pair.run_until(Duration::from_secs(60), empty),
        "{name}, {dark} s: {} of {sent}",
        pair.b.heard.len()
    );
    let heard = pair.b.heard.iter().map(|(_, bytes)| u32::from_le_bytes(bytes[..4].try_into().unwrap()));
    assert!(heard.eq(0..sent), "{name}, {dark} s: {} of {sent}", pair.b.heard.len());
}

#[test]
fn a_dead_link_costs_no_message_and_is_followed_by_no_burst() {
    for dark in [3, 10, 25, 60] {
        let mut config = Config::default();
        config.idle_timeout = Duration::from_secs(if dark > 25 { 90 } else { 30 });
        let mut link = narrow();
        link.blackouts = vec![Duration::from_secs(20)..Duration::from_secs(20 + dark)];
        survive("plain", dark, Pair::plain(9, link.clone(), &config));
        survive("sealed", dark, Pair::sealed(9, link, &config));
    }
}

/// A map over the narrow link, so many seconds later a game over a path that takes much and loses a lot. Gives the first
/// tick of which something had to wait, if there was one.
fn game_after_a_map(seed: u64, map: usize, later: u64) -> Option<u32> {
    let mut pair = Pair::sealed(seed, narrow(), &Config::default());
    pair.connect();
    pair.a.endpoint.send_payload(Guarantee::Delivery, &vec![7; map]).unwrap();
    assert!(pair.run_until(Duration::from_secs(30), |_, b| !b.heard.is_empty()), "seed {seed}");
    pair.run(Duration::from_secs(later));
    let mut link = Link::default();
    (link.delay, link.loss) = (Duration::from_millis(25), 0.2);
    pair.net.set_links(here(), there(), link);
    for tick in 0..1_800_u32 {
        // Half of what the narrow link took.
        pair.a.endpoint.send_payload(Guarantee::Order, &[7; 600]).unwrap();
        for _ in 0..3 {
            pair.a.endpoint.send_payload(Guarantee::None, &tick.to_le_bytes().repeat(25)).unwrap();
        }
        pair.a.endpoint.flush().unwrap();
        pair.a.step();
        if pair.a.endpoint.stats().unsent_bytes > 0 {
            return Some(tick);
        }
        pair.run(Duration::from_micros(16_667));
    }
    None
}

#[test]
fn a_game_does_not_notice_the_rate_control_after_a_map() {
    // The map ends with a window and a queue of its own, in every phase of the rate control.
    let waited: Vec<_> = (0..40_u32)
        .filter_map(|seed| {
            let (map, later) = ((1 << 19) + seed as usize * 9_001, u64::from(1 + seed % 5 * 2));
            game_after_a_map(seed.into(), map, later).map(|tick| (seed, tick))
        })
        .collect();
    assert!(waited.is_empty(), "seeds and ticks: {waited:?}");
}

#[test]
fn what_expires_soon_leaves_before_a_map_of_the_same_priority() {
    let mut pair = Pair::sealed(6, narrow(), &Config::default());
    pair.connect();
    let map = SendOptions::new(Guarantee::Delivery).lane(LaneId(1));
    let shot = SendOptions::new(Guarantee::None).lane(LaneId(2)).expires(Duration::from_millis(95));
    for _ in 0..3 {
        pair.a.endpoint.send_payload(map, &vec![7; 1 << 20]).unwrap();
    }
    pair.a.endpoint.flush().unwrap();
    pair.run(Duration::from_secs(4));
    // By turns each lane would get half of the link: 8,000 bytes in 128 ms.
    for _ in 0..10 {
        for _ in 0..8 {
            pair.a.endpoint.send_payload(shot, &[1; 1_000]).unwrap();
        }
        pair.a.endpoint.flush().unwrap();
        pair.run(Duration::from_millis(1_500));
    }
    let shots = pair.b.heard_as(Guarantee::None).len();
    assert!(shots >= 78, "{shots} of 80");
}
