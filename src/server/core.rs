//! What the shell of a server asks of the core under it, sealed or plain. The core makes no I/O: it is handed the time,
//! datagrams with their senders and a generator, and gives datagrams with their receivers and events back.

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use crate::{
    crypto::{PublicKey, Secret},
    error::Dropped,
    event::PeerId,
    plain,
    roster::Roster,
    sealed::{self, Ahead},
};

/// How the datagrams of a [`Server`](crate::Server) are protected: [`Listener`](crate::Listener) or
/// [`PlainListener`](crate::PlainListener); nothing else can be.
#[expect(
    private_bounds,
    reason = "sealed trait: users name it in bounds, only this crate implements or calls it"
)]
pub trait ServerSession: ServerCore {}

impl ServerSession for sealed::Listener {}
impl ServerSession for plain::Listener {}

pub(crate) trait ServerCore {
    /// What a peer has that only this kind of session has.
    type Own;
    /// The peers, with what is the same for both kinds.
    fn peers(&self) -> &Roster<Self::Own>;
    fn peers_mut(&mut self) -> &mut Roster<Self::Own>;
    /// Finds out what can be known of a datagram before its turn.
    fn look_ahead(&mut self, _now: Instant, _from: SocketAddr, _datagram: &mut [u8]) -> Ahead {
        Ahead::Strange
    }
    /// Takes one datagram, of which this was found out. Gives the peer for which something may be ready now.
    fn take_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        ahead: Ahead,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped>;
    /// Writes the next datagram into `out`; its length and where it goes. `None`: nothing to send now.
    fn poll_transmit<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        out: &mut [u8],
    ) -> Option<(usize, SocketAddr)>;
    fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R);
    fn deadline(&self) -> Option<Instant>;
    /// Lets in a peer that asks; `false` if it does not.
    fn accept<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, id: PeerId) -> bool;
    /// Ends a session or turns a peer away that asks; `false` if there is none.
    fn close(&mut self, now: Instant, id: PeerId, code: u16, reason: &[u8]) -> bool;
    /// Everything of an ended session was yielded.
    fn finish(&mut self, id: PeerId);
    fn set_accepting(&mut self, accepting: bool);
    fn address(&self, id: PeerId) -> Option<SocketAddr>;
    /// Hears what other workers of the port have to say.
    fn heed_others(&mut self, _now: Instant) {}
    /// Whether the last datagram, which was not changed, may be another worker's.
    fn take_stray(&mut self) -> bool {
        false
    }
    /// Whether so many answers to newcomers wait that they have to leave before more is read.
    fn is_pressed(&self) -> bool {
        false
    }
    // What only a sealed session has.
    fn peer_key(&self, _id: PeerId) -> Option<PublicKey> {
        None
    }
    fn handshake_hash(&self, _id: PeerId) -> Option<[u8; 32]> {
        None
    }
    fn export_key(&self, _id: PeerId, _context: &[u8]) -> Option<Secret<32>> {
        None
    }
}

/// Both cores have inherent methods of the same names.
macro_rules! server_core {
    ($kind:ty, $own:ty, { $($only:item)* }) => {
        impl ServerCore for $kind {
            type Own = $own;

            fn peers(&self) -> &Roster<$own> {
                <$kind>::peers(self)
            }

            fn peers_mut(&mut self) -> &mut Roster<$own> {
                <$kind>::peers_mut(self)
            }

            fn poll_transmit<R: TryCryptoRng + ?Sized>(
                &mut self,
                now: Instant,
                rng: &mut R,
                out: &mut [u8],
            ) -> Option<(usize, SocketAddr)> {
                <$kind>::poll_transmit(self, now, rng, out)
            }

            fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
                <$kind>::handle_timeout(self, now, rng);
            }

            fn deadline(&self) -> Option<Instant> {
                <$kind>::deadline(self)
            }

            fn accept<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, id: PeerId) -> bool {
                <$kind>::accept(self, now, rng, id)
            }

            fn close(&mut self, now: Instant, id: PeerId, code: u16, reason: &[u8]) -> bool {
                <$kind>::close(self, now, id, code, reason)
            }

            fn finish(&mut self, id: PeerId) {
                <$kind>::finish(self, id);
            }

            fn set_accepting(&mut self, accepting: bool) {
                <$kind>::set_accepting(self, accepting);
            }

            fn address(&self, id: PeerId) -> Option<SocketAddr> {
                <$kind>::address(self, id)
            }

            $($only)*
        }
    };
}

server_core!(plain::Listener, plain::ServerPeer, {
    fn take_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        _ahead: Ahead,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        Self::handle_datagram(self, now, rng, from, datagram)
    }
});

server_core!(sealed::Listener, sealed::ServerPeer, {
    fn look_ahead(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) -> Ahead {
        Self::look_ahead(self, now, from, datagram)
    }

    fn take_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        ahead: Ahead,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        Self::take_datagram(self, now, rng, from, ahead, datagram)
    }

    fn is_pressed(&self) -> bool {
        Self::is_pressed(self)
    }

    fn heed_others(&mut self, now: Instant) {
        Self::heed_others(self, now);
    }

    fn take_stray(&mut self) -> bool {
        Self::take_stray(self)
    }

    fn peer_key(&self, id: PeerId) -> Option<PublicKey> {
        Self::peer_key(self, id)
    }

    fn handshake_hash(&self, id: PeerId) -> Option<[u8; 32]> {
        Self::handshake_hash(self, id)
    }

    fn export_key(&self, id: PeerId, context: &[u8]) -> Option<Secret<32>> {
        Self::export_key(self, id, context)
    }
});
