//! An endpoint as the client of a server of many peers: routes, ids, tickets, moving, refusals and redirects.

use std::collections::BTreeMap;

use super::{
    server::{Policy, Rig, Server},
    *,
};
use crate::{
    config::Padding,
    error::{CloseReason, ConfigError},
    sealed::seal::{Prefix, seal_frame},
    wire::frame::Frame,
};

const SERVED: [&str; 5] = ["client", "client_auth", "client_auth_psk", "tofu", "invite_tofu"];

fn is_begun(rig: &Rig) -> bool {
    rig.events.iter().any(|event| matches!(event, Event::Connected { .. }))
}

#[test]
fn every_profile_of_a_server_works_behind_a_route_and_by_an_id() {
    for profile in SERVED {
        for (route, gives_ids) in [(&b""[..], true), (b"r", true), (&[7; 20], true), (&[7; 20], false)] {
            let mut server = Server::new(profile, route, Config::default());
            server.gives_ids = gives_ids;
            let client = credentials(profile, 0).with_route(route).unwrap();
            let mut rig = Rig::new(client, Config::default(), server);
            rig.client.connection_mut().send(0, Guarantee::Delivery, b"there").unwrap();
            rig.client.connection_mut().send(0, Guarantee::Delivery, &[5; 5_000]).unwrap();
            rig.connect();
            rig.run(ms(200));
            rig.server.connection.send(0, Guarantee::Delivery, b"back").unwrap();
            rig.run(ms(500));
            assert_eq!(rig.server.heard, [b"there".to_vec(), vec![5; 5_000]], "{profile}");
            assert_eq!(rig.heard, [b"back"], "{profile}");
            assert_eq!(rig.server.live.as_ref().unwrap().channel.hash, rig.client.handshake_hash().unwrap());
            assert_eq!(rig.server.dropped, 0, "{profile}");

            // On the wire: INIT and FIN with their sizes behind the prefix, then packets.
            let first = rig.server.given[0];
            let id = if gives_ids { &first[..] } else { &[] };
            let mut datagrams = rig.sent.iter().map(|(_, _, datagram)| &datagram[..]);
            let init = datagrams.next().unwrap();
            assert!(init.starts_with(route) && init.len() == route.len() + 1_200, "{profile}");
            let mut prefixed = datagrams.map(|datagram| {
                assert!(datagram.len() <= 1_200, "{profile}: the prefix counts");
                datagram.strip_prefix(route).and_then(|rest| rest.strip_prefix(id)).expect("a prefix")
            });
            if profile.ends_with("tofu") {
                assert_eq!(prefixed.next().unwrap().len(), 256, "{profile}");
            }
            assert!(prefixed.count() > 5);
            for answer in &rig.answered {
                let inside = answer.windows(8).any(|window| window == first);
                assert!(!inside && (route.len() < 2 || !answer.starts_with(route)), "{profile}: no prefix");
            }
        }
    }
}

#[test]
fn a_wrong_route_is_silence() {
    for (profile, own) in
        [("client", &b"abd"[..]), ("client_auth", b"abcd"), ("tofu", b"ab"), ("client", b"")]
    {
        let client = credentials(profile, 0).with_route(own).unwrap();
        let mut rig = Rig::new(client, Config::default(), Server::new(profile, b"abc", Config::default()));
        rig.connect();
        rig.run(Duration::from_secs(31));
        assert_eq!(rig.reasons(), [CloseReason::HandshakeTimeout(None)], "{profile}");
        assert!(rig.answered.is_empty() && rig.server.dropped > 5, "{profile}");
    }
    // A balancer that rewrites what it should only match: the envelope is bound to the route.
    let mut rig = Rig::usual();
    rig.server.route = b"abd".to_vec();
    rig.connect();
    rig.up[0].2[2] = b'd';
    rig.run(ms(100));
    assert!(rig.answered.is_empty());
}

#[test]
fn an_end_with_a_route_only_dials() {
    let ends = |route: &[u8]| {
        let client = credentials("paired", 0).with_route(route).unwrap();
        let mut world =
            World::new(1, vec![(client, Config::default()), (credentials("paired", 1), Config::default())]);
        world.connect(1);
        world.run(Duration::from_secs(2));
        world.agreed()
    };
    assert!(ends(b"") && !ends(b"abc"));
}

