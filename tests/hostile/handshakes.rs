//! Handshake messages that are forged, repeated, or made from keys that nobody should use, in envelopes that open: over
//! real sockets. PROTOCOL.md, "Envelope", "Handshake", "Hello", "Static keys".

use sealgram::fuzzing::{EvilHandshake, reference};
use sealgram::{CloseReason, Config, Credentials, Event, Guarantee, SecretKey, Trust};

use crate::bytes::{
    CONFIRM, COOKIE, FIN, HANDSHAKE_BYTES, INIT, RESP, ack, body, delivery, hello, init, new_cid, noise_of,
    redirect,
};
use crate::victim::{Attack, Victim, evil_init, invite};

/// The points with which X25519 gives zero, and their other encodings.
fn low_order() -> Vec<[u8; 32]> {
    let hex = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    let points = hex.map(|text| <[u8; 32]>::try_from(hex::decode(text).unwrap()).unwrap());
    let high = points.map(|mut point| {
        point[31] |= 0x80;
        point
    });
    [points, high].concat()
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn tofu(byte: u8) -> Credentials {
    Credentials::tofu(&secret(byte), Trust::Anyone)
}

/// Shows that a stranger with the invite is still answered, and let in when he confirms.
fn assert_answers(victim: &mut Victim, credentials: &Credentials, what: &str) {
    victim.wait(1_000);
    victim.said();
    let (mut evil, datagram) = evil_init(credentials, &hello(), 99);
    let answer = victim.hear(&datagram);
    let answer = evil.body(false, 0, answer.first().expect(what)).expect(what);
    assert!(evil.read(noise_of(&answer)).is_some(), "{what}");
    let session = evil.session().unwrap();
    victim.hear(&session.packet(&[], 0, 0, &CONFIRM));
    assert!(victim.endpoint.is_connected(), "{what}");
    victim.hear(&session.packet(&[], 0, 1, &delivery(0, what.as_bytes())));
    assert_eq!(victim.heard.last().map(|(_, bytes)| bytes.as_slice()), Some(what.as_bytes()));
}

/// Where message 1 has its payload in clear, the answer would be under a key that everybody knows.
#[test]
fn points_of_low_order_are_not_answered_where_they_come_in_clear() {
    let mut victim = Victim::new(tofu(1), &Config::default());
    for point in low_order() {
        let mut evil = EvilHandshake::new(&tofu(2), true, b"", b"", 3).unwrap();
        let message = [&point[..], &[1, 1]].concat();
        victim.assert_nothing(&evil.envelope(true, &[], &init(&message)), "XX");
        victim.wait(100);
    }
}

/// Where it is sealed under the Diffie-Hellman result with the server's key, everybody could seal it.
#[test]
fn points_of_low_order_are_not_answered_where_they_make_the_key() {
    let server = secret(4);
    let mut victim = Victim::new(Credentials::server(&server), &Config::default());
    let client = Credentials::client(server.public_key());
    for point in low_order() {
        let mut evil = EvilHandshake::new(&client, true, b"", b"", 3).unwrap();
        let message = evil.message_of_low_order(server.public_key().as_bytes(), &point, &hello());
        victim.assert_nothing(&evil.envelope(true, &[], &init(&message)), "NK");
        victim.wait(100);
    }
    assert_answers(&mut victim, &client, "an honest client");
}

#[test]
fn limits_out_of_range_are_not_answered() {
    let mut victim = Victim::new(invite(), &Config::default());
    let with = |at: usize, bytes: &[u8]| {
        let mut hello = hello().to_vec();
        hello[at..at + bytes.len()].copy_from_slice(bytes);
        hello
    };
    let table = [
        ("params_version 0", with(0, &[0, 0])),
        ("params_version 2", with(0, &[2, 0])),
        ("no version 1", with(2, &[2, 2])),
        ("version 0", with(2, &[0, 1])),
        ("only version 0", with(2, &[0, 0])),
        ("max_datagram below our handshake", with(6, &1_199_u16.to_le_bytes())),
        ("idle_timeout below a second", with(8, &999_u32.to_le_bytes())),
        ("idle_timeout above ten minutes", with(8, &600_001_u32.to_le_bytes())),
        ("no fragments", with(12, &[0, 0])),
        ("no messages", with(14, &[0; 4])),
        ("messages above 16 MiB", with(14, &((1_u32 << 24) + 1).to_le_bytes())),
        ("a reserved byte", with(18, &[1])),
        ("the last reserved byte", with(23, &[1])),
        ("a byte less", hello()[..23].to_vec()),
        ("a byte more", with(0, &[1]).into_iter().chain([0]).collect()),
        ("nothing", Vec::new()),
    ];
    for (seed, (what, payload)) in (10..).zip(table) {
        let (_, datagram) = evil_init(&invite(), &payload, seed);
        victim.assert_nothing(&datagram, what);
    }
    assert_answers(&mut victim, &invite(), "limits in range");
}

#[test]
fn limits_at_their_bounds_make_a_session_that_works() {
    let with = |at: usize, bytes: &[u8]| {
        let mut hello = hello();
        hello[at..at + bytes.len()].copy_from_slice(bytes);
        hello
    };
    for (what, hello) in [
        ("max_datagram 1,200", with(6, &1_200_u16.to_le_bytes())),
        ("max_datagram 65,535", with(6, &u16::MAX.to_le_bytes())),
        ("idle_timeout of a second", with(8, &1_000_u32.to_le_bytes())),
        ("idle_timeout of ten minutes", with(8, &600_000_u32.to_le_bytes())),
        ("one fragment", with(12, &[1, 0])),
        ("messages of one byte", with(14, &1_u32.to_le_bytes())),
        ("messages of 16 MiB", with(14, &(1_u32 << 24).to_le_bytes())),
        ("every flag", with(4, &[0xff, 0xff])),
        ("version 255 too", with(3, &[255])),
    ] {
        let mut attack = Attack::begin_with(&Config::default(), &hello);
        attack.say(&delivery(0, b"x"));
        assert_eq!(attack.victim.heard.len(), 1, "{what}");
        // As much as the smaller of both limits allows goes out; what is more is refused, and nothing worse.
        for len in [0, 1, 2, 1_000, 5_000, 1 << 20] {
            let sent = attack.victim.endpoint.send_payload(Guarantee::Delivery, &vec![7; len]);
            assert!(sent.is_ok() || len > 1, "{what}, {len} bytes: {sent:?}");
            for (number, _) in attack.wait(3) {
                attack.say(&ack(number, 1, &[]));
            }
        }
        assert!(attack.victim.endpoint.is_connected(), "{what}");
        assert_eq!(attack.violations(), 0, "{what}");
    }
}

#[test]
fn bodies_that_are_off_in_any_field_are_not_answered() {
    let mut victim = Victim::new(invite(), &Config::default());
    let mut evil = EvilHandshake::new(&invite(), true, b"", b"", 3).unwrap();
    let noise = evil.message(&hello()).unwrap();
    let with = |at: usize, byte: u8| {
        let mut body = init(&noise);
        body[at] = byte;
        body
    };
    let end = HANDSHAKE_BYTES - 41;
    let table = [
        ("kind 0", with(0, 0)),
        ("RESP from an initiator", body(RESP, [0; 16], [0; 16], &noise, HANDSHAKE_BYTES)),
        ("COOKIE from an initiator", body(COOKIE, [0; 16], [0; 16], &[], HANDSHAKE_BYTES)),
        ("FIN to nobody", body(FIN, [0; 16], [7; 16], &noise, HANDSHAKE_BYTES)),
        ("kind 5", with(0, 5)),
        ("version 0", with(1, 0)),
        ("version 2", with(1, 2)),
        ("a reference", with(18, 1)),
        ("no message", body(INIT, [0; 16], [0; 16], &[], HANDSHAKE_BYTES)),
        ("a message longer than the body", with(35, 0xff)),
        ("a message one byte longer", with(34, 73)),
        ("a message one byte shorter", with(34, 71)),
        ("padding that is not zero", with(36 + 72, 1)),
        ("a last byte that is not zero", with(end, 1)),
        ("an INIT one byte too short", body(INIT, [0; 16], [0; 16], &noise, HANDSHAKE_BYTES - 1)),
        ("a short INIT", body(INIT, [0; 16], [0; 16], &noise, 200)),
    ];
    for (what, body) in table {
        let datagram = evil.envelope(true, &[], &body);
        victim.assert_nothing(&datagram, what);
    }
    let other_way = evil.envelope(false, &[], &init(&noise));
    victim.assert_nothing(&other_way, "INIT under the key of answers");
    let behind = evil.envelope(true, b"route", &init(&noise));
    victim.assert_nothing(&behind, "INIT behind a route");
    assert_answers(&mut victim, &invite(), "a body without a fault");
}

#[test]
fn an_init_that_is_too_short_is_not_answered_while_another_handshake_is_open_either() {
    let mut victim = Victim::new(invite(), &Config::default());
    let (_, datagram) = evil_init(&invite(), &hello(), 1);
    assert_eq!(victim.hear(&datagram).len(), 1);
    let mut evil = EvilHandshake::new(&invite(), true, b"", b"", 2).unwrap();
    let noise = evil.message(&hello()).unwrap();
    for len in [150, 256, HANDSHAKE_BYTES - 1] {
        let short = evil.envelope(true, &[], &body(INIT, [0; 16], [0; 16], &noise, len));
        victim.assert_nothing(&short, &format!("an INIT of {len}"));
    }
    assert_answers(&mut victim, &invite(), "of the right length");
}

#[test]
fn a_repeated_init_gets_one_answer_each_time_and_costs_nothing() {
    let mut victim = Victim::new(invite(), &Config::default());
    let (evil, datagram) = evil_init(&invite(), &hello(), 1);
    let before = victim.sight();
    let mut answered = Vec::new();
    // Each new one would cost 2 of 200 operations a second.
    for _ in 0..300 {
        let answers = victim.hear(&datagram);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].len() <= datagram.len());
        answered.push(noise_of(&evil.body(false, 0, &answers[0]).unwrap()).to_vec());
    }
    answered.dedup();
    assert_eq!(answered.len(), 1, "the same answer");
    let mut after = victim.sight();
    (after.stats.datagrams_sent, after.stats.bytes_sent) = (0, 0);
    assert_eq!(after, before);
    let (_, other) = evil_init(&invite(), &hello(), 2);
    assert_eq!(victim.hear(&other).len(), 1, "the budget is there for others");
    assert_answers(&mut victim, &invite(), "after 300 repetitions");
}

