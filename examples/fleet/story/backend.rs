//! What a game's backend does in this story: it knows all servers, and makes tickets for players. In a real fleet it is
//! the service that allocates game servers, and no server holds the ticket key of another.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use sealgram::{
    PublicKey, SecretKey, Ticket, TicketAddress, TicketGrant, TicketKey, TicketKeys, TicketProfile,
};

use super::{Outcome, ROUTE_LEN};

pub(super) const APP_ID: &[u8] = b"fleet example";
/// How long a ticket is good for, in seconds.
const LIFETIME: u64 = 600;

pub(super) fn unix_now() -> Outcome<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// A server as the backend knows it.
struct Known {
    key: PublicKey,
    route: [u8; ROUTE_LEN],
    ticket_key: TicketKey,
}

pub(super) struct Backend {
    servers: Vec<Known>,
    tickets: u128,
}

impl Backend {
    pub(super) fn new() -> Self {
        Self { servers: Vec::new(), tickets: 0 }
    }

    /// A new server of the fleet, and the keys of the tickets that it shall take.
    pub(super) fn enlist(&mut self, server: &SecretKey, route: [u8; ROUTE_LEN]) -> Outcome<TicketKeys> {
        let ticket_key = TicketKey::generate()?;
        let shared = TicketKeys::new(TicketKey::from_bytes(*ticket_key.expose_bytes()));
        self.servers.push(Known { key: server.public_key(), route, ticket_key });
        Ok(shared)
    }

    pub(super) fn key_of(&self, server: usize) -> PublicKey {
        self.servers[server].key
    }

    /// A ticket for one player and one server. It names the balancer's address, the server's route, and the keys of all
    /// servers to which the player may later be sent on.
    pub(super) fn ticket(
        &mut self,
        player: PublicKey,
        server: usize,
        balancer: SocketAddr,
    ) -> Outcome<Ticket> {
        let now = unix_now()?;
        self.tickets += 1;
        let to = &self.servers[server];
        let grant = TicketGrant {
            id: self.tickets.to_le_bytes(),
            player: Some(player),
            issued: now,
            user_data: b"a player",
        };
        let mut builder = Ticket::builder(TicketProfile::ClientAuth, to.key)
            .app_id(APP_ID)
            .route(&to.route)
            .address(TicketAddress::Ip(balancer))
            .expires(now + LIFETIME);
        for other in self.servers.iter().filter(|other| other.key != to.key) {
            builder = builder.server(other.key);
        }
        Ok(builder.seal(&to.ticket_key, &grant)?)
    }
}
