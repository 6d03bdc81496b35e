//! Two whole endpoints, and somebody between them who decides about every datagram: what is lost, late, doubled, changed,
//! sent back, invented. He has no keys, so nothing that he makes may be yielded; where he stops, both ends must find each
//! other again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{
    adversary::STRANGER,
    kind::Kind,
    script::{Script, pick},
    world::{Clock, Judge, Wire, address, assert_memory, config, run_out},
};
use crate::{
    config::Config,
    delivery::{Guarantee, LaneId, SendOptions},
    endpoint::{Endpoint, Session},
    error::CloseReason,
    event::Event,
    plain::Plain,
    sealed::Sealed,
};

/// Datagrams under way, and those remembered, of each direction; messages of each.
const MAX_FLYING: usize = 64;
const MAX_REMEMBERED: usize = 32;
const MAX_MESSAGES: usize = 64;

/// Takes `data` for a profile, flags, and a script of what two sealed endpoints and an adversary between them do.
///
/// # Panics
/// When a message is yielded that was not sent, or twice, or out of its turn; when a session ends by what a stranger
/// made; when memory passes its bound, an address that proved nothing gets more bytes than it sent, timers do not run out,
/// or a `Delivery` is missing after the adversary has gone.
pub fn two_endpoints(data: &[u8]) {
    World::<Sealed>::new(Script::new(data)).run();
}

/// As [`two_endpoints`], with plain endpoints. Who changes bytes and computes no checksum is found out; once one was
/// computed, only memory, timers and the absence of panics count.
///
/// # Panics
/// As [`two_endpoints`].
pub fn plain_fsm(data: &[u8]) {
    World::<Plain>::new(Script::new(data)).run();
}

pub(super) struct End<S: Session> {
    endpoint: Endpoint<Wire, S>,
    /// Where it is at the moment: its NAT may move it.
    pub(super) at: SocketAddr,
    /// What it sends.
    judge: Judge,
    sessions: usize,
    /// It was closed, or dialled anew, by its application.
    left: bool,
    /// Bytes to and from each address of a stranger.
    strangers: BTreeMap<SocketAddr, (usize, usize)>,
    proven: BTreeSet<SocketAddr>,
}

pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct World<'a, S: Session> {
    pub(super) script: Script<'a>,
    clock: Clock,
    pub(super) config: Config,
    profile: u8,
    addressed: bool,
    run: usize,
    /// Restarts so far: each incarnation has randomness of its own.
    incarnations: u64,
    pub(super) ends: [End<S>; 2],
    /// Under way to each end.
    pub(super) flying: [VecDeque<Datagram>; 2],
    /// What was under way to each end before.
    pub(super) remembered: [VecDeque<Vec<u8>>; 2],
    /// Somebody forged a checksum: a plain endpoint believes him.
    pub(super) believed: bool,
}

impl<'a, S: Kind> World<'a, S> {
    /// The first byte chooses the profile and how the two begin, the second how they are connected.
    fn new(mut script: Script<'a>) -> Self {
        let (begin, flags) = (script.byte(), script.byte());
        let clock = Clock::new();
        // Half of all numbers are the profile with the fewest keys: it is the fastest.
        let (profile, addressed, run) =
            (begin & 15, S::SEALED && flags & 1 != 0, 1 + usize::from(flags >> 1 & 3));
        let end = |side: u8| End {
            endpoint: S::endpoint(Wire::new(addressed, run), clock.environment(side.into()), profile, side),
            at: address(side, 0),
            judge: Judge::new(side.into()),
            sessions: 0,
            left: false,
            strangers: BTreeMap::new(),
            proven: BTreeSet::new(),
        };
        let ends = [end(0), end(1)];
        let mut world = Self {
            script,
            clock,
            config: config(),
            profile,
            addressed,
            run,
            incarnations: 1,
            ends,
            flying: Default::default(),
            remembered: Default::default(),
            believed: false,
        };
        let [first, second] = &mut world.ends;
        let established = begin & 64 != 0
            && S::establish(&mut first.endpoint, &world.clock, 0)
            && S::establish(&mut second.endpoint, &world.clock, 1);
        // On a live session it does no more than ask for another when the peer falls silent.
        assert_eq!(first.endpoint.connect(), Ok(()));
        if begin & 16 != 0 {
            // A fixed responder does not dial.
            let (Ok(()) | Err(_)) = second.endpoint.connect();
        }
        if begin & 32 == 0 && !established {
            world.carry_all(8);
        }
        let alive = |end: &End<S>| end.endpoint.is_connected();
        let early = begin & 32 != 0 && !established;
        assert!(early || world.ends.iter().all(alive), "a session, if nobody disturbs");
        world.steps();
        world
    }

