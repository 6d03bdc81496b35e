//! Sockets of the system and of `mio`.

use super::*;

/// Two loopback sockets, connected to each other.
fn loopback(v6: bool) -> Option<[std::net::UdpSocket; 2]> {
    let any = if v6 { "[::1]:0" } else { "127.0.0.1:0" };
    let one = std::net::UdpSocket::bind(any).ok()?;
    let two = std::net::UdpSocket::bind(any).unwrap();
    one.connect(two.local_addr().unwrap()).unwrap();
    two.connect(one.local_addr().unwrap()).unwrap();
    Some([one, two])
}

fn talk<U: UdpLike, S: Session>(mut peers: [Endpoint<U, S>; 2]) {
    peers[0].connect().unwrap();
    peers[0].send_payload(Guarantee::Delivery, b"ping").unwrap();
    peers[1].send_payload(Guarantee::Delivery, b"pong").unwrap();
    let mut clock = Environment::os();
    let start = clock.now();
    let mut heard = [const { Vec::new() }; 2];
    while heard.iter().any(Vec::is_empty) {
        assert!(clock.now() < start + Duration::from_secs(10));
        for (peer, heard) in peers.iter_mut().zip(&mut heard) {
            while let Some(message) = peer.recv().unwrap() {
                heard.push(message.to_vec());
            }
            peer.maintain().unwrap();
        }
    }
    assert_eq!(heard, [[b"pong"], [b"ping"]]);
}

#[test]
fn std_sockets_talk_on_both_families() {
    talk(loopback(false).unwrap().map(|socket| Endpoint::plain(socket, config()).unwrap()));
    if let Some(sockets) = loopback(true) {
        talk(sockets.map(|socket| Endpoint::plain(socket, config()).unwrap()));
    }
}

#[test]
fn mio_sockets_talk() {
    let sockets = loopback(false).unwrap().map(|socket| {
        socket.set_nonblocking(true).unwrap();
        mio::net::UdpSocket::from_std(socket)
    });
    talk(sockets.map(|socket| Endpoint::plain(socket, config()).unwrap()));
}

#[test]
fn a_peer_that_is_not_there_yet_is_waited_for() {
    // Nobody listens at first: the kernel reports refusals.
    let [one, two] = loopback(false).unwrap();
    let (here, there) = (one.local_addr().unwrap(), two.local_addr().unwrap());
    drop(two);
    let mut first = Endpoint::plain(one, config()).unwrap();
    first.connect().unwrap();
    let mut clock = Environment::os();
    let until = clock.now() + Duration::from_millis(400);
    while clock.now() < until {
        assert!(first.recv().unwrap().is_none());
        first.maintain().unwrap();
    }
    if cfg!(target_os = "linux") {
        assert!(first.stats().socket_errors.refused > 0);
    }
    let socket = std::net::UdpSocket::bind(there).unwrap();
    socket.connect(here).unwrap();
    talk([first, Endpoint::plain(socket, config()).unwrap()]);
}
