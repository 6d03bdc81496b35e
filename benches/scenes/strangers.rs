//! A server among strangers: what it gets is nothing that it lets in.

use std::net::SocketAddr;

use sealgram::{
    AddressedUdp, Config, Credentials, FloodStats, HubSocket, MemoryHub, SealedEndpoint, SealedServer,
    ServerConfig, Trust,
};

use super::{Clock, Leg, clock, key};

/// Datagrams handed over at once.
pub(crate) const BATCH: usize = 64;

/// What a stranger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Too short for a handshake.
    ShortGarbage,
    /// As long as a first message, and of no sense.
    Garbage,
    /// A first message without a cookie.
    Init,
    /// A first message with a cookie of another server's.
    WrongCookie,
}

impl Kind {
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::ShortGarbage, "garbage of 64 B"),
        (Self::Garbage, "garbage of 1,200 B"),
        (Self::Init, "INIT without a cookie"),
        (Self::WrongCookie, "INIT with a wrong cookie"),
    ];
}

pub(crate) struct Strangers {
    clock: Clock,
    server: SealedServer<HubSocket>,
    stranger: HubSocket,
    datagram: Vec<u8>,
}

fn address() -> SocketAddr {
    ([10, 0, 0, 1], 1).into()
}

/// A server that asks everybody for a cookie. Servers of different numbers make different ones.
fn server(hub: &MemoryHub, clock: &Clock, number: u16) -> SealedServer<HubSocket> {
    let mut config = ServerConfig::default();
    config.flood.require_cookie = true;
    config.flood.envelopes_per_second = 10_000_000;
    let socket = hub.socket(address()).expect("a free address");
    let credentials = Credentials::server_auth(&key(0), Trust::Anyone);
    SealedServer::with_environment(socket, credentials, config, clock.environment(number))
        .expect("a good configuration")
}

/// A player's first message to a server, and the same with the cookie that it answers.
fn inits() -> [Vec<u8>; 2] {
    let (clock, hub) = (clock(), MemoryHub::new());
    let mut server = server(&hub, &clock, 1);
    let socket = hub.socket(([10, 0, 0, 2], 2).into()).expect("a free address");
    let credentials = Credentials::client_auth(&key(1), key(0).public_key()).expect("two keys");
    let leg = Leg { socket, server: address(), last: Vec::new() };
    let mut player =
        SealedEndpoint::with_environment(leg, credentials, Config::default(), clock.environment(3))
            .expect("a good configuration");
    player.connect().expect("a first call");
    player.maintain().expect("a session");
    let without = player.socket().last.clone();
    assert!(server.recv().is_none());
    server.maintain();
    assert!(player.recv().expect("a session").is_none());
    player.maintain().expect("a session");
    let with = player.socket().last.clone();
    assert!(!without.is_empty() && with != without, "the cookie was taken");
    [without, with]
}

impl Strangers {
    pub(crate) fn new(kind: Kind) -> Self {
        let (clock, hub) = (clock(), MemoryHub::new());
        let server = server(&hub, &clock, 2);
        let stranger = hub.socket(([10, 0, 0, 2], 2).into()).expect("a free address");
        let [without, with] = inits();
        let datagram = match kind {
            Kind::ShortGarbage => vec![0xa5; 64],
            Kind::Garbage => vec![0xa5; 1_200],
            Kind::Init => without,
            Kind::WrongCookie => with,
        };
        Self { clock, server, stranger, datagram }
    }

    /// The next batch is on its way, a millisecond later, and what the last was answered is read.
    pub(crate) fn send(&mut self) {
        let mut buffer = [0; 1_500];
        while self.stranger.recv_from(&mut buffer).is_ok() {}
        self.clock.advance();
        for _ in 0..BATCH {
            self.stranger.send_to(&self.datagram, address()).expect("the hub takes all");
        }
    }

    /// The server reads the batch and says what it has to say.
    pub(crate) fn serve(&mut self) {
        assert!(self.server.recv().is_none(), "no stranger is heard");
        self.server.maintain();
    }

    /// Datagrams that came, and what the defence did.
    pub(crate) fn counts(&self) -> (u64, FloodStats) {
        (self.server.stats().datagrams_received, self.server.flood_stats())
    }
}
