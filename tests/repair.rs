//! What repair costs and how soon it is done: reliable ordered messages of 100 bytes at 60 Hz over bad networks, both
//! directions of 25 ms with 5 ms of jitter. `cargo bench --bench networks` prints a table.

#[path = "common/flow.rs"]
mod flow;

use std::time::Duration;

use flow::{Flow, Outcome, backlog, floor, physics, play};
use sealgram::sim::Jitter;
use sealgram::{Guarantee, SendOptions, Strategy};

const MS: Duration = Duration::from_millis(1);

/// Plays the row and fails when it exceeds what was promised: milliseconds and wire bytes by payload byte.
fn row(name: &str, flow: &Flow, p99_ms: f64, wire: f64) -> Outcome {
    let outcome = play(flow);
    outcome.print(name);
    let seed = flow.seed;
    assert!(outcome.delays.iter().all(Option::is_some), "{name}, seed {seed}: something never came");
    assert!(outcome.percentile(0.99) <= p99_ms, "{name}, seed {seed}: p99 {}", outcome.percentile(0.99));
    assert!(outcome.wire_per_payload <= wire, "{name}, seed {seed}: wire {}", outcome.wire_per_payload);
    outcome
}

fn spurious(outcome: &Outcome) -> f64 {
    outcome.share(outcome.sender.spurious_resends)
}

#[test]
fn without_loss_nothing_is_sent_again() {
    let outcome = row("no loss", &Flow::new(1, 0.0), 31.0, 2.0);
    assert_eq!(outcome.sender.resends, 0);
}

#[test]
fn five_percent_of_loss_costs_one_repair() {
    let outcome = row("loss 5 %", &Flow::new(2, 0.05), 97.0, 2.5);
    assert!(spurious(&outcome) <= 0.04, "{}", spurious(&outcome));
}

#[test]
fn twenty_percent_of_loss_cost_little_more() {
    let outcome = row("loss 20 %", &Flow::new(3, 0.2), 125.0, 3.3);
    assert!(spurious(&outcome) <= 0.04, "{}", spurious(&outcome));
}

#[test]
fn lost_acknowledgements_are_not_taken_for_lost_messages() {
    let mut flow = Flow::new(9, 0.0);
    flow.back = Some(Flow::new(9, 0.3).link);
    let outcome = row("30 % of the way back", &flow, 31.0, 2.5);
    assert!(spurious(&outcome) <= 0.05, "{}", spurious(&outcome));
}

#[test]
fn redundancy_asked_for_keeps_its_promise() {
    let delivery = SendOptions::new(Guarantee::Delivery);
    for (name, options, loss, p99, wire) in [
        ("a copy along", delivery.copies(2, Duration::ZERO), 0.05, 48.0, 3.3),
        ("a copy after 4 ms", delivery.copies(2, 4 * MS), 0.05, 36.0, 4.6),
        ("critical", Strategy::Critical.options(), 0.2, 45.0, 8.0),
    ] {
        let mut flow = Flow::new(10, loss);
        (flow.options, flow.link.overtake) = (options, false);
        row(name, &flow, p99, wire);
    }
}

/// The number in the middle.
fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    (numbers[(numbers.len() - 1) / 2] + numbers[middle]) / 2.0
}

#[test]
fn bursts_of_three_ticks_cost_little_more_than_they_last() {
    // Who repeats all that is lost from the first tick after a round trip on, the fourth, has 109 and 141 ms in the middle
    // of these seeds (`floor`), and single seeds differ by 5 %. Measured: 109.8 and 143. At 5 % the middle of the seeds 11 to
    // 30 is 110.1, of 31 to 90 109.4, of 91 to 130 109.1.
    for (loss, most, most_of_two) in [(0.05, 110.0, 110.0), (0.1, 150.0, 150.0)] {
        let play_one = |seed| {
            let most = if seed == 2 { most_of_two } else { most * 1.1 };
            let name = format!("{loss} in 3 ticks, seed {seed}");
            row(&name, &Flow::slots(seed, loss, 3.0, 36_000), most, 3.3).percentile(0.99)
        };
        let p99 = median((1..=10).map(play_one).collect());
        println!("{loss} in 3 ticks: p99 {p99:.1} ms in the middle");
        assert!(p99 <= most, "loss {loss}: {p99} ms");
    }
}

#[test]
fn the_first_burst_after_a_calm_is_repaired_as_soon_as_any() {
    // A burst of three ticks every 5 s: by then acknowledgements are held back again, for every second packet. The silence
    // of two is noticed all the same, and what is lost is repeated at the fifth tick, not the sixth or seventh.
    let bursts = 24_u32;
    let mut flow = Flow::new(11, 0.0);
    flow.messages = 60 * 5 * (bursts + 1);
    let start = |number: u32| 5_000 * MS * number + Duration::from_micros(2_667) * number;
    flow.holes = (1..=bursts).map(|number| start(number)..start(number) + 50 * MS).collect();
    let outcome = play(&flow);
    outcome.print("bursts 5 s apart");
    let late = |most: u32| outcome.delays.iter().flatten().filter(|delay| **delay > MS * most).count();
    assert!(late(60) >= 60, "{} were lost", late(60));
    assert!(late(115) <= 3, "{} of {} came later than by the fifth tick", late(115), late(60));
}

