//! What repair costs and how soon it is done: reliable ordered messages of 100 bytes at 60 Hz over bad networks.

#[path = "common/flow.rs"]
mod flow;

use std::time::Duration;

use flow::{Flow, backlog, floor, play};

fn seeds() -> u64 {
    std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

fn row(name: &str, flow: impl Fn(u64) -> Flow) {
    let (mut p99, mut wire, mut spurious, mut at_best) = (0.0, 0.0, 0.0, 0.0);
    let n = seeds();
    for seed in 1..=n {
        let outcome = play(&flow(seed));
        if n == 1 {
            outcome.print(name);
        }
        let mean = |stats: &sealgram::Stats| stats.bytes_sent as f64 / stats.datagrams_sent as f64;
        println!(
            "sizes {:.1} {:.1} acks/msg {:.2}",
            mean(&outcome.sender),
            mean(&outcome.receiver),
            outcome.datagrams[1] as f64 / 36000.0
        );
        p99 += outcome.percentile(0.99) / n as f64;
        wire += outcome.wire_per_payload / n as f64;
        spurious += outcome.share(outcome.sender.spurious_resends) * 100.0 / n as f64;
        at_best += floor(&flow(seed)) / n as f64;
    }
    println!("{name:<24} p99 {p99:.1} (floor {at_best:.1}) wire {wire:.2} spurious {spurious:.2}");
}

#[test]
fn table() {
    for loss in
        [0.0, 0.05, 0.2].into_iter().filter(|l| std::env::var("ONLY").map_or(true, |o| o == l.to_string()))
    {
        row(&format!("loss {loss}"), |seed| Flow::new(seed, loss));
    }
    if std::env::var("ONLY").is_ok() {
        return;
    }
    for (loss, ticks) in [(0.05, 3.0), (0.1, 3.0), (0.05, 8.0), (0.1, 8.0)] {
        for in_bursts in [1.0, 0.7] {
            row(&format!("bursts {loss} of {ticks}, {in_bursts}"), |seed| {
                Flow::bursts(seed, loss, ticks, in_bursts)
            });
        }
    }
}

#[test]
fn holes() {
    for hole in [500, 2_000, 10_000_u64] {
        let mut all = Vec::new();
        for seed in 0..40 {
            let start = Duration::from_millis(3_000) + Duration::from_micros(seed * 417);
            let mut flow = Flow::new(seed, 0.0);
            flow.messages = 900;
            flow.holes = std::iter::once(start..start + Duration::from_millis(hole)).collect();
            let outcome = play(&flow);
            all.push(backlog(&outcome, &flow.holes[0]).map_or(f64::NAN, |b| b.as_secs_f64() * 1e3));
            if seed == 0 {
                outcome.print(&format!("hole {hole}"));
            }
        }
        all.sort_by(f64::total_cmp);
        println!("hole {hole}: backlog after {:.1} median, {:.1} max", all[20], all[39]);
    }
}

#[test]
fn late() {
    let mut flow = Flow::new(1, 0.0);
    flow.link.jitter = sealgram::sim::Jitter::Uniform(Duration::from_millis(15));
    play(&flow).print("jitter +-15");
    let mut flow = Flow::new(1, 0.0);
    flow.link.jitter = sealgram::sim::Jitter::Uniform(Duration::from_millis(30));
    flow.link.delay = Duration::from_millis(40);
    play(&flow).print("jitter +-30");
    let mut flow = Flow::new(1, 0.0);
    (flow.link.reorder, flow.link.reorder_delay) = (0.05, Duration::from_millis(50));
    play(&flow).print("reorder depth 3");
}
