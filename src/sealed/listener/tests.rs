//! What a server keeps of a session, seen from inside: a real client beside it, and no network between them.

use super::*;
use crate::{
    delivery::Guarantee,
    error::Dropped,
    event::Event,
    sealed::{
        Sealed,
        tests::{Chance, credentials, start},
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
    let mut listener = Listener::new(credentials("client_auth", 1), config, None, now, &mut rng).unwrap();
    let mut client = Sealed::new(credentials("client_auth", 0), Config::default(), now).unwrap();
    client.connect(now, &mut rng).unwrap();
    let (from, mut room) = (([192, 0, 2, 1], 1).into(), vec![0; 1_500]);
    let len = client.poll_transmit(now, &mut rng, &mut room);
    assert_eq!(listener.handle_datagram(now, &mut rng, from, &mut room[..len]), Ok(None));
    let (len, _) = listener.poll_transmit(now, &mut rng, &mut room).unwrap();
    client.handle_datagram(now, &mut rng, &mut room[..len]);
    let len = client.poll_transmit(now, &mut rng, &mut room);
    let confirm = room[..len].to_vec();
    // INIT was the first of a thousand; strangers take all but two, and two forgeries under its id those.
    assert!((0..997).all(|_| listener.gate.take_envelope(now)));
    for _ in 0..2 {
        let mut forged = confirm.clone();
        forged[len - 1] ^= 1;
        assert!(listener.handle_datagram(now, &mut rng, from, &mut forged).is_err());
    }
    let later = now + Duration::from_secs(1);
    for (at, joins) in [(now, 0), (later, 1)] {
        let (Ok(_) | Err(_)) = listener.handle_datagram(at, &mut rng, from, &mut confirm.clone());
        assert_eq!(listener.peers.asking(), joins);
    }
}

#[test]
fn the_keys_of_a_session_go_with_its_end_and_what_it_brought_is_still_yielded() {
    let (mut rng, now) = (Chance(1), start());
    let mut listener =
        Listener::new(credentials("client_auth", 1), ServerConfig::default(), None, now, &mut rng).unwrap();
    let mut client = Sealed::new(credentials("client_auth", 0), Config::default(), now).unwrap();
    client.connect(now, &mut rng).unwrap();
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

/// A server that was joined, its peer, and the client.
fn joined(now: Instant, rng: &mut Chance) -> (Listener, PeerId, Sealed) {
    let config = ServerConfig::default();
    let mut listener = Listener::new(credentials("client_auth", 1), config, None, now, rng).unwrap();
    let mut client = Sealed::new(credentials("client_auth", 0), Config::default(), now).unwrap();
    client.connect(now, rng).unwrap();
    exchange(now, rng, &mut listener, &mut client);
    let (id, _) = listener.peers.poll_event().unwrap();
    assert!(listener.accept(now, rng, id));
    exchange(now, rng, &mut listener, &mut client);
    assert!(client.is_connected());
    (listener, id, client)
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
    let config = ServerConfig::default();
    let mut listener = Listener::new(credentials("client_auth", 1), config, None, now, &mut rng).unwrap();
    let mut client = Sealed::new(credentials("client_auth", 0), Config::default(), now).unwrap();
    client.connect(now, &mut rng).unwrap();
    let (from, mut init) = (([192, 0, 2, 1], 1).into(), said(now, &mut rng, &mut client));
    assert_eq!(listener.handle_datagram(now, &mut rng, from, &mut init), Ok(None));
    let mut room = vec![0; 1_500];
    let (len, _) = listener.poll_transmit(now, &mut rng, &mut room).unwrap();
    client.handle_datagram(now, &mut rng, &mut room[..len]);
    let confirm = said(now, &mut rng, &mut client);
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
