//! The crate's own vectors of tickets, frozen: what this code makes must be what `vectors/tickets.json` holds, and
//! `vectors/check.py` makes the same from the text of the protocol alone. `SEALGRAM_BLESS=1` writes the file anew, which
//! is a change of the format.

use serde_json::{Value, json};

use super::*;
use crate::crypto::{SecretKey, testing::FixedRng};

const KEY: [u8; 32] = counted(0xd0);
const ISSUED: u64 = 1_900_000_000;
const EXPIRES: u64 = 1_900_003_600;

const fn counted<const N: usize>(first: u8) -> [u8; N] {
    let mut bytes = [first; N];
    let mut at = 1;
    while at < N {
        bytes[at] = bytes[at - 1].wrapping_add(1);
        at += 1;
    }
    bytes
}

fn public_key(first: u8) -> PublicKey {
    SecretKey::from_bytes(counted(first)).public_key()
}

fn public_values(ticket: &Ticket) -> Value {
    json!({
        "profile_byte": ticket.profile().byte(),
        "expires": ticket.expires().unwrap_or_default(),
        "app_id": hex::encode(ticket.app_id()),
        "route": hex::encode(ticket.route()),
        "server_keys": ticket.server_keys().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "addresses": ticket.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "public_data": hex::encode(ticket.public_data()),
        "ticket": hex::encode(ticket.as_bytes()),
        "text": ticket.to_string(),
    })
}

fn sealed_values(builder: &TicketBuilder, nonce: [u8; 24], grant: &TicketGrant<'_>) -> Value {
    let key = TicketKey::from_bytes(KEY);
    let ticket = builder.seal_with(&mut FixedRng::new(&nonce), &key, grant).unwrap();
    let mut value = public_values(&ticket);
    value["sealed"] = json!({
        "nonce": hex::encode(nonce),
        "id": hex::encode(grant.id),
        "issued": grant.issued,
        "player": grant.player.map(|player| player.to_string()),
        "user_data": hex::encode(grant.user_data),
    });
    value
}

fn tickets() -> Value {
    let open = Ticket::builder(TicketProfile::Client, public_key(0x30));
    let full = Ticket::builder(TicketProfile::ClientAuth, public_key(0x30))
        .server(public_key(0x31))
        .app_id(b"frozen-1")
        .route(b"route-11")
        .expires(EXPIRES)
        .address("203.0.113.5:7777".parse::<TicketAddress>().unwrap())
        .address("[2001:db8::5]:7778".parse::<TicketAddress>().unwrap())
        .address("play.example.org:7779".parse::<TicketAddress>().unwrap())
        .public_data(&counted::<130>(0));
    let bound = TicketGrant {
        id: counted(0x20),
        player: Some(public_key(0x10)),
        issued: ISSUED,
        user_data: b"player one, team blue",
    };
    let one_server = Ticket::builder(TicketProfile::Client, public_key(0x30)).expires(EXPIRES);
    let bearer = TicketGrant { player: None, user_data: b"", ..bound };
    json!({
        "about": "Tickets: an open one, one sealed for a player, and one sealed for whoever holds it. Bytes are \
                  hexadecimal, times are seconds since 1970.",
        "ticket_key": hex::encode(KEY),
        "tickets": [
            public_values(&open.build().unwrap()),
            sealed_values(&full, counted(0x60), &bound),
            sealed_values(&one_server, counted(0x80), &bearer),
        ],
    })
}

#[test]
fn tickets_are_those_that_were_frozen() {
    let made = tickets();
    if std::env::var_os("SEALGRAM_BLESS").is_some_and(|bless| bless == "1") {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/tickets.json");
        std::fs::write(path, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        return;
    }
    let frozen: Value = serde_json::from_str(include_str!("../../vectors/tickets.json")).unwrap();
    assert!(frozen == made, "tickets.json differs: either the format changed or the code is wrong");
}
