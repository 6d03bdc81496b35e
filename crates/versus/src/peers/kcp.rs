//! `kcp`, in its fastest documented mode and with windows of 1,024 segments, over plain sockets. It has reliable messages
//! only, no handshake and no cipher. What is queued leaves when the load says so; acknowledgements after each reading.

use std::{
    cell::Cell,
    collections::HashMap,
    io::{self, Write},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    rc::Rc,
    time::{Duration, Instant},
};

use kcp::Kcp;

use super::{
    LARGEST_DATAGRAM,
    players::{Player, Players},
};
use crate::{
    end::{End, Hall, Outcome, Pair, Scene, Wire},
    machine::{connected, connected_to, now, socket, wait},
};

const CONVERSATION: u32 = 7;
const WINDOW: u16 = 1_024;

/// Where KCP puts its datagrams.
struct Out {
    socket: Rc<UdpSocket>,
    to: Option<SocketAddr>,
    wire: Rc<Cell<Wire>>,
}

impl Write for Out {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let sent = match self.to {
            Some(to) => self.socket.send_to(datagram, to),
            None => self.socket.send(datagram),
        };
        let mut wire = self.wire.get();
        wire.count(datagram.len());
        self.wire.set(wire);
        match sent {
            // As if lost.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(datagram.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn session(out: Out) -> Outcome<Kcp<Out>> {
    let mut kcp = Kcp::new(CONVERSATION, out);
    kcp.set_nodelay(true, 10, 2, true);
    kcp.set_wndsize(WINDOW, WINDOW);
    kcp.set_mtu(LARGEST_DATAGRAM)?;
    kcp.update(0)?;
    Ok(kcp)
}

struct KcpEnd {
    socket: Rc<UdpSocket>,
    kcp: Kcp<Out>,
    start: Instant,
    incoming: Vec<u8>,
    message: Vec<u8>,
    wire: Rc<Cell<Wire>>,
}

fn millis(start: Instant) -> u32 {
    start.elapsed().as_millis() as u32
}

impl KcpEnd {
    fn new(socket: UdpSocket) -> Outcome<Self> {
        let (socket, wire) = (Rc::new(socket), Rc::<Cell<Wire>>::default());
        let kcp = session(Out { socket: Rc::clone(&socket), to: None, wire: Rc::clone(&wire) })?;
        Ok(Self {
            socket,
            kcp,
            start: Instant::now(),
            incoming: vec![0; 2_048],
            message: vec![0; 2_048],
            wire,
        })
    }
}

impl KcpEnd {
    /// A datagram came; its messages are taken at once, so that the window that is told stays open.
    fn take(&mut self, len: usize, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        self.kcp.input(&self.incoming[..len])?;
        while let Ok(len) = self.kcp.recv(&mut self.message) {
            to(&self.message[..len]);
        }
        Ok(())
    }
}

impl End for KcpEnd {
    fn connected(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    fn offer(&mut self, message: &[u8]) -> Outcome<bool> {
        if self.kcp.wait_snd() >= 2 * usize::from(WINDOW) {
            return Ok(false);
        }
        self.kcp.send(message)?;
        Ok(true)
    }

    fn leave(&mut self) -> Outcome<()> {
        self.kcp.update(millis(self.start))?;
        Ok(self.kcp.flush()?)
    }

    fn hear(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        while let Some(len) = now(self.socket.recv(&mut self.incoming))? {
            self.take(len, to)?;
        }
        Ok(())
    }

    fn hear_one(&mut self, to: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        if let Some(len) = now(self.socket.recv(&mut self.incoming))? {
            self.take(len, to)?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Outcome<()> {
        self.kcp.update(millis(self.start))?;
        Ok(self.kcp.flush_ack()?)
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        let due = Duration::from_millis(self.kcp.check(millis(self.start)).into());
        wait(self.socket.as_ref(), most.min(due))
    }

    fn wire(&self) -> Option<Wire> {
        Some(self.wire.get())
    }
}

pub fn pair() -> Outcome<Pair> {
    let [one, two] = connected()?;
    Ok(Pair::new(move || KcpEnd::new(one), move || KcpEnd::new(two)))
}

struct Session {
    kcp: Kcp<Out>,
    /// When it wants to be looked at, in ms.
    due: u32,
}

struct KcpHall {
    socket: Rc<UdpSocket>,
    sessions: HashMap<SocketAddr, Session>,
    start: Instant,
    incoming: Vec<u8>,
    message: Vec<u8>,
    wire: Rc<Cell<Wire>>,
    echoes: u64,
}

impl Hall for KcpHall {
    fn serve(&mut self) -> Outcome<()> {
        let Self { socket, sessions, incoming, message, .. } = self;
        let time = millis(self.start);
        while let Some((len, from)) = now(socket.recv_from(incoming))? {
            let session = match sessions.entry(from) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let (socket, wire) = (Rc::clone(socket), Rc::clone(&self.wire));
                    let kcp = session(Out { socket, to: Some(from), wire })?;
                    place.insert(Session { kcp, due: 0 })
                }
            };
            session.kcp.input(&incoming[..len])?;
            while let Ok(len) = session.kcp.recv(message) {
                session.kcp.send(&message[..len])?;
                self.echoes += 1;
            }
            session.due = time;
        }
        // Who has news leaves now, who is due too.
        for session in sessions.values_mut().filter(|session| session.due <= time) {
            session.kcp.update(time)?;
            session.kcp.flush()?;
            let idle = session.kcp.wait_snd() == 0;
            session.due = if idle { u32::MAX } else { time + session.kcp.check(time).max(1) };
        }
        Ok(())
    }

    fn echoes(&self) -> u64 {
        self.echoes
    }

    fn rest(&mut self, most: Duration) -> Outcome<()> {
        wait(self.socket.as_ref(), most)
    }
}

impl AsFd for KcpEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Player for KcpEnd {
    fn joined(&self) -> bool {
        true
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
        // Acknowledgements of an echo ride on the next message, and so do repetitions.
        Ok(None)
    }
}

pub fn scene() -> Outcome<Scene> {
    let socket = socket()?;
    let address = socket.local_addr()?;
    let hall = move || {
        let (incoming, message) = (vec![0; 2_048], vec![0; 2_048]);
        let (sessions, wire) = (HashMap::new(), Rc::default());
        let start = Instant::now();
        Ok(KcpHall { socket: Rc::new(socket), sessions, start, incoming, message, wire, echoes: 0 })
    };
    Ok(Scene::new(hall, move || Players::new(move || KcpEnd::new(connected_to(address)?))))
}
