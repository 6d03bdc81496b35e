//! A plain server with its players, whole endpoints on both sides, in a simulated network. What it shares with a sealed
//! one is in `both_servers.rs`.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::Duration;

use host::{PlainScene, home, port};
use sealgram::{
    CloseReason, Config, Event, Guarantee, PlainListener, Server, ServerConfig, StartError,
    sim::{Jitter, Link, Net},
};

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(25);
    link
}

#[test]
fn players_join_and_get_their_own_echoes() {
    let mut scene = PlainScene::plain(1, link(), &ServerConfig::default());
    scene.host.echoes = true;
    for index in 0..20 {
        scene.dial(&Config::default());
        let text = format!("player {index}");
        scene.players[index].endpoint.send_payload(Guarantee::Delivery, text.as_bytes()).unwrap();
    }
    scene.all_join();
    let all = |scene: &mut PlainScene| scene.players.iter().all(|player| !player.heard.is_empty());
    assert!(scene.run_until(Duration::from_secs(2), all));
    for (index, player) in scene.players.iter().enumerate() {
        assert_eq!(player.heard, [(Guarantee::Delivery, format!("player {index}").into_bytes())]);
        assert_eq!(player.events, [Event::Connected { peer: None, handshake_hash: None }]);
    }
    assert_eq!(scene.host.counts(), (20, 0));
    let join = scene.host.events.iter().find(|(_, event)| matches!(event, Event::Join { .. })).unwrap();
    let Event::Join { key: None, ticket, .. } = &join.1 else { panic!("{join:?}") };
    assert!(ticket.is_empty());
    let ids: Vec<_> = scene.host.by_peer().into_keys().collect();
    for id in ids {
        let peer = scene.host.server.peer(id).unwrap();
        assert_eq!((peer.key(), peer.handshake_hash()), (None, None));
        assert!(!peer.stats().sealed);
    }
}

#[test]
fn every_promise_is_kept_to_every_player_over_a_bad_network() {
    for seed in 0..10 {
        let mut bad = link();
        (bad.loss, bad.duplicate, bad.jitter) = (0.15, 0.1, Jitter::Uniform(Duration::from_millis(60)));
        let mut scene = PlainScene::plain(seed, bad, &ServerConfig::default());
        scene.host.echoes = true;
        for _ in 0..8 {
            scene.dial(&Config::default());
        }
        scene.all_join();
        for number in 0..60_u32 {
            for player in &mut scene.players {
                let guarantee = [Guarantee::Order, Guarantee::Delivery][number as usize % 2];
                player.endpoint.send_payload(guarantee, &number.to_le_bytes()).unwrap();
            }
            scene.run(Duration::from_millis(16));
        }
        scene.run(Duration::from_secs(8));
        for player in &scene.players {
            let numbers = |guarantee| -> Vec<u32> {
                let heard = player.heard_as(guarantee);
                heard.iter().map(|bytes| u32::from_le_bytes((*bytes).try_into().unwrap())).collect()
            };
            assert_eq!(numbers(Guarantee::Delivery), (1..60).step_by(2).collect::<Vec<_>>(), "seed {seed}");
            assert!(numbers(Guarantee::Order).is_sorted_by(|a, b| a < b));
            assert_eq!(player.events.len(), 1, "seed {seed}: {:?}", player.events);
        }
        assert_eq!(scene.host.counts(), (8, 0), "one session each, whatever came twice or late, seed {seed}");
    }
}

#[test]
fn a_restarted_server_is_noticed_and_joined_again() {
    let mut scene = PlainScene::plain(11, link(), &ServerConfig::default());
    scene.dial(&Config::default());
    scene.all_join();
    scene.run(Duration::from_secs(1));
    scene.host = PlainScene::plain_host(&scene.net, &ServerConfig::default());
    let lost = scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"into the void").unwrap();
    let again = |scene: &mut PlainScene| scene.host.counts() == (1, 0) && scene.players[0].events.len() == 2;
    assert!(scene.run_until(Duration::from_secs(8), again));
    let undelivered = vec![lost];
    let event = Event::PeerReconnected { handshake_hash: None, undelivered };
    assert_eq!(scene.players[0].events.last(), Some(&event));
    scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"here again").unwrap();
    assert!(scene.run_until(Duration::from_secs(1), |scene| !scene.host.heard.is_empty()));
    assert_eq!(scene.host.heard[0].2, b"here again");
}

