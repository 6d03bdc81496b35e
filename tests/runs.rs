//! Runs of datagrams over real sockets: whatever the system does of sending and receiving several by one call, all
//! arrives, whole, in order and once.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sealgram::{
    AddressedUdp, Config, Endpoint, Guarantee, SealedEndpoint, SecretKey, ServerSocket, Session, UdpLike,
    Unconnected,
};

#[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
fn now() -> Instant {
    Instant::now()
}

fn connected(host: &str) -> Option<[UdpSocket; 2]> {
    // A machine may be without one of the families.
    let sockets = [UdpSocket::bind((host, 0)).ok()?, UdpSocket::bind((host, 0)).ok()?];
    for (own, other) in [(0, 1), (1, 0)] {
        sockets[own].connect(sockets[other].local_addr().unwrap()).unwrap();
    }
    Some(sockets)
}

fn sealed<U: UdpLike>(sockets: [U; 2]) -> [SealedEndpoint<U>; 2] {
    let keys = [(); 2].map(|()| SecretKey::generate().unwrap());
    let mut side = 0;
    sockets.map(|socket| {
        side += 1;
        let peer = keys[side % 2].public_key();
        SealedEndpoint::paired(socket, &keys[side - 1], peer, Config::default()).unwrap()
    })
}

fn plain<U: UdpLike>(sockets: [U; 2]) -> [Endpoint<U>; 2] {
    sockets.map(|socket| Endpoint::plain(socket, Config::default()).unwrap())
}

fn for_mio(socket: UdpSocket) -> mio::net::UdpSocket {
    socket.set_nonblocking(true).unwrap();
    mio::net::UdpSocket::from_std(socket)
}

/// Two ends over sockets with addresses, each of which knows where the other may be.
fn unconnected<A: AddressedUdp>(
    sockets: [A; 2],
    addresses: [SocketAddr; 2],
) -> [SealedEndpoint<Unconnected<A>>; 2] {
    let mut ends = sealed(sockets.map(Unconnected::new));
    for (end, other) in ends.iter_mut().zip([1, 0]) {
        end.set_addresses(&[addresses[other]]).unwrap();
    }
    ends
}

/// The length of a message: everything from nothing to many datagrams, most of it full datagrams.
fn len(n: u32) -> usize {
    [1_000, 1_000, 0, 3_000, 17, 1_000, 1_140, 40_000][n as usize % 8]
}

fn bytes(n: u32) -> Vec<u8> {
    let seed = n.to_le_bytes();
    (0..len(n)).map(|at| seed[at % 4] ^ u8::try_from(at % 251).unwrap()).collect()
}

