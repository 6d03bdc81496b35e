//! A server and its players in one simulated network, sealed or plain. Every player is a whole endpoint of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sealgram::{
    Config, Credentials, Event, Guarantee, Listener, PeerId, Plain, PlainListener, PublicKey, Sealed,
    SealedServer, SecretKey, Server, ServerConfig, ServerSession, Session, Trust,
    sim::{Link, Net, Socket},
};

use crate::common::{End, environment, keys, plain_end, sealed_end};

/// Where the server is.
pub(crate) fn port() -> SocketAddr {
    ([10, 0, 0, 1], 7_777).into()
}

/// Where player number `index` is: each in a network of its own.
pub(crate) fn home(index: usize) -> SocketAddr {
    let [high, low] = u16::try_from(index).unwrap().to_be_bytes();
    ([172, 16 + high, low, 2], 5_000).into()
}

/// A server that lets everybody in, unless it is told otherwise, and echoes what it hears.
pub(crate) struct Host<L: ServerSession = Listener> {
    pub(crate) server: Server<Socket, L>,
    pub(crate) key: SecretKey,
    pub(crate) events: Vec<(PeerId, Event)>,
    pub(crate) heard: Vec<(PeerId, Guarantee, Vec<u8>)>,
    pub(crate) admits: bool,
    pub(crate) echoes: bool,
}

impl<L: ServerSession> Host<L> {
    pub(crate) fn step(&mut self) -> Option<Instant> {
        let before = self.heard.len();
        while let Some((id, message)) = self.server.recv() {
            self.heard.push((id, message.guarantee(), message.to_vec()));
        }
        while let Some((id, event)) = self.server.poll_event() {
            if self.admits && matches!(event, Event::Join { .. }) {
                assert!(self.server.accept(id));
            }
            self.events.push((id, event));
        }
        if self.echoes {
            for (id, guarantee, bytes) in &self.heard[before..] {
                if let Some(mut peer) = self.server.peer(*id) {
                    peer.send_payload(*guarantee, bytes).unwrap();
                }
            }
        }
        self.server.maintain()
    }

    /// How many sessions began, and how many ended.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count =
            |wanted: fn(&Event) -> bool| self.events.iter().filter(|(_, event)| wanted(event)).count();
        (
            count(|event| matches!(event, Event::Connected { .. })),
            count(|event| matches!(event, Event::Closed { .. })),
        )
    }

    /// What was heard, by peer.
    pub(crate) fn by_peer(&self) -> BTreeMap<PeerId, Vec<&[u8]>> {
        let mut heard: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (id, _, bytes) in &self.heard {
            heard.entry(*id).or_default().push(bytes.as_slice());
        }
        heard
    }
}

/// The whole scene. Says its seed when a test fails.
pub(crate) struct Scene<L: ServerSession = Listener, S: Session = Sealed> {
    pub(crate) seed: u64,
    pub(crate) net: Net,
    pub(crate) host: Host<L>,
    pub(crate) players: Vec<End<S>>,
}

/// What is called differently for the two kinds of server, so that one test serves both.
pub(crate) trait Kind {
    fn of(seed: u64, link: Link, config: &ServerConfig) -> Self;
    /// A further player that dials.
    fn player(&mut self, config: &Config) -> usize;
    /// The key that player number `index` proves to hold.
    fn key_of(index: usize) -> Option<PublicKey>;
}

impl Kind for Scene {
    fn of(seed: u64, link: Link, config: &ServerConfig) -> Self {
        Self::new(seed, link, config)
    }

    fn player(&mut self, config: &Config) -> usize {
        self.join(config)
    }

    fn key_of(index: usize) -> Option<PublicKey> {
        Some(player_key(index).public_key())
    }
}

impl Kind for PlainScene {
    fn of(seed: u64, link: Link, config: &ServerConfig) -> Self {
        Self::plain(seed, link, config)
    }

    fn player(&mut self, config: &Config) -> usize {
        self.dial(config)
    }

