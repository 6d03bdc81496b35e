//! What a peer costs a server while nothing happens: heap counted when the server goes, with what an allocator adds to
//! each block. The tables of the server, which grow by doubling, are part of it.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::Duration;

use allocation_counter::AllocationInfo;
use host::Scene;
use sealgram::{Config, Guarantee, ServerConfig, ServerSession, Session, sim::Link};

const PLAYERS: usize = 1_000;
/// So many come at once.
const GROUP: usize = 100;
/// The bound of an idle peer, in bytes.
const MOST: i64 = 2_048;
/// What it may be for one that has used a lane with all three guarantees: both directions' numbers of the lane, and which
/// of the last 1,024 messages came, are known as long as the session lives.
const MOST_AFTER_TALK: i64 = MOST + 256;
/// What an allocator adds to a block, at most: a head, and what is left over.
const BLOCK: i64 = 16;

fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.flood.max_sessions = 2 * PLAYERS;
    config.flood.half_open = 256;
    config.flood.handshake_dh_per_second = 1_000_000;
    config
}

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(20);
    link
}

/// What the server holds, in bytes.
fn held<L: ServerSession, S: Session>(mut scene: Scene<L, S>) -> i64 {
    // What is not the server's goes before, or stays.
    let net = scene.net.clone();
    scene.players = Vec::new();
    (scene.host.events, scene.host.heard) = (Vec::new(), Vec::new());
    let AllocationInfo { bytes_current, count_current, .. } = allocation_counter::measure(|| drop(scene));
    drop(net);
    -(bytes_current + BLOCK * count_current)
}

/// Everybody says something with each guarantee, and hears it again.
fn talk<L: ServerSession, S: Session>(scene: &mut Scene<L, S>) {
    scene.host.echoes = true;
    for player in &mut scene.players {
        for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
            player.endpoint.send_payload(guarantee, &[7; 1_000]).unwrap();
        }
        player.endpoint.flush().unwrap();
    }
    let all = |scene: &mut Scene<L, S>| scene.players.iter().all(|player| player.heard.len() == 3);
    assert!(scene.run_until(Duration::from_secs(5), all));
}

/// Bytes of one peer, long after all have joined, and after they have talked if they do.
fn each<L: ServerSession, S: Session>(empty: Scene<L, S>, mut full: Scene<L, S>, talks: bool) -> i64 {
    let own = held(empty);
    assert_eq!(full.host.server.len(), PLAYERS);
    if talks {
        talk(&mut full);
    }
    full.run(Duration::from_secs(35));
    assert_eq!(full.host.counts(), (PLAYERS, 0), "nobody left");
    (held(full) - own) / PLAYERS as i64
}

fn sealed(players: usize) -> Scene {
    let mut scene = Scene::new(1, link(), &config());
    for index in 0..players {
        scene.join(&Config::default());
        if index % GROUP == GROUP - 1 {
            scene.all_join();
        }
    }
    scene
}

fn plain(players: usize) -> host::PlainScene {
    let mut scene = Scene::plain(1, link(), &config());
    for index in 0..players {
        scene.dial(&Config::default());
        if index % GROUP == GROUP - 1 {
            scene.all_join();
        }
    }
    scene
}

#[test]
fn a_thousand_idle_peers_take_two_kibibytes_each() {
    for talks in [false, true] {
        let each = each(sealed(0), sealed(PLAYERS), talks);
        println!("sealed, talked: {talks}: {each} bytes");
        assert!(each <= if talks { MOST_AFTER_TALK } else { MOST }, "{each}");
    }
}

#[test]
fn a_thousand_idle_plain_peers_take_two_kibibytes_each() {
    for talks in [false, true] {
        let each = each(plain(0), plain(PLAYERS), talks);
        println!("plain, talked: {talks}: {each} bytes");
        assert!(each <= MOST, "{each}");
    }
}
