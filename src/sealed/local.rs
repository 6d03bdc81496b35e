//! This side of every handshake, whoever the other one is: its credentials, what it says of itself, its envelope keys.
//! Reads and writes the Noise messages and turns a finished handshake into the keys of a session. Knows no attempts, no
//! table and no session: a read changes nothing, so a bad message leaves everything as it was.
//! PROTOCOL.md, "Handshake".

use std::sync::Arc;

use rand_core::TryCryptoRng;

use super::{
    Agreed, Credentials, Failure,
    finished::{Finished, Waits},
    half_open::Stage,
    messages::{self, MAX_PAYLOAD, NoiseBytes, PACKET_OVERHEAD},
    seal::Prefix,
};
use crate::{
    config::Config,
    connection::{BASE_DATAGRAM, Negotiated},
    crypto::{self, Channel, EnvelopeKeys, Handshake, NoiseError, Prologue, PublicKey, Side, Start},
    error::{ConfigError, Dropped},
    wire::frame::{CID_LEN, MAX_TICKET},
};

/// Longest route, in bytes.
pub(crate) const MAX_ROUTE: usize = 20;
/// Bytes of CONFIRM before a ticket: type, no id, the ticket's length.
const CONFIRM_HEAD: usize = 4;

#[derive(Debug)]
pub(super) struct Local {
    config: Arc<Config>,
    pub(super) credentials: Credentials,
    /// As initiator and as responder; `None` for what these credentials are not.
    starts: [Option<Box<Start>>; 2],
    pub(super) envelope: EnvelopeKeys,
    /// The route, which stands before everything that a client sends to its server.
    pub(super) front: Prefix,
}

/// What reading the first message gave.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) noise: Handshake,
    negotiated: Option<Negotiated>,
}

/// What reading the last message that the peer sends gave.
#[derive(Debug)]
pub(super) struct LastRead {
    pub(super) noise: Handshake,
    negotiated: Negotiated,
    /// The id by which the peer wants to be addressed, and what therefore stands before our packets.
    cid: Option<[u8; CID_LEN]>,
    prefix: Prefix,
}

/// Our message 2, and what comes after it.
pub(super) struct Answered {
    pub(super) response: NoiseBytes,
    /// BLAKE2s of it.
    pub(super) response_id: [u8; 32],
    pub(super) after: After,
}

/// The state after our message 2.
pub(super) struct After {
    noise: Handshake,
    /// Where no message 3 follows.
    negotiated: Option<Negotiated>,
}

impl After {
    /// What an endpoint with one peer waits for: its few entries have their keys at hand, which many packets are tried
    /// with. `id` is the hash of message 1.
    pub(super) fn stage(self, id: [u8; 32]) -> Result<Stage, Failure> {
        let Some(negotiated) = self.negotiated else { return Ok(Stage::AwaitsFin(Box::new(self.noise))) };
        let agreed = agree(self.noise, Side::Responder, id, negotiated, (None, Prefix::default()));
        Ok(Stage::AwaitsPacket(Box::new(agreed.map_err(failure)?)))
    }

    /// What a server of many waits for.
    pub(super) fn waits(self) -> Result<Waits, Failure> {
        let Some(negotiated) = self.negotiated else { return Ok(Waits::Fin(Box::new(self.noise))) };
        let finished = Finished::new(self.noise, negotiated).map_err(failure)?;
        Ok(Waits::Packet(Box::new(finished)))
    }
}

