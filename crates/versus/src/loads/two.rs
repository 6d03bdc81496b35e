//! Two threads, one for each end of a connection, and what they tell each other by shared memory.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    end::{End, Maker, Outcome, Pair, Wire},
    machine::{cpu, network},
};

/// How long nothing must happen before what is missing counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(300);
/// How long an end waits at most before it looks at the other side's notes again.
pub const GLANCE: Duration = Duration::from_micros(200);

#[derive(Default)]
pub struct Shared {
    connected: AtomicUsize,
    /// Messages heard by the receiver so far.
    pub heard: AtomicU64,
    /// Messages that were not what was sent, or not where they belong.
    pub wrong: AtomicU64,
    /// The sender begins to measure.
    begin: AtomicBool,
    /// The receiver does, too.
    begun: AtomicBool,
    /// The sender is through.
    end: AtomicBool,
}

impl Shared {
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Acquire)
    }

    pub fn is_over(&self) -> bool {
        self.end.load(Ordering::Acquire)
    }
}

/// What an end has cost since it began to measure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub cpu: f64,
    pub wire: Option<Wire>,
}

/// Notes of one end at one instant.
#[derive(Clone, Copy)]
pub struct Mark {
    cpu: f64,
    wire: Option<Wire>,
}

impl Mark {
    pub fn new(end: &dyn End) -> Self {
        Self { cpu: cpu(), wire: end.wire() }
    }

    pub fn cost(&self, end: &dyn End) -> Cost {
        Cost { cpu: cpu() - self.cpu, wire: since(end.wire(), self.wire) }
    }
}

fn since(now: Option<Wire>, then: Option<Wire>) -> Option<Wire> {
    let (now, then) = (now?, then?);
    Some(Wire { datagrams: now.datagrams - then.datagrams, bytes: now.bytes - then.bytes })
}

/// The receiver's side of the beginning: its mark, as soon as the sender wants to measure.
pub struct Begin(Option<Mark>);

impl Begin {
    pub fn new() -> Self {
        Self(None)
    }

    pub fn look(&mut self, end: &dyn End, shared: &Shared) {
        if self.0.is_none() && shared.begin.load(Ordering::Acquire) {
            self.0 = Some(Mark::new(end));
            shared.begun.store(true, Ordering::Release);
        }
    }

    pub fn cost(&self, end: &dyn End) -> Cost {
        self.0.map(|mark| mark.cost(end)).unwrap_or_default()
    }
}

/// The sender's side: measures what `work` costs, once both are ready.
pub fn measured<T>(
    end: &mut dyn End,
    shared: &Shared,
    work: impl FnOnce(&mut dyn End) -> Outcome<T>,
) -> Outcome<(T, Cost, Option<Wire>)> {
    shared.begin.store(true, Ordering::Release);
    while !shared.begun.load(Ordering::Acquire) {
        drive(end)?;
        end.rest(GLANCE)?;
    }
    let (mark, of_all) = (Mark::new(end), network());
    let done = work(end)?;
    let cost = mark.cost(end);
    let of_all = since(network(), of_all);
    shared.end.store(true, Ordering::Release);
    Ok((done, cost, of_all))
}

/// Reads and runs timers, where no message is expected.
pub fn drive(end: &mut dyn End) -> Outcome<()> {
    end.hear(&mut |_| {})?;
    end.turn()
}

/// Waits until the receiver has heard so many, or nothing happens any more.
pub fn drain(end: &mut dyn End, shared: &Shared, sent: u64, glance: Duration) -> Outcome<()> {
    let (mut heard, mut news) = (shared.heard(), Instant::now());
    while heard < sent && news.elapsed() < LOST_AFTER {
        drive(end)?;
        end.rest(glance)?;
        if shared.heard() > heard {
            (heard, news) = (shared.heard(), Instant::now());
        }
    }
    Ok(())
}

fn connect(end: &mut dyn End, shared: &Shared) -> Outcome<()> {
    let (start, mut connected) = (Instant::now(), false);
    while shared.connected.load(Ordering::Acquire) < 2 {
        drive(end)?;
        if !connected && end.connected()? {
            connected = true;
            shared.connected.fetch_add(1, Ordering::AcqRel);
        }
        end.rest(GLANCE)?;
        if start.elapsed() > Duration::from_secs(5) {
            return Err("the ends do not connect".into());
        }
    }
    Ok(())
}

type Side<'a, T> = Box<dyn FnOnce(&mut dyn End, &Shared) -> Outcome<T> + Send + 'a>;

fn side<T>(make: Maker, shared: &Shared, work: Side<'_, T>) -> Outcome<T> {
    let mut end = make()?;
    connect(end.as_mut(), shared)?;
    let done = work(end.as_mut(), shared);
    shared.end.store(true, Ordering::Release);
    done
}

/// Runs both ends, each in a thread of its own, and gives what both found.
pub fn run<A: Send, B: Send>(
    pair: Pair,
    sender: impl FnOnce(&mut dyn End, &Shared) -> Outcome<A> + Send,
    receiver: impl FnOnce(&mut dyn End, &Shared) -> Outcome<B> + Send,
) -> Outcome<(A, B, Shared)> {
    let shared = Shared::default();
    let (sent, received) = thread::scope(|scope| {
        let sends = scope.spawn(|| side(pair.sender, &shared, Box::new(sender)));
        let receives = scope.spawn(|| side(pair.receiver, &shared, Box::new(receiver)));
        (sends.join(), receives.join())
    });
    let failed = |_| "a thread panicked";
    Ok((sent.map_err(failed)??, received.map_err(failed)??, shared))
}

/// Datagrams and bytes of both ways for each unit. What an end does not count the system does, where the network is ours.
pub fn note_wire(found: &mut super::Figures, costs: [Cost; 2], network: Option<Wire>, units: f64) {
    let own = match costs.map(|cost| cost.wire) {
        [Some(one), Some(two)] => {
            Some(Wire { datagrams: one.datagrams + two.datagrams, bytes: one.bytes + two.bytes })
        }
        _ => network,
    };
    if let Some(wire) = own {
        found.insert("datagrams".to_owned(), wire.datagrams as f64 / units);
        found.insert("wire".to_owned(), wire.bytes as f64 / units);
    }
}