/// A victim that dials, and the peer that it dials.
fn dialling(credentials: [Credentials; 2]) -> (Victim, EvilHandshake, [u8; 16]) {
    let [own, evil] = credentials;
    let mut victim = Victim::new(own, &Config::default());
    victim.endpoint.connect().unwrap();
    let init = victim.said();
    assert_eq!(init.len(), 1);
    let mut evil = EvilHandshake::new(&evil, false, b"", b"", 8).unwrap();
    let init = evil.body(true, 0, &init[0]).unwrap();
    assert!(evil.read(noise_of(&init)).is_some());
    (victim, evil, reference(noise_of(&init)))
}

fn answer() -> Vec<u8> {
    [&hello()[..], &[0]].concat()
}

fn resp(evil: &mut EvilHandshake, named: [u8; 16], noise: &[u8]) -> Vec<u8> {
    evil.envelope(false, &[], &body(RESP, [0; 16], named, noise, HANDSHAKE_BYTES))
}

#[test]
fn fifteen_forged_answers_do_not_spoil_the_true_one() {
    let (mut victim, mut evil, named) = dialling([invite(), invite()]);
    let noise = evil.message(&answer()).unwrap();
    for bit in 0..15 {
        let mut forged = noise.clone();
        forged[bit * 5] ^= 1;
        let forged = resp(&mut evil, named, &forged);
        victim.assert_nothing(&forged, "a changed answer");
    }
    let other = resp(&mut evil, [9; 16], &noise);
    victim.assert_nothing(&other, "an answer to somebody else");
    let wrong_way = evil.envelope(true, &[], &body(RESP, [0; 16], named, &noise, HANDSHAKE_BYTES));
    victim.assert_nothing(&wrong_way, "an answer from an initiator");
    let right = resp(&mut evil, named, &noise);
    let confirm = victim.hear(&right);
    let session = evil.session().unwrap();
    // Padded, so that it pays for a challenge.
    let confirmed = [&CONFIRM[..], &[0; 6]].concat();
    assert_eq!(session.open(0, &confirm[0]).map(|(_, payload)| payload), Some(confirmed));
    victim.hear(&session.packet(&[], 0, 0, &delivery(0, b"live")));
    assert!(victim.endpoint.is_connected());
    assert_eq!(victim.heard.len(), 1);
}

