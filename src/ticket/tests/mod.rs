//! Tickets as a whole: what is read back, what is refused, and who gets in with which.

mod admission;
mod form;
mod seal;

use super::*;
use crate::crypto::{
    SecretKey,
    testing::{BrokenRng, FixedRng},
};

const NONCE: [u8; 24] = [0x5a; 24];
const NOW: u64 = 2_000_000_000;
const ID: [u8; 16] = *b"0123456789abcdef";

fn key(byte: u8) -> PublicKey {
    SecretKey::from_bytes([byte; 32]).public_key()
}

fn seal_key(byte: u8) -> TicketKey {
    TicketKey::from_bytes([byte; 32])
}

fn builder() -> TicketBuilder {
    let address = |text: &str| text.parse::<TicketAddress>().unwrap();
    Ticket::builder(TicketProfile::ClientAuth, key(1))
        .app_id(b"game")
        .route(b"r7")
        .expires(NOW + 60)
        .address(address("203.0.113.5:7777"))
        .address(address("[2001:db8::5]:7777"))
        .address(address("play.example.org:7777"))
        .public_data("Lobby 7".as_bytes())
}

fn grant() -> TicketGrant<'static> {
    TicketGrant { id: ID, player: Some(key(9)), issued: NOW - 60, user_data: b"team blue" }
}

fn sealed(builder: &TicketBuilder, grant: &TicketGrant<'_>) -> Ticket {
    builder.seal_with(&mut FixedRng::new(&NONCE), &seal_key(7), grant).unwrap()
}

/// A check at which everything fits `sealed(&builder(), &grant())`, to be changed field by field.
struct Door {
    keys: TicketKeys,
    app_id: &'static [u8],
    profile: TicketProfile,
    server: PublicKey,
    route: &'static [u8],
    player: Option<PublicKey>,
    now: u64,
    revoked: bool,
}

impl Door {
    fn new() -> Self {
        Self {
            keys: TicketKeys::new(seal_key(7)),
            app_id: b"game",
            profile: TicketProfile::ClientAuth,
            server: key(1),
            route: b"r7",
            player: Some(key(9)),
            now: NOW,
            revoked: false,
        }
    }

    fn check(&self, ticket: &[u8]) -> Result<Admission, TicketError> {
        let Self { app_id, profile, server, route, .. } = self;
        let here = TicketScope { app_id, profile: *profile, server, route };
        self.keys.check(ticket, &here, self.player.as_ref(), self.now, |_| self.revoked)
    }
}
