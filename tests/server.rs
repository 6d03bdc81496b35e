//! A sealed server with its players, whole endpoints on both sides, in a simulated network. What it shares with a plain
//! one is in `both_servers.rs`.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::Duration;

use host::{Scene, home, port};
use sealgram::{
    CloseReason, Config, Credentials, Event, Guarantee, SealedServer, ServerConfig, StartError,
    sim::{Jitter, Link},
};

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(25);
    link
}

#[test]
fn players_join_are_named_by_their_keys_and_get_their_own_echoes() {
    let mut scene = Scene::new(1, link(), &ServerConfig::default());
    scene.host.echoes = true;
    for index in 0..20 {
        scene.join(&Config::default());
        let text = format!("player {index}");
        scene.players[index].endpoint.send_payload(Guarantee::Delivery, text.as_bytes()).unwrap();
    }
    scene.all_join();
    let all = |scene: &mut Scene| scene.players.iter().all(|player| !player.heard.is_empty());
    assert!(scene.run_until(Duration::from_secs(2), all));
    for (index, player) in scene.players.iter().enumerate() {
        assert_eq!(player.heard, [(Guarantee::Delivery, format!("player {index}").into_bytes())]);
    }
    assert_eq!(scene.host.counts(), (20, 0));
    let ids: Vec<_> = scene.host.by_peer().into_keys().collect();
    for id in ids {
        let peer = scene.host.server.peer(id).unwrap();
        let at = peer.address().unwrap();
        let index = (0..20).find(|&index| home(index) == at).unwrap();
        let hash = peer.handshake_hash();
        assert_eq!(peer.key(), Some(common::keys(0x1000 + index as u64)[0].public_key()));
        assert_eq!(hash, scene.players[index].endpoint.handshake_hash());
    }
}

#[test]
fn every_promise_is_kept_to_every_player_over_a_bad_network() {
    let mut bad = link();
    (bad.loss, bad.duplicate, bad.jitter) = (0.1, 0.05, Jitter::Uniform(Duration::from_millis(20)));
    let mut scene = Scene::new(2, bad, &ServerConfig::default());
    scene.host.echoes = true;
    for _ in 0..8 {
        scene.join(&Config::default());
    }
    scene.all_join();
    for number in 0..200_u32 {
        for player in &mut scene.players {
            let guarantee = [Guarantee::None, Guarantee::Order, Guarantee::Delivery][number as usize % 3];
            player.endpoint.send_payload(guarantee, &number.to_le_bytes()).unwrap();
        }
        scene.run(Duration::from_millis(16));
    }
    scene.run(Duration::from_secs(5));
    for player in &scene.players {
        let numbers = |guarantee| -> Vec<u32> {
            let heard = player.heard_as(guarantee);
            heard.iter().map(|bytes| u32::from_le_bytes((*bytes).try_into().unwrap())).collect()
        };
        assert_eq!(numbers(Guarantee::Delivery), (2..200).step_by(3).collect::<Vec<_>>());
        assert!(numbers(Guarantee::Order).is_sorted_by(|a, b| a < b));
        let mut none = numbers(Guarantee::None);
        none.sort_unstable();
        assert!(none.len() > 40 && none.is_sorted_by(|a, b| a < b));
    }
}

#[test]
fn a_player_that_restarts_takes_its_own_place_and_nothing_of_the_old_session_counts() {
    let mut scene = Scene::new(8, link(), &ServerConfig::default());
    scene.join(&Config::default());
    scene.all_join();
    let old = scene.host.server.peers().next().unwrap();
    let credentials = scene.credentials(0);
    scene.players[0] = common::sealed_end(&scene.net, home(0), port(), credentials, &Config::default());
    scene.players[0].endpoint.connect().unwrap();
    scene.all_join();
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.host.server.len(), 1);
    assert!(scene.host.server.peer(old).is_none());
    assert_eq!(scene.host.counts(), (2, 1));
    let closed =
        scene.host.events.iter().find(|(id, event)| *id == old && matches!(event, Event::Closed { .. }));
    assert!(matches!(closed, Some((_, Event::Closed { reason: CloseReason::Replaced, .. }))));
}

