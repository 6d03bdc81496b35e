//! Clients of a real server in a simulated network: what their connection ids show, and what they show when they join.

mod common;
#[path = "common/server.rs"]
mod host;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use host::{Scene, home, port};
use sealgram::{Config, Event, Guarantee, ServerConfig, sim::Link};

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(25);
    link
}

#[test]
fn in_half_an_hour_of_play_ids_come_and_go_and_none_comes_twice() {
    let mut scene = Scene::new(31, link(), &ServerConfig::default());
    scene.net.record(true);
    scene.join(&Config::default());
    scene.all_join();
    let begin = scene.net.now();
    for _ in 0..1_800 {
        scene.players[0].endpoint.send_payload(Guarantee::None, b"here").unwrap();
        scene.run(Duration::from_secs(1));
    }
    assert_eq!(scene.host.heard.len(), 1_800, "nothing is lost at a change");
    let stats = scene.players[0].endpoint.stats();
    assert_eq!((stats.drops.total(), stats.violations), (0, 0));
    // Handshakes aside, each datagram begins with the id.
    let mut runs: Vec<(Instant, Vec<u8>)> = Vec::new();
    for datagram in
        scene.net.captured().iter().filter(|each| each.from == home(0) && each.bytes.len() < 1_000)
    {
        let id = datagram.bytes[..8].to_vec();
        if runs.last().is_none_or(|(_, last)| *last != id) {
            runs.push((datagram.at, id));
        }
    }
    assert!((15..=30).contains(&runs.len()), "{}", runs.len());
    let different: BTreeSet<_> = runs.iter().map(|(_, id)| id).collect();
    assert_eq!(different.len(), runs.len(), "an id came back");
    for pair in runs.windows(2) {
        let served = pair[1].0 - pair[0].0;
        assert!(Duration::from_secs(59) < served && served < Duration::from_secs(123), "{served:?}");
    }
    assert!(runs[0].0 <= begin);
}

#[test]
fn tickets_are_shown_to_the_application_over_a_bad_network_too() {
    let mut bad = link();
    bad.loss = 0.3;
    let mut scene = Scene::new(32, bad, &ServerConfig::default());
    for index in 0..20_u8 {
        let credentials = scene.credentials(index.into()).with_ticket(&[index; 1_024]).unwrap();
        scene.join_with(credentials, &Config::default());
    }
    scene.all_join();
    let shown: BTreeSet<_> = scene
        .host
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Join { ticket, .. } => Some(ticket.to_vec()),
            _ => None,
        })
        .collect();
    assert_eq!(shown, (0..20).map(|index| vec![index; 1_024]).collect());
}

#[test]
fn a_player_that_changes_its_network_twenty_times_stays_and_shows_no_id_twice() {
    let mut scene = Scene::new(33, link(), &ServerConfig::default());
    scene.net.record(true);
    scene.host.echoes = true;
    scene.join(&Config::default());
    scene.all_join();
    scene.run(Duration::from_secs(2));
    let mut number = 0_u32;
    for moves in 1..=20 {
        let new = scene.net.socket(home(100 + moves)).connect(port());
        let old = scene.players[0].endpoint.replace_socket(new).unwrap();
        drop(old);
        for _ in 0..50 {
            let player = &mut scene.players[0].endpoint;
            player.send_payload(Guarantee::Delivery, &number.to_le_bytes()).unwrap();
            number += 1;
            scene.run(Duration::from_millis(60));
        }
        let (id, ..) = *scene.host.heard.last().unwrap();
        assert_eq!(scene.host.server.peer(id).unwrap().address(), Some(home(100 + moves)), "move {moves}");
    }
    scene.run(Duration::from_secs(2));
    let expected: Vec<_> = (0..number).map(|number| number.to_le_bytes().to_vec()).collect();
    assert_eq!(scene.players[0].heard_as(Guarantee::Delivery), expected, "echoed, each once");
    assert_eq!((scene.host.counts(), scene.players[0].events.len()), ((1, 0), 1), "one session");
    let moved = |(_, event): &&(_, Event)| matches!(event, Event::PathChanged { .. });
    assert_eq!(scene.host.events.iter().filter(moved).count(), 20);
    let mut shown = std::collections::BTreeMap::new();
    for each in scene.net.captured().iter().filter(|each| each.from != port() && each.bytes.len() < 1_000) {
        let id = each.bytes[..8].to_vec();
        assert_eq!(*shown.entry(id).or_insert(each.from), each.from, "an id at two addresses");
    }
    assert!(shown.len() > 20);
}