#[test]
fn routes_and_tickets_out_of_range_are_refused() {
    let client = |profile| credentials(profile, 0);
    let wrong = |field, given, max| ConfigError { field, given, min: 0, max };
    assert_eq!(client("client").with_route(&[0; 21]).unwrap_err(), wrong("route", 21, 20));
    assert_eq!(client("client").with_ticket(&[0; 1_025]).unwrap_err(), wrong("ticket", 1_025, 1_024));
    assert!(client("client").with_ticket(&[0; 1_024]).is_ok());
    let make = |credentials, config| Sealed::new(credentials, config, start()).map(|_| ());
    // Who answers one peer has no route.
    let server = credentials("client", 1).with_route(b"abc").unwrap();
    assert_eq!(make(server, Config::default()), Err(wrong("route", 3, 0)));
    // INIT stands behind the route.
    let sized = |max_datagram_bytes| Config { max_datagram_bytes, ..Config::default() };
    let routed = || client("client").with_route(&[0; 20]).unwrap();
    assert_eq!(make(routed(), sized(1_219)), Err(wrong("route", 20, 19)));
    assert_eq!(make(routed(), sized(1_220)), Ok(()));
    // So does CONFIRM, and it holds the ticket.
    let small = |max_datagram_bytes| Config { handshake_bytes: 512, ..sized(max_datagram_bytes) };
    let ticketed = || routed().with_ticket(&[0; 1_024]).unwrap();
    assert_eq!(make(ticketed(), small(1_075)), Err(wrong("ticket", 1_024, 1_023)));
    assert_eq!(make(ticketed(), small(1_076)), Ok(()));
    let mut client = Sealed::new(routed().with_ticket(b"old").unwrap(), small(532), start()).unwrap();
    assert_eq!(client.set_ticket(&[0; 481]), Err(wrong("ticket", 481, 480)));
    assert_eq!(client.set_ticket(&[0; 1_025]), Err(wrong("ticket", 1_025, 1_024)));
    assert_eq!(client.local.credentials.ticket(), b"old");
    assert_eq!(client.set_ticket(&[0; 480]), Ok(()));
}

#[test]
fn a_ticket_is_in_every_confirm_until_one_is_answered() {
    for profile in SERVED {
        let ticket: Vec<u8> = (0..1_024_u32).map(|at| (at % 251) as u8).collect();
        let client = credentials(profile, 0).with_route(&[9; 20]).unwrap().with_ticket(&ticket).unwrap();
        let mut rig = Rig::new(client, Config::default(), Server::new(profile, &[9; 20], Config::default()));
        rig.server.policy = Policy::Think;
        rig.connect();
        rig.run(ms(1_030));
        assert_eq!(rig.server.tickets, vec![ticket.clone(); 4], "{profile}: every 250 ms");
        assert!(rig.sent.iter().skip(1).all(|(_, _, datagram)| datagram.len() <= 1_200));
        assert!(!rig.client.is_connected() && rig.events.is_empty());
        rig.server.policy = Policy::Accept;
        rig.run(ms(300));
        assert!(rig.client.is_connected(), "{profile}");
        let heard = rig.server.tickets.len();
        rig.run(Duration::from_secs(2));
        assert_eq!(rig.server.tickets.len(), heard);
    }
}

#[test]
fn the_next_join_shows_the_new_ticket() {
    let mut rig = Rig::usual();
    rig.connect();
    rig.run(ms(200));
    rig.client.close(rig.now, 0, b"");
    rig.client.set_ticket(b"renewed").unwrap();
    rig.run(ms(200));
    rig.connect();
    rig.run(ms(200));
    assert!(rig.client.is_connected());
    assert_eq!(rig.server.tickets, [b"".to_vec(), b"renewed".to_vec()]);
}

