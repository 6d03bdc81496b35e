//! A server, its players, and one who is none, or one who is and breaks the rules. PROTOCOL.md, "Server", "Flood
//! defence", "Connection ids". Floods are in `tests/floods.rs`, hijacked paths in `tests/roaming.rs`.

#[path = "../common/server.rs"]
pub(crate) mod host;

use std::{net::SocketAddr, time::Duration};

use host::{Host, Scene, home, port};
use sealgram::fuzzing::{EvilHandshake, EvilSession, reference};
use sealgram::sim::{Link, Net};
use sealgram::{CloseReason, Config, Credentials, Event, FloodStats, Guarantee, ServerConfig};

use crate::bytes::{CONFIRM, COOKIE, FIN, HANDSHAKE_BYTES, INIT, body, delivery, hello, init, noise_of};
use crate::victim::evil_init;

pub(crate) fn raider(number: u8) -> SocketAddr {
    ([6, 6, number, 6], 666).into()
}

/// Lets a datagram arrive; what the server says to that address.
pub(crate) fn hand(net: &Net, host: &mut Host, from: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
    drop(net.captured());
    net.inject(from, port(), bytes);
    host.step();
    let said = net.captured().into_iter();
    said.filter(|each| each.from == port() && each.to == from).map(|each| each.bytes).collect()
}

/// What a server shows of itself, but drop counters and what it refused.
fn sight(host: &mut Host) -> (sealgram::Stats, usize, usize, usize, u64) {
    let mut stats = host.server.stats();
    stats.drops = sealgram::Drops::default();
    (stats.datagrams_received, stats.bytes_received) = (0, 0);
    let FloodStats { dh_operations, .. } = host.server.flood_stats();
    (stats, host.server.len(), host.events.len(), host.heard.len(), dh_operations)
}

fn assert_nothing(scene: &mut Scene, from: SocketAddr, bytes: &[u8], what: &str) {
    let before = sight(&mut scene.host);
    let net = scene.net.clone();
    assert_eq!(hand(&net, &mut scene.host, from, bytes), Vec::<Vec<u8>>::new(), "{what}: answered");
    assert_eq!(sight(&mut scene.host), before, "{what}");
}

fn scene(seed: u64, config: &ServerConfig) -> Scene {
    let scene = Scene::new(seed, Link::default(), config);
    scene.net.record(true);
    scene
}

/// Shows that every player who is in is still heard and answered.
fn assert_serves(scene: &mut Scene, what: &str) {
    scene.host.echoes = true;
    for player in &mut scene.players {
        player.heard.clear();
        player.endpoint.send_payload(Guarantee::Delivery, what.as_bytes()).unwrap();
    }
    let all = |scene: &mut Scene| scene.players.iter().all(|player| player.heard.len() == 1);
    assert!(scene.run_until(Duration::from_secs(3), all), "{what}");
}

/// A player with the keys of its session and no rules, and what stands before its packets.
pub(crate) fn evil_player(scene: &mut Scene, from: SocketAddr) -> (EvilSession, Vec<u8>) {
    let credentials = scene.credentials(900);
    let (mut evil, datagram) = evil_init(&credentials, &hello(), 77);
    let net = scene.net.clone();
    let answer = hand(&net, &mut scene.host, from, &datagram);
    let answer = evil.body(false, 0, &answer[0]).unwrap();
    let said = evil.read(noise_of(&answer)).unwrap();
    assert_eq!(said[24], 8, "a server names an id");
    let cid = said[25..].to_vec();
    let session = evil.session().unwrap();
    let confirm = session.packet(&cid, 0, 0, &CONFIRM);
    hand(&net, &mut scene.host, from, &confirm);
    scene.host.step();
    (session, cid)
}

