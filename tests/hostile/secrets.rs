//! What is printed: no `Debug`, no error, no event and no counter shows a byte of a secret. The compiler sees to it that
//! they cannot be copied or compared (`src/crypto/hygiene.rs`).

use std::fmt::Debug;

use sealgram::{
    Config, Credentials, Guarantee, Invite, Psk, SecretKey, ServerConfig, Ticket, TicketGrant, TicketKey,
    TicketKeys, TicketProfile, Trust,
};

use crate::bytes::{CONFIRM, none};
use crate::server::host::Scene;
use crate::victim::{Attack, Victim};

/// Bytes that stand in no other place by chance.
fn odd(seed: u64) -> [u8; 32] {
    use rand_core::TryRng;
    let mut bytes = [0; 32];
    sealgram::sim::Rng::seed(seed).try_fill_bytes(&mut bytes).unwrap();
    bytes
}

/// Whether four bytes of the secret in a row stand in the text: as hex digits, as a list of numbers, or as themselves.
fn shows(text: &str, secret: &[u8]) -> bool {
    let bare: String = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    let lower = bare.to_lowercase();
    secret.windows(4).any(|part| {
        let list = |one: fn(&u8) -> String| part.iter().map(one).collect::<Vec<_>>();
        let numbers = list(u8::to_string).join(",");
        let hex = list(|byte| format!("{byte:02x}"));
        let prefixed = list(|byte| format!("0x{byte:02x}")).join(",");
        bare.contains(&numbers)
            || [hex.concat(), hex.join(","), hex.join(":"), prefixed].iter().any(|form| lower.contains(form))
            || text.as_bytes().windows(4).any(|window| window == part)
    })
}

#[track_caller]
fn assert_silent(what: &dyn Debug, secrets: &[&[u8]]) {
    for text in [format!("{what:?}"), format!("{what:#?}")] {
        assert!(secrets.iter().all(|secret| !shows(&text, secret)), "{text}");
    }
}

#[test]
fn the_search_finds_a_secret_in_every_form() {
    let secret = odd(1);
    for text in
        [format!("{secret:?}"), format!("{secret:#?}"), hex::encode(secret), hex::encode_upper(secret)]
    {
        assert!(shows(&text, &secret), "{text}");
    }
    assert!(!shows("Secret(..)", &secret));
}

#[test]
fn keys_credentials_and_tickets_print_no_secret() {
    let [own, peer, psk, invite, ticket_key, user] = [1, 2, 3, 4, 5, 6].map(odd);
    let secrets: [&[u8]; 6] = [&own, &peer, &psk, &invite, &ticket_key, &user];
    let (own_key, peer_key) = (SecretKey::from_bytes(own), SecretKey::from_bytes(peer));
    let public = peer_key.public_key();
    let (shared, invited) = (Psk::from_bytes(psk), Invite::from_bytes(invite));
    let sealing = TicketKey::from_bytes(ticket_key);
    let all = [
        Credentials::paired(&own_key, public).unwrap(),
        Credentials::paired_psk(&own_key, public, &shared).unwrap(),
        Credentials::invite(&invited),
        Credentials::invite_tofu(&own_key, &invited, Trust::Anyone),
        Credentials::tofu(&own_key, Trust::Only(vec![public])).with_network_key(&shared),
        Credentials::client(public),
        Credentials::server(&own_key),
        Credentials::client_auth_psk(&own_key, public, &shared).unwrap().with_ticket(&user).unwrap(),
        Credentials::server_auth_psk(&own_key, &shared, Trust::Decide(Box::new(|_| true))),
    ];
    for credentials in &all {
        assert_silent(credentials, &secrets);
    }
    // A sealed ticket is as good as what it opens; what is in it is for the server only.
    let grant = TicketGrant { id: [7; 16], player: None, issued: 5, user_data: &user };
    let ticket =
        Ticket::builder(TicketProfile::ClientAuth, public).expires(9).seal(&sealing, &grant).unwrap();
    let bearer = &ticket.as_bytes()[60..];
    assert_silent(&ticket, &secrets);
    assert_silent(&ticket, &[bearer]);
    for each in [&own_key as &dyn Debug, &shared, &invited, &sealing] {
        assert_silent(each, &secrets);
    }
    assert_silent(&TicketKeys::new(sealing), &secrets);
    assert_silent(&SecretKey::generate(), &secrets);
}

#[test]
fn endpoints_messages_events_and_errors_print_no_secret() {
    let mut attack = Attack::begin(&Config::default());
    let text = odd(9);
    let exported = attack.victim.endpoint.export_key(b"for the game").unwrap().to_vec();
    let secrets: [&[u8]; 4] = [&[5; 32], &exported, &text, &CONFIRM.repeat(4)];
    attack.victim.endpoint.send_payload(Guarantee::Delivery, &text).unwrap();
    attack.say(&none(&text));
    attack.victim.heard.clear();
    assert_silent(&attack.victim.endpoint, &secrets);
    assert_silent(&attack.victim.endpoint.stats(), &secrets);
    assert_silent(&attack.victim.events, &secrets);
    assert_silent(&attack.session, &secrets);
    attack.victim.endpoint.close(1, b"bye");
    attack.victim.wait(1);
    assert_silent(&attack.victim.closed, &secrets);
    assert_silent(&attack.victim.events, &secrets);
    // An endpoint that cannot be made says which field, not which key.
    let mut config = Config::default();
    config.max_datagram_bytes = 1;
    let error = std::panic::catch_unwind(|| Victim::new(crate::victim::invite(), &config));
    assert!(error.is_err());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = sealgram::SealedEndpoint::invite(socket, &Invite::from_bytes(text), config).unwrap_err();
    assert_silent(&error, &[&text]);
    assert!(!shows(&error.to_string(), &text));
}

#[test]
fn servers_and_their_peers_print_no_secret() {
    let mut scene = Scene::new(91, sealgram::sim::Link::default(), &ServerConfig::default());
    let ticket = odd(10);
    let credentials = scene.credentials(0).with_ticket(&ticket).unwrap();
    scene.join_with(credentials, &Config::default());
    scene.all_join();
    let [key, _] = crate::common::keys(91);
    let [player, _] = crate::common::keys(0x1000);
    let (key, player) = (key.expose_bytes().to_vec(), player.expose_bytes().to_vec());
    let id = scene.host.server.peers().next().unwrap();
    let exported = scene.host.server.peer(id).unwrap().export_key(b"x").unwrap().to_vec();
    let secrets: [&[u8]; 4] = [&ticket, &key, &player, &exported];
    assert_silent(&scene.host.server, &secrets);
    assert_silent(&scene.host.server.peer(id).unwrap(), &secrets);
    assert_silent(&scene.host.events, &secrets);
    assert_silent(&scene.players[0].endpoint, &secrets);
    assert_silent(&scene.host.server.flood_stats(), &secrets);
}
