//! Handshake messages in: INIT, RESP, FIN, COOKIE, and who gives way when both sides dial. The order of the checks is the
//! defence: what is free comes first, then what costs a Diffie-Hellman operation, and nothing is stored before both.
//! PROTOCOL.md, "Handshake", "Simultaneous open", "Bounds".

use std::time::{Duration, Instant};

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::{
    Failure, Sealed,
    budget::{FAILING_READS, PerSecond},
    dial::{Attempt, Dial, Phase, Unconfirmed, Why},
    half_open::{HalfOpen, Source, Stage},
    local::{Answered, Candidate, Local},
    messages,
    profile::Role,
};
use crate::{
    crypto::{self, PublicKey, Side},
    error::Dropped,
    wire::envelope::{Body, Kind},
};

/// Distance of the PINGs with which we ask an old session whether it still lives, and how long we wait for its answer at
/// least, before an INIT of an unknown peer is answered.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_WAIT: Duration = Duration::from_secs(3);
/// After giving way, the answer has this long to be confirmed (rule 4).
const GAVE_WAY_WAIT: Duration = Duration::from_secs(3);
/// Diffie-Hellman operations of reading a FIN.
const FIN_COST: u32 = 1;

/// How long the old session has to answer before a new one takes its place.
const ASK_AT_LEAST: Duration = Duration::from_millis(600);
const ASK_AT_MOST: Duration = Duration::from_secs(2);