impl Local {
    pub(super) fn new(
        credentials: Credentials,
        config: &Arc<Config>,
        route: &[u8],
    ) -> Result<Self, ConfigError> {
        let too_long = |field, len: usize, max| ConfigError { field, given: len as u64, min: 0, max };
        // INIT comes behind the route, and has to fit the largest datagram all the same.
        let spare = config.max_datagram_bytes.saturating_sub(config.handshake_bytes);
        let longest = MAX_ROUTE.min(spare.into());
        let front = Prefix::new(route, &[]).filter(|_| route.len() <= longest);
        let front = front.ok_or(too_long("route", route.len(), longest as u64))?;
        check_ticket(&credentials, config, route.len())?;
        let prologue = Prologue::new(credentials.profile.byte(), &config.app_id, route).ok_or(too_long(
            "app_id",
            config.app_id.len(),
            32,
        ))?;
        let envelope = credentials.envelope_keys(&config.app_id);
        let starts = [Side::Initiator, Side::Responder].map(|side| {
            let pattern = credentials.profile.pattern();
            Start::new(pattern, side, prologue.as_bytes(), credentials.keys()).ok().map(Box::new)
        });
        Ok(Self { config: Arc::clone(config), credentials, starts, envelope, front })
    }

    fn new_noise(&self, side: Side) -> Result<Handshake, NoiseError> {
        let [initiator, responder] = &self.starts;
        let start = if side == Side::Initiator { initiator } else { responder };
        start.as_ref().map(|start| start.handshake()).ok_or(NoiseError::Misuse)
    }

