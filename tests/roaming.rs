//! Players of a sealed server whose addresses change, and strangers who want them to seem to.

mod common;
#[path = "common/server.rs"]
mod host;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use host::{Scene, home, port};
use sealgram::{
    Config, Event, Guarantee, SealedEndpoint, ServerConfig, Unconnected,
    sim::{Jitter, Link, Nat, Verdict},
};

const MS: Duration = Duration::from_millis(1);

fn link() -> Link {
    let mut link = Link::default();
    link.delay = 25 * MS;
    link
}

fn attacker() -> SocketAddr {
    ([6, 6, 6, 6], 666).into()
}

/// Where from and where to the paths of sessions have changed.
fn moves(scene: &Scene) -> Vec<(SocketAddr, SocketAddr)> {
    let moved = |event: &Event| match *event {
        Event::PathChanged { from, to } => Some((from, to)),
        _ => None,
    };
    scene.host.events.iter().filter_map(|(_, event)| moved(event)).collect()
}

/// Number `number` goes to the server and back every 50 ms.
fn talk(scene: &mut Scene, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for player in &mut scene.players {
            player.endpoint.send_payload(Guarantee::Delivery, &number.to_le_bytes()).unwrap();
        }
        scene.run(50 * MS);
    }
}

/// One player, whose first twenty numbers came back.
fn playing(seed: u64) -> Scene {
    let mut scene = Scene::new(seed, link(), &ServerConfig::default());
    scene.host.echoes = true;
    scene.join(&Config::default());
    scene.all_join();
    talk(&mut scene, 0..20);
    scene
}

/// One player, who is in and behind a NAT.
fn behind_nat(seed: u64, link: Link) -> Scene {
    let mut scene = Scene::new(seed, link, &ServerConfig::default());
    scene.host.echoes = true;
    scene.net.set_nat(home(0), Nat::port_restricted([198, 51, 100, 1].into()));
    scene.join(&Config::default());
    scene.all_join();
    scene
}

fn heard(scene: &Scene, player: usize) -> Vec<u32> {
    let heard = scene.players[player].heard.iter();
    heard.map(|(_, bytes)| u32::from_le_bytes(bytes.as_slice().try_into().unwrap())).collect()
}

fn rebindings(seed: u64, link: Link) {
    let mut scene = behind_nat(seed, link);
    let mut places = Vec::new();
    for round in 0..20 {
        places.push(scene.net.seen_as(home(0), port()).unwrap());
        scene.net.rebind(home(0));
        talk(&mut scene, round * 40..round * 40 + 40);
    }
    places.push(scene.net.seen_as(home(0), port()).unwrap());
    scene.run(Duration::from_secs(3));
    let expected: Vec<_> = places.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(moves(&scene), expected, "one event for each");
    assert_eq!(scene.host.counts(), (1, 0), "one session all along");
    assert_eq!(heard(&scene, 0), (0..800).collect::<Vec<_>>(), "all of it, once, in order");
    assert_eq!(scene.players[0].endpoint.handshake_hash(), {
        let id = scene.host.server.peers().next().unwrap();
        scene.host.server.peer(id).unwrap().handshake_hash()
    });
}

#[test]
fn twenty_new_bindings_of_a_nat_cost_no_session_and_no_message() {
    rebindings(1, link());
}

#[test]
fn twenty_new_bindings_over_a_bad_network_cost_no_session_and_no_message() {
    for seed in 2..6 {
        let mut bad = link();
        (bad.loss, bad.duplicate, bad.jitter) = (0.1, 0.05, Jitter::Uniform(20 * MS));
        rebindings(seed, bad);
    }
}

#[test]
fn a_path_is_changed_within_two_round_trips_and_at_once_if_both_ends_talk() {
    let mut scene = behind_nat(7, link());
    talk(&mut scene, 0..40);
    scene.net.rebind(home(0));
    scene.players[0].endpoint.send_payload(Guarantee::Delivery, &40_u32.to_le_bytes()).unwrap();
    let begin = scene.net.elapsed();
    let moved = |scene: &mut Scene| !moves(scene).is_empty();
    assert!(scene.run_until(Duration::from_secs(1), moved));
    // One way with news, one round trip for the proof.
    assert!(scene.net.elapsed() - begin <= 76 * MS, "{:?}", scene.net.elapsed() - begin);
    let echoed = |scene: &mut Scene| scene.players[0].heard.len() == 41;
    assert!(scene.run_until(Duration::from_secs(1), echoed));
    println!("path after the change: echo {:?} after the rebinding", scene.net.elapsed() - begin);
    assert!(scene.net.elapsed() - begin <= 250 * MS, "{:?}", scene.net.elapsed() - begin);
}

