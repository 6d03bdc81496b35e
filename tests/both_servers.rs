//! What a server promises whether it is sealed or plain: each story is told of both. Whole endpoints on both sides, in a
//! simulated network.

mod common;
#[path = "common/server.rs"]
mod host;

use std::time::Duration;

use host::{Kind, Scene, home, port};
use sealgram::{CloseReason, Config, Event, Guarantee, ServerConfig, ServerSession, Session, sim::Link};

/// A test of each story for each kind of server.
macro_rules! tests {
    ($($story:ident)*) => {
        mod sealed {
            use sealgram::{Listener, Sealed};
            $(#[test] fn $story() { super::$story::<Listener, Sealed>(); })*
        }
        mod plain {
            use sealgram::{Plain, PlainListener};
            $(#[test] fn $story() { super::$story::<PlainListener, Plain>(); })*
        }
    };
}

tests! {
    nothing_is_said_to_a_player_before_the_application_says_yes
    a_player_who_is_turned_away_learns_the_reason_and_nothing_else
    an_application_that_does_not_answer_forgets_who_asked
    who_leaves_says_so_and_what_he_said_before_is_heard_first
    a_kick_ends_the_session_at_both_ends
    a_silent_player_times_out_alone
    idle_players_stay
    a_broadcast_reaches_everybody
    a_server_that_drains_answers_no_newcomer_and_keeps_its_players
    a_drained_server_lets_everything_arrive_that_is_queued
    a_draining_server_turns_newcomers_away_until_the_drain_is_called_off
    what_one_round_leaves_unread_is_due_at_once
}

fn link() -> Link {
    let mut link = Link::default();
    link.delay = Duration::from_millis(25);
    link
}

fn nothing_is_said_to_a_player_before_the_application_says_yes<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(3, link(), &ServerConfig::default());
    scene.host.admits = false;
    scene.player(&Config::default());
    scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"let me in").unwrap();
    assert!(scene.run_until(Duration::from_secs(1), |scene| !scene.host.events.is_empty()));
    let (id, event) = scene.host.events[0].clone();
    let Event::Join { key, ticket, address } = event else { panic!("{event:?}") };
    // Only a sealed session proves who somebody is.
    assert_eq!(key, Scene::<L, S>::key_of(0));
    assert_eq!((ticket, address), (sealgram::ShownTicket::default(), home(0)));
    scene.run(Duration::from_secs(1));
    assert!(!scene.players[0].endpoint.is_connected());
    assert!(scene.host.server.peer(id).is_none(), "whoever asks is no peer yet");
    assert_eq!(scene.host.events.len(), 1, "asked once, however often it confirmed");
    assert!(scene.host.server.accept(id));
    assert!(!scene.host.server.accept(id), "once");
    assert!(scene.run_until(Duration::from_secs(1), |scene| !scene.host.heard.is_empty()));
    assert_eq!(scene.host.heard[0].2, b"let me in");
}

fn a_player_who_is_turned_away_learns_the_reason_and_nothing_else<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(4, link(), &ServerConfig::default());
    scene.host.admits = false;
    scene.player(&Config::default());
    assert!(scene.run_until(Duration::from_secs(1), |scene| !scene.host.events.is_empty()));
    let (id, _) = scene.host.events[0];
    assert!(scene.host.server.kick(id, 77, b"full"));
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.players[0].closed.is_some()));
    scene.run(Duration::from_secs(1));
    assert_eq!(scene.players[0].closed, Some(CloseReason::ClosedByPeer { code: 77 }));
    assert!(matches!(scene.players[0].events[..], [Event::Closed { .. }]), "{:?}", scene.players[0].events);
    assert_eq!((scene.host.server.len(), scene.host.events.len()), (0, 1));
}