#[test]
fn a_cookie_from_elsewhere_is_none_and_costs_nothing() {
    let mut config = ServerConfig::default();
    config.flood.require_cookie = true;
    let mut scene = scene(71, &config);
    let net = scene.net.clone();
    let client = scene.credentials(900);
    let (mut evil, datagram) = evil_init(&client, &hello(), 1);
    let noise = noise_of(&evil.body(true, 0, &datagram).unwrap()).to_vec();
    let ask = |evil: &EvilHandshake, said: &[Vec<u8>], noise: &[u8]| -> [u8; 16] {
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].len(), 128, "COOKIE and nothing else");
        let body = evil.body(false, 0, &said[0]).unwrap();
        assert_eq!((body[0], &body[18..34]), (COOKIE, &reference(noise)[..]));
        body[2..18].try_into().unwrap()
    };
    let said = hand(&net, &mut scene.host, raider(1), &datagram);
    let cookie = ask(&evil, &said, &noise);
    let with = |evil: &mut EvilHandshake, noise: &[u8], cookie| {
        evil.envelope(true, &[], &body(INIT, cookie, [0; 16], noise, HANDSHAKE_BYTES))
    };
    // Another message 1 of the same client, and another server with the same keys.
    let (other, datagram) = evil_init(&client, &hello(), 2);
    let other_noise = noise_of(&other.body(true, 0, &datagram).unwrap()).to_vec();
    let far = Net::seed(72);
    far.record(true);
    let [key, _] = crate::common::keys(71);
    let mut far_host = Scene::host(&far, key, &config);
    let said = hand(&far, &mut far_host, raider(1), &with(&mut evil, &noise, [0; 16]));
    let far_cookie = ask(&evil, &said, &noise);
    let mut changed = cookie;
    changed[15] ^= 1;
    let mut port_beside = raider(1);
    port_beside.set_port(667);
    for (what, from, noise, cookie) in [
        ("another address", raider(2), &noise, cookie),
        ("another port", port_beside, &noise, cookie),
        ("another message", raider(1), &other_noise, cookie),
        ("another server", raider(1), &noise, far_cookie),
        ("a bit", raider(1), &noise, changed),
    ] {
        let before = scene.host.server.flood_stats();
        let said = hand(&net, &mut scene.host, from, &with(&mut evil, noise, cookie));
        ask(&evil, &said, noise);
        let after = scene.host.server.flood_stats();
        assert_eq!((after.dh_operations, after.cookies_taken), (before.dh_operations, 0), "{what}");
    }
    // The right one; and it is over after a minute.
    let said = hand(&net, &mut scene.host, raider(1), &with(&mut evil, &noise, cookie));
    assert_eq!(said[0].len(), HANDSHAKE_BYTES, "RESP");
    let stats = scene.host.server.flood_stats();
    assert_eq!((stats.dh_operations, stats.cookies_taken), (5, 1));
    scene.run(Duration::from_secs(61));
    let said = hand(&net, &mut scene.host, raider(1), &with(&mut evil, &noise, cookie));
    ask(&evil, &said, &noise);
    assert_eq!(scene.host.server.flood_stats().dh_operations, 5, "after a minute");
    scene.join(&Config::default());
    scene.all_join();
    assert_serves(&mut scene, "after all those cookies");
}

#[test]
fn a_player_who_breaks_the_rules_ends_its_own_session_only() {
    let mut scene = scene(73, &ServerConfig::default());
    for _ in 0..2 {
        scene.join(&Config::default());
    }
    scene.all_join();
    let net = scene.net.clone();
    let (session, cid) = evil_player(&mut scene, raider(1));
    assert_eq!(scene.host.server.len(), 3);
    for number in 1..=8 {
        let packet = session.packet(&cid, 0, number, &[0x30]);
        hand(&net, &mut scene.host, raider(1), &packet);
    }
    let ended: Vec<_> = scene
        .host
        .events
        .iter()
        .filter_map(|(_, event)| if let Event::Closed { reason, .. } = event { Some(*reason) } else { None })
        .collect();
    assert_eq!(ended, [CloseReason::ProtocolViolation]);
    assert_eq!(scene.host.server.len(), 2);
    // Its id is nobody's now.
    assert_nothing(&mut scene, raider(1), &session.packet(&cid, 0, 9, &delivery(0, b"ghost")), "a ghost");
    assert_serves(&mut scene, "after the evil player");
}