#[test]
fn what_an_ended_session_sent_does_nothing_and_is_not_answered_with_more_than_it_costs() {
    let mut scene = PlainScene::plain(12, link(), &ServerConfig::default());
    scene.net.record(true);
    scene.dial(&Config::default());
    scene.all_join();
    scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"once").unwrap();
    scene.run(Duration::from_secs(1));
    scene.players[0].endpoint.close(0, b"");
    scene.run(Duration::from_secs(1));
    let old: Vec<_> = scene.net.captured().into_iter().filter(|each| each.from == home(0)).collect();
    assert!(old.len() > 4);
    let heard = scene.host.heard.len();
    let events = scene.host.events.len();
    for from in [home(0), home(7)] {
        for datagram in &old {
            scene.net.inject(from, port(), &datagram.bytes);
            scene.run(Duration::from_millis(5));
        }
        scene.run(Duration::from_secs(6));
    }
    assert_eq!((scene.host.heard.len(), scene.host.events.len()), (heard, events));
    assert_eq!(scene.host.server.len(), 0);
}

#[test]
fn a_packet_from_another_address_is_not_the_players() {
    let mut scene = PlainScene::plain(13, link(), &ServerConfig::default());
    scene.dial(&Config::default());
    scene.all_join();
    scene.run(Duration::from_millis(200));
    scene.net.record(true);
    scene.net.block(home(0), port());
    scene.players[0].endpoint.send_payload(Guarantee::None, b"copied").unwrap();
    scene.run(Duration::from_millis(50));
    let copy = scene.net.captured().into_iter().find(|each| each.from == home(0)).unwrap();
    scene.net.inject(home(9), port(), &copy.bytes);
    scene.run(Duration::from_millis(200));
    assert!(scene.host.heard.is_empty());
    assert_eq!(scene.host.server.stats().drops.unopened, 1);
    let id = scene.host.server.peers().next().unwrap();
    assert_eq!(scene.host.server.address(id), Some(home(0)));
}

#[test]
fn sessions_have_a_bound_and_so_have_those_of_a_prefix() {
    let mut config = ServerConfig::default();
    config.flood.max_sessions = 4;
    let mut scene = PlainScene::plain(14, link(), &config);
    for _ in 0..6 {
        scene.dial(&Config::default());
    }
    scene.run(Duration::from_secs(2));
    assert_eq!(scene.host.server.len(), 4);
    let full = Some(CloseReason::ClosedByPeer { code: 0xfffc });
    assert_eq!(scene.players.iter().filter(|player| player.closed == full).count(), 2);

    let mut config = ServerConfig::default();
    config.flood.sessions_per_prefix = Some(1);
    let mut scene = PlainScene::plain(15, link(), &config);
    scene.dial(&Config::default());
    scene.all_join();
    let mut neighbour = home(0);
    neighbour.set_port(6_000);
    let mut end = common::plain_end(&scene.net, neighbour, port(), &Config::default());
    end.endpoint.connect().unwrap();
    scene.players.push(end);
    scene.dial(&Config::default());
    scene.run(Duration::from_secs(2));
    let closed: Vec<_> = scene.players.iter().map(|player| player.closed).collect();
    assert_eq!(closed, [None, full, None]);
    // A place is free again when its session has ended.
    scene.players[0].endpoint.close(0, b"");
    scene.run(Duration::from_secs(1));
    scene.players[1].endpoint.connect().unwrap();
    scene.run(Duration::from_secs(1));
    assert!(scene.players[1].endpoint.is_connected());
}

#[test]
fn a_plain_server_has_no_route_and_no_workers() {
    let mut config = ServerConfig::default();
    config.route = b"fleet".to_vec();
    let server = Server::plain(Net::seed(1).socket(port()), config);
    assert!(matches!(server, Err(StartError::Config(error)) if error.field == "route"));
    let mut config = ServerConfig::default();
    config.worker = Some(sealgram::Worker { index: 0, count: 2 });
    let server = Server::plain(Net::seed(1).socket(port()), config);
    assert!(matches!(server, Err(StartError::Config(error)) if error.field == "worker"));
}

#[allow(dead_code, reason = "says that both kinds are named in public")]
fn kinds(_: &Server<sealgram::HubSocket, PlainListener>) {}