impl Sealed {
    /// Step 7 of the receive procedure: at most two envelope keys, ours as responder and ours as initiator.
    pub(super) fn handle_envelope<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        let len = datagram.len();
        let answers = self.listening && self.local.credentials.role != Role::Initiator;
        if answers {
            if let Some(body) = messages::open(&self.local.envelope, Side::Initiator, &[], datagram) {
                let body = body?;
                return match body.kind {
                    // An answer is as long as the shortest INIT, so that nobody gets more bytes than he sent.
                    Kind::Init if len < usize::from(self.config.handshake_bytes) => Err(Dropped::Length),
                    Kind::Init => self.handle_init(now, rng, body.noise),
                    _ => self.handle_fin(now, &body),
                };
            }
        }
        if self.dial.is_some() {
            if let Some(body) = messages::open(&self.local.envelope, Side::Responder, &[], datagram) {
                let body = body?;
                return match body.kind {
                    Kind::Cookie => self.handle_cookie(now, &body),
                    _ => self.handle_response(now, rng, &body),
                };
            }
        }
        Err(Dropped::Unopened)
    }

    /// Begins an attempt with a fresh ephemeral key.
    pub(super) fn start_attempt<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, why: Why) {
        if let Some(paths) = &mut self.paths {
            paths.begin_attempt();
        }
        let phase = match self.write_init(now, rng) {
            Ok(attempt) => {
                // Rule 2: as decider we would not have given these answers.
                self.half_open.erase_larger(&attempt.ephemeral);
                Phase::Sent(Box::new(attempt))
            }
            Err(failure @ Failure::Entropy) => return self.fail(now, failure),
            // With keys that agree on nothing there is no message 1: silence, like every other wrong key.
            Err(_) => Phase::GaveWay { until: now + self.config.attempt_timeout },
        };
        self.dial = Some(Dial { why, phase });
    }

    fn write_init<R: TryCryptoRng + ?Sized>(&self, now: Instant, rng: &mut R) -> Result<Attempt, Failure> {
        let (noise, message) = self.local.init(rng)?;
        let id = crypto::hash(&[message.as_bytes()]);
        let ephemeral = noise.local_ephemeral().ok_or(Failure::Room)?;
        Ok(Attempt::new(noise, ephemeral, message, id, now, self.config.attempt_timeout))
    }

    /// Rule 1: our own ephemeral key or our own static key from outside is a mirror.
    fn is_own_ephemeral(&self, now: Instant, ephemeral: &[u8; 32]) -> bool {
        let pending = self.dial.as_ref().and_then(Dial::ephemeral);
        pending == Some(ephemeral) || self.attempts.has_ephemeral(now, ephemeral)
    }

    fn handle_init<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        message: &[u8],
    ) -> Result<(), Dropped> {
        let (ephemeral, _) = message.split_first_chunk::<32>().ok_or(Dropped::Handshake)?;
        if self.is_own_ephemeral(now, ephemeral) {
            return Err(Dropped::Reflected);
        }
        let from = self.paths.as_ref().and_then(|paths| paths.from);
        let id = crypto::hash(&[message]);
        if self.live.as_ref().is_some_and(|live| live.init == messages::reference(&id)) {
            return Err(Dropped::Handshake);
        }
        if let Some(entry) = self.half_open.find(&id) {
            entry.reply_due = true;
            entry.source.again(from);
            return Ok(());
        }
        if !self.may_replace(now) {
            return Err(Dropped::Handshake);
        }
        let known_larger = match &self.dial {
            Some(Dial { phase: Phase::Sent(attempt), .. }) => attempt.knows_larger(&id),
            _ => false,
        };
        // An INIT that lost the comparison before needs no second read, unless we give way to it now.
        if known_larger && !self.decides(now, ephemeral, &id) {
            return Ok(());
        }
        if !self.half_open.has_room(now)
            || !self.strangers.take(now, self.local.credentials.profile.init_cost())
        {
            return Err(Dropped::Handshake);
        }
        let candidate = self.local.read_init(message)?;
        self.welcome(candidate.noise.remote_static())?;
        if !known_larger && !self.decides(now, ephemeral, &id) {
            return Ok(());
        }
        self.answer(now, rng, *ephemeral, id, candidate).map_err(|failure| {
            self.fail_if_entropy(now, failure);
            Dropped::Handshake
        })
    }

    /// Rules 2 to 4, for a valid INIT: whether it is to be answered.
    fn decides(&mut self, now: Instant, ephemeral: &[u8; 32], id: &[u8; 32]) -> bool {
        let Some(dial) = &mut self.dial else { return true };
        if dial.ephemeral().is_none_or(|own| ephemeral < own) {
            // We follow, and keep our own attempt all the same: a recorded INIT must not be able to silence us.
            return true;
        }
        match &mut dial.phase {
            Phase::Sent(attempt) => {
                if !attempt.gives_way(now, id) {
                    if let Some(paths) = &mut self.paths {
                        paths.called();
                    }
                    return false;
                }
                let why = dial.why;
                self.drop_dial(now);
                self.dial = Some(Dial { why, phase: Phase::GaveWay { until: now + GAVE_WAY_WAIT } });
                true
            }
            Phase::Unconfirmed(unconfirmed) => {
                unconfirmed.send_early(now);
                false
            }
            Phase::GaveWay { .. } => true,
        }
    }

    /// Whether an INIT may be read while a session is live. Where the profile gives the initiator no static key, nobody
    /// can prove to be the same peer: the old session is asked first, by one sealed PING a second, and an INIT counts
    /// only when it has been silent for long. PROTOCOL.md, "Replacement".
    fn may_replace(&mut self, now: Instant) -> bool {
        let Some(live) = &mut self.live else { return true };
        if self.local.credentials.profile.names_initiator() {
            return true;
        }
        let patience = PROBE_WAIT.max(self.connection.pto() * 3);
        let (first, last) = **live.probe.get_or_insert_with(|| {
            self.connection.ping(now);
            Box::new((now, now))
        });
        if now.saturating_duration_since(first) >= patience {
            return true;
        }
        if now.saturating_duration_since(last) >= PROBE_EVERY {
            live.probe = Some(Box::new((first, now)));
            self.connection.ping(now);
        }
        false
    }

    /// Whether this static key, known or just learnt, may become our peer now.
    fn welcome(&mut self, key: Option<PublicKey>) -> Result<(), Dropped> {
        let Some(key) = key else { return Ok(()) };
        self.local.welcome(&key)?;
        // While a session lives, only its own peer may replace it.
        if self.live.as_ref().is_some_and(|live| live.peer != Some(key)) {
            return Err(Dropped::Handshake);
        }
        Ok(())
    }

    fn answer<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        ephemeral: [u8; 32],
        id: [u8; 32],
        candidate: Candidate,
    ) -> Result<(), Failure> {
        let Answered { response, response_id, after } = self.local.answer(rng, candidate, None)?;
        self.half_open.insert(HalfOpen {
            id,
            ephemeral,
            created: now,
            response,
            response_id,
            reads: PerSecond::new(FAILING_READS, now),
            reply_due: true,
            source: Source::new(self.paths.as_ref().and_then(|paths| paths.from)),
            stage: after.stage(id)?,
        });
        Ok(())
    }

    /// RESP: borrows the attempt to read, and moves it only when everything was right.
    fn handle_response<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        body: &Body<'_>,
    ) -> Result<(), Dropped> {
        let (answer, ephemeral, id, age) = match self.dial.as_mut().map(|dial| &mut dial.phase) {
            Some(Phase::Sent(attempt)) => {
                if !refers(body, &attempt.id) || !attempt.reads.allows(now) {
                    return Err(Dropped::Handshake);
                }
                // Counted as failing until it has not failed.
                attempt.reads.note();
                let age = attempt.age(now);
                (self.local.read_answer(&attempt.noise, body.noise)?, attempt.ephemeral, attempt.id, age)
            }
            Some(Phase::Unconfirmed(unconfirmed)) => {
                // The accepted RESP again: FIN or CONFIRM was lost.
                let same = crypto::hash(&[body.noise]).ct_eq(&unconfirmed.response);
                if !bool::from(same) || !refers(body, &unconfirmed.agreed.init) {
                    return Err(Dropped::Handshake);
                }
                unconfirmed.send_early(now);
                return Ok(());
            }
            _ => return Err(Dropped::Handshake),
        };
        // In XX the peer's key is new to us: trust is decided before FIN gives our own away.
        self.welcome(answer.noise.remote_static())?;
        let response = crypto::hash(&[body.noise]);
        match self.local.conclude(rng, id, answer) {
            Ok((agreed, fin)) => {
                let wait = self.ask_old_session(now, age);
                let unconfirmed = Unconfirmed::new(agreed, ephemeral, response, fin, (now, wait));
                if let Some(paths) = &mut self.paths {
                    paths.answered();
                }
                if let Some(dial) = &mut self.dial {
                    dial.phase = Phase::Unconfirmed(Box::new(unconfirmed));
                }
                Ok(())
            }
            Err(failure) => {
                self.fail_if_entropy(now, failure);
                Err(Dropped::Handshake)
            }
        }
    }

    /// A RESP to an attempt that silence began says that the peer is there, not that it lost the session. The old
    /// session is asked before it is replaced, more than once, since many sessions may be in the same doubt and fill the
    /// same queues: what is unacknowledged in it would be lost. Gives the time to wait for that. PROTOCOL.md, "Replacement".
    fn ask_old_session(&mut self, now: Instant, age: Duration) -> Duration {
        let doubted = self.live.is_some() && self.dial.as_ref().is_some_and(|dial| dial.why == Why::Silence);
        if !doubted {
            return Duration::ZERO;
        }
        self.connection.ping(now);
        // What the attempt took tells how long the way is at the moment, which the session's own estimate does not.
        (self.connection.pto() * 3).max(age * 2).clamp(ASK_AT_LEAST, ASK_AT_MOST)
    }

    fn handle_fin(&mut self, now: Instant, body: &Body<'_>) -> Result<(), Dropped> {
        let entry = self.half_open.iter_mut().find(|entry| refers(body, &entry.response_id));
        let Some(HalfOpen { id, reads, stage: Stage::AwaitsFin(noise), .. }) = entry else {
            return Err(Dropped::Handshake);
        };
        if !reads.allows(now) || !self.strangers.take(now, FIN_COST) {
            return Err(Dropped::Handshake);
        }
        reads.note();
        let id = *id;
        let fin = self.local.read_fin(noise, body.noise)?;
        self.welcome(fin.noise.remote_static())?;
        let agreed = Local::agreed(id, fin)?;
        if let Some(entry) = self.half_open.find(&id) {
            entry.stage = Stage::AwaitsPacket(Box::new(agreed));
        }
        Ok(())
    }

    fn handle_cookie(&mut self, now: Instant, body: &Body<'_>) -> Result<(), Dropped> {
        if let Some(Dial { phase: Phase::Sent(attempt), .. }) = &mut self.dial {
            // A cookie is good for one address, and only who was sent an INIT there has one to give.
            let asked = self.paths.as_ref().is_none_or(|paths| paths.has_dialled_source());
            if asked && refers(body, &attempt.id) && attempt.cookie(now, body.cookie) {
                if let Some(paths) = &mut self.paths {
                    paths.called();
                }
                return Ok(());
            }
        }
        Err(Dropped::Handshake)
    }

    fn fail_if_entropy(&mut self, now: Instant, failure: Failure) {
        if failure == Failure::Entropy {
            self.fail(now, failure);
        }
    }
}

/// Whether the message answers the one with this hash.
fn refers(body: &Body<'_>, id: &[u8; 32]) -> bool {
    body.reference.ct_eq(&messages::reference(id)).into()
}
