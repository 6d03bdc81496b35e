//! A balancer that does what a UDP proxy with a token router does: the first bytes of a datagram name the server, and
//! each player has a port of its own towards its server. A thread with sockets; it stands in for a real one in the tests.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
};

use mio::{Events, Interest, Poll, Token, Waker, net::UdpSocket};

use super::{Balancer, Outcome, Place};

const FRONT: Token = Token(0);
const WAKE: Token = Token(1);
/// The first token of a flow.
const FLOWS: usize = 2;

enum Command {
    Kill,
    Start,
    End,
}

pub(crate) struct StandIn {
    address: SocketAddr,
    waker: Waker,
    commands: Sender<Command>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl StandIn {
    /// Starts it in front of these servers, for players of this machine.
    pub(crate) fn before(home: IpAddr, servers: &[Place]) -> Outcome<Self> {
        let poll = Poll::new()?;
        let mut front = UdpSocket::bind((home, 0).into())?;
        poll.registry().register(&mut front, FRONT, Interest::READABLE)?;
        let (address, waker) = (front.local_addr()?, Waker::new(poll.registry(), WAKE)?);
        let (commands, orders) = channel();
        let (say, done) = channel();
        let mut table = Table {
            poll,
            front,
            servers: servers.to_vec(),
            flows: HashMap::new(),
            ends: Vec::new(),
            former: HashMap::new(),
            is_up: true,
        };
        let thread = std::thread::spawn(move || table.run(&orders, &say));
        Ok(Self { address, waker, commands, done, thread: Some(thread) })
    }

    fn order(&self, command: Command) -> Outcome<()> {
        self.commands.send(command)?;
        self.waker.wake()?;
        Ok(self.done.recv()?)
    }
}

impl Balancer for StandIn {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn kill(&mut self) -> Outcome<()> {
        self.order(Command::Kill)
    }

    fn start(&mut self) -> Outcome<()> {
        self.order(Command::Start)
    }

    fn is_ready(&mut self) -> Outcome<bool> {
        Ok(true)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = self.order(Command::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A player, and the server that it sends to.
type Flow = (SocketAddr, SocketAddr);

/// What the proxy looks like to a server: one socket for each player of it.
struct Table {
    poll: Poll,
    front: UdpSocket,
    servers: Vec<Place>,
    flows: HashMap<Flow, usize>,
    ends: Vec<(UdpSocket, Flow)>,
    /// The ports before the restart. None comes back for the same player: every one of them shall move.
    former: HashMap<Flow, u16>,
    is_up: bool,
}

impl Table {
    fn run(&mut self, orders: &Receiver<Command>, done: &Sender<()>) {
        let mut events = Events::with_capacity(1_024);
        let mut buffer = vec![0; 65_536];
        loop {
            if self.poll.poll(&mut events, None).is_err() {
                continue;
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    FRONT => self.forward(&mut buffer),
                    Token(token) => self.bring_back(token - FLOWS, &mut buffer),
                }
            }
            for order in orders.try_iter() {
                match order {
                    Command::Kill => {
                        // Its port it keeps, so that no other process of this machine gets it meanwhile.
                        self.is_up = false;
                        let ports = self
                            .ends
                            .drain(..)
                            .filter_map(|(socket, flow)| Some((flow, socket.local_addr().ok()?.port())));
                        self.former.extend(ports);
                        self.flows.clear();
                    }
                    Command::Start => {
                        // What waited in the socket was sent to the one that died.
                        self.forward(&mut buffer);
                        self.is_up = true;
                    }
                    Command::End => {
                        let _ = done.send(());
                        return;
                    }
                }
                let _ = done.send(());
            }
        }
    }

    /// From the players to the servers. What cannot leave is lost, as in any network.
    fn forward(&mut self, buffer: &mut [u8]) {
        loop {
            let (len, player) = match self.front.recv_from(buffer) {
                Ok(arrival) => arrival,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            let datagram = &buffer[..len];
            let Some(place) = self.servers.iter().find(|place| datagram.starts_with(&place.route)) else {
                continue;
            };
            if self.is_up {
                if let Ok(index) = self.end((player, place.address)) {
                    let _ = self.ends[index].0.send(datagram);
                }
            }
        }
    }

    /// The socket of this flow, a new one if there is none.
    fn end(&mut self, flow: Flow) -> io::Result<usize> {
        if let Some(index) = self.flows.get(&flow) {
            return Ok(*index);
        }
        let mut socket = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
            if self.former.get(&flow) != Some(&socket.local_addr()?.port()) {
                break socket;
            }
        };
        socket.connect(flow.1)?;
        let index = self.ends.len();
        self.poll.registry().register(&mut socket, Token(FLOWS + index), Interest::READABLE)?;
        self.ends.push((socket, flow));
        self.flows.insert(flow, index);
        Ok(index)
    }

    /// From a server to the player of this flow.
    fn bring_back(&self, index: usize, buffer: &mut [u8]) {
        // The event may be older than the last restart.
        let Some((socket, (player, _))) = self.ends.get(index) else { return };
        loop {
            match socket.recv(buffer) {
                Ok(len) => drop(self.front.send_to(&buffer[..len], *player)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }
}
