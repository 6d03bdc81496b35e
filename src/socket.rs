//! Stub.
use std::io;

/// A connected, non-blocking datagram socket.
pub trait UdpLike {
    /// Sends one datagram to the peer.
    ///
    /// # Errors
    /// `WouldBlock` when the datagram was not taken, anything else as the socket reports it.
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize>;
    /// Takes the next datagram of the peer.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, anything else as the socket reports it.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Makes the socket non-blocking.
    ///
    /// # Errors
    /// As the socket reports it.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }
}