#[test]
fn a_route_stands_in_front_and_a_datagram_with_another_one_is_dropped() {
    let mut config = ServerConfig::default();
    config.route = b"fleet-7".to_vec();
    let mut scene = Scene::new(12, link(), &config);
    scene.net.record(true);
    let right = scene.credentials(0).with_route(b"fleet-7").unwrap();
    let wrong = scene.credentials(1).with_route(b"fleet-8").unwrap();
    scene.join_with(right, &Config::default());
    scene.join_with(wrong, &Config::default());
    scene.run(Duration::from_secs(3));
    assert!(scene.players[0].endpoint.is_connected() && !scene.players[1].endpoint.is_connected());
    let captured = scene.net.captured();
    let to_server: Vec<_> = captured.iter().filter(|each| each.from == home(0)).collect();
    assert!(to_server.len() > 2 && to_server.iter().all(|each| each.bytes.starts_with(b"fleet-7")));
    let from_server: Vec<_> = captured.iter().filter(|each| each.from == port()).collect();
    assert!(from_server.iter().all(|each| !each.bytes.starts_with(b"fleet-7")));
}

#[test]
fn a_server_does_not_dial() {
    let net = sealgram::sim::Net::seed(1);
    let [own, other] = common::keys(1);
    let credentials = Credentials::client_auth(&own, other.public_key()).unwrap();
    let server = SealedServer::new(net.socket(port()), credentials, ServerConfig::default());
    assert!(matches!(server, Err(StartError::Role)));
}

#[test]
fn a_full_server_lets_its_own_player_come_back_and_turns_away_others() {
    let mut config = ServerConfig::default();
    config.flood.max_sessions = 1;
    let mut scene = Scene::new(13, link(), &config);
    scene.join(&Config::default());
    scene.all_join();
    scene.join(&Config::default());
    assert!(scene.run_until(Duration::from_secs(2), |scene| scene.players[1].closed.is_some()));
    assert_eq!(scene.players[1].closed, Some(CloseReason::ClosedByPeer { code: 0xfffc }));
    for _ in 0..3 {
        let credentials = scene.credentials(0);
        scene.players[0] = common::sealed_end(&scene.net, home(0), port(), credentials, &Config::default());
        scene.players[0].endpoint.connect().unwrap();
        assert!(scene.run_until(Duration::from_secs(2), |scene| scene.players[0].endpoint.is_connected()));
        scene.run(Duration::from_millis(200));
        assert_eq!(scene.host.server.len(), 1);
    }
}

#[test]
fn a_yes_that_comes_late_to_an_earlier_join_does_not_undo_a_later_one() {
    let mut scene = Scene::new(14, link(), &ServerConfig::default());
    scene.host.admits = false;
    scene.join(&Config::default());
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.host.events.len() == 1));
    let credentials = scene.credentials(0);
    scene.players[0] = common::sealed_end(&scene.net, home(0), port(), credentials, &Config::default());
    scene.players[0].endpoint.connect().unwrap();
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.host.events.len() == 2));
    let (earlier, later) = (scene.host.events[0].0, scene.host.events[1].0);
    assert!(scene.host.server.accept(later));
    assert!(!scene.host.server.accept(earlier));
    scene.all_join();
    scene.run(Duration::from_secs(2));
    assert!(scene.players[0].endpoint.is_connected());
    assert_eq!((scene.host.server.len(), scene.host.counts()), (1, (1, 0)));
}

#[test]
fn a_place_that_somebody_else_has_taken_meanwhile_is_not_given_twice() {
    let mut config = ServerConfig::default();
    config.flood.max_sessions = 1;
    let mut scene = Scene::new(15, link(), &config);
    scene.join(&Config::default());
    scene.all_join();
    let first = scene.host.server.peers().next().unwrap();
    // It comes back and asks; before the answer its old session ends, and another player takes the place.
    scene.host.admits = false;
    let credentials = scene.credentials(0);
    scene.players[0] = common::sealed_end(&scene.net, home(0), port(), credentials, &Config::default());
    scene.players[0].endpoint.connect().unwrap();
    let asks = |event: &&(_, Event)| matches!(event.1, Event::Join { .. });
    let asked = |scene: &mut Scene| scene.host.events.iter().filter(asks).count() == 2;
    assert!(scene.run_until(Duration::from_secs(1), asked));
    let returning = scene.host.events.iter().rfind(asks).unwrap().0;
    assert!(scene.host.server.kick(first, 1, b""));
    scene.join(&Config::default());
    let asked = |scene: &mut Scene| scene.host.events.iter().filter(asks).count() == 3;
    assert!(scene.run_until(Duration::from_secs(1), asked));
    let other = scene.host.events.iter().rfind(asks).unwrap().0;
    assert!(scene.host.server.accept(other));
    assert!(!scene.host.server.accept(returning), "one place, one session");
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.players[0].closed.is_some()));
    assert_eq!(scene.players[0].closed, Some(CloseReason::ClosedByPeer { code: 0xfffc }));
    assert_eq!(scene.host.server.len(), 1);
}
