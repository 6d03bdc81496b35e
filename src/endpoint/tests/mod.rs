//! The shell's own promises, over sockets that misbehave on command, in memory, and on the loopback interface.

mod loopback;
mod messages;
mod runs;
mod sockets;

use std::{
    collections::VecDeque,
    io::{self, Write},
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
