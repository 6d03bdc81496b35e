//! W7: players join a server one after the other, and stay. What counts is the server's processor time.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Figures, figures};
use crate::{
    end::{Crowd, Hall, Outcome},
    machine::{cpu, network},
    peers::Peer,
};

const STEP: Duration = Duration::from_millis(1);
/// The server looks for the end so often when nothing happens.
const IDLE: Duration = Duration::from_millis(20);

const WARM: u8 = 0;
const MEASURE: u8 = 1;
const END: u8 = 2;

fn serve(hall: &mut dyn Hall, phase: &AtomicU8) -> Outcome<f64> {
    let mut mark = None;
    loop {
        match phase.load(Ordering::Acquire) {
            END => return Ok(cpu() - mark.unwrap_or(f64::NAN)),
            MEASURE if mark.is_none() => mark = Some(cpu()),
            _ => {}
        }
        hall.serve()?;
        hall.rest(IDLE)?;
    }
}

/// One player more joins; how long that took, in µs.
fn join(crowd: &mut dyn Crowd) -> Outcome<f64> {
    let (start, before) = (Instant::now(), crowd.joined());
    crowd.dial()?;
    while crowd.joined() == before {
        crowd.step(STEP)?;
        if start.elapsed() > Duration::from_secs(5) {
            return Err("a player does not join".into());
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

struct Joined {
    times: Vec<f64>,
    datagrams: Option<u64>,
    cpu: f64,
}

fn players(crowd: &mut dyn Crowd, phase: &AtomicU8, counts: [usize; 2]) -> Outcome<Joined> {
    // What follows a handshake belongs to it.
    let settle = |crowd: &mut dyn Crowd| (0..IDLE.as_millis() * 3).try_for_each(|_| crowd.step(STEP));
    for _ in 0..counts[0] {
        join(crowd)?;
    }
    settle(crowd)?;
    phase.store(MEASURE, Ordering::Release);
    // Until the server has seen it.
    settle(crowd)?;
    let (spent, sent) = (cpu(), network());
    let mut times = (0..counts[1]).map(|_| join(crowd)).collect::<Outcome<Vec<_>>>()?;
    settle(crowd)?;
    times.sort_unstable_by(f64::total_cmp);
    let datagrams = network().zip(sent).map(|(now, then)| now.datagrams - then.datagrams);
    Ok(Joined { times, datagrams, cpu: cpu() - spent })
}

pub fn measure(peer: Peer, quick: bool) -> Outcome<Figures> {
    let counts = if quick { [3, 10] } else { [10, 80] };
    let scene = peer.scene(counts.iter().sum::<usize>() + 8)?;
    let phase = AtomicU8::new(WARM);
    let (served, joined) = thread::scope(|scope| {
        let serves = scope.spawn(|| serve((scene.hall)()?.as_mut(), &phase));
        let joins = scope.spawn(|| {
            let joined = (scene.crowd)().and_then(|mut crowd| players(crowd.as_mut(), &phase, counts));
            phase.store(END, Ordering::Release);
            joined
        });
        (serves.join(), joins.join())
    });
    let failed = |_| "a thread panicked";
    let (spent, joined) = (served.map_err(failed)??, joined.map_err(failed)??);
    let count = joined.times.len();
    let at = |part: f64| joined.times.get((count as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    let mut found = figures([
        ("cpu", spent / count as f64 / 1e3),
        ("client", joined.cpu / count as f64 / 1e3),
        ("p50", at(0.5)),
        ("p99", at(0.99)),
    ]);
    if let Some(datagrams) = joined.datagrams {
        found.insert("datagrams".to_owned(), datagrams as f64 / count as f64);
    }
    Ok(found)
}
