//! What a server costs once it runs: no allocation per datagram, message or broadcast.

#[path = "common/clock.rs"]
mod clock;

use std::{io, net::SocketAddr, time::Duration};

use clock::Clock;
use sealgram::{
    AddressedUdp, Config, Credentials, Event, Guarantee, HubSocket, MemoryHub, SealedEndpoint, SealedServer,
    SecretKey, ServerConfig, Trust, UdpLike,
};

type Failure = Box<dyn std::error::Error>;

const PLAYERS: u8 = 8;

/// A tick at 60 Hz is two steps.
const STEP: Duration = Duration::from_millis(8);

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
}

/// The hub recycles its buffers: all of them have room for the largest datagram from now on.
fn fill(server: &mut HubSocket, leg: &mut Leg) -> Result<(), Failure> {
    let mut buffer = [0; 1_500];
    for _ in 0..100 {
        leg.send(&[0; 1_500])?;
        server.send_to(&[0; 1_500], leg.socket.local_addr())?;
    }
    for _ in 0..100 {
        leg.recv(&mut buffer)?;
        server.recv_from(&mut buffer)?;
    }
    Ok(())
}

struct Scene {
    clock: Clock,
    server: SealedServer<HubSocket>,
    players: Vec<SealedEndpoint<Leg>>,
    echo: Vec<u8>,
    echoed: usize,
    heard: usize,
    /// Allocations inside of the server's calls.
    allocated: u64,
}

impl Scene {
    fn new() -> Result<Self, Failure> {
        let (clock, hub, key) = (Clock::new(STEP), MemoryHub::new(), SecretKey::generate()?);
        let at = ([10, 0, 0, 1], 1).into();
        let credentials = Credentials::server_auth(&key, Trust::Anyone);
        let mut socket = hub.socket(at)?;
        let mut legs = Vec::new();
        for index in 0..PLAYERS {
            let mut leg = Leg { socket: hub.socket(([10, 0, 1, index], 1).into())?, server: at };
            fill(&mut socket, &mut leg)?;
            legs.push(leg);
        }
        let server = SealedServer::with_environment(
            socket,
            credentials,
            ServerConfig::default(),
            clock.environment(1),
        )?;
        let mut players = Vec::new();
        for (leg, port) in legs.into_iter().zip(100..) {
            let credentials = Credentials::client_auth(&SecretKey::generate()?, key.public_key())?;
            let environment = clock.environment(port);
            let mut player =
                SealedEndpoint::with_environment(leg, credentials, Config::default(), environment)?;
            player.connect()?;
            players.push(player);
        }
        Ok(Self {
            clock,
            server,
            players,
            echo: Vec::with_capacity(2_000),
            echoed: 0,
            heard: 0,
            allocated: 0,
        })
    }

    fn serve(&mut self, all: Option<&[u8]>) {
        let Self { server, echo, echoed, .. } = self;
        let info = allocation_counter::measure(|| {
            while let Some((id, message)) = server.recv() {
                let guarantee = message.guarantee();
                echo.clear();
                echo.extend_from_slice(&message);
                *echoed += 1;
                if let Some(mut peer) = server.peer(id) {
                    let _ = peer.send_payload(guarantee, echo);
                }
            }
            if let Some(bytes) = all {
                server.broadcast(Guarantee::None, bytes);
            }
            while let Some((id, event)) = server.poll_event() {
                if let Event::Join { .. } = event {
                    server.accept(id);
                }
            }
            server.maintain();
        });
        self.allocated += info.count_total;
    }

    fn round(&mut self, payload: &[u8], all: Option<&[u8]>) -> Result<(), Failure> {
        for player in &mut self.players {
            for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
                player.send_payload(guarantee, payload)?;
            }
            player.flush()?;
        }
        for half in 0..2 {
            self.clock.advance();
            self.serve(all.filter(|_| half == 0));
            for player in &mut self.players {
                while player.recv()?.is_some() {
                    self.heard += 1;
                }
                player.maintain()?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_server_allocates_nothing_per_datagram_and_a_broadcast_once() -> Result<(), Failure> {
    let mut scene = Scene::new()?;
    while !scene.players.iter().all(SealedEndpoint::is_connected) {
        scene.clock.advance();
        scene.serve(None);
        for player in &mut scene.players {
            assert!(player.recv()?.is_none());
            player.maintain()?;
        }
    }
    for (len, all) in [(64, None), (1_000, None), (64, Some([7; 100].as_slice()))] {
        let payload = vec![7; len];
        for _ in 0..1_500 {
            scene.round(&payload, all)?;
        }
        (scene.echoed, scene.heard, scene.allocated) = (0, 0, 0);
        for _ in 0..1_000 {
            scene.round(&payload, all)?;
        }
        let players = usize::from(PLAYERS);
        assert_eq!(scene.echoed, 3 * 1_000 * players);
        let of_all = if all.is_some() { 1_000 } else { 0 };
        assert!(scene.heard >= (3 * 999 + of_all - 1) * players, "{}", scene.heard);
        // The copy that all queues of a broadcast share; and now and then a client moves on to its next connection id, and
        // the id that it gets instead is remembered until it is known to have arrived.
        let rare = scene.allocated - of_all as u64;
        assert!(rare <= 2 * players as u64, "{rare} allocations, messages of {len} bytes");
    }
    Ok(())
}
