//! Every profile, every lost flight, every kind of mismatch.

use std::time::Duration;

use super::{ALL, Chance, Link, SYMMETRIC, World, credentials, key, ms, public};
use crate::{
    config::Config,
    crypto::{Invite, Psk},
    error::{CloseReason, ConnectError, Hint},
    event::Event,
    sealed::{Credentials, Sealed, Trust},
};

#[test]
fn every_profile_shakes_hands() {
    for profile in ALL {
        let mut world = World::pair(profile, 1);
        world.connect(0);
        world.settle();
        assert!(world.now - world.sent[0].0 <= ms(100), "{profile} took longer than two round trips");
        let named = !matches!(profile, "invite" | "client");
        assert_eq!(world.peers[1].peer_key(), named.then(|| public(10)), "{profile}");
        let server_named = profile != "invite";
        assert_eq!(world.peers[0].peer_key(), server_named.then(|| public(11)), "{profile}");
        let hash = world.peers[0].handshake_hash();
        for peer in [0, 1] {
            let expected = Event::Connected { peer: world.peers[peer].peer_key(), handshake_hash: hash };
            assert_eq!(world.events[peer], [expected], "{profile}");
        }
    }
}

#[test]
fn a_lost_flight_is_repeated() {
    for profile in ALL {
        // The first datagrams of the dialling side are INIT, then FIN and CONFIRM or CONFIRM; of the other side RESP,
        // then the first packet.
        for (peer, nth) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)] {
            let mut world = World::pair(profile, 7);
            let mut lost = false;
            world.link[peer].loss = if nth == 0 { 1_000 } else { 0 };
            world.connect(0);
            let until = world.now + Duration::from_secs(5);
            while !world.agreed() && world.step(until) {
                let count = world.sent.iter().filter(|(_, from, _)| *from == peer).count();
                lost |= count > nth;
                world.link[peer].loss = if count == nth { 1_000 } else { 0 };
            }
            assert!(world.agreed(), "{profile}: {nth} of {peer} lost");
            assert!(lost || nth == 2, "{profile}: {nth} of {peer} was never sent");
            assert_eq!((world.sessions(0), world.sessions(1)), (1, 1), "{profile}: {nth} of {peer} lost");
        }
    }
}

#[test]
fn messages_are_resent_in_fresh_envelopes_with_back_off() {
    let mut world = World::pair("paired", 3);
    world.to[0] = None;
    world.connect(0);
    world.run(Duration::from_secs(11));
    let times: Vec<_> = world.sent.iter().map(|(at, ..)| (*at - world.sent[0].0).as_millis()).collect();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, expected) in waits.iter().zip([250, 500, 1_000, 2_000, 4_000]) {
        assert!((expected * 3 / 4..=expected * 5 / 4).contains(wait), "{waits:?}");
    }
    assert!(waits.len() >= 4);
    for pair in world.sent.windows(2) {
        assert_ne!(pair[0].2[..24], pair[1].2[..24]);
        assert_eq!(pair[0].2.len(), 1_200);
    }
}

#[test]
fn a_dial_without_answer_takes_fresh_keys_and_then_gives_up() {
    let mut world = World::pair("paired", 3);
    world.to[0] = None;
    world.connect(0);
    let first = *world.peers[0].dial.as_ref().unwrap().ephemeral().unwrap();
    world.run(Duration::from_secs(13));
    let second = *world.peers[0].dial.as_ref().unwrap().ephemeral().unwrap();
    assert_ne!(first, second);
    world.run(Duration::from_secs(16));
    assert_eq!(world.events[0], []);
    world.run(Duration::from_secs(2));
    let reason = CloseReason::HandshakeTimeout(None);
    assert_eq!(world.events[0], [Event::Closed { reason, undelivered: vec![] }]);
    assert_eq!(world.peers[0].closed(), Some(reason));
    assert_eq!(world.peers[0].deadline(), None);
    // And can be told to try again.
    world.to[0] = Some(1);
    world.connect(0);
    assert_eq!(world.peers[0].closed(), None);
    world.settle();
}

