//! Several workers on one port, each with a socket and a thread of its own. The kernel spreads what arrives; what comes
//! to the wrong worker is handed to the right one, in memory. PROTOCOL.md, "Workers".
//!
//! Connection ids name their worker, so a player stays with his whatever address he comes from. What has no id yet, the
//! first flight, stays with whom the kernel gave it to.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use mio::{Interest, Registry, Token, event::Source};

use super::{
    AddressedUdp, ServerSocket,
    batch::{RecvBatch, SLOTS, SendBatch},
};
use crate::{
    config::Config,
    wire::worker::{MAX_WORKERS, worker_of},
};

/// Datagrams that may wait for a worker in memory.
const MAX_PARCELS: usize = 512;
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

/// What others hand to one worker.
#[derive(Default)]
struct Mailbox {
    parcels: Mutex<Parcels>,
    /// How many wait, so that an empty box costs no lock.
    waiting: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Default)]
struct Parcels {
    waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Buffers that were read and wait for reuse.
    spare: Vec<Vec<u8>>,
    wake: Option<Box<dyn Fn() + Send>>,
}

impl Mailbox {
    /// The parcels are whole between any two statements, so a panic elsewhere does not spoil them.
    fn lock(&self) -> MutexGuard<'_, Parcels> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, datagram: &[u8], from: SocketAddr) {
        let mut parcels = self.lock();
        if parcels.waiting.len() >= MAX_PARCELS {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        let mut bytes = parcels.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        parcels.waiting.push_back((from, bytes));
        self.waiting.store(parcels.waiting.len(), Relaxed);
        if let Some(wake) = parcels.wake.as_ref().filter(|_| parcels.waiting.len() == 1) {
            wake();
        }
    }

    /// Reads into what `place` offers, as long as it does and something waits.
    fn take(&self, most: usize, mut read: impl FnMut(&[u8], SocketAddr)) -> usize {
        if self.waiting.load(Relaxed) == 0 {
            return 0;
        }
        let mut parcels = self.lock();
        let count = most.min(parcels.waiting.len());
        for _ in 0..count {
            let Some((from, bytes)) = parcels.waiting.pop_front() else { break };
            read(&bytes, from);
            parcels.spare.push(bytes);
        }
        self.waiting.store(parcels.waiting.len(), Relaxed);
        count
    }
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

/// The kernel can look at the id itself, so that little is left to hand over. It may refuse; nothing depends on it.
#[cfg(target_os = "linux")]
mod kernel {
    use nix::{
        libc::{
            BPF_A, BPF_ABS, BPF_ALU, BPF_B, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_LEN, BPF_MOD, BPF_RET,
            BPF_W, sock_filter, sock_fprog,
        },
        sys::socket::{setsockopt, sockopt},
    };

    use super::{CID_BYTES, Steering, WorkerSocket};

    /// Gives all sockets of the port the rule of [`Steering`], and says whether the kernel took it.
    pub(super) fn steer(first: &WorkerSocket) -> bool {
        let Some(mut steps) = program(first.steering) else { return false };
        let Ok(len) = u16::try_from(steps.len()) else { return false };
        let program = sock_fprog { len, filter: steps.as_mut_ptr() };
        let attach = |socket| setsockopt(socket, sockopt::AttachReusePortCbpf, &program).is_ok();
        first.socket.sockets().all(attach)
    }

