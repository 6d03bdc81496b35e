//! The shell's own promises, over sockets that misbehave on command, in memory, and on the loopback interface.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::error::ConfigError;
use crate::{
    delivery::LaneId,
    error::{CloseReason, SendError},
    socket::{MemorySocket, memory_pair},
    wire::Guarantee,
};

/// A socket whose failures are scripted; both ends and the clock are kept in hand.
struct Scripted {
    inner: MemorySocket,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    send: VecDeque<io::ErrorKind>,
    recv: VecDeque<io::Error>,
    /// Datagrams that `recv` gives before those of the inner socket, and how often each.
    inject: VecDeque<(Vec<u8>, usize)>,
    tried: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    reads: usize,
}

impl UdpLike for Scripted {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut script = self.script.lock().unwrap();
        script.tried.push(datagram.to_vec());
        if let Some(kind) = script.send.pop_front() {
            return Err(kind.into());
        }
        script.sent.push(datagram.to_vec());
        self.inner.send(datagram)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut script = self.script.lock().unwrap();
        script.reads += 1;
        if let Some(error) = script.recv.pop_front() {
            return Err(error);
        }
        if let Some((bytes, left)) = script.inject.front_mut() {
            let len = bytes.len().min(buffer.len());
            buffer[..len].copy_from_slice(&bytes[..len]);
            *left -= 1;
            if *left == 0 {
                script.inject.pop_front();
            }
            return Ok(len);
        }
        self.inner.recv(buffer)
    }
}

type Peer = Endpoint<Scripted>;

struct Pair {
    now: Arc<Mutex<Instant>>,
    peers: [Peer; 2],
    scripts: [Arc<Mutex<Script>>; 2],
}

fn config() -> Config {
    Config { app_id: b"shell".to_vec(), ..Config::default() }
}

impl Pair {
    fn with(config: Config) -> Self {
        let now = Arc::new(Mutex::new(Environment::os().now()));
        let scripts = [(); 2].map(|()| Arc::<Mutex<Script>>::default());
        let (one, two) = memory_pair();
        let mut seed = 0;
        let mut make = |inner, script: &Arc<Mutex<Script>>| {
            seed += 1;
            let clock = Arc::clone(&now);
            let environment =
                Environment::new(move || *clock.lock().unwrap(), ChaCha8Rng::seed_from_u64(seed));
            let socket = Scripted { inner, script: Arc::clone(script) };
            Endpoint::make_plain(socket, config.clone(), environment).unwrap()
        };
        let peers = [make(one, &scripts[0]), make(two, &scripts[1])];
        Self { now, peers, scripts }
    }

    fn connected() -> Self {
        Self::connected_with(config())
    }

    fn connected_with(config: Config) -> Self {
        let mut pair = Self::with(config);
        pair.peers[0].connect().unwrap();
        pair.run(Duration::from_millis(500));
        assert!(pair.peers.iter().all(Peer::is_connected));
        for script in &pair.scripts {
            *script.lock().unwrap() = Script::default();
        }
        pair
    }

    fn script(&self, peer: usize) -> std::sync::MutexGuard<'_, Script> {
        self.scripts[peer].lock().unwrap()
    }

    fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }

    /// Drives both for a while and gives what each has heard.
    fn run(&mut self, time: Duration) -> [Vec<Vec<u8>>; 2] {
        let mut heard = [const { Vec::new() }; 2];
        for _ in 0..time.as_millis() / 5 + 1 {
            for (peer, heard) in self.peers.iter_mut().zip(&mut heard) {
                while let Ok(Some(message)) = peer.recv() {
                    heard.push(message.to_vec());
                }
                if let Ok(Some(deadline)) = peer.maintain() {
                    assert!(deadline > *self.now.lock().unwrap(), "a caller that obeys would spin");
                }
            }
            self.advance(Duration::from_millis(5));
        }
        heard
    }
}

#[test]
fn both_endpoints_can_be_moved_to_another_thread() {
    fn movable<T: Send>() {}
    movable::<Endpoint<std::net::UdpSocket>>();
    movable::<SealedEndpoint<std::net::UdpSocket>>();
    movable::<SealedEndpoint<mio::net::UdpSocket>>();
    movable::<SealedEndpoint<MemorySocket>>();
}

