//! The outgoing path, top to bottom: one datagram a call, farewells and handshakes before packets, peers in turn.
//! PROTOCOL.md, "Packets" and "Server".

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use super::{Listener, Peer, gate::Reply};
use crate::{
    crypto::Side,
    error::CloseReason,
    event::PeerId,
    roster::Member,
    sealed::{Failure, messages},
    wire::envelope::{Body, Kind},
};

/// Length of a COOKIE datagram: less than any INIT.
const COOKIE_DATAGRAM: usize = 128;

impl Listener {
    /// Writes the next datagram that is due into `out`, which has room for `max_datagram_bytes`, and says where it goes.
    pub(crate) fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> Option<(usize, SocketAddr)> {
        if let Some((to, datagram)) = self.closes.pop_front() {
            out.get_mut(..datagram.len())?.copy_from_slice(&datagram);
            return Some((datagram.len(), to));
        }
        // A failure here means no randomness or no room: then nobody is answered, and those who ask will ask again.
        if let Ok(Some(sent)) = self.transmit_handshake(rng, out) {
            return Some(sent);
        }
        while let Some(id) = self.peers.take_ready() {
            match self.transmit_peer(now, rng, id, out) {
                Ok((0, _)) => self.reschedule(now, id),
                Ok(sent) => {
                    self.sent_one(now, id);
                    return Some(sent);
                }
                Err(Failure::Room) => {}
                Err(Failure::Entropy) => self.end(now, id, CloseReason::Entropy),
                Err(Failure::Exhausted) => self.end(now, id, CloseReason::KeysExhausted),
            }
        }
        None
    }

    /// A datagram of this peer leaves. Most have just one to send: they need not be asked again in vain.
    fn sent_one(&mut self, now: Instant, id: PeerId) {
        let silent =
            |member: &mut Member<Peer>| member.peer.roam.is_at_rest() && member.connection.is_silent(now);
        let silent = self.peers.get_mut(id).is_some_and(silent);
        if silent { self.reschedule(now, id) } else { self.peers.sent_one(id) }
    }

    /// RESP, at most one for each INIT read, and COOKIE; neither is longer than the datagram that it answers.
    fn transmit_handshake<R: TryCryptoRng + ?Sized>(
        &mut self,
        rng: &mut R,
        out: &mut [u8],
    ) -> Result<Option<(usize, SocketAddr)>, Failure> {
        while let Some(reply) = self.replies.pop() {
            let zero = [0; 16];
            let (to, body, size) = match reply {
                Reply::Cookie { to, reference, cookie } => {
                    (to, Body { kind: Kind::Cookie, cookie, reference, noise: &[] }, COOKIE_DATAGRAM)
                }
                Reply::Response { to, cid } => {
                    let Some(entry) = self.half_open.find_cid(&cid) else { continue };
                    let reference = messages::reference(&entry.id);
                    let noise = entry.response.as_bytes();
                    let size = self.config.handshake_bytes.into();
                    (to, Body { kind: Kind::Resp, cookie: zero, reference, noise }, size)
                }
            };
            let len = messages::seal(&self.local.envelope, rng, Side::Responder, &[], &body, size, out)?;
            return Ok(Some((len, to)));
        }
        Ok(None)
    }

    /// The next packet of one peer and where it goes; its length is 0 if it has nothing to send now.
    fn transmit_peer<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        id: PeerId,
        out: &mut [u8],
    ) -> Result<(usize, SocketAddr), Failure> {
        let Some(member) = self.peers.get_mut(id).filter(|member| member.is_open()) else {
            return Ok((0, SocketAddr::from(([0; 4], 0))));
        };
        let Member { peer: Peer { live, roam, .. }, connection, .. } = member;
        live.transmit_on(roam, now, &self.config, connection, rng, out)
    }
}