#[test]
fn a_player_who_moves_to_a_far_slower_network_is_followed() {
    for one_way in [75, 150, 300, 700] {
        let mut near = link();
        near.delay = 5 * MS;
        let mut scene = behind_nat(20, near);
        talk(&mut scene, 0..40);
        scene.net.rebind(home(0));
        let mut far = link();
        far.delay = one_way * MS;
        scene.net.set_links(home(0), port(), far);
        talk(&mut scene, 40..100);
        scene.run(Duration::from_secs(20));
        assert_eq!(moves(&scene).len(), 1, "{one_way} ms");
        assert_eq!(scene.host.counts(), (1, 0), "{one_way} ms");
        assert_eq!(heard(&scene, 0), (0..100).collect::<Vec<_>>(), "{one_way} ms");
    }
}

#[test]
fn a_client_that_replaces_its_socket_keeps_its_session_and_shows_another_id() {
    let mut config = ServerConfig::default();
    config.route = b"fleet".to_vec();
    let mut scene = Scene::new(8, link(), &config);
    scene.host.echoes = true;
    let credentials = scene.credentials(0).with_route(b"fleet").unwrap();
    scene.join_with(credentials, &Config::default());
    scene.all_join();
    talk(&mut scene, 0..40);
    scene.net.record(true);
    let mut places = vec![home(0)];
    for round in 1..6 {
        let place: SocketAddr = ([172, 31, 0, round], 9_000).into();
        let socket = scene.net.socket(place).connect(port());
        drop(scene.players[0].endpoint.replace_socket(socket).unwrap());
        places.push(place);
        talk(&mut scene, u32::from(round) * 40..u32::from(round) * 40 + 40);
    }
    scene.run(Duration::from_secs(1));
    let expected: Vec<_> = places.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(moves(&scene), expected);
    assert_eq!(heard(&scene, 0), (0..240).collect::<Vec<_>>());
    assert_eq!(scene.host.counts(), (1, 0));
    // No id is seen from two addresses.
    let mut owners: BTreeMap<Vec<u8>, SocketAddr> = BTreeMap::new();
    for datagram in scene.net.captured().iter().filter(|datagram| datagram.to == port()) {
        let owner = owners.entry(datagram.bytes[5..13].to_vec()).or_insert(datagram.from);
        assert_eq!(*owner, datagram.from, "an id links two addresses");
    }
    assert_eq!(owners.len(), 5);
}

#[test]
fn a_thousand_players_behind_one_proxy_stay_when_it_restarts() {
    const PLAYERS: usize = 1_000;
    let mut config = ServerConfig::default();
    config.flood.proxies = vec![[198, 51, 100, 9].into()];
    let mut scene = Scene::new(9, link(), &config);
    let tick = |scene: &mut Scene, limit: u32, done: &dyn Fn(&Scene) -> bool| {
        for _ in 0..limit {
            if done(scene) {
                return true;
            }
            scene.host.step();
            for player in &mut scene.players {
                player.step();
            }
            scene.net.advance(10 * MS);
        }
        done(scene)
    };
    for index in 0..PLAYERS {
        scene.net.set_nat(home(index), Nat::port_restricted([198, 51, 100, 9].into()));
        scene.join(&Config::default());
        tick(&mut scene, u32::from(index % 20 == 0), &|_| false);
    }
    let all = |scene: &Scene| scene.players.iter().all(|player| player.endpoint.is_connected());
    assert!(tick(&mut scene, 3_000, &all), "not all are in");
    (0..PLAYERS).for_each(|index| scene.net.rebind(home(index)));
    for player in &mut scene.players {
        player.endpoint.send_payload(Guarantee::Delivery, b"still here").unwrap();
    }
    let moved = |scene: &Scene| moves(scene).len() == PLAYERS && scene.host.heard.len() == PLAYERS;
    assert!(tick(&mut scene, 300, &moved), "{} moved", moves(&scene).len());
    assert_eq!(scene.host.server.broadcast(Guarantee::Delivery, b"welcome back"), PLAYERS);
    let told = |scene: &Scene| scene.players.iter().all(|player| player.heard.len() == 1);
    assert!(tick(&mut scene, 300, &told));
    assert_eq!(scene.host.counts(), (PLAYERS, 0));
}

/// Bytes to and from addresses other than the player's own.
#[derive(Default)]
struct Ledger {
    balance: BTreeMap<SocketAddr, i64>,
    sent: usize,
    largest: usize,
}