#[test]
fn bad_configuration_names_the_field() {
    let own = SecretKey::from_bytes([1; 32]);
    let peer = SecretKey::from_bytes([2; 32]).public_key();
    let bad = [
        ("app_id", Config { app_id: vec![0; 33], ..config() }),
        ("max_datagram_bytes", Config { max_datagram_bytes: 100, ..config() }),
        ("handshake_bytes", Config { handshake_bytes: 1_453, ..config() }),
        ("idle_timeout", Config { idle_timeout: Duration::ZERO, ..config() }),
        ("send_queue_bytes", Config { send_queue_bytes: 0, ..config() }),
        ("half_open", Config { half_open: 0, ..config() }),
    ];
    for (name, config) in bad {
        let plain = Endpoint::plain(memory_pair().0, config.clone()).unwrap_err();
        let sealed = SealedEndpoint::paired(memory_pair().0, &own, peer, config).unwrap_err();
        for error in [plain, sealed] {
            assert!(matches!(&error, StartError::Config(ConfigError { field, .. }) if *field == name));
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn a_socket_that_cannot_be_prepared_is_an_error() {
    struct Broken;
    impl UdpLike for Broken {
        fn send(&mut self, _: &[u8]) -> io::Result<usize> {
            unreachable!()
        }
        fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!()
        }
        fn prepare(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
    assert!(matches!(Endpoint::plain(Broken, config()), Err(StartError::Socket(_))));
}

/// Answers every other call with what a router said of the datagram before.
#[cfg(target_os = "linux")]
struct Reporting(MemorySocket, bool);

#[cfg(target_os = "linux")]
impl UdpLike for Reporting {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(io::Error::from_raw_os_error(90)) } else { self.0.send(datagram) }
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer)
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_router_says_of_an_earlier_datagram_costs_no_later_one() {
    let (one, two) = memory_pair();
    let mut one = Endpoint::plain(Reporting(one, false), config()).unwrap();
    let mut two = Endpoint::plain(two, config()).unwrap();
    one.connect().unwrap();
    let (mut queued, mut heard) = (0, 0);
    while heard < 20 {
        while one.recv().unwrap().is_some() {}
        if queued < 20 && one.is_connected() {
            one.send_payload(Guarantee::None, &[queued]).unwrap();
            queued += 1;
            one.flush().unwrap();
        }
        two.maintain().unwrap();
        while let Some(message) = two.recv().unwrap() {
            assert_eq!(*message, [heard]);
            heard += 1;
        }
    }
    let stats = one.stats();
    assert_eq!(stats.socket_errors.too_large, stats.datagrams_sent);
}

#[test]
fn transient_socket_errors_are_counted_and_end_nothing() {
    use io::ErrorKind as Kind;
    let mut pair = Pair::connected();
    let errors = [Kind::ConnectionRefused, Kind::NetworkDown, Kind::PermissionDenied, Kind::Other];
    pair.script(0).send.extend(errors);
    pair.script(0).recv.extend(errors.map(io::Error::from));
    if cfg!(target_os = "linux") {
        pair.script(0).recv.push_back(io::Error::from_raw_os_error(90));
    }
    for n in 0..8_u8 {
        pair.peers[0].send_payload(Guarantee::Delivery, &[n]).unwrap();
        pair.peers[0].flush().unwrap();
    }
    let heard = pair.run(Duration::from_secs(5));
    let mut all = heard[1].clone();
    all.sort();
    assert_eq!(
        all,
        (0..8).map(|n| vec![n]).collect::<Vec<_>>(),
        "no message is lost with a refused datagram"
    );
    let counted = pair.peers[0].stats().socket_errors;
    assert_eq!((counted.refused, counted.unreachable, counted.permission, counted.other), (2, 2, 2, 2));
    assert_eq!(counted.too_large, u64::from(cfg!(target_os = "linux")));
    assert!(pair.peers.iter().all(Peer::is_connected));
}

#[test]
fn a_socket_that_only_fails_ends_in_the_idle_timeout() {
    let mut pair = Pair::connected();
    let mut closed = None;
    for _ in 0..40 {
        pair.script(0).recv.push_back(io::ErrorKind::ConnectionRefused.into());
        pair.script(0).send.push_back(io::ErrorKind::ConnectionRefused);
        pair.advance(Duration::from_secs(1));
        let _ = pair.peers[0].recv();
        closed = pair.peers[0].maintain().err();
    }
    assert_eq!(closed, Some(CloseReason::TimedOut));
    assert!(pair.peers[0].stats().socket_errors.refused >= 30);
}

#[test]
fn a_socket_that_fails_for_ever_does_not_hold_the_caller() {
    let mut pair = Pair::connected();
    pair.script(0).recv.extend((0..500).map(|_| io::Error::from(io::ErrorKind::ConnectionRefused)));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert!(pair.script(0).reads <= 32);
}

#[test]
fn would_block_keeps_the_very_same_datagram() {
    let mut pair = Pair::connected();
    pair.script(0).send.extend([io::ErrorKind::WouldBlock; 3]);
    pair.peers[0].send_payload(Guarantee::None, b"only once").unwrap();
    for _ in 0..3 {
        pair.peers[0].flush().unwrap();
        let retry = pair.peers[0].maintain();
        // While it is blocked it wants to be called soon, but not without pause.
        if pair.script(0).sent.is_empty() {
            let now = *pair.now.lock().unwrap();
            assert!(retry.unwrap().is_some_and(|at| at > now && at <= now + Duration::from_millis(10)));
        }
    }
    {
        let script = pair.script(0);
        assert_eq!(script.sent.len(), 1);
        assert!(script.tried.len() == 4 && script.tried.iter().all(|tried| *tried == script.sent[0]));
    }
    assert_eq!(pair.peers[0].stats().socket_errors.send_blocked, 3);
    let heard = pair.run(Duration::from_millis(50));
    assert_eq!(heard[1], [b"only once"], "guarantee None, so nothing was sent again");
}

#[test]
fn writing_is_not_disturbed_by_receiving_and_maintenance() {
    let mut pair = Pair::connected();
    let mut expected = Vec::new();
    for n in 0..200_u8 {
        let bytes = vec![n; 1 + usize::from(n) * 3];
        pair.peers[1].send_payload(Guarantee::Delivery, &[b'<', n]).unwrap();
        pair.peers[1].flush().unwrap();
        for part in bytes.chunks(100) {
            pair.peers[0].write_all(part).unwrap();
            assert!(pair.peers[0].recv().unwrap().is_none_or(|message| message[0] == b'<'));
            pair.peers[0].maintain().unwrap();
        }
        pair.peers[0].send_written(Guarantee::Delivery).unwrap();
        expected.push(bytes);
        pair.peers[0].write_all(b"abandoned").unwrap();
        pair.peers[0].maintain().unwrap();
        pair.peers[0].clear_written();
    }
    let mut heard = pair.run(Duration::from_secs(5)).swap_remove_second();
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected);
}

trait SwapRemoveSecond {
    fn swap_remove_second(self) -> Vec<Vec<u8>>;
}

impl SwapRemoveSecond for [Vec<Vec<u8>>; 2] {
    fn swap_remove_second(self) -> Vec<Vec<u8>> {
        let [_, second] = self;
        second
    }
}

#[test]
fn an_oversize_write_is_a_typed_error_and_leaves_no_residue() {
    let mut pair =
        Pair::connected_with(Config { max_message_bytes: 1_000, max_unreliable_bytes: 500, ..config() });
    pair.peers[0].write_all(&[1; 900]).unwrap();
    let error = pair.peers[0].write_all(&[2; 101]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<SendError>());
    assert_eq!(inner, Some(&SendError::TooLarge { len: 1_001, max: 1_000 }));
    pair.peers[0].write_all(&[3; 100]).unwrap();
    pair.peers[0].send_written(Guarantee::Delivery).unwrap();
    let heard = pair.run(Duration::from_millis(500));
    assert_eq!(heard[1], [[vec![1; 900], vec![3; 100]].concat()]);
}

#[test]
fn maintenance_with_nothing_due_sends_nothing() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_millis(500));
    pair.script(0).tried.clear();
    let deadline = pair.peers[0].maintain().unwrap().unwrap();
    assert!(deadline > *pair.now.lock().unwrap());
    for _ in 0..1_000_000 {
        assert_eq!(pair.peers[0].maintain(), Ok(Some(deadline)));
    }
    assert!(pair.script(0).tried.is_empty());
}