    /// Message 1 with a fresh ephemeral key, and the state that reads its answer.
    pub(super) fn init<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
    ) -> Result<(Handshake, NoiseBytes), Failure> {
        let mut noise = self.new_noise(Side::Initiator).map_err(failure)?;
        let mut payload = [0; MAX_PAYLOAD];
        let len = messages::init_payload(self.credentials.profile, &self.config, &mut payload);
        let payload = payload.get(..len).ok_or(Failure::Room)?;
        let message = NoiseBytes::written(|out| noise.write(rng, payload, out).map_err(failure))?;
        Ok((noise, message))
    }

    /// Reads message 1. Who sent it is in `noise`; whether he is welcome is for the caller to ask.
    pub(super) fn read_init(&self, message: &[u8]) -> Result<Candidate, Dropped> {
        let noise = self.new_noise(Side::Responder).map_err(|_| Dropped::Handshake)?;
        let mut payload = [0; MAX_PAYLOAD];
        let (noise, len) = noise.read(message, &mut payload).map_err(|_| Dropped::Handshake)?;
        let payload = payload.get(..len).ok_or(Dropped::Handshake)?;
        let negotiated = messages::read_init(self.credentials.profile, &self.config, payload)?;
        Ok(Candidate { noise, negotiated })
    }

    /// Whether this static key, known or just learnt, is one that we talk to.
    pub(super) fn welcome(&mut self, key: &PublicKey) -> Result<(), Dropped> {
        if self.credentials.own() == Some(key) {
            return Err(Dropped::Reflected);
        }
        let known = self.credentials.known_peer() == Some(*key);
        if known || self.credentials.trust.allows(key) { Ok(()) } else { Err(Dropped::Handshake) }
    }

    /// Message 2. `cid` is the id by which a server wants to be addressed.
    pub(super) fn answer<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        candidate: Candidate,
        cid: Option<[u8; CID_LEN]>,
    ) -> Result<Answered, Failure> {
        let Candidate { mut noise, negotiated } = candidate;
        let mut payload = [0; MAX_PAYLOAD];
        let len = messages::answer_payload(&self.config, cid, &mut payload);
        let payload = payload.get(..len).ok_or(Failure::Room)?;
        let response = NoiseBytes::written(|out| noise.write(rng, payload, out).map_err(failure))?;
        let response_id = crypto::hash(&[response.as_bytes()]);
        Ok(Answered { response, response_id, after: After { noise, negotiated } })
    }

    /// Reads message 2 with the state that sent message 1.
    pub(super) fn read_answer(&self, attempt: &Handshake, message: &[u8]) -> Result<LastRead, Dropped> {
        let mut payload = [0; MAX_PAYLOAD];
        let (noise, len) = attempt.read(message, &mut payload).map_err(|_| Dropped::Handshake)?;
        let payload = payload.get(..len).ok_or(Dropped::Handshake)?;
        let (mut negotiated, cid) = messages::read_answer(&self.config, payload)?;
        let prefix =
            Prefix::new(self.front.as_bytes(), cid.as_ref().map_or(&[][..], <[u8; CID_LEN]>::as_slice))
                .ok_or(Dropped::Handshake)?;
        negotiated.overhead += prefix.len();
        // A peer with so small datagrams would never hear the whole of CONFIRM.
        let most = usize::from(negotiated.max_datagram.min(BASE_DATAGRAM));
        if negotiated.overhead + CONFIRM_HEAD + self.credentials.ticket().len() > most {
            return Err(Dropped::Handshake);
        }
        Ok(LastRead { noise, negotiated, cid, prefix })
    }

    /// The initiator's last step: FIN where the pattern has one, and the keys.
    pub(super) fn conclude<R: TryCryptoRng + ?Sized>(
        &self,
        rng: &mut R,
        id: [u8; 32],
        answer: LastRead,
    ) -> Result<(Agreed, Option<NoiseBytes>), Failure> {
        let LastRead { mut noise, negotiated, cid, prefix } = answer;
        let mut fin = None;
        if !noise.is_finished() {
            let mut payload = [0; MAX_PAYLOAD];
            let len = messages::hello_payload(&self.config, &mut payload);
            let payload = payload.get(..len).ok_or(Failure::Room)?;
            fin = Some(NoiseBytes::written(|out| noise.write(rng, payload, out).map_err(failure))?);
        }
        let agreed = agree(noise, Side::Initiator, id, negotiated, (cid, prefix)).map_err(failure)?;
        Ok((agreed, fin))
    }

    /// Reads message 3 with the state that sent message 2.
    pub(super) fn read_fin(&self, answered: &Handshake, message: &[u8]) -> Result<LastRead, Dropped> {
        let mut payload = [0; MAX_PAYLOAD];
        let (noise, len) = answered.read(message, &mut payload).map_err(|_| Dropped::Handshake)?;
        let payload = payload.get(..len).ok_or(Dropped::Handshake)?;
        let negotiated = messages::read_hello(&self.config, payload)?;
        Ok(LastRead { noise, negotiated, cid: None, prefix: Prefix::default() })
    }

    /// A server's end of the handshake after message 3.
    pub(super) fn finished(fin: LastRead) -> Result<Finished, Dropped> {
        Finished::new(fin.noise, fin.negotiated).map_err(|_| Dropped::Handshake)
    }

    /// The responder's keys after message 3.
    pub(super) fn agreed(id: [u8; 32], fin: LastRead) -> Result<Agreed, Dropped> {
        let LastRead { noise, negotiated, cid, prefix } = fin;
        agree(noise, Side::Responder, id, negotiated, (cid, prefix)).map_err(|_| Dropped::Handshake)
    }
}

/// Whether CONFIRM with this ticket fits a datagram that every path takes.
pub(super) fn check_ticket(
    credentials: &Credentials,
    config: &Config,
    route: usize,
) -> Result<(), ConfigError> {
    let head = route + CID_LEN + PACKET_OVERHEAD + CONFIRM_HEAD;
    let max = MAX_TICKET.min(usize::from(config.max_datagram_bytes.min(BASE_DATAGRAM)).saturating_sub(head));
    let given = credentials.ticket().len();
    if given <= max {
        return Ok(());
    }
    Err(ConfigError { field: "ticket", given: given as u64, min: 0, max: max as u64 })
}

fn agree(
    noise: Handshake,
    side: Side,
    init: [u8; 32],
    negotiated: Negotiated,
    (cid, prefix): (Option<[u8; CID_LEN]>, Prefix),
) -> Result<Agreed, NoiseError> {
    let peer = noise.remote_static();
    let channel = Channel::derive(&noise.split()?, side);
    Ok(Agreed { channel, side, peer, init, negotiated, cid, prefix })
}

fn failure(error: NoiseError) -> Failure {
    match error {
        NoiseError::Entropy => Failure::Entropy,
        _ => Failure::Room,
    }
}
