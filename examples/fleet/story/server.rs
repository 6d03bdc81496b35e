//! One game server: lets in who has a ticket for it, sends back what it hears, and keeps count.

use std::{collections::HashMap, net::SocketAddr, time::Instant};

use mio::net::UdpSocket;
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
    /// Sessions that ended otherwise than by their player's wish.
    pub(super) lost: usize,
    pub(super) heard: u64,
    pub(super) disordered: u64,
}

pub(super) struct GameServer {
    pub(super) server: SealedServer<UdpSocket>,
    tickets: TicketKeys,
    seats: HashMap<PeerId, Seat>,
    pub(super) counts: Counts,
    pub(super) due: Option<Instant>,
    echo: Vec<u8>,
}

impl GameServer {
    pub(super) fn new(
        socket: UdpSocket,
        backend: &mut Backend,
        route: [u8; ROUTE_LEN],
        flood: &Flood,
    ) -> Outcome<Self> {
        let key = SecretKey::generate()?;
        let mut config = ServerConfig::default();
        config.session.app_id = APP_ID.to_vec();
        config.route = route.to_vec();
        config.flood = flood.clone();
        let server = SealedServer::new(socket, Credentials::server_auth(&key, Trust::Anyone), config)?;
        let tickets = backend.enlist(&key, route)?;
        let (seats, counts) = (HashMap::new(), Counts::default());
        Ok(Self { server, tickets, seats, counts, due: None, echo: Vec::new() })
    }

    pub(super) fn step(&mut self) -> Outcome<()> {
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
        self.due = self.server.maintain();
        Ok(())
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
                if was_in && reason != (CloseReason::ClosedByPeer { code: 0 }) {
                    self.counts.lost += 1;
                    eprintln!("a server lost a player: {reason}");
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

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }
}
