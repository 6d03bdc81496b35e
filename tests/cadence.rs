//! Acknowledgements that wait for company: what a server and its players send beside the messages themselves.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::Duration;

use host::{Scene, home, port};
use sealgram::{
    Config, Guarantee, ServerConfig, Stats,
    sim::{Jitter, Link},
};

const MS: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(50);
const PLAYERS: usize = 8;

/// A network as players have it, without loss.
fn link() -> Link {
    let mut link = Link::default();
    (link.delay, link.jitter) = (10 * MS, Jitter::Uniform(3 * MS));
    link
}

fn set_links(scene: &Scene, link: &Link) {
    (0..PLAYERS).for_each(|index| scene.net.set_links(home(index), port(), link.clone()));
}

fn scene(seed: u64, link: Link) -> Scene {
    let mut scene = Scene::new(seed, link, &ServerConfig::default());
    scene.host.echoes = true;
    for _ in 0..PLAYERS {
        scene.join(&Config::default());
    }
    scene.all_join();
    scene
}

/// Everybody says 100 bytes at each tick.
fn play(scene: &mut Scene, ticks: u32, guarantee: Guarantee) {
    for _ in 0..ticks {
        for player in &mut scene.players {
            player.endpoint.send_payload(guarantee, &[7; 100]).unwrap();
        }
        scene.run(TICK);
    }
}

/// Datagrams that the server got and sent for each echo.
fn per_echo(scene: &mut Scene, ticks: u32, guarantee: Guarantee) -> (f64, f64) {
    // A number that was left out on purpose makes both hasty for 3 s.
    play(scene, 80, guarantee);
    let (before, heard) = (scene.host.server.stats(), scene.host.heard.len());
    play(scene, ticks, guarantee);
    let stats: Stats = scene.host.server.stats().since(&before);
    let echoes = (scene.host.heard.len() - heard) as f64;
    assert!(echoes > 0.9 * f64::from(ticks) * PLAYERS as f64, "{echoes} echoes");
    (stats.datagrams_received as f64 / echoes, stats.datagrams_sent as f64 / echoes)
}

#[test]
fn an_echo_of_what_nobody_repeats_costs_one_datagram_each_way() {
    for guarantee in [Guarantee::None, Guarantee::Order] {
        for seed in 0..3 {
            let mut scene = scene(seed, link());
            let (received, sent) = per_echo(&mut scene, 400, guarantee);
            println!("{guarantee:?}, seed {seed}: {received:.3} in, {sent:.3} out");
            assert!(received <= 1.03, "{guarantee:?}, seed {seed}: {received} in");
            assert!(sent <= 1.03, "{guarantee:?}, seed {seed}: {sent} out");
            // What was held back does not pass for a long path.
            for id in scene.host.by_peer().into_keys().collect::<Vec<_>>() {
                let rtt = scene.host.server.peer(id).unwrap().stats().rtt.unwrap();
                assert!(rtt.smoothed <= 30 * MS, "{guarantee:?}, seed {seed}: {rtt:?}");
            }
        }
    }
}

#[test]
fn a_path_that_is_long_for_a_while_makes_no_storm() {
    for (guarantee, most) in [(Guarantee::None, 1.1), (Guarantee::Order, 1.1), (Guarantee::Delivery, 2.4)] {
        let mut slow = link();
        slow.delay = 400 * MS;
        let mut scene = scene(1, link());
        play(&mut scene, 80, guarantee);
        let before = scene.host.server.stats();
        set_links(&scene, &slow);
        play(&mut scene, 40, guarantee);
        set_links(&scene, &link());
        play(&mut scene, 40, guarantee);
        let stats: Stats = scene.host.server.stats().since(&before);
        let per_tick = |count: u64| count as f64 / (80 * PLAYERS) as f64;
        let (received, sent) = (per_tick(stats.datagrams_received), per_tick(stats.datagrams_sent));
        println!("{guarantee:?}: {received:.3} in, {sent:.3} out");
        assert!(received <= most && sent <= most, "{guarantee:?}: {received} in, {sent} out");
    }
}

#[test]
fn a_path_that_became_long_is_measured_anew() {
    // Everything but the answers to probes is on its way for longer than a probe timeout.
    let mut long = link();
    (long.delay, long.jitter) = (300 * MS, Jitter::None);
    let mut scene = scene(2, link());
    play(&mut scene, 80, Guarantee::Order);
    set_links(&scene, &long);
    let mut counted = Vec::new();
    for _ in 0..20 {
        let before = scene.host.server.stats();
        for player in &mut scene.players {
            player.endpoint.send_payload(Guarantee::Order, &[7; 100]).unwrap();
        }
        scene.run(20 * TICK);
        counted.push(scene.host.server.stats().since(&before).datagrams_sent / PLAYERS as u64);
    }
    println!("datagrams a second: {counted:?}");
    assert!(counted.iter().skip(3).all(|&count| count <= 3), "{counted:?}");
    for player in &scene.players {
        let rtt = player.endpoint.stats().rtt.unwrap();
        assert!(rtt.smoothed >= 500 * MS, "{rtt:?}");
    }
}