    fn key_of(_: usize) -> Option<PublicKey> {
        None
    }
}

/// The key of a player follows from its number.
fn player_key(index: usize) -> SecretKey {
    let [key, _] = keys(0x1000 + index as u64);
    key
}

/// With plain endpoints.
pub(crate) type PlainScene = Scene<PlainListener, Plain>;

impl PlainScene {
    pub(crate) fn plain(seed: u64, link: Link, config: &ServerConfig) -> Self {
        let net = Net::seed(seed);
        net.set_default(link);
        let host = Self::plain_host(&net, config);
        Self { seed, net, host, players: Vec::new() }
    }

    /// Taken anew, it is the server after a restart.
    pub(crate) fn plain_host(net: &Net, config: &ServerConfig) -> Host<PlainListener> {
        let socket = net.socket(port());
        let server =
            Server::plain_with_environment(socket, config.clone(), environment(net, port())).unwrap();
        let [key, _] = keys(0);
        Host { server, key, events: Vec::new(), heard: Vec::new(), admits: true, echoes: false }
    }

    /// A further player that dials.
    pub(crate) fn dial(&mut self, config: &Config) -> usize {
        let index = self.players.len();
        let mut end = plain_end(&self.net, home(index), port(), config);
        end.endpoint.connect().unwrap();
        self.players.push(end);
        index
    }
}

impl Scene {
    /// A server for clients with keys.
    pub(crate) fn new(seed: u64, link: Link, config: &ServerConfig) -> Self {
        let net = Net::seed(seed);
        net.set_default(link);
        let [key, _] = keys(seed);
        let host = Self::host(&net, key, config);
        Self { seed, net, host, players: Vec::new() }
    }

    pub(crate) fn host(net: &Net, key: SecretKey, config: &ServerConfig) -> Host {
        let server = SealedServer::with_environment(
            net.socket(port()),
            Credentials::server_auth(&key, Trust::Anyone),
            config.clone(),
            environment(net, port()),
        )
        .unwrap();
        Host { server, key, events: Vec::new(), heard: Vec::new(), admits: true, echoes: false }
    }

    /// A further player, with a key that follows from its number, that dials.
    pub(crate) fn join(&mut self, config: &Config) -> usize {
        let index = self.players.len();
        let credentials = self.credentials(index);
        self.join_with(credentials, config)
    }

    pub(crate) fn credentials(&self, index: usize) -> Credentials {
        Credentials::client_auth(&player_key(index), self.host.key.public_key()).unwrap()
    }

    pub(crate) fn join_with(&mut self, credentials: Credentials, config: &Config) -> usize {
        let index = self.players.len();
        let mut end = sealed_end(&self.net, home(index), port(), credentials, config);
        end.endpoint.connect().unwrap();
        self.players.push(end);
        index
    }
}

impl<L: ServerSession, S: Session> Scene<L, S> {
    /// Goes on until `done` or for `limit` of virtual time; whether it was done.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.net.now() + limit;
        loop {
            let mut next = self.host.step();
            for player in &mut self.players {
                let deadline = player.step();
                next = [next, deadline].into_iter().flatten().min();
            }
            if done(self) {
                return true;
            }
            if self.net.now() >= end {
                return false;
            }
            // A deadline in the past would stop time.
            let soon = self.net.now() + Duration::from_micros(200);
            let next = next.map_or(end, |next| next.max(soon).min(end));
            self.net.advance_to_next_or(next);
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Waits until all players are in.
    pub(crate) fn all_join(&mut self) {
        let all = |scene: &mut Self| scene.players.iter().all(|player| player.endpoint.is_connected());
        assert!(self.run_until(Duration::from_secs(30), all), "not all are in, seed {}", self.seed);
    }
}

impl<L: ServerSession, S: Session> Drop for Scene<L, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, {:?} of virtual time", self.seed, self.net.elapsed());
        }
    }
}