#[test]
fn a_packet_under_another_players_id_or_none_is_dropped() {
    let mut scene = scene(74, &ServerConfig::default());
    scene.join(&Config::default());
    scene.all_join();
    drop(scene.net.captured());
    scene.players[0].endpoint.send_payload(Guarantee::None, b"x").unwrap();
    scene.players[0].endpoint.flush().unwrap();
    let honest = scene.net.captured().into_iter().find(|each| each.to == port()).unwrap().bytes;
    let victim_cid = honest[..8].to_vec();
    let (session, own) = evil_player(&mut scene, raider(1));
    let say = |prefix: &[u8], number| session.packet(prefix, 0, number, &delivery(0, b"splice"));
    // Sealed for the other's id; sealed for our own and sent under the other's; and for no id at all.
    let for_victim = say(&victim_cid, 1);
    let mut moved = say(&own, 2);
    moved[..8].copy_from_slice(&victim_cid);
    let bare = say(&[], 3);
    let mut stray = say(&[9; 8], 4);
    for from in [raider(1), home(0)] {
        assert_nothing(&mut scene, from, &for_victim, "under the victim's id");
        assert_nothing(&mut scene, from, &moved, "another id in front");
        assert_nothing(&mut scene, from, &bare, "without an id");
        assert_nothing(&mut scene, from, &stray, "an id of nobody's");
        stray[..8].copy_from_slice(&own);
        assert_nothing(&mut scene, from, &stray, "sealed for nobody, sent under our own");
    }
    // What the player said comes again from elsewhere, under the raider's id.
    let mut taken = honest.clone();
    taken[..8].copy_from_slice(&own);
    assert_nothing(&mut scene, raider(1), &taken, "the player's packet under the raider's id");
    let heard = scene.host.heard.len();
    let net = scene.net.clone();
    hand(&net, &mut scene.host, raider(1), &say(&own, 9));
    assert_eq!(scene.host.heard.len(), heard + 1, "the raider's own packet counts");
    scene.host.heard.clear();
    assert_serves(&mut scene, "after the splices");
}

#[test]
fn the_third_message_of_one_handshake_is_none_of_anothers() {
    let [key, client] = crate::common::keys(75);
    let trust = sealgram::Trust::Anyone;
    let net = Net::seed(75);
    net.record(true);
    let server = sealgram::SealedServer::with_environment(
        net.socket(port()),
        Credentials::tofu(&key, trust),
        ServerConfig::default(),
        crate::common::environment(&net, port()),
    )
    .unwrap();
    let mut host = Host { server, key, events: Vec::new(), heard: Vec::new(), admits: true, echoes: false };
    let mut begun: Vec<_> = [1, 2]
        .map(|seed| {
            let client = Credentials::tofu(&client, sealgram::Trust::Anyone);
            let (mut evil, datagram) = evil_init(&client, &[1, 1], seed);
            let answer = hand(&net, &mut host, raider(1), &datagram);
            let answer = evil.body(false, 0, &answer[0]).unwrap();
            let named = reference(noise_of(&answer));
            let cid = evil.read(noise_of(&answer)).unwrap()[25..].to_vec();
            let fin = evil.message(&hello()).unwrap();
            (evil, cid, named, fin)
        })
        .into();
    let [(first, first_cid, first_named, first_fin), (second, second_cid, second_named, second_fin)] =
        &mut begun[..]
    else {
        unreachable!()
    };
    let seal = |evil: &mut EvilHandshake, cid: &[u8], named: [u8; 16], noise: &[u8]| {
        evil.envelope(true, cid, &body(FIN, [0; 16], named, noise, 256))
    };
    for datagram in [
        seal(first, first_cid, *second_named, first_fin),
        seal(first, second_cid, *first_named, first_fin),
        seal(first, first_cid, *first_named, second_fin),
        seal(first, &[], *first_named, first_fin),
    ] {
        assert_eq!(hand(&net, &mut host, raider(1), &datagram), Vec::<Vec<u8>>::new());
    }
    let right = seal(second, second_cid, *second_named, second_fin);
    // Without a FIN of its own there is nothing that a first packet could confirm.
    let (first, first_cid, ..) = begun.remove(0);
    let session = first.session().unwrap();
    hand(&net, &mut host, raider(1), &session.packet(&first_cid, 0, 0, &CONFIRM));
    host.step();
    assert_eq!(host.events, [], "whose FIN never came has no session");
    hand(&net, &mut host, raider(1), &right);
    assert_eq!(host.events, [], "nobody asks before a packet has opened");
    let (second, second_cid, ..) = begun.remove(0);
    let session = second.session().unwrap();
    hand(&net, &mut host, raider(1), &session.packet(&second_cid, 0, 0, &CONFIRM));
    host.step();
    assert_eq!(host.counts(), (1, 0));
}

