//! One whole sealed endpoint whose peer is the fuzzer: it holds the real keys, plays both roles of the handshake, seals what
//! it likes, moves, and looks at everything that comes back.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{
    evil::{Evil, SIZE, Seen},
    script::{Script, pick},
    world::{Clock, Wire, address, assert_memory, config, establish, keys, run_out},
};
use crate::{
    config::Config,
    crypto::{Invite, Side},
    delivery::{Guarantee, LaneId, SendOptions},
    endpoint::SealedEndpoint,
    sealed::{Credentials, Trust},
    wire::{
        envelope::{Body, Kind},
        frame::{Frame, Frames},
    },
};

/// Datagrams that are remembered, to be handed in again.
const MAX_REMEMBERED: usize = 32;
/// Datagrams that one line of the script may cause.
const MAX_ANSWERS: usize = 512;

/// Takes `data` for a profile, flags, and a script of what an endpoint's peer does who has all keys.
///
/// # Panics
/// When memory passes its bound, a number is sealed twice under one key, what leaves is malformed or acknowledges what
/// was never sent, an address that proved nothing gets more bytes than came from it, or timers do not run out.
pub fn endpoint_fsm(data: &[u8]) {
    let mut script = Script::new(data);
    let (begin, flags) = (script.byte(), script.byte());
    let mut game = Game::new(begin, flags);
    game.begin(begin);
    while let Some(op) = script.next() {
        game.act(op & 15, op >> 4, &mut script);
        game.step();
    }
    run_out(&mut game.endpoint, &game.clock);
}

/// What is known of an address.
#[derive(Default)]
struct Place {
    received: usize,
    sent: usize,
    /// It showed that it receives what is sent there, or the application named it.
    proven: bool,
    answered: bool,
    challenges: Vec<[u8; 8]>,
}

struct Game {
    clock: Clock,
    config: Config,
    endpoint: SealedEndpoint<Wire>,
    evil: Evil,
    addressed: bool,
    /// Where the peer is.
    at: SocketAddr,
    places: BTreeMap<SocketAddr, Place>,
    remembered: VecDeque<Vec<u8>>,
}

impl Game {
    fn new(begin: u8, flags: u8) -> Self {
        let [own, other] = keys();
        let invite = Invite::from_bytes([3; 32]);
        let [ours, theirs] = match begin & 7 {
            0 => [Credentials::paired(own, other.public_key()), Credentials::paired(other, own.public_key())],
            1 => [own, other].map(|key| Ok(Credentials::tofu(key, Trust::Anyone))),
            2 => [
                Ok(Credentials::server_auth(own, Trust::Anyone)),
                Credentials::client_auth(other, own.public_key()),
            ],
            3 => [
                Credentials::client_auth(own, other.public_key()),
                Ok(Credentials::server_auth(other, Trust::Anyone)),
            ],
            _ => [(); 2].map(|()| Ok(Credentials::invite(&invite))),
        }
        .map(|credentials| credentials.unwrap_or_else(|error| unreachable!("{error}")));
        let (clock, addressed) = (Clock::new(), flags & 1 != 0);
        let wire = Wire::new(addressed, 1 + usize::from(flags >> 1 & 3));
        let environment = clock.environment(flags.into());
        let made = SealedEndpoint::with_environment(wire, ours, config(), environment);
        Self {
            endpoint: made.unwrap_or_else(|error| unreachable!("{error}")),
            config: config(),
            evil: Evil::new(theirs, &clock),
            clock,
            addressed,
            at: address(1, 0),
            places: BTreeMap::new(),
            remembered: VecDeque::new(),
        }
    }

    /// Most scripts begin with a session, in one role or the other.
    fn begin(&mut self, begin: u8) {
        if begin & 40 == 8 {
            self.dial();
        }
        if begin & 16 != 0 {
            return;
        }
        if begin & 32 != 0 {
            self.evil.establish();
            establish(&mut self.endpoint, &self.clock, Side::Responder, self.at);
            self.places.entry(self.at).or_default().proven = true;
            return self.step();
        }
        let first = if begin & 8 != 0 { self.evil.respond(&[]) } else { self.evil.init(SIZE, &[]) };
        self.hand(first);
        let fin = self.evil.fin();
        self.hand(fin);
        let confirm = self.evil.frame(&Frame::Confirm { cid: None, ticket: &[] });
        self.say(confirm);
        // A server does not dial, and its client does not answer.
        let fits = !matches!(begin & 15, 3 | 10);
        assert_eq!(self.endpoint.is_connected(), fits, "a session, if the peer behaves");
    }

