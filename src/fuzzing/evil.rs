//! A peer with the real keys and no manners: it does the handshake by itself, in either role, as well or as badly as the
//! script wants, seals whatever it likes, and looks into everything that the honest end sends. Shares the ciphers and the
//! Noise tables with the library, not its sessions.

use std::{collections::HashSet, time::Duration};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::world::{Clock, channel, config};
use crate::{
    crypto::{self, Channel, EnvelopeKeys, Handshake, Prologue, Side},
    sealed::Credentials,
    wire::{
        ack,
        codec::Writer,
        envelope::{Body, ENVELOPE_HEADROOM, ENVELOPE_TAIL, FIELD_LEN, Kind},
        frame::{Frame, Frames, check, encode},
        hello::{Answer, Hello, Versions},
        message::Context,
    },
};

/// Sessions whose keys are kept, newest last.
const MAX_SESSIONS: usize = 4;
/// What handshake messages are padded to.
pub(super) const SIZE: u16 = 512;
/// Packets that the honest end sent and that are acknowledged when the script says so.
const MAX_NUMBERS: usize = 64;

/// One session with the honest end.
struct Held {
    channel: Channel,
    /// What it sent, for acknowledgements.
    numbers: Vec<u64>,
}

/// What a datagram of the honest end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Packet,
    Envelope(Kind),
    /// Of a session that is not remembered.
    Unknown,
}

pub(super) struct Evil {
    credentials: Credentials,
    envelope: EnvelopeKeys,
    rng: ChaCha8Rng,
    clock: Clock,
    sessions: Vec<Held>,
    /// Our own attempt, as long as it awaits RESP.
    dialling: Option<Handshake>,
    /// Our answer, as long as it awaits FIN.
    answering: Option<Handshake>,
    /// Our FIN, and the hash of what it answers.
    fin: Option<(Vec<u8>, [u8; 32])>,
    /// The last INIT of the honest end.
    init: Option<Vec<u8>>,
    /// What it asked last of the path.
    pub(super) challenge: Option<[u8; 8]>,
    nonces: HashSet<[u8; ENVELOPE_HEADROOM]>,
}

impl Evil {
    pub(super) fn new(credentials: Credentials, clock: &Clock) -> Self {
        Self {
            envelope: credentials.envelope_keys(&[]),
            credentials,
            rng: ChaCha8Rng::seed_from_u64(0xe711),
            clock: clock.clone(),
            sessions: Vec::new(),
            dialling: None,
            answering: None,
            fin: None,
            init: None,
            challenge: None,
            nonces: HashSet::new(),
        }
    }

    fn handshake(&self, side: Side) -> Option<Handshake> {
        let prologue = Prologue::new(self.credentials.profile.byte(), &[], &[])?;
        let pattern = self.credentials.profile.pattern();
        Handshake::new(pattern, side, prologue.as_bytes(), self.credentials.keys()).ok()
    }

    fn has_fin(&self) -> bool {
        self.credentials.profile.has_fin()
    }

    /// An INIT of a fresh attempt, in so many bytes. Its payload is what the script wants, or a proper one.
    pub(super) fn init(&mut self, size: u16, payload: &[u8]) -> Option<Vec<u8>> {
        let mut noise = self.handshake(Side::Initiator)?;
        let hello = Hello::new(&config()).to_bytes();
        let proper = if self.has_fin() { &Versions::OWN.to_bytes()[..] } else { &hello };
        let message = write(&mut noise, &mut self.rng, if payload.is_empty() { proper } else { payload })?;
        self.dialling = Some(noise);
        self.seal_body(size, Side::Initiator, Kind::Init, [0; FIELD_LEN], &[0; 32], &message)
    }

