//! W3: 64 bytes there and 64 back, one after the other. Both ends spin on their sockets, so a round shows what a peer adds
//! to the kernel's way, and not what waking a thread costs. Each has a processor of its own: two that spin on one would wait
//! for each other's time slice.

use std::time::{Duration, Instant};

use super::{
    Figures, figures,
    two::{self, Begin, Cost, Shared, measured},
};
use crate::{
    end::{Demand, End, Outcome},
    machine::stay_on,
    peers::Peer,
};

const DEMAND: Demand = Demand { bytes: 64, reliable: false, alone: true };
/// After so long without an answer a message counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(100);
/// Timers run once in so many looks at the socket.
const LOOKS: u32 = 256;

/// Looks at the socket until `heard` takes a message, `until` has passed or the other side is through.
fn spin(
    end: &mut dyn End,
    shared: &Shared,
    until: Instant,
    mut heard: impl FnMut(&[u8]) -> bool,
) -> Outcome<bool> {
    let (mut taken, mut looks) = (false, 0);
    loop {
        end.hear_one(&mut |message| taken |= heard(message))?;
        if taken {
            return Ok(true);
        }
        looks += 1;
        if looks % LOOKS == 0 {
            end.turn()?;
            if shared.is_over() || until < Instant::now() {
                return Ok(false);
            }
        }
    }
}

fn say(end: &mut dyn End, message: &[u8]) -> Outcome<()> {
    while !end.offer(message)? {
        end.turn()?;
    }
    end.leave()
}

#[derive(Default)]
struct Rounds {
    nanos: Vec<u64>,
    lost: u64,
}

/// `number` names the rounds: an answer that comes when it counts as lost is none to the next message.
fn rounds(end: &mut dyn End, shared: &Shared, time: Duration, number: &mut u64) -> Outcome<Rounds> {
    let (mut message, start, mut rounds) = ([7; DEMAND.bytes], Instant::now(), Rounds::default());
    while start.elapsed() < time {
        *number += 1;
        message[..8].copy_from_slice(&number.to_le_bytes());
        let sent = Instant::now();
        say(end, &message)?;
        if spin(end, shared, sent + LOST_AFTER, |answer| answer == message)? {
            rounds.nanos.push(sent.elapsed().as_nanos() as u64);
        } else {
            rounds.lost += 1;
        }
    }
    Ok(rounds)
}

fn echo(end: &mut dyn End, shared: &Shared) -> Outcome<Cost> {
    stay_on(1)?;
    let (mut heard, mut begin) = (Vec::new(), Begin::new());
    while !shared.is_over() {
        begin.look(end, shared);
        // Short, so that it sees when it is to begin.
        spin(end, shared, Instant::now(), |message| {
            heard.extend_from_slice(message);
            true
        })?;
        heard.chunks(DEMAND.bytes).try_for_each(|message| say(end, message))?;
        heard.clear();
    }
    Ok(begin.cost(end))
}

pub fn measure(peer: Peer, quick: bool) -> Outcome<Figures> {
    let times = if quick { [10, 30] } else { [100, 400] }.map(Duration::from_millis);
    let sender = move |end: &mut dyn End, shared: &Shared| {
        stay_on(0)?;
        let mut number = 0;
        rounds(end, shared, times[0], &mut number)?;
        measured(end, shared, |end| rounds(end, shared, times[1], &mut number))
    };
    // Peers that have reliable messages only use those.
    let demand = Demand { reliable: peer == Peer::Kcp, ..DEMAND };
    let ((mut rounds, cost, _), echoed, _) = two::run(peer.pair(demand)?, sender, echo)?;
    rounds.nanos.sort_unstable();
    let count = rounds.nanos.len();
    let at =
        |part: f64| rounds.nanos.get((count as f64 * part) as usize).map_or(f64::NAN, |nanos| *nanos as f64);
    if count == 0 {
        return Err("no answer came".into());
    }
    Ok(figures([
        ("p50", at(0.5) / 1e3),
        ("p99", at(0.99) / 1e3),
        ("cpu", (cost.cpu + echoed.cpu) / count as f64),
        ("sender", cost.cpu / count as f64),
        ("receiver", echoed.cpu / count as f64),
        ("lost", 100.0 * rounds.lost as f64 / (count as f64 + rounds.lost as f64)),
    ]))
}
