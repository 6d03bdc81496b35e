//! W4: 50 reliable messages of 32 bytes in each of 60 ticks a second, one way. Both ends are driven once a tick, as a game
//! drives them: read, queue, send, sleep.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Figures, figures,
    two::{self, Begin, Cost, Shared, drain, measured},
};
use crate::{
    end::{Demand, End, Outcome},
    peers::Peer,
};

const DEMAND: Demand = Demand { bytes: 32, reliable: true, alone: false };
const EACH: u64 = 50;
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 60);

fn number(message: &[u8]) -> Option<u64> {
    (message.len() == DEMAND.bytes).then(|| message.first_chunk().map(|front| u64::from_le_bytes(*front)))?
}

fn ticks(end: &mut dyn End, sent: &mut u64, count: u32) -> Outcome<()> {
    let (mut message, start) = ([7; DEMAND.bytes], Instant::now());
    for tick in 1..=count {
        end.hear(&mut |_| {})?;
        for _ in 0..EACH {
            message[..8].copy_from_slice(&sent.to_le_bytes());
            // Whoever has no room for 50 small messages has lost them.
            end.offer(&message)?;
            *sent += 1;
        }
        end.leave()?;
        end.turn()?;
        end.pause(start + TICK * tick)?;
    }
    Ok(())
}

fn receive(end: &mut dyn End, shared: &Shared) -> Outcome<Cost> {
    let (mut begin, mut heard, mut wrong, mut next) = (Begin::new(), 0_u64, 0_u64, 0);
    let (start, mut tick) = (Instant::now(), 0);
    while !shared.is_over() {
        begin.look(end, shared);
        end.hear(&mut |message| {
            heard += 1;
            wrong += u64::from(number(message) != Some(next));
            next = number(message).unwrap_or(next) + 1;
        })?;
        shared.heard.store(heard, Ordering::Release);
        end.turn()?;
        tick += 1;
        // In between the sender's ticks, roughly.
        end.pause(start + TICK * tick + TICK / 2)?;
    }
    shared.wrong.store(wrong, Ordering::Release);
    Ok(begin.cost(end))
}

pub fn measure(peer: Peer, quick: bool) -> Outcome<Figures> {
    // Sessions acknowledge more eagerly in their first seconds, and a game's are mostly older.
    let [warm, count] = if quick { [6, 12] } else { [200, 90] };
    let sender = move |end: &mut dyn End, shared: &Shared| {
        let mut sent = 0;
        ticks(end, &mut sent, warm)?;
        drain(end, shared, sent, TICK)?;
        let before = (sent, shared.heard());
        let (_, cost, network) = measured(end, shared, |end| {
            ticks(end, &mut sent, count)?;
            drain(end, shared, sent, TICK)
        })?;
        Ok((sent - before.0, shared.heard() - before.1, cost, network))
    };
    let ((sent, heard, cost, network), received, shared) = two::run(peer.pair(DEMAND)?, sender, receive)?;
    if heard == 0 {
        return Err("nothing arrived".into());
    }
    let messages = heard as f64;
    let mut found = figures([
        ("cpu", (cost.cpu + received.cpu) / messages),
        ("sender", cost.cpu / messages),
        ("receiver", received.cpu / messages),
        ("lost", 100.0 * sent.saturating_sub(heard) as f64 / sent as f64),
        ("wrong", shared.wrong.load(Ordering::Acquire) as f64),
    ]);
    two::note_wire(&mut found, [cost, received], network, messages);
    if let Some(datagrams) = found.remove("datagrams") {
        found.insert("datagrams".to_owned(), datagrams * EACH as f64);
    }
    Ok(found)
}
