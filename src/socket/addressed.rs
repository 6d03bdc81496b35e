//! The trait for a socket that talks to many peers, and the sockets of the system that fit it. One peer has one form
//! of address here: an address of IPv4 inside of IPv6 is turned into one of IPv4 where it comes in.

use std::{
    io,
    net::{SocketAddr, SocketAddrV6},
};

#[cfg(target_os = "linux")]
use super::{Run, runs};
use super::{
    batch::{RecvBatch, SendBatch},
    fragments,
};

/// Carries datagrams to and from many peers: a nonblocking socket with addresses.
///
/// The rules are those of [`UdpLike`](super::UdpLike): every call returns at once, `WouldBlock` means that there is
/// nothing to read or no room to write, and a datagram arrives whole or not at all. An address that is given back is
/// the same for each datagram of a peer, and never an IPv4 address written as one of IPv6 (`::ffff:192.0.2.1`).
///
/// The methods for batches have bodies that call the others; a socket that can do better has its own.
pub trait AddressedUdp {
    /// Sends one datagram and returns its length.
    ///
    /// # Errors
    /// `WouldBlock` when the datagram could not leave now: it is kept and tried again. Everything else counts as a
    /// lost datagram.
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// Receives one datagram into `buffer`, and returns its length and where it came from. What does not fit is cut:
    /// hand in one byte more than the longest datagram that you accept.
    ///
    /// # Errors
    /// `WouldBlock` when no datagram is waiting. Everything else is counted and survived.
    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Makes the socket ready, once, when an endpoint or a server takes it: it must not block afterwards. Does nothing
    /// by default.
    ///
    /// # Errors
    /// Whatever keeps the socket from being used at all.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a large datagram may be cut into fragments on its way, as in
    /// [`UdpLike::may_fragment`](super::UdpLike::may_fragment). `true` by default.
    fn may_fragment(&self) -> bool {
        true
    }

    /// Sends what waits in `batch`, the oldest first, and returns how many datagrams it took. The batch is not
    /// changed: [`SendBatch::flush`] makes this call and draws the conclusions.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to), of the first datagram that waits. When others went before, their number is
    /// returned, and the error by the next call. `Unsupported` when the first ones do not leave together: then all are
    /// tried one by one, and if the first is taken so, all others too from then on.
    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        one_by_one(batch.waiting(), |(datagram, to)| self.send_to(datagram, to))
    }

    /// How many datagrams to one address leave together for little more than the price of one, as in
    /// [`UdpLike::largest_run`](super::UdpLike::largest_run). More than 1 means that [`send_batch`](Self::send_batch)
    /// sends each of [`SendBatch::runs`] so. 1 by default.
    fn largest_run(&self) -> usize {
        1
    }

    /// Sends several datagrams to one address, as [`UdpLike::send_run`](super::UdpLike::send_run). By default they are sent
    /// one by one.
    ///
    /// # Errors
    /// As there.
    fn send_run_to(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
        one_by_one(datagrams.chunks(size.max(1)), |datagram| self.send_to(datagram, to))
    }

    /// As [`UdpLike::join_reads`](super::UdpLike::join_reads), for [`recv_run_from`](Self::recv_run_from). Batches are
    /// not received any more after it. `false` by default.
    fn join_reads(&mut self) -> bool {
        false
    }

    /// Receives one datagram or several of one sender, as [`UdpLike::recv_run`](super::UdpLike::recv_run): the length of
    /// all, the length of each, and where they came from. By default it receives one.
    ///
    /// # Errors
    /// As there.
    fn recv_run_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
        self.recv_from(buffer).map(|(len, from)| (len, len, from))
    }

    /// Receives into the free slots of `batch` as many datagrams as are waiting, and returns how many it added. `Ok(0)`
    /// says that there may be more.
    ///
    /// # Errors
    /// `WouldBlock` when no datagram was waiting. Everything else is counted and survived.
    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        fill(batch, |slot| self.recv_from(slot))
    }

    /// Says that a datagram that this socket gave belongs to no session here and begins none. A socket that shares its
    /// port with others passes it on; by default nothing is done.
    fn misdirected(&mut self, datagram: &[u8], from: SocketAddr) {
        let _ = (datagram, from);
    }
}

/// Sends single datagrams until one fails.
pub(super) fn one_by_one<T>(
    waiting: impl Iterator<Item = T>,
    mut send: impl FnMut(T) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut taken = 0;
    for datagram in waiting {
        match send(datagram) {
            Ok(_) => taken += 1,
            Err(error) if taken == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(taken)
}

/// Receives single datagrams until none is left or no slot is free.
pub(super) fn fill(
    batch: &mut RecvBatch,
    mut receive: impl FnMut(&mut [u8]) -> io::Result<(usize, SocketAddr)>,
) -> io::Result<usize> {
    if let Some(error) = batch.postponed() {
        return Err(error);
    }
    let mut added = 0;
    while let Some(slot) = batch.room() {
        match receive(slot) {
            Ok((len, from)) => {
                batch.push(len, from);
                added += 1;
            }
            Err(error) if added == 0 => return Err(error),
            // Here nobody else remembers it; and that nothing is left shows itself again.
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    batch.postpone(error);
                }
                break;
            }
        }
    }
    Ok(added)
}

