//! A server on a real socket with an honest player and a raider beside it: garbage, a first message again and again, a
//! cookie, and then a session without rules. Only the time is virtual.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use sealgram::fuzzing::{EvilHandshake, EvilSession};
use sealgram::{
    CloseReason, Config, Credentials, Event, Guarantee, Sealed, SealedEndpoint, SealedServer, SecretKey,
    ServerConfig, Trust,
};

use crate::bytes::{CONFIRM, COOKIE, HANDSHAKE_BYTES, INIT, body, hello, noise_of};
use crate::common::End;
use crate::victim::{clock::Clock, evil_init};

fn server_key() -> SecretKey {
    SecretKey::from_bytes([1; 32])
}

fn client(byte: u8) -> Credentials {
    Credentials::client_auth(&SecretKey::from_bytes([byte; 32]), server_key().public_key()).unwrap()
}

fn connected(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Who dials as a player would, and has no rules once he is in.
struct Raider {
    socket: UdpSocket,
    handshake: EvilHandshake,
    noise: Vec<u8>,
    /// Without a cookie, and with the last one.
    inits: Vec<Vec<u8>>,
    session: Option<(EvilSession, Vec<u8>)>,
    next: u64,
}

impl Raider {
    fn new(server: SocketAddr) -> Self {
        let (handshake, init) = evil_init(&client(3), &hello(), 1);
        let noise = noise_of(&handshake.body(true, 0, &init).unwrap()).to_vec();
        let inits = vec![init];
        Self { socket: connected(server), handshake, noise, inits, session: None, next: 0 }
    }

    /// Some of it may be lost without harm.
    fn say(&mut self, round: usize) {
        let _ = self.socket.send(&vec![0xa5; 1 + round * 7 % 1_400]);
        if round % 8 == 0 {
            let _ = self.socket.send(&self.inits[round / 8 % self.inits.len()]);
        }
        let Some((session, cid)) = self.session.as_ref().filter(|_| round % 4 == 0 && self.next < 12) else {
            return;
        };
        let payload = if self.next == 0 { &CONFIRM[..] } else { &[0x30] };
        let packet = session.packet(cid, 0, self.next, payload);
        self.next += 1;
        let _ = (self.socket.send(&packet), self.socket.send(&packet));
    }

    fn hear(&mut self) {
        let mut buffer = [0; 2_000];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let Some(answer) = self.handshake.body(false, 0, &buffer[..len]) else { continue };
            if answer[0] == COOKIE {
                let cookie = answer[2..18].try_into().unwrap();
                let init = body(INIT, cookie, [0; 16], &self.noise, HANDSHAKE_BYTES);
                self.inits.truncate(1);
                self.inits.push(self.handshake.envelope(true, &[], &init));
            } else if self.session.is_none() {
                let (mut same, _) = evil_init(&client(3), &hello(), 1);
                let said = same.read(noise_of(&answer)).unwrap();
                self.session = same.session().map(|session| (session, said[25..].to_vec()));
            }
        }
    }
}

/// Lets everybody in, answers every message, and notes how sessions end.
fn serve(server: &mut SealedServer<UdpSocket>, ended: &mut Vec<CloseReason>) {
    while let Some((id, message)) = server.recv() {
        let bytes = message.to_vec();
        server.peer(id).unwrap().send_payload(Guarantee::Delivery, &bytes).unwrap();
    }
    while let Some((id, event)) = server.poll_event() {
        match event {
            Event::Join { .. } => assert!(server.accept(id)),
            Event::Closed { reason, .. } => ended.push(reason),
            _ => {}
        }
    }
    server.maintain();
}

#[test]
fn on_real_sockets_a_server_serves_the_honest_beside_the_evil() {
    let clock = Clock::new(Duration::from_millis(1));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let mut config = ServerConfig::default();
    config.flood.require_cookie = true;
    let credentials = Credentials::server_auth(&server_key(), Trust::Anyone);
    let mut server =
        SealedServer::with_environment(socket, credentials, config, clock.environment(1)).unwrap();
    let player =
        SealedEndpoint::with_environment(connected(at), client(2), Config::default(), clock.environment(2));
    let mut player: End<Sealed, UdpSocket> = End::new(player.unwrap());
    player.endpoint.connect().unwrap();
    player.endpoint.send_payload(Guarantee::Delivery, b"honest").unwrap();
    let (mut raider, mut ended, mut echoed) = (Raider::new(at), Vec::new(), 0);
    for round in 0..8_000 {
        clock.advance();
        raider.say(round);
        serve(&mut server, &mut ended);
        player.step();
        if player.heard.len() > echoed {
            echoed = player.heard.len();
            player.endpoint.send_payload(Guarantee::Delivery, b"again").unwrap();
        }
        raider.hear();
        if echoed > 20 && !ended.is_empty() {
            break;
        }
    }
    assert_eq!(ended, [CloseReason::ProtocolViolation], "who breaks the rules is out");
    assert!(echoed > 20, "who keeps them is served: {echoed}");
    assert_eq!((server.len(), player.closed), (1, None));
}