fn an_application_that_does_not_answer_forgets_who_asked<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(5, link(), &ServerConfig::default());
    scene.host.admits = false;
    scene.player(&Config::default());
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.host.server.len() == 1));
    assert!(scene.run_until(Duration::from_secs(4), |scene| scene.host.server.is_empty()));
    let (id, _) = scene.host.events[0];
    assert!(!scene.host.server.accept(id));
}

fn who_leaves_says_so_and_what_he_said_before_is_heard_first<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(6, link(), &ServerConfig::default());
    scene.player(&Config::default());
    scene.all_join();
    scene.run(Duration::from_millis(100));
    scene.players[0].endpoint.send_payload(Guarantee::Delivery, b"good game").unwrap();
    scene.players[0].endpoint.flush().unwrap();
    scene.players[0].endpoint.close(5, b"bye");
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.host.server.is_empty()));
    assert_eq!(scene.host.heard[0].2, b"good game");
    let (_, last) = scene.host.events.last().unwrap();
    assert!(matches!(last, Event::Closed { reason: CloseReason::ClosedByPeer { code: 5 }, .. }));
}

fn a_kick_ends_the_session_at_both_ends<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(7, link(), &ServerConfig::default());
    scene.player(&Config::default());
    scene.all_join();
    let id = scene.host.server.peers().next().unwrap();
    scene.host.server.peer(id).unwrap().send_payload(Guarantee::Delivery, b"never").unwrap();
    assert!(scene.host.server.kick(id, 9, b"cheating"));
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.players[0].closed.is_some()));
    assert_eq!(scene.players[0].closed, Some(CloseReason::ClosedByPeer { code: 9 }));
    let (_, last) = scene.host.events.last().unwrap();
    let Event::Closed { reason: CloseReason::ClosedHere, undelivered } = last else { panic!("{last:?}") };
    assert_eq!(undelivered.len(), 1);
}

fn a_silent_player_times_out_alone<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut config = ServerConfig::default();
    config.session.idle_timeout = Duration::from_secs(5);
    let mut scene = Scene::<L, S>::of(9, link(), &config);
    scene.player(&Config::default());
    scene.player(&Config::default());
    scene.all_join();
    scene.net.block(home(1), port());
    scene.run(Duration::from_secs(8));
    assert_eq!(scene.host.server.len(), 1);
    assert!(scene.players[0].endpoint.is_connected());
    assert_eq!(scene.host.counts(), (2, 1));
}

fn idle_players_stay<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(10, link(), &ServerConfig::default());
    scene.player(&Config::default());
    scene.all_join();
    scene.run(Duration::from_secs(120));
    assert_eq!(scene.host.counts(), (1, 0));
}

fn a_broadcast_reaches_everybody<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(10, link(), &ServerConfig::default());
    for _ in 0..10 {
        scene.player(&Config::default());
    }
    scene.all_join();
    scene.run(Duration::from_millis(100));
    assert_eq!(scene.host.server.broadcast(Guarantee::Delivery, &[7; 3_000]), 10);
    let all = |scene: &mut Scene<L, S>| scene.players.iter().all(|player| player.heard.len() == 1);
    assert!(scene.run_until(Duration::from_secs(2), all));
    assert!(scene.players.iter().all(|player| player.heard[0].1 == [7; 3_000]));
}

fn a_server_that_drains_answers_no_newcomer_and_keeps_its_players<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(11, link(), &ServerConfig::default());
    scene.player(&Config::default());
    scene.all_join();
    scene.host.server.set_accepting(false);
    scene.player(&Config::default());
    scene.run(Duration::from_secs(3));
    assert!(scene.players[0].endpoint.is_connected() && !scene.players[1].endpoint.is_connected());
    scene.host.server.set_accepting(true);
    scene.all_join();
}

