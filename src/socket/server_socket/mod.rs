//! One port for players of both families: a dual-stack socket, or one for each family where the system has none, or
//! where the machine has only one family.

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use mio::{Interest, Registry, Token, event::Source, net::UdpSocket};

use super::{
    AddressedUdp, Run,
    addressed::as_six,
    batch::{RecvBatch, SLOTS, SendBatch},
};

/// Ports tried, when the system chooses, until one is free for both families.
const PORTS: usize = 8;
/// What the system is asked to keep for a server that is busy elsewhere, in bytes: it may give less.
#[cfg(any(target_os = "linux", target_os = "android"))]
const RECEIVE_BUFFER: usize = 4 << 20;

/// A server's socket. It serves IPv4 and IPv6 on one port when it is bound to `[::]`.
///
/// It never blocks. It is an event source of `mio`, edge-triggered as such: read until `WouldBlock`. On Linux and
/// Android a batch costs one call of the system, and 4 MiB are asked for what waits to be read. On Linux the datagrams of a
/// batch that go to one address leave together (`UDP_SEGMENT`).
#[derive(Debug)]
pub struct ServerSocket {
    first: Face,
    /// Of IPv4, where one socket cannot serve both.
    second: Option<Face>,
    /// Whose turn it is to be read first.
    second_first: bool,
}

/// A socket, and whether it is one of IPv6.
#[derive(Debug)]
struct Face {
    socket: UdpSocket,
    six: bool,
}

/// What a socket is opened with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// Others may have the same port.
    pub(super) shared: bool,
    /// Serves no IPv4.
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "elsewhere the system's default is taken as it is")
    )]
    pub(super) only_six: bool,
}

impl ServerSocket {
    /// Binds to this address. `[::]` with a port stands for both families: through one socket where the system can, else
    /// through two, and through the one family that there is when the machine has no other. Every other address has its
    /// own family only. Port 0 lets the system choose; with two sockets both have the same.
    ///
    /// # Errors
    /// As the system gives them: `AddrInUse`, `PermissionDenied`, `AddrNotAvailable`.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::bind_with(address, false)
    }

    pub(super) fn bind_with(address: SocketAddr, shared: bool) -> io::Result<Self> {
        bind_by(address, shared, &mut open)
    }

    /// The address it is bound to; with two sockets, that of the IPv6 one.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first.socket.local_addr()
    }

    /// The sockets behind it, one or two, to wait for them by other means than `mio`. Who sends or receives by
    /// himself sees addresses in other forms.
    pub fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        std::iter::once(&self.first).chain(&self.second).map(|face| &face.socket)
    }

    fn faces(&mut self) -> impl Iterator<Item = &mut Face> {
        std::iter::once(&mut self.first).chain(&mut self.second)
    }

    /// Reads one of the sockets, the one whose turn it is first.
    fn read_in_turn<T>(&mut self, mut read: impl FnMut(&mut UdpSocket) -> io::Result<T>) -> io::Result<T> {
        self.second_first = !self.second_first;
        let mut faces = [Some(&mut self.first), self.second.as_mut()];
        if self.second_first {
            faces.reverse();
        }
        let mut outcome = Err(io::ErrorKind::WouldBlock.into());
        for face in faces.into_iter().flatten() {
            outcome = read(&mut face.socket);
            if !is_blocked(&outcome) {
                break;
            }
        }
        outcome
    }

    /// The socket for an address.
    fn face(&self, to: SocketAddr) -> &Face {
        self.second.as_ref().filter(|face| face.six == to.is_ipv6()).unwrap_or(&self.first)
    }
}

impl AddressedUdp for ServerSocket {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.face(to).send_to(datagram, to)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.read_in_turn(|socket| AddressedUdp::recv_from(socket, buffer))
    }

    /// Sets Don't Fragment, where the system offers it (Linux, Android, Apple's).
    fn prepare(&mut self) -> io::Result<()> {
        self.faces().try_for_each(|face| face.socket.prepare())
    }

    fn may_fragment(&self) -> bool {
        self.sockets().any(AddressedUdp::may_fragment)
    }

    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        let Some((_, first)) = batch.waiting().next() else { return Ok(0) };
        if self.second.is_none() {
            return self.first.send(batch.runs());
        }
        // As far as one family goes.
        let family = first.is_ipv6();
        self.face(first).send(batch.runs().take_while(|run| run.to.is_ipv6() == family))
    }

    fn largest_run(&self) -> usize {
        self.sockets().map(AddressedUdp::largest_run).min().unwrap_or(1)
    }

    #[cfg(target_os = "linux")]
    fn send_run_to(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
        self.face(to).send(Run::of(datagrams, size, to).into_iter())
    }

    fn join_reads(&mut self) -> bool {
        // All are asked: one that gives single datagrams is read the same way.
        self.faces().filter_map(|face| face.socket.join_reads().then_some(())).count() > 0
    }

    fn recv_run_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
        self.read_in_turn(|socket| socket.recv_run_from(buffer))
    }

    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        if let Some(error) = batch.postponed() {
            return Err(error);
        }
        let Some(second) = &self.second else { return self.first.receive(batch) };
        self.second_first = !self.second_first;
        let (one, other) = if self.second_first { (second, &self.first) } else { (&self.first, second) };
        // The one whose turn it is may take half of what is free, and the other has the rest.
        let in_use = batch.in_use();
        batch.limit(in_use + (SLOTS - in_use).div_ceil(2));
        let before = one.receive(batch);
        batch.limit(SLOTS);
        let after = other.receive(batch);
        let blocked = is_blocked(&before) && is_blocked(&after);
        let (mut added, mut failure) = (0, None);
        for outcome in [before, after] {
            match outcome {
                Ok(more) => added += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            None if blocked => Err(io::ErrorKind::WouldBlock.into()),
            None => Ok(added),
            Some(error) if added == 0 => Err(error),
            // It must not hide the datagrams of the other socket, nor they it.
            Some(error) => {
                batch.postpone(error);
                Ok(added)
            }
        }
    }
}