#[test]
fn a_server_whose_datagrams_are_too_small_for_the_ticket_is_never_sent_a_longer_one() {
    let small = Config { max_datagram_bytes: 600, handshake_bytes: 512, ..Config::default() };
    let large = Config { handshake_bytes: 512, ..Config::default() };
    for (len, fits) in [(600 - 11 - 20 - 4, true), (600 - 11 - 20 - 3, false)] {
        let client = credentials("client", 0).with_route(b"abc").unwrap().with_ticket(&vec![1; len]).unwrap();
        let mut rig = Rig::new(client, large.clone(), Server::new("client", b"abc", small.clone()));
        rig.connect();
        rig.run(ms(100));
        assert!(fits || matches!(&rig.client.dial.as_ref().unwrap().phase, Phase::Sent(_)), "not read");
        rig.run(Duration::from_secs(31));
        assert_eq!(is_begun(&rig), fits);
        assert!(rig.sent.iter().all(|(_, _, datagram)| datagram.len() <= 600));
    }
}

#[test]
fn an_id_serves_one_to_two_minutes_and_comes_back_never() {
    let mut rig = Rig::connected();
    for _ in 0..1_000 {
        rig.client.connection_mut().send(0, Guarantee::None, b"tick").unwrap();
        rig.run(ms(1_000));
    }
    assert_eq!((rig.server.heard.len(), rig.server.dropped, rig.reasons()), (1_000, 0, vec![]));
    let mut spans = BTreeMap::new();
    for &(at, _, sequence) in &rig.server.opened {
        let (_, last) = spans.entry(sequence).or_insert((at, at));
        *last = at;
    }
    let spans: Vec<_> = spans.into_iter().collect();
    assert!((8..=17).contains(&spans.len()), "{spans:?}");
    for (pair, at) in spans.windows(2).zip(0..) {
        let [(sequence, (begin, end)), (next, (takes_over, _))] = pair else { unreachable!() };
        assert_eq!((*sequence, *next), (at, at + 1), "in order");
        assert!(end < takes_over, "and never again");
        let served = *takes_over - *begin;
        assert!(ms(59_900) <= served && served <= ms(122_000), "{sequence} served for {served:?}");
    }
}

#[test]
fn out_of_spares_the_id_stays_until_there_is_another() {
    let mut rig = Rig::usual();
    rig.server.gives_spares = false;
    rig.connect();
    for _ in 0..300 {
        rig.client.connection_mut().send(0, Guarantee::None, b"tick").unwrap();
        rig.run(ms(1_000));
    }
    assert!(rig.server.opened.iter().all(|(_, _, sequence)| *sequence == 0));
    rig.server.give(rig.now);
    rig.run(ms(100));
    rig.client.connection_mut().send(0, Guarantee::None, b"tick").unwrap();
    rig.run(ms(1_000));
    assert_eq!(rig.server.opened.last().unwrap().2, 1);
}

#[test]
fn after_half_a_minute_without_a_word_the_next_one_stands_behind_another_id() {
    let quiet = Config {
        keep_alive: Some(Duration::from_secs(80)),
        idle_timeout: Duration::from_secs(200),
        ..Config::default()
    };
    let mut rig = Rig::usual();
    rig.client =
        Sealed::new(credentials("client_auth", 0).with_route(b"abc").unwrap(), quiet.clone(), rig.now)
            .unwrap();
    rig.server = Server::new("client_auth", b"abc", quiet);
    rig.connect();
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.server.opened.last().unwrap().2, 0);
    // All before the first id would have been given up by itself.
    for (quiet, sequence) in [(20, 0), (35, 1)] {
        rig.run(Duration::from_secs(quiet));
        rig.client.connection_mut().send(0, Guarantee::None, b"tick").unwrap();
        rig.run(ms(100));
        assert_eq!(rig.server.opened.last().unwrap().2, sequence, "after {quiet} s");
    }
}

