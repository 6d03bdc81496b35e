//! The traits between the endpoints and whatever carries their datagrams, and the sockets that fit them: [`UdpLike`] for
//! one peer, [`AddressedUdp`] for many. Knows nothing of sessions; every call returns at once, and no failure of the
//! network ends anything here.

mod addressed;
mod batch;
mod fragments;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod many;
mod memory;
mod run;
#[cfg(target_os = "linux")]
mod runs;
mod server_socket;
mod unconnected;
mod workers;

use std::{io, net::SocketAddr};

pub use addressed::AddressedUdp;
pub(crate) use batch::SLOTS as BATCH;
pub use batch::{Arrival, RecvBatch, SendBatch};
pub use memory::{HubSocket, MemoryHub, MemorySocket, memory_pair};
pub use run::Run;
pub(crate) use run::{MAX_RUN, MAX_RUN_BYTES};
pub use server_socket::ServerSocket;
pub use unconnected::Unconnected;
pub use workers::{WorkerSocket, bind_workers};

/// Carries datagrams to and from one peer: a connected, nonblocking socket without addresses.
///
/// Both calls return at once; `WouldBlock` means that there is nothing to read, or no room to write. A datagram
/// arrives whole or not at all; `recv` may cut one that is longer than the buffer.
///
/// Only these two must be written. A socket that carries several datagrams by one call says so with
/// [`largest_run`](Self::largest_run) and [`join_reads`](Self::join_reads); one that wraps another and passes on
/// `join_reads` passes on [`recv_run`](Self::recv_run) too.
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

    /// How many datagrams one [`send_run`](Self::send_run) carries for little more than the price of one. 1, as by
    /// default, when nothing is gained: then each is sent when it is full. More, and full datagrams wait for each other
    /// until so many are there, or until the next call of the endpoint that is not one of `send_*`. 64 at most are used.
    fn largest_run(&self) -> usize {
        1
    }

    /// Sends several datagrams that lie one behind the other, all of `size` bytes but the last, which may be shorter, and
    /// returns how many have left, from the first. At most [`largest_run`](Self::largest_run) and 65,507 bytes. By
    /// default they are sent one by one.
    ///
    /// # Errors
    /// As [`send`](Self::send), of the first of them; when others went before, their number is returned, and the error
    /// by the next call. `Unsupported` when datagrams of this size do not leave together: the endpoint then sends the
    /// first by itself, and when that is taken, all others too from then on.
    fn send_run(&mut self, datagrams: &[u8], size: usize) -> io::Result<usize> {
        addressed::one_by_one(datagrams.chunks(size.max(1)), |datagram| self.send(datagram))
    }

    /// The same to an address of the peer. A connected socket, as by default, knows but one.
    ///
    /// # Errors
    /// As [`send_run`](Self::send_run).
    fn send_run_toward(&mut self, datagrams: &[u8], size: usize, _to: SocketAddr) -> io::Result<usize> {
        self.send_run(datagrams, size)
    }

    /// Says that many datagrams wait to be read: whether several may be given by one [`recv_run`](Self::recv_run), which
    /// is called in place of [`recv`](Self::recv) from then on. `false` by default; then it is not asked again.
    fn join_reads(&mut self) -> bool {
        false
    }

    /// Receives one datagram or several that lie one behind the other, and returns the length of all and the length of
    /// each; the last may be shorter. The buffer has room for 65,535 bytes. By default it receives one.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    fn recv_run(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        self.recv(buffer).map(|len| (len, len))
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
                // Another endpoint may have had the socket before.
                #[cfg(target_os = "linux")]
                runs::join(self, false);
                $prepare(self)
            }

            fn may_fragment(&self) -> bool {
                fragments::may_occur(self)
            }

            #[cfg(target_os = "linux")]
            fn largest_run(&self) -> usize {
                runs::largest(self)
            }

            #[cfg(target_os = "linux")]
            fn send_run(&mut self, datagrams: &[u8], size: usize) -> io::Result<usize> {
                runs::send(self, datagrams, size)
            }

            #[cfg(target_os = "linux")]
            fn join_reads(&mut self) -> bool {
                runs::join(self, true)
            }

            #[cfg(target_os = "linux")]
            fn recv_run(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
                runs::receive(self, buffer)
            }
        }
    };
}

system_socket! {
    /// `prepare` sets Don't Fragment, where the system offers it (Linux, Android, Apple's). On Linux several datagrams
    /// leave by one call (`UDP_SEGMENT`) and arrive by one (`UDP_GRO`). After `join_reads` plain `recv` cuts runs: who has
    /// the socket back from an endpoint, and reads it himself, calls `prepare` before.
    mio::net::UdpSocket, |_: &Self| Ok(())
}
system_socket! {
    /// `prepare` makes the socket nonblocking, and sets Don't Fragment where the system offers it (Linux, Android,
    /// Apple's). On Linux several datagrams leave by one call (`UDP_SEGMENT`) and arrive by one (`UDP_GRO`). After
    /// `join_reads` plain `recv` cuts runs: who has the socket back from an endpoint, and reads it himself, calls `prepare`
    /// before.
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

            fn largest_run(&self) -> usize {
                U::largest_run(self)
            }

            fn send_run(&mut self, datagrams: &[u8], size: usize) -> io::Result<usize> {
                U::send_run(self, datagrams, size)
            }

            fn send_run_toward(
                &mut self,
                datagrams: &[u8],
                size: usize,
                to: SocketAddr,
            ) -> io::Result<usize> {
                U::send_run_toward(self, datagrams, size, to)
            }

            fn join_reads(&mut self) -> bool {
                U::join_reads(self)
            }

            fn recv_run(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
                U::recv_run(self, buffer)
            }
        }
    };
}

passes_on!(&mut U);
passes_on!(Box<U>);
