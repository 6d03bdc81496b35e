//! `renet` over `renet_netcode` in secure mode: tokens and ChaCha20-Poly1305, the transport's own sockets. The bound on what
//! leaves in a tick and those of the channels' memory are raised, so that neither is met.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use renet::{ChannelConfig, ConnectionConfig, DefaultChannel, RenetClient, RenetServer, ServerEvent};
use renet_netcode::{
    ClientAuthentication, ConnectToken, NetcodeClientTransport, NetcodeServerTransport, ServerAuthentication,
    ServerConfig,
};

use super::players::{Player, Players};
use crate::{
    end::{Demand, End, Hall, Outcome, Pair, Scene, Wire},
    machine::{socket, wait},
};

const PROTOCOL: u64 = 7;
const KEY: [u8; 32] = [7; 32];
/// The crate's own bound.
const MOST_CLIENTS: usize = 1_024;
/// How often a player's client is updated, as a game does.
const TICK: Duration = Duration::from_millis(16);

fn config() -> ConnectionConfig {
    let channels: Vec<ChannelConfig> = DefaultChannel::config()
        .into_iter()
        .map(|channel| ChannelConfig { max_memory_usage_bytes: 64 << 20, ..channel })
        .collect();
    ConnectionConfig {
        available_bytes_per_tick: 64 << 20,
        server_channels_config: channels.clone(),
        client_channels_config: channels,
    }
}

fn channel(reliable: bool) -> u8 {
    if reliable { DefaultChannel::ReliableOrdered.into() } else { DefaultChannel::Unreliable.into() }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Time since the last asking.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap
    }
}

struct Client {
    client: RenetClient,
    transport: NetcodeClientTransport,
    socket: UdpSocket,
    clock: Clock,
    channel: u8,
}

impl Client {
    fn new(server: SocketAddr, id: u64, channel: u8) -> Outcome<Self> {
        let now = since_1970();
        let connect_token = ConnectToken::generate(now, PROTOCOL, 300, id, 15, vec![server], None, &KEY)?;
        let own = socket()?;
        let socket = own.try_clone()?;
        let transport =
            NetcodeClientTransport::new(now, ClientAuthentication::Secure { connect_token }, own)?;
        let (client, clock) = (RenetClient::new(config()), Clock(Instant::now()));
        Ok(Self { client, transport, socket, clock, channel })
    }
}

impl End for Client {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(self.client.is_connected())
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        let room = self.client.can_send_message(self.channel, message.len());
        if room {
            self.client.send_message(self.channel, Bytes::copy_from_slice(message));
        }
        Ok(room)
    }

    fn leave(&mut self) -> Outcome<()> {
        Ok(self.transport.send_packets(&mut self.client)?)
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let lap = self.clock.lap();
        self.client.update(lap);
        self.transport.update(lap, &mut self.client)?;
        while let Some(message) = self.client.receive_message(self.channel) {
            to(&message);
        }
        Ok(())
    }

    fn turn(&mut self) -> Outcome<()> {
        if self.client.is_connected() { self.leave() } else { Ok(()) }
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(&self.socket, most)
    }

    fn wire(&self) -> Option<Wire> {
        None
    }
}

struct Host {
    server: RenetServer,
    transport: NetcodeServerTransport,
    socket: UdpSocket,
    clock: Clock,
    channel: u8,
}

impl Host {
    fn new(own: UdpSocket, clients: usize, channel: u8) -> Outcome<Self> {
        let socket = own.try_clone()?;
        let config_of_server = ServerConfig {
            current_time: since_1970(),
            max_clients: clients.min(MOST_CLIENTS),
            protocol_id: PROTOCOL,
            public_addresses: vec![own.local_addr()?],
            authentication: ServerAuthentication::Secure { private_key: KEY },
        };
        let transport = NetcodeServerTransport::new(config_of_server, own)?;
        Ok(Self {
            server: RenetServer::new(config()),
            transport,
            socket,
            clock: Clock(Instant::now()),
            channel,
        })
    }

    fn update(&mut self) -> Outcome<()> {
        let lap = self.clock.lap();
        self.server.update(lap);
        self.transport.update(lap, &mut self.server)?;
        while let Some(event) = self.server.get_event() {
            if let ServerEvent::ClientDisconnected { reason, .. } = event {
                return Err(format!("a player left: {reason}").into());
            }
        }
        Ok(())
    }
}

/// The only client of a pair.
const ONLY: u64 = 1;

impl End for Host {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(self.server.is_connected(ONLY))
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        let room = self.server.can_send_message(ONLY, self.channel, message.len());
        if room {
            self.server.send_message(ONLY, self.channel, Bytes::copy_from_slice(message));
        }
        Ok(room)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.transport.send_packets(&mut self.server);
        Ok(())
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        self.update()?;
        while let Some(message) = self.server.receive_message(ONLY, self.channel) {
            to(&message);
        }
        Ok(())
    }

    fn turn(&mut self) -> Outcome<()> {
        self.leave()
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(&self.socket, most)
    }

    fn wire(&self) -> Option<Wire> {
        None
    }
}

pub fn pair(demand: Demand) -> Outcome<Pair> {
    let socket = socket()?;
    let (address, channel) = (socket.local_addr()?, channel(demand.reliable));
    Ok(Pair::new(move || Client::new(address, ONLY, channel), move || Host::new(socket, 1, channel)))
}

struct RenetHall(Host);

impl Hall for RenetHall {
    fn serve(&mut self) -> Outcome<()> {
        self.0.update()?;
        self.0.leave()
    }

    fn echoes(&self) -> u64 {
        0
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        // Its update wants to be called at some rate, whatever arrives.
        self.0.rest(most.min(TICK))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Player for Client {
    fn joined(&self) -> bool {
        self.client.is_connected()
    }

    fn say(&mut self, message: &[u8]) -> Outcome<()> {
        self.offer(message)?;
        self.leave()
    }

    fn hear(&mut self) -> Outcome<u64> {
        let mut heard = 0;
        End::hear(self, &mut |_| heard += 1)?;
        Ok(heard)
    }

    fn turn(&mut self) -> Outcome<Option<Instant>> {
        End::turn(self)?;
        // What the transport knows the client learns at the next update.
        let soon = if self.joined() { TICK } else { Duration::from_millis(1) };
        Ok(Some(Instant::now() + soon))
    }
}

/// For handshakes only: it holds too few players for more.
pub fn scene(players: usize) -> Outcome<Scene> {
    let socket = socket()?;
    let (address, channel) = (socket.local_addr()?, channel(false));
    let mut id = 0;
    let crowd = move || {
        Players::new(move || {
            id += 1;
            Client::new(address, id, channel)
        })
    };
    Ok(Scene::new(move || Ok(RenetHall(Host::new(socket, players, channel)?)), crowd))
}