#[test]
fn empty_and_overlong_datagrams_hide_nothing() {
    let mut pair = Pair::connected();
    pair.peers[1].send_payload(Guarantee::Delivery, b"behind them").unwrap();
    pair.peers[1].flush().unwrap();
    pair.script(0).inject.extend([(Vec::new(), 1), (vec![7; 1_453], 1), (vec![7; 5_000], 1)]);
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"behind them");
    assert_eq!(pair.peers[0].stats().drops.length, 3);
}

#[test]
fn a_flood_does_not_hold_the_caller() {
    let mut pair = Pair::connected();
    pair.script(0).inject.push_back((vec![0x55; 1_200], 1_000_000));
    assert!(pair.peers[0].recv().unwrap().is_none());
    assert!(pair.script(0).reads <= MAX_SENDS);
    assert!(pair.peers[0].stats().drops.unopened >= 1_000);
}

#[test]
fn acknowledgements_leave_although_the_socket_is_never_empty() {
    // The sender reads nothing, so its window would never open again.
    let mut pair = Pair::connected_with(Config { rate: crate::config::Rate::Off, ..config() });
    let mut heard = 0;
    for n in 0..200_u16 {
        pair.peers[1].send_payload(Guarantee::Delivery, &n.to_le_bytes()).unwrap();
        pair.peers[1].flush().unwrap();
        // One message a call, and always another one behind it.
        if n > 0 {
            heard += usize::from(pair.peers[0].recv().unwrap().is_some());
            pair.advance(Duration::from_millis(3));
        }
    }
    assert!(heard >= 190);
    assert!(!pair.script(0).sent.is_empty());
}