/// Registers all sockets behind it with the same token.
impl Source for ServerSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.faces().try_for_each(|face| face.socket.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.faces().try_for_each(|face| face.socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.faces().try_for_each(|face| face.socket.deregister(registry))
    }
}

impl Face {
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, if self.six { as_six(to).into() } else { to })
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send<'a>(&self, waiting: impl Iterator<Item = Run<'a>>) -> io::Result<usize> {
        super::many::send(&self.socket, self.six, waiting)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn receive(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        super::many::receive(&self.socket, self.six, batch)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send<'a>(&self, waiting: impl Iterator<Item = Run<'a>>) -> io::Result<usize> {
        // None of them is asked for more than one at a time.
        super::addressed::one_by_one(waiting, |run| self.send_to(run.datagrams, run.to))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn receive(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        use super::addressed::{fill, one_form};
        fill(batch, |slot| self.socket.recv_from(slot).map(|(len, from)| (len, one_form(from))))
    }
}

fn is_blocked<T>(outcome: &io::Result<T>) -> bool {
    matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Opens the sockets, by whatever means, that serve this address.
fn bind_by(
    address: SocketAddr,
    shared: bool,
    open: &mut dyn FnMut(SocketAddr, Opening) -> io::Result<UdpSocket>,
) -> io::Result<ServerSocket> {
    let alone = |socket, six| ServerSocket { first: Face { socket, six }, second: None, second_first: false };
    let four = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
    let both = address.is_ipv6() && address.ip().is_unspecified();
    let opening = Opening { shared, only_six: false };
    let first = match open(address, opening) {
        Err(error) if both && no_such_family(&error) => {
            return open(four(address.port()), opening).map(|socket| alone(socket, false));
        }
        outcome => outcome?,
    };
    // A system that does not tell is taken at its word that `[::]` means IPv6.
    if !both || !first.only_v6().unwrap_or(true) {
        return Ok(alone(first, address.is_ipv6()));
    }
    drop(first);
    let mut tries = 1..=PORTS;
    loop {
        let six = open(address, Opening { shared, only_six: true })?;
        match open(four(six.local_addr()?.port()), opening) {
            Ok(socket) => {
                let second = Some(Face { socket, six: false });
                return Ok(ServerSocket {
                    first: Face { socket: six, six: true },
                    second,
                    second_first: false,
                });
            }
            Err(error) if no_such_family(&error) => return Ok(alone(six, true)),
            // The system chose a port that somebody has in the other family.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() == 0 => {
                tries.next().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the machine lacks the family altogether.
fn no_such_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    const UNSUPPORTED: i32 = nix::libc::EAFNOSUPPORT;
    // WSAEAFNOSUPPORT of Windows.
    #[cfg(not(unix))]
    const UNSUPPORTED: i32 = 10_047;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(UNSUPPORTED)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn open(address: SocketAddr, opening: Opening) -> io::Result<UdpSocket> {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, getsockopt, setsockopt, socket, sockopt,
    };

    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    if address.is_ipv6() {
        // Whether it took effect is asked afterwards.
        let _ = setsockopt(&socket, sockopt::Ipv6V6Only, &opening.only_six);
    }
    if opening.shared {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    if getsockopt(&socket, sockopt::RcvBuf).is_ok_and(|given| given < RECEIVE_BUFFER) {
        let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// A port can be shared on Linux and Android only: elsewhere the same option gives everything to one of the sockets, or
/// does not exist.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open(address: SocketAddr, opening: Opening) -> io::Result<UdpSocket> {
    if opening.shared {
        return Err(io::ErrorKind::Unsupported.into());
    }
    UdpSocket::bind(address)
}
