//! Routes, tickets, refusals and redirects.

use super::*;

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