#[test]
fn bursts_of_eight_ticks_cost_little_more_than_they_last() {
    // A burst of 8 ticks on average goes on after k with (7/8)^k. Of messages of which 5 % are lost at first,
    // 5 % x (7/8)^k = 1 % still are after k = 12 ticks: 200 ms, and 25 on the way, before anybody's 99th percentile. So each
    // flow is measured by what its own path allows.
    for loss in [0.05, 0.1] {
        let flow = Flow::slots(2, loss, 8.0, 36_000);
        let allowed = physics(&flow);
        row(&format!("{loss} in 8 ticks, {allowed:.0}"), &flow, allowed * 1.2 + 10.0, 3.3);
    }
}

#[test]
fn bursts_are_repaired_nearly_as_soon_as_anybody_could() {
    for (loss, ticks) in [(0.05, 3.0), (0.1, 3.0), (0.05, 8.0), (0.1, 8.0)] {
        for in_bursts in [0.7, 1.0] {
            let flow = Flow::bursts(4, loss, ticks, in_bursts);
            let name = format!("{loss} in bursts of {ticks} that take {in_bursts}");
            let floor = floor(&flow);
            row(&name, &flow, floor * 1.2 + 10.0, 3.3);
        }
    }
}

#[test]
fn after_a_hole_the_whole_backlog_is_there_within_100_ms() {
    for hole in [500, 2_000, 10_000] {
        let mut worst = Duration::ZERO;
        for seed in 0..25_u32 {
            // Every phase of the tick.
            let start = 3_000 * MS + Duration::from_micros(667) * seed;
            let mut flow = Flow::new(seed.into(), 0.0);
            flow.messages = 900;
            flow.holes = std::iter::once(start..start + MS * hole).collect();
            let took = backlog(&play(&flow), &flow.holes[0]).expect("everything comes");
            assert!(took <= 100 * MS, "a hole of {hole} ms, seed {seed}: {took:?}");
            worst = worst.max(took);
        }
        println!("after {hole} ms: {worst:?} at most");
    }
}

#[test]
fn holes_again_and_again_are_made_up_for_as_soon() {
    for seed in 0..5_u32 {
        let mut flow = Flow::new(seed.into(), 0.0);
        flow.messages = 60 * 70;
        let first = 3_000 * MS + Duration::from_micros(3_333) * seed;
        flow.holes = (0..4).map(|n| first + 16_000 * MS * n..first + 16_000 * MS * n + 10_000 * MS).collect();
        let outcome = play(&flow);
        for hole in &flow.holes {
            let took = backlog(&outcome, hole).expect("everything comes");
            assert!(took <= 100 * MS, "the hole at {:?}, seed {seed}: {took:?}", hole.start);
        }
    }
}

#[test]
fn a_dead_link_is_survived_without_a_flood() {
    for dead in [3, 10, 60] {
        let mut flow = Flow::new(5, 0.02);
        flow.config.idle_timeout = Duration::from_secs(90);
        flow.messages = 60 * (dead + 10);
        flow.holes = std::iter::once(2_000 * MS..2_000 * MS + Duration::from_secs(dead.into())).collect();
        let outcome = play(&flow);
        outcome.print(&format!("dead for {dead} s"));
        assert!(outcome.delays.iter().all(Option::is_some), "{dead} s");
        assert!(outcome.wire_per_payload < 7.0, "{dead} s: {}", outcome.wire_per_payload);
    }
}

#[test]
fn reordering_and_jitter_are_not_taken_for_loss() {
    let mut flows = [Flow::new(6, 0.0), Flow::new(7, 0.0), Flow::new(8, 0.0)];
    flows[0].link.jitter = Jitter::Uniform(15 * MS);
    flows[1].link.jitter = Jitter::Uniform(30 * MS);
    flows[1].link.delay = 40 * MS;
    (flows[2].link.reorder, flows[2].link.reorder_delay) = (0.05, 50 * MS);
    for (name, flow) in ["jitter of 15 ms", "jitter of 30 ms", "reordering of depth 3"].iter().zip(&flows) {
        let outcome = row(name, flow, 85.0, 2.3);
        assert!(spurious(&outcome) < 0.005, "{name}: {}", spurious(&outcome));
    }
}

#[test]
fn adaptive_redundancy_costs_nothing_without_loss_and_follows_it() {
    let play_at = |loss| {
        let mut flow = Flow::new(3, loss);
        flow.options = SendOptions::new(Guarantee::Delivery).adaptive();
        play(&flow)
    };
    for (loss, p99, wire) in [(0.0, 30.5, 2.0), (0.05, 48.0, 3.2), (0.2, 100.0, 4.5)] {
        let outcome = play_at(loss);
        assert!(outcome.percentile(0.99) <= p99, "loss {loss}: {} ms", outcome.percentile(0.99));
        assert!(outcome.wire_per_payload <= wire, "loss {loss}: {}", outcome.wire_per_payload);
    }
}
