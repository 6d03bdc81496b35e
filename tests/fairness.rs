//! One peer of a server takes nothing from the others, whatever it does: counts, not times.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::Duration;

use host::{Kind, Scene};
use sealgram::{
    Config, Guarantee, Listener, Plain, PlainListener, Rate, Sealed, SendError, ServerConfig, ServerSession,
    Session, sim::Link,
};

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(5);
    link
}

/// What every player but the first says in a round.
fn words(round: u32, player: usize) -> Vec<u8> {
    format!("round {round} player {player}").into_bytes()
}

/// Lets the players run for a while and the server not at all.
fn players_only<L: ServerSession, S: Session>(scene: &mut Scene<L, S>, time: Duration) {
    let end = scene.net.now() + time;
    while scene.net.now() < end {
        for player in &mut scene.players {
            player.step();
        }
        scene.net.advance_to_next_or((scene.net.now() + Duration::from_millis(1)).min(end));
    }
}

fn who_sends_too_much_keeps_nobody_waiting<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut config = ServerConfig::default();
    (config.reads_per_call, config.reads_per_peer) = (64, 16);
    let mut scene = Scene::<L, S>::of(1, link(), &config);
    let mut greedy = Config::default();
    greedy.rate = Rate::Off;
    greedy.flight_bytes = 1 << 20;
    scene.player(&greedy);
    for _ in 0..9 {
        scene.player(&Config::default());
    }
    scene.all_join();
    scene.run(Duration::from_millis(500));
    for round in 0..50 {
        for _ in 0..100 {
            scene.players[0].endpoint.send_payload(Guarantee::None, &[0; 1_000]).unwrap();
        }
        // It speaks first.
        scene.players[0].step();
        for (index, player) in scene.players.iter_mut().enumerate().skip(1) {
            player.endpoint.send_payload(Guarantee::None, &words(round, index)).unwrap();
        }
        players_only(&mut scene, Duration::from_millis(50));
        let before = scene.host.heard.len();
        scene.host.step();
        let heard = &scene.host.heard[before..];
        for index in 1..scene.players.len() {
            let said = words(round, index);
            assert!(heard.iter().any(|(_, _, bytes)| *bytes == said), "round {round}: player {index} waits");
        }
        let of_greedy = heard.iter().filter(|(_, _, bytes)| bytes.len() == 1_000).count();
        assert!(of_greedy <= 16, "round {round}: {of_greedy}");
    }
    let drops = scene.host.server.stats().drops;
    assert!(drops.share > 1_000, "{drops:?}");
}

#[test]
fn who_sends_a_hundred_times_its_share_keeps_nobody_waiting() {
    who_sends_too_much_keeps_nobody_waiting::<Listener, Sealed>();
}

#[test]
fn nor_does_it_at_a_plain_server() {
    who_sends_too_much_keeps_nobody_waiting::<PlainListener, Plain>();
}

#[test]
fn who_never_reads_fills_its_own_queue_only() {
    let mut config = ServerConfig::default();
    config.session.send_queue_messages = 256;
    let mut scene = Scene::new(2, link(), &config);
    for _ in 0..5 {
        scene.join(&Config::default());
    }
    scene.all_join();
    scene.run(Duration::from_millis(500));
    let deaf = scene.players.remove(0);
    let ids: Vec<_> = scene.host.server.peers().collect();
    let mut refused = 0;
    let mut sent = 0;
    for _ in 0..100 {
        for &id in &ids {
            let mut peer = scene.host.server.peer(id).unwrap();
            let silent = peer.address() == Some(host::home(0));
            for _ in 0..20 {
                match peer.send_payload(Guarantee::Delivery, &[1; 1_000]) {
                    Ok(_) => sent += usize::from(!silent),
                    Err(SendError::Full { .. }) if silent => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(peer.queued_messages() <= 256);
        }
        scene.run(Duration::from_millis(50));
    }
    scene.run(Duration::from_secs(2));
    let heard: usize = scene.players.iter().map(|player| player.heard.len()).sum();
    assert_eq!((heard, sent), (8_000, 8_000));
    assert!(refused > 0 && deaf.heard.is_empty());
}

#[test]
fn a_timer_that_ran_is_not_due_again_at_once() {
    let mut bad = link();
    bad.loss = 0.3;
    let mut scene = Scene::new(3, bad, &ServerConfig::default());
    scene.host.echoes = true;
    for _ in 0..10 {
        scene.join(&Config::default());
    }
    scene.all_join();
    for number in 0..100_u32 {
        for player in &mut scene.players {
            let _ = player.endpoint.send_payload(Guarantee::Order, &number.to_le_bytes());
        }
        for _ in 0..10 {
            players_only(&mut scene, Duration::from_millis(3));
            let next = scene.host.step();
            let now = scene.net.now();
            assert!(next.is_none_or(|next| next > now), "seed {}, number {number}", scene.seed);
        }
    }
}

#[test]
fn a_broadcast_leaves_out_whoever_is_gone_or_full() {
    let mut config = ServerConfig::default();
    config.session.send_queue_messages = 64;
    let mut scene = Scene::new(4, link(), &config);
    for _ in 0..4 {
        scene.join(&Config::default());
    }
    scene.all_join();
    let ids: Vec<_> = scene.host.server.peers().collect();
    assert!(scene.host.server.kick(ids[0], 1, b""));
    while scene.host.server.peer(ids[1]).unwrap().send_payload(Guarantee::Delivery, b"x").is_ok() {}
    assert_eq!(scene.host.server.send_to_each(&ids[..3], Guarantee::Delivery, b"some"), 1);
    assert_eq!(scene.host.server.broadcast(Guarantee::Delivery, b"all"), 2);
    scene.run(Duration::from_secs(1));
    let heard = |bytes: &[u8]| {
        scene.players.iter().filter(|player| player.heard.iter().any(|(_, heard)| heard == bytes)).count()
    };
    assert_eq!((heard(b"some"), heard(b"all")), (1, 2));
}
