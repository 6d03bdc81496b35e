//! W1 and W2: as many messages one way as both ends manage. So many of them may be on their way that nobody's socket
//! overflows, whether the peer has a flow control or not: the sender sees what the receiver has heard. It fills that window
//! whenever half of it is free.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::{
    Figures, figures,
    two::{self, Begin, Cost, GLANCE, Shared, drain, drive, measured},
};
use crate::{
    end::{Demand, End, Outcome, Wire},
    peers::Peer,
};

/// How long nothing may be heard before the window counts as free again.
const STALLED: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
enum Until {
    Elapsed(Duration),
    Sent(u64),
}

struct Sender<'a> {
    shared: &'a Shared,
    window: u64,
    message: Vec<u8>,
    sent: u64,
    /// Given up.
    lost: u64,
}

/// The bytes of a message say which one it is.
fn write(message: &mut [u8], number: u64) {
    message.fill(number as u8);
    if let Some(front) = message.first_chunk_mut() {
        *front = number.to_le_bytes();
    }
}

/// Its number, if it is whole.
fn read(message: &[u8], len: usize) -> Option<u64> {
    let (front, rest) = message.split_first_chunk()?;
    let number = u64::from_le_bytes(*front);
    (message.len() == len && rest.iter().all(|byte| *byte == number as u8)).then_some(number)
}

impl Sender<'_> {
    fn room(&self) -> u64 {
        let away = self.sent.saturating_sub(self.shared.heard() + self.lost);
        self.window.saturating_sub(away)
    }

    fn send(&mut self, end: &mut dyn End, until: Until) -> Outcome<u64> {
        let (start, before) = (Instant::now(), self.sent);
        let (mut heard, mut news) = (self.shared.heard(), start);
        loop {
            let left = match until {
                Until::Sent(count) => count - (self.sent - before),
                Until::Elapsed(time) if start.elapsed() < time => u64::MAX,
                Until::Elapsed(_) => 0,
            };
            if left == 0 {
                return Ok(self.sent - before);
            }
            let room = self.room();
            let mut refused = room < self.window / 2;
            if !refused {
                for _ in 0..room.min(left) {
                    write(&mut self.message, self.sent);
                    refused = !end.offer(&self.message)?;
                    if refused {
                        break;
                    }
                    self.sent += 1;
                }
                end.leave()?;
            }
            drive(end)?;
            if refused {
                end.rest(GLANCE)?;
            }
            if self.shared.heard() > heard {
                (heard, news) = (self.shared.heard(), Instant::now());
            } else if room < self.window / 2 && news.elapsed() > STALLED {
                self.lost = self.sent.saturating_sub(heard);
                news = Instant::now();
            }
        }
    }
}

struct Sent {
    messages: u64,
    heard: u64,
    time: Duration,
    cost: Cost,
    network: Option<Wire>,
}

fn send(
    end: &mut dyn End,
    shared: &Shared,
    demand: Demand,
    window: u64,
    phases: [Until; 2],
) -> Outcome<Sent> {
    let mut sender = Sender { shared, window, message: vec![0; demand.bytes], sent: 0, lost: 0 };
    sender.send(end, phases[0])?;
    drain(end, shared, sender.sent, GLANCE)?;
    sender.lost = sender.sent.saturating_sub(shared.heard());
    let before = shared.heard();
    let start = Instant::now();
    let ((messages, time), cost, network) = measured(end, shared, |end| {
        let messages = sender.send(end, phases[1])?;
        drain(end, shared, sender.sent - sender.lost, GLANCE)?;
        Ok((messages, start.elapsed()))
    })?;
    Ok(Sent { messages, heard: shared.heard() - before, time, cost, network })
}

fn receive(end: &mut dyn End, shared: &Shared, demand: Demand) -> Outcome<Cost> {
    let (mut begin, mut heard, mut wrong, mut next) = (Begin::new(), 0, 0_u64, 0);
    while !shared.is_over() {
        begin.look(end, shared);
        let before = heard;
        end.hear(&mut |message| {
            heard += 1;
            let number = read(message, demand.bytes);
            let place = number.is_some_and(|number| number == next || (!demand.reliable && number > next));
            wrong += u64::from(!place);
            next = number.unwrap_or(next) + 1;
        })?;
        shared.heard.store(heard, Ordering::Release);
        end.turn()?;
        if heard == before {
            end.rest(GLANCE * 5)?;
        }
    }
    shared.wrong.store(wrong, Ordering::Release);
    Ok(begin.cost(end))
}

fn measure(peer: Peer, demand: Demand, window: u64, phases: [Until; 2]) -> Outcome<Figures> {
    let pair = peer.pair(demand)?;
    let (sent, received, shared) = two::run(
        pair,
        move |end, shared| send(end, shared, demand, window, phases),
        move |end, shared| receive(end, shared, demand),
    )?;
    let heard = sent.heard as f64;
    if sent.heard == 0 {
        return Err("nothing arrived".into());
    }
    let mut found = figures([
        ("cpu", (sent.cost.cpu + received.cpu) / heard),
        ("sender", sent.cost.cpu / heard),
        ("receiver", received.cpu / heard),
        ("rate", heard / sent.time.as_secs_f64()),
        ("lost", 100.0 * sent.messages.saturating_sub(sent.heard) as f64 / sent.messages.max(1) as f64),
        ("wrong", shared.wrong.load(Ordering::Acquire) as f64),
    ]);
    two::note_wire(&mut found, [sent.cost, received], sent.network, heard);
    Ok(found)
}

/// W1.
pub fn unreliable(peer: Peer, bytes: usize, window: u64, quick: bool) -> Outcome<Figures> {
    let times = if quick { [10, 30] } else { [150, 500] };
    let phases = times.map(|time| Until::Elapsed(Duration::from_millis(time)));
    measure(peer, Demand { bytes, reliable: false, alone: false }, window, phases)
}

/// W2: 64 MiB in messages of 1 KiB.
pub fn bulk(peer: Peer, quick: bool) -> Outcome<Figures> {
    let counts = if quick { [500, 2_000] } else { [8_192, 65_536] };
    measure(peer, Demand { bytes: 1_024, reliable: true, alone: false }, 512, counts.map(Until::Sent))
}
