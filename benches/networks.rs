//! Tables to read, in virtual time: what repair costs and how soon it is done, and what each choice does for states larger
//! than a datagram.
//!
//! `cargo bench --bench networks` prints both, `-- repair` and `-- states` one of them. `SEEDS=10` averages repair over so
//! many seeds; there are four otherwise. They assert nothing: the tests `repair` and `large_states` do.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/flow.rs"]
mod flow;
#[path = "../tests/common/states.rs"]
mod states;

use std::time::Duration;

use flow::{Flow, floor, play};
use sealgram::{Guarantee, SendOptions};
use states::order;

/// One flow each shows that it runs; `cargo bench` says that it is to measure.
fn measures() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

fn is_wanted(table: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).peekable();
    named.peek().is_none() || named.any(|name| name == table)
}

/// Reliable messages of 100 bytes at 60 Hz, averaged over seeds.
fn repair(seeds: u32) {
    let average = |name: &str, flow: &dyn Fn(u64) -> Flow| {
        let (mut sums, mut worst) = ([0.0; 5], 0.0_f64);
        for seed in 1..=seeds {
            let flow = flow(seed.into());
            let outcome = play(&flow);
            let (p99, p999) = (outcome.percentile(0.99), outcome.percentile(0.999));
            let spurious = outcome.share(outcome.sender.spurious_resends);
            let row = [p99, p999, floor(&flow), outcome.wire_per_payload, spurious * 100.0];
            worst = worst.max(p99);
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / f64::from(seeds));
        }
        let [p99, p999, floor, wire, spurious] = sums;
        println!(
            "{name:<28} p99 {p99:6.1}, worst seed {worst:6.1} (floor {floor:6.1})  p99.9 {p999:6.1}  wire {wire:.2}  spurious {spurious:.2} %"
        );
    };
    for loss in [0.0, 0.02, 0.05, 0.1, 0.2] {
        average(&format!("loss {loss}"), &|seed| Flow::new(seed, loss));
        if !measures() {
            return;
        }
    }
    for (loss, ticks) in [(0.05, 3.0), (0.1, 3.0), (0.05, 8.0), (0.1, 8.0)] {
        for in_bursts in [1.0, 0.7] {
            let name = format!("bursts {loss} of {ticks}, {in_bursts}");
            average(&name, &|seed| Flow::bursts(seed, loss, ticks, in_bursts));
        }
    }
}

fn large_states() {
    for (len, per_second) in [(4_000, 20), (1_500, 20), (16_000, 5), (60_000, 5)] {
        let count = if measures() { 2_000 } else { 50 };
        let bare = states::flow(1, 0.0, order(), (count, per_second), len).wire_bytes;
        for loss in [0.0, 0.02, 0.05] {
            println!("{len} bytes, {per_second} Hz, {} % lost", loss * 100.0);
            for (name, options) in [
                ("Order", order()),
                ("Order, parity", order().parity()),
                ("None", SendOptions::new(Guarantee::None)),
                ("None, parity", SendOptions::new(Guarantee::None).parity()),
                ("Order, 2 copies", order().copies(2, Duration::ZERO)),
            ] {
                states::print(name, &states::flow(2, loss, options, (count, per_second), len), bare);
            }
            if !measures() {
                return;
            }
        }
    }
}

fn main() {
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    if is_wanted("repair") {
        repair(if measures() { seeds.unwrap_or(4) } else { 1 });
    }
    if is_wanted("states") {
        large_states();
    }
}
