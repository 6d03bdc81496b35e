//! What the network promises, judged by its own ground truth.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_core::TryRng;

use super::{Burst, Jitter, Link, Nat, Net, Verdict};
use crate::UdpLike;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn here() -> SocketAddr {
    ([10, 0, 0, 1], 1000).into()
}

fn there() -> SocketAddr {
    ([10, 0, 0, 2], 2000).into()
}

/// What arrives at `there` of `count` datagrams of `len` bytes sent every `every`: (time of arrival, number).
fn arrivals(net: &Net, count: u32, len: usize, every: Duration) -> Vec<(Duration, u32)> {
    let (sender, receiver) = (net.socket(here()), net.socket(there()));
    let (mut got, mut buffer) = (Vec::new(), [0; 2048]);
    let mut take = || {
        while let Ok((_, from)) = receiver.recv_from(&mut buffer) {
            assert_eq!(from, here());
            got.push((net.elapsed(), u32::from_le_bytes(buffer[..4].try_into().unwrap())));
        }
    };
    for number in 0..count {
        let mut bytes = vec![0; len];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        sender.send_to(&bytes, there()).unwrap();
        let next = net.now() + every;
        while net.advance_to_next_or(next) < next {
            take();
        }
        take();
    }
    while net.advance_to_next().is_some() {
        take();
    }
    got
}

fn with(change: impl FnOnce(&mut Link)) -> Net {
    let net = Net::seed(1);
    let mut link = Link::default();
    change(&mut link);
    net.set_default(link);
    net
}