#[test]
fn a_server_that_breaks_the_rules_of_ids_is_counted_and_closed() {
    let new_cid = |sequence, cid: u8| Frame::NewCid { sequence, retire_below: 0, cid: [cid; 8] };
    let mut rig = Rig::connected();
    rig.say(&[new_cid(3, 0x33)]);
    assert_eq!(rig.client.violations(), 0);
    rig.say(&[new_cid(3, 0x33)]);
    assert_eq!(rig.client.violations(), 0, "a repetition");
    rig.say(&[new_cid(4, 0x44)]);
    assert_eq!(rig.client.violations(), 1, "a fifth");
    rig.say(&[new_cid(3, 0x55)]);
    assert_eq!(rig.client.violations(), 2, "another id under the same number");
    rig.say(&[new_cid(5, 0x33)]);
    assert_eq!(rig.client.violations(), 3, "the same id under another number");
    assert!(rig.client.is_connected());
    (0..5).for_each(|_| rig.say(&[new_cid(4, 0x44)]));
    assert_eq!(rig.reasons(), [CloseReason::ProtocolViolation]);
}

#[test]
fn without_an_id_in_the_handshake_offers_of_ids_mean_nothing() {
    let mut rig = Rig::usual();
    rig.server.gives_ids = false;
    rig.connect();
    rig.run(ms(200));
    for sequence in 0..20 {
        rig.say(&[Frame::NewCid { sequence, retire_below: sequence, cid: [3; 8] }]);
    }
    rig.moves(2);
    rig.run(ms(200));
    assert_eq!((rig.client.violations(), rig.server.dropped), (0, 0));
    assert!(rig.client.is_connected() && rig.server.opened.last().unwrap().1 == 2);
}

#[test]
fn whoever_moves_is_heard_at_once_and_shows_no_id_at_two_addresses() {
    let mut rig = Rig::connected();
    rig.client.connection_mut().send(0, Guarantee::Delivery, b"on its way").unwrap();
    rig.loses[0] = true;
    rig.flush();
    rig.run(ms(20));
    rig.loses[0] = false;
    for (move_to, sequence) in [(2, 1), (3, 2)] {
        let sent = rig.sent.len();
        rig.moves(move_to);
        let (at, from, datagram) = &rig.sent[sent];
        assert_eq!((*at, *from), (rig.now, move_to), "at once");
        assert_eq!(datagram[3..11], rig.server.given[sequence], "by a spare");
    }
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.server.heard, [b"on its way"]);
    rig.server.connection.send(0, Guarantee::Delivery, b"found you").unwrap();
    rig.run(ms(200));
    assert_eq!(rig.heard, [b"found you"]);
    // It has new spares by now, and moves twenty times more.
    for address in 4..24 {
        rig.client.connection_mut().send(0, Guarantee::Delivery, &[address]).unwrap();
        rig.moves(address);
        rig.run(ms(1_500));
    }
    assert_eq!(rig.server.heard.len(), 21, "each once");
    let mut shown = BTreeMap::new();
    for (_, from, datagram) in rig.sent.iter().filter(|(_, _, datagram)| datagram.len() != 1_203) {
        let id = datagram[3..11].to_vec();
        assert_eq!(shown.entry(id).or_insert(*from), from, "one id at two addresses");
    }
    assert!(shown.len() > 20);
    assert_eq!((rig.server.dropped, rig.reasons()), (0, vec![]));
    assert_eq!(rig.events.len(), 1, "and one session");
}

#[test]
fn whoever_moves_without_spares_stays_with_its_id_until_one_comes() {
    let mut rig = Rig::connected();
    rig.server.gives_spares = false;
    for address in 2..6 {
        rig.moves(address);
        rig.run(ms(100));
    }
    let sequences: Vec<_> = (2..6_u8)
        .map(|address| rig.server.opened.iter().find(|(_, from, _)| *from == address).unwrap().2)
        .collect();
    assert_eq!(sequences, [1, 2, 2, 2]);
    rig.server.give(rig.now);
    rig.run(ms(200));
    assert_eq!(rig.server.opened.last().unwrap().2, 3, "the worn one goes with the first chance");
}

