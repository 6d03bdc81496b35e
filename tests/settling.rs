//! How soon adaptive redundancy follows a change of loss: phases of a few seconds with different loss, over and over,
//! of which only what comes two seconds after a change is judged.

mod common;

use std::time::Duration;

use common::{Pair, here, there};
use sealgram::{
    Config, Guarantee, Sealed, SendOptions,
    sim::{Jitter, Link},
};

const TICK: Duration = Duration::from_micros(16_667);
const PHASE: Duration = Duration::from_secs(6);
const SETTLED: Duration = Duration::from_secs(2);
/// IPv4 and UDP headers, bytes.
const HEADERS: u64 = 28;

fn link(loss: f64) -> Link {
    let mut link = Link::default();
    (link.loss, link.delay) = (loss, Duration::from_millis(25));
    link.jitter = Jitter::Uniform(Duration::from_millis(5));
    link
}

fn wire(pair: &Pair<Sealed>) -> u64 {
    let [there_, back] = [(here(), there()), (there(), here())].map(|(from, to)| pair.net.counts(from, to));
    there_.bytes + back.bytes + HEADERS * (there_.sent + back.sent)
}

/// What the settled parts of the phases of one loss had: delays in milliseconds, sorted, and wire bytes by message byte.
#[derive(Default)]
struct Settled {
    delays: Vec<f64>,
    wire: u64,
    payload: u64,
}

impl Settled {
    fn add(&mut self, other: Self) {
        self.delays.extend(other.delays);
        self.wire += other.wire;
        self.payload += other.payload;
    }

    fn p99(&mut self) -> f64 {
        self.delays.sort_by(f64::total_cmp);
        self.delays[self.delays.len() * 99 / 100]
    }

    fn cost(&self) -> f64 {
        self.wire as f64 / self.payload as f64
    }
}

fn alternate(seed: u64, losses: [f64; 2], cycles: u32) -> [Settled; 2] {
    let mut pair = Pair::sealed(seed, link(losses[0]), &Config::default());
    pair.connect();
    let options = SendOptions::new(Guarantee::Delivery).adaptive();
    let mut settled = [Settled::default(), Settled::default()];
    let start = pair.net.now();
    for phase in 0..cycles * 2 {
        let which = phase as usize % 2;
        pair.net.set_links(here(), there(), link(losses[which]));
        let began = PHASE * phase;
        let mut from = None;
        for tick in 0..u32::try_from(PHASE.as_micros() / TICK.as_micros()).unwrap() {
            let due = began + TICK * tick;
            let counts = TICK * tick >= SETTLED;
            if counts && from.is_none() {
                from = Some(wire(&pair));
            }
            let mut message = [0; 100];
            message[..8].copy_from_slice(&u64::try_from(due.as_nanos()).unwrap().to_le_bytes());
            message[8] = u8::from(counts) << 1 | u8::try_from(which).unwrap();
            pair.a.endpoint.send_payload(options, &message).unwrap();
            pair.a.endpoint.flush().unwrap();
            settled[which].payload += if counts { 100 } else { 0 };
            // Each arrival is seen at once.
            loop {
                let left = (start + due + TICK).saturating_duration_since(pair.net.now());
                let came = pair.run_until(left, |_, b| !b.heard.is_empty());
                let now = pair.net.now().duration_since(start);
                for (_, bytes) in pair.b.heard.drain(..) {
                    let sent = Duration::from_nanos(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
                    if bytes[8] & 2 != 0 {
                        let which = usize::from(bytes[8] & 1);
                        settled[which].delays.push((now.saturating_sub(sent)).as_secs_f64() * 1e3);
                    }
                }
                if !came {
                    break;
                }
            }
        }
        settled[which].wire += wire(&pair) - from.unwrap();
    }
    settled
}

#[test]
fn two_seconds_after_a_change_of_loss_redundancy_fits_it() {
    for (losses, p99, cost) in
        [([0.0, 0.05], [31.0, 48.0], [2.0, 3.2]), ([0.05, 0.2], [48.0, 100.0], [3.2, 4.5])]
    {
        let mut settled = [Settled::default(), Settled::default()];
        for seed in 11..16 {
            let of_seed = alternate(seed, losses, 24);
            settled.iter_mut().zip(of_seed).for_each(|(sum, of_seed)| sum.add(of_seed));
        }
        for (which, settled) in settled.iter_mut().enumerate() {
            let (ms, bytes) = (settled.p99(), settled.cost());
            println!(
                "{:?}: {} at {}: p99 {ms:.1} ms, {bytes:.3} bytes",
                losses,
                settled.delays.len(),
                losses[which]
            );
            let name = format!("{losses:?} at {}: {ms:.1} ms, {bytes:.3}", losses[which]);
            assert!(ms <= p99[which] && bytes <= cost[which], "{name}");
        }
    }
}