fn profiles() -> [(&'static str, Link); 6] {
    [
        ("lan", Link::lan()),
        ("wifi", Link::wifi()),
        ("lte_good", Link::lte_good()),
        ("lte_bad", Link::lte_bad()),
        ("satellite", Link::satellite()),
        ("conference", Link::conference()),
    ]
}

#[test]
fn same_seed_gives_the_same_trace_and_another_seed_another() {
    let run = |seed| {
        let net = Net::seed(seed);
        let mut link = Link::conference();
        link.corrupt = 0.05;
        net.set_default(link);
        let got = arrivals(&net, 2_000, 100, MS(5));
        (net.trace_hash(), got, net.counts(here(), there()))
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

#[test]
fn the_trace_is_the_same_on_every_machine() {
    let net = Net::seed(42);
    net.set_default(Link::lte_bad());
    arrivals(&net, 1_000, 60, MS(16));
    assert_eq!(net.trace_hash(), FROZEN_TRACE, "{:#x}", net.trace_hash());
}

const FROZEN_TRACE: u64 = 0x545e_82b5_0101_59a5;

#[test]
fn a_default_link_loses_delays_and_changes_nothing() {
    let net = Net::seed(1);
    let got = arrivals(&net, 100, 50, MS(1));
    let want: Vec<_> = (0..100).map(|n| (MS(u64::from(n)), n)).collect();
    // A datagram without delay is there at once; `arrivals` looks after the first step.
    assert_eq!(
        got.iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        want.iter().map(|(_, n)| *n).collect::<Vec<_>>()
    );
    let counts = net.counts(here(), there());
    assert_eq!((counts.sent, counts.delivered, counts.bytes), (100, 100, 5_000));
    assert_eq!(counts.lost + counts.duplicated + counts.reordered + counts.corrupted + counts.refused, 0);
}

#[test]
fn independent_loss_and_duplication_keep_their_rates() {
    let net = with(|link| (link.loss, link.duplicate) = (0.2, 0.1));
    let got = arrivals(&net, 20_000, 20, MS(1));
    let counts = net.counts(here(), there());
    assert!((3_700..4_300).contains(&counts.lost), "{counts:?}");
    assert!((1_400..1_800).contains(&counts.duplicated), "{counts:?}");
    assert_eq!(got.len() as u64, counts.delivered);
    assert_eq!(counts.delivered, counts.sent - counts.lost + counts.duplicated);
}

#[test]
fn one_property_of_a_link_does_not_change_the_chances_of_another() {
    let lost = |duplicate, corrupt| {
        let net = with(|link| (link.loss, link.duplicate, link.corrupt) = (0.3, duplicate, corrupt));
        let mut numbers: Vec<_> = arrivals(&net, 500, 20, MS(1)).into_iter().map(|(at, _)| at).collect();
        numbers.dedup();
        numbers
    };
    assert_eq!(lost(0.0, 0.0), lost(0.5, 0.5));
}

#[test]
fn burst_loss_has_its_mean_rate_and_comes_in_runs() {
    // Bad for 50 ms in every 500 ms on average: a tenth of the time, and then all is lost.
    let net = with(|link| link.burst = Some(Burst { good: MS(450), bad: MS(50), loss: 1.0 }));
    let got = arrivals(&net, 200_000, 20, MS(1));
    let counts = net.counts(here(), there());
    assert!((17_000..23_000).contains(&counts.lost), "{counts:?}");
    let runs = got.windows(2).filter(|pair| pair[1].1 > pair[0].1 + 1).count() as u64;
    let mean = counts.lost / runs;
    assert!((40..62).contains(&mean), "mean run {mean}");
}

#[test]
fn burst_states_do_not_depend_on_what_is_sent() {
    let lost_at = |every: u64| {
        let net = with(|link| link.burst = Some(Burst { good: MS(300), bad: MS(100), loss: 1.0 }));
        let count = u32::try_from(10_000 / every).unwrap();
        let got: Vec<_> =
            arrivals(&net, count, 20, MS(every)).into_iter().map(|(_, n)| u64::from(n) * every).collect();
        (0..10_000).step_by(20).filter(|at| !got.contains(at)).collect::<Vec<_>>()
    };
    assert_eq!(lost_at(2), lost_at(20));
}

#[test]
fn jitter_keeps_the_order_unless_it_may_overtake() {
    for (overtake, jitter) in [
        (false, Jitter::Uniform(MS(10))),
        (true, Jitter::Uniform(MS(10))),
        (false, Jitter::Skewed { mean: MS(5), max: MS(100) }),
    ] {
        let net = with(|link| (link.delay, link.jitter, link.overtake) = (MS(25), jitter, overtake));
        let got = arrivals(&net, 2_000, 20, MS(1));
        assert_eq!(got.len(), 2_000);
        let reordered = net.counts(here(), there()).reordered;
        assert_eq!(got.is_sorted_by_key(|(_, n)| *n), !overtake);
        assert_eq!(reordered > 0, overtake);
    }
}

#[test]
fn uniform_jitter_stays_within_its_bounds_and_skewed_jitter_has_a_tail() {
    let delays = |jitter| {
        let net = with(|link| (link.delay, link.jitter) = (MS(25), jitter));
        let got = arrivals(&net, 4_000, 20, MS(200));
        let mut delays: Vec<_> = got.iter().map(|(at, n)| *at - MS(200) * *n).collect();
        delays.sort_unstable();
        delays
    };
    let uniform = delays(Jitter::Uniform(MS(5)));
    assert!(uniform[0] >= MS(20) && uniform[3_999] <= MS(30));
    assert!((MS(24)..MS(26)).contains(&uniform[2_000]));
    let skewed = delays(Jitter::Skewed { mean: MS(10), max: MS(60) });
    assert!(skewed[0] >= MS(25) && skewed[3_999] <= MS(85));
    let (middle, high) = (skewed[2_000] - MS(25), skewed[3_960] - MS(25));
    assert!((MS(6)..MS(8)).contains(&middle), "median {middle:?} of an exponential with mean 10 ms");
    assert!((MS(40)..MS(53)).contains(&high), "p99 {high:?}");
}

#[test]
fn reordered_datagrams_are_overtaken() {
    let net = with(|link| (link.delay, link.reorder, link.reorder_delay) = (MS(10), 0.1, MS(5)));
    let got = arrivals(&net, 10_000, 20, MS(1));
    let counts = net.counts(here(), there());
    assert_eq!(got.len(), 10_000);
    assert!((800..1_100).contains(&counts.reordered), "{counts:?}");
}

#[test]
fn corruption_flips_one_to_eight_bits_of_the_copy_that_arrives() {
    let net = with(|link| link.corrupt = 0.5);
    let (sender, receiver) = (net.socket(here()), net.socket(there()));
    let mut buffer = [0; 100];
    let mut harmed = 0;
    for _ in 0..1_000 {
        sender.send_to(&[0; 40], there()).unwrap();
        assert_eq!(receiver.recv_from(&mut buffer).unwrap().0, 40);
        let flipped: u32 = buffer[..40].iter().map(|byte| byte.count_ones()).sum();
        assert!(flipped <= 8);
        harmed += u64::from(flipped > 0);
    }
    assert_eq!(harmed, net.counts(here(), there()).corrupted);
    assert!((430..570).contains(&harmed));
}

#[test]
fn bandwidth_spaces_datagrams_and_a_full_queue_drops() {
    // 100 bytes with headers at 10,000 bytes per second: 10 ms each.
    let net = with(|link| (link.rate, link.queue_bytes, link.delay) = (Some(10_000), 1_000, MS(3)));
    let got = arrivals(&net, 50, 72, Duration::ZERO);
    let counts = net.counts(here(), there());
    assert_eq!((counts.overflowed, got.len()), (40, 10));
    for (place, (at, number)) in (1..).zip(&got) {
        assert_eq!((*at, u64::from(*number)), (MS(10 * place + 3), place - 1));
    }
}

#[test]
fn larger_packets_than_the_mtu_vanish() {
    let net = with(|link| link.mtu = Some(1_000));
    let (sender, receiver) = (net.socket(here()), net.socket(there()));
    sender.send_to(&[0; 973], there()).unwrap();
    sender.send_to(&[0; 972], there()).unwrap();
    assert_eq!(receiver.recv_from(&mut [0; 2_000]).unwrap().0, 972);
    assert_eq!(net.counts(here(), there()).too_large, 1);
    assert_eq!(sender.send_to(&[0; 65_508], there()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn nothing_passes_a_blackout_or_a_block_but_what_was_under_way_arrives() {
    let net = with(|link| (link.blackouts, link.delay) = (vec![MS(100)..MS(200)], MS(30)));
    let got: Vec<_> = arrivals(&net, 300, 20, MS(1)).into_iter().map(|(_, n)| n).collect();
    assert_eq!(got, (0..100).chain(200..300).collect::<Vec<_>>());
    net.block(here(), there());
    assert!(arrivals(&net, 10, 20, MS(1)).is_empty());
    net.unblock(here(), there());
    assert_eq!(arrivals(&net, 10, 20, MS(1)).len(), 10);
    assert_eq!(net.counts(here(), there()).blocked, 110);
}

#[test]
fn a_firewall_admits_only_whom_the_node_wrote_to_and_only_for_a_while() {
    let net = Net::seed(1);
    let (inside, outside) = (net.socket(here()), net.socket(there()));
    net.set_nat(here(), Nat { lifetime: MS(1_000), ..Nat::firewall() });
    let arrives = || {
        outside.send_to(b"in", here()).unwrap();
        inside.recv_from(&mut [0; 8]).is_ok()
    };
    assert!(!arrives());
    inside.send_to(b"out", there()).unwrap();
    assert!(arrives());
    net.advance(MS(1_000));
    assert!(arrives());
    net.advance(MS(1));
    assert!(!arrives());
    assert_eq!(net.counts(there(), here()).refused, 2);
}

#[test]
fn a_connected_socket_hears_its_peer_only_and_a_new_one_starts_empty() {
    let net = Net::seed(1);
    let stranger = net.socket(([10, 0, 0, 9], 9).into());
    let peer = net.socket(there());
    let mut connected = net.socket(here()).connect(there());
    let mut buffer = [0; 3];
    stranger.send_to(b"xxx", here()).unwrap();
    peer.send_to(b"long", here()).unwrap();
    assert_eq!((connected.recv(&mut buffer).unwrap(), &buffer), (3, b"lon"));
    assert_eq!(connected.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(connected.send(b"back").unwrap(), 4);
    assert_eq!(peer.recv_from(&mut buffer).unwrap(), (3, here()));

    peer.send_to(b"old", here()).unwrap();
    let mut restarted = net.socket(here()).connect(there());
    assert_eq!(restarted.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(connected.send(b"gone").unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(connected);
    peer.send_to(b"new", here()).unwrap();
    assert_eq!(restarted.recv(&mut buffer).unwrap(), 3);
    drop(restarted);
    peer.send_to(b"late", here()).unwrap();
    net.advance(MS(1));
    assert_eq!(net.counts(there(), here()).refused, 1);
}

#[test]
fn sockets_fail_as_often_as_asked() {
    let net = Net::seed(1);
    let mut a = net.socket(here()).connect(there());
    net.fail_sends(here(), 2, io::ErrorKind::ConnectionRefused);
    net.fail_receives(here(), 1, io::ErrorKind::NetworkDown);
    let sends: Vec<_> = (0..3).map(|_| a.send(b"x").map_err(|error| error.kind())).collect();
    assert_eq!(sends, [Err(io::ErrorKind::ConnectionRefused), Err(io::ErrorKind::ConnectionRefused), Ok(1)]);
    let receives: Vec<_> = (0..2).map(|_| a.recv(&mut [0; 4]).unwrap_err().kind()).collect();
    assert_eq!(receives, [io::ErrorKind::NetworkDown, io::ErrorKind::WouldBlock]);
}

#[test]
fn a_tap_sees_drops_delays_replaces_and_may_inject() {
    let net = Net::seed(1);
    let (sender, receiver) = (net.socket(here()), net.socket(there()));
    let inside = net.clone();
    net.tap(move |datagram| match datagram.bytes.first() {
        Some(0) => Verdict::Drop,
        Some(1) => Verdict::Delay(MS(10)),
        Some(2) => Verdict::Replace(vec![20]),
        Some(3) => {
            inside.inject(datagram.from, datagram.to, &[30]);
            Verdict::Pass
        }
        _ => Verdict::Pass,
    });
    net.record(true);
    for kind in 0..5 {
        sender.send_to(&[kind], there()).unwrap();
    }
    let take = || {
        let mut buffer = [0];
        std::iter::from_fn(|| receiver.recv_from(&mut buffer).ok().map(|_| buffer[0])).collect::<Vec<_>>()
    };
    assert_eq!(take(), [20, 30, 3, 4]);
    net.advance(MS(10));
    assert_eq!(take(), [1]);
    let recorded: Vec<_> = net.captured().into_iter().map(|datagram| datagram.bytes).collect();
    assert_eq!(recorded, [[0], [1], [2], [3], [4]]);
    assert!(net.captured().is_empty());
    assert_eq!(net.counts(here(), there()).tapped, 1);
}

#[test]
fn time_moves_only_forward_and_only_when_told() {
    let net = with(|link| link.delay = MS(7));
    let start = net.now();
    let sender = net.socket(here());
    assert_eq!(net.advance_to_next(), None);
    sender.send_to(b"x", there()).unwrap();
    assert_eq!(net.next_arrival(), Some(start + MS(7)));
    assert_eq!(net.advance_to_next_or(start + MS(3)), start + MS(3));
    assert_eq!(net.advance_to_next_or(start + MS(30)), start + MS(7));
    net.advance_to(start);
    assert_eq!((net.now(), net.elapsed()), (start + MS(7), MS(7)));
}

#[test]
fn a_node_gets_the_same_generators_in_every_run_but_never_one_twice() {
    let words = |seed: u64| {
        let net = Net::seed(seed);
        [here(), here(), there()].map(|node| net.rng(node).try_next_u64().unwrap())
    };
    let [first, second, other] = words(1);
    assert_eq!(words(1), [first, second, other]);
    assert!(first != second && first != other && second != other && words(2)[0] != first);
}

#[test]
fn home_made_logarithm_agrees_with_the_system_s() {
    for step in 0..1_000 {
        let unit = f64::from(step) / 1_000.0;
        assert!((super::rng::exponential(unit) + (1.0 - unit).ln()).abs() < 1e-12, "{unit}");
    }
    assert!((22.1..22.3).contains(&super::rng::exponential(1.0)));
}

#[test]
fn every_profile_carries_a_game() {
    for (name, link) in profiles() {
        let net = Net::seed(3);
        net.set_default(link);
        let got = arrivals(&net, 3_600, 100, Duration::from_micros(16_667));
        let counts = net.counts(here(), there());
        assert!(counts.lost * 10 < counts.sent, "{name}: {counts:?}");
        assert_eq!((counts.overflowed, counts.too_large), (0, 0), "{name}");
        assert_eq!(got.len() as u64, counts.delivered, "{name}");
    }
}

#[test]
fn an_hour_of_two_players_takes_seconds() {
    #[expect(clippy::disallowed_methods, reason = "measures the simulator itself")]
    let start = Instant::now();
    let net = Net::seed(4);
    net.set_default(Link::lte_bad());
    let (a, b) = (net.socket(here()), net.socket(there()));
    let mut buffer = [0; 1_500];
    for _ in 0..60 * 3_600 {
        a.send_to(&[1; 120], there()).unwrap();
        b.send_to(&[2; 120], here()).unwrap();
        net.advance(Duration::from_micros(16_667));
        while a.recv_from(&mut buffer).is_ok() {}
        while b.recv_from(&mut buffer).is_ok() {}
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn handles_go_to_other_threads() {
    fn is_send<T: Send + std::fmt::Debug>() {}
    is_send::<Net>();
    is_send::<super::Socket>();
    is_send::<super::Connected>();
    is_send::<super::Rng>();
}
