//! Sealed and plain peers that meet. Neither takes a datagram of the other for one of its own, and nothing turns one into
//! the other. PROTOCOL.md, "Plain endpoint".

use std::net::SocketAddr;

use sealgram::sim::{Link, Net};
use sealgram::{Config, Guarantee, ServerConfig, Session};

use crate::common::Pair;
use crate::held::{Held, recorded, small};
use crate::server::host::{Kind, PlainScene, Scene, port};
use crate::victim::{Victim, invite};

/// Both kinds exist in this file only to meet: neither takes a datagram of the other for one of its own.
fn assert_deaf<S: Session>(mut to: Held<S>, from: &[(usize, Vec<u8>)]) {
    for (number, (at, datagram)) in from.iter().enumerate() {
        to.assert_nothing(*at, datagram, &format!("datagram {number} of the other kind"));
    }
}

#[test]
fn a_sealed_endpoint_accepts_no_plain_datagram_and_a_plain_one_no_sealed() {
    let (sealed, from_sealed) = recorded(Pair::sealed(7, Link::default(), &small()));
    let (plain, from_plain) = recorded(Pair::plain(7, Link::default(), &small()));
    assert_deaf(sealed, &from_plain);
    assert_deaf(plain, &from_sealed);
}

/// Over a real socket too.
#[test]
fn a_sealed_endpoint_on_a_socket_does_not_answer_a_plain_peer() {
    let (_, from_plain) = recorded(Pair::plain(81, Link::default(), &small()));
    let mut victim = Victim::new(invite(), &Config::default());
    for (_, datagram) in &from_plain {
        victim.assert_nothing(datagram, "of a plain peer, to one who waits");
    }
    victim.endpoint.connect().unwrap();
    victim.said();
    for (_, datagram) in &from_plain {
        victim.assert_nothing(datagram, "of a plain peer, to one who dials");
    }
}

/// All that a player and a server of this kind say to each other.
fn talk<K: Kind + Talks>(seed: u64) -> (K, Vec<(SocketAddr, Vec<u8>)>) {
    let mut scene = K::of(seed, Link::default(), &ServerConfig::default());
    scene.net().record(true);
    scene.player(&Config::default());
    scene.play();
    let said = scene.net().captured().into_iter().filter(|each| each.to == port());
    let said = said.map(|each| (each.from, each.bytes)).collect();
    (scene, said)
}

trait Talks {
    fn net(&self) -> Net;
    /// Lets the player join and say something.
    fn play(&mut self);
    /// How many datagrams the server says to these, and whether anything has happened.
    fn hear(&mut self, datagrams: &[(SocketAddr, Vec<u8>)]) -> (usize, bool);
}

macro_rules! talks {
    ($scene:ty) => {
        impl Talks for $scene {
            fn net(&self) -> Net {
                self.net.clone()
            }

            fn play(&mut self) {
                self.host.echoes = true;
                self.all_join();
                self.players[0].endpoint.send_payload(Guarantee::Delivery, b"hello").unwrap();
                let echoed = |scene: &mut Self| !scene.players[0].heard.is_empty();
                assert!(self.run_until(std::time::Duration::from_secs(3), echoed));
            }

            fn hear(&mut self, datagrams: &[(SocketAddr, Vec<u8>)]) -> (usize, bool) {
                drop(self.net.captured());
                let before = (self.host.events.len(), self.host.heard.len(), self.host.server.len());
                for (from, bytes) in datagrams {
                    self.net.inject(*from, port(), bytes);
                    self.host.step();
                }
                let said = self.net.captured().into_iter().filter(|each| each.from == port()).count();
                (said, before != (self.host.events.len(), self.host.heard.len(), self.host.server.len()))
            }
        }
    };
}

talks!(Scene);
talks!(PlainScene);

#[test]
fn a_sealed_server_is_deaf_to_plain_players_and_a_plain_one_to_sealed() {
    let (mut sealed, to_sealed) = talk::<Scene>(82);
    let (mut plain, to_plain) = talk::<PlainScene>(83);
    assert!(to_sealed.len() >= 3 && to_plain.len() >= 3);
    assert_eq!(sealed.hear(&to_plain), (0, false));
    assert_eq!(plain.hear(&to_sealed), (0, false));
    sealed.players[0].heard.clear();
    plain.players[0].heard.clear();
    sealed.play();
    plain.play();
}
