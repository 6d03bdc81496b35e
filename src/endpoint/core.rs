//! What the shell asks of a session's core, and the two kinds that there are. The core makes no I/O: it is handed the
//! time, datagrams and a generator, and gives datagrams and events back.

use std::{net::SocketAddr, time::Instant};

use rand_core::TryCryptoRng;

use crate::{
    connection::Connection,
    crypto::{PublicKey, Secret},
    error::{CloseReason, ConnectError},
    event::Event,
    plain::Plain,
    sealed::Sealed,
    stats::Stats,
};

/// How the datagrams of an [`Endpoint`](crate::Endpoint) are protected: [`Plain`] or [`Sealed`]; nothing else can be.
#[expect(
    private_bounds,
    reason = "sealed trait: users name it in bounds, only this crate implements or calls it"
)]
pub trait Session: Core {}

impl Session for Plain {}
impl Session for Sealed {}

pub(crate) trait Core: Sized {
    const SEALED: bool;

    /// Takes one datagram that came from the peer's address. Infallible: garbage changes only a counter.
    fn handle_datagram<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, datagram: &mut [u8]);
    /// Writes the next datagram into `out` and returns its length; 0 = nothing to send now.
    fn poll_transmit<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R, out: &mut [u8])
    -> usize;
    /// Where the next datagram comes from, over a socket with addresses.
    fn arrived_from(&mut self, _from: SocketAddr) {}
    /// Where the datagram written last goes, over a socket with addresses.
    fn destination(&self) -> Option<SocketAddr> {
        None
    }
    fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R);
    fn deadline(&self) -> Option<Instant>;
    fn connect<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) -> Result<(), ConnectError>;
    fn close(&mut self, now: Instant, code: u16, reason: &[u8]);
    fn poll_event(&mut self) -> Option<Event>;
    fn is_connected(&self) -> bool;
    /// Why the last session ended or could not begin, until `connect` or the peer begins another.
    fn closed(&self) -> Option<CloseReason>;
    // What only a sealed session has.
    fn handshake_hash(&self) -> Option<[u8; 32]> {
        None
    }
    fn peer_key(&self) -> Option<PublicKey> {
        None
    }
    fn export_key(&self, _context: &[u8]) -> Option<Secret<32>> {
        None
    }
    fn connection(&self) -> &Connection;
    fn connection_mut(&mut self) -> &mut Connection;
    /// Adds drops, violations and epochs.
    fn fill_stats(&self, stats: &mut Stats);
}

/// Both cores have inherent methods of the same names, so that they can be used without this trait.
macro_rules! core {
    ($kind:ty, $sealed:literal, $epoch:expr, { $($own:item)* }) => {
        impl Core for $kind {
            const SEALED: bool = $sealed;

            fn handle_datagram<R: TryCryptoRng + ?Sized>(
                &mut self,
                now: Instant,
                rng: &mut R,
                datagram: &mut [u8],
            ) {
                <$kind>::handle_datagram(self, now, rng, datagram);
            }

            fn poll_transmit<R: TryCryptoRng + ?Sized>(
                &mut self,
                now: Instant,
                rng: &mut R,
                out: &mut [u8],
            ) -> usize {
                <$kind>::poll_transmit(self, now, rng, out)
            }

            fn handle_timeout<R: TryCryptoRng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
                <$kind>::handle_timeout(self, now, rng);
            }

            fn deadline(&self) -> Option<Instant> {
                <$kind>::deadline(self)
            }

            fn connect<R: TryCryptoRng + ?Sized>(
                &mut self,
                now: Instant,
                rng: &mut R,
            ) -> Result<(), ConnectError> {
                <$kind>::connect(self, now, rng)
            }

            fn close(&mut self, now: Instant, code: u16, reason: &[u8]) {
                <$kind>::close(self, now, code, reason);
            }

            fn poll_event(&mut self) -> Option<Event> {
                <$kind>::poll_event(self)
            }

            fn is_connected(&self) -> bool {
                <$kind>::is_connected(self)
            }

            fn closed(&self) -> Option<CloseReason> {
                <$kind>::closed(self)
            }

            fn connection(&self) -> &Connection {
                <$kind>::connection(self)
            }

            fn connection_mut(&mut self) -> &mut Connection {
                <$kind>::connection_mut(self)
            }

            fn fill_stats(&self, stats: &mut Stats) {
                stats.drops.merge(self.drops());
                stats.violations = self.violations().into();
                (stats.epoch_send, stats.epoch_recv) = $epoch(self);
            }

            $($own)*
        }
    };
}

core!(Plain, false, |_: &Self| (0, 0), {});
core!(Sealed, true, Self::epochs, {
    fn arrived_from(&mut self, from: SocketAddr) {
        Self::arrived_from(self, from);
    }

    fn destination(&self) -> Option<SocketAddr> {
        Self::destination(self)
    }

    fn handshake_hash(&self) -> Option<[u8; 32]> {
        Self::handshake_hash(self)
    }

    fn peer_key(&self) -> Option<PublicKey> {
        Self::peer_key(self)
    }

    fn export_key(&self, context: &[u8]) -> Option<Secret<32>> {
        Self::export_key(self, context)
    }
});
