//! The socket of an endpoint whose one peer may be anywhere and may move: one with addresses, in the clothes of one
//! without. Knows no session; who has one names the address of each datagram.

use std::{io, net::SocketAddr};

use super::{AddressedUdp, UdpLike};

/// A socket that is not connected, for a [`SealedEndpoint`](crate::SealedEndpoint) whose peer may be at one of several
/// addresses and may change its address in the session. Where it is, only the session's keys decide.
///
/// What strangers send arrives too, and is dropped by the endpoint. A plain endpoint cannot tell who sent what: over this
/// socket it sends nothing.
#[derive(Debug)]
pub struct Unconnected<A> {
    socket: A,
    source: Option<SocketAddr>,
}

impl<A: AddressedUdp> Unconnected<A> {
    /// Takes a socket that is bound and not connected.
    pub fn new(socket: A) -> Self {
        Self { socket, source: None }
    }

    /// The socket inside, to read its address.
    pub fn get_ref(&self) -> &A {
        &self.socket
    }

    /// The socket inside, to register it.
    pub fn get_mut(&mut self) -> &mut A {
        &mut self.socket
    }

    /// Gives the socket back.
    pub fn into_inner(self) -> A {
        self.socket
    }
}

impl<A: AddressedUdp> UdpLike for Unconnected<A> {
    /// `NotConnected`: without an address nothing can leave.
    fn send(&mut self, _datagram: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (len, from) = self.socket.recv_from(buffer)?;
        self.source = Some(from);
        Ok(len)
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.socket.prepare()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }

    fn source(&self) -> Option<SocketAddr> {
        self.source
    }

    fn send_toward(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, to)
    }

    fn largest_run(&self) -> usize {
        self.socket.largest_run()
    }

    fn send_run(&mut self, _datagrams: &[u8], _size: usize) -> io::Result<usize> {
        Err(io::ErrorKind::NotConnected.into())
    }

    fn send_run_toward(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
        self.socket.send_run_to(datagrams, size, to)
    }

    fn join_reads(&mut self) -> bool {
        self.socket.join_reads()
    }

    /// All of them are of one sender.
    fn recv_run(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        let (len, size, from) = self.socket.recv_run_from(buffer)?;
        self.source = Some(from);
        Ok((len, size))
    }
}