    fn dial(&mut self) {
        if self.addressed {
            assert_eq!(self.endpoint.core_mut().set_addresses(&[self.at]), Ok(()));
        }
        // A responder by profile does not dial.
        if self.endpoint.connect().is_ok() {
            self.places.entry(self.at).or_default().proven = true;
        }
        self.step();
    }

    /// One line of the script.
    fn act(&mut self, op: u8, argument: u8, script: &mut Script<'_>) {
        match op {
            0..=3 => {
                let len = usize::from(script.byte()) * if argument & 8 == 0 { 1 } else { 4 };
                let payload = script.take(len);
                let answers = Frames::new(payload).flatten().filter_map(|frame| match frame {
                    Frame::PathResponse(answer) => Some(answer),
                    _ => None,
                });
                let place = self.places.entry(self.at).or_default();
                place.proven |= answers.into_iter().any(|answer| place.challenges.contains(&answer));
                let sealed = self.evil.seal((argument >> 1 & 3).into(), payload);
                self.say(sealed);
            }
            4 => {
                let len = usize::from(script.byte()) * if argument & 1 == 0 { 1 } else { 5 };
                self.hand(Some(script.take(len).to_vec()));
            }
            5 => self.raw_envelope(argument, script),
            6 => self.handshake(argument, script),
            7 => self.again(argument, script),
            8 => self.clock.advance(Duration::from_millis(1 << (argument % 13))),
            9 => self.send(argument, script),
            10 => self.application(argument, script),
            11 => {
                let ack = self.evil.acknowledge((argument & 3).into());
                self.say(ack);
            }
            12 => self.at = address(1, argument),
            13 => {
                self.evil.skip_numbers(1 << (argument & 7));
                if argument & 8 != 0 {
                    self.evil.ratchet();
                }
            }
            14 => self.path(argument, script),
            _ => {
                // A peer that plays for a while, so that the script gets on.
                for _ in 0..=argument {
                    let ping = self.evil.frame(&Frame::Ping);
                    self.say(ping);
                    let ack = self.evil.acknowledge(0);
                    self.say(ack);
                    self.clock.advance(Duration::from_millis(20));
                }
            }
        }
    }

    /// As `hand`, a packet: who was answered here, and speaks under the answer's keys, has heard it.
    fn say(&mut self, packet: Option<Vec<u8>>) {
        let place = self.places.entry(self.at).or_default();
        place.proven |= place.answered;
        self.hand(packet);
    }

    /// A datagram arrives from where the peer is.
    fn hand(&mut self, datagram: Option<Vec<u8>>) {
        let Some(bytes) = datagram else { return };
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(bytes.clone());
        self.arrive(bytes);
    }

    fn arrive(&mut self, bytes: Vec<u8>) {
        let place = self.places.entry(self.at).or_default();
        place.received += bytes.len();
        self.endpoint.socket_mut().arrive(self.at, bytes);
        self.step();
    }

    /// An envelope around anything.
    fn raw_envelope(&mut self, argument: u8, script: &mut Script<'_>) {
        let len = script.byte();
        let mut body = script.take(len.into()).to_vec();
        if argument & 1 == 0 {
            body.resize(usize::from(SIZE) - 40, 0);
        }
        let from = if argument & 2 == 0 { Side::Initiator } else { Side::Responder };
        let is_cookie = Body::decode(&body).is_ok_and(|body| body.kind == Kind::Cookie);
        self.places.entry(self.at).or_default().proven |= is_cookie && from == Side::Responder;
        let envelope = self.evil.envelope(from, &body);
        self.hand(Some(envelope));
    }

    /// The next message of a handshake, with a payload of the script or a proper one.
    fn handshake(&mut self, argument: u8, script: &mut Script<'_>) {
        let payload = if argument & 8 == 0 { &[][..] } else { script.take(33) };
        let datagram = match argument & 7 {
            0 => self.evil.init(SIZE, payload),
            1 => self.evil.init(256 + u16::from(script.byte()), payload),
            2 | 3 => self.evil.respond(payload),
            4 => self.evil.fin(),
            5 => {
                // Who names our INIT has heard it.
                self.places.entry(self.at).or_default().proven = true;
                self.evil.cookie(script.array())
            }
            _ => {
                let ticket = script.take(usize::from(argument & 8) * 4);
                self.evil.frame(&Frame::Confirm { cid: (argument & 1 != 0).then(|| script.array()), ticket })
            }
        };
        if argument & 7 > 5 { self.say(datagram) } else { self.hand(datagram) }
    }

