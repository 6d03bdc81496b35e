//! What a server costs in memory: an echo among 1,000 players, strangers, and players who say nothing.
//!
//! `cargo bench --bench server` prints medians of short rounds first, then come the usual measurements. Only the server's calls are measured; its socket in memory, one lock and one hash
//! look-up a datagram, is in them, and the kernel's way of a datagram, which costs more than all the rest, is not.

#[path = "scenes/mod.rs"]
mod scenes;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group};
use scenes::{
    crowd::{Crowd, TICK},
    measures, median,
    strangers::{BATCH, Kind, Strangers},
    timed, typical,
};
use sealgram::Guarantee;

/// Rounds until there were `count` units, and what so many of them took.
fn until(count: u64, mut round: impl FnMut() -> (Duration, usize)) -> Duration {
    let (mut took, mut units) = (Duration::ZERO, 0);
    while units < count {
        let (time, more) = round();
        took += time;
        units += more as u64;
    }
    Duration::from_secs_f64(took.as_secs_f64() * count as f64 / units as f64)
}

/// A millisecond of the game, and how long the server took for how many echoes.
fn serve(crowd: &mut Crowd, guarantee: Guarantee) -> (Duration, usize) {
    let mut took = Duration::ZERO;
    let echoed = crowd.millisecond(guarantee, &[7; 100], |crowd| {
        let (echoed, time) = timed(|| crowd.serve());
        took = time;
        echoed
    });
    (took, echoed)
}

/// A batch of a stranger's, and how long the server took for it.
fn refuse(scene: &mut Strangers) -> (Duration, usize) {
    scene.send();
    (timed(|| scene.serve()).1, BATCH)
}

/// No more than this was done for a stranger.
fn assert_cheap(kind: Kind, scene: &Strangers) {
    let (came, flood) = scene.counts();
    assert_eq!((flood.dh_operations, flood.cookies_taken, flood.envelopes_refused), (0, 0, 0));
    let cookies = if matches!(kind, Kind::Init | Kind::WrongCookie) { came } else { 0 };
    assert_eq!(flood.cookies_sent, cookies, "{kind:?}: each first message is answered with a cookie");
}

const GUARANTEES: [Guarantee; 3] = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];

fn tables(players: &[usize], rounds: usize) {
    println!("| a datagram of a stranger | ns |\n|---|---|");
    for (kind, name) in Kind::ALL {
        let mut scene = Strangers::new(kind);
        println!("| {name} | {:.0} |", typical(rounds, || refuse(&mut scene)));
        assert_cheap(kind, &scene);
    }
    println!("\n| players, each at 20 Hz | None, ns an echo | Order | Delivery |\n|---|---|---|---|");
    for &players in players {
        let mut crowd = Crowd::new(players);
        print!("| {players} |");
        for guarantee in GUARANTEES {
            // Until estimates have settled.
            for _ in 0..20 * TICK {
                serve(&mut crowd, guarantee);
            }
            print!(" {:.0} |", typical(rounds, || serve(&mut crowd, guarantee)));
        }
        println!();
    }
    println!();
}

fn echoes(c: &mut Criterion) {
    let mut group = c.benchmark_group("echo of 100 B among many players");
    group.throughput(Throughput::Elements(1));
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let mut crowd = Crowd::new(if measures() { 1_000 } else { 50 });
    for guarantee in GUARANTEES {
        group.bench_function(format!("{guarantee:?}"), |b| {
            b.iter_custom(|count| until(count, || serve(&mut crowd, guarantee)));
        });
    }
    group.finish();
}

fn strangers(c: &mut Criterion) {
    let mut group = c.benchmark_group("a datagram of a stranger");
    group.throughput(Throughput::Elements(1));
    for (kind, name) in Kind::ALL {
        let mut scene = Strangers::new(kind);
        group.bench_function(name, |b| b.iter_custom(|count| until(count, || refuse(&mut scene))));
        assert_cheap(kind, &scene);
    }
    group.finish();
}

/// Calls of `maintain` a millisecond apart, while players keep their sessions alive and say nothing.
fn idle(players: usize, milliseconds: usize) {
    let mut crowd = Crowd::new(players);
    let mut nothing_due = Vec::new();
    let (mut all, before) = (Duration::ZERO, crowd.stats());
    for millisecond in 0..milliseconds {
        let ((), took) = timed(|| crowd.maintain());
        all += took;
        nothing_due.push(took.as_secs_f64() * 1e9);
        crowd.idle();
        // Not measured: the players' side of what keeps sessions alive.
        if millisecond % 100 == 99 {
            crowd.rest();
        }
    }
    let stats = crowd.stats().since(&before);
    let mean = all.as_secs_f64() * 1e9 / milliseconds as f64;
    println!(
        "idle: {players} players, {milliseconds} calls of maintain: median {:.0} ns, mean {mean:.0} ns, {} datagrams sent\n",
        median(nothing_due),
        stats.datagrams_sent
    );
}

criterion_group!(benches, strangers, echoes);

fn main() {
    if measures() {
        tables(&[50, 1_000, 10_000], 2_000);
        idle(10_000, 3_000);
    } else {
        tables(&[50], 1);
        idle(20, 10);
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
