//! Sockets of a simulated network. They behave like non-blocking UDP sockets and hold nothing of their own.

use std::io;
use std::net::SocketAddr;

use super::net::Net;
use crate::socket::{AddressedUdp, UdpLike};

/// The largest payload that UDP carries over IPv4.
const MAX_PAYLOAD: usize = 65_507;

/// An unconnected socket. Closed when dropped: what then arrives is refused.
#[derive(Debug)]
pub struct Socket {
    net: Net,
    address: SocketAddr,
    generation: u64,
}

impl Socket {
    pub(super) fn new(net: Net, address: SocketAddr, generation: u64) -> Self {
        Self { net, address, generation }
    }

    /// The address it was made with.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sends one datagram. That it was sent says nothing about its arrival.
    ///
    /// # Errors
    /// `InvalidInput` over 65,507 bytes, `AddrInUse` when a newer socket has the address, and what
    /// [`Net::fail_sends`] asked for.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        if bytes.len() > MAX_PAYLOAD {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.net.state().check_send(self.address, self.generation)?;
        let verdict = self.net.verdict(self.address, to, bytes);
        self.net.state().send(self.address, to, bytes, verdict);
        Ok(bytes.len())
    }

    /// Takes the datagram that arrived first, cut off at the buffer's length, and its sender's address.
    ///
    /// # Errors
    /// `WouldBlock` when none is there, `AddrInUse` when a newer socket has the address, and what
    /// [`Net::fail_receives`] asked for.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.net.state().receive(self.address, self.generation, None, buffer)
    }

    /// Talks to one peer from now on; datagrams of others are thrown away unread.
    #[must_use]
    pub fn connect(self, peer: SocketAddr) -> Connected {
        Connected { socket: self, peer }
    }
}

impl AddressedUdp for Socket {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        Self::send_to(self, datagram, to)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Self::recv_from(self, buffer)
    }

    /// `false`: what is too large for a link is lost.
    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.net.state().unbind(self.address, self.generation);
    }
}

/// A socket that is connected to one peer: what an endpoint wants.
#[derive(Debug)]
pub struct Connected {
    socket: Socket,
    peer: SocketAddr,
}

impl Connected {
    /// The own address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.address
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl UdpLike for Connected {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.socket.send_to(datagram, self.peer)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Socket { net, address, generation } = &self.socket;
        net.state().receive(*address, *generation, Some(self.peer), buffer).map(|(len, _)| len)
    }

    /// `false`: what is too large for a link is lost.
    fn may_fragment(&self) -> bool {
        false
    }
}
