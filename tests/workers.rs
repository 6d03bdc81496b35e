//! Several servers on one port, over real sockets: a player stays with its worker when its address changes.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "real sockets live in real time")]

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use sealgram::{
    Config, Credentials, Event, Guarantee, PublicKey, SealedEndpoint, SealedServer, SecretKey, ServerConfig,
    Trust, Worker, WorkerSocket, bind_workers,
};

const PLAYERS: usize = 12;

/// One worker's loop: lets everybody in and echoes.
fn serve(server: &mut SealedServer<WorkerSocket>, events: &mut Vec<Event>) {
    let mut heard = Vec::new();
    while let Some((id, message)) = server.recv() {
        heard.push((id, message.to_vec()));
    }
    for (id, words) in heard {
        if let Some(mut peer) = server.peer(id) {
            peer.send_payload(Guarantee::Delivery, &words).unwrap();
        }
    }
    while let Some((id, event)) = server.poll_event() {
        if let Event::Join { .. } = event {
            assert!(server.accept(id));
        }
        events.push(event);
    }
    server.maintain();
}

fn socket(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(to).unwrap();
    socket
}

fn player(to: SocketAddr, server: PublicKey) -> SealedEndpoint<UdpSocket> {
    let own = SecretKey::generate().unwrap();
    let credentials = Credentials::client_auth(&own, server).unwrap();
    let mut player = SealedEndpoint::with_credentials(socket(to), credentials, Config::default()).unwrap();
    player.connect().unwrap();
    player
}

/// The same keys in every worker.
fn credentials(key: &SecretKey) -> Credentials {
    Credentials::server_auth(&SecretKey::from_bytes(*key.expose_bytes()), Trust::Anyone)
}

fn config(index: u8) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.worker = Some(Worker { index, count: 2 });
    config.flood.require_cookie = true;
    config
}

#[test]
fn players_of_two_workers_keep_their_sessions_wherever_they_move() {
    let key = SecretKey::generate().unwrap();
    let sockets = bind_workers("127.0.0.1:0".parse().unwrap(), 2, 0, &Config::default()).unwrap();
    let [first, second]: [WorkerSocket; 2] = sockets.try_into().ok().unwrap();
    let mut first = SealedServer::new(first, credentials(&key), config(0)).unwrap();
    let mut second = first.another_worker(second, credentials(&key), config(1)).unwrap();
    let to = first.socket().local_addr().unwrap();
    let mut players: Vec<_> = (0..PLAYERS).map(|_| player(to, key.public_key())).collect();
    let mut events = [Vec::new(), Vec::new()];
    // In each round everybody says something and hears it, then moves to another port.
    for round in 0..6_u8 {
        for player in &mut players {
            player.send_payload(Guarantee::Delivery, &[round; 40]).unwrap();
        }
        let end = Instant::now() + Duration::from_secs(20);
        let mut answered = BTreeSet::new();
        while answered.len() < PLAYERS {
            assert!(Instant::now() < end, "round {round}: {} of {PLAYERS}", answered.len());
            serve(&mut first, &mut events[0]);
            serve(&mut second, &mut events[1]);
            for (index, player) in players.iter_mut().enumerate() {
                while let Some(message) = player.recv().unwrap() {
                    assert_eq!(*message, [round; 40]);
                    assert!(answered.insert(index));
                }
                player.maintain().unwrap();
            }
            thread::sleep(Duration::from_millis(1));
        }
        for player in &mut players {
            player.replace_socket(socket(to)).unwrap();
        }
    }
    let begun =
        |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Connected { .. })).count();
    assert_eq!(begun(&events[0]) + begun(&events[1]), PLAYERS);
    assert_eq!(first.len() + second.len(), PLAYERS);
    let ended = events.iter().flatten().any(|event| matches!(event, Event::Closed { .. }));
    assert!(!ended);
}
