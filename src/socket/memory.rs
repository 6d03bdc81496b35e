//! Sockets in memory, for tests and for players in one process: a pair that is connected, and a hub of addresses.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{AddressedUdp, UdpLike, addressed::one_form};

/// One end of an in-memory pair that loses, reorders and delays nothing.
///
/// Up to 1,024 datagrams wait in each direction; then `send` gives `WouldBlock` until the other end has read some.
/// When the other end is gone, `send` gives `ConnectionRefused`.
pub struct MemorySocket {
    incoming: Arc<Mutex<Queue>>,
    outgoing: Arc<Mutex<Queue>>,
}

/// Datagrams that may wait in one direction of a pair, and for one socket of a hub.
const MAX_WAITING: usize = 1_024;

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
fn lock<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies what fits, and says how much that was.
fn copy(datagram: &[u8], buffer: &mut [u8]) -> usize {
    let len = datagram.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..len), datagram.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

impl UdpLike for MemorySocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut queue = lock(&self.outgoing);
        if queue.reader_gone {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if queue.waiting.len() >= MAX_WAITING {
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
        let len = copy(&datagram, buffer);
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

/// A network in memory that joins any number of [`HubSocket`]s. A cheap handle: clones are the same network.
///
/// Nothing is reordered or delayed. As with UDP, what goes to an address where nobody is, or where 1,024 datagrams wait
/// already, is lost, and its sender is not told.
#[derive(Clone, Default)]
pub struct MemoryHub {
    sockets: Arc<Mutex<HashMap<SocketAddr, Inbox>>>,
}

#[derive(Default)]
struct Inbox {
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Buffers that were read and wait for reuse.
    spare: Vec<Vec<u8>>,
}

impl MemoryHub {
    /// A network without sockets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A socket at this address, made up or not: nothing real is opened. It is freed when the socket is dropped.
    ///
    /// # Errors
    /// `AddrInUse` when another socket has the address.
    pub fn socket(&self, address: SocketAddr) -> io::Result<HubSocket> {
        let address = one_form(address);
        let mut sockets = lock(&self.sockets);
        if sockets.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        sockets.insert(address, Inbox::default());
        Ok(HubSocket { hub: self.clone(), address })
    }
}

impl fmt::Debug for MemoryHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryHub").field("sockets", &lock(&self.sockets).len()).finish()
    }
}

/// A socket of a [`MemoryHub`].
#[derive(Debug)]
pub struct HubSocket {
    hub: MemoryHub,
    address: SocketAddr,
}

impl HubSocket {
    /// The address it was made with.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl AddressedUdp for HubSocket {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if let Some(inbox) = lock(&self.hub.sockets).get_mut(&one_form(to)) {
            if inbox.waiting.len() < MAX_WAITING {
                let mut buffer = inbox.spare.pop().unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(datagram);
                inbox.waiting.push_back((self.address, buffer));
            }
        }
        Ok(datagram.len())
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut sockets = lock(&self.hub.sockets);
        let inbox = sockets.get_mut(&self.address).ok_or(io::ErrorKind::NotConnected)?;
        let (from, datagram) = inbox.waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let len = copy(&datagram, buffer);
        inbox.spare.push(datagram);
        Ok((len, from))
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for HubSocket {
    fn drop(&mut self) {
        lock(&self.hub.sockets).remove(&self.address);
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
        for _ in 0..MAX_WAITING {
            one.send(b"x").unwrap();
        }
        assert_eq!(one.send(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        two.recv(&mut [0; 1]).unwrap();
        one.send(b"x").unwrap();
        drop(two);
        assert_eq!(one.send(b"x").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_hub_carries_datagrams_by_their_addresses() {
        let hub = MemoryHub::new();
        let [server, one, two] = ["10.0.0.1:1", "10.0.0.2:2", "[fd00::3]:3"].map(|at| at.parse().unwrap());
        let mut sockets = [server, one, two].map(|at| hub.socket(at).unwrap());
        assert_eq!(hub.socket(one).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        sockets[1].send_to(b"from one", "[::ffff:10.0.0.1]:1".parse().unwrap()).unwrap();
        sockets[2].send_to(b"from two", server).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(sockets[0].recv_from(&mut buffer).unwrap(), (8, one));
        assert_eq!(&buffer[..8], b"from one");
        assert_eq!(sockets[0].recv_from(&mut buffer[..4]).unwrap(), (4, two), "cut, as a socket does");
        assert_eq!(sockets[0].recv_from(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let [_, gone, _] = sockets;
        drop(gone);
        hub.socket(one).unwrap();
    }

    #[test]
    fn what_nobody_reads_is_lost_and_blocks_nobody() {
        let hub = MemoryHub::new();
        let [from, to] = ["10.0.0.1:1", "10.0.0.2:2"].map(|at| at.parse().unwrap());
        let (mut sender, mut reader) = (hub.socket(from).unwrap(), hub.socket(to).unwrap());
        for _ in 0..MAX_WAITING + 5 {
            assert_eq!(sender.send_to(b"x", to).unwrap(), 1);
        }
        let heard = std::iter::from_fn(|| reader.recv_from(&mut [0; 1]).ok()).count();
        assert_eq!(heard, MAX_WAITING);
        assert_eq!(sender.send_to(b"x", "10.0.0.9:9".parse().unwrap()).unwrap(), 1, "nobody is there");
    }
}