    fn run(mut self) {
        while let Some(op) = self.script.next() {
            self.act(op & 15, op >> 4);
            self.steps();
        }
        self.settle();
        for end in &mut self.ends {
            run_out(&mut end.endpoint, &self.clock);
        }
    }

    /// One line of the script. The lowest bit of `argument` is most often the end that it is about.
    fn act(&mut self, op: u8, argument: u8) {
        let to = usize::from(argument & 1);
        match op {
            0 => (0..=argument >> 1).for_each(|_| self.deliver(to, 0, false)),
            1 => {
                let which = self.script.byte();
                self.deliver(to, which.into(), argument & 2 != 0);
            }
            2 if argument & 2 == 0 => drop(self.flying.get_mut(to).and_then(VecDeque::pop_front)),
            2 => self.flying.iter_mut().for_each(VecDeque::clear),
            3..=5 => self.change(op, to, argument),
            6 => self.replay(to, argument),
            7 => self.invent(to, argument),
            8 => self.clock.advance(Duration::from_millis(1 << (argument % 13))),
            9 | 10 => self.send(to, argument),
            11 => self.sets(to, argument),
            12 => self.application(to, argument),
            13 => self.network(to, argument),
            14 => self.restart(to),
            _ => self.carry_all(argument.into()),
        }
    }

    /// Lets the n-th datagram under way to an end arrive; a copy of it may still come.
    fn deliver(&mut self, to: usize, which: usize, keep: bool) {
        let Some(flying) = self.flying.get_mut(to) else { return };
        let at = which.checked_rem(flying.len()).unwrap_or_default();
        let Some(datagram) = flying.remove(at) else { return };
        if keep {
            flying.push_back(Datagram { from: datagram.from, bytes: datagram.bytes.clone() });
        }
        self.arrive(to, datagram.from, datagram.bytes);
    }

    pub(super) fn arrive(&mut self, to: usize, from: SocketAddr, bytes: Vec<u8>) {
        let Some(end) = self.ends.get_mut(to) else { return };
        end.strangers.entry(from).or_default().0 += bytes.len();
        end.endpoint.socket_mut().arrive(from, bytes);
        self.step(to);
    }

    fn send(&mut self, from: usize, argument: u8) {
        let (len, shape) = (usize::from(self.script.byte()), self.script.byte());
        let Some(end) = self.ends.get_mut(from).filter(|end| end.judge.count() < MAX_MESSAGES) else {
            return;
        };
        let guarantees = [Guarantee::Delivery, Guarantee::Order, Guarantee::None, Guarantee::Delivery];
        let guarantee = pick(&guarantees, argument >> 1 & 3).copied().unwrap_or(Guarantee::Delivery);
        let lane = if argument & 8 == 0 { 0 } else { shape >> 6 };
        let mut options = SendOptions::new(guarantee).lane(LaneId(lane));
        let mut may_miss = false;
        if argument & 8 != 0 {
            let spacing = Duration::from_millis((shape & 3).into());
            match shape >> 2 & 7 {
                0 => options = options.copies(3, spacing),
                1 => options = options.parity(),
                2 => options = options.adaptive(),
                3 => options = options.notice(),
                4 => (options, may_miss) = (options.expires(spacing * 20), true),
                5 => (options, may_miss) = (options.expires(spacing * 50).drop_late(), true),
                6 => (options, may_miss) = (options.slot(u32::from(shape & 1)), true),
                _ => options = options.priority(shape),
            }
        }
        // Most are small; some take several datagrams.
        let len = if shape & 32 == 0 { len } else { len * 16 };
        let bytes = end.judge.payload(len);
        if end.endpoint.send_payload(options, &bytes).is_ok() {
            end.judge.sent(guarantee, lane, may_miss);
        }
    }

    fn sets(&mut self, at: usize, argument: u8) {
        let Some(end) = self.ends.get_mut(at) else { return };
        let lane = argument >> 3;
        match argument >> 1 & 3 {
            0 if end.endpoint.open_set(LaneId(lane)).is_ok() => end.judge.set_opened(lane),
            1 if end.endpoint.close_set(LaneId(lane)).is_ok() => end.judge.set_closed(lane),
            2 => {
                let (Ok(()) | Err(_)) = end.endpoint.flush();
            }
            _ => end.endpoint.clear_written(),
        }
    }

    fn application(&mut self, at: usize, argument: u8) {
        let Some(end) = self.ends.get_mut(at) else { return };
        end.left |= argument & 2 == 0;
        if argument & 2 == 0 {
            end.endpoint.close(u16::from(argument) << 12, b"because");
        } else {
            let (Ok(()) | Err(_)) = end.endpoint.connect();
        }
    }