    /// Something that was there before: as it was, or changed.
    fn again(&mut self, argument: u8, script: &mut Script<'_>) {
        let which = usize::from(script.byte()).checked_rem(self.remembered.len()).unwrap_or_default();
        let Some(mut bytes) = self.remembered.get(which).cloned() else { return };
        let place = self.places.entry(self.at).or_default();
        place.proven |= place.answered || !place.challenges.is_empty();
        if argument & 1 != 0 {
            let bit = script.u16();
            let at = usize::from(bit / 8).checked_rem(bytes.len()).unwrap_or_default();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        if argument & 2 != 0 {
            bytes.truncate(script.u16().into());
        }
        self.arrive(bytes);
    }

    fn send(&mut self, argument: u8, script: &mut Script<'_>) {
        let guarantees = [Guarantee::None, Guarantee::Order, Guarantee::Delivery];
        let guarantee = pick(&guarantees, argument % 3).copied().unwrap_or(Guarantee::Delivery);
        let mut options = SendOptions::new(guarantee).lane(LaneId(argument >> 2));
        let (len, shape) = (usize::from(script.byte()), script.byte());
        match shape & 7 {
            0 => options = options.copies(3, Duration::ZERO),
            1 => options = options.parity(),
            2 => options = options.notice(),
            3 => options = options.expires(Duration::from_millis(30)),
            4 => options = options.slot(1),
            _ => {}
        }
        let len = if shape & 8 == 0 { len } else { len * 64 };
        // A full queue is an answer, not a fault.
        let (Ok(_) | Err(_)) = self.endpoint.send_payload(options, &vec![shape; len]);
    }

    fn application(&mut self, argument: u8, script: &mut Script<'_>) {
        match argument & 7 {
            0 => self.endpoint.close(script.u16(), script.take(70)),
            1 | 2 => self.dial(),
            3 => {
                let (Ok(()) | Err(_)) = self.endpoint.open_set(LaneId(argument >> 3));
            }
            4 => {
                let (Ok(()) | Err(_)) = self.endpoint.close_set(LaneId(argument >> 3));
            }
            5 => self.endpoint.socket_mut().jammed ^= true,
            _ => {
                let (Ok(()) | Err(_)) = self.endpoint.flush();
            }
        }
    }

    /// Questions and answers about the path.
    fn path(&mut self, argument: u8, script: &mut Script<'_>) {
        let datagram = if argument & 1 == 0 {
            self.evil.frame(&Frame::PathChallenge(script.array()))
        } else {
            let Some(challenge) = self.evil.challenge else { return };
            self.evil.frame(&Frame::PathResponse(challenge))
        };
        if let (1, Some(challenge)) = (argument & 1, self.evil.challenge) {
            let place = self.places.entry(self.at).or_default();
            place.proven |= place.challenges.contains(&challenge);
        }
        self.say(datagram);
    }

    /// Drives the endpoint and looks at all that it says.
    fn step(&mut self) {
        for _ in 0..1_000 {
            let Ok(Some(message)) = self.endpoint.recv() else { break };
            assert!(message.bytes().len() <= self.config.max_message_bytes as usize, "{message:?}");
        }
        while self.endpoint.poll_event().is_some() {}
        let (Ok(_) | Err(_)) = self.endpoint.maintain();
        assert_memory(&self.endpoint, &self.config);
        assert!(self.endpoint.core_mut().half_open() <= self.config.half_open);
        let mut answers = 0;
        while let Some((to, bytes)) = self.endpoint.socket_mut().take() {
            answers += 1;
            assert!(answers < MAX_ANSWERS, "no end of answers");
            let asked = self.evil.challenge.take();
            let seen = self.evil.look(&bytes);
            let to = if self.addressed { to } else { self.at };
            let place = self.places.entry(to).or_default();
            place.answered |= seen == Seen::Envelope(Kind::Resp);
            place.challenges.extend(self.evil.challenge);
            self.evil.challenge = self.evil.challenge.or(asked);
            place.sent += bytes.len();
            let (sent, received) = (place.sent, place.received);
            let known = place.proven || !self.addressed;
            assert!(known || sent <= received, "{sent} bytes to {to}, which sent {received}: {seen:?}");
        }
    }
}