/// Every wrong secret looks the same: silence.
fn assert_silent(name: &str, dials: (Credentials, Config), answers: (Credentials, Config), may_answer: bool) {
    let mut world = World::new(9, vec![dials, answers]);
    world.connect(0);
    world.run(Duration::from_secs(40));
    let reason = CloseReason::HandshakeTimeout(None);
    assert_eq!(world.events[0], [Event::Closed { reason, undelivered: vec![] }], "{name}");
    assert_eq!(world.events[1], [], "{name}");
    assert!(!world.peers[1].is_connected(), "{name}");
    if !may_answer {
        assert!(world.sent.iter().all(|(_, from, _)| *from == 0), "{name}: a byte was answered");
    }
}

#[test]
fn a_mismatch_of_any_kind_is_a_timeout_and_no_byte_is_answered() {
    let config = Config::default;
    let right = |profile: &str| (credentials(profile, 0), config());
    let (psk, invite) = (Psk::from_bytes([1; 32]), Invite::from_bytes([2; 32]));
    let peer = public(10);
    // Wrong keys.
    assert_silent(
        "own key",
        right("paired"),
        (Credentials::paired(&key(99), peer).unwrap(), config()),
        false,
    );
    let wrong = Credentials::paired(&key(11), public(98)).unwrap();
    assert_silent("peer key", right("paired"), (wrong, config()), false);
    assert_silent("invite", right("invite"), (Credentials::invite(&invite), config()), false);
    let wrong = Credentials::invite_tofu(&key(11), &invite, Trust::Anyone);
    assert_silent("invite_tofu", right("invite_tofu"), (wrong, config()), false);
    assert_silent("server key", right("client"), (Credentials::server(&key(97)), config()), false);
    let wrong = Credentials::server_auth(&key(97), Trust::Anyone);
    assert_silent("server_auth key", right("client_auth"), (wrong, config()), false);
    let wrong = Credentials::server_auth(&key(11), Trust::Only(vec![public(50)]));
    assert_silent("unwelcome client", right("client_auth"), (wrong, config()), false);
    let wrong = Credentials::tofu(&key(11), Trust::Anyone).with_network_key(&psk);
    assert_silent("network key", right("tofu"), (wrong, config()), false);
    // The second message of these patterns is the first that the psk protects.
    let wrong = Credentials::paired_psk(&key(11), peer, &psk).unwrap();
    assert_silent("psk", right("paired_psk"), (wrong, config()), true);
    let wrong = Credentials::server_auth_psk(&key(11), &psk, Trust::Anyone);
    assert_silent("psk of client_auth_psk", right("client_auth_psk"), (wrong, config()), true);
    // XX shows the responder's key to every prober, and no more.
    let wrong = Credentials::tofu(&key(97), Trust::Anyone);
    assert_silent("untrusted responder", right("tofu"), (wrong, config()), true);
    let wrong = Credentials::tofu(&key(11), Trust::Only(vec![]));
    assert_silent("untrusted initiator", right("tofu"), (wrong, config()), true);
    // Other profile, other app.
    for (a, b) in [("paired", "paired_psk"), ("invite", "invite_tofu"), ("client", "client_auth")] {
        assert_silent("profile", right(a), (credentials(b, 1), config()), false);
    }
    for profile in ALL {
        let other = Config { app_id: b"other".to_vec(), ..config() };
        assert_silent("app id", right(profile), (credentials(profile, 1), other), false);
    }
}

#[test]
fn limits_become_the_smaller_of_both() {
    let small = Config {
        max_datagram_bytes: 1_300,
        idle_timeout: Duration::from_secs(10),
        max_fragments: 7,
        max_message_bytes: 99_000,
        ..Config::default()
    };
    let mut world =
        World::new(5, vec![(credentials("tofu", 0), small), (credentials("tofu", 1), Config::default())]);
    world.connect(0);
    world.settle();
    for peer in &world.peers {
        let agreed = &peer.live.as_ref().unwrap().negotiated;
        assert_eq!(agreed.max_datagram, 1_300);
        assert_eq!(agreed.idle_timeout, Duration::from_secs(10));
        assert_eq!((agreed.max_fragments, agreed.max_message), (7, 99_000));
    }
}

#[test]
fn a_peer_with_datagrams_too_small_for_our_handshake_gets_no_answer() {
    let small = Config { max_datagram_bytes: 600, handshake_bytes: 600, ..Config::default() };
    assert_silent(
        "small",
        (credentials("paired", 0), small),
        (credentials("paired", 1), Config::default()),
        false,
    );
}

#[test]
fn who_only_answers_cannot_dial() {
    let mut world = World::pair("client", 1);
    let now = world.now;
    let refused = world.peers[1].connect(now, &mut Chance(1));
    assert_eq!(refused, Err(ConnectError::RoleIsFixed));
    assert_eq!(world.peers[1].deadline(), None);
}