#[test]
fn a_move_in_the_middle_of_a_handshake_costs_no_time() {
    for profile in ["client", "tofu"] {
        for move_after in [0, 10, 30, 50] {
            let client = credentials(profile, 0).with_route(b"abc").unwrap();
            let mut rig =
                Rig::new(client, Config::default(), Server::new(profile, b"abc", Config::default()));
            rig.connect();
            rig.run(ms(move_after));
            let sent = rig.sent.len();
            rig.moves(2);
            let left = &rig.sent[sent..];
            assert!(!left.is_empty() && left.iter().all(|(_, from, _)| *from == 2), "{profile} {move_after}");
            rig.run(ms(400));
            assert!(rig.client.is_connected(), "{profile} {move_after}");
            assert_eq!(rig.server.opened.last().unwrap().1, 2);
        }
    }
}

#[test]
fn a_cookie_is_not_shown_at_another_address() {
    let mut rig = Rig::usual();
    rig.connect();
    let cookies =
        |rig: &Rig| -> Vec<u8> { rig.sent.iter().map(|(_, _, init)| rig.server.read_init(init).0).collect() };
    let mut cookie = rig.server.cookie(&rig.sent[0].2, 7);
    rig.deliver(&mut cookie);
    rig.flush();
    assert_eq!(cookies(&rig), [0, 7]);
    rig.moves(2);
    assert_eq!(cookies(&rig), [0, 7, 0]);
}

#[test]
fn what_was_learnt_of_the_old_way_is_forgotten() {
    let mut rig = Rig::connected();
    for _ in 0..100 {
        rig.client.connection_mut().send(0, Guarantee::Delivery, &[1; 3_000]).unwrap();
        rig.run(ms(50));
    }
    assert!(rig.client.connection().mtu() > 1_400);
    let pto = rig.client.connection().pto();
    assert!(pto < ms(150), "{pto:?}");
    let queued = rig.client.connection_mut().send(0, Guarantee::Delivery, &[2; 3_000]).unwrap();
    rig.moves(2);
    assert_eq!((rig.client.connection().mtu(), rig.client.connection().pto()), (1_200, ms(325)));
    rig.run(ms(200));
    assert_eq!(rig.server.heard.last().unwrap(), &[2; 3_000], "{queued:?}");
    for _ in 0..100 {
        rig.client.connection_mut().send(0, Guarantee::Delivery, &[1; 3_000]).unwrap();
        rig.run(ms(50));
    }
    assert!(
        rig.client.connection().mtu() > 1_400 && rig.client.connection().pto() < ms(150),
        "and learnt again"
    );
}

#[test]
fn a_refused_renewal_for_forgeries_leaves_the_session_alone() {
    let config = Config { aead_failure_limit: 100, ..Config::default() };
    let mut rig = Rig::new(credentials("client", 0), config, Server::new("client", b"", Config::default()));
    rig.connect();
    rig.run(ms(500));
    rig.server.policy = Policy::Refuse(3);
    (0..50).for_each(|_| rig.deliver(&mut [7; 50]));
    assert!(rig.client.dial.is_some());
    rig.run(ms(300));
    assert!(rig.client.dial.is_none() && rig.client.is_connected());
    let sent = rig.sent.len();
    (0..30).for_each(|_| rig.deliver(&mut [7; 50]));
    rig.run(ms(300));
    assert!(rig.client.dial.is_none() && rig.reasons().is_empty());
    assert!(rig.sent[sent..].iter().all(|(_, _, datagram)| datagram.len() < 1_200), "it asks no more");
}

