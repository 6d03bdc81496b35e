//! Two endpoints that send to each other in memory.

use sealgram::{Config, Credentials, Endpoint, Guarantee, MemorySocket, Plain, Sealed, Session, memory_pair};

use super::{Clock, clock, key};

/// A session that is open, and has run long enough for its estimates to have settled.
pub(crate) struct Pair<S: Session> {
    clock: Clock,
    sender: Endpoint<MemorySocket, S>,
    receiver: Endpoint<MemorySocket, S>,
}

impl Pair<Sealed> {
    pub(crate) fn sealed() -> Self {
        let (clock, (here, there)) = (clock(), memory_pair());
        let end = |socket, own: u32, other: u32| {
            let credentials = Credentials::paired(&key(own), key(other).public_key()).expect("two keys");
            let node = u16::try_from(own).expect("a small number");
            Endpoint::with_environment(socket, credentials, Config::default(), clock.environment(node))
                .expect("a good configuration")
        };
        let (sender, receiver) = (end(here, 1, 2), end(there, 2, 1));
        Self { clock, sender, receiver }.open()
    }
}

impl Pair<Plain> {
    pub(crate) fn plain() -> Self {
        let (clock, (here, there)) = (clock(), memory_pair());
        let end = |socket, node| {
            Endpoint::plain_with_environment(socket, Config::default(), clock.environment(node))
                .expect("a good configuration")
        };
        let (sender, receiver) = (end(here, 1), end(there, 2));
        Self { clock, sender, receiver }.open()
    }
}

impl<S: Session> Pair<S> {
    fn open(mut self) -> Self {
        self.sender.connect().expect("a first call");
        while !self.sender.is_connected() || !self.receiver.is_connected() {
            self.settle();
        }
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            for _ in 0..200 {
                self.turn(guarantee, &[7; 1_024], 4);
            }
        }
        self
    }

    /// Both ends do what is due, a millisecond later.
    fn settle(&mut self) -> usize {
        let mut heard = 0;
        while let Some(message) = self.receiver.recv().expect("a session") {
            std::hint::black_box(message.bytes());
            heard += 1;
        }
        self.receiver.maintain().expect("a session");
        while self.sender.recv().expect("a session").is_some() {}
        self.sender.maintain().expect("a session");
        self.clock.advance();
        heard
    }

    /// Sends so many messages, and goes on until the other end has yielded them all: in most turns at once.
    pub(crate) fn turn(&mut self, guarantee: Guarantee, bytes: &[u8], count: usize) {
        for _ in 0..count {
            self.sender.send_payload(guarantee, bytes).expect("room");
        }
        self.sender.maintain().expect("a session");
        let mut heard = 0;
        let mut turns = 0;
        while heard < count {
            heard += self.settle();
            turns += 1;
            assert!(turns < 1_000, "{heard} of {count} messages in {turns} ms");
        }
    }
}