#[test]
fn sixteen_answers_are_read_in_a_second_and_the_next_second_others() {
    let (mut victim, mut evil, named) = dialling([invite(), invite()]);
    let noise = evil.message(&answer()).unwrap();
    for _ in 0..16 {
        let mut forged = noise.clone();
        forged[60] ^= 1;
        let forged = resp(&mut evil, named, &forged);
        victim.assert_nothing(&forged, "a changed answer");
    }
    let right = resp(&mut evil, named, &noise);
    victim.assert_nothing(&right, "the seventeenth is not read");
    victim.wait(1_001);
    let right = resp(&mut evil, named, &noise);
    let confirm = victim.hear(&right);
    let session = evil.session().unwrap();
    assert!(confirm.iter().any(|packet| session.open(0, packet).is_some()));
}

#[test]
fn answers_with_limits_or_ids_out_of_range_are_not_believed() {
    let mut no_messages = answer();
    no_messages[14..18].fill(0);
    let cid_of_7 = [&hello()[..], &[7], &[1; 7]].concat();
    let more = [&answer()[..], &[0]].concat();
    for payload in [no_messages, cid_of_7, more, hello().to_vec()] {
        let (mut victim, mut evil, named) = dialling([invite(), invite()]);
        let noise = evil.message(&payload).unwrap();
        let datagram = resp(&mut evil, named, &noise);
        victim.assert_nothing(&datagram, &format!("{payload:?}"));
        // The next attempt has a key of its own, and nothing is left of this one.
        let again = victim.wait(13_000);
        let mut evil = EvilHandshake::new(&invite(), false, b"", b"", 9).unwrap();
        let init = evil.body(true, 0, again.last().unwrap()).unwrap();
        assert!(evil.read(noise_of(&init)).is_some());
        let noise = evil.message(&answer()).unwrap();
        let right = resp(&mut evil, reference(noise_of(&init)), &noise);
        assert!(!victim.hear(&right).is_empty(), "a true answer is believed");
    }
}

