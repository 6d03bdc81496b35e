//! A server among its players, all in memory: each sends, and the server echoes.

use std::net::SocketAddr;

use sealgram::{
    Config, Credentials, Event, Guarantee, HubSocket, MemoryHub, SealedEndpoint, SealedServer, ServerConfig,
    Stats, Trust,
};

use super::{Clock, Leg, clock, key};

/// Milliseconds in which everybody has sent once: a tick at 20 Hz.
pub(crate) const TICK: usize = 50;

pub(crate) struct Crowd {
    clock: Clock,
    server: SealedServer<HubSocket>,
    players: Vec<SealedEndpoint<Leg>>,
    echo: Vec<u8>,
    milliseconds: usize,
}

impl Crowd {
    /// So many players, all joined.
    pub(crate) fn new(players: usize) -> Self {
        let (clock, hub, own) = (clock(), MemoryHub::new(), key(0));
        let at: SocketAddr = ([10, 0, 0, 1], 1).into();
        let mut config = ServerConfig::default();
        config.flood.handshake_dh_per_second = 1_000_000;
        config.flood.sessions_per_prefix = Some(1_000);
        let socket = hub.socket(at).expect("a free address");
        let credentials = Credentials::server_auth(&own, Trust::Anyone);
        let server = SealedServer::with_environment(socket, credentials, config, clock.environment(1))
            .expect("a good configuration");
        let echo = Vec::with_capacity(2_000);
        let mut this = Self { clock, server, players: Vec::new(), echo, milliseconds: 0 };
        for number in (1..).take(players) {
            let [_, high, low, last] = u32::to_be_bytes(number);
            let socket = hub.socket(([10, 1 + high, low, last], 1).into()).expect("a free address");
            let leg = Leg { socket, server: at, last: Vec::new() };
            let credentials = Credentials::client_auth(&key(number), own.public_key()).expect("two keys");
            let node = u16::try_from(number + 1).expect("at most 65,534 players");
            let environment = this.clock.environment(node);
            let mut player =
                SealedEndpoint::with_environment(leg, credentials, Config::default(), environment)
                    .expect("a good configuration");
            player.connect().expect("a first call");
            this.players.push(player);
            this.join();
        }
        assert_eq!(this.server.len(), players);
        this
    }

    /// The newest player gets in.
    fn join(&mut self) {
        for _ in 0..20 {
            self.serve();
            self.clock.advance();
            let Some(player) = self.players.last_mut() else { return };
            while player.recv().expect("a session").is_some() {}
            player.maintain().expect("a session");
            if player.is_connected() {
                return self.serve_nobody();
            }
        }
        panic!("a player does not get in");
    }

    fn serve_nobody(&mut self) {
        assert_eq!(self.serve(), 0);
    }

    /// What a server does in its loop. How many messages it echoed.
    pub(crate) fn serve(&mut self) -> usize {
        let Self { server, echo, .. } = self;
        let mut echoed = 0;
        while let Some((id, message)) = server.recv() {
            let guarantee = message.guarantee();
            echo.clear();
            echo.extend_from_slice(&message);
            let mut peer = server.peer(id).expect("who just spoke");
            peer.send_payload(guarantee, echo).expect("room");
            echoed += 1;
        }
        while let Some((id, event)) = server.poll_event() {
            if let Event::Join { .. } = event {
                server.accept(id);
            }
        }
        server.maintain();
        echoed
    }

    /// A millisecond: those whose turn it is send, the server is served by `serve`, the players hear. How many echoes
    /// there were.
    pub(crate) fn millisecond(
        &mut self,
        guarantee: Guarantee,
        bytes: &[u8],
        serve: impl FnOnce(&mut Self) -> usize,
    ) -> usize {
        let turn = self.milliseconds % TICK;
        for player in self.players.iter_mut().skip(turn).step_by(TICK) {
            player.send_payload(guarantee, bytes).expect("room");
            player.maintain().expect("a session");
        }
        let echoed = serve(self);
        // Those whose turn it is hear their echo; a tenth of all looks at its timers.
        for (index, player) in self.players.iter_mut().enumerate() {
            if index % TICK == turn || index % 10 == turn % 10 {
                while player.recv().expect("a session").is_some() {}
                player.maintain().expect("a session");
            }
        }
        self.idle();
        echoed
    }

    /// A millisecond goes by.
    pub(crate) fn idle(&mut self) {
        self.clock.advance();
        self.milliseconds += 1;
    }

    /// The players look at their timers, and at what came.
    pub(crate) fn rest(&mut self) {
        for player in &mut self.players {
            while player.recv().expect("a session").is_some() {}
            player.maintain().expect("a session");
        }
    }

    pub(crate) fn maintain(&mut self) {
        self.server.maintain();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.server.stats()
    }
}