    /// RESP to the last INIT.
    pub(super) fn respond(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let init = self.init.clone()?;
        let (mut noise, _) = self.handshake(Side::Responder)?.read(&init, &mut [0; 64]).ok()?;
        let mut answer = [0; 64];
        let mut writer = Writer::new(&mut answer);
        Answer { hello: Hello::new(&config()), cid: None }.write(&mut writer).ok()?;
        let written = writer.written();
        let proper = answer.get(..written)?;
        let message = write(&mut noise, &mut self.rng, if payload.is_empty() { proper } else { payload })?;
        if noise.is_finished() {
            self.agree(noise, Side::Responder);
        } else {
            self.answering = Some(noise);
        }
        self.seal_body(SIZE, Side::Responder, Kind::Resp, [0; FIELD_LEN], &crypto::hash(&[&init]), &message)
    }

    /// FIN, where the pattern has one.
    pub(super) fn fin(&mut self) -> Option<Vec<u8>> {
        let (message, answers) = self.fin.clone()?;
        self.seal_body(SIZE, Side::Initiator, Kind::Fin, [0; FIELD_LEN], &answers, &message)
    }

    /// A cookie for the last INIT.
    pub(super) fn cookie(&mut self, cookie: [u8; FIELD_LEN]) -> Option<Vec<u8>> {
        let init = crypto::hash(&[self.init.as_ref()?]);
        self.seal_body(SIZE, Side::Responder, Kind::Cookie, cookie, &init, &[])
    }

    /// A session without a handshake; packet 0 was its first.
    pub(super) fn establish(&mut self) {
        let mut channel = channel(Side::Initiator);
        channel.seal.skip_number();
        self.sessions.push(Held { channel, numbers: Vec::new() });
    }

    fn conclude(&mut self, mut noise: Handshake, answers: [u8; 32]) {
        if !noise.is_finished() {
            let hello = Hello::new(&config()).to_bytes();
            self.fin = write(&mut noise, &mut self.rng, &hello).map(|message| (message, answers));
        }
        self.agree(noise, Side::Initiator);
    }

    fn agree(&mut self, noise: Handshake, side: Side) {
        let Ok(split) = noise.split() else { return };
        if self.sessions.len() >= MAX_SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push(Held { channel: Channel::derive(&split, side), numbers: Vec::new() });
    }

    fn seal_body(
        &mut self,
        size: u16,
        from: Side,
        kind: Kind,
        cookie: [u8; FIELD_LEN],
        answers: &[u8; 32],
        noise: &[u8],
    ) -> Option<Vec<u8>> {
        let (reference, _) = answers.split_first_chunk()?;
        let mut body = vec![0; usize::from(size) - ENVELOPE_HEADROOM - ENVELOPE_TAIL];
        Body { kind, cookie, reference: *reference, noise }.encode(&mut body).ok()?;
        Some(self.envelope(from, &body))
    }

    /// Any bytes in an envelope.
    pub(super) fn envelope(&mut self, from: Side, body: &[u8]) -> Vec<u8> {
        let mut envelope = [&[0; ENVELOPE_HEADROOM], body, &[0; ENVELOPE_TAIL]].concat();
        let sealed = self.envelope.seal(&mut self.rng, from, &[], &mut envelope);
        assert_eq!(sealed, Ok(()));
        envelope
    }

    /// Any bytes as the payload of a packet: of the newest session, or of one so much older.
    pub(super) fn seal(&mut self, older: usize, payload: &[u8]) -> Option<Vec<u8>> {
        let session = self.sessions.iter_mut().rev().nth(older)?;
        let mut packet = [&[0; 4], payload, &[0; 16]].concat();
        session.channel.seal.seal(&[], &mut packet).ok().map(|_| packet)
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        let mut payload = [0; 128];
        let mut writer = Writer::new(&mut payload);
        encode(frame, &mut Context::default(), &mut writer).ok()?;
        let written = writer.written();
        self.seal(0, payload.get(..written)?)
    }

    /// Acknowledges what was opened, all or all but every n-th.
    pub(super) fn acknowledge(&mut self, leave_out: usize) -> Option<Vec<u8>> {
        let session = self.sessions.last()?;
        let kept = session.numbers.iter().rev().enumerate();
        let kept =
            kept.filter(|(at, _)| leave_out == 0 || at % (leave_out + 1) != 0).map(|(_, number)| *number);
        let mut ranges: Vec<std::ops::RangeInclusive<u64>> = Vec::new();
        for number in kept {
            match ranges.last_mut() {
                Some(last) if *last.start() == number + 1 => *last = number..=*last.end(),
                _ => ranges.push(number..=number),
            }
        }
        let mut payload = [0; 512];
        let mut writer = Writer::new(&mut payload);
        ack::encode(&mut writer, 0, ranges.into_iter(), ack::MAX_RANGES).ok()?;
        let written = writer.written();
        self.seal(0, payload.get(..written)?)
    }

