//! What a sealed endpoint offers over a socket with addresses: where its peer may be, and where it is.
//! PROTOCOL.md, "Roaming".

use std::{io, net::SocketAddr};

use super::{Endpoint, outbox::Run};
use crate::{
    error::ConfigError,
    sealed::Sealed,
    socket::{AddressedUdp, UdpLike, Unconnected},
};

/// Over a socket that is not connected the peer may be at one of several addresses, and may move in the session: see
/// [`Event::PathChanged`](crate::Event::PathChanged).
impl<A: AddressedUdp> Endpoint<Unconnected<A>, Sealed> {
    /// Says where the peer may be, at most 8 addresses: `connect` dials all of them, and the one that answers is the
    /// path of the session. Takes the place of what was said before, at once. Without any, the endpoint waits to be
    /// called.
    ///
    /// Addresses that are no one peer's (multicast, broadcast, unspecified, port 0) are left out. Whoever has them from
    /// a stranger should leave out those of his own network too.
    ///
    /// # Errors
    /// [`ConfigError`] with the field `addresses` if there are more than 8; then nothing was changed.
    pub fn set_addresses(&mut self, addresses: &[SocketAddr]) -> Result<(), ConfigError> {
        self.core.set_addresses(addresses)
    }

    /// Where the packets of the live session go; `None` without one.
    #[must_use]
    pub fn path(&self) -> Option<SocketAddr> {
        self.core.path()
    }
}

/// One datagram to where the core wants it, or to the only one that a connected socket knows.
pub(super) fn send<U: UdpLike>(socket: &mut U, datagram: &[u8], to: Option<SocketAddr>) -> io::Result<usize> {
    match to {
        Some(to) => socket.send_toward(datagram, to),
        None => socket.send(datagram),
    }
}

/// Several datagrams there.
pub(super) fn send_run<U: UdpLike>(socket: &mut U, run: Run<'_>) -> io::Result<usize> {
    match run.to {
        Some(to) => socket.send_run_toward(run.bytes, run.size, to),
        None => socket.send_run(run.bytes, run.size),
    }
}
