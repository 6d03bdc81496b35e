//! Several workers on one port, each with a socket and a thread of its own. The kernel spreads what arrives; what comes
//! to the wrong worker is handed to the right one, in memory. PROTOCOL.md, "Workers".
//!
//! Connection ids name their worker, so a player stays with his whatever address he comes from. What has no id yet, the
//! first flight, stays with whom the kernel gave it to.

#[cfg(target_os = "linux")]
mod kernel;
mod mailbox;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use mio::{Interest, Registry, Token, event::Source};

use self::mailbox::Mailbox;
use super::{
    AddressedUdp, ServerSocket,
    batch::{RecvBatch, SLOTS, SendBatch},
};
use crate::{
    config::Config,
    wire::worker::{MAX_WORKERS, worker_of},
};

/// Datagrams that one `recv_from` hands to others; the next one the caller has to see.
const MAX_HANDED: usize = 64;
/// Bytes of a connection id.
const CID_BYTES: usize = 8;

/// Binds `count` sockets to one port, one for each worker; 1 to 64. An address of `[::]` serves both families, as with
/// [`ServerSocket::bind`]. `route_bytes` is the length of the server's route.
///
/// All workers need the same keys, route and secrets of cookies, and issue connection ids that name them: make the first
/// server with [`SealedServer::new`](crate::SealedServer::new) and the others with
/// [`another_worker`](crate::SealedServer::another_worker).
///
/// # Errors
/// `InvalidInput` when `count` is not 1 to 64 or the route is longer than 20 bytes; `Unsupported` for more than one
/// worker on systems other than Linux and Android; what [`ServerSocket::bind`] gives.
pub fn bind_workers(
    address: SocketAddr,
    count: usize,
    route_bytes: usize,
    config: &Config,
) -> io::Result<Vec<WorkerSocket>> {
    let sockets = bind_unsteered(address, count, route_bytes, config)?;
    if let [first, _, ..] = sockets.as_slice() {
        kernel::steer(first);
    }
    Ok(sockets)
}

/// The same without the help of the kernel beyond its hash.
fn bind_unsteered(
    address: SocketAddr,
    count: usize,
    route_bytes: usize,
    config: &Config,
) -> io::Result<Vec<WorkerSocket>> {
    let workers = u8::try_from(count).ok().filter(|count| (1..=MAX_WORKERS).contains(count));
    let Some(workers) = workers.filter(|_| route_bytes <= 20) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let steering = Steering { workers, route_bytes, handshake_bytes: config.handshake_bytes.into() };
    let mail: Arc<[Mailbox]> = (0..workers).map(|_| Mailbox::default()).collect();
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for index in 0..workers {
        let socket = ServerSocket::bind_with(address, workers > 1)?;
        // Who left the port to the system gets the same for all.
        address.set_port(socket.local_addr()?.port());
        sockets.push(WorkerSocket { socket, index, steering, mail: Arc::clone(&mail) });
    }
    Ok(sockets)
}

/// Who gets a datagram.
#[derive(Clone, Copy, Debug)]
struct Steering {
    workers: u8,
    route_bytes: usize,
    /// So long a datagram may be a first flight, which names nobody.
    handshake_bytes: usize,
}

impl Steering {
    /// The worker that a datagram names if it has a connection id.
    fn named(self, datagram: &[u8]) -> Option<u8> {
        let cid = datagram.get(self.route_bytes..).filter(|rest| rest.len() > CID_BYTES)?;
        cid.first().map(|first| worker_of(*first, self.workers))
    }

    /// Whether a datagram may begin a session.
    fn may_be_first(self, datagram: &[u8]) -> bool {
        datagram.len() >= self.route_bytes + self.handshake_bytes
    }
}

/// The socket of one of several workers on a port.
///
/// A short datagram that names another worker is handed over where it is received. A long one may be the beginning of a
/// session: it is given to the caller, who says so with [`misdirected`](AddressedUdp::misdirected) when it is none.
/// Up to 512 datagrams wait for a worker; what comes then is lost and counted.
pub struct WorkerSocket {
    socket: ServerSocket,
    index: u8,
    steering: Steering,
    mail: Arc<[Mailbox]>,
}

