//! The same shell around sealed sessions, and around a plain and a sealed one that meet.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::{
    crypto::Psk,
    delivery::LaneId,
    error::{CloseReason, Hint},
    sealed::Trust,
    socket::{MemorySocket, memory_pair},
    wire::Guarantee,
};

#[derive(Clone)]
struct Clock(Arc<Mutex<Instant>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Environment::os().now())))
    }

    fn environment(&self, seed: u64) -> Environment {
        let clock = self.clone();
        Environment::new(move || *clock.0.lock().unwrap(), ChaCha8Rng::seed_from_u64(seed))
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

type Peer = SealedEndpoint<MemorySocket>;

fn config() -> Config {
    Config { app_id: b"shell".to_vec(), ..Config::default() }
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

fn peers(clock: &Clock, credentials: [Credentials; 2]) -> [Peer; 2] {
    let (one, two) = memory_pair();
    let [a, b] = credentials;
    [
        Endpoint::make_sealed(one, a, config(), clock.environment(1)).unwrap(),
        Endpoint::make_sealed(two, b, config(), clock.environment(2)).unwrap(),
    ]
}

fn paired() -> [Credentials; 2] {
    let (a, b) = (secret(1), secret(2));
    [Credentials::paired(&a, b.public_key()).unwrap(), Credentials::paired(&b, a.public_key()).unwrap()]
}

fn drive<A: Session, B: Session, U: UdpLike, V: UdpLike>(
    clock: &Clock,
    one: &mut Endpoint<U, A>,
    two: &mut Endpoint<V, B>,
    time: Duration,
) -> [Vec<Vec<u8>>; 2] {
    fn turn<U: UdpLike, S: Session>(peer: &mut Endpoint<U, S>, heard: &mut Vec<Vec<u8>>) {
        while let Ok(Some(message)) = peer.recv() {
            heard.push(message.to_vec());
        }
        if let Ok(Some(deadline)) = peer.maintain() {
            let now = peer.environment.now();
            assert!(deadline > now, "a caller that obeys would spin");
        }
    }
    let mut heard = [const { Vec::new() }; 2];
    for _ in 0..time.as_millis() / 10 + 1 {
        turn(one, &mut heard[0]);
        turn(two, &mut heard[1]);
        clock.advance(Duration::from_millis(10));
    }
    heard
}

#[test]
fn every_profile_talks_through_the_shell() {
    let (a, b) = (secret(1), secret(2));
    let invite = || Invite::from_bytes([9; 32]);
    let psk = || Psk::from_bytes([8; 32]);
    let pairs = [
        paired(),
        [
            Credentials::paired_psk(&a, b.public_key(), &psk()).unwrap(),
            Credentials::paired_psk(&b, a.public_key(), &psk()).unwrap(),
        ],
        [Credentials::invite(&invite()), Credentials::invite(&invite())],
        [Credentials::tofu(&a, Trust::Anyone), Credentials::tofu(&b, Trust::Only(vec![a.public_key()]))],
        [Credentials::client(b.public_key()), Credentials::server(&b)],
        [Credentials::client_auth(&a, b.public_key()).unwrap(), Credentials::server_auth(&b, Trust::Anyone)],
    ];
    for (n, credentials) in pairs.into_iter().enumerate() {
        let clock = Clock::new();
        let [mut one, mut two] = peers(&clock, credentials);
        one.send_payload(Guarantee::Delivery, b"there").unwrap();
        two.send_payload(Guarantee::Delivery, b"back").unwrap();
        one.connect().unwrap();
        let heard = drive(&clock, &mut one, &mut two, Duration::from_secs(2));
        assert_eq!(heard, [[b"back".to_vec()], [b"there".to_vec()]], "pair {n}");
        assert!(one.handshake_hash().is_some() && one.handshake_hash() == two.handshake_hash(), "pair {n}");
        for peer in [&mut one, &mut two] {
            let Some(Event::Connected { peer: key, handshake_hash }) = peer.poll_event() else {
                panic!("pair {n}")
            };
            assert_eq!((key, handshake_hash), (peer.peer_key(), peer.handshake_hash()));
            assert!(peer.stats().sealed);
        }
    }
}

#[test]
fn who_only_answers_cannot_dial() {
    let mut server =
        SealedEndpoint::with_credentials(memory_pair().0, Credentials::server(&secret(2)), config()).unwrap();
    assert_eq!(server.connect(), Err(ConnectError::RoleIsFixed));
}

#[test]
fn the_own_key_as_the_peers_is_refused() {
    let own = secret(1);
    let error = SealedEndpoint::paired(memory_pair().0, &own, own.public_key(), config()).unwrap_err();
    assert!(matches!(error, StartError::Key(_)));
}

#[test]
fn a_plain_and_a_sealed_endpoint_that_meet_both_time_out_with_a_hint() {
    let clock = Clock::new();
    let (one, two) = memory_pair();
    let [credentials, _] = paired();
    let mut sealed = Endpoint::make_sealed(one, credentials, config(), clock.environment(1)).unwrap();
    let mut plain = Endpoint::make_plain(two, config(), clock.environment(2)).unwrap();
    let ids = [
        sealed.send_payload(Guarantee::Delivery, b"not for plain eyes").unwrap(),
        plain.send_payload(Guarantee::Delivery, b"in the open").unwrap(),
    ];
    sealed.connect().unwrap();
    plain.connect().unwrap();
    let heard = drive(&clock, &mut sealed, &mut plain, Duration::from_secs(25));
    assert!(sealed.poll_event().is_none() && plain.poll_event().is_none(), "never an early error");
    let more = drive(&clock, &mut sealed, &mut plain, Duration::from_secs(12));
    assert!(heard.iter().chain(&more).all(Vec::is_empty));
    let ended = |hint, id| {
        Some(Event::Closed { reason: CloseReason::HandshakeTimeout(Some(hint)), undelivered: vec![id] })
    };
    assert_eq!(sealed.poll_event(), ended(Hint::PeerSeemsPlain, ids[0]));
    assert_eq!(plain.poll_event(), ended(Hint::PeerSeemsSealed, ids[1]));
}

#[test]
fn large_written_messages_and_open_sets_pass() {
    let clock = Clock::new();
    let [mut one, mut two] = peers(&clock, paired());
    one.connect().unwrap();
    drive(&clock, &mut one, &mut two, Duration::from_secs(1));
    let map: Vec<u8> = (0..200 * 1_024_u32).map(|n| (n % 251) as u8).collect();
    one.open_set(LaneId(0)).unwrap();
    for part in map.chunks(1_000) {
        one.write_all(part).unwrap();
        assert!(one.recv().unwrap().is_none());
        one.maintain().unwrap();
    }
    one.send_written(Guarantee::Delivery).unwrap();
    let mut heard = drive(&clock, &mut one, &mut two, Duration::from_secs(3)).pop_second();
    one.send_payload(Guarantee::Delivery, b"").unwrap();
    one.close_set(LaneId(0)).unwrap();
    one.send_payload(Guarantee::Order, b"after the set").unwrap();
    heard.extend(drive(&clock, &mut one, &mut two, Duration::from_secs(3)).pop_second());
    assert!(heard == [map, Vec::new(), b"after the set".to_vec()]);
    assert_eq!((one.queued_messages(), one.queued_bytes()), (0, 0));
    let stats = two.stats();
    assert_eq!(stats.messages_yielded.total(), 3);
    assert_eq!(stats.drops.total(), 0);
}

trait PopSecond {
    fn pop_second(self) -> Vec<Vec<u8>>;
}

impl PopSecond for [Vec<Vec<u8>>; 2] {
    fn pop_second(self) -> Vec<Vec<u8>> {
        let [_, second] = self;
        second
    }
}

/// Blocks every other send and keeps what was tried.
struct Balky {
    inner: MemorySocket,
    blocked: bool,
    tried: Vec<Vec<u8>>,
}

impl UdpLike for Balky {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.tried.push(datagram.to_vec());
        self.blocked = !self.blocked;
        if self.blocked { Err(io::ErrorKind::WouldBlock.into()) } else { self.inner.send(datagram) }
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.recv(buffer)
    }
}

#[test]
fn a_blocked_datagram_is_never_sealed_again() {
    let clock = Clock::new();
    let (one, two) = memory_pair();
    let [a, b] = paired();
    let balky = Balky { inner: one, blocked: false, tried: Vec::new() };
    let mut one = Endpoint::make_sealed(balky, a, config(), clock.environment(1)).unwrap();
    let mut two = Endpoint::make_sealed(two, b, config(), clock.environment(2)).unwrap();
    one.connect().unwrap();
    for n in 0..200_u8 {
        one.send_payload(Guarantee::Delivery, &[n; 700]).unwrap();
    }
    let heard = drive(&clock, &mut one, &mut two, Duration::from_secs(10));
    assert_eq!(heard[1].len(), 200);
    // Each datagram was tried twice, one time after the other, with the very same bytes.
    let tried = &one.socket().tried;
    assert!(tried.len() > 100);
    assert!(tried.chunks_exact(2).all(|twice| twice[0] == twice[1]));
    assert_eq!(two.stats().drops.total(), 0);
}

#[test]
fn a_session_goes_on_over_another_socket() {
    let clock = Clock::new();
    let [mut one, mut two] = peers(&clock, paired());
    one.connect().unwrap();
    drive(&clock, &mut one, &mut two, Duration::from_secs(1));
    let hash = one.handshake_hash();
    one.send_payload(Guarantee::Delivery, b"in the old network").unwrap();
    let (here, there) = memory_pair();
    let old = one.replace_socket(here).unwrap();
    two.replace_socket(there).unwrap();
    drop(old);
    one.send_payload(Guarantee::Delivery, b"in the new one").unwrap();
    let heard = drive(&clock, &mut one, &mut two, Duration::from_secs(2));
    assert_eq!(heard[1], [&b"in the old network"[..], b"in the new one"]);
    assert_eq!((one.handshake_hash(), two.handshake_hash()), (hash, hash));
    assert_eq!(one.stats().drops.total() + two.stats().drops.total(), 0);
}

/// Takes nothing, or cannot be used at all.
#[derive(Debug)]
struct Wall {
    tried: Vec<Vec<u8>>,
    blocked: bool,
    broken: bool,
}

impl UdpLike for Wall {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.tried.push(datagram.to_vec());
        if self.blocked { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(datagram.len()) }
    }

    fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn prepare(&mut self) -> io::Result<()> {
        if self.broken { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }
}

#[test]
fn what_the_old_socket_did_not_take_is_not_seen_on_the_new_one() {
    let wall = |blocked, broken| Wall { tried: Vec::new(), blocked, broken };
    let clock = Clock::new();
    let client = Credentials::client(secret(2).public_key());
    let mut one = Endpoint::make_sealed(wall(true, false), client, config(), clock.environment(1)).unwrap();
    one.connect().unwrap();
    assert_eq!(one.replace_socket(wall(false, true)).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert!(one.socket().blocked, "the old one stays");
    let old = one.replace_socket(wall(false, false)).unwrap();
    assert_eq!((old.tried.len(), one.socket().tried.len()), (1, 1), "at once");
    assert_ne!(old.tried, one.socket().tried, "sealed anew");
    assert_eq!(one.set_ticket(&[0; 1_025]).unwrap_err().field, "ticket");
    one.set_ticket(b"pass").unwrap();
}

#[test]
fn a_restarted_peer_is_told_to_the_survivor() {
    let clock = Clock::new();
    let [mut one, mut two] = peers(&clock, paired());
    one.connect().unwrap();
    drive(&clock, &mut one, &mut two, Duration::from_secs(1));
    assert!(matches!(two.poll_event(), Some(Event::Connected { .. })));
    // The same socket, a new process.
    let Endpoint { socket, .. } = one;
    let lost = two.send_payload(Guarantee::Delivery, b"for the dead one").unwrap();
    let [credentials, _] = paired();
    let mut one = Endpoint::make_sealed(socket, credentials, config(), clock.environment(3)).unwrap();
    one.connect().unwrap();
    let heard = drive(&clock, &mut one, &mut two, Duration::from_secs(3));
    assert!(heard.iter().all(Vec::is_empty));
    assert!(one.is_connected() && one.handshake_hash() == two.handshake_hash());
    let again = Event::PeerReconnected { handshake_hash: one.handshake_hash(), undelivered: vec![lost] };
    assert_eq!(two.poll_event(), Some(again));
}

#[test]
fn closing_is_told_to_both_applications() {
    let clock = Clock::new();
    let [mut one, mut two] = peers(&clock, paired());
    one.connect().unwrap();
    drive(&clock, &mut one, &mut two, Duration::from_secs(1));
    one.close(42, b"bye");
    assert_eq!(one.recv().unwrap_err(), CloseReason::ClosedHere);
    assert_eq!(two.recv().unwrap_err(), CloseReason::ClosedByPeer { code: 42 });
    assert_eq!(two.maintain().unwrap_err(), CloseReason::ClosedByPeer { code: 42 });
}

#[test]
fn two_hundred_thousand_idle_calls_send_nothing_and_a_minute_of_silence_little() {
    let clock = Clock::new();
    let [mut one, mut two] = peers(&clock, paired());
    one.connect().unwrap();
    drive(&clock, &mut one, &mut two, Duration::from_secs(2));
    let before = one.stats().datagrams_sent;
    for _ in 0..200_000 {
        one.maintain().unwrap();
    }
    assert_eq!(one.stats().datagrams_sent, before);
    drive(&clock, &mut one, &mut two, Duration::from_secs(60));
    assert!(one.stats().datagrams_sent - before <= 15);
    assert!(one.is_connected() && two.is_connected());
}