#[test]
fn our_own_key_is_no_peer() {
    assert!(Credentials::paired(&key(1), public(1)).is_err());
    let low = crate::crypto::PublicKey::from_bytes({
        let mut one = [0; 32];
        one[0] = 1;
        one
    });
    assert!(Credentials::paired(&key(1), low.unwrap()).is_err());
}

#[test]
fn a_server_key_that_agrees_on_nothing_times_out() {
    let mut one = [0; 32];
    one[0] = 1;
    let low = crate::crypto::PublicKey::from_bytes(one).unwrap();
    assert_silent(
        "low order",
        (Credentials::client(low), Config::default()),
        (credentials("client", 1), Config::default()),
        false,
    );
}

#[test]
fn a_configuration_out_of_range_names_the_field() {
    let config = Config { half_open: 17, ..Config::default() };
    let error = Sealed::new(credentials("paired", 0), config, super::start()).unwrap_err();
    assert_eq!(error.field, "half_open");
}

#[test]
fn a_plain_peer_is_hinted_at_after_the_timeout_only() {
    let mut world = World::pair("paired", 3);
    world.to[0] = None;
    world.connect(0);
    let mut datagram = vec![1; 60];
    crate::wire::plain::Checksum::new(b"").seal(5, 6, &mut datagram).unwrap();
    let before = world.peers[0].digest();
    world.deliver(0, &datagram);
    assert_eq!(world.peers[0].digest(), before);
    world.run(Duration::from_secs(31));
    let reason = CloseReason::HandshakeTimeout(Some(Hint::PeerSeemsPlain));
    assert_eq!(world.events[0], [Event::Closed { reason, undelivered: vec![] }]);
}

#[test]
fn many_seeds_connect_over_a_bad_line() {
    for profile in ALL {
        for seed in 0..20 {
            let mut world = World::pair(profile, seed);
            let bad = Link { least: ms(0), most: ms(200), loss: 200, twice: 100 };
            world.link = vec![bad; 2];
            world.connect(0);
            let took = world.run_until(Duration::from_secs(31), World::agreed);
            assert!(took.is_some(), "{profile}, seed {seed}");
            world.run(Duration::from_secs(8));
            assert!(world.agreed(), "{profile}, seed {seed}: {:?}", world.events);
        }
    }
    assert_eq!(SYMMETRIC.len(), 5);
}

#[test]
fn messages_of_a_handshake_have_their_sizes() {
    for profile in ALL {
        let mut world = World::pair(profile, 2);
        world.connect(0);
        world.settle();
        assert_eq!(world.said(0, 0).len(), 1_200);
        assert_eq!(world.said(1, 0).len(), 1_200);
        if matches!(profile, "tofu" | "invite_tofu") {
            assert_eq!(world.said(0, 1).len(), 256);
        } else {
            assert!(world.said(0, 1).len() < 30);
        }
    }
}

#[test]
fn strangers_cannot_time_their_datagrams_so_that_a_confirmation_is_never_tried() {
    let mut lived = 0;
    for seed in 0..8 {
        let mut peers = vec![(credentials("client", 1), Config::default())];
        peers.extend((0..16).map(|_| (credentials("client", 0), Config::default())));
        let mut world = World::new(seed, peers);
        // The first client has its answer; its confirmations are held up on the way.
        world.connect(1);
        world.run(ms(30));
        world.to[1] = None;
        for stranger in 2..=16 {
            world.connect(stranger);
            world.run(ms(1));
        }
        world.run(ms(30));
        assert_eq!(world.peers[0].half_open.iter().count(), 16);
        // Between any two of them come so many others that a walk in turns would be back where it was: four times three
        // entries beside the newest, and the confirmation's own three, are all fifteen.
        let mut seen = world.sent.len();
        for _ in 0..100 {
            world.run(ms(50));
            let said: Vec<_> = world.sent[seen..]
                .iter()
                .filter(|(_, from, _)| *from == 1)
                .map(|sent| sent.2.clone())
                .collect();
            for datagram in said {
                (0..4).for_each(|_| world.deliver(0, &[9; 60]));
                world.deliver(0, &datagram);
            }
            seen = world.sent.len();
        }
        lived += u32::from(world.peers[0].is_connected());
    }
    assert!(lived >= 6, "{lived} of 8");
}
