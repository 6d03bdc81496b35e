//! What a server has for one player leaves in runs, in virtual time and in memory; and nobody waits for it long.

#[path = "common/clock.rs"]
mod clock;

use std::{io, net::SocketAddr, time::Duration};

use clock::Clock;
use sealgram::{
    AddressedUdp, Config, Credentials, Endpoint, Event, Guarantee, HubSocket, MemoryHub, PlainServer,
    SealedEndpoint, SealedServer, SecretKey, SendBatch, Server, ServerConfig, ServerSession, Session, Trust,
    UdpLike,
};

const STEP: Duration = Duration::from_millis(8);
const FULL: usize = 1_000;

/// A socket of the hub that carries runs, or refuses them, and has room for so many datagrams.
struct Carrier {
    socket: HubSocket,
    refuses: bool,
    asked: usize,
    room: usize,
    /// Where each message went, and how many datagrams it had.
    left: Vec<(SocketAddr, usize)>,
}

impl AddressedUdp for Carrier {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, to)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer)
    }

    fn may_fragment(&self) -> bool {
        false
    }

    fn largest_run(&self) -> usize {
        64
    }

    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        if self.refuses && batch.runs().any(|run| run.count > 1) {
            self.asked += 1;
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut taken = 0;
        for run in batch.runs() {
            if self.room < run.count {
                break;
            }
            self.room -= run.count;
            for datagram in run.datagrams.chunks(run.size) {
                self.socket.send_to(datagram, run.to)?;
            }
            self.left.push((run.to, run.count));
            taken += run.count;
        }
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }
}

/// A socket of the hub as a player sees it.
struct Leg {
    socket: HubSocket,
    server: SocketAddr,
}

impl UdpLike for Leg {
    fn send(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.socket.send_to(datagram, self.server)
    }

    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv_from(buffer).map(|(len, _)| len)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

struct Scene<L, S> {
    clock: Clock,
    server: Server<Carrier, L>,
    players: Vec<Endpoint<Leg, S>>,
}

struct Parts {
    clock: Clock,
    carrier: Carrier,
    legs: Vec<Leg>,
}

fn parts(players: u8) -> Parts {
    let (clock, hub, at) = (Clock::new(STEP), MemoryHub::new(), ([10, 0, 0, 1], 1).into());
    let socket = hub.socket(at).unwrap();
    let carrier = Carrier { socket, refuses: false, asked: 0, room: usize::MAX, left: Vec::new() };
    let leg = |index| Leg { socket: hub.socket(([10, 0, 1, index], 1).into()).unwrap(), server: at };
    Parts { clock, carrier, legs: (0..players).map(leg).collect() }
}

fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.flood.sessions_per_prefix = Some(1_000);
    config
}

type Sealed = Scene<sealgram::Listener, sealgram::Sealed>;

fn sealed(players: u8) -> Sealed {
    let Parts { clock, carrier, legs } = parts(players);
    let key = SecretKey::generate().unwrap();
    let credentials = Credentials::server_auth(&key, Trust::Anyone);
    let server =
        SealedServer::with_environment(carrier, credentials, config(), clock.environment(1)).unwrap();
    let mut node = 100;
    let players = legs.into_iter().map(|leg| {
        node += 1;
        let own = SecretKey::generate().unwrap();
        let credentials = Credentials::client_auth(&own, key.public_key()).unwrap();
        let environment = clock.environment(node);
        SealedEndpoint::with_environment(leg, credentials, Config::default(), environment).unwrap()
    });
    let players = players.collect();
    Scene { clock, server, players }.joined()
}

fn plain(players: u8) -> Scene<sealgram::PlainListener, sealgram::Plain> {
    let Parts { clock, carrier, legs } = parts(players);
    let server = PlainServer::plain_with_environment(carrier, config(), clock.environment(1)).unwrap();
    let mut node = 100;
    let players = legs.into_iter().map(|leg| {
        node += 1;
        Endpoint::plain_with_environment(leg, Config::default(), clock.environment(node)).unwrap()
    });
    let players = players.collect();
    Scene { clock, server, players }.joined()
}

impl<L: ServerSession, S: Session> Scene<L, S> {
    fn joined(mut self) -> Self {
        for player in &mut self.players {
            player.connect().unwrap();
        }
        for _ in 0..200 {
            self.tick(0, Guarantee::None);
        }
        assert!(self.players.iter().all(Endpoint::is_connected));
        self.server.socket_mut().left.clear();
        self
    }