#[test]
fn all_that_a_server_ever_heard_makes_no_session_after_its_restart() {
    let config = ServerConfig::default();
    let mut scene = scene(76, &config);
    for _ in 0..3 {
        scene.join(&Config::default());
    }
    scene.all_join();
    assert_serves(&mut scene, "before the restart");
    let mut log = Vec::new();
    for player in &mut scene.players {
        player.endpoint.send_payload(Guarantee::Delivery, b"more").unwrap();
        player.endpoint.flush().unwrap();
        player.endpoint.close(3, b"bye");
    }
    log.extend(scene.net.captured().into_iter().filter(|each| each.to == port()));
    assert!(log.len() >= 12);
    let [key, _] = crate::common::keys(76);
    scene.host = Scene::host(&scene.net, key, &config);
    let net = scene.net.clone();
    let (mut came, mut went) = (0, 0);
    for datagram in log.iter().chain(&log) {
        came += datagram.bytes.len();
        went +=
            hand(&net, &mut scene.host, datagram.from, &datagram.bytes).iter().map(Vec::len).sum::<usize>();
        assert!(went <= came, "{went} bytes for {came}");
    }
    assert_eq!((scene.host.server.len(), &scene.host.events[..]), (0, &[][..]));
    assert_eq!(scene.host.heard, []);
    scene.players.clear();
    scene.join(&Config::default());
    scene.all_join();
    assert_serves(&mut scene, "after the restart");
}

/// INITs that open and are not what they should be: a server, unlike an endpoint, also has a route.
#[test]
fn what_is_sealed_for_another_route_or_too_short_is_not_answered() {
    let mut config = ServerConfig::default();
    config.route = b"here".to_vec();
    let mut scene = scene(78, &config);
    let client = scene.credentials(900);
    let mut evil = EvilHandshake::new(&client, true, b"", b"here", 1).unwrap();
    let noise = evil.message(&hello()).unwrap();
    for (what, clear) in [("no route", &b""[..]), ("another route", b"her3"), ("a longer route", b"here!")] {
        let datagram = evil.envelope(true, clear, &init(&noise));
        assert_nothing(&mut scene, raider(1), &datagram, what);
    }
    let mut moved = evil.envelope(true, b"her3", &init(&noise));
    moved[..4].copy_from_slice(b"here");
    assert_nothing(&mut scene, raider(1), &moved, "bound to another route");
    let short = evil.envelope(true, b"here", &body(INIT, [0; 16], [0; 16], &noise, HANDSHAKE_BYTES - 1));
    assert_nothing(&mut scene, raider(1), &short, "a byte too short");
    let net = scene.net.clone();
    let right = evil.envelope(true, b"here", &init(&noise));
    let said = hand(&net, &mut scene.host, raider(1), &right);
    assert_eq!(said.len(), 1);
    assert!(said[0].len() <= right.len());
}
