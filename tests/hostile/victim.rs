//! A real endpoint on a real socket with the attacker at the other end of it: `Victim`. And `Attack`, where the attacker
//! is the peer of a confirmed session, has its keys, and says what he likes. Time is virtual, so nothing hangs on the
//! machine's speed.

#[path = "../common/clock.rs"]
pub(crate) mod clock;

use std::{io, net::UdpSocket, time::Duration};

use clock::Clock;
use sealgram::fuzzing::{EvilHandshake, EvilSession};
use sealgram::{CloseReason, Config, Credentials, Drops, Event, Guarantee, Invite, SealedEndpoint, Stats};

use crate::bytes::{CONFIRM, ack, delivery, hello, init, noise_of};

/// Looks for what was sent before anybody believes that it is lost.
const PATIENCE: u32 = 1_000_000;

/// All that an application, or the other side, can see of an endpoint, drop counters left out.
#[derive(Debug, PartialEq)]
pub(crate) struct Sight {
    pub(crate) stats: Stats,
    heard: usize,
    events: Vec<Event>,
    closed: Option<CloseReason>,
    connected: bool,
    hash: Option<[u8; 32]>,
}

pub(crate) struct Victim {
    clock: Clock,
    pub(crate) endpoint: SealedEndpoint<UdpSocket>,
    attacker: UdpSocket,
    pub(crate) heard: Vec<(Guarantee, Vec<u8>)>,
    pub(crate) events: Vec<Event>,
    pub(crate) closed: Option<CloseReason>,
}

impl Victim {
    pub(crate) fn new(credentials: Credentials, config: &Config) -> Self {
        let [own, attacker] = [(), ()].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        own.connect(attacker.local_addr().unwrap()).unwrap();
        attacker.connect(own.local_addr().unwrap()).unwrap();
        attacker.set_nonblocking(true).unwrap();
        let clock = Clock::new(Duration::from_millis(1));
        let environment = clock.environment(1);
        let endpoint =
            SealedEndpoint::with_environment(own, credentials, config.clone(), environment).unwrap();
        Self { clock, endpoint, attacker, heard: Vec::new(), events: Vec::new(), closed: None }
    }

    fn step(&mut self) {
        self.closed = loop {
            match self.endpoint.recv() {
                Ok(Some(message)) => self.heard.push((message.guarantee(), message.to_vec())),
                Ok(None) => break self.endpoint.maintain().err(),
                Err(reason) => break Some(reason),
            }
        };
        let _ = self.endpoint.maintain();
        self.events.extend(std::iter::from_fn(|| self.endpoint.poll_event()));
    }

