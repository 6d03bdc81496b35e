//! What a server keeps of a session, seen from inside: a real client beside it, and no network between them.

use super::*;
use crate::{
    delivery::Guarantee,
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
