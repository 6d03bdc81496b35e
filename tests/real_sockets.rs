//! The contract over real UDP sockets of both kinds, through the examples' relay at its worst: one datagram in five
//! lost, others repeated, overtaken, replayed and damaged.

#[path = "common/contract.rs"]
mod contract;
#[path = "../examples/common/relay.rs"]
mod relay;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use contract::{End, Promise, Sent, Yielded, assert_kept, identify, payload};
use relay::{Conditions, Counts, Relay};
use sealgram::{Config, Endpoint, Guarantee, SealedEndpoint, SecretKey, Session, StartError, UdpLike};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MIXED: [(Promise, Guarantee); 3] = [
    (Promise::None, Guarantee::None),
    (Promise::Order, Guarantee::Order),
    (Promise::Delivery, Guarantee::Delivery),
];

#[expect(clippy::disallowed_methods, reason = "real sockets live in real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the other end and the relay need the processor too")]
fn rest() {
    std::thread::sleep(Duration::from_millis(1));
}

/// One direction of a game.
#[derive(Default)]
struct Log {
    sent: Vec<Sent>,
    yielded: Vec<Yielded>,
}

/// A second of messages at 100 Hz both ways, then everything that is still owed.
fn play<U: UdpLike, S: Session>(mut ends: [Endpoint<U, S>; 2]) -> [Endpoint<U, S>; 2] {
    ends[0].connect().unwrap();
    // What waits for the session leaves in one datagram and shares its fate, which one seed says little of.
    let dialed = now();
    while !ends.iter().all(Endpoint::is_connected) {
        for end in &mut ends {
            assert!(end.recv().unwrap().is_none());
            end.maintain().unwrap();
        }
        assert!(dialed.elapsed() < Duration::from_secs(20), "no session, {:?}", ends[0].stats());
        rest();
    }
    let mut logs = [Log::default(), Log::default()];
    let (began, mut tick) = (now(), 0_u64);
    loop {
        for side in 0..2 {
            while let Some(message) = ends[side].recv().unwrap() {
                let id = identify(&message).expect("a message was spoiled");
                let (promise, _) = *MIXED.iter().find(|(_, each)| *each == message.guarantee()).unwrap();
                logs[1 - side].yielded.push(Yielded { promise, lane: 0, id });
            }
            ends[side].maintain().unwrap();
        }
        let due = u64::try_from(began.elapsed().as_millis()).unwrap() / 10;
        while tick < due.min(100) {
            for (end, log) in ends.iter_mut().zip(&mut logs) {
                for (index, (promise, guarantee)) in (0..).zip(MIXED) {
                    let id = tick * 3 + index;
                    // Now and then one that takes several datagrams. A `None` counts for no set.
                    let len = if tick % 20 == 7 { 6_000 } else { 30 };
                    end.send_payload(guarantee, &payload(id, len)).unwrap();
                    log.sent.push(Sent { promise, lane: 0, set: id, id });
                }
                end.flush().unwrap();
            }
            tick += 1;
        }
        let done = tick == 100 && ends.iter().all(|end| end.queued_messages() == 0);
        if done && logs.iter().all(|log| log.yielded.iter().any(|line| line.id == 299)) {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "no end, {:?} {:?}",
            ends[0].stats(),
            ends[1].stats()
        );
        rest();
    }
    for log in &logs {
        let kept = assert_kept(&log.sent, &log.yielded, &End::Dry { skipped: Vec::new() }, "real sockets");
        assert_eq!((kept.sent[2], kept.yielded[2]), (100, 100));
        assert!(kept.yielded[0] > 50, "{kept:?}");
    }
    assert_eq!(ends[0].handshake_hash(), ends[1].handshake_hash());
    ends
}

/// Two sockets with the relay between them.
fn through_the_relay() -> ([UdpSocket; 2], Relay) {
    let sockets = [(); 2].map(|()| UdpSocket::bind((V4, 0)).unwrap());
    let conditions = Conditions {
        seed: 6,
        loss: 0.2,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(3),
        duplicate: 0.1,
        reorder: 0.1,
        replay: 0.2,
        corrupt: 0.1,
        ..Conditions::default()
    };
    let addresses = [0, 1].map(|at: usize| sockets[at].local_addr().unwrap());
    let relay = Relay::between(addresses, conditions).unwrap();
    for (socket, address) in sockets.iter().zip(relay.addresses()) {
        socket.connect(address).unwrap();
    }
    (sockets, relay)
}