    pub(super) fn skip_numbers(&mut self, count: u64) {
        if let Some(session) = self.sessions.last_mut() {
            (0..count).for_each(|_| session.channel.seal.skip_number());
        }
    }

    pub(super) fn ratchet(&mut self) {
        if let Some(session) = self.sessions.last_mut() {
            session.channel.seal.ratchet();
        }
    }

    /// Looks at a datagram that the honest end sent, once.
    ///
    /// # Panics
    /// If a number comes twice under one key, a nonce comes twice, a payload is malformed, or what is acknowledged was
    /// never sent.
    pub(super) fn look(&mut self, datagram: &[u8]) -> Seen {
        let now = self.clock.now();
        for session in self.sessions.iter_mut().rev() {
            let mut packet = datagram.to_vec();
            let opened = session.channel.open.open(now, Duration::from_secs(3), &[], &mut packet);
            let opened = match opened {
                Err(crate::error::Dropped::Unopened | crate::error::Dropped::Length) => continue,
                Err(dropped) => unreachable!("a packet sealed against the rules: {dropped:?}"),
                Ok(opened) => opened,
            };
            if session.numbers.len() >= MAX_NUMBERS {
                session.numbers.remove(0);
            }
            assert!(session.numbers.last().is_none_or(|last| *last < opened.number), "numbers grow");
            session.numbers.push(opened.number);
            assert_eq!(check(opened.payload), Ok(()), "a payload of an honest end");
            for frame in Frames::new(opened.payload).flatten() {
                match frame {
                    Frame::PathChallenge(challenge) => self.challenge = Some(challenge),
                    Frame::Ack(ack) => {
                        let next = session.channel.seal.next_number();
                        assert!(ack.largest < next, "{} acknowledged, {next} not sent yet", ack.largest);
                    }
                    _ => {}
                }
            }
            return Seen::Packet;
        }
        self.look_into(datagram)
    }

    fn look_into(&mut self, datagram: &[u8]) -> Seen {
        for side in [Side::Initiator, Side::Responder] {
            let mut envelope = datagram.to_vec();
            let Some(body) = self.envelope.open(side, &[], &mut envelope) else { continue };
            let Ok(body) = Body::decode(body) else { unreachable!("a malformed body of an honest end") };
            let nonce = datagram.first_chunk().copied().unwrap_or([0; ENVELOPE_HEADROOM]);
            assert!(self.nonces.insert(nonce), "a nonce was used twice");
            match (side, body.kind) {
                (Side::Initiator, Kind::Init) => self.init = Some(body.noise.to_vec()),
                (Side::Initiator, Kind::Fin) => {
                    let read = self.answering.as_ref();
                    let read = read.and_then(|noise| noise.read(body.noise, &mut [0; 64]).ok());
                    if let Some((noise, _)) = read {
                        self.agree(noise, Side::Responder);
                    }
                }
                (Side::Responder, Kind::Resp) => {
                    let read = self.dialling.as_ref();
                    let read = read.and_then(|noise| noise.read(body.noise, &mut [0; 64]).ok());
                    // RESP is repeated; the session is one.
                    if let Some((noise, _)) = read {
                        self.dialling = None;
                        self.conclude(noise, crypto::hash(&[body.noise]));
                    }
                }
                (side, kind) => unreachable!("{kind:?} from the {side:?}"),
            }
            return Seen::Envelope(body.kind);
        }
        Seen::Unknown
    }
}

fn write(noise: &mut Handshake, rng: &mut ChaCha8Rng, payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = [0; 400];
    let len = noise.write(rng, payload, &mut out).ok()?;
    out.get(..len).map(<[u8]>::to_vec)
}
