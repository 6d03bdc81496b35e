//! `rusty_enet`, over plain sockets: no cipher. Datagrams of up to 1,452 bytes, no bandwidth limit. Unreliable messages are
//! `always_unreliable`, sequenced, with a throttle that drops none.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use rusty_enet::{
    Event, Host, HostSettings, MTU_MAX, Packet, PacketKind, PacketReceived, PeerID, Socket, SocketOptions,
};

use super::{
    LARGEST_DATAGRAM,
    players::{Player, Players},
};
use crate::{
    end::{Demand, End, Hall, Outcome, Pair, Scene, Wire},
    machine::{socket, wait},
};

/// How often a player services its host, as a game does.
const TICK: Duration = Duration::from_millis(16);
/// Interval, acceleration and deceleration of a throttle that never closes.
const THROTTLE: [u32; 3] = [5_000, 32, 0];

/// The system's socket, and what it has sent.
struct Counted {
    socket: UdpSocket,
    wire: Rc<Cell<Wire>>,
}

impl Socket for Counted {
    type Address = SocketAddr;
    type Error = io::Error;

    fn init(&mut self, options: SocketOptions) -> io::Result<()> {
        self.socket.init(options)
    }

    fn send(&mut self, address: SocketAddr, buffer: &[u8]) -> io::Result<usize> {
        let mut wire = self.wire.get();
        wire.count(buffer.len());
        self.wire.set(wire);
        Socket::send(&mut self.socket, address, buffer)
    }

    fn receive(&mut self, buffer: &mut [u8; MTU_MAX]) -> io::Result<Option<(SocketAddr, PacketReceived)>> {
        Socket::receive(&mut self.socket, buffer)
    }
}

fn host(socket: UdpSocket, peers: usize) -> Outcome<Host<Counted>> {
    let settings = HostSettings { peer_limit: peers, channel_limit: 1, ..HostSettings::default() };
    let socket = Counted { socket, wire: Rc::default() };
    let mut host = Host::new(socket, settings).map_err(|error| error.to_string())?;
    host.set_mtu(u16::try_from(LARGEST_DATAGRAM)?).map_err(|error| error.to_string())?;
    Ok(host)
}

fn dial(host: &mut Host<Counted>, to: SocketAddr) -> Outcome<()> {
    host.connect(to, 1, 0).map(drop).map_err(|error| error.to_string().into())
}

struct EnetEnd {
    host: Host<Counted>,
    peer: Option<PeerID>,
    kind: PacketKind,
}

const UNRELIABLE: PacketKind = PacketKind::AlwaysUnreliable { sequenced: true };

impl EnetEnd {
    fn new(socket: UdpSocket, dials: Option<SocketAddr>, kind: PacketKind) -> Outcome<Self> {
        let mut host = host(socket, 1)?;
        if let Some(to) = dials {
            dial(&mut host, to)?;
        }
        Ok(Self { host, peer: None, kind })
    }
}

impl EnetEnd {
    /// Reads, sends, and sees to the next event; `None`: there is no more.
    fn event(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<Option<()>> {
        match self.host.service()? {
            None => return Ok(None),
            Some(Event::Connect { peer, .. }) => {
                let [interval, acceleration, deceleration] = THROTTLE;
                peer.set_throttle(interval, acceleration, deceleration);
                self.peer = Some(peer.id());
            }
            Some(Event::Disconnect { .. }) => return Err("disconnected".into()),
            Some(Event::Receive { packet, .. }) => to(packet.data()),
        }
        Ok(Some(()))
    }
}

impl End for EnetEnd {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(self.peer.is_some())
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        let peer = self.peer.ok_or("not connected")?;
        let packet = Packet::new(message, self.kind);
        self.host.peer_mut(peer).send(0, &packet).map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.host.flush();
        Ok(())
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        while self.event(to)?.is_some() {}
        Ok(())
    }

    fn hear_one(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        self.event(to).map(drop)
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(&self.host.socket().socket, most)
    }

    fn wire(&self) -> Option<Wire> {
        Some(self.host.socket().wire.get())
    }
}

pub fn pair(demand: Demand) -> Outcome<Pair> {
    let [one, two] = [socket()?, socket()?];
    let address = two.local_addr()?;
    let kind = if demand.reliable { PacketKind::Reliable } else { UNRELIABLE };
    Ok(Pair::new(move || EnetEnd::new(one, Some(address), kind), move || EnetEnd::new(two, None, kind)))
}

struct EnetHall {
    host: Host<Counted>,
    echoes: u64,
}

impl Hall for EnetHall {
    fn serve(&mut self) -> Outcome<()> {
        while let Some(event) = self.host.service()? {
            match event {
                Event::Connect { peer, .. } => {
                    let [interval, acceleration, deceleration] = THROTTLE;
                    peer.set_throttle(interval, acceleration, deceleration);
                }
                Event::Disconnect { .. } => return Err("a player left".into()),
                Event::Receive { peer, packet, .. } => {
                    let echo = Packet::new(packet.data(), UNRELIABLE);
                    peer.send(0, &echo).map_err(|error| error.to_string())?;
                    self.echoes += 1;
                }
            }
        }
        self.host.flush();
        Ok(())
    }

    fn echoes(&self) -> u64 {
        self.echoes
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(&self.host.socket().socket, most)
    }
}

impl AsFd for EnetEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.host.socket().socket.as_fd()
    }
}

impl Player for EnetEnd {
    fn joined(&self) -> bool {
        self.peer.is_some()
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
        Ok(Some(Instant::now() + TICK))
    }
}

pub fn scene(players: usize) -> Outcome<Scene> {
    let hall_socket = socket()?;
    let address = hall_socket.local_addr()?;
    let hall = move || Ok(EnetHall { host: host(hall_socket, players)?, echoes: 0 });
    Ok(Scene::new(hall, move || Players::new(move || EnetEnd::new(socket()?, Some(address), UNRELIABLE))))
}
