//! One player: what it sends, and the book it keeps of what arrives. The book judges every promise by what the
//! messages themselves say, and knows nothing of how they travelled.

use std::collections::{HashSet, VecDeque};
use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

use sealgram::{CloseReason, Endpoint, Event, Guarantee, SendError, Session, UdpLike};

/// Ticks per second.
pub(crate) const RATE: u32 = 60;
const MAP_BYTES: usize = 200 << 10;
/// kind u8, set u32, base u32, number u32, time u64; what follows is a pattern of these.
const HEAD: usize = 21;

/// What a message is, and with it its guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Input = 1,
    Position = 2,
    Chat = 3,
    Happening = 4,
    Map = 5,
    /// Between two processes: "this is all I sent".
    End = 6,
    /// Between two processes: "this is what I got". Not counted itself.
    Report = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        let all =
            [Self::Input, Self::Position, Self::Chat, Self::Happening, Self::Map, Self::End, Self::Report];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn guarantee(self) -> Guarantee {
        match self {
            Self::Input => Guarantee::Order,
            Self::Position => Guarantee::None,
            _ => Guarantee::Delivery,
        }
    }
}

/// The place of a guarantee in every array of three.
pub(crate) fn place(guarantee: Guarantee) -> usize {
    match guarantee {
        Guarantee::None => 0,
        Guarantee::Order => 1,
        Guarantee::Delivery => 2,
    }
}

/// What became of the messages of one guarantee and direction, as the receiver sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    pub(crate) duplicates: u64,
    pub(crate) order_violations: u64,
    /// From `send` to `recv`, in microseconds.
    pub(crate) delays: Vec<u64>,
}

/// Time that both players agree about: of this process, or of the world (as far as the clocks are set right).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    offset: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a game lives in real time")]
    pub(crate) fn new(world: bool) -> Self {
        let offset =
            if world { SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) } else { Ok(Duration::ZERO) };
        Self { start: Instant::now(), offset: offset.unwrap_or_default() }
    }

    pub(crate) fn now(self) -> Duration {
        self.offset + self.start.elapsed()
    }

    fn micros(self) -> u64 {
        u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What a player has sent and still has to send.
#[derive(Debug, Default)]
struct Script {
    sent: [u64; 3],
    payload_bytes: u64,
    sets: u32,
    waiting: VecDeque<Vec<(Kind, usize)>>,
}

impl Script {
    /// Sends one message through `send`, as part of `set`, which `base` deliveries came before. Nothing is counted
    /// when it was not taken.
    fn send(
        &mut self,
        (kind, len): (Kind, usize),
        (set, base): (u32, u32),
        clock: Clock,
        send: impl FnOnce(Guarantee, &[u8]) -> Result<sealgram::MessageId, SendError>,
    ) -> Result<(), SendError> {
        let guarantee = kind.guarantee();
        let sent = &mut self.sent[place(guarantee)];
        let number = u32::try_from(*sent).unwrap_or(u32::MAX);
        send(guarantee, &message(kind, set, base, number, clock.micros(), len))?;
        *sent += 1;
        self.payload_bytes += len as u64;
        Ok(())
    }

    fn next_set(&mut self) -> (u32, u32) {
        self.sets += 1;
        (self.sets, u32::try_from(self.sent[2]).unwrap_or(u32::MAX))
    }
}

fn message(kind: Kind, set: u32, base: u32, number: u32, time: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&set.to_le_bytes());
    bytes.extend_from_slice(&base.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&time.to_le_bytes());
    let seed = pattern_seed(kind, number);
    bytes.extend((0..len.saturating_sub(HEAD)).map(|at| pattern(seed, at)));
    bytes
}

fn pattern_seed(kind: Kind, number: u32) -> u32 {
    (number ^ u32::from(kind as u8) << 24).wrapping_mul(0x9e37_79b1)
}

fn pattern(seed: u32, at: usize) -> u8 {
    let mixed = seed.wrapping_add(u32::try_from(at).unwrap_or(0)).wrapping_mul(0x85eb_ca6b);
    (mixed ^ (mixed >> 13)).to_le_bytes()[1]
}

/// What arrived, and whether it may have arrived so.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) tallies: [Tally; 3],
    /// Messages that do not say what was sent.
    pub(crate) damaged: u64,
    /// What the peer of another process says it sent, and what it received.
    pub(crate) peer_sent: Option<Vec<u64>>,
    pub(crate) peer_report: Option<Vec<u64>>,
    seen: [HashSet<u32>; 3],
    /// All deliveries with numbers below were yielded.
    settled: u32,
    /// The latest set of which an `Order` or a `Delivery` was yielded.
    latest: u32,
}

impl Book {
    pub(crate) fn enter(&mut self, guarantee: Guarantee, bytes: &[u8], now: u64) {
        if self.read(guarantee, bytes, now).is_none() {
            self.damaged += 1;
        }
    }