impl WorkerSocket {
    /// Which of the workers this is, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index.into()
    }

    /// The address that all of them are bound to.
    ///
    /// # Errors
    /// As the system gives them.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Datagrams for this worker that were lost because 512 were waiting.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.own().map_or(0, |mail| mail.lost.load(Relaxed))
    }

    /// Calls this, from the thread of another worker, when the first datagram is handed over to this one: to wake a
    /// thread that waits for its socket. Without it such a datagram waits for the next call.
    pub fn set_wake(&mut self, wake: impl Fn() + Send + 'static) {
        if let Some(mail) = self.own() {
            mail.lock().wake = Some(Box::new(wake));
        }
    }

    fn own(&self) -> Option<&Mailbox> {
        self.mail.get(usize::from(self.index))
    }

    /// The box of the worker that a datagram names, when it is another.
    fn other(&self, datagram: &[u8]) -> Option<&Mailbox> {
        let named = self.steering.named(datagram).filter(|named| *named != self.index)?;
        self.mail.get(usize::from(named))
    }

    /// Hands a datagram to the worker that it names, when that is another and it cannot be a first flight.
    fn hand_over(&self, datagram: &[u8], from: SocketAddr) -> bool {
        let other = self.other(datagram).filter(|_| !self.steering.may_be_first(datagram));
        other.inspect(|mail| mail.post(datagram, from)).is_some()
    }
}

impl AddressedUdp for WorkerSocket {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, to)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut parcel = None;
        if let Some(mail) = self.own() {
            mail.take(1, |bytes, from| {
                let len = bytes.len().min(buffer.len());
                if let (Some(to), Some(bytes)) = (buffer.get_mut(..len), bytes.get(..len)) {
                    to.copy_from_slice(bytes);
                    parcel = Some((len, from));
                }
            });
        }
        if let Some(parcel) = parcel {
            return Ok(parcel);
        }
        for _ in 0..MAX_HANDED {
            let (len, from) = self.socket.recv_from(buffer)?;
            if !buffer.get(..len).is_some_and(|datagram| self.hand_over(datagram, from)) {
                return Ok((len, from));
            }
        }
        self.socket.recv_from(buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.socket.prepare()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }

    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        self.socket.send_batch(batch)
    }

    fn largest_run(&self) -> usize {
        self.socket.largest_run()
    }

    fn send_run_to(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
        self.socket.send_run_to(datagrams, size, to)
    }

    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        // Parcels have half of what is free at most, so that neither source starves the other.
        let most = (SLOTS - batch.in_use()).div_ceil(2);
        let parcels = self.own().map_or(0, |mail| mail.take(most, |bytes, from| deliver(batch, bytes, from)));
        let before = batch.len();
        match self.socket.recv_batch(batch) {
            Ok(_) => {}
            Err(error) if parcels == 0 => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => batch.postpone(error),
        }
        batch.retain_from(before, |datagram, from| !self.hand_over(datagram, from));
        Ok(parcels + batch.len() - before)
    }

    fn misdirected(&mut self, datagram: &[u8], from: SocketAddr) {
        if let Some(mail) = self.other(datagram) {
            mail.post(datagram, from);
        }
    }
}

fn deliver(batch: &mut RecvBatch, bytes: &[u8], from: SocketAddr) {
    let Some(slot) = batch.room() else { return };
    let len = bytes.len().min(slot.len());
    if let (Some(slot), Some(bytes)) = (slot.get_mut(..len), bytes.get(..len)) {
        slot.copy_from_slice(bytes);
        batch.push(len, from);
    }
}

impl Source for WorkerSocket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

impl fmt::Debug for WorkerSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { socket, index, steering, .. } = self;
        f.debug_struct("WorkerSocket")
            .field("index", index)
            .field("steering", steering)
            .field("socket", socket)
            .finish_non_exhaustive()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn steer(_first: &super::WorkerSocket) -> bool {
        false
    }
}
