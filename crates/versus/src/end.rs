//! What the loads know of a peer: two ends of one connection, each driven by one thread, as a game would drive it.

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What went over the wire, with IP and UDP headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wire {
    pub datagrams: u64,
    pub bytes: u64,
}

/// Of IPv4 and UDP.
pub const HEADERS: u64 = 28;

impl Wire {
    pub fn count(&mut self, bytes: usize) {
        self.datagrams += 1;
        self.bytes += bytes as u64 + HEADERS;
    }

    /// From the counters of a peer that counts without headers.
    pub fn with_headers(datagrams: u64, bytes: u64) -> Self {
        Self { datagrams, bytes: bytes + HEADERS * datagrams }
    }
}

/// What is asked of a pair of ends.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Length of each message.
    pub bytes: usize,
    /// Every message arrives, in order; else as it comes, if the peer has such messages.
    pub reliable: bool,
    /// One message at a time, both ways: nothing is gained by waiting for a second datagram.
    pub alone: bool,
}

/// One end. No call but `rest` and `pause` waits.
pub trait End {
    /// Whether both ends know that they are connected. Called, with `hear` and `turn`, until it is so.
    fn connected(&mut self) -> Outcome<bool>;

    /// Queues a message; false: there is no room now.
    fn offer(&mut self, message: &[u8]) -> Outcome<bool>;

    /// Everything queued leaves that may.
    fn leave(&mut self) -> Outcome<()>;

    /// Reads whatever has arrived and hands out the messages.
    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()>;

    /// Looks at the socket once, and hands out the messages of what it gave, if anything.
    fn hear_one(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        self.hear(to)
    }

    /// Runs timers, sends acknowledgements.
    fn turn(&mut self) -> Outcome<()> {
        Ok(())
    }

    /// Waits until something arrives, or for this long.
    fn rest(&mut self, most: Duration) -> Outcome<()>;

    /// Lets the time pass, as a game does until its next tick.
    fn pause(&mut self, until: Instant) -> Outcome<()> {
        thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// What this end has sent so far, if it knows.
    fn wire(&self) -> Option<Wire>;
}

/// Makes an end in the thread that is to drive it.
pub type Maker = Box<dyn FnOnce() -> Outcome<Box<dyn End>> + Send>;

pub struct Pair {
    /// Dials, and sends first.
    pub sender: Maker,
    pub receiver: Maker,
}

impl Pair {
    pub fn new<A: End + 'static, B: End + 'static>(
        sender: impl FnOnce() -> Outcome<A> + Send + 'static,
        receiver: impl FnOnce() -> Outcome<B> + Send + 'static,
    ) -> Self {
        Self {
            sender: Box::new(move || Ok(Box::new(sender()?))),
            receiver: Box::new(move || Ok(Box::new(receiver()?))),
        }
    }
}

/// A server of many players that echoes whatever it hears.
pub trait Hall {
    /// Reads what has arrived, echoes it, runs timers.
    fn serve(&mut self) -> Outcome<()>;

    /// Messages echoed so far.
    fn echoes(&self) -> u64;

    /// Waits until something arrives, or for this long.
    fn rest(&mut self, most: Duration) -> Outcome<()>;

    fn pause(&mut self, until: Instant) -> Outcome<()> {
        thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(())
    }
}

/// Its players.
pub trait Crowd {
    /// One more player dials.
    fn dial(&mut self) -> Outcome<()>;

    /// Players that are connected.
    fn joined(&self) -> usize;

    fn say(&mut self, player: usize, message: &[u8]) -> Outcome<()>;

    /// Waits for this long at most, reads what has arrived, runs timers.
    fn step(&mut self, most: Duration) -> Outcome<()>;

    /// Echoes heard so far.
    fn heard(&self) -> u64;
}

pub struct Scene {
    pub hall: Box<dyn FnOnce() -> Outcome<Box<dyn Hall>> + Send>,
    pub crowd: Box<dyn FnOnce() -> Outcome<Box<dyn Crowd>> + Send>,
}

impl Scene {
    pub fn new<H: Hall + 'static, C: Crowd + 'static>(
        hall: impl FnOnce() -> Outcome<H> + Send + 'static,
        crowd: impl FnOnce() -> Outcome<C> + Send + 'static,
    ) -> Self {
        Self {
            hall: Box::new(move || Ok(Box::new(hall()?))),
            crowd: Box::new(move || Ok(Box::new(crowd()?))),
        }
    }
}
