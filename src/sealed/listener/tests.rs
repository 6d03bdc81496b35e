//! What a server keeps of a session, seen from inside: a real client beside it, and no network between them.

use super::*;
use crate::{
    delivery::Guarantee,
    error::{CloseReason, Dropped},
    event::Event,
    sealed::{
        Sealed,
        half_open::ENTRY_LIFE,
        messages::PACKET_OVERHEAD,
        tests::{Chance, credentials, start},
        timers::TICK,
    },
};

/// A server and its client, until neither has anything to send.
fn exchange(now: Instant, rng: &mut Chance, listener: &mut Listener, client: &mut Sealed) {
    let from = ([192, 0, 2, 1], 1).into();
    let mut room = vec![0; 1_500];
    loop {
        let len = client.poll_transmit(now, rng, &mut room);
        if len > 0 {
            let (Ok(_) | Err(_)) = listener.handle_datagram(now, rng, from, &mut room[..len]);
        }
        let sent = listener.poll_transmit(now, rng, &mut room);
        if let Some((len, _)) = sent {
            client.handle_datagram(now, rng, &mut room[..len]);
        }
        if len == 0 && sent.is_none() {
            return;
        }
    }
}

impl Listener {
    pub(super) fn handle_datagram<R: TryCryptoRng + ?Sized>(
        &mut self,
        now: Instant,
        rng: &mut R,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<Option<PeerId>, Dropped> {
        let ahead = self.look_ahead(now, from, datagram);
        self.take_datagram(now, rng, from, ahead, datagram)
    }
}

#[test]
fn tries_to_confirm_handshakes_count_among_the_envelopes() {
    let (mut rng, now) = (Chance(1), start());
    let mut config = ServerConfig::default();
    config.flood.envelopes_per_second = 1_000;
    let (mut listener, confirm) = answered(now, &mut rng, config);
    let from = ([192, 0, 2, 1], 1).into();
    // INIT was the first of a thousand; strangers take all but two, and two forgeries under its id those.
    assert!((0..997).all(|_| listener.gate.take_envelope(now)));
    for _ in 0..2 {
        let mut forged = confirm.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(listener.handle_datagram(now, &mut rng, from, &mut forged).is_err());
    }
    let later = now + Duration::from_secs(1);
    for (at, joins) in [(now, 0), (later, 1)] {
        let (Ok(_) | Err(_)) = listener.handle_datagram(at, &mut rng, from, &mut confirm.clone());
        assert_eq!(listener.peers.asking(), joins);
    }
}

#[test]
fn a_try_makes_what_opens_and_the_rest_is_made_for_one_that_opened() {
    let (mut rng, now) = (Chance(1), start());
    let (mut listener, confirm) = answered(now, &mut rng, ServerConfig::default());
    let from = ([192, 0, 2, 1], 1).into();
    let mut forged = confirm.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut derived = |mut datagram: Vec<u8>| {
        let handled = || listener.handle_datagram(now, &mut rng, from, &mut datagram).map_err(drop).map(drop);
        crypto::counter::of(handled)
    };
    // The direction's secret, the key of headers, the key and the nonce of packets.
    let opening = 4;
    for _ in 0..2 {
        assert_eq!(derived(forged.clone()), (Err(()), opening));
    }
    // Then what the next epoch begins with, the other direction's, and what the application gets.
    assert_eq!(derived(confirm), (Ok(()), opening + 3 + 4 + 1));
    assert_eq!(listener.peers.asking(), 1);
}

#[test]
fn the_keys_of_a_session_go_with_its_end_and_what_it_brought_is_still_yielded() {
    let (mut rng, now) = (Chance(1), start());
    let (mut listener, mut client) = strangers(now, &mut rng, ServerConfig::default());
    exchange(now, &mut rng, &mut listener, &mut client);
    let Some((id, Event::Join { .. })) = listener.peers.poll_event() else { panic!("nobody asks") };
    assert!(listener.accept(now, &mut rng, id));
    exchange(now, &mut rng, &mut listener, &mut client);
    assert!(client.is_connected());
    client.connection_mut().send(0, Guarantee::Delivery, b"last words").unwrap();
    client.connection_mut().flush();
    exchange(now, &mut rng, &mut listener, &mut client);
    let secret = |listener: &Listener| *listener.peers.get(id).unwrap().peer.live.channel.exporter.as_bytes();
    assert_ne!(secret(&listener), [0; 32]);
    assert!(listener.close(now, id, 7, b"") && listener.peers.get(id).unwrap().has_ended());
    assert_eq!(secret(&listener), [0; 32], "the keys are gone");
    assert!(listener.export_key(id, b"context").is_none(), "and none is made of nothing");
    let connection = listener.peers.connection_mut(id).unwrap();
    assert!(connection.pop().is_some(), "the message is not");
    listener.finish(id);
    assert!(listener.peers.get(id).is_none());
}

/// A server and its client before either begins.
fn strangers(now: Instant, rng: &mut Chance, config: ServerConfig) -> (Listener, Sealed) {
    let dials = credentials("client_auth", 0).with_route(&config.route).unwrap();
    let listener = Listener::new(credentials("client_auth", 1), config, None, now, rng).unwrap();
    let mut client = Sealed::new(dials, Config::default(), now).unwrap();
    client.connect(now, rng).unwrap();
    (listener, client)
}

/// A server that answered, and the CONFIRM that it has not seen yet.
fn answered(now: Instant, rng: &mut Chance, config: ServerConfig) -> (Listener, Vec<u8>) {
    let (mut listener, mut client) = strangers(now, rng, config);
    let (from, mut init) = (([192, 0, 2, 1], 1).into(), said(now, rng, &mut client));
    assert_eq!(listener.handle_datagram(now, rng, from, &mut init), Ok(None));
    let mut room = vec![0; 1_500];
    let (len, _) = listener.poll_transmit(now, rng, &mut room).unwrap();
    client.handle_datagram(now, rng, &mut room[..len]);
    (listener, said(now, rng, &mut client))
}

/// A server that was joined, its peer, and the client.
fn joined(now: Instant, rng: &mut Chance) -> (Listener, PeerId, Sealed) {
    joined_with(now, rng, ServerConfig::default())
}

fn joined_with(now: Instant, rng: &mut Chance, config: ServerConfig) -> (Listener, PeerId, Sealed) {
    let (mut listener, mut client) = strangers(now, rng, config);
    exchange(now, rng, &mut listener, &mut client);
    let (id, _) = listener.peers.poll_event().unwrap();
    assert!(listener.accept(now, rng, id));
    exchange(now, rng, &mut listener, &mut client);
    assert!(client.is_connected());
    (listener, id, client)
}

/// The next packet of the client, with a message of its own.
fn message(now: Instant, rng: &mut Chance, client: &mut Sealed) -> Vec<u8> {
    client.connection_mut().send(0, Guarantee::None, b"hello").unwrap();
    client.connection_mut().flush();
    said(now, rng, client)
}

fn failures(listener: &Listener, id: PeerId) -> u64 {
    listener.peers.get(id).unwrap().peer.live.failures
}

/// How the session of this peer ended, each time that it is told.
fn ends(listener: &mut Listener) -> Vec<CloseReason> {
    let events = std::iter::from_fn(|| listener.peers.poll_event());
    let reason = |(_, event)| match event {
        Event::Closed { reason, .. } => Some(reason),
        _ => None,
    };
    events.filter_map(reason).collect()
}

/// What becomes of datagrams that came together.
fn take_row(
    (now, rng): (Instant, &mut Chance),
    listener: &mut Listener,
    row: &mut [Vec<u8>],
) -> Vec<Result<Option<PeerId>, Dropped>> {
    let from = ([192, 0, 2, 1], 1).into();
    let ahead: Vec<_> = row.iter_mut().map(|each| listener.look_ahead(now, from, each)).collect();
    let turns = row.iter_mut().zip(ahead);
    turns.map(|(each, ahead)| listener.take_datagram(now, rng, from, ahead, each)).collect()
}

fn said(now: Instant, rng: &mut Chance, client: &mut Sealed) -> Vec<u8> {
    let mut room = vec![0; 1_500];
    let len = client.poll_transmit(now, rng, &mut room);
    assert!(len > 0);
    room.truncate(len);
    room
}

#[test]
fn of_what_came_together_nothing_is_yielded_behind_the_end_of_its_session() {
    let (mut rng, now) = (Chance(2), start());
    let (mut listener, id, mut client) = joined(now, &mut rng);
    client.connection_mut().send(0, Guarantee::None, b"late").unwrap();
    client.connection_mut().flush();
    let message = said(now, &mut rng, &mut client);
    client.close(now, 0, &[]);
    let end = said(now, &mut rng, &mut client);
    let taken = take_row((now, &mut rng), &mut listener, &mut [end, message]);
    assert_eq!(taken, [Ok(Some(id)), Err(Dropped::Unopened)]);
    assert!(listener.peers.connection_mut(id).is_none_or(|connection| connection.pop().is_none()));
}

#[test]
fn a_session_that_begins_by_one_of_them_takes_the_others_that_came_with_it() {
    let (mut rng, now) = (Chance(3), start());
    let (mut listener, confirm) = answered(now, &mut rng, ServerConfig::default());
    let taken = take_row((now, &mut rng), &mut listener, &mut [confirm.clone(), confirm]);
    assert_eq!(taken, [Ok(None), Err(Dropped::Duplicate)]);
    assert_eq!(listener.peers.asking(), 1);
}

#[test]
fn what_is_not_the_peers_among_them_counts_once_and_costs_the_others_nothing() {
    let (mut rng, now) = (Chance(4), start());
    let (mut listener, id, mut client) = joined(now, &mut rng);
    let mut row = Vec::new();
    for _ in 0..5 {
        client.connection_mut().send(0, Guarantee::None, b"hello").unwrap();
        client.connection_mut().flush();
        let good = said(now, &mut rng, &mut client);
        let mut bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        row.extend([bad, good.clone(), good]);
    }
    let taken = take_row((now, &mut rng), &mut listener, &mut row);
    for three in taken.chunks(3) {
        assert_eq!(three, [Err(Dropped::Unopened), Ok(Some(id)), Err(Dropped::Duplicate)]);
    }
    let round = listener.peers.round();
    let member = listener.peers.get_mut(id).unwrap();
    assert_eq!((member.peer.live.failures, member.reads_in(round)), (5, 5 + 1));
    let connection = listener.peers.connection_mut(id).unwrap();
    assert!((0..5).all(|_| connection.pop().is_some()), "all of them are there");
}

#[test]
fn a_session_that_ended_and_has_something_left_to_yield_takes_nothing_more_and_ends_once() {
    let (mut rng, now) = (Chance(5), start());
    let session = Config { aead_failure_limit: 1, ..Config::default() };
    let config = ServerConfig { session, ..ServerConfig::default() };
    let (mut listener, id, mut client) = joined_with(now, &mut rng, config);
    assert_eq!(ends(&mut listener), []);
    let [first, late] = [(); 2].map(|()| message(now, &mut rng, &mut client));
    client.close(now, 0, &[]);
    let end = said(now, &mut rng, &mut client);
    let mut forged = end.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut row = [first.clone(), end, forged, late, first];
    let taken = take_row((now, &mut rng), &mut listener, &mut row);
    let unopened = Err(Dropped::Unopened);
    assert_eq!(taken, [Ok(Some(id)), Ok(Some(id)), unopened, unopened, unopened]);
    assert_eq!(failures(&listener, id), 0, "nothing counts any more");
    assert_eq!(ends(&mut listener), [CloseReason::ClosedByPeer { code: 0 }]);
    let connection = listener.peers.connection_mut(id).unwrap();
    assert!(connection.pop().is_some() && connection.pop().is_none(), "what came before is yielded");
}

#[test]
fn the_eighth_packet_that_breaks_the_epoch_rule_ends_the_session_also_of_those_that_came_together() {
    let (mut rng, now) = (Chance(6), start());
    let (mut listener, id, mut client) = joined(now, &mut rng);
    assert_eq!(ends(&mut listener), []);
    let mut row = Vec::new();
    for number in 0..10 {
        // The first step is as it should be; the second follows at once.
        if number < 2 {
            client.live.as_mut().unwrap().channel.seal.ratchet();
        }
        row.push(message(now, &mut rng, &mut client));
    }
    let taken = take_row((now, &mut rng), &mut listener, &mut row);
    let mut expected = vec![Err(Dropped::Epoch); 10];
    (expected[0], expected[9]) = (Ok(Some(id)), Err(Dropped::Unopened));
    assert_eq!(taken, expected);
    assert_eq!(ends(&mut listener), [CloseReason::ProtocolViolation]);
}

#[test]
fn under_one_id_a_thousand_datagrams_a_second_from_elsewhere_are_opened_and_no_more() {
    let (mut rng, now) = (Chance(7), start());
    let (mut listener, id, mut client) = joined(now, &mut rng);
    let good = message(now, &mut rng, &mut client);
    let elsewhere = |host| SocketAddr::from(([198, 51, 100, host], 7));
    let mut take = |listener: &mut Listener, now, from, change: u8| {
        let mut datagram = good.clone();
        *datagram.last_mut().unwrap() ^= change;
        listener.handle_datagram(now, &mut rng, from, &mut datagram)
    };
    for number in 0..1_500_u16 {
        let host = number.to_le_bytes()[0];
        assert_eq!(take(&mut listener, now, elsewhere(host), 1), Err(Dropped::Unopened));
    }
    assert_eq!(failures(&listener, id), 1_000, "at the bound");
    assert_eq!(take(&mut listener, now, elsewhere(9), 0), Err(Dropped::Unopened), "not even what is genuine");
    let own = ([192, 0, 2, 1], 1).into();
    assert_eq!(take(&mut listener, now, own, 1), Err(Dropped::Unopened));
    assert_eq!(failures(&listener, id), 1_001, "the peer's own address has no part in it");
    assert_eq!(take(&mut listener, now, own, 0), Ok(Some(id)));
    let later = now + Duration::from_millis(500);
    for _ in 0..700 {
        let _ = take(&mut listener, later, elsewhere(9), 1);
    }
    assert_eq!(failures(&listener, id), 1_501);
}

#[test]
fn what_has_another_route_or_another_length_than_ours_is_not_tried() {
    let (mut rng, now) = (Chance(8), start());
    let config = ServerConfig { route: b"eu-3".to_vec(), ..ServerConfig::default() };
    let largest = usize::from(config.session.max_datagram_bytes);
    let (mut listener, id, mut client) = joined_with(now, &mut rng, config);
    let good = message(now, &mut rng, &mut client);
    let own = ([192, 0, 2, 1], 1).into();
    let mut take = |datagram: &[u8]| {
        let taken = listener.handle_datagram(now, &mut rng, own, &mut datagram.to_vec());
        (taken, failures(&listener, id))
    };
    let shortest = b"eu-3".len() + CID_LEN + PACKET_OVERHEAD + 1;
    let of_length = |len: usize| {
        let mut datagram = good.clone();
        datagram.resize(len, 5);
        datagram
    };
    let (length, unopened) = (Err(Dropped::Length), Err(Dropped::Unopened));
    let mut elsewhere = good.clone();
    elsewhere[3] = b'4';
    assert_eq!(take(&elsewhere), (unopened, 0), "another route");
    for short in 0..shortest {
        assert_eq!(take(&of_length(short)), (length, 0), "{short} bytes");
    }
    assert_eq!(take(&of_length(largest + 1)), (length, 0));
    assert_eq!(take(&of_length(shortest)), (unopened, 1), "at the bounds it is tried");
    assert_eq!(take(&of_length(largest)), (unopened, 2));
    assert_eq!(take(&good), (Ok(Some(id)), 2));
}

#[test]
fn a_handshake_whose_time_is_over_is_not_confirmed_although_no_timer_ran() {
    for (late, asks) in [(Duration::from_millis(1), 1), (Duration::ZERO, 0)] {
        let (mut rng, mut now) = (Chance(9), start());
        let (mut listener, confirm) = answered(now, &mut rng, ServerConfig::default());
        let from = ([192, 0, 2, 1], 1).into();
        let ends = now + ENTRY_LIFE;
        // Awake all the while: somebody's garbage comes, of which nothing is left.
        while now + TICK < ends {
            now += TICK;
            let taken = listener.handle_datagram(now, &mut rng, from, &mut [7; 60]);
            assert_eq!(taken, Err(Dropped::Unopened));
        }
        let taken = listener.handle_datagram(ends - late, &mut rng, from, &mut confirm.clone());
        assert_eq!(taken, if asks == 1 { Ok(None) } else { Err(Dropped::Unopened) });
        assert_eq!(listener.peers.asking(), asks);
    }
}
