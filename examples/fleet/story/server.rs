//! One game server on a thread of its own: lets in who has a ticket for it, sends back what it hears, and keeps count.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};
use sealgram::{
    CloseReason, Credentials, Event, Flood, Guarantee, PeerId, PublicKey, SealedServer, SecretKey,
    ServerConfig, TicketKeys, Trust,
};

use super::{
    Outcome, ROUTE_LEN,
    backend::{APP_ID, Backend, unix_now},
    player::number,
};

/// Told to who has no ticket for this server.
const NOT_YOU: u16 = 1;

/// The longest wait for a datagram.
const TICK: Duration = Duration::from_millis(10);

/// A player who is in.
struct Seat {
    player: PublicKey,
    /// The number that its next message must have.
    next: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) joined: usize,
    pub(super) refused: usize,
    pub(super) path_changes: usize,
    /// Sessions that ended neither by their player's wish nor by ours.
    pub(super) lost: usize,
    /// Players who had gone, but whose good-bye was lost.
    pub(super) unheard: usize,
    pub(super) heard: u64,
    pub(super) disordered: u64,
}

pub(super) struct GameServer {
    pub(super) server: SealedServer<UdpSocket>,
    tickets: TicketKeys,
    seats: HashMap<PeerId, Seat>,
    pub(super) counts: Counts,
    echo: Vec<u8>,
}

/// A server that runs until it is dropped.
pub(super) struct Running {
    server: Arc<Mutex<GameServer>>,
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(super) fn start(backend: &mut Backend, route: [u8; ROUTE_LEN], flood: &Flood) -> Outcome<Self> {
        let mut poll = Poll::new()?;
        let mut socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE)?;
        let address = socket.local_addr()?;
        let server = Arc::new(Mutex::new(GameServer::new(socket, backend, route, flood)?));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&server), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut events = Events::with_capacity(8);
            while !stopped.load(Ordering::Relaxed) {
                let next = match lock(&shared).step() {
                    Ok(next) => next,
                    Err(error) => return eprintln!("a server ends: {error}"),
                };
                let wait = next.map_or(TICK, |next| next.saturating_duration_since(Instant::now()).min(TICK));
                // An interrupted wait is a short one.
                let _ = poll.poll(&mut events, Some(wait));
            }
        });
        Ok(Self { server, address, stop, thread: Some(thread) })
    }

    /// The server between two of its rounds.
    pub(super) fn get(&self) -> MutexGuard<'_, GameServer> {
        lock(&self.server)
    }

    pub(super) fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(server: &Mutex<GameServer>) -> MutexGuard<'_, GameServer> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GameServer {
    fn new(socket: UdpSocket, backend: &mut Backend, route: [u8; ROUTE_LEN], flood: &Flood) -> Outcome<Self> {
        let key = SecretKey::generate()?;
        let mut config = ServerConfig::default();
        config.session.app_id = APP_ID.to_vec();
        config.route = route.to_vec();
        config.flood = flood.clone();
        let server = SealedServer::new(socket, Credentials::server_auth(&key, Trust::Anyone), config)?;
        let tickets = backend.enlist(&key, route)?;
        let (seats, counts) = (HashMap::new(), Counts::default());
        Ok(Self { server, tickets, seats, counts, echo: Vec::new() })
    }

    /// One round. Gives the time at which the next one is due.
    fn step(&mut self) -> Outcome<Option<Instant>> {
        while let Some((id, message)) = self.server.recv() {
            self.echo.clear();
            self.echo.extend_from_slice(&message);
            self.counts.heard += 1;
            let Some(seat) = self.seats.get_mut(&id) else { continue };
            self.counts.disordered += u64::from(number(&self.echo) != Some(seat.next));
            seat.next += 1;
            if let Some(mut peer) = self.server.peer(id) {
                peer.send_payload(Guarantee::Delivery, &self.echo)?;
            }
        }
        while let Some((id, event)) = self.server.poll_event() {
            self.hear_of(id, event)?;
        }
        Ok(self.server.maintain())
    }

    fn hear_of(&mut self, id: PeerId, event: Event) -> Outcome<()> {
        match event {
            Event::Join { key, ticket, .. } => {
                let admission = self.server.admission(id, &ticket, &self.tickets, unix_now()?, |_| false);
                match (key, admission) {
                    (Some(player), Ok(_)) if self.server.accept(id) => {
                        self.counts.joined += 1;
                        self.seats.insert(id, Seat { player, next: 0 });
                    }
                    _ => {
                        self.counts.refused += 1;
                        self.server.kick(id, NOT_YOU, b"");
                    }
                }
            }
            Event::PathChanged { .. } => self.counts.path_changes += 1,
            Event::Closed { reason, .. } => {
                let was_in = self.seats.remove(&id).is_some();
                match reason {
                    CloseReason::ClosedByPeer { code: 0 } => {}
                    CloseReason::ClosedHere => self.counts.unheard += usize::from(was_in),
                    _ if was_in => {
                        self.counts.lost += 1;
                        eprintln!("a server lost a player: {reason}");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Who is in.
    pub(super) fn players(&self) -> Vec<(PeerId, PublicKey)> {
        self.seats.iter().map(|(id, seat)| (*id, seat.player)).collect()
    }

    /// Where it sees its players.
    pub(super) fn addresses(&self) -> HashMap<PeerId, SocketAddr> {
        self.seats.keys().filter_map(|id| Some((*id, self.server.address(*id)?))).collect()
    }
}