    /// The sockets are counted in the order in which they were bound. A number that none has leaves the choice to the
    /// hash of the addresses, as it is without this.
    fn program(steering: Steering) -> Option<Vec<sock_filter>> {
        let Steering { workers, route_bytes, handshake_bytes } = steering;
        let step = |code: u32, k: usize, jt, jf| {
            Some(sock_filter { code: u16::try_from(code).ok()?, jt, jf, k: u32::try_from(k).ok()? })
        };
        let steps = [
            step(BPF_LD | BPF_W | BPF_LEN, 0, 0, 0),
            step(BPF_JMP | BPF_JGE | BPF_K, route_bytes + handshake_bytes, 4, 0),
            step(BPF_JMP | BPF_JGE | BPF_K, route_bytes + CID_BYTES + 1, 0, 3),
            step(BPF_LD | BPF_B | BPF_ABS, route_bytes, 0, 0),
            step(BPF_ALU | BPF_MOD | BPF_K, workers.into(), 0, 0),
            step(BPF_RET | BPF_A, 0, 0, 0),
            step(BPF_RET | BPF_K, 0xffff_ffff, 0, 0),
        ];
        steps.into_iter().collect()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn steer(_first: &super::WorkerSocket) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    /// As many as the arrays below have places.
    const WORKERS: u8 = 3;
    const ROUTE: usize = 5;

    fn workers() -> Vec<WorkerSocket> {
        let address = "[::]:0".parse().unwrap();
        bind_unsteered(address, WORKERS.into(), ROUTE, &Config::default()).unwrap()
    }

    /// A datagram that names a worker, behind a route whose bytes would name others.
    fn naming(worker: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![worker + 1; len];
        bytes[ROUTE] = 30 + worker;
        bytes
    }

    fn waiting(worker: &WorkerSocket) -> usize {
        worker.own().unwrap().lock().waiting.len()
    }

    /// One datagram for each worker, from 20 sources.
    fn send_to_all(workers: &[WorkerSocket], len: usize) {
        let port = workers[0].local_addr().unwrap().port();
        for source in 0..20 {
            let (address, server) = [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")][source % 2];
            let source = UdpSocket::bind(address).unwrap();
            for worker in 0..WORKERS {
                source.send_to(&naming(worker, len), (server, port)).unwrap();
            }
        }
    }

    #[test]
    fn without_the_kernel_a_datagram_reaches_its_worker_all_the_same() {
        let mut workers = workers();
        send_to_all(&workers, 100);
        let mut batch = RecvBatch::new(1_200);
        let mut handed = 0;
        let mut heard = [0; 3];
        for _ in 0..4 {
            for worker in &mut workers {
                while worker.recv_batch(&mut batch).is_ok() {
                    while let Some(arrival) = batch.take_next() {
                        assert_eq!(arrival.datagram, naming(worker.index, 100), "worker {}", worker.index);
                        heard[worker.index()] += 1;
                    }
                }
                handed += workers_waiting(worker);
            }
        }
        assert_eq!(heard, [20; 3]);
        assert!(handed > 0, "the hash of 20 sources alone was always right");
    }

    /// What waits for all workers; each can look into the boxes of the others.
    fn workers_waiting(worker: &WorkerSocket) -> usize {
        worker.mail.iter().map(|mail| mail.lock().waiting.len()).sum()
    }

    #[test]
    fn single_reads_hand_over_as_batches_do() {
        let mut workers = workers();
        send_to_all(&workers, 100);
        let mut heard = [0; 3];
        let mut buffer = [0; 1_201];
        for _ in 0..2 {
            for worker in &mut workers {
                while let Ok((len, _)) = worker.recv_from(&mut buffer) {
                    assert_eq!(&buffer[..len], naming(worker.index, 100), "worker {}", worker.index);
                    heard[worker.index()] += 1;
                }
            }
        }
        assert_eq!(heard, [20; 3]);
    }

    #[test]
    fn the_kernel_finds_the_same_worker_as_we_do() {
        let mut workers = workers();
        if !kernel::steer(&workers[0]) {
            eprintln!("this kernel does not steer");
            return;
        }
        send_to_all(&workers, 100);
        for worker in &mut workers {
            let mut batch = RecvBatch::new(1_200);
            assert_eq!(worker.socket.recv_batch(&mut batch).unwrap(), 20);
            while let Some(arrival) = batch.take_next() {
                assert_eq!(arrival.datagram, naming(worker.index, 100));
            }
        }
    }

    #[test]
    fn a_first_flight_stays_where_the_kernel_gave_it_until_it_is_known_to_be_none() {
        let mut workers = workers();
        kernel::steer(&workers[0]);
        let first_flight = ROUTE + usize::from(Config::default().handshake_bytes);
        send_to_all(&workers, first_flight);
        let mut batch = RecvBatch::new(1_452);
        let mut heard = 0;
        for worker in &mut workers {
            while worker.recv_batch(&mut batch).is_ok() {
                while let Some(arrival) = batch.take_next() {
                    heard += 1;
                    assert!(heard <= 120, "each is seen twice at most");
                    worker.misdirected(arrival.datagram, arrival.from);
                }
            }
            // Its own it does not hand to itself, else they would go round for ever.
            assert_eq!(waiting(worker), worker_waiting_from_others(worker));
        }
        assert!(heard >= 60);
    }

    fn worker_waiting_from_others(worker: &WorkerSocket) -> usize {
        let own = |bytes: &[u8]| worker.steering.named(bytes) == Some(worker.index);
        worker.own().unwrap().lock().waiting.iter().filter(|(_, bytes)| own(bytes)).count()
    }

    #[test]
    fn the_box_of_a_worker_who_sleeps_is_bounded_and_wakes_him_once() {
        let mut workers = workers();
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        workers[2].set_wake(move || {
            count.fetch_add(1, Relaxed);
        });
        let (from, datagram) = ("192.0.2.1:5".parse().unwrap(), naming(2, 50));
        for _ in 0..MAX_PARCELS + 7 {
            workers[0].misdirected(&datagram, from);
            workers[2].misdirected(&datagram, from);
        }
        assert_eq!((waiting(&workers[2]), workers[2].lost(), workers[0].lost()), (MAX_PARCELS, 7, 0));
        assert_eq!(woken.load(Relaxed), 1);
        let mut batch = RecvBatch::new(1_200);
        let mut heard = 0;
        while workers[2].recv_batch(&mut batch).is_ok() {
            assert!(batch.len() <= SLOTS / 2, "the socket has its share");
            while let Some(arrival) = batch.take_next() {
                assert_eq!((&*arrival.datagram, arrival.from), (&datagram[..], from));
                heard += 1;
            }
        }
        assert_eq!(heard, MAX_PARCELS);
        workers[1].misdirected(&datagram, from);
        assert_eq!(woken.load(Relaxed), 2);
    }

    #[test]
    fn what_is_too_short_for_an_id_names_nobody() {
        let steering = Steering { workers: 4, route_bytes: 3, handshake_bytes: 1_200 };
        assert_eq!(steering.named(&[9; 3 + CID_BYTES]), None);
        assert_eq!(steering.named(&[9; 3 + CID_BYTES + 1]), Some(1));
        assert_eq!(steering.named(&[]), None);
        assert!(!steering.may_be_first(&[9; 1_202]));
        assert!(steering.may_be_first(&[9; 1_203]));
    }
}
