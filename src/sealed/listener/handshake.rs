//! Handshake messages in: INIT, FIN, and the packet that confirms. The order of the checks is the defence: what is free
//! comes first, then what costs a Diffie-Hellman operation, and nothing is stored before both.
//! PROTOCOL.md, "Handshake" and "Flood defence".

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand_core::TryCryptoRng;
use subtle::ConstantTimeEq;

use super::{
    Listener,
    cids::Cid,
    gate::{Admitted, Init, Reply, Verdict},
    half_open::{Answer, Entry},
    receive::open_packet,
};
use crate::{
    crypto::{self, Side},
    error::Dropped,
    sealed::{
        finished::Waits,
        local::{Answered, Local},
        messages,
    },
    wire::{
        envelope::{Body, Kind},
        worker::worker_of,
    },
};

/// Diffie-Hellman operations of reading a FIN.
const FIN_COST: u32 = 1;
/// How long the receiving keys of an earlier epoch are kept in a session that has not begun: there is none.
const NO_EPOCH: Duration = Duration::from_secs(1);

impl Listener {
    /// A datagram whose id is nobody's: INIT, or nothing of ours.
    pub(super) fn handle_init<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        let route_len = self.server.route.len();
        // An answer is as long as the shortest INIT, so that nobody gets more bytes than he sent.
        if datagram.len() < route_len + usize::from(self.config.handshake_bytes) {
            self.stray = true;
            return Err(Dropped::Unopened);
        }
        // Without a place for an answer nothing is paid for.
        if !self.accepting || self.replies.is_full() || !self.gate.take_envelope(now) {
            // It may still be a large packet of another worker's session.
            self.stray = self.names_another_worker(datagram.get(route_len..).unwrap_or_default());
            return Err(Dropped::Handshake);
        }
        let (route, envelope) = datagram.split_at_mut_checked(route_len).ok_or(Dropped::Length)?;
        let opened = messages::open(&self.local.envelope, Side::Initiator, route, envelope);
        let Some(body) = opened else {
            self.stray = true;
            return Err(Dropped::Unopened);
        };
        let body = body?;
        if body.kind != Kind::Init {
            return Err(Dropped::Handshake);
        }
        let id = crypto::hash(&[body.noise]);
        // It made a session: who has that needs no answer, and everybody else gets none.
        if self.inits.contains(&messages::reference(&id)) {
            return Err(Dropped::Handshake);
        }
        let cost = self.local.credentials.profile.init_cost()
            + if self.local.credentials.profile.has_fin() { FIN_COST } else { 0 };
        let init = Init { from, id: &id, cookie: &body.cookie, cost };
        match self.gate.judge(now, &mut self.half_open, &init) {
            Verdict::Drop => Err(Dropped::Handshake),
            Verdict::AskCookie(cookie) => {
                let reference = messages::reference(&id);
                self.reply(Reply::Cookie { to: from, reference, cookie })
            }
            Verdict::Again => {
                let Some(entry) = self.half_open.find(&id) else { return Err(Dropped::Handshake) };
                entry.answer_to(from);
                let cid = entry.cid;
                self.reply(Reply::Response { to: from, cid })
            }
            Verdict::Read(admitted) => self.answer(now, rng, admitted, id, body.noise),
        }
    }

    fn names_another_worker(&self, from_cid: &[u8]) -> bool {
        let worker = self.server.worker.zip(from_cid.first());
        worker.is_some_and(|(worker, &first)| worker_of(first, worker.count) != worker.index)
    }

    fn reply(&mut self, reply: Reply) -> Result<(), Dropped> {
        if self.replies.push(reply) { Ok(()) } else { Err(Dropped::Handshake) }
    }

    /// Reads message 1 and keeps an answer to it.
    fn answer<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        admitted: Admitted,
        id: [u8; 32],
        noise: &[u8],
    ) -> Result<(), Dropped> {
        self.gate.note_dh(self.local.credentials.profile.init_cost());
        let candidate = self.local.read_init(noise)?;
        if let Some(key) = candidate.noise.remote_static() {
            self.local.welcome(&key)?;
        }
        let cid = self.fresh_cid(rng).map_err(|_| Dropped::Handshake)?;
        let Answered { response, after, .. } =
            self.local.answer(rng, candidate, Some(cid)).map_err(|_| Dropped::Handshake)?;
        let stage = after.waits().map_err(|_| Dropped::Handshake)?;
        let to = admitted.from;
        if !self.half_open.insert(now, admitted, Answer { id, cid, response, stage }) {
            return Err(Dropped::Handshake);
        }
        self.reply(Reply::Response { to, cid })
    }

    /// A datagram with the id of a half-open entry: FIN where the pattern has one, else the packet that confirms.
    pub(super) fn half_open_packet<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        cid: Cid,
        (prefix, packet): (&[u8], &mut [u8]),
    ) -> Result<(), Dropped> {
        // Whoever has seen the id must not make us open without end, nor whoever has seen many: each try counts among the
        // envelopes, since it costs no less.
        let allowed = self.half_open.find_cid(&cid).is_some_and(|entry| entry.may_try(now, from));
        if !allowed || !self.gate.take_envelope(now) {
            return Err(Dropped::Unopened);
        }
        let entry = self.half_open.find_cid(&cid).ok_or(Dropped::Unopened)?;
        let Waits::Packet(finished) = &entry.stage else {
            return self.handle_fin(now, from, cid, prefix, packet);
        };
        // The entry keeps what the keys are made from, and no keys: a flood that fills the table fills less. Those that open are
        // made for each try, the others for one that opened.
        let mut open = finished.open_keys();
        entry.note_try(from);
        let (number, _) = open_packet(&mut open, now, NO_EPOCH, prefix, packet)?;
        let proven = entry.proves(from);
        self.confirmed(now, rng, (from, proven), (number, cid, open), packet)
    }

    fn handle_fin(
        &mut self,
        now: Instant,
        from: SocketAddr,
        cid: Cid,
        prefix: &[u8],
        envelope: &mut [u8],
    ) -> Result<(), Dropped> {
        let opened = messages::open(&self.local.envelope, Side::Initiator, prefix, envelope);
        let body: Body<'_> = opened.ok_or(Dropped::Unopened)??;
        if body.kind != Kind::Fin {
            return Err(Dropped::Handshake);
        }
        let Self { half_open, gate, local, .. } = self;
        let entry: &mut Entry<Waits> = half_open.find_cid(&cid).ok_or(Dropped::Handshake)?;
        let reference = messages::reference(&crypto::hash(&[entry.response.as_bytes()]));
        if !bool::from(body.reference.ct_eq(&reference)) {
            return Err(Dropped::Handshake);
        }
        // What somebody sends from elsewhere is none of the share of whom the entry is of.
        let validated = entry.is_validated() && from == entry.from();
        if !entry.take_prepaid() && !gate.charge(now, from, FIN_COST, validated) {
            return Err(Dropped::Handshake);
        }
        entry.note_try(from);
        let Waits::Fin(noise) = &entry.stage else { return Err(Dropped::Handshake) };
        gate.note_dh(FIN_COST);
        let fin = local.read_fin(noise, body.noise)?;
        if let Some(key) = fin.noise.remote_static() {
            local.welcome(&key)?;
        }
        entry.stage = Waits::Packet(Box::new(Local::finished(fin)?));
        Ok(())
    }
}
