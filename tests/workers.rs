//! Several servers on one port, over real sockets: a player stays with its worker when its address changes, and leaves
//! nothing behind at one when it comes back to another.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "real sockets live in real time")]

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use sealgram::{
    AddressedUdp, CloseReason, Config, Credentials, Event, Guarantee, PeerId, PublicKey, SealedEndpoint,
    SealedServer, SecretKey, ServerConfig, StartError, Trust, Worker, WorkerSocket, bind_workers,
};

const PLAYERS: usize = 12;

/// One worker's loop: lets everybody in and echoes.
fn serve(server: &mut SealedServer<impl AddressedUdp>, events: &mut Vec<Event>) {
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

fn player(to: SocketAddr, own: &SecretKey, server: PublicKey) -> SealedEndpoint<UdpSocket> {
    let credentials = Credentials::client_auth(own, server).unwrap();
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
    config.accept_timeout = Duration::from_secs(5);
    config
}

/// Both workers of one port.
fn two_workers(key: &SecretKey) -> (SealedServer<WorkerSocket>, SealedServer<WorkerSocket>) {
    let sockets = bind_workers("127.0.0.1:0".parse().unwrap(), 2, 0, &Config::default()).unwrap();
    let [first, second]: [WorkerSocket; 2] = sockets.try_into().ok().unwrap();
    let first = SealedServer::new(first, credentials(key), config(0)).unwrap();
    let second = first.another_worker(second, credentials(key), config(1)).unwrap();
    (first, second)
}

#[test]
fn players_of_two_workers_keep_their_sessions_wherever_they_move() {
    let key = SecretKey::generate().unwrap();
    let (mut first, mut second) = two_workers(&key);
    let to = first.socket().local_addr().unwrap();
    let mut players: Vec<_> =
        (0..PLAYERS).map(|_| player(to, &SecretKey::generate().unwrap(), key.public_key())).collect();
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

/// How often a session ended because its player came back.
fn replaced(events: &[Event]) -> usize {
    let replaced = |event: &&Event| matches!(event, Event::Closed { reason: CloseReason::Replaced, .. });
    events.iter().filter(replaced).count()
}

#[test]
fn a_player_who_comes_back_to_another_worker_leaves_no_session_at_the_first() {
    let key = SecretKey::generate().unwrap();
    let (mut first, mut second) = two_workers(&key);
    let to = first.socket().local_addr().unwrap();
    let own = SecretKey::generate().unwrap();
    let mut events = [Vec::new(), Vec::new()];
    let mut before = None;
    let mut at = Vec::new();
    // The kernel decides by the player's port who gets him: in 64 tries both, and both changes.
    let both_ways =
        |at: &[usize]| [[0, 1], [1, 0]].iter().all(|change| at.windows(2).any(|two| two == change));
    while !both_ways(&at) {
        assert!(at.len() < 64, "{at:?}");
        let mut now = player(to, &own, key.public_key());
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < end, "{at:?}, then {} and {}", first.len(), second.len());
            serve(&mut first, &mut events[0]);
            serve(&mut second, &mut events[1]);
            let _ = now.recv();
            now.maintain().unwrap();
            let left = before.as_mut().is_none_or(|before: &mut SealedEndpoint<UdpSocket>| {
                while let Ok(Some(_)) = before.recv() {}
                before.maintain() == Err(CloseReason::Replaced)
            });
            if left && now.is_connected() && first.len() + second.len() == 1 {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        at.push(second.len());
        before = Some(now);
    }
    assert_eq!(replaced(&events[0]) + replaced(&events[1]), at.len() - 1);
}

#[test]
fn a_yes_that_comes_late_to_an_earlier_join_at_another_worker_does_not_undo_a_later_one() {
    let key = SecretKey::generate().unwrap();
    let own = SecretKey::generate().unwrap();
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut first = SealedServer::new(bind(), credentials(&key), config(0)).unwrap();
    let mut second = first.another_worker(bind(), credentials(&key), config(1)).unwrap();
    let ask = |server: &mut SealedServer<UdpSocket>| {
        let to = server.socket().local_addr().unwrap();
        let mut player = player(to, &own, key.public_key());
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(Instant::now() < end);
            assert!(server.recv().is_none());
            if let Some((id, event)) = server.poll_event() {
                assert!(matches!(event, Event::Join { .. }));
                return (player, id);
            }
            server.maintain();
            let _ = player.recv();
            player.maintain().unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    };
    let (mut earlier, earlier_id): (_, PeerId) = ask(&mut first);
    let (mut later, later_id) = ask(&mut second);
    assert!(second.accept(later_id) && first.accept(earlier_id));
    let mut events = [Vec::new(), Vec::new()];
    let end = Instant::now() + Duration::from_secs(20);
    let mut ended = None;
    while ended.is_none() || !first.is_empty() || !later.is_connected() {
        assert!(Instant::now() < end, "{ended:?}, {} and {}", first.len(), second.len());
        serve(&mut first, &mut events[0]);
        serve(&mut second, &mut events[1]);
        for player in [&mut earlier, &mut later] {
            while let Ok(Some(_)) = player.recv() {}
        }
        ended = earlier.maintain().err();
        later.maintain().unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((ended, replaced(&events[0]), replaced(&events[1])), (Some(CloseReason::Replaced), 1, 0));
    assert_eq!(second.len(), 1);
}

#[test]
fn a_worker_that_counts_the_workers_otherwise_is_no_worker_of_the_port() {
    let key = SecretKey::generate().unwrap();
    let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let first = SealedServer::new(bind(), credentials(&key), config(0)).unwrap();
    let alone = first.another_worker(bind(), credentials(&key), ServerConfig::default());
    assert!(matches!(alone, Err(StartError::Config(error)) if error.field == "worker.count"));
}