fn assert_hard(counts: &Counts) {
    for count in [counts.lost, counts.duplicated, counts.reordered, counts.replayed, counts.corrupted] {
        assert!(count > 5, "{counts:?}");
    }
}

fn sealed<U: UdpLike>(sockets: [U; 2]) -> [Endpoint<U, sealgram::Sealed>; 2] {
    let keys = [SecretKey::generate().unwrap(), SecretKey::generate().unwrap()];
    let [one, two] = sockets;
    let make = |socket, own: usize| {
        SealedEndpoint::paired(socket, &keys[own], keys[1 - own].public_key(), Config::default()).unwrap()
    };
    [make(one, 0), make(two, 1)]
}

fn plain<U: UdpLike>(sockets: [U; 2]) -> [Endpoint<U>; 2] {
    sockets.map(|socket| Endpoint::plain(socket, Config::default()).unwrap())
}

fn for_mio(socket: UdpSocket) -> mio::net::UdpSocket {
    socket.set_nonblocking(true).unwrap();
    mio::net::UdpSocket::from_std(socket)
}

/// What the relay repeated and damaged was dropped, and counted.
fn assert_counted<U: UdpLike, S: Session>(ends: &[Endpoint<U, S>; 2]) {
    let drops = ends.each_ref().map(|end| end.stats().drops);
    assert!(
        drops.iter().all(|drops| drops.unopened + drops.handshake > 5 && drops.duplicate > 5),
        "{drops:?}"
    );
}

#[test]
fn std_sockets_keep_the_contract_sealed_through_the_worst_relay() {
    let (sockets, relay) = through_the_relay();
    assert_counted(&play(sealed(sockets)));
    assert_hard(&relay.counts());
}

#[test]
fn std_sockets_keep_the_contract_plain_through_the_worst_relay() {
    let (sockets, relay) = through_the_relay();
    assert_counted(&play(plain(sockets)));
    assert_hard(&relay.counts());
}

#[test]
fn mio_sockets_keep_the_contract_sealed_through_the_worst_relay() {
    let (sockets, relay) = through_the_relay();
    assert_counted(&play(sealed(sockets.map(for_mio))));
    assert_hard(&relay.counts());
}

#[test]
fn mio_sockets_keep_the_contract_plain_through_the_worst_relay() {
    let (sockets, relay) = through_the_relay();
    assert_counted(&play(plain(sockets.map(for_mio))));
    assert_hard(&relay.counts());
}

#[test]
fn both_families_carry_a_session() -> Result<(), StartError> {
    for ip in [V4, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        // A machine may be without the second.
        let Ok(one) = UdpSocket::bind(SocketAddr::new(ip, 0)) else { continue };
        let two = UdpSocket::bind(SocketAddr::new(ip, 0)).map_err(StartError::Socket)?;
        one.connect(two.local_addr().map_err(StartError::Socket)?).map_err(StartError::Socket)?;
        two.connect(one.local_addr().map_err(StartError::Socket)?).map_err(StartError::Socket)?;
        play(sealed([one, two]));
    }
    Ok(())
}

/// Full datagrams both ways for at most ten seconds, until each end knows a size of `least` bytes; in the end all of
/// them have arrived.
fn find_size<U: UdpLike, S: Session>(ends: &mut [Endpoint<U, S>; 2], least: u64) {
    let (began, mut sent, mut heard) = (now(), [0_usize; 2], [0_usize; 2]);
    loop {
        for (side, end) in ends.iter_mut().enumerate() {
            while let Some(message) = end.recv().unwrap() {
                assert_eq!(message.len(), 5_000);
                heard[side] += 1;
            }
            if end.queued_messages() < 20 && !found(end, least) {
                end.send_payload(Guarantee::Delivery, &[3; 5_000]).unwrap();
                sent[side] += 1;
            }
            end.maintain().unwrap();
        }
        if ends.iter().all(|end| found(end, least) && end.queued_messages() == 0) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{least}: {:?}", ends[0].stats());
        rest();
    }
    assert_eq!(heard, [sent[1], sent[0]]);
}