/// So many messages both ways at once, as fast as they go.
fn exchange<U: UdpLike, S: Session>(ends: &mut [Endpoint<U, S>; 2], messages: u32) {
    ends[0].connect().unwrap();
    let (began, mut sent, mut heard) = (now(), [0_u32; 2], [0_u32; 2]);
    while heard != [messages; 2] || ends.iter().any(|end| end.queued_messages() > 0) {
        for (side, end) in ends.iter_mut().enumerate() {
            while sent[side] < messages && end.queued_bytes() < 200_000 {
                end.send_payload(Guarantee::Delivery, &bytes(sent[side])).unwrap();
                sent[side] += 1;
            }
            while let Some(message) = end.recv().unwrap() {
                assert_eq!(message.bytes(), bytes(heard[side]), "message {}", heard[side]);
                heard[side] += 1;
            }
            end.maintain().unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{heard:?} {:?}", ends[0].stats());
    }
    for end in ends {
        let stats = end.stats();
        assert_eq!(stats.drops.total(), 0, "nothing arrived that was no datagram of ours: {stats:?}");
    }
}

#[test]
fn bulk_both_ways_arrives_whole_and_in_order_over_both_kinds_of_socket_and_both_families() {
    for host in ["127.0.0.1", "::1"] {
        let pair = || connected(host);
        let Some(sockets) = pair() else { continue };
        exchange(&mut sealed(sockets), 800);
        exchange(&mut plain(pair().unwrap()), 800);
        exchange(&mut sealed(pair().unwrap().map(for_mio)), 800);
        exchange(&mut plain(pair().unwrap().map(for_mio)), 800);
    }
}

#[test]
fn bulk_both_ways_arrives_whole_and_in_order_over_sockets_with_addresses() {
    for host in ["127.0.0.1", "::1"] {
        let bind = || UdpSocket::bind((host, 0));
        // A machine may be without one of the families.
        if bind().is_err() {
            continue;
        }
        let sockets = [(); 2].map(|()| bind().unwrap());
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        exchange(&mut unconnected(sockets, addresses), 400);
        let sockets = [(); 2].map(|()| for_mio(bind().unwrap()));
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        exchange(&mut unconnected(sockets, addresses), 400);
        let sockets = [(); 2].map(|()| ServerSocket::bind("[::]:0".parse().unwrap()).unwrap());
        let port = |socket: &ServerSocket| socket.local_addr().unwrap().port();
        let addresses = sockets.each_ref().map(|socket| SocketAddr::new(host.parse().unwrap(), port(socket)));
        exchange(&mut unconnected(sockets, addresses), 400);
    }
}

/// The system's socket, but some of what it offers is taken away.
struct Poor {
    socket: UdpSocket,
    sends_runs: bool,
    joins_reads: bool,
    runs: u64,
    singles: u64,
}

impl Poor {
    fn new(socket: UdpSocket, sends_runs: bool, joins_reads: bool) -> Self {
        Self { socket, sends_runs, joins_reads, runs: 0, singles: 0 }
    }
}

impl UdpLike for Poor {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.singles += 1;
        UdpLike::send(&mut self.socket, datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        UdpLike::recv(&mut self.socket, buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        UdpLike::prepare(&mut self.socket)
    }

    fn may_fragment(&self) -> bool {
        UdpLike::may_fragment(&self.socket)
    }

    fn largest_run(&self) -> usize {
        UdpLike::largest_run(&self.socket)
    }

    fn send_run(&mut self, datagrams: &[u8], size: usize) -> io::Result<usize> {
        self.runs += 1;
        if !self.sends_runs {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.socket.send_run(datagrams, size)
    }

    fn join_reads(&mut self) -> bool {
        self.joins_reads && UdpLike::join_reads(&mut self.socket)
    }

    fn recv_run(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
        self.socket.recv_run(buffer)
    }
}

#[test]
fn an_end_without_runs_talks_to_one_with_them() {
    let kinds = [(false, false), (true, false), (false, true), (true, true)];
    for (one, two) in kinds.iter().flat_map(|one| kinds.map(|two| (*one, two))) {
        let [first, second] = connected("127.0.0.1").unwrap();
        let sockets = [Poor::new(first, one.0, one.1), Poor::new(second, two.0, two.1)];
        let mut ends = sealed(sockets);
        exchange(&mut ends, 200);
        for (end, (sends_runs, _)) in ends.iter().zip([one, two]) {
            let &Poor { runs, singles, .. } = end.socket();
            if !cfg!(target_os = "linux") {
                assert_eq!(runs, 0);
            } else if sends_runs {
                assert!(singles < end.stats().datagrams_sent, "{runs} {singles}");
            } else {
                assert_eq!(runs, 1, "who is refused is not asked again");
            }
        }
    }
}

/// The same for a socket with addresses.
impl AddressedUdp for Poor {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.singles += 1;
        AddressedUdp::send_to(&mut self.socket, datagram, to)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        AddressedUdp::recv_from(&mut self.socket, buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        AddressedUdp::prepare(&mut self.socket)
    }

    fn may_fragment(&self) -> bool {
        AddressedUdp::may_fragment(&self.socket)
    }

    fn largest_run(&self) -> usize {
        AddressedUdp::largest_run(&self.socket)
    }

    fn send_run_to(&mut self, datagrams: &[u8], size: usize, to: SocketAddr) -> io::Result<usize> {
        self.runs += 1;
        if !self.sends_runs {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.socket.send_run_to(datagrams, size, to)
    }

    fn join_reads(&mut self) -> bool {
        self.joins_reads && AddressedUdp::join_reads(&mut self.socket)
    }

    fn recv_run_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
        self.socket.recv_run_from(buffer)
    }
}

#[test]
fn sockets_with_addresses_carry_runs_and_what_they_refuse_leaves_one_by_one() {
    for (one, two) in [((true, true), (true, true)), ((false, true), (true, false))] {
        let sockets = [one, two].map(|(sends_runs, joins_reads)| {
            Poor::new(UdpSocket::bind("127.0.0.1:0").unwrap(), sends_runs, joins_reads)
        });
        let addresses = sockets.each_ref().map(|socket| socket.socket.local_addr().unwrap());
        let mut ends = unconnected(sockets, addresses);
        exchange(&mut ends, 200);
        for (end, (sends_runs, _)) in ends.iter().zip([one, two]) {
            let &Poor { runs, singles, .. } = end.socket().get_ref();
            let sent = end.stats().datagrams_sent;
            if !cfg!(target_os = "linux") {
                assert_eq!(runs, 0);
            } else if sends_runs {
                assert!(singles < sent / 2, "{runs} {singles} of {sent}");
            } else {
                assert_eq!((runs, singles), (1, sent), "who is refused is not asked again");
            }
        }
    }
}

#[test]
fn runs_of_strangers_between_those_of_the_peer_change_nothing() {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let mut ends = unconnected(sockets, addresses);
    let mut stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    AddressedUdp::prepare(&mut stranger).unwrap();
    ends[0].connect().unwrap();
    for _ in 0..20 {
        for (to, size) in [(addresses[0], 1_200), (addresses[1], 100)] {
            // Who reads slowly has no room for it: it is a stranger's loss.
            let _ = stranger.send_run_to(&[0xa5; 3_700], size, to);
        }
        one_way(&mut ends, 100);
    }
    for (end, other) in ends.iter().zip([1, 0]) {
        assert_eq!(end.path(), Some(addresses[other]));
        assert!(end.stats().drops.total() >= 20 * 4, "{:?}", end.stats().drops);
    }
}

#[test]
fn a_socket_that_another_endpoint_had_is_read_as_a_new_one() {
    let mut sockets = connected("127.0.0.1").unwrap();
    for _ in 0..3 {
        let [one, two] = &mut sockets;
        let mut ends = sealed([one, two]);
        exchange(&mut ends, 100);
    }
}

/// So many messages of 1,000 bytes from the first to the second.
fn one_way<U: UdpLike, S: Session>(ends: &mut [Endpoint<U, S>; 2], messages: usize) {
    let (began, mut sent, mut heard) = (now(), 0, 0);
    while heard < messages {
        while sent < messages && ends[0].queued_bytes() < 100_000 {
            ends[0].send_payload(Guarantee::Delivery, &[7; 1_000]).unwrap();
            sent += 1;
        }
        for end in ends.iter_mut().rev() {
            while end.recv().unwrap().is_some() {
                heard += 1;
            }
            end.maintain().unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{heard} {:?}", ends[0].stats());
    }
}

#[test]
fn runs_allocate_nothing_per_message() {
    let mut ends = sealed(connected("127.0.0.1").unwrap());
    ends[0].connect().unwrap();
    one_way(&mut ends, 5_000);
    let before = ends[0].stats().datagrams_sent;
    let info = allocation_counter::measure(|| one_way(&mut ends, 5_000));
    assert!(ends[0].stats().datagrams_sent - before > 3_000);
    // In real time a queue may be longer than ever before, now and then.
    assert!(info.count_total < 50, "allocations for 5,000 messages: {info:?}");
}

#[test]
fn runs_over_sockets_with_addresses_allocate_nothing_per_message() {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let mut ends = unconnected(sockets, addresses);
    ends[0].connect().unwrap();
    one_way(&mut ends, 5_000);
    let info = allocation_counter::measure(|| one_way(&mut ends, 5_000));
    assert!(info.count_total < 50, "allocations for 5,000 messages: {info:?}");
}

/// What the system itself does with a run, and with one that it cannot send.
#[test]
#[cfg(target_os = "linux")]
fn the_system_carries_runs_and_says_which_it_cannot() {
    let [mut from, mut to] = connected("127.0.0.1").unwrap();
    for socket in [&mut from, &mut to] {
        UdpLike::prepare(socket).unwrap();
    }
    let datagrams: Vec<u8> = (0..10_u8).flat_map(|n| vec![n; if n == 9 { 300 } else { 1_000 }]).collect();
    assert_eq!(from.send_run(&datagrams, 1_000).unwrap(), 10);
    let mut buffer = vec![0; 65_535];
    for n in 0..10_u8 {
        // Who has not asked for runs hears single datagrams.
        let len = UdpLike::recv(&mut to, &mut buffer).unwrap();
        assert_eq!(buffer[..len], vec![n; if n == 9 { 300 } else { 1_000 }]);
    }
    assert!(UdpLike::join_reads(&mut to));
    from.send_run(&datagrams, 1_000).unwrap();
    UdpLike::send(&mut from, b"alone").unwrap();
    assert_eq!(to.recv_run(&mut buffer).unwrap(), (9_300, 1_000));
    assert_eq!(buffer[..9_300], datagrams);
    assert_eq!(to.recv_run(&mut buffer).unwrap(), (5, 5));
    assert_eq!(to.recv_run(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // 65 of them are more than any kernel took at first, and newer ones take; more bytes than a datagram's none does.
    let refused = from.send_run(&vec![0; 65_508], 9_000).unwrap_err();
    assert!(refused.kind() == io::ErrorKind::Unsupported || refused.raw_os_error() == Some(90), "{refused}");
    assert_eq!(from.send_run(&[0; 10], 0).unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert_eq!(to.recv_run(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}