    fn read(&mut self, guarantee: Guarantee, bytes: &[u8], now: u64) -> Option<()> {
        let (head, body) = bytes.split_first_chunk::<HEAD>()?;
        let kind = Kind::from_byte(head[0])?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (set, base, number) = (word(1), word(5), word(9));
        let time = u64::from(word(13)) | u64::from(word(17)) << 32;
        let numbers = || {
            body.chunks_exact(8)
                .map(|eight| eight.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
        };
        match kind {
            Kind::Report => {
                self.peer_report = Some(numbers().collect());
                return Some(());
            }
            Kind::End => self.peer_sent = Some(numbers().collect()),
            _ => {
                let seed = pattern_seed(kind, number);
                if !body.iter().enumerate().all(|(at, byte)| *byte == pattern(seed, at)) {
                    return None;
                }
            }
        }
        (guarantee == kind.guarantee()).then_some(())?;
        let ordered = self.settled >= base;
        let tally = &mut self.tallies[place(guarantee)];
        if !self.seen[place(guarantee)].insert(number) {
            tally.duplicates += 1;
            return Some(());
        }
        tally.delivered += 1;
        tally.delays.push(now.saturating_sub(time));
        match guarantee {
            Guarantee::None => return Some(()),
            Guarantee::Order => tally.order_violations += u64::from(!ordered || set < self.latest),
            Guarantee::Delivery => tally.order_violations += u64::from(!ordered),
        }
        self.latest = self.latest.max(set);
        while self.seen[2].contains(&self.settled) {
            self.settled += 1;
        }
        Some(())
    }
}

/// A player at its endpoint.
pub(crate) struct Player<U: UdpLike, S: Session> {
    pub(crate) endpoint: Endpoint<U, S>,
    pub(crate) book: Book,
    /// The hash of the first session, and how many sessions followed it.
    pub(crate) hash: Option<[u8; 32]>,
    pub(crate) connected: bool,
    pub(crate) reconnects: u64,
    script: Script,
    clock: Clock,
}

impl<U: UdpLike, S: Session> Player<U, S> {
    pub(crate) fn new(endpoint: Endpoint<U, S>, clock: Clock) -> Self {
        Self {
            endpoint,
            book: Book::default(),
            hash: None,
            connected: false,
            reconnects: 0,
            script: Script::default(),
            clock,
        }
    }

    pub(crate) fn sent(&self) -> [u64; 3] {
        self.script.sent
    }

    pub(crate) fn payload_bytes(&self) -> u64 {
        self.script.payload_bytes
    }

    /// Nothing waits here, nothing is unacknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.script.waiting.is_empty() && self.endpoint.queued_messages() == 0
    }

    /// Takes in what has arrived and lets out what is due.
    pub(crate) fn step(&mut self) -> Result<(), CloseReason> {
        while let Some(message) = self.endpoint.recv()? {
            self.book.enter(message.guarantee(), &message, self.clock.micros());
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected { handshake_hash, .. } => {
                    self.reconnects += u64::from(self.connected);
                    self.connected = true;
                    self.hash = self.hash.or(handshake_hash);
                }
                Event::PeerReconnected { .. } => self.reconnects += 1,
                _ => {}
            }
        }
        self.endpoint.maintain().map(drop)
    }

    /// Plays one tick: an input, a position, now and then a word or a happening; once a map, if `has_map`.
    pub(crate) fn play(&mut self, tick: u32, has_map: bool) -> Result<(), Box<dyn Error>> {
        self.now_or_never((Kind::Input, 32))?;
        self.now_or_never((Kind::Position, 64))?;
        if tick % 6 == 0 {
            self.script.waiting.push_back(vec![(Kind::Happening, 40)]);
        }
        if tick % 30 == 0 {
            self.script.waiting.push_back(vec![(Kind::Chat, 80)]);
        }
        if has_map {
            self.script.waiting.push_back(vec![(Kind::Chat, 40), (Kind::Map, MAP_BYTES)]);
        }
        self.send_waiting()?;
        self.endpoint.flush()?;
        Ok(())
    }

    /// Sends what the queue had no room for before. In order, and not one of it is forgotten.
    pub(crate) fn send_waiting(&mut self) -> Result<(), SendError> {
        let Self { endpoint, script, clock, .. } = self;
        while let Some(mut members) = script.waiting.pop_front() {
            let place = script.next_set();
            let sent = endpoint.as_set(|set| {
                while let Some(member) = members.first() {
                    script.send(*member, place, *clock, |guarantee, bytes| {
                        set.send_payload(guarantee, bytes)
                    })?;
                    members.remove(0);
                }
                Ok::<_, SendError>(())
            });
            match sent {
                Ok(()) => {}
                Err(SendError::Full { .. }) => {
                    script.waiting.push_front(members);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what is worthless later: when the queue is full it is not sent at all.
    fn now_or_never(&mut self, what: (Kind, usize)) -> Result<(), SendError> {
        let Self { endpoint, script, clock, .. } = self;
        let place = match what.0.guarantee() {
            Guarantee::None => (0, 0),
            _ => script.next_set(),
        };
        match script.send(what, place, *clock, |guarantee, bytes| endpoint.send_payload(guarantee, bytes)) {
            Err(SendError::Full { .. }) => Ok(()),
            other => other,
        }
    }

    /// Between two processes: tells the peer these numbers.
    pub(crate) fn tell(&mut self, kind: Kind, numbers: &[u64]) -> Result<(), Box<dyn Error>> {
        let (set, base) = self.script.next_set();
        let number = u32::try_from(self.script.sent[2]).unwrap_or(u32::MAX);
        let mut bytes = message(kind, set, base, number, self.clock.micros(), HEAD);
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.endpoint.send_payload(Guarantee::Delivery, &bytes)?;
        if kind != Kind::Report {
            self.script.sent[2] += 1;
            self.script.payload_bytes += bytes.len() as u64;
        }
        self.endpoint.flush()?;
        Ok(())
    }
}
