//! Peers, or somebody between them, who want another profile, version or application than both ends chose. What differs
//! is not negotiated: it does not open. PROTOCOL.md, "Profiles", "Envelope", "Hello". What the application sees of it is in
//! `tests/promises.rs`.

use sealgram::fuzzing::EvilHandshake;
use sealgram::{Config, Credentials, Invite, Psk, SecretKey, Trust};

use crate::bytes::{CONFIRM, hello, init, noise_of};
use crate::victim::{Victim, evil_init};

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

/// Every profile, as the answering side's and as the dialling side's, with keys that would all fit.
fn profiles() -> Vec<(&'static str, Credentials, Credentials)> {
    let (a, b) = (key(1), key(2));
    let invite = Invite::from_bytes([5; 32]);
    let psk = Psk::from_bytes([5; 32]);
    let (to_a, to_b) = (a.public_key(), b.public_key());
    vec![
        ("KK", Credentials::paired(&a, to_b).unwrap(), Credentials::paired(&b, to_a).unwrap()),
        (
            "KKpsk2",
            Credentials::paired_psk(&a, to_b, &psk).unwrap(),
            Credentials::paired_psk(&b, to_a, &psk).unwrap(),
        ),
        ("NNpsk0", Credentials::invite(&invite), Credentials::invite(&invite)),
        (
            "XXpsk3",
            Credentials::invite_tofu(&a, &invite, Trust::Anyone),
            Credentials::invite_tofu(&b, &invite, Trust::Anyone),
        ),
        ("XX", Credentials::tofu(&a, Trust::Anyone), Credentials::tofu(&b, Trust::Anyone)),
        ("NK", Credentials::server(&a), Credentials::client(to_a)),
        ("IK", Credentials::server_auth(&a, Trust::Anyone), Credentials::client_auth(&b, to_a).unwrap()),
        (
            "IKpsk2",
            Credentials::server_auth_psk(&a, &psk, Trust::Anyone),
            Credentials::client_auth_psk(&b, to_a, &psk).unwrap(),
        ),
    ]
}

fn payload(profile: &str) -> Vec<u8> {
    if profile.starts_with("XX") { vec![1, 1] } else { hello().to_vec() }
}

#[test]
fn no_profile_answers_the_first_message_of_another() {
    for (own, answers, _) in profiles() {
        let mut victim = Victim::new(answers, &Config::default());
        for (other, _, dials) in profiles() {
            let (_, datagram) = evil_init(&dials, &payload(other), 1);
            if own != other {
                victim.assert_nothing(&datagram, &format!("{other} to {own}"));
            }
        }
        let (_, _, dials) = profiles().into_iter().find(|(other, ..)| *other == own).unwrap();
        let (_, datagram) = evil_init(&dials, &payload(own), 1);
        assert_eq!(victim.hear(&datagram).len(), 1, "{own} to {own}");
    }
}

/// Who has the keys of the envelope, as everybody has without a network key, may put any Noise message into it: the
/// prologue stands for the profile, the app id and the route once more.
#[test]
fn the_message_of_another_prologue_in_a_right_envelope_is_not_answered() {
    let psk = Psk::from_bytes([5; 32]);
    let server = key(1);
    let answers = || Credentials::server_auth(&server, Trust::Anyone);
    let mut victim = Victim::new(answers(), &Config::default());
    let dials = || Credentials::client_auth(&key(2), server.public_key()).unwrap();
    let mut right = EvilHandshake::new(&dials(), true, b"", b"", 1).unwrap();
    let with_psk = Credentials::client_auth_psk(&key(2), server.public_key(), &psk).unwrap();
    let nobody = Credentials::client(server.public_key());
    for (what, credentials, app_id, route) in [
        ("another app id", dials(), &b"other"[..], &b""[..]),
        ("another route", dials(), b"", b"route"),
        ("another profile", with_psk, b"", b""),
        ("a profile without a key of the client", nobody, b"", b""),
    ] {
        let mut wrong = EvilHandshake::new(&credentials, true, app_id, route, 1).unwrap();
        let message = wrong.message(&hello()).unwrap();
        victim.assert_nothing(&right.envelope(true, &[], &init(&message)), what);
    }
    let message = right.message(&hello()).unwrap();
    assert_eq!(victim.hear(&right.envelope(true, &[], &init(&message))).len(), 1);
}

/// Flags and versions that we do not know are no reason to refuse, and they are in the transcript: changed on the way,
/// nothing opens.
#[test]
fn what_a_later_version_says_of_itself_is_borne_and_bound_to_the_session() {
    let server = key(1);
    let mut victim = Victim::new(Credentials::server(&server), &Config::default());
    let mut later = hello();
    (later[3], later[4]) = (2, 0xff);
    let (mut evil, datagram) = evil_init(&Credentials::client(server.public_key()), &later, 1);
    let answers = victim.hear(&datagram);
    let answer = evil.body(false, 0, &answers[0]).unwrap();
    let said = evil.read(noise_of(&answer)).unwrap();
    assert_eq!((said[2], said[3]), (1, 1), "one version, whatever the other side offers");
    let session = evil.session().unwrap();
    victim.hear(&session.packet(&[], 0, 0, &CONFIRM));
    assert!(victim.endpoint.is_connected());
}