#[test]
fn the_last_messages_are_yielded_before_the_reason() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_millis(100));
    pair.peers[1].send_payload(Guarantee::Delivery, b"last words").unwrap();
    pair.peers[1].flush().unwrap();
    pair.peers[1].close(9, b"");
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"last words");
    for _ in 0..3 {
        assert_eq!(pair.peers[0].recv().unwrap_err(), CloseReason::ClosedByPeer { code: 9 });
        assert_eq!(pair.peers[0].maintain().unwrap_err(), CloseReason::ClosedByPeer { code: 9 });
    }
    let closed = SendError::Closed(CloseReason::ClosedByPeer { code: 9 });
    assert_eq!(pair.peers[0].send_payload(Guarantee::None, b"x"), Err(closed));
    assert_eq!(pair.peers[0].open_set(LaneId(0)), Err(closed));
    assert_eq!(pair.peers[0].write_all(b"x").unwrap_err().kind(), io::ErrorKind::NotConnected);
    let events: Vec<_> = std::iter::from_fn(|| pair.peers[0].poll_event()).collect();
    assert!(matches!(events[..], [Event::Connected { .. }, Event::Closed { .. }]), "{events:?}");
    pair.peers[1].connect().unwrap();
    pair.peers[0].connect().unwrap();
    pair.run(Duration::from_secs(2));
    assert!(pair.peers.iter().all(Peer::is_connected), "both may begin anew");
}

#[test]
fn what_was_received_before_a_timeout_is_still_yielded() {
    let mut pair = Pair::connected();
    for bytes in [b"one", b"two"] {
        pair.peers[1].send_payload(Guarantee::Delivery, bytes).unwrap();
    }
    pair.peers[1].flush().unwrap();
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"one");
    pair.advance(Duration::from_secs(60));
    assert_eq!(pair.peers[0].maintain(), Ok(None), "ended, but not yet for the application");
    assert_eq!(&pair.peers[0].recv().unwrap().unwrap()[..], b"two");
    assert_eq!(pair.peers[0].recv().unwrap_err(), CloseReason::TimedOut);
}

#[test]
fn a_set_ends_with_its_closure_however_that_ends() {
    let mut pair = Pair::connected();
    let peer = &mut pair.peers[0];
    let id = peer.as_set(|set| {
        set.write_all(b"first").unwrap();
        set.send_written(Guarantee::Delivery)?;
        set.send_payload(Guarantee::Delivery, b"second")
    });
    assert!(id.is_ok());
    let failed: Result<(), SendError> = peer.as_set(|_| Err(SendError::NoSetOpen));
    assert_eq!(failed, Err(SendError::NoSetOpen));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _: Result<(), SendError> = peer.as_set(|_| panic!("on purpose"));
    }));
    assert!(panicked.is_err());
    peer.open_set(LaneId(0)).unwrap();
    assert_eq!(peer.open_set(LaneId(0)), Err(SendError::SetOpen));
    assert!(peer.as_set(|set| set.send_payload(Guarantee::None, b"")).is_err());
    peer.maintain().unwrap();
    peer.close_set(LaneId(0)).unwrap();
    assert_eq!(peer.close_set(LaneId(0)), Err(SendError::NoSetOpen));
    let mut heard = pair.run(Duration::from_millis(300)).swap_remove_second();
    heard.sort();
    assert_eq!(heard, [b"first".to_vec(), b"second".to_vec()]);
}

