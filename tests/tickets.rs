//! A ticket is enough to join: from its text to a session, and what the server learns. The ticket travels as the first
//! message here: between endpoints CONFIRM carries none.

use sealgram::{
    Admission, Config, Credentials, Event, Guarantee, MemorySocket, Psk, SealedEndpoint, SecretKey, Ticket,
    TicketAddress, TicketError, TicketGrant, TicketKey, TicketKeys, TicketProfile, TicketScope, Trust,
    memory_pair,
};

const NOW: u64 = 2_000_000_000;

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn psk() -> Psk {
    Psk::from_bytes([9; 32])
}

/// What a backend writes into the chat.
fn text(profile: TicketProfile, player: Option<&SecretKey>) -> String {
    let grant = TicketGrant {
        id: [1; 16],
        player: player.map(SecretKey::public_key),
        issued: NOW,
        user_data: b"team blue",
    };
    let builder = Ticket::builder(profile, secret(1).public_key()).app_id(b"tickets").expires(NOW + 60);
    let address: TicketAddress = "play.example.org:7777".parse().unwrap();
    builder.address(address).seal(&TicketKey::from_bytes([7; 32]), &grant).unwrap().to_string()
}

/// The player who pastes `text` dials; the server answers, takes the ticket and looks at it.
fn join(text: &str, player: &SecretKey, server: Credentials) -> Result<Admission, TicketError> {
    let ticket: Ticket = text.parse().unwrap();
    let psk = (ticket.profile() == TicketProfile::ClientAuthPsk).then(psk);
    let credentials = ticket.credentials(&ticket.server_keys()[0], player, psk.as_ref()).unwrap();
    let mut config = Config::default();
    config.app_id = ticket.app_id().to_vec();
    let (near, far) = memory_pair();
    let mut dialled = SealedEndpoint::with_credentials(near, credentials, config.clone()).unwrap();
    let mut server = SealedEndpoint::with_credentials(far, server, config).unwrap();
    dialled.connect().unwrap();
    dialled.send_payload(Guarantee::Delivery, ticket.as_bytes()).unwrap();
    let presented = first_message(&mut dialled, &mut server);
    assert!(matches!(server.poll_event(), Some(Event::Connected { .. })));
    let own = secret(1).public_key();
    let here = TicketScope { app_id: b"tickets", profile: ticket.profile(), server: &own, route: b"" };
    let keys = TicketKeys::new(TicketKey::from_bytes([7; 32]));
    keys.check(&presented, &here, server.peer_key().as_ref(), NOW, |_| false)
}

fn first_message(
    dialled: &mut SealedEndpoint<MemorySocket>,
    server: &mut SealedEndpoint<MemorySocket>,
) -> Vec<u8> {
    for _ in 0..10_000 {
        if let Some(message) = server.recv().unwrap() {
            return message.to_vec();
        }
        assert!(dialled.recv().unwrap().is_none());
        dialled.maintain().unwrap();
        server.maintain().unwrap();
    }
    panic!("no session came about");
}

fn servers(player: &SecretKey) -> [(TicketProfile, Credentials); 5] {
    let (own, peer) = (secret(1), player.public_key());
    [
        (TicketProfile::Paired, Credentials::paired(&own, peer).unwrap()),
        (TicketProfile::Tofu, Credentials::tofu(&own, Trust::Anyone)),
        (TicketProfile::Client, Credentials::server(&own)),
        (TicketProfile::ClientAuth, Credentials::server_auth(&own, Trust::Anyone)),
        (TicketProfile::ClientAuthPsk, Credentials::server_auth_psk(&own, &psk(), Trust::Anyone)),
    ]
}

#[test]
fn the_text_of_a_ticket_is_enough_to_join_with_each_profile() {
    let player = secret(2);
    for (profile, server) in servers(&player) {
        // An anonymous player can only have a ticket for whoever holds it.
        let named = (profile != TicketProfile::Client).then_some(&player);
        let admission = join(&text(profile, named), &player, server).unwrap();
        assert_eq!(admission.user_data, b"team blue", "{profile:?}");
        assert_eq!(admission.player, named.map(SecretKey::public_key), "{profile:?}");
    }
}

#[test]
fn a_stolen_ticket_is_told_from_its_owners_in_each_profile() {
    let (owner, thief) = (secret(2), secret(3));
    for (profile, server) in servers(&thief) {
        if profile != TicketProfile::Client {
            let refused = join(&text(profile, Some(&owner)), &thief, server);
            assert_eq!(refused, Err(TicketError::WrongPlayer), "{profile:?}");
        }
    }
}