#[test]
fn a_redirect_is_told_once_a_session_and_three_times_a_minute_to_the_side_that_dialled() {
    let told =
        |rig: &Rig| rig.events.iter().filter(|event| matches!(event, Event::Redirected { .. })).count();
    let mut rig = Rig::usual();
    for session in 1..=5 {
        rig.connect();
        rig.run(ms(200));
        assert!(rig.client.is_connected());
        let ticket = [session; 100];
        rig.say(&[Frame::Redirect { ticket: &ticket }]);
        let (event, other) = (Event::Redirected { ticket: ticket.as_slice().into() }, [9; 5]);
        assert_eq!(rig.events.last() == Some(&event), session <= 3);
        rig.say(&[Frame::Redirect { ticket: &ticket }, Frame::Redirect { ticket: &other }]);
        assert_eq!(told(&rig), usize::from(session.min(3)), "once a session, three in a minute");
        assert!(rig.client.is_connected() && rig.client.violations() == 0, "the session goes on");
        rig.client.close(rig.now, 0, b"");
        rig.run(ms(200));
    }
    rig.run(Duration::from_secs(60));
    rig.connect();
    rig.run(ms(200));
    rig.say(&[Frame::Redirect { ticket: b"late" }]);
    assert_eq!(told(&rig), 4, "a minute later it is heard again");

    let mut world = World::pair("paired", 1);
    world.connect(0);
    world.settle();
    for (from, hears) in [(1, true), (0, false)] {
        let key = &mut world.peers[from].live.as_mut().unwrap().channel.seal;
        let (frame, mut packet) = (Frame::Redirect { ticket: b"x" }, vec![0; 100]);
        let len = seal_frame(key, &Prefix::default(), &frame, Padding::None, 100, &mut packet).unwrap();
        world.deliver(1 - from, &packet[..len]);
        let told = matches!(world.events[1 - from].last(), Some(Event::Redirected { .. }));
        assert_eq!(told, hears, "whoever was dialled sends nobody away");
    }
}

#[test]
fn a_refused_join_ends_with_the_servers_code_and_no_session() {
    for profile in SERVED {
        let client = credentials(profile, 0).with_route(b"abc").unwrap().with_ticket(b"stolen").unwrap();
        let mut rig = Rig::new(client, Config::default(), Server::new(profile, b"abc", Config::default()));
        rig.server.policy = Policy::Refuse(77);
        let queued = rig.client.connection_mut().send(0, Guarantee::Delivery, b"never sent").unwrap();
        rig.connect();
        rig.run(ms(300));
        let reason = CloseReason::ClosedByPeer { code: 77 };
        assert_eq!(rig.events, [Event::Closed { reason, undelivered: vec![queued] }], "{profile}");
        assert_eq!((rig.client.closed(), rig.client.drops().total()), (Some(reason), 0), "{profile}");
        let sent = rig.sent.len();
        rig.run(Duration::from_secs(40));
        assert_eq!((rig.sent.len(), rig.events.len()), (sent, 1), "{profile}: it does not ask again");
        assert_eq!(rig.client.deadline(), None);
        // Told to, it does.
        rig.server.policy = Policy::Accept;
        rig.connect();
        rig.run(ms(300));
        assert!(rig.client.is_connected(), "{profile}");
    }
}

#[test]
fn a_refusal_after_a_cancelled_dial_tells_nothing_more() {
    let mut rig = Rig::usual();
    rig.server.policy = Policy::Think;
    rig.connect();
    rig.run(ms(100));
    rig.client.close(rig.now, 0, b"changed my mind");
    rig.server.policy = Policy::Refuse(1);
    rig.run(Duration::from_secs(10));
    assert_eq!(rig.reasons(), [CloseReason::ClosedHere]);
    assert_eq!(rig.client.deadline(), None);
}

#[test]
fn a_server_that_lost_the_session_and_wants_no_new_one_is_believed() {
    let mut rig = Rig::connected();
    rig.server.policy = Policy::Refuse(5);
    rig.server.live = None;
    let begin = rig.now;
    rig.client.connection_mut().send(0, Guarantee::Delivery, b"hello?").unwrap();
    while rig.reasons().is_empty() && rig.now < begin + Duration::from_secs(10) {
        rig.run(ms(50));
    }
    assert_eq!(rig.reasons(), [CloseReason::ClosedByPeer { code: 5 }]);
    assert!(rig.now - begin < Duration::from_secs(4), "{:?}", rig.now - begin);
}

#[test]
fn a_restarted_server_is_joined_again_with_the_same_ticket() {
    let mut rig = Rig::usual();
    rig.client.set_ticket(b"season pass").unwrap();
    rig.connect();
    rig.run(ms(2_500));
    rig.server.live = None;
    rig.client.connection_mut().send(0, Guarantee::Delivery, b"hello?").unwrap();
    rig.run(Duration::from_secs(4));
    assert!(
        matches!(rig.events[..], [Event::Connected { .. }, Event::PeerReconnected { .. }]),
        "{:?}",
        rig.events
    );
    assert_eq!(rig.server.tickets, [b"season pass"; 2]);
}
