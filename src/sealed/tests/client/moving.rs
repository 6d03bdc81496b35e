//! Ids, and where a client shows them.

use super::*;

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