/// A half-open handshake of XX: who began it, and what its third message must name.
fn half_open(credentials: &Credentials) -> (Victim, EvilHandshake, [u8; 16]) {
    let mut victim = Victim::new(tofu(1), &Config::default());
    let (mut evil, datagram) = evil_init(credentials, &[1, 1], 5);
    let answer = victim.hear(&datagram);
    let answer = evil.body(false, 0, &answer[0]).unwrap();
    assert!(evil.read(noise_of(&answer)).is_some());
    (victim, evil, reference(noise_of(&answer)))
}

fn fin(evil: &mut EvilHandshake, named: [u8; 16], noise: &[u8]) -> Vec<u8> {
    evil.envelope(true, &[], &body(FIN, [0; 16], named, noise, 256))
}

#[test]
fn fifteen_forged_third_messages_do_not_spoil_the_true_one() {
    let (mut victim, mut evil, named) = half_open(&tofu(2));
    let noise = evil.message(&hello()).unwrap();
    for bit in 0..15 {
        let mut forged = noise.clone();
        forged[bit * 5] ^= 0x80;
        let forged = fin(&mut evil, named, &forged);
        victim.assert_nothing(&forged, "a changed FIN");
    }
    let other = fin(&mut evil, [9; 16], &noise);
    victim.assert_nothing(&other, "a FIN of somebody else's");
    let right = fin(&mut evil, named, &noise);
    assert_eq!(victim.hear(&right), Vec::<Vec<u8>>::new());
    assert!(!victim.endpoint.is_connected(), "nothing is live before a packet has opened");
    let session = evil.session().unwrap();
    victim.hear(&session.packet(&[], 0, 0, &CONFIRM));
    assert!(victim.endpoint.is_connected());
}

