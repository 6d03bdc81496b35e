//! What repair costs and how soon it is done: reliable ordered messages of 100 bytes at 60 Hz over bad networks.

#[path = "common/flow.rs"]
mod flow;

use std::time::Duration;

use flow::{Flow, backlog, play};

#[test]
fn table() {
    for loss in [0.0, 0.02, 0.05, 0.2] {
        play(&Flow::new(1, loss)).print(&format!("loss {loss}"));
    }
    for (loss, ticks) in [(0.05, 3.0), (0.1, 3.0), (0.05, 8.0), (0.1, 8.0)] {
        play(&Flow::bursts(1, loss, ticks)).print(&format!("bursts {loss} of {ticks}"));
    }
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