/// Copies datagrams of player 0 to the server and is faster than the original; the n-th from `address(n)`, if at all.
fn copy(scene: &Scene, address: impl Fn(u32) -> Option<SocketAddr> + Send + 'static) -> Arc<Mutex<Ledger>> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (net, notes) = (scene.net.clone(), Arc::clone(&ledger));
    let mut count = 0;
    scene.net.tap(move |datagram| {
        let mut notes = notes.lock().unwrap();
        let len = i64::try_from(datagram.bytes.len()).unwrap();
        if datagram.from == home(0) {
            count += 1;
            if let Some(from) = address(count) {
                *notes.balance.entry(from).or_default() += len;
                net.inject(from, port(), &datagram.bytes);
            }
        } else if datagram.from == port() && datagram.to != home(0) {
            let balance = notes.balance.entry(datagram.to).or_default();
            *balance -= len;
            assert!(*balance >= 0, "more went to {} than came from there", datagram.to);
            notes.sent += 1;
            notes.largest = notes.largest.max(datagram.bytes.len());
        }
        Verdict::Pass
    });
    ledger
}

#[test]
fn a_copy_that_overtakes_its_original_redirects_nothing() {
    for copies_one_in in [1, 3] {
        let mut scene = playing(10);
        let ledger = copy(&scene, move |count| (count % copies_one_in == 0).then(attacker));
        talk(&mut scene, 20..420);
        scene.run(Duration::from_secs(1));
        assert_eq!(moves(&scene), []);
        assert_eq!(heard(&scene, 0), (0..420).collect::<Vec<_>>());
        let ledger = ledger.lock().unwrap();
        assert_eq!(ledger.largest, 29, "a challenge and nothing else");
        // Who does not overtake every answer too sees one challenge a second, rarely a repetition.
        assert!(ledger.sent >= 1 && (copies_one_in == 1 || ledger.sent <= 40), "{}", ledger.sent);
    }
}

#[test]
fn nobody_gets_more_bytes_than_came_from_his_address_however_many_addresses_a_copier_names() {
    let mut scene = playing(11);
    let ledger = copy(&scene, |count| Some(([6, 6, 6, 6], 1_000 + u16::try_from(count % 7).unwrap()).into()));
    // The old address does not answer: the server hears the player, but he does not hear the server.
    scene.net.block(port(), home(0));
    for number in 20..100_u32 {
        scene.players[0].endpoint.send_payload(Guarantee::Delivery, &number.to_le_bytes()).unwrap();
        scene.run(50 * MS);
    }
    scene.net.unblock(port(), home(0));
    scene.run(Duration::from_secs(5));
    assert_eq!(moves(&scene), []);
    assert_eq!(heard(&scene, 0), (0..100).collect::<Vec<_>>());
    assert!(ledger.lock().unwrap().sent > 10);
}

