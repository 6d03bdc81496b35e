//! What a server spends that has several datagrams for one player: a stream to one, and ticks of four datagrams for 50.
//! Over loopback, server and players in one thread.

use std::{
    hint::black_box,
    io,
    net::{SocketAddr, UdpSocket},
};

use sealgram::{
    AddressedUdp, Config, Credentials, Endpoint, Event, Guarantee, PlainServer, RecvBatch, SealedEndpoint,
    SealedServer, SecretKey, SendBatch, Server, ServerConfig, ServerSession, ServerSocket, Session, Trust,
};

use super::{measures, median, spent};

/// Bytes of a message that fills a datagram.
pub(crate) const FULL: usize = 1_024;
/// Datagrams for each player in a tick.
const EACH: usize = 4;

/// A socket that says nothing of runs, and carries batches.
pub(crate) struct Apart<A>(pub(crate) A);

impl<A: AddressedUdp> AddressedUdp for Apart<A> {
    fn send_to(&mut self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.0.send_to(datagram, to)
    }

    fn recv_from(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.0.prepare()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }

    fn send_batch(&mut self, batch: &SendBatch) -> io::Result<usize> {
        self.0.send_batch(batch)
    }

    fn recv_batch(&mut self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.0.recv_batch(batch)
    }
}

/// What a message costs the server, and both ends.
type Prices = [f64; 2];

pub(crate) fn bind() -> (ServerSocket, SocketAddr) {
    let socket = ServerSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let at = socket.local_addr().expect("a socket that is bound");
    (socket, at)
}

/// A server's loop without sessions: it sends the same number of full datagrams.
fn bare<A: AddressedUdp>(socket: A, players: usize, ticks: usize, each: usize) -> Prices {
    let mut socket = socket;
    let mut ends: Vec<_> = (0..players).map(|_| bind()).collect();
    for (end, _) in &mut ends {
        end.prepare().expect("a socket");
    }
    let (mut out, mut back) = (SendBatch::new(1_200), RecvBatch::new(1_200));
    let (began, mut server) = (spent(), 0);
    for _ in 0..ticks {
        let before = spent();
        for (_, to) in &ends {
            for _ in 0..each {
                if out.room().is_none() {
                    assert!(out.flush(&mut socket, |error| panic!("{error}")));
                }
                out.room().expect("room").fill(7);
                out.push(1_200, *to);
            }
        }
        assert!(out.flush(&mut socket, |error| panic!("{error}")));
        server += spent() - before;
        for (end, _) in &mut ends {
            let mut heard = 0;
            while end.recv_batch(&mut back).is_ok() {
                while let Some(arrival) = back.take_next() {
                    black_box(arrival.datagram);
                    heard += 1;
                }
            }
            assert_eq!(heard, each);
        }
    }
    let messages = (ticks * players * each) as f64;
    [server as f64 / messages, (spent() - began) as f64 / messages]
}

struct Scene<A, L, S> {
    server: Server<A, L>,
    players: Vec<Endpoint<UdpSocket, S>>,
    spent: i64,
}

impl<A: AddressedUdp, L: ServerSession, S: Session> Scene<A, L, S> {
    /// The server's part of a tick, `each` messages for every player among it.
    fn serve(&mut self, guarantee: Guarantee, each: usize) {
        let began = spent();
        while let Some((_, message)) = self.server.recv() {
            black_box(message.bytes());
        }
        while let Some((id, event)) = self.server.poll_event() {
            if let Event::Join { .. } = event {
                self.server.accept(id);
            }
        }
        if each > 0 {
            let ids: Vec<_> = self.server.peers().collect();
            for id in ids {
                let mut peer = self.server.peer(id).expect("who is here");
                for _ in 0..each {
                    if peer.queued_bytes() > 512 * FULL {
                        break;
                    }
                    peer.send_payload(guarantee, &[7; FULL]).expect("room");
                }
            }
        }
        self.server.maintain();
        self.spent += spent() - began;
    }

    fn hear(&mut self) -> usize {
        let mut heard = 0;
        for player in &mut self.players {
            while let Some(message) = player.recv().expect("a session") {
                black_box(message.bytes());
                heard += 1;
            }
            player.maintain().expect("a session");
        }
        heard
    }

