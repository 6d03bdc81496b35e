//! Acknowledgements that wait for company: what a server and its players send beside the messages themselves.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::{Duration, Instant};

use host::{Scene, home, port};
use sealgram::{
    Config, Guarantee, SendOptions, ServerConfig, Stats,
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
    (0..PLAYERS).for_each(|_| drop(scene.join(&Config::default())));
    scene.all_join();
    scene
}

/// Everybody says 100 bytes at each tick, and looks at its socket again after so long at the soonest.
fn play(scene: &mut Scene, ticks: u32, options: SendOptions, pause: Duration) {
    let mut next = scene.net.now() + TICK;
    for _ in 0..ticks {
        for player in &mut scene.players {
            player.endpoint.send_payload(options, &[7; 100]).unwrap();
        }
        pause_and_run(scene, next, pause);
        next += TICK;
    }
}

fn pause_and_run(scene: &mut Scene, until: Instant, pause: Duration) {
    while scene.net.now() < until {
        let left = until - scene.net.now();
        if pause.is_zero() {
            scene.run(left);
        } else {
            scene.net.advance(pause.min(left));
            scene.host.step();
            scene.players.iter_mut().for_each(|player| drop(player.step()));
        }
    }
}

/// Datagrams that the server got and sent for each echo.
fn per_echo(scene: &mut Scene, ticks: u32, options: SendOptions, pause: Duration) -> (f64, f64) {
    play(scene, 80, options, pause);
    let (before, heard) = (scene.host.server.stats(), scene.host.heard.len());
    play(scene, ticks, options, pause);
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
            let (received, sent) = per_echo(&mut scene, 400, guarantee.into(), Duration::ZERO);
            println!("{guarantee:?}, seed {seed}: {received:.3} in, {sent:.3} out");
            assert!(received <= 1.05, "{guarantee:?}, seed {seed}: {received} in");
            assert!(sent <= 1.05, "{guarantee:?}, seed {seed}: {sent} out");
        }
    }
}

#[test]
fn a_machine_that_is_late_makes_no_storm() {
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        let mut slow = link();
        slow.delay = 400 * MS;
        let mut scene = scene(1, link());
        play(&mut scene, 80, guarantee.into(), Duration::ZERO);
        let before = scene.host.server.stats();
        set_links(&scene, &slow);
        play(&mut scene, 40, guarantee.into(), Duration::ZERO);
        set_links(&scene, &link());
        play(&mut scene, 40, guarantee.into(), Duration::ZERO);
        let stats: Stats = scene.host.server.stats().since(&before);
        let per_tick = |count: u64| count as f64 / f64::from(80 * PLAYERS as u32);
        let (received, sent) = (per_tick(stats.datagrams_received), per_tick(stats.datagrams_sent));
        println!("{guarantee:?}: {received:.3} in, {sent:.3} out");
    }
}

#[test]
fn a_short_path_that_loses_much_makes_no_storm() {
    for guarantee in [Guarantee::None, Guarantee::Order, Guarantee::Delivery] {
        let mut lossy = link();
        (lossy.delay, lossy.jitter, lossy.loss) = (MS / 20, Jitter::None, 0.3);
        let mut scene = scene(1, link());
        set_links(&scene, &lossy);
        play(&mut scene, 80, guarantee.into(), Duration::ZERO);
        let before = scene.host.server.stats();
        play(&mut scene, 200, guarantee.into(), Duration::ZERO);
        let stats: Stats = scene.host.server.stats().since(&before);
        let per_tick = |count: u64| count as f64 / f64::from(200 * PLAYERS as u32);
        let (received, sent) = (per_tick(stats.datagrams_received), per_tick(stats.datagrams_sent));
        println!("{guarantee:?}: {received:.3} in, {sent:.3} out");
    }
}