    /// The socket takes nothing for a while, or the end appears elsewhere.
    fn network(&mut self, at: usize, argument: u8) {
        let Some(end) = self.ends.get_mut(at) else { return };
        if argument & 2 == 0 {
            end.endpoint.socket_mut().jammed ^= true;
        } else if self.addressed {
            end.at = address(u8::from(at == 1), argument >> 2);
        }
    }

    /// The program ends and is started again: it knows nothing, and makes other keys.
    fn restart(&mut self, at: usize) {
        let Some(end) = self.ends.get_mut(at).filter(|_| self.incarnations < 8) else { return };
        self.incarnations += 1;
        let environment = self.clock.environment(self.incarnations);
        let wire = Wire::new(self.addressed, self.run);
        end.endpoint = S::endpoint(wire, environment, self.profile, u8::from(at == 1));
        end.sessions += 2;
        end.left = true;
        end.strangers.clear();
    }

    /// Everything arrives, for so many turns of 10 ms.
    fn carry_all(&mut self, turns: usize) {
        for _ in 0..turns {
            self.steps();
            for to in [1, 0] {
                for _ in 0..MAX_FLYING {
                    self.deliver(to, 0, false);
                }
            }
            self.clock.advance(Duration::from_millis(10));
        }
    }

    fn steps(&mut self) {
        self.step(0);
        self.step(1);
    }

    /// An end is driven, and what it yields is judged.
    fn step(&mut self, which: usize) {
        let [first, second] = &mut self.ends;
        let (end, peer) = if which == 0 { (first, second) } else { (second, first) };
        for _ in 0..1_000 {
            let message = match end.endpoint.recv() {
                Ok(Some(message)) => Some((message.guarantee(), message.lane(), message.to_vec())),
                Ok(None) | Err(_) => None,
            };
            end.heed_events(self.believed);
            let Some((guarantee, LaneId(lane), bytes)) = message else { break };
            if !self.believed {
                peer.judge.yielded(guarantee, lane, &bytes, end.sessions < 2 && peer.sessions < 2);
            }
        }
        let (Ok(_) | Err(_)) = end.endpoint.maintain();
        end.heed_events(self.believed);
        assert_memory(&end.endpoint, &self.config);
        end.proven.extend(S::proven(&mut end.endpoint));
        while let Some((to, bytes)) = end.endpoint.socket_mut().take() {
            end.pay(to, bytes.len());
            let (Some(flying), Some(all)) =
                (self.flying.get_mut(1 - which), self.remembered.get_mut(1 - which))
            else {
                continue;
            };
            if all.len() >= MAX_REMEMBERED {
                all.pop_front();
            }
            all.push_back(bytes.clone());
            if flying.len() < MAX_FLYING {
                flying.push_back(Datagram { from: end.at, bytes });
            }
        }
    }

    /// The adversary goes. Who has a session, and had no other, must get everything through it.
    fn settle(&mut self) {
        let alone = |end: &End<S>| end.sessions == 1 && !end.left && end.endpoint.is_connected();
        self.ends.iter_mut().for_each(|end| end.endpoint.socket_mut().jammed = false);
        if self.believed || !self.ends.iter().all(alone) {
            return;
        }
        // A message that was given up is in no queue while the peer is still to hear of it, and waits for it: so a while more
        // than the longest probe timeout.
        let mut empty = 0;
        for _ in 0..600 {
            self.carry_all(1);
            let all = self.ends.iter().all(|end| end.endpoint.queued_messages() == 0);
            empty = if all { empty + 1 } else { 0 };
            if empty > 60 {
                break;
            }
        }
        if self.ends.iter().all(alone) {
            self.ends.iter().for_each(|end| end.judge.assert_all_there());
            let [first, second] = &self.ends;
            let hashes = (first.endpoint.handshake_hash(), second.endpoint.handshake_hash());
            assert_eq!(hashes.0, hashes.1, "both are in one session");
        }
    }
}

impl<S: Session> End<S> {
    fn heed_events(&mut self, believed: bool) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Connected { .. } | Event::PeerReconnected { .. } => self.sessions += 1,
                Event::Closed { reason, .. } => {
                    let fault = matches!(reason, CloseReason::ProtocolViolation | CloseReason::AeadLimit);
                    assert!(believed || !fault, "{reason:?} by what a stranger made");
                    self.left = true;
                    // What waited for a session ended with the attempt to have one.
                    self.sessions += 1;
                }
                _ => {}
            }
        }
    }

    /// Whoever only ever wrote to us gets no more than that.
    fn pay(&mut self, to: SocketAddr, len: usize) {
        let (received, sent) = self.strangers.entry(to).or_default();
        *sent += len;
        let known = to.ip() != address(STRANGER, 0).ip() || self.proven.contains(&to);
        assert!(known || sent <= received, "{sent} bytes to {to}, which sent {received}");
    }
}