#[test]
fn an_answer_from_another_address_than_the_one_that_was_asked_proves_nothing() {
    let mut scene = playing(12);
    // The player answers the challenge that was meant for the attacker, by its own path; only the first copy is made, so
    // that no answer can come by way of the attacker.
    let (net, mut copied) = (scene.net.clone(), None);
    scene.net.tap(move |datagram| {
        if datagram.from == home(0) && copied.is_none() {
            copied = Some(datagram.at);
            net.inject(attacker(), port(), &datagram.bytes);
        } else if datagram.to == attacker() {
            net.inject(port(), home(0), &datagram.bytes);
        } else if datagram.to == home(0)
            && datagram.bytes.len() == 29
            && copied.is_some_and(|at| datagram.at < at + 500 * MS)
        {
            // Nor does the own path answer first.
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    talk(&mut scene, 20..60);
    scene.run(Duration::from_secs(1));
    assert_eq!(moves(&scene), []);
    assert_eq!(heard(&scene, 0), (0..60).collect::<Vec<_>>());
}

#[test]
fn ids_that_are_wrong_or_retired_or_of_another_session_are_dropped() {
    let mut scene = Scene::new(13, link(), &ServerConfig::default());
    scene.host.echoes = true;
    scene.join(&Config::default());
    scene.join(&Config::default());
    scene.all_join();
    talk(&mut scene, 0..20);
    scene.net.record(true);
    talk(&mut scene, 20..22);
    let sent = scene.net.captured();
    let of = |index| sent.iter().find(|each| each.from == home(index)).unwrap().bytes.clone();
    let (mut one, two) = (of(0), of(1));
    let dropped = |scene: &Scene| {
        let stats = scene.host.server.stats();
        (stats.drops.total(), stats.messages_yielded.total())
    };
    let before = dropped(&scene);
    // Of another session, and of none.
    one[..8].copy_from_slice(&two[..8]);
    scene.net.inject(attacker(), port(), &one);
    one[..8].copy_from_slice(&[0x55; 8]);
    scene.net.inject(attacker(), port(), &one);
    scene.host.step();
    assert_eq!(dropped(&scene), (before.0 + 2, before.1));
    // Retired: the player moved, and after a while the old id names nobody.
    let old = of(0);
    let socket = scene.net.socket(([172, 31, 0, 1], 9_000).into()).connect(port());
    drop(scene.players[0].endpoint.replace_socket(socket).unwrap());
    talk(&mut scene, 22..92);
    let (before, others) = (dropped(&scene), scene.host.server.len());
    scene.net.inject(home(0), port(), &old);
    scene.host.step();
    assert_eq!(dropped(&scene), (before.0 + 1, before.1));
    assert_eq!((scene.host.server.len(), others), (2, 2));
    assert_eq!(moves(&scene), [(home(0), ([172, 31, 0, 1], 9_000).into())]);
}

#[test]
fn a_session_whose_answers_went_to_two_addresses_must_prove_where_it_is_before_it_gets_anything() {
    let mut scene = Scene::new(14, link(), &ServerConfig::default());
    scene.host.echoes = true;
    let ledger = Arc::new(Mutex::new((0_i64, Vec::new())));
    let (net, notes) = (scene.net.clone(), Arc::clone(&ledger));
    let mut first = true;
    scene.net.tap(move |datagram| {
        let mut notes = notes.lock().unwrap();
        let len = i64::try_from(datagram.bytes.len()).unwrap();
        if datagram.from == home(0) {
            notes.0 += len;
            if std::mem::replace(&mut first, false) {
                net.inject(attacker(), port(), &datagram.bytes);
            }
        } else if datagram.to == home(0) {
            notes.0 -= len;
            assert!(notes.0 >= 0);
            notes.1.push(datagram.bytes.len());
        }
        Verdict::Pass
    });
    scene.join(&Config::default());
    scene.all_join();
    assert_eq!(ledger.lock().unwrap().1[1..], [29], "RESP, then a challenge");
    talk(&mut scene, 0..20);
    scene.run(Duration::from_secs(1));
    assert_eq!(heard(&scene, 0), (0..20).collect::<Vec<_>>());
    assert_eq!(moves(&scene), []);
}

#[test]
fn a_client_does_not_follow_its_server_wherever_copies_come_from() {
    let mut scene = Scene::new(15, link(), &ServerConfig::default());
    scene.host.echoes = true;
    let socket = Unconnected::new(scene.net.socket(home(0)));
    let environment = common::environment(&scene.net, home(0));
    let credentials = scene.credentials(0);
    let endpoint = SealedEndpoint::with_environment(socket, credentials, Config::default(), environment);
    let mut client = common::End::new(endpoint.unwrap());
    client.endpoint.set_addresses(&[port()]).unwrap();
    client.endpoint.connect().unwrap();
    let (net, mut copied) = (scene.net.clone(), 0);
    scene.net.tap(move |datagram| {
        assert_ne!(datagram.to, attacker());
        if datagram.from == port() {
            copied += 1;
            if copied > 10 && copied % 3 == 0 {
                net.inject(attacker(), home(0), &datagram.bytes);
            }
        }
        Verdict::Pass
    });
    for number in 0..200_u32 {
        client.endpoint.send_payload(Guarantee::Delivery, &number.to_le_bytes()).unwrap();
        for _ in 0..10 {
            scene.host.step();
            client.step();
            scene.net.advance(5 * MS);
        }
    }
    assert_eq!(client.endpoint.path(), Some(port()));
    assert!(client.heard.len() > 190, "{}", client.heard.len());
    assert!(!client.events.iter().any(|event| matches!(event, Event::PathChanged { .. })));
}

#[test]
fn a_flood_under_the_id_that_a_player_has_left_does_not_keep_him_from_moving() {
    let mut scene = playing(40);
    scene.net.record(true);
    talk(&mut scene, 20..21);
    let seen = scene.net.captured().into_iter().rfind(|each| each.from == home(0)).unwrap();
    scene.net.record(false);
    let mut garbage = seen.bytes.to_vec();
    garbage[8..].fill(0x55);
    // Twenty times what strangers may cost, evenly, before and while he moves.
    let flood = |scene: &mut Scene, milliseconds: u32| {
        for _ in 0..20 * milliseconds {
            scene.net.inject(attacker(), port(), &garbage);
            scene.run(MS / 20);
        }
    };
    flood(&mut scene, 200);
    // What comes back to a bucket comes with the flood's own beat: he has another.
    scene.run(MS * 3 / 10);
    let place: SocketAddr = ([172, 31, 0, 1], 9_000).into();
    let socket = scene.net.socket(place).connect(port());
    drop(scene.players[0].endpoint.replace_socket(socket).unwrap());
    scene.players[0].endpoint.send_payload(Guarantee::Delivery, &21_u32.to_le_bytes()).unwrap();
    flood(&mut scene, 200);
    assert_eq!(moves(&scene), [(home(0), place)]);
    assert_eq!(heard(&scene, 0), (0..22).collect::<Vec<_>>());
    assert!(scene.host.server.stats().drops.unopened > 7_000);
}