/// The one form of a peer's address. A flow label is no part of who somebody is.
pub(super) fn one_form(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V6(six) = address else { return address };
    match six.ip().to_ipv4_mapped() {
        Some(four) => SocketAddr::new(four.into(), six.port()),
        None => SocketAddrV6::new(*six.ip(), six.port(), 0, six.scope_id()).into(),
    }
}

/// How a socket of IPv6 names an address of either family.
pub(super) fn as_six(address: SocketAddr) -> SocketAddrV6 {
    match address {
        SocketAddr::V6(six) => six,
        SocketAddr::V4(four) => SocketAddrV6::new(four.ip().to_ipv6_mapped(), four.port(), 0, 0),
    }
}

/// Both kinds of sockets have these calls under the same names.
macro_rules! system_socket {
    ($(#[$doc:meta])* $socket:ty, $prepare:expr) => {
        $(#[$doc])*
        impl AddressedUdp for $socket {
            fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
                Self::send_to(self, datagram, to)
            }

            fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                Self::recv_from(self, buffer).map(|(len, from)| (len, one_form(from)))
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

            #[cfg(any(target_os = "linux", target_os = "android"))]
            fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
                let six = self.local_addr()?.is_ipv6();
                super::many::send(self, six, batch.runs())
            }

            #[cfg(target_os = "linux")]
            fn largest_run(&self) -> usize {
                runs::largest(self)
            }

            #[cfg(target_os = "linux")]
            fn send_run_to(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
                let six = self.local_addr()?.is_ipv6();
                super::many::send(self, six, Run::of(datagrams, size, to).into_iter())
            }

            #[cfg(target_os = "linux")]
            fn join_reads(&mut self) -> bool {
                runs::join(self, true)
            }

            #[cfg(target_os = "linux")]
            fn recv_run_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
                let six = self.local_addr()?.is_ipv6();
                runs::receive_from(self, six, buffer)
            }

            #[cfg(any(target_os = "linux", target_os = "android"))]
            fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
                let six = self.local_addr()?.is_ipv6();
                super::many::receive(self, six, batch)
            }
        }
    };
}

system_socket! {
    /// `prepare` sets Don't Fragment, where the system offers it (Linux, Android, Apple's). Batches cost one call of the
    /// system on Linux and Android, and on Linux those to one address leave together (`UDP_SEGMENT`).
    mio::net::UdpSocket, |_: &Self| Ok(())
}
system_socket! {
    /// `prepare` makes the socket nonblocking, and sets Don't Fragment where the system offers it (Linux, Android,
    /// Apple's). Batches cost one call of the system on Linux and Android, and on Linux those to one address leave together
    /// (`UDP_SEGMENT`).
    std::net::UdpSocket, |socket: &Self| socket.set_nonblocking(true)
}

/// A reference and a box pass everything on.
macro_rules! passes_on {
    ($holder:ty) => {
        impl<A: AddressedUdp + ?Sized> AddressedUdp for $holder {
            fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
                A::send_to(self, datagram, to)
            }

            fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                A::recv_from(self, buffer)
            }

            fn prepare(&mut self) -> io::Result<()> {
                A::prepare(self)
            }

            fn may_fragment(&self) -> bool {
                A::may_fragment(self)
            }

            fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
                A::send_batch(self, batch)
            }

            fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
                A::recv_batch(self, batch)
            }

            fn largest_run(&self) -> usize {
                A::largest_run(self)
            }

            fn send_run_to(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
                A::send_run_to(self, datagrams, size, to)
            }

            fn join_reads(&mut self) -> bool {
                A::join_reads(self)
            }

            fn recv_run_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
                A::recv_run_from(self, buffer)
            }

            fn misdirected(&mut self, datagram: &[u8], from: SocketAddr) {
                A::misdirected(self, datagram, from);
            }
        }
    };
}

passes_on!(&mut A);
passes_on!(Box<A>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        let form = |text: &str| one_form(text.parse().unwrap());
        assert_eq!(form("[::ffff:192.0.2.1]:5"), "192.0.2.1:5".parse().unwrap());
        for same in ["192.0.2.1:5", "[2001:db8::1]:5", "[::1]:5", "[::192.0.2.1]:5", "[fe80::1%3]:5"] {
            assert_eq!(form(same), same.parse().unwrap());
        }
        let labelled = SocketAddrV6::new("2001:db8::1".parse().unwrap(), 5, 77, 0);
        assert_eq!(one_form(labelled.into()), "[2001:db8::1]:5".parse().unwrap());
    }

    #[test]
    fn what_ipv6_calls_an_address_of_ipv4_comes_back_as_it_was() {
        let four: SocketAddr = "192.0.2.1:5".parse().unwrap();
        assert_eq!(as_six(four).to_string(), "[::ffff:192.0.2.1]:5");
        assert_eq!(one_form(as_six(four).into()), four);
    }
}
