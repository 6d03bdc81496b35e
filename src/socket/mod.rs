//! The trait between an endpoint and whatever carries its datagrams, and the sockets that fit it. Knows nothing of
//! sessions; every call returns at once, and no failure of the network ends anything here.

mod fragments;

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
}

/// `prepare` sets Don't Fragment, where the system offers it (Linux, Android, Apple's).
impl UdpLike for mio::net::UdpSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        Self::send(self, datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::recv(self, buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        fragments::forbid(self);
        Ok(())
    }

    fn may_fragment(&self) -> bool {
        fragments::may_occur(self)
    }
}

/// `prepare` makes the socket nonblocking, and sets Don't Fragment where the system offers it (Linux, Android, Apple's).
impl UdpLike for std::net::UdpSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        Self::send(self, datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::recv(self, buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        fragments::forbid(self);
        self.set_nonblocking(true)
    }

    fn may_fragment(&self) -> bool {
        fragments::may_occur(self)
    }
}

impl<U: UdpLike + ?Sized> UdpLike for &mut U {
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
}

impl<U: UdpLike + ?Sized> UdpLike for Box<U> {
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
}

/// One end of an in-memory pair that loses, reorders and delays nothing.
///
/// Up to 1,024 datagrams wait in each direction; then `send` gives `WouldBlock` until the other end has read some.
/// When the other end is gone, `send` gives `ConnectionRefused`.
pub struct MemorySocket {
    incoming: Arc<Mutex<Queue>>,
    outgoing: Arc<Mutex<Queue>>,
}

/// Datagrams that may wait in one direction of a memory pair.
const MEMORY_DATAGRAMS: usize = 1_024;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Vec<u8>>,
    /// Buffers that were read and wait for reuse.
    spare: Vec<Vec<u8>>,
    reader_gone: bool,
}

/// Two sockets that are connected to each other in memory.
#[must_use]
pub fn memory_pair() -> (MemorySocket, MemorySocket) {
    let (there, back) = (Arc::<Mutex<Queue>>::default(), Arc::<Mutex<Queue>>::default());
    let first = MemorySocket { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
    (first, MemorySocket { incoming: there, outgoing: back })
}

/// A queue is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UdpLike for MemorySocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut queue = lock(&self.outgoing);
        if queue.reader_gone {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if queue.waiting.len() >= MEMORY_DATAGRAMS {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut buffer = queue.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(datagram);
        queue.waiting.push_back(buffer);
        Ok(datagram.len())
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut queue = lock(&self.incoming);
        let datagram = queue.waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let mut len = 0;
        for (to, from) in buffer.iter_mut().zip(&datagram) {
            *to = *from;
            len += 1;
        }
        queue.spare.push(datagram);
        Ok(len)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for MemorySocket {
    fn drop(&mut self) {
        let mut queue = lock(&self.incoming);
        *queue = Queue { reader_gone: true, ..Queue::default() };
    }
}

impl fmt::Debug for MemorySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySocket").field("waiting", &lock(&self.incoming).waiting.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_pair_keeps_datagrams_whole_and_in_order() {
        let (mut one, mut two) = memory_pair();
        let mut buffer = [0; 8];
        assert_eq!(two.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        one.send(b"first").unwrap();
        one.send(b"").unwrap();
        one.send(b"longer than the buffer").unwrap();
        assert_eq!(two.recv(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"first");
        assert_eq!(two.recv(&mut buffer).unwrap(), 0);
        assert_eq!(two.recv(&mut buffer).unwrap(), 8, "cut, as a socket does");
        assert_eq!(one.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_full_memory_pair_blocks_and_a_deserted_one_refuses() {
        let (mut one, mut two) = memory_pair();
        for _ in 0..MEMORY_DATAGRAMS {
            one.send(b"x").unwrap();
        }
        assert_eq!(one.send(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        two.recv(&mut [0; 1]).unwrap();
        one.send(b"x").unwrap();
        drop(two);
        assert_eq!(one.send(b"x").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