    /// A tick in which everybody gets so many messages; how many all have heard.
    fn tick(&mut self, each: usize, guarantee: Guarantee) -> usize {
        self.clock.advance();
        while self.server.recv().is_some() {}
        while let Some((id, event)) = self.server.poll_event() {
            if let Event::Join { .. } = event {
                self.server.accept(id);
            }
        }
        let ids: Vec<_> = self.server.peers().collect();
        for id in ids {
            for _ in 0..each {
                self.server.peer(id).unwrap().send_payload(guarantee, &[7; FULL]).unwrap();
            }
        }
        self.server.maintain();
        self.hear()
    }

    fn hear(&mut self) -> usize {
        let mut heard = 0;
        for player in &mut self.players {
            while let Some(message) = player.recv().unwrap() {
                assert_eq!(message.bytes(), [7; FULL]);
                heard += 1;
            }
            player.maintain().unwrap();
        }
        heard
    }

    /// How many messages left the socket that had so many datagrams or more.
    fn left(&self, least: usize) -> usize {
        self.server.socket().left.iter().filter(|(_, count)| *count >= least).count()
    }
}

/// Four datagrams for each of 20 players: 80, more than a batch has.
fn ticks<L: ServerSession, S: Session>(mut scene: Scene<L, S>) {
    let heard: usize = (0..50).map(|_| scene.tick(4, Guarantee::None)).sum();
    assert_eq!(heard, 50 * 20 * 4);
    // One player's four are cut in two where the batch ends.
    let (runs, all) = (scene.left(2), scene.left(1));
    assert!(runs >= 50 * 20, "{runs} of {all}");
    assert!(all <= 50 * 21 + 50, "{runs} of {all}");
}

#[test]
fn what_a_tick_has_for_a_player_leaves_together() {
    ticks(sealed(20));
    ticks(plain(20));
}

#[test]
fn a_stream_to_one_player_leaves_in_long_runs() {
    let mut scene = sealed(1);
    let heard: usize = (0..400).map(|_| scene.tick(8, Guarantee::Delivery)).sum();
    assert!(heard >= 390 * 8, "{heard}");
    let (long, all) = (scene.left(5), scene.left(1));
    assert!(long >= 350 && all < 2 * long, "{long} of {all}");
}

#[test]
fn a_server_whose_system_refuses_runs_asks_once_and_loses_nothing() {
    let mut scene = sealed(3);
    scene.server.socket_mut().refuses = true;
    let heard: usize = (0..50).map(|_| scene.tick(4, Guarantee::None)).sum();
    assert_eq!(heard, 50 * 3 * 4);
    let socket = scene.server.socket();
    assert_eq!((socket.asked, scene.left(2)), (1, 0));
    assert_eq!(scene.server.stats().socket_errors.total(), 0);
}

#[test]
fn who_has_much_to_send_leaves_a_narrow_socket_to_the_others_after_16_datagrams() {
    let mut scene = sealed(20);
    // Until the windows are open, and all is acknowledged.
    for tick in 0..350 {
        scene.tick(if tick < 300 { 4 } else { 0 }, Guarantee::Delivery);
    }
    let ids: Vec<_> = scene.server.peers().collect();
    let [greedy, others @ ..] = &ids[..] else { panic!("20 players") };
    scene.clock.advance();
    for (id, count) in others.iter().map(|id| (id, 1)).chain([(greedy, 40)]).rev() {
        for _ in 0..count {
            scene.server.peer(*id).unwrap().send_payload(Guarantee::None, &[7; FULL]).unwrap();
        }
    }
    // So much the socket takes now, and then it is full.
    let socket = scene.server.socket_mut();
    (socket.room, socket.left) = (16 + 19, Vec::new());
    scene.server.maintain();
    let greedy = scene.server.address(*greedy).unwrap();
    let left = scene.server.socket().left.clone();
    assert_eq!(left[0], (greedy, 16), "{left:?}");
    assert!(left[1..].iter().all(|(to, count)| *to != greedy && *count == 1) && left.len() == 20, "{left:?}");
    assert_eq!(scene.hear(), 16 + 19);
    scene.server.socket_mut().room = usize::MAX;
    let later: usize = (0..20).map(|_| scene.tick(0, Guarantee::None)).sum();
    assert_eq!(later, 40 - 16);
}