fn a_drained_server_lets_everything_arrive_that_is_queued<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(20, link(), &ServerConfig::default());
    for _ in 0..4 {
        scene.player(&Config::default());
    }
    scene.all_join();
    scene.run(Duration::from_millis(200));
    let large: Vec<_> = (0..40_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let ids: Vec<_> = scene.host.server.peers().collect();
    for id in &ids {
        scene.host.server.peer(*id).unwrap().send_payload(Guarantee::Delivery, &large).unwrap();
    }
    // One player is cut off: the others do not wait for him, and he is given up in the end.
    scene.net.block(port(), home(0));
    scene.players[1].endpoint.send_payload(Guarantee::Delivery, b"last words").unwrap();
    scene.host.server.drain(12, b"maintenance", Duration::from_secs(3));
    let told = |scene: &mut Scene<L, S>| scene.players[1..].iter().all(|player| player.closed.is_some());
    assert!(scene.run_until(Duration::from_secs(2), told));
    for player in &scene.players[1..] {
        assert_eq!(player.closed, Some(CloseReason::ClosedByPeer { code: 12 }));
        assert_eq!(player.heard, [(Guarantee::Delivery, large.clone())], "what was queued arrived first");
        let Some(Event::Closed { undelivered, .. }) = player.events.last() else { panic!() };
        assert!(undelivered.is_empty(), "what was heard was acknowledged");
    }
    assert_eq!(scene.host.heard.len(), 1);
    assert_eq!(scene.host.server.len(), 1);
    assert!(scene.run_until(Duration::from_secs(3), |scene| scene.host.server.is_empty()));
    scene.run(Duration::from_millis(10));
    let ends: Vec<_> = scene
        .host
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Closed { reason, undelivered } => Some((*reason, undelivered.len())),
            _ => None,
        })
        .collect();
    let here = CloseReason::ClosedHere;
    assert_eq!(ends, [(here, 0), (here, 0), (here, 0), (here, 1)], "and it says what did not arrive");
}

fn a_draining_server_turns_newcomers_away_until_the_drain_is_called_off<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut scene = Scene::<L, S>::of(22, link(), &ServerConfig::default());
    scene.player(&Config::default());
    scene.all_join();
    scene.host.admits = false;
    scene.player(&Config::default());
    assert!(scene.run_until(Duration::from_secs(1), |scene| scene.host.server.len() == 2));
    scene.net.block(port(), home(0));
    let id = scene.host.server.peers().next().unwrap();
    scene.host.server.peer(id).unwrap().send_payload(Guarantee::Delivery, b"kept").unwrap();
    scene.host.server.drain(3, b"", Duration::from_secs(5));
    scene.player(&Config::default());
    scene.run(Duration::from_millis(300));
    assert_eq!(scene.players[1].closed, Some(CloseReason::ClosedByPeer { code: 3 }), "who asked is told");
    assert_eq!(scene.host.server.len(), 1, "who dials is not answered");
    scene.net.unblock(port(), home(0));
    scene.host.admits = true;
    scene.host.server.set_accepting(true);
    scene.run(Duration::from_secs(10));
    assert!(scene.players[0].endpoint.is_connected() && scene.players[2].endpoint.is_connected());
    assert_eq!(scene.players[0].heard.len(), 1);
}

fn what_one_round_leaves_unread_is_due_at_once<L: ServerSession, S: Session>()
where
    Scene<L, S>: Kind,
{
    let mut config = ServerConfig::default();
    config.reads_per_call = 64;
    let mut scene = Scene::<L, S>::of(23, Link::default(), &config);
    // As many as a batch holds, so that nothing that was read waits between two rounds.
    for _ in 0..3 * 64 {
        scene.net.inject(home(0), port(), &[0; 100]);
    }
    scene.net.advance(Duration::from_millis(1));
    let mut rounds = 0;
    loop {
        assert!(scene.host.server.recv().is_none());
        rounds += 1;
        if scene.host.server.maintain().is_none_or(|due| due > scene.net.now()) {
            break;
        }
    }
    // The last one finds that nothing is left.
    assert_eq!((rounds, scene.host.server.stats().datagrams_received), (4, 192));
}