#[test]
fn a_full_datagram_leaves_at_once_and_a_partly_filled_one_at_the_flush() {
    let mut pair = Pair::connected();
    pair.run(Duration::from_millis(300));
    pair.script(0).sent.clear();
    pair.peers[0].send_payload(Guarantee::Delivery, &[0; 100]).unwrap();
    assert_eq!(pair.script(0).sent.len(), 0);
    for _ in 0..12 {
        pair.peers[0].send_payload(Guarantee::Delivery, &[0; 100]).unwrap();
    }
    assert!(!pair.script(0).sent.is_empty());
    pair.peers[0].flush().unwrap();
    let before = pair.script(0).sent.len();
    pair.peers[0].flush().unwrap();
    assert_eq!(pair.script(0).sent.len(), before);
}

#[test]
fn stats_count_what_happened() {
    let mut pair = Pair::connected();
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery, Guarantee::Delivery] {
        pair.peers[0].send_payload(guarantee, b"12345").unwrap();
    }
    pair.run(Duration::from_millis(300));
    let (sent, got) = (pair.peers[0].stats(), pair.peers[1].stats());
    assert_eq!((sent.messages_sent.none, sent.messages_sent.order, sent.messages_sent.delivery), (1, 1, 2));
    assert_eq!(got.messages_yielded, sent.messages_sent);
    assert_eq!((sent.message_bytes_sent, got.message_bytes_yielded), (20, 20));
    assert_eq!((got.datagrams_received, got.bytes_received), (sent.datagrams_sent, sent.bytes_sent));
    assert!(!sent.sealed && sent.datagrams_sent > 0 && sent.queued_messages == 0);
}

/// Two loopback sockets, connected to each other.
fn loopback(v6: bool) -> Option<[std::net::UdpSocket; 2]> {
    let any = if v6 { "[::1]:0" } else { "127.0.0.1:0" };
    let one = std::net::UdpSocket::bind(any).ok()?;
    let two = std::net::UdpSocket::bind(any).unwrap();
    one.connect(two.local_addr().unwrap()).unwrap();
    two.connect(one.local_addr().unwrap()).unwrap();
    Some([one, two])
}

fn talk<U: UdpLike, S: Session>(mut peers: [Endpoint<U, S>; 2]) {
    peers[0].connect().unwrap();
    peers[0].send_payload(Guarantee::Delivery, b"ping").unwrap();
    peers[1].send_payload(Guarantee::Delivery, b"pong").unwrap();
    let mut clock = Environment::os();
    let start = clock.now();
    let mut heard = [const { Vec::new() }; 2];
    while heard.iter().any(Vec::is_empty) {
        assert!(clock.now() < start + Duration::from_secs(10));
        for (peer, heard) in peers.iter_mut().zip(&mut heard) {
            while let Some(message) = peer.recv().unwrap() {
                heard.push(message.to_vec());
            }
            peer.maintain().unwrap();
        }
    }
    assert_eq!(heard, [[b"pong"], [b"ping"]]);
}

#[test]
fn std_sockets_talk_on_both_families() {
    talk(loopback(false).unwrap().map(|socket| Endpoint::plain(socket, config()).unwrap()));
    if let Some(sockets) = loopback(true) {
        talk(sockets.map(|socket| Endpoint::plain(socket, config()).unwrap()));
    }
}

#[test]
fn mio_sockets_talk() {
    let sockets = loopback(false).unwrap().map(|socket| {
        socket.set_nonblocking(true).unwrap();
        mio::net::UdpSocket::from_std(socket)
    });
    talk(sockets.map(|socket| Endpoint::plain(socket, config()).unwrap()));
}

#[test]
fn a_peer_that_is_not_there_yet_is_waited_for() {
    // Nobody listens at first: the kernel reports refusals.
    let [one, two] = loopback(false).unwrap();
    let (here, there) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    drop(two);
    let mut first = Endpoint::plain(one, config()).unwrap();
    first.connect().unwrap();
    let mut clock = Environment::os();
    let until = clock.now() + Duration::from_millis(400);
    while clock.now() < until {
        assert!(first.recv().unwrap().is_none());
        first.maintain().unwrap();
    }
    if cfg!(target_os = "linux") {
        assert!(first.stats().socket_errors.refused > 0);
    }
    let socket = std::net::UdpSocket::bind(there).unwrap();
    socket.connect(here).unwrap();
    talk([first, Endpoint::plain(socket, config()).unwrap()]);
}