    /// What the victim has said since the last call.
    pub(crate) fn said(&mut self) -> Vec<Vec<u8>> {
        let (mut said, mut buffer) = (Vec::new(), [0; 2_000]);
        loop {
            match self.attacker.recv(&mut buffer) {
                Ok(len) => said.push(buffer[..len].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return said,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Lets a datagram arrive; what the victim says to it.
    pub(crate) fn hear(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let before = self.endpoint.stats().datagrams_received;
        assert_eq!(self.attacker.send(datagram).unwrap(), datagram.len());
        for _ in 0..PATIENCE {
            self.step();
            if self.endpoint.stats().datagrams_received > before || self.closed.is_some() {
                return self.said();
            }
            std::thread::yield_now();
        }
        panic!("the machine has lost a datagram");
    }

    /// How often the heap is asked for memory while this datagram is read, which must not be one that counts.
    pub(crate) fn allocations(&mut self, datagram: &[u8]) -> u64 {
        let before = self.endpoint.stats().drops.total();
        assert_eq!(self.attacker.send(datagram).unwrap(), datagram.len());
        for _ in 0..PATIENCE {
            let endpoint = &mut self.endpoint;
            let info = allocation_counter::measure(|| assert!(endpoint.recv().unwrap().is_none()));
            if self.endpoint.stats().drops.total() > before {
                return info.count_total;
            }
            std::thread::yield_now();
        }
        panic!("the machine has lost a datagram");
    }

    /// Time goes on; what the victim says meanwhile.
    pub(crate) fn wait(&mut self, millis: u32) -> Vec<Vec<u8>> {
        for _ in 0..millis {
            self.clock.advance();
            self.step();
        }
        self.said()
    }

    pub(crate) fn sight(&mut self) -> Sight {
        let mut stats = self.endpoint.stats();
        stats.drops = Drops::default();
        (stats.datagrams_received, stats.bytes_received) = (0, 0);
        Sight {
            stats,
            heard: self.heard.len(),
            events: self.events.clone(),
            closed: self.closed,
            connected: self.endpoint.is_connected(),
            hash: self.endpoint.handshake_hash(),
        }
    }

    /// A datagram that must do nothing but count as dropped, once.
    pub(crate) fn assert_nothing(&mut self, datagram: &[u8], what: &str) {
        let (before, drops) = (self.sight(), self.endpoint.stats().drops.total());
        assert_eq!(self.hear(datagram), Vec::<Vec<u8>>::new(), "{what}: answered");
        assert_eq!(self.sight(), before, "{what}");
        assert_eq!(self.endpoint.stats().drops.total(), drops + 1, "{what}: counted once");
    }
}

pub(crate) fn invite() -> Credentials {
    Credentials::invite(&Invite::from_bytes([5; 32]))
}

/// An INIT of the evil peer's with these limits, and the handshake that it begins.
pub(crate) fn evil_init(credentials: &Credentials, payload: &[u8], seed: u64) -> (EvilHandshake, Vec<u8>) {
    let mut evil = EvilHandshake::new(credentials, true, b"", b"", seed).unwrap();
    let message = evil.message(payload).unwrap();
    let datagram = evil.envelope(true, &[], &init(&message));
    (evil, datagram)
}

/// A confirmed session of a victim and a peer who has its keys and keeps to no rule.
pub(crate) struct Attack {
    pub(crate) victim: Victim,
    pub(crate) session: EvilSession,
    /// The number of our next packet.
    pub(crate) next: u64,
    /// The highest number of the victim's that we have seen.
    near: u64,
    /// The next index of an honest `Delivery`.
    index: u64,
}

impl Attack {
    pub(crate) fn begin(config: &Config) -> Self {
        Self::begin_with(config, &hello())
    }

    /// With these limits of ours.
    pub(crate) fn begin_with(config: &Config, hello: &[u8]) -> Self {
        let mut victim = Victim::new(invite(), config);
        let (mut evil, datagram) = evil_init(&invite(), hello, 7);
        let answer = victim.hear(&datagram);
        assert_eq!(answer.len(), 1);
        let answer = evil.body(false, 0, &answer[0]).unwrap();
        assert!(evil.read(noise_of(&answer)).is_some());
        let session = evil.session().unwrap();
        let mut attack = Self { victim, session, next: 0, near: 0, index: 0 };
        let said = attack.say(&CONFIRM);
        attack.acknowledge(&said);
        assert!(attack.victim.endpoint.is_connected(), "the right keys confirm");
        attack.quiet();
        attack
    }

    /// Lets the victim say what it has to say on its own account, and acknowledges it.
    pub(crate) fn quiet(&mut self) {
        for _ in 0..3 {
            let said = self.wait(40);
            self.acknowledge(&said);
        }
        self.victim.said();
    }

    fn acknowledge(&mut self, said: &[(u64, Vec<u8>)]) {
        for (number, _) in said {
            self.say(&ack(*number, 1, &[]));
        }
    }

    /// Our next packet; what the victim answers to it, opened.
    pub(crate) fn say(&mut self, payload: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let number = self.next;
        self.say_as(0, number, payload)
    }

    /// A packet of any epoch with any number.
    pub(crate) fn say_as(&mut self, epoch: u32, number: u64, payload: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let packet = self.session.packet(&[], epoch, number, payload);
        self.next = self.next.max(number + 1);
        let said = self.victim.hear(&packet);
        self.opened(&said)
    }

    /// What the victim says in this time, opened.
    pub(crate) fn wait(&mut self, millis: u32) -> Vec<(u64, Vec<u8>)> {
        let said = self.victim.wait(millis);
        self.opened(&said)
    }

    pub(crate) fn opened(&mut self, said: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
        let mut opened = Vec::new();
        for packet in said {
            let (number, payload) = self.session.open(self.near, packet).expect("a packet of the session");
            self.near = self.near.max(number);
            opened.push((number, payload));
        }
        opened
    }

    /// Of the session, which must be there.
    pub(crate) fn violations(&self) -> u64 {
        assert!(self.victim.endpoint.is_connected(), "{:?}", self.victim.closed);
        self.victim.endpoint.stats().violations
    }

    /// A packet that must count as one violation and do nothing else: nothing is yielded, nothing acknowledged.
    pub(crate) fn assert_one_violation(&mut self, payload: &[u8], what: &str) {
        let (before, violations) = (self.victim.sight(), self.violations());
        assert_eq!(self.say(payload), [], "{what}: answered");
        assert_eq!(self.wait(60), [], "{what}: acknowledged");
        let mut after = self.victim.sight();
        assert_eq!(after.stats.violations, violations + 1, "{what}");
        after.stats.violations = violations;
        assert_eq!(after, before, "{what}");
    }

    /// Shows that the session still carries what is said by its rules.
    pub(crate) fn assert_delivers(&mut self, what: &str) {
        let heard = self.victim.heard.len();
        let frame = delivery(self.index, what.as_bytes());
        self.index += 1;
        self.say(&frame);
        let news = self.victim.heard.get(heard..).unwrap_or_default();
        assert_eq!(news, [(Guarantee::Delivery, what.as_bytes().to_vec())]);
    }
}