fn found<U: UdpLike, S: Session>(end: &Endpoint<U, S>, least: u64) -> bool {
    end.stats().mtu >= least
}

fn connected(ip: IpAddr) -> [UdpSocket; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind((ip, 0)).unwrap());
    for (own, other) in [(0, 1), (1, 0)] {
        sockets[own].connect(sockets[other].local_addr().unwrap()).unwrap();
    }
    sockets
}

fn plain_up_to<U: UdpLike>(sockets: [U; 2], max_datagram_bytes: u16) -> [Endpoint<U>; 2] {
    let mut ends = sockets.map(|socket| {
        let mut config = Config::default();
        config.max_datagram_bytes = max_datagram_bytes;
        Endpoint::plain(socket, config).unwrap()
    });
    ends[0].connect().unwrap();
    ends
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn both_kinds_of_socket_find_that_loopback_takes_all_that_is_allowed() {
    for most in [1_452, 9_000] {
        find_size(&mut plain_up_to(connected(V4), most), most.into());
        find_size(&mut plain_up_to(connected(V4).map(for_mio), most), most.into());
    }
}

/// A socket of which nobody knows what becomes of its datagrams.
struct Unknown(UdpSocket);

impl UdpLike for Unknown {
    fn send(&mut self, datagram: &[u8]) -> std::io::Result<usize> {
        self.0.send(datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.recv(buffer)
    }

    fn prepare(&mut self) -> std::io::Result<()> {
        self.0.set_nonblocking(true)
    }
}

#[test]
fn a_socket_that_may_fragment_keeps_to_the_size_that_every_path_takes() {
    let mut ends = plain_up_to(connected(V4).map(Unknown), 9_000);
    for _ in 0..3 {
        ends[0].send_payload(Guarantee::Delivery, &vec![1; 500_000]).unwrap();
        let began = now();
        while ends[0].queued_messages() > 0 || began.elapsed() < Duration::from_millis(600) {
            for end in &mut ends {
                while end.recv().unwrap().is_some() {}
                end.maintain().unwrap();
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{:?}", ends[0].stats());
            rest();
        }
    }
    let stats = ends[0].stats();
    assert_eq!((stats.mtu, stats.min_mtu), (1_200, 1_200));
}

/// Set in a network of its own, for the test that runs itself there.
#[cfg(target_os = "linux")]
const NARROW: &str = "SEALGRAM_NARROW_LOOPBACK";

/// Runs a test of this program once more in a network of its own, with a narrow loopback.
#[cfg(target_os = "linux")]
fn in_a_network_of_its_own(mtu: u16, test: &str) {
    let unshare = |script: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script, "sh"]);
        command.arg(std::env::current_exe().unwrap()).arg(test).env(NARROW, "1");
        command
    };
    let narrow = format!("ip link set lo mtu {mtu} up");
    if !unshare(&narrow).output().is_ok_and(|tried| tried.status.success()) {
        println!("skipped: this machine gives its users no networks of their own");
        return;
    }
    let ran = unshare(&format!("{narrow} && \"$1\" --exact \"$2\" --nocapture")).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed") && said.contains(NARROW),
        "{said}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
#[cfg(target_os = "linux")]
fn sockets_find_what_a_narrow_path_takes_whole_and_not_what_arrives_in_pieces() {
    if std::env::var_os(NARROW).is_none() {
        let name = "sockets_find_what_a_narrow_path_takes_whole_and_not_what_arrives_in_pieces";
        return in_a_network_of_its_own(1_400, name);
    }
    for (ip, headers) in [(V4, 28), (IpAddr::V6(Ipv6Addr::LOCALHOST), 48)] {
        let takes = 1_400 - headers;
        let mut ends = plain_up_to(connected(ip), 1_452);
        find_size(&mut ends, takes - 16);
        for end in &ends {
            let stats = end.stats();
            assert!(stats.mtu <= takes, "{ip}: {}", stats.mtu);
            assert!(
                stats.socket_errors.too_large > 0,
                "{ip}: a size that is too large is refused, and counted"
            );
            // A machine that is held up sends again what was not lost.
            assert_eq!(stats.resends, stats.spurious_resends, "{ip}: looking disturbs no data");
        }
    }
    println!("{NARROW}: done");
}