    fn prices(mut self, guarantee: Guarantee, each: usize, messages: usize) -> Prices {
        while !self.players.iter().all(Endpoint::is_connected) {
            self.serve(guarantee, 0);
            self.hear();
        }
        // The size of datagrams and the rate are found before anything counts.
        let (mut heard, mut idle) = (0, 0);
        while heard < messages / 4 {
            self.serve(guarantee, each);
            heard += self.hear();
        }
        (self.spent, heard) = (0, 0);
        let began = spent();
        while heard < messages && idle < 10_000 {
            self.serve(guarantee, each);
            let more = self.hear();
            heard += more;
            idle = if more > 0 { 0 } else { idle + 1 };
        }
        [self.spent as f64 / heard as f64, (spent() - began) as f64 / heard as f64]
    }
}

pub(crate) fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.flood.sessions_per_prefix = Some(1_000);
    config
}

pub(crate) fn connected(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(to).expect("a socket that is bound");
    socket
}

fn sealed<A: AddressedUdp>(socket: A, at: SocketAddr, load: &Load) -> Prices {
    let key = SecretKey::generate().expect("randomness");
    let server = SealedServer::new(socket, Credentials::server_auth(&key, Trust::Anyone), config());
    let players = (0..load.players).map(|_| {
        let own = SecretKey::generate().expect("randomness");
        let credentials = Credentials::client_auth(&own, key.public_key()).expect("two keys");
        let mut player = SealedEndpoint::with_credentials(connected(at), credentials, Config::default())
            .expect("a good configuration");
        player.connect().expect("a first call");
        player
    });
    let scene = Scene { server: server.expect("a good configuration"), players: players.collect(), spent: 0 };
    scene.prices(load.guarantee, load.each, load.messages)
}

fn plain<A: AddressedUdp>(socket: A, at: SocketAddr, load: &Load) -> Prices {
    let server = PlainServer::plain(socket, config());
    let players = (0..load.players).map(|_| {
        let mut player = Endpoint::plain(connected(at), Config::default()).expect("a good configuration");
        player.connect().expect("either may");
        player
    });
    let scene = Scene { server: server.expect("a good configuration"), players: players.collect(), spent: 0 };
    scene.prices(load.guarantee, load.each, load.messages)
}

struct Load {
    name: &'static str,
    players: usize,
    each: usize,
    guarantee: Guarantee,
    messages: usize,
}

const LOADS: [Load; 3] = [
    Load {
        name: "1 KiB `Delivery` to one player",
        players: 1,
        each: 48,
        guarantee: Guarantee::Delivery,
        messages: 20_000,
    },
    Load {
        name: "50 players, 4 full datagrams each a tick",
        players: 50,
        each: EACH,
        guarantee: Guarantee::None,
        messages: 40_000,
    },
    Load {
        name: "50 players, 1 full datagram each a tick",
        players: 50,
        each: 1,
        guarantee: Guarantee::None,
        messages: 20_000,
    },
];

fn ways(load: &Load) -> [(&'static str, Prices); 6] {
    let ticks = load.messages / load.players / load.each;
    [
        ("bare `sendmmsg`", bare(Apart(bind().0), load.players, ticks, load.each)),
        ("bare `sendmmsg`, runs", bare(bind().0, load.players, ticks, load.each)),
        ("plain server, one by one", {
            let (socket, at) = bind();
            plain(Apart(socket), at, load)
        }),
        ("plain server, runs", {
            let (socket, at) = bind();
            plain(socket, at, load)
        }),
        ("sealed server, one by one", {
            let (socket, at) = bind();
            sealed(Apart(socket), at, load)
        }),
        ("sealed server, runs", {
            let (socket, at) = bind();
            sealed(socket, at, load)
        }),
    ]
}

pub(crate) fn tables() {
    for load in &LOADS {
        let messages = if measures() { load.messages } else { load.players * load.each * 2 };
        let load = &Load { messages, ..*load };
        let rounds: Vec<_> = (0..if measures() { 7 } else { 1 }).map(|_| ways(load)).collect();
        println!(
            "| {} | server, ns a message | of bare | both ends | of bare |\n|---|---:|---:|---:|---:|",
            load.name
        );
        for way in 0..6 {
            let price = |part: usize| median(rounds.iter().map(|round| round[way].1[part]).collect());
            let ratio = |part: usize| {
                median(rounds.iter().map(|round| round[way].1[part] / round[0].1[part]).collect())
            };
            println!(
                "| {} | {:.0} | {:.2} | {:.0} | {:.2} |",
                rounds[0][way].0,
                price(0),
                ratio(0),
                price(1),
                ratio(1)
            );
        }
        println!();
    }
}
