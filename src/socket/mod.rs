//! The traits between the endpoints and whatever carries their datagrams, and the sockets that fit them: [`UdpLike`] for
//! one peer, [`AddressedUdp`] for many. Knows nothing of sessions; every call returns at once, and no failure of the
//! network ends anything here.

mod addressed;
mod batch;
mod fragments;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod many;
mod memory;
mod server_socket;
mod unconnected;
mod workers;

use std::{io, net::SocketAddr};

pub use addressed::AddressedUdp;
pub(crate) use batch::SLOTS as BATCH;
pub use batch::{Arrival, RecvBatch, SendBatch};
pub use memory::{HubSocket, MemoryHub, MemorySocket, memory_pair};
pub use server_socket::ServerSocket;
pub use unconnected::Unconnected;
pub use workers::{WorkerSocket, bind_workers};

/// Carries datagrams to and from one peer: a connected, nonblocking socket without addresses.
///
/// Both calls return at once; `WouldBlock` means that there is nothing to read, or no room to write. A datagram
/// arrives whole or not at all; `recv` may cut one that is longer than the buffer.
pub trait UdpLike {
    /// Sends one datagram and returns its length.
    ///
    /// # Errors
    /// `WouldBlock` when the datagram could not leave now: the endpoint keeps it and tries again. Everything else
    /// counts as a lost datagram.
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize>;

    /// Receives one datagram into `buffer` and returns its length.
    ///
    /// # Errors
    /// `WouldBlock` when no datagram is waiting. Everything else is counted and survived.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes the socket ready, once, when an endpoint takes it: it must not block afterwards. Does nothing by default.
    ///
    /// # Errors
    /// Whatever keeps the socket from being used at all.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a large datagram may be cut into fragments on its way instead of being lost. Asked once, after
    /// [`prepare`](Self::prepare); while it is so, no datagram of more than 1,200 bytes is sent. `true` by default.
    ///
    /// A transport of your own says `false` when it carries a datagram whole or not at all; one that wraps a socket
    /// passes on both this call and `prepare`.
    fn may_fragment(&self) -> bool {
        true
    }

    /// Where the datagram received last came from. `None`, as by default: the socket is connected, and whoever is at its
    /// other end stays there. [`Unconnected`] has addresses.
    fn source(&self) -> Option<SocketAddr> {
        None
    }

    /// Sends one datagram to an address of the peer. A connected socket, as by default, knows but one.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn send_toward(&mut self, datagram: &[u8], _to: SocketAddr) -> io::Result<usize> {
        self.send(datagram)
    }
}

/// Both kinds of sockets have these calls under the same names.
macro_rules! system_socket {
    ($(#[$doc:meta])* $socket:ty, $prepare:expr) => {
        $(#[$doc])*
        impl UdpLike for $socket {
            fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
                Self::send(self, datagram)
            }

            fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Self::recv(self, buffer)
            }

            fn prepare(&mut self) -> io::Result<()> {
                fragments::forbid(self);
                $prepare(self)
            }

            fn may_fragment(&self) -> bool {
                fragments::may_occur(self)
            }
        }
    };
}

system_socket! {
    /// `prepare` sets Don't Fragment, where the system offers it (Linux, Android, Apple's).
    mio::net::UdpSocket, |_: &Self| Ok(())
}
system_socket! {
    /// `prepare` makes the socket nonblocking, and sets Don't Fragment where the system offers it (Linux, Android,
    /// Apple's).
    std::net::UdpSocket, |socket: &Self| socket.set_nonblocking(true)
}

/// A reference and a box pass everything on.
macro_rules! passes_on {
    ($holder:ty) => {
        impl<U: UdpLike + ?Sized> UdpLike for $holder {
            fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
                U::send(self, datagram)
            }

            fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                U::recv(self, buffer)
            }

            fn prepare(&mut self) -> io::Result<()> {
                U::prepare(self)
            }

            fn may_fragment(&self) -> bool {
                U::may_fragment(self)
            }

            fn source(&self) -> Option<SocketAddr> {
                U::source(self)
            }

            fn send_toward(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
                U::send_toward(self, datagram, to)
            }
        }
    };
}

passes_on!(&mut U);
passes_on!(Box<U>);