#[test]
fn who_proves_to_hold_our_own_key_is_a_mirror() {
    let (mut victim, mut evil, named) = half_open(&tofu(1));
    let noise = evil.message(&hello()).unwrap();
    let right = fin(&mut evil, named, &noise);
    victim.assert_nothing(&right, "our own key");
    assert_eq!(victim.endpoint.stats().drops.reflected, 1);
    let session = evil.session().unwrap();
    victim.assert_nothing(&session.packet(&[], 0, 0, &CONFIRM), "its first packet");
}

/// A server that lets its client in, and then keeps to no rule.
#[test]
fn a_server_of_too_many_ids_and_redirects_is_borne_and_then_left() {
    let server = secret(4);
    let both = || [Credentials::client(server.public_key()), Credentials::server(&server)];
    let (mut victim, mut evil, named) = dialling(both());
    let with_cid = [&hello()[..], &[8], &[0xc1; 8]].concat();
    let noise = evil.message(&with_cid).unwrap();
    let right = resp(&mut evil, named, &noise);
    let confirm = victim.hear(&right);
    assert!(confirm[0].starts_with(&[0xc1; 8]), "the client takes the id that it was given");
    let session = evil.session().unwrap();
    let mut number = 0;
    let mut say = |victim: &mut Victim, payload: &[u8]| {
        let packet = session.packet(&[], 0, number, payload);
        number += 1;
        victim.hear(&packet);
        victim.wait(1);
    };
    say(&mut victim, &crate::bytes::PING);
    assert!(victim.endpoint.is_connected());
    let ticket =
        sealgram::Ticket::builder(sealgram::TicketProfile::Client, server.public_key()).build().unwrap();
    for _ in 0..50 {
        say(&mut victim, &redirect(ticket.as_bytes()));
    }
    let redirected = |event: &&Event| matches!(event, Event::Redirected { .. });
    assert_eq!(victim.events.iter().filter(redirected).count(), 1, "one redirect of a session is told");
    for sequence in 1..=3 {
        say(&mut victim, &new_cid(sequence, 0, [u8::try_from(sequence).unwrap(); 8]));
    }
    assert_eq!(victim.endpoint.stats().violations, 0, "one in use and three spares");
    say(&mut victim, &delivery(0, b"still heard"));
    assert_eq!(victim.heard.len(), 1);
    for count in 0..8 {
        assert_eq!((victim.endpoint.is_connected(), victim.closed), (true, None), "{count}");
        say(&mut victim, &new_cid(4 + count, 0, [u8::try_from(4 + count).unwrap(); 8]));
    }
    assert_eq!(victim.closed, Some(CloseReason::ProtocolViolation));
}
